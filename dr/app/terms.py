"""What may keep a run from beginning: what its target does not allow, and what this machine does not have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from dr.config.model import Target
from dr.config.needs import Check
from dr.config.plugins import lost_sections, offer, plugins
from dr.domain.errors import DrError
from dr.domain.model import Facts, Grant, Plan, Verb
from dr.engine.guard import Consent, Terms, guard


def terms(target: Target) -> Terms:
    """The grants and the word of consent of ``target``, and what its sections pin; of a disposable one where they lead,
    which nobody else is asked. Raises RefusedError where a section cannot tell."""
    pins = {name: dict(section.pins()) for name, section in target.sections.items() if section.pins()}
    asked = target.sections.values() if Grant.DISPOSABLE in target.grants else ()
    endpoints = [endpoint for section in asked for endpoint in section.endpoints()]
    endpoints += [f"whatever section {name} leads to" for name in lost_sections(target)]  # so that nobody is sure of it
    return Terms(target.grants, pins, endpoints, target.word)


def refusals(
    plan: Plan, target: Target, facts: Facts, consent: Consent, begun: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """Why the plan is refused: what the guard says, and what its verbs need and this machine does not have.

    Who a provider is, is asked of those that its calls have to do with: of another one it does not matter whether it is
    the one that is meant. A plan without calls stands for the whole target.
    """
    whole = terms(target)
    asked = _asked(plan, target) or {*whole.pins, *facts.identity}
    pins = {name: pinned for name, pinned in whole.pins.items() if name in asked}
    seen = {name: shown for name, shown in facts.identity.items() if name in asked}
    lacking = (what for _, what in needs(target, plan.request.verbs) if what)
    return (*guard(plan, replace(whole, pins=pins), replace(facts, identity=seen), consent, begun), *lacking)


def _asked(plan: Plan, target: Target) -> frozenset[str]:
    """The providers that do the plan's calls or undo them, and those whose sections these read."""
    drivers = {one.driver for call in plan.calls for one in (call, call.undo) if one is not None}
    return frozenset(drivers).union(*(plugins()[name].read_of(target) for name in drivers if name in plugins()))


def needs(target: Target, verbs: Iterable[Verb]) -> Iterator[tuple[str, str]]:
    """Each thing that ``verbs`` need, and what is wrong with it, "" where nothing is. Raises UsageError for a verb that
    nobody does, or that does not take its arguments."""
    offered = ((offer(verb, target)[1], verb) for verb in verbs)
    return tried(need for spec, verb in offered for need in spec.needs(target, spec.arguments(verb)))


def all_needs(target: Target) -> Iterator[tuple[str, str]]:
    """The same for all that a target names, whatever verb needs it."""
    specs = (spec for plugin in plugins().values() if not plugin.lacks(target) for spec in plugin.verbs)
    return tried(need for spec in specs for need in spec.needs(target, None))


def tried(checks: Iterable[Check]) -> Iterator[tuple[str, str]]:
    """Each once, and what it fails with, "" where it does not."""
    for what, attempt in dict(checks).items():
        try:
            attempt()
        except DrError as error:
            yield what, str(error)
        else:
            yield what, ""
