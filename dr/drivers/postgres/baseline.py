"""What a source holds, looked at now and again later: the proof of what a restoration should hold."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import msgspec

from dr.config.context import Context
from dr.domain.errors import DrError, RefusedError
from dr.domain.looks import BEFORE, Baseline, Snapshot
from dr.domain.model import Grant
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.connection import connect
from dr.drivers.postgres.examine import model_of
from dr.drivers.postgres.looking import Question, looking
from dr.drivers.postgres.source import Source, database_of, locate
from dr.drivers.service.asking import ask_golden
from dr.drivers.service.config import ServiceConfig
from dr.evidence.baselines import BaselineStore
from dr.host.hearing import Steps, at_once

AskGolden = Callable[[str, Sequence[Mapping[str, object]], Sequence[str], str, float], Mapping[str, str]]
"""As ``dr.drivers.service.asking.ask_golden``: (service's URL, requests, volatile fields, its token's reference,
tolerance) to name and form of each answer."""


def take_baseline(
    context: Context, source: Source, include: tuple[str, ...] = (), golden: Mapping[str, str] | None = None
) -> Steps[Baseline]:
    """Look at the source and read its active model. Raises what ``looking`` raises."""
    database = context.target.of(PostgresConfig)
    look = yield from looking(source.server, database, Question(include=include))
    # the time, so that names sort, and a digest, so that two of one second differ
    digest = hashlib.sha256(msgspec.json.encode(look)).hexdigest()[:8]
    name = f"{datetime.fromtimestamp(look.at, UTC):%Y%m%dT%H%M%SZ}-{digest}"
    with connect(source.server, database) as connection:
        model = model_of(connection, context)
    return Baseline(name, context.name, source.identifier, source.resource_id, look, golden or {}, model)


def looked_again(
    context: Context, source: Source, baseline: Baseline, include: tuple[str, ...] = ()
) -> Steps[Baseline]:
    """``baseline`` with one more later look at its source, under its own cut.

    Raises RefusedError where too many transactions have passed to filter by it.
    """
    cuts = {BEFORE: Snapshot.parse(baseline.look.cuts[BEFORE])}
    asked = Question(cuts, baseline.look.tables, include)
    later = yield from looking(source.server, context.target.of(PostgresConfig), asked)
    return replace(baseline, later=(*baseline.later, later))


def nearer(context: Context, source: Source, baseline: Baseline, include: tuple[str, ...] = ()) -> Steps[Baseline]:
    """``baseline`` with another look at its source, of now. Golden answers stay, and what they may rest on that has
    changed since is told. Raises what ``looking`` raises."""
    database, first = context.target.of(PostgresConfig), baseline.look
    look = yield from looking(source.server, database, Question(like=first.tables, include=include))
    with connect(source.server, database) as connection:
        model = model_of(connection, context)
    service = context.target.section(ServiceConfig)
    read = [rows.table for rows in service.planted.rows] if service and service.planted else []
    changed = [
        name
        for name, table in look.tables.items()
        if name not in include
        and (name not in first.tables or table.parts != first.tables[name].parts)
        and (not read or any(name == one or name.endswith(f".{one}") for one in read))
    ]
    outdated = (*changed, *(["its active model"] if model != dict(baseline.model) else []))
    return replace(baseline, look=look, model=model, outdated=outdated)


def golden_answers(context: Context, ask: AskGolden) -> tuple[dict[str, str], str]:
    """The source's own answers, or none and why. Asking makes the service write rows: that needs the grant markers."""
    service = context.target.section(ServiceConfig)
    if service is None or not service.requests:
        return {}, "no service with requests is configured"
    if Grant.MARKERS not in context.target.grants:
        return {}, "asking makes the service write, and the target does not grant markers"
    try:
        return dict(ask(service.url, service.requests, service.volatile, service.token, service.tolerance)), ""
    except DrError as error:
        return {}, str(error).rstrip(".")


def nightly(context: Context, ask: AskGolden = ask_golden) -> str:
    """Look at the source again for the newest of its baselines, where that has no later look, then take a new one; both
    are stored. One that is older has had its look, or is of a form that no look follows.

    Returns what was done, and what could not be, in sentences. Raises ProviderError or RefusedError where the source
    cannot be read or a baseline not be stored.
    """
    source = locate(context)
    if source is None:
        raise RefusedError(f"The source {database_of(context.target).name} has no endpoint to connect to.")
    store = BaselineStore(context.home, context.name)
    earlier, problems = store.load(source.identifier)
    notes, again = list(problems), 0
    newest = next((one for one in reversed(earlier) if one.resource_id == source.resource_id), None)
    if newest is not None and newest.look.recipe and not newest.later:
        try:
            followed = at_once(looked_again(context, source, newest))
        except DrError as error:
            notes.append(f"The source was not looked at again for baseline {newest.id}: {error}")
        else:
            store.save(followed)
            again = 1
    golden, silence = golden_answers(context, ask)  # it writes predictions: after the later looks, which count rows
    taken = at_once(take_baseline(context, source, golden=golden))
    store.save(taken)
    tables, rows = len(taken.look.tables), sum(table.rows for table in taken.look.tables.values())
    done = f"Took baseline {taken.id} of {source.identifier}: {tables} tables, {rows} rows; looked again for {again}."
    notes += [f"Database {name} was not looked at: {why}" for name, why in taken.look.unlooked.items()]
    return " ".join((done, *notes, *([f"No golden answers: {silence}."] if silence else [])))
