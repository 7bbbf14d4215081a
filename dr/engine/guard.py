"""What a run may do: pure, and nothing unless something allows it. A refusal is a sentence; any refusal stops the run
before its first effect.

A call may do anything to what an earlier call of its run makes, and put faults into it where the target grants that.
What is the target's own is touched only where the purpose allows that very effect: on call another server may be made
the source, and clients be led to it; a drill touches it where the whole target is disposable. Nothing else is touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dr.config.model import Target
from dr.domain.model import Call, Effect, Facts, Grant, Plan, Purpose
from dr.domain.names import cluster_secret, holder, on_loopback, pooler_entry, same
from dr.domain.tags import of_run
from dr.engine.references import acted_on

VERBS = {
    Effect.READS: "read",
    Effect.MAKES: "build on",
    Effect.CHANGES: "change",
    Effect.FAULT: "break",
    Effect.TAKES_OVER: "take over",
}
"""What a call would do, in words."""


@dataclass(frozen=True, slots=True)
class Consent:
    """How somebody agreed: ``identifier`` typed or given by --confirm; ``yes``: --yes, for disposable targets."""

    identifier: str = ""
    yes: bool = False


def guard(
    plan: Plan, target: Target, facts: Facts, consent: Consent, begun: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """Why the plan is refused; empty: it is not.

    ``begun``: the calls that its ledger shows as intended. They were let pass when the plan was accepted, and have
    changed since what the facts show: a replica that was promoted is none any more.
    """
    return (
        *_pins(target, facts),
        *_grants(target),
        *_calls(plan.calls, Bounds(plan, target, facts), begun),
        *_consent(plan, target, consent),
    )


def astray(call: Call, args: Mapping[str, Any]) -> str:
    """Why ``call`` may not be applied with ``args``, its own with references filled; "": it may.

    The guard let it pass with the names that it states: no result of an earlier call puts another in their place.
    """
    stated = _folded((*call.touches, *call.makes))
    strange = sorted(name for name in acted_on(call.args, args) if name.lower() not in stated)
    if call.effect is Effect.READS or not strange:
        return ""
    return f"{call.id} would {VERBS[call.effect]} {', '.join(strange)}, which its plan does not name."


# -- the target


def _pins(target: Target, facts: Facts) -> Iterator[str]:
    if not facts.account:
        yield f"No driver has observed the account, so that nothing shows that it is {target.account}, the target's."
    elif facts.account != target.account:
        yield f"The credentials belong to account {facts.account}, the target is pinned to {target.account}."
    if not facts.region:
        yield f"No driver has observed the region, so that nothing shows that it is {target.region}, the target's."
    elif facts.region != target.region:
        yield f"The client talks to region {facts.region}, the target is pinned to {target.region}."


def _grants(target: Target) -> Iterator[str]:
    if Grant.DISPOSABLE in target.grants and not on_loopback(target.endpoint):
        yield "The target is called disposable, but its endpoint is not on loopback: only a lab can be disposable."


@dataclass(frozen=True)
class Bounds:
    """How far a plan may reach beyond what it makes. Names are in lower case."""

    plan: Plan
    target: Target
    facts: Facts

    @property
    def drill(self) -> bool:
        return self.plan.request.purpose is Purpose.DRILL

    @property
    def disposable(self) -> bool:
        return Grant.DISPOSABLE in self.target.grants

    @cached_property
    def effects(self) -> frozenset[Effect]:
        """What may be done to what is the target's own."""
        if not self.drill:
            return frozenset({Effect.TAKES_OVER})
        return frozenset(Effect) if self.disposable else frozenset()

    @cached_property
    def faults(self) -> bool:
        return self.drill and (self.disposable or Grant.FAULTS in self.target.grants)

    @cached_property
    def instances(self) -> Mapping[str, str]:
        """The target's instance and the replicas of it that the facts show: what each is."""
        source = self.target.instance
        replicas = [
            one.ref.name for one in self.facts.resources if one.replica_of and same(one.replica_of.name, source)
        ]
        return {**{name.lower(): f"a replica of {source}" for name in replicas}, source.lower(): "the source itself"}

    @cached_property
    def own(self) -> Mapping[str, str]:
        """All that is the target's own: what each is."""
        pooler, secret = self.target.pooler, self.target.secret
        leads = [pooler_entry(pooler.entry)] if pooler is not None else []
        leads += [cluster_secret(secret.namespace, secret.name)] if secret is not None else []
        return {**{name.lower(): "which leads the target's clients" for name in leads}, **self.instances}

    @cached_property
    def present(self) -> frozenset[str]:
        """What the facts show that this run, or the one that it continues, did not make."""
        others = [one.ref.name for one in self.facts.resources if not of_run(one.tags, self.plan.run)]
        return _folded(others)


# -- the calls


