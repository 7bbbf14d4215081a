"""From a request and what was seen to a plan: pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dr.config.model import Target
from dr.config.objective import Objective
from dr.config.plugins import offer, verbs
from dr.domain.errors import UsageError
from dr.domain.model import Call, Demand, Facts, Plan, Request, RunIdentity, Verb
from dr.engine.references import named

Propose = Callable[[Verb, Facts, RunIdentity], tuple[Call, ...]]
"""As ``dr.ports.Provider`` has it."""
Asked = Mapping[str, str | Sequence[str]]
"""An objective to its path, or to several: each is a demand of its own."""


def label(position: int, verb: Verb) -> str:
    """What a call's ``verb`` says: the verb's place in the request, too, since a run may hold a verb twice."""
    return f"{position + 1}-{verb.name}"


def demands(
    request: Request,
    asked: Asked,
    stated: Mapping[str, float],
    objectives: Mapping[str, Objective],
    extra: Mapping[str, Any],
    target: Target | None = None,
) -> tuple[Demand, ...]:
    """Freeze the limits of what is ``asked``: as dr.yaml has ``stated`` them, or the objective's own.

    ``extra``: what the look found. An objective whose need it says is not met, is not asked. ``target``: of which the
    request is, where that is known: who does a verb to another sees nothing of it.

    Raises UsageError for an objective that does not exist, and for a path that no verb of the request sees.
    """
    unknown = sorted(set(asked) - set(objectives))
    if unknown:
        known = f"Objectives there are: {', '.join(sorted(objectives))}."
        raise UsageError(f"There is no objective {', '.join(unknown)}.", known)
    paths = _paths(request, target)
    unseen = sorted(f"{objective} [{path}]" for objective, path in _each(asked) if path not in paths)
    if unseen:
        known = f"Paths there are: {', '.join(sorted(paths))}." if paths else "Nothing is restored or measured."
        raise UsageError(f"No verb measures what is demanded: {', '.join(unseen)}.", known)
    return tuple(
        objectives[name].demand(path, request, stated)
        for name, path in _each(asked)
        if extra.get(objectives[name].needs, True)
    )


def _each(asked: Asked) -> Iterator[tuple[str, str]]:
    for objective, paths in asked.items():
        yield from ((objective, path) for path in ([paths] if isinstance(paths, str) else paths))


def _paths(request: Request, target: Target | None) -> frozenset[str]:
    """The paths of which the request's verbs observe anything."""
    found: set[str] = set()
    for verb in request.verbs:
        offered = [offer(verb, target)] if target is not None else verbs().get(verb.name, ())
        found.update(path for _, spec in offered for path in spec.paths(verb.args, request.purpose))
    return frozenset(found)


def plan(request: Request, run: RunIdentity, facts: Facts, propose: Propose, asked: tuple[Demand, ...]) -> Plan:
    """Every call of every verb, in order, as who does it has them: ``propose``. Raises what that raises, and UsageError
    for two verbs that come down to the same call."""
    calls: list[Call] = []
    for position, verb in enumerate(request.verbs):
        calls.extend(replace(call, verb=label(position, verb)) for call in propose(verb, facts, run))
    ids = [call.id for call in calls]
    twice = sorted({id for id in ids if ids.count(id) > 1})
    if twice:
        raise UsageError(
            f"The plan holds {', '.join(twice)} twice.",
            "Give each a path of its own, and each provider names of its own.",
        )
    return Plan(request, run, named(calls), asked)
