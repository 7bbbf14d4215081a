"""Looking without touching: what could be restored, and whether a target is as configured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dr.app.looking import merged
from dr.app.needs import all_needs, problem
from dr.app.session import context_of
from dr.app.terms import terms
from dr.config.model import Settings
from dr.config.plugins import lost_sections, plugins
from dr.domain.errors import DrError
from dr.domain.model import Facts, Plan, Purpose, RecoveryPoint, Request, RunIdentity
from dr.engine.guard import Consent, guard
from dr.wiring import drivers, restorers


def recovery_points(settings: Settings, target: str) -> tuple[list[RecoveryPoint], list[DrError]]:
    """Everything that could be restored, oldest first, and why a provider could not tell: it hides no other's."""
    points: list[RecoveryPoint] = []
    failed: list[DrError] = []
    for provider in restorers(drivers(context_of(settings, target, "survey"), ())):
        try:
            provider.confirm_identity()
            points += provider.look(Request(target, (), Purpose.RESTORE)).points
        except DrError as error:
            failed.append(error)
    return sorted(points, key=lambda point: point.covers or 0.0), failed


def check(settings: Settings, name: str) -> Iterator[tuple[str, str]]:
    """What was checked of target ``name``, one by one, and what is wrong with it, "" where nothing is.

    Whoever a provider does not let in is told so once: what it would have shown is left out then.
    """
    context = context_of(settings, name, "survey")
    target, nothing = context.target, Request(name, (), Purpose.RESTORE)
    empty = Plan(nothing, RunIdentity("survey", name, Purpose.RESTORE, ""), (), ())
    yield from ((f"section {section}", why) for section, why in lost_sections(target).items())
    seen: dict[str, Facts] = {}
    by_name = drivers(context, ())
    for provider, driver in by_name.items():
        pinned = target.sections[provider].pins()
        identity = f"{provider}: {', '.join(f'{what} {value}' for what, value in pinned.items())}"
        try:
            facts, told = driver.look(nothing), replace(terms(target), pins={provider: pinned})
        except DrError as error:
            yield identity, str(error)
        else:
            seen[provider] = facts
            yield identity, " ".join(guard(empty, told, facts, Consent()))
    yield from all_needs(target)
    facts = merged(seen) if seen else Facts(context.clock.now().at)
    for plugin in plugins().values():
        if not plugin.lacks(target) and plugin.name not in by_name.keys() - seen.keys():
            for what, attempt in plugin.checks(context, facts):
                yield what, problem(attempt)