def _calls(calls: tuple[Call, ...], bounds: Bounds, begun: frozenset[str]) -> Iterator[str]:
    made: set[str] = set()
    taken: set[str] = set()
    for call in calls:
        wrong = [] if call.id in begun else [*_refused(call, bounds, frozenset(made), frozenset(taken))]
        yield from wrong
        if call.effect is Effect.MAKES:
            made |= _folded(call.makes)
        if call.effect is Effect.TAKES_OVER and not wrong:
            taken |= _folded(call.touches)


def _refused(call: Call, bounds: Bounds, made: frozenset[str], taken: frozenset[str]) -> Iterator[str]:
    """Why a call may not be done. ``made``: by the run before it; ``taken``: taken over by it before."""
    unclear = _unclear(call)
    if unclear:
        yield unclear
        return
    yield from (why for name in call.makes if (why := _made_wrongly(call, name, bounds, made)))
    yield from (why for name in call.touches if (why := _touched_wrongly(call, name, bounds, made, taken)))
    if call.effect is Effect.FAULT and not bounds.faults:
        why = "the target does not grant faults" if bounds.drill else "on call nothing is broken"
        yield f"{call.id} is a fault, and {why}."
    if astray(call, call.args):
        yield astray(call, call.args)
    yield from _undone_wrongly(call)


def _unclear(call: Call) -> str:
    """Why what a call says of itself does not fit together; "" where it does."""
    if call.effect is Effect.READS:
        named = ", ".join((*call.touches, *call.makes))
        return f"{call.id} is said to read only, and names {named}." if named else ""
    if call.effect is Effect.MAKES:
        return "" if call.makes else f"{call.id} does not say what it would make."
    if call.makes:
        return f"{call.id} would {VERBS[call.effect]} something, and says that it makes {', '.join(call.makes)}."
    return "" if call.touches else f"{call.id} does not say what it would {VERBS[call.effect]}."


def _made_wrongly(call: Call, name: str, bounds: Bounds, made: frozenset[str]) -> str:
    """Why a call may not make something of this name; "" where it may."""
    within = holder(name).lower()
    if within:
        if within in made or (within in bounds.instances and Grant.MARKERS in bounds.target.grants):
            return ""
        if within in bounds.instances:
            return f"{call.id} would write to {holder(name)} ({name}), and the target does not grant markers."
        return f"{call.id} would write to {holder(name)}, which this run did not make and the target does not name."
    if name.lower() in bounds.own:
        return f"{call.id} would make {name}, {bounds.own[name.lower()]}: that name is the target's own."
    if name.lower() in bounds.present:
        return f"{call.id} would make {name}, which exists already and is not this run's."
    return ""


def _touched_wrongly(call: Call, name: str, bounds: Bounds, made: frozenset[str], taken: frozenset[str]) -> str:
    """Why a call may not do to what has this name what it does; "" where it may."""
    known, would = name.lower(), f"{call.id} would {VERBS[call.effect]} {name}"
    if known in made or holder(known) in made or (call.effect is Effect.MAKES and known in taken):
        return ""
    if known not in bounds.own:
        return f"{would}, which this run did not make and the target does not name."
    if call.effect in bounds.effects:
        return ""
    spared = "which is not disposable" if bounds.drill else "which on call is only taken over"
    return f"{would}, {bounds.own[known]}, {spared}."


def _undone_wrongly(call: Call) -> Iterator[str]:
    """Why what undoes a call may not be done: it takes back what the call did, and nothing else."""
    undo = call.undo
    if undo is None:
        return
    usual = {Effect.READS, Effect.CHANGES} | ({call.effect} & {Effect.TAKES_OVER})
    if undo.effect not in usual or undo.undo is not None:
        yield f"{call.id} is undone by {undo.id}, which would {VERBS[undo.effect]} something and not only take it back."
        return
    stated = _folded((*call.makes, *call.touches))
    strange = [name for name in undo.touches if name.lower() not in stated]
    if strange:
        yield f"{call.id} is undone by {undo.id}, which would change {', '.join(strange)}: {call.id} does not."
    if _unclear(undo) or astray(undo, undo.args):
        yield f"{call.id} is undone wrongly: {_unclear(undo) or astray(undo, undo.args)}"


def _folded(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)


def _consent(plan: Plan, target: Target, consent: Consent) -> tuple[str, ...]:
    if not plan.calls or same(consent.identifier, target.instance):
        return ()
    if consent.yes and Grant.DISPOSABLE in target.grants:
        return ()
    if consent.yes:
        return (f"--yes is for disposable targets; say --confirm {target.instance} for {plan.request.target}.",)
    if consent.identifier:
        return (f"{consent.identifier!r} is not {target.instance}, the target's instance.",)
    return (f"Nothing was confirmed: say --confirm {target.instance} (or --yes on a disposable target).",)
