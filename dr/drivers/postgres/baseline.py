"""What a source holds, taken now and taken again later: the only proof of what a restoration should hold."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from dr.config.context import Context
from dr.domain.errors import DrError, RefusedError
from dr.domain.model import Baseline, Grant
from dr.drivers.postgres.connection import Connection, connect
from dr.drivers.postgres.examine import model_of
from dr.drivers.postgres.fingerprint import repeating, summing
from dr.drivers.postgres.source import Source, locate
from dr.drivers.sections import sections
from dr.drivers.service.asking import ask_golden
from dr.evidence.baselines import BaselineStore
from dr.host.hearing import at_once

AskGolden = Callable[[str, Sequence[Mapping[str, object]], Sequence[str], str], Mapping[str, str]]
"""As ``dr.drivers.service.asking.ask_golden``: (service's URL, requests, volatile fields, its token's reference) to
name and digest of each answer."""


def take_baseline(
    connection: Connection,
    context: Context,
    source: Source,
    include: Iterable[str] = (),
    golden: Mapping[str, str] | None = None,
) -> Baseline:
    """Sum the source and read its active model. Raises what ``summing`` raises."""
    sums = at_once(summing(connection, None, include))
    # the time, so that names sort, and a digest, so that two of one second differ
    digest = hashlib.sha256(msgspec.json.encode(sums)).hexdigest()[:8]
    name = f"{datetime.fromtimestamp(sums.at, UTC):%Y%m%dT%H%M%SZ}-{digest}"
    of, resource = source.identifier, source.resource_id
    return Baseline(name, context.name, of, resource, sums, golden or {}, model_of(connection, context))


def golden_answers(context: Context, ask: AskGolden) -> tuple[dict[str, str], str]:
    """The source's own answers, or none and why. Asking makes the service write rows: that needs the grant markers."""
    service = sections(context.target).service
    if service is None or not service.requests:
        return {}, "no service with requests is configured"
    if Grant.MARKERS not in sections(context.target).grants:
        return {}, "asking makes the service write, and the target does not grant markers"
    try:
        return dict(ask(service.url, service.requests, service.volatile, service.token)), ""
    except DrError as error:
        return {}, str(error).rstrip(".")


def nightly(context: Context, ask: AskGolden = ask_golden) -> str:
    """Repeat the source's earlier baselines that have no repeat yet, then take a new one; all are stored.

    Returns what was done, and what could not be, in sentences. Raises ProviderError or RefusedError where the source
    cannot be read or a baseline not be stored.
    """
    source = locate(context)
    if source is None:
        raise RefusedError(f"The source {sections(context.target).rds.instance} has no endpoint to connect to.")
    store = BaselineStore(context.home, context.name)
    earlier, problems = store.load(source.identifier)
    notes, repeated = list(problems), 0
    with connect(source.server, sections(context.target).postgres) as connection:
        for baseline in earlier:
            if baseline.repeats or baseline.resource_id != source.resource_id:
                continue
            try:
                store.save(at_once(repeating(connection, baseline)))
                repeated += 1
            except RefusedError as error:
                notes.append(f"Baseline {baseline.id} was not repeated: {error}")
        golden, silence = golden_answers(context, ask)  # it writes predictions: after the repeats, which count rows
        taken = take_baseline(connection, context, source, golden=golden)
    store.save(taken)
    tables, rows = len(taken.fingerprint.tables), sum(t.rows for t in taken.fingerprint.tables.values())
    done = (
        f"Took baseline {taken.id} of {source.identifier}: {tables} tables, {rows} rows; repeated {repeated} earlier."
    )
    return " ".join((done, *notes, *([f"No golden answers: {silence}."] if silence else [])))
