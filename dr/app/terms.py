"""What the guard has to know of a target, and what it says of a plan."""

from __future__ import annotations

from dataclasses import replace

from dr.config.model import Target
from dr.config.plugins import lost_sections, plugins
from dr.domain.model import Facts, Grant, Plan
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
    """Why the plan is refused. Who a provider is, is asked of those that its calls have to do with: of another one it
    does not matter whether it is the one that is meant. A plan without calls stands for the whole target."""
    whole = terms(target)
    if not plan.calls:
        return guard(plan, whole, facts, consent, begun)
    asked = _asked(plan)
    pins = {name: pinned for name, pinned in whole.pins.items() if name in asked}
    seen = {name: shown for name, shown in facts.identity.items() if name in asked}
    return guard(plan, replace(whole, pins=pins), replace(facts, identity=seen), consent, begun)


def _asked(plan: Plan) -> frozenset[str]:
    """The providers that do the plan's calls or undo them, and those whose sections these read."""
    drivers = {one.driver for call in plan.calls for one in (call, call.undo) if one is not None}
    return frozenset(drivers).union(*(plugins()[name].reads for name in drivers if name in plugins()))
