"""How many predictions of the run's own are in its copy, and in the source, once the copy's path has settled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dr.config.context import Context
from dr.domain.errors import ProviderError, RefusedError, UnreachableError
from dr.domain.model import Call, Effect, Facts, Observation, Progress, RunIdentity, Verb
from dr.domain.refs import Endpoint
from dr.drivers.measuring.paths import RESTORED
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.source import database_of, source_among
from dr.drivers.service.config import ServiceConfig, Stored
from dr.evidence.answers import same
from dr.evidence.samples import load_samples, samples_file
from dr.host import children
from dr.judge.windows import good

DEADLINE = 300.0
PROBER = f"measure-{RESTORED}"
"""The prober whose answers are counted: it ends first, so that none is under way."""
LATER = 10.0
"""Seconds after the last answer within which a service may store its prediction."""
_SINCE = {
    "first": "${plant.next}",
    "before": {name: f"${{golden.{name}}}" for name in ("good", "sent", "planting", "kept")},
    "planting": "${plant.at}",
}
"""From when on predictions count: a restore on call that is gone on with has taken away what it planted before."""


def planted(service: ServiceConfig) -> object:
    """How many rows of the run's own are in the copy, as an argument has it."""
    return "${plant.rows}" if service.planted else 0


def counting(context: Context, verb: Verb, facts: Facts, run: RunIdentity) -> Iterator[Call]:
    """The call of the verb settle that counts; none where the target does not say where predictions are stored."""
    service = context.target.section(ServiceConfig)
    if verb.args["paths"] != [RESTORED] or service is None or not isinstance(service.stored, Stored):
        return
    source = source_among(facts.resources, database_of(context.target))
    args = {
        "copy": {name: f"${{serve.{name}}}" for name in ("host", "port")},
        "source": source.to_args() if source else None,
        "run": run.id,
        "planted": planted(service),
        **(_SINCE if service.planted else {}),
    }
    yield Call(
        *("count-stored", verb.name, "verify", "measuring", "count", args),
        effect=Effect.CHANGES,
        touches=(children.process(PROBER),),
        until="the run's predictions counted",
        deadline=DEADLINE,
    )


def counted(context: Context, args: Mapping[str, Any]) -> Progress:
    """The observation ``stored``, once the prober of the copy has ended: {copy, source}: how many each holds, null: it
    is not known; ``because``: why; ``silent``: the source does not answer, so that nothing can have been stored
    there; ``first``, ``last``: the numbers of the requests under load whose answers count; ``before``: how many good
    answers to what was planted came before those, and ``sent``: to how many requests; ``compared``: how many of the
    copy's were held against what was answered, and ``unlike``: how many of these are something else. It is waited for
    predictions that come after their answer.
    """
    found: dict[str, Any] = {"copy": None, "source": None, "because": "", "silent": args["source"] is None}
    if not args["planted"]:
        return _seen({**found, "because": "nothing was planted there"})
    measured, first = load_samples(samples_file(context.run, RESTORED)), int(args["first"])
    requests = [one for one in (measured.samples if measured is not None else ()) if one.n >= first]
    same_rows = args["before"]["planting"] == args["planting"]
    earlier: Mapping[str, Any] = args["before"] if same_rows else {"good": 0}
    before, sent = int(earlier["good"]), int(earlier.get("sent", earlier["good"]))
    kept: Mapping[str, Sequence[str]] = earlier.get("kept", {})
    wanted, late = before + sum(map(good, requests)), context.clock.now().at > float(args["asked_at"]) + LATER
    found |= {"first": first, "last": max((one.n for one in requests), default=-1), "before": before, "sent": sent}
    found |= _held(context, args, "copy", kept)
    if found["copy"] is not None and found["copy"] < wanted and not late:
        return Progress(False, note=f"{found['copy']} predictions stored for {wanted} good answers")
    if args["source"] is not None:
        of_source = _held(context, args, "source", {})
        found |= {**of_source, "because": found["because"] or of_source["because"]}
    return _seen(found)


def _seen(found: Mapping[str, Any]) -> Progress:
    return Progress(True, {}, observations=(Observation("stored", RESTORED, found),))


def _held(context: Context, args: Mapping[str, Any], name: str, kept: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """How many ``name`` holds, and how they compare with what is to be ``kept``, or why that is not known."""
    from dr.drivers.service.rows import count_stored  # psycopg is slow to import

    database, service = context.target.of(PostgresConfig), context.target.of(ServiceConfig)
    if service.planted is None or not isinstance(service.stored, Stored):
        return {"because": "the target no longer says where"}
    where = Endpoint(str(args[name]["host"]), int(args[name]["port"]))
    try:
        held = count_stored(where, database, service.stored, service.planted, str(args["run"]), service.tolerance)
        known = {one: count for one, count in held.items() if one[0] in kept}
        unlike = (count for (key, form), count in known.items() if not any(same(one, form) for one in kept[key]))
        told = {"compared": sum(known.values()), "unlike": sum(unlike)} if kept else {}
        return {name: held.total(), "because": "", **told}
    except (ProviderError, RefusedError) as error:
        silent = {"silent": True} if name == "source" and isinstance(error, UnreachableError) else {}
        return {"because": str(error), **silent}
