"""Looking without touching: what could be restored, whether a target is as configured, and what its source holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from dr import wiring
from dr.app.session import context_of
from dr.app.terms import all_needs, terms, tried
from dr.config.contained import contained
from dr.config.load import home
from dr.config.model import Settings
from dr.config.plugins import PROVIDER, lost_sections, plugins, unloaded
from dr.domain.errors import DrError, RefusedError
from dr.domain.model import Facts, Plan, Purpose, RecoveryPoint, Request, RunIdentity, Verb
from dr.engine.guard import Consent, guard
from dr.evidence import profiles
from dr.evidence.baselines import BaselineStore
from dr.ports import Restorer
from dr.wiring import ask_each, drivers, merged


def recovery_points(settings: Settings, target: str) -> tuple[list[RecoveryPoint], list[DrError]]:
    """Everything that could be restored, oldest first, and why a provider could not tell: it hides no other's."""

    def points(provider: Restorer) -> tuple[RecoveryPoint, ...]:
        provider.confirm_identity()
        return provider.look(Request(target, (), Purpose.RESTORE)).points

    found, failed = ask_each(drivers(context_of(settings, target, "survey"), ()), points)
    return sorted(chain.from_iterable(found), key=lambda point: point.covers or 0.0), failed


def check(settings: Settings, name: str) -> Iterator[tuple[str, str]]:
    """What was checked of target ``name``, one by one, and what is wrong with it, "" where nothing is. Whoever a
    provider does not let in is told so once: what it would have shown is left out then."""
    context = context_of(settings, name, "survey")
    target, nothing = context.target, Request(name, (), Purpose.RESTORE)
    empty = Plan(nothing, RunIdentity("survey", name, Purpose.RESTORE, ""), (), ())
    lost = lost_sections(target)
    yield from ((f"section {section}", why) for section, why in lost.items())
    for section in target.sections:
        if lacking := plugins()[section].lacks(target):
            needs = f"It is of no use without section {', '.join(lacking)}. Add that to target {name} in dr.yaml."
            yield f"section {section}", needs
    if not lost and not wiring.who_restores(target):
        yield "restoring", str(wiring.unrestored(name, target))
    seen: dict[str, Facts] = {}
    by_name = drivers(context, ())
    for provider, driver in by_name.items():
        pinned = target.sections[provider].pins()
        identity = f"{provider}: {', '.join(f'{what} {value}' for what, value in pinned.items()) or 'what it shows'}"
        try:
            facts, told = driver.look(nothing), replace(terms(target), pins={provider: pinned})
        except DrError as error:
            yield identity, str(error)
        else:
            seen[provider] = facts
            # one without pins is known by another section's
            yield identity, " ".join(guard(empty, told, facts, Consent()) if pinned else ())
    yield from all_needs(target)
    facts = merged(seen) if seen else Facts(context.clock.now().at)
    able = (one for one in plugins().values() if not one.lacks(target) and one.name not in by_name.keys() - seen.keys())
    in_order = sorted(able, key=lambda one: not one.restores)  # what is restored, before what rests on it
    yield from tried(check for plugin in in_order for check in plugin.checks(context, facts))


def forget(target: str) -> None:
    """Remove what is kept of a target that is gone: its baselines and its profile."""
    BaselineStore(home(), target).forget()
    profiles.forget(home(), target)


def take(target: str) -> str:
    """Repeat earlier baselines of the target's source and take a new one: everybody who can. Returns what was done, in
    a sentence each. Raises ProviderError where the source or its service cannot be read, RefusedError where the target
    lacks a section."""
    context = context_of(wiring.settings(), target, "baseline")
    takers = {name: one for name, one in plugins().items() if one.baseline}
    able = [contained(name, one).baseline for name, one in takers.items() if not one.lacks(context.target)]
    if not able:
        for name in takers:  # it says which section lacks
            wiring.does(Verb("baseline", {PROVIDER: name}), context)
        raise RefusedError(f"Nobody takes a baseline of target {target}.", " ".join(unloaded().values()))
    return " ".join(taken(context) for taken in able if taken)
