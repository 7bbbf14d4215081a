"""From a request and what was seen to a plan: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dr.config.model import Objectives
from dr.domain.errors import UsageError
from dr.domain.model import Call, Demand, Facts, Plan, Purpose, Request, RunIdentity, Verb
from dr.engine.references import named
from dr.ports import Proposer

UNNUMBERED = frozenset(
    {
        *("exact-point", "schema", "data", "foreign-keys", "indexes", "model", "golden", "logins", "configuration"),
        *("acknowledged", "split-brain", "unaided", "corroborated"),
    }
)

Asked = Mapping[str, str | Sequence[str]]
"""An objective to its path, or to several: each is a demand of its own."""


def label(position: int, verb: Verb) -> str:
    """What a call's ``verb`` says: the verb's place in the request, too, since a run may hold a verb twice."""
    return f"{position + 1}-{verb.name}"


def restores_a_time(request: Request) -> bool:
    """Whether the run restores a point in time, and not a snapshot."""
    return any("time" in to for to in _restored(request))


def restores_the_latest(request: Request) -> bool:
    """Whether what is restored depends on when it is asked for: the newest snapshot, or the latest restorable time."""
    return any("latest" in to.values() for to in _restored(request))


def _restored(request: Request) -> list[Mapping[str, Any]]:
    """The recovery points that a request names: {snapshot} or {time}."""
    asked = (verb.args.get("to") for verb in request.verbs if verb.name == "restore")
    return [to for to in asked if isinstance(to, Mapping)]


def promotes(request: Request) -> bool:
    """Whether the run promotes a replica, and does not only wait for a failover."""
    return any(verb.name == "promote" for verb in request.verbs)


def demands(request: Request, asked: Asked, limits: Objectives, checks_indexes: bool) -> tuple[Demand, ...]:
    """Freeze the limits of what is ``asked``. Indexes are asked only where they can be checked.

    Raises UsageError for an objective that does not exist, and for a path that no verb of the request sees.
    """
    numbered = {
        "time-to-copy": (limits.time_to_copy, "s"),
        "exposure": (limits.exposure_time if restores_a_time(request) else limits.exposure_snapshot, "s"),
        "loss": (limits.loss, "markers"),
        "loss-seconds": (limits.loss_seconds, "s"),
        "outage": (limits.outage_promotion if promotes(request) else limits.outage_failover, "s"),
        "latency": (limits.latency_p95, "s"),
        "model-latency": (limits.model_latency_p95, "s"),
        "database-latency": (limits.database_latency_p95, "s"),
        "errors": (limits.error_rate, "share"),
    }
    unknown = sorted(set(asked) - set(numbered) - UNNUMBERED)
    if unknown:
        raise UsageError(f"There is no objective {', '.join(unknown)}.", "docs/design.md lists the objectives.")
    paths = _paths(request)
    unseen = sorted(f"{objective} [{path}]" for objective, path in _each(asked) if path not in paths)
    if unseen:
        known = f"Paths there are: {', '.join(sorted(paths))}." if paths else "Nothing is restored or measured."
        raise UsageError(f"No verb measures what is demanded: {', '.join(unseen)}.", known)
    return tuple(
        Demand(objective, path, *numbered.get(objective, (None, "")))
        for objective, path in _each(asked)
        if objective != "indexes" or checks_indexes
    )


def _each(asked: Asked) -> Iterator[tuple[str, str]]:
    for objective, paths in asked.items():
        yield from ((objective, path) for path in ([paths] if isinstance(paths, str) else paths))


def _paths(request: Request) -> frozenset[str]:
    """The paths of which the request's verbs observe anything: what is restored, whatever they measure, and the source
    that a promotion on call replaces."""
    measured = {str(verb.args["path"]) for verb in request.verbs if verb.name == "measure" and "path" in verb.args}
    restored = any(verb.name == "restore" or verb.args.get("copy") for verb in request.verbs)
    replaced = promotes(request) and request.purpose is Purpose.RESTORE
    return frozenset(measured | ({"restored"} if restored else set()) | ({"source"} if replaced else set()))


def plan(request: Request, run: RunIdentity, facts: Facts, proposer: Proposer, asked: tuple[Demand, ...]) -> Plan:
    """Every call of every verb, in order, as ``proposer`` has them.

    Raises what that raises, and UsageError for two verbs that come down to the same call.
    """
    calls: list[Call] = []
    for position, verb in enumerate(request.verbs):
        calls.extend(replace(call, verb=label(position, verb)) for call in proposer.propose(verb, facts, run))
    ids = [call.id for call in calls]
    twice = sorted({id for id in ids if ids.count(id) > 1})
    if twice:
        raise UsageError(f"The plan holds {', '.join(twice)} twice.", "Give each verb a path of its own.")
    return Plan(request, run, named(calls), asked)
