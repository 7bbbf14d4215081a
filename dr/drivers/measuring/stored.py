"""How many predictions of the run's own are in its copy, and in the source, once the copy's path has settled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dr.config.context import Context
from dr.domain.errors import ProviderError, RefusedError, UnreachableError
from dr.domain.model import Call, Effect, Facts, Observation, Progress, RunIdentity, Verb
from dr.domain.refs import Endpoint
from dr.drivers.measuring.paths import RESTORED
from dr.drivers.postgres.source import source_among
from dr.drivers.sections import sections
from dr.drivers.service.config import ServiceConfig, Stored
from dr.evidence.samples import load_samples, samples_file
from dr.host import children
from dr.judge.windows import good

DEADLINE = 300.0
PROBER = f"measure-{RESTORED}"
"""The prober whose answers are counted: it ends first, so that none is under way."""
LATER = 10.0
"""Seconds after the last answer within which a service may store its prediction."""


def planted(service: ServiceConfig) -> object:
    """How many rows of the run's own are in the copy, as an argument has it."""
    return "${plant.rows}" if service.planted else 0


def counting(context: Context, verb: Verb, facts: Facts, run: RunIdentity) -> Iterator[Call]:
    """The call of the verb settle that counts; none where the target does not say where predictions are stored."""
    target = sections(context.target)
    if verb.args["paths"] != [RESTORED] or target.service is None or not isinstance(target.service.stored, Stored):
        return
    source = source_among(facts.resources, target.rds.instance)
    args = {
        "copy": {name: f"${{serve.{name}}}" for name in ("host", "port")},
        "source": source.to_args() if source else None,
        "run": run.id,
        "planted": planted(target.service),
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
    there; ``last``: the number of the last request by then. It is waited for predictions that come after their answer.
    """
    measured = load_samples(samples_file(context.run, RESTORED))
    requests = measured.samples if measured is not None else ()
    found = {**_holding(context, args), "last": max((one.n for one in requests), default=-1)}
    late = context.clock.now().at > float(args["asked_at"]) + LATER
    if found["copy"] is not None and found["copy"] < sum(map(good, requests)) and not late:
        return Progress(False, note=f"{found['copy']} predictions stored, fewer than answers")
    return Progress(True, {}, observations=(Observation("stored", RESTORED, found),))


def _holding(context: Context, args: Mapping[str, Any]) -> dict[str, Any]:
    from dr.drivers.service.rows import count_stored  # psycopg is slow to import

    target, service = sections(context.target), context.target.of(ServiceConfig)
    found: dict[str, Any] = {"copy": None, "source": None, "because": "", "silent": args["source"] is None}
    if not args["planted"] or service.planted is None or not isinstance(service.stored, Stored):
        return {**found, "because": "nothing was planted there"}
    of = (target.postgres, service.stored, service.planted, str(args["run"]))
    for name in ("copy", "source"):
        where = args[name]
        if where is None:
            continue
        try:
            found[name] = count_stored(Endpoint(str(where["host"]), int(where["port"])), *of)
        except (ProviderError, RefusedError) as error:
            found["because"] = found["because"] or str(error)
            found["silent"] |= name == "source" and isinstance(error, UnreachableError)
    return found
