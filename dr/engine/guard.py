"""What a run may do: pure, and nothing unless something allows it. A refusal is a sentence; any refusal stops the run
before its first effect.

A call may do anything to what an earlier call of its run makes, and put faults into it where the target grants that.
What is the target's own is touched only where the purpose allows that very effect: on call another server may be made
the source, and clients be led to it; a drill touches it where the whole target is disposable, and breaks a machine that
something replaces where the target grants that. Nothing else is touched.

No provider is known here: what is the target's own, and whose account it is in, is told by those who have looked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dr.domain.model import Call, Effect, Facts, Grant, Own, Plan, Purpose
from dr.domain.refs import Ref, on_loopback
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
class Terms:
    """What a target says of itself, and lets be done to it.

    ``pins``: what each provider must show to be the one that is meant: {provider: {what: value}}.
    ``endpoints``: the URLs at which a disposable one is reached. ``word``: what is typed to agree to a run on it.
    """

    grants: Collection[Grant]
    pins: Mapping[str, Mapping[str, str]]
    endpoints: Collection[str]
    word: str


@dataclass(frozen=True, slots=True)
class Consent:
    """How somebody agreed: ``identifier`` typed or given by --confirm; ``yes``: --yes, for disposable targets."""

    identifier: str = ""
    yes: bool = False


def guard(
    plan: Plan, terms: Terms, facts: Facts, consent: Consent, begun: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """Why the plan is refused; empty: it is not. ``begun``: the calls that its ledger shows as intended. They were let
    pass when the plan was accepted, and have changed since what the facts show: a replica that was promoted is none any
    more."""
    return (
        *_identity(terms.pins, facts.identity),
        *_disposable(terms),
        *_calls(plan.calls, Bounds(plan, terms, facts), begun),
        *_consent(plan, terms, consent),
    )


def astray(call: Call, args: Mapping[str, Any]) -> str:
    """Why ``call`` may not be applied with ``args``, its own with references filled; "": it may.

    The guard let it pass with what it states: no result of an earlier call puts another name in its place. Arguments
    name things of the call's own driver.
    """
    stated = (*call.touches, *call.makes)
    names = {ref.name for ref in stated if ref.provider == call.driver and ref.within is None}
    strange = sorted(acted_on(call.args, args) - names)
    if call.effect is Effect.READS or not strange:
        return ""
    return f"{call.id} would {VERBS[call.effect]} {', '.join(strange)}, which its plan does not name."


# -- the target


def _identity(pins: Mapping[str, Mapping[str, str]], seen: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Why the target may not be the one that is meant."""
    if not any(pins.values()):
        yield "The target pins nothing by which it is known, so that it could be any."
    for provider, pinned in pins.items():
        for what, value in pinned.items():
            found = seen.get(provider, {}).get(what)
            if not found:
                yield f"Nothing shows that the {what} of {provider} is {value}, the target's: nobody observed it."
            elif found != value:
                yield f"The {what} of {provider} is {found}, and the target is pinned to {value}."
    for provider in seen:
        if any(seen[provider].values()) and not pins.get(provider):
            told = ", ".join(f"{what} {value}" for what, value in seen[provider].items())
            yield f"The target does not pin {provider}, which shows {told}."


def _disposable(terms: Terms) -> Iterator[str]:
    if Grant.DISPOSABLE not in terms.grants:
        return
    rule = "Only a lab on loopback can be disposable: take that grant out of the target's grants"
    if not terms.endpoints:
        yield f"The target is called disposable and names no endpoint, so that it may be anywhere. {rule}."
    for endpoint in terms.endpoints:
        if not on_loopback(endpoint):
            yield f"The target is called disposable, and {endpoint} is not on loopback. {rule}, or correct that URL."


@dataclass(frozen=True)
class Bounds:
    """How far a plan may reach beyond what it makes."""

    plan: Plan
    terms: Terms
    facts: Facts

    @property
    def drill(self) -> bool:
        return self.plan.request.purpose is Purpose.DRILL

    @property
    def disposable(self) -> bool:
        return Grant.DISPOSABLE in self.terms.grants

    def effects(self, ref: Ref) -> frozenset[Effect]:
        """What may be done to what ``ref`` refers to, which is the target's own."""
        if not self.drill:
            return frozenset({Effect.TAKES_OVER})
        if self.disposable:
            return frozenset(Effect)
        return frozenset({Effect.FAULT, Effect.CHANGES} if self.replaced(ref) else ())

    def replaced(self, ref: Ref) -> bool:
        """Whether a drill may break it since something puts another in its place, and the target grants that."""
        return self.facts.own.get(ref) is Own.MACHINE and Grant.MACHINES in self.terms.grants

    def may_break(self, call: Call) -> bool:
        """Whether the target grants a fault in what ``call`` touches."""
        granted = self.disposable or Grant.FAULTS in self.terms.grants
        return self.drill and (granted or all(self.replaced(ref) for ref in call.touches))

    @cached_property
    def taken(self) -> Mapping[Ref, str]:
        """What may not be made, and why: what is there and is not of this run, or of the one that it continues, and
        whatever holds it. A name that differs from such a one in its case alone may be the same to its provider."""
        shown = self.facts.resources
        mine = {one.ref for one in shown if of_run(one.tags, self.plan.run)}
        strange = [one.ref for one in shown if not of_run(one.tags, self.plan.run)]
        others = [ref for ref in strange if mine.isdisjoint(ref.holders)]
        why = {ref.caseless: "which exists already and is not this run's" for ref in others}
        why |= {ref.caseless: f"{what}: that name is the target's own" for ref, what in self.facts.own.items()}
        around = [(holder.caseless, ref) for ref in (*others, *self.facts.own) for holder in ref.holders]
        return {holder: f"which holds {ref} already" for holder, ref in around} | why


# -- the calls


def _calls(calls: tuple[Call, ...], bounds: Bounds, begun: frozenset[str]) -> Iterator[str]:
    made: set[Ref] = set()
    taken: set[Ref] = set()
    for call in calls:
        wrong = [] if call.id in begun else [*_refused(call, bounds, made, taken)]
        yield from wrong
        if call.effect is Effect.MAKES:
            made.update(call.makes)
        if call.effect is Effect.TAKES_OVER and not wrong:
            taken.update(call.touches)


def _refused(call: Call, bounds: Bounds, made: set[Ref], taken: set[Ref]) -> Iterator[str]:
    """Why a call may not be done. ``made``: by the run before it; ``taken``: taken over by it before."""
    unclear = _unclear(call)
    if unclear:
        yield unclear
        return
    yield from (why for ref in call.makes if (why := _made_wrongly(call, ref, bounds, made)))
    untouchable = [why for ref in call.touches if (why := _touched_wrongly(call, ref, bounds, made, taken))]
    yield from untouchable
    if call.effect is Effect.FAULT and not bounds.may_break(call) and not (bounds.drill and untouchable):
        why = "the target does not grant faults" if bounds.drill else "on call nothing is broken"
        yield f"{call.id} is a fault, and {why}."
    if astray(call, call.args):
        yield astray(call, call.args)
    yield from _undone_wrongly(call)


def _unclear(call: Call) -> str:
    """Why what a call says of itself does not fit together; "" where it does."""
    if call.effect is Effect.READS:
        named = _listed((*call.touches, *call.makes))
        return f"{call.id} is said to read only, and names {named}." if named else ""
    if call.effect is Effect.MAKES:
        return "" if call.makes else f"{call.id} does not say what it would make."
    if call.makes:
        return f"{call.id} would {VERBS[call.effect]} something, and says that it makes {_listed(call.makes)}."
    return "" if call.touches else f"{call.id} does not say what it would {VERBS[call.effect]}."


def _made_wrongly(call: Call, ref: Ref, bounds: Bounds, made: set[Ref]) -> str:
    """Why a call may not make what ``ref`` refers to; "" where it may."""
    would, holders = f"{call.id} would make {ref}", set(ref.holders)
    if ref.caseless in bounds.taken:
        return f"{would}, {bounds.taken[ref.caseless]}."
    if not holders or holders & made:
        return ""
    if holders.isdisjoint(bounds.facts.own):
        return f"{would}, inside what this run did not make and the target does not name."
    return "" if Grant.MARKERS in bounds.terms.grants else f"{would}, and the target does not grant markers."


def _touched_wrongly(call: Call, ref: Ref, bounds: Bounds, made: set[Ref], taken: set[Ref]) -> str:
    """Why a call may not do to what ``ref`` refers to what it does; "" where it may."""
    would = f"{call.id} would {VERBS[call.effect]} {ref}"
    if ref in made or made.intersection(ref.holders) or (call.effect is Effect.MAKES and ref in taken):
        return ""
    if ref not in bounds.facts.own:
        return f"{would}, which this run did not make and the target does not name."
    if call.effect in bounds.effects(ref):
        return ""
    spared = "which is not disposable" if bounds.drill else "which on call is only taken over"
    if bounds.drill and bounds.facts.own[ref] is Own.MACHINE:
        spared = "and the target does not grant machines"
    return f"{would}, {bounds.facts.own[ref]}, {spared}."


def _undone_wrongly(call: Call) -> Iterator[str]:
    """Why what undoes a call may not be done: it takes back what the call did, and nothing else."""
    undo = call.undo
    if undo is None:
        return
    usual = {Effect.READS, Effect.CHANGES} | ({call.effect} & {Effect.TAKES_OVER})
    if undo.effect not in usual or undo.undo is not None:
        yield f"{call.id} is undone by {undo.id}, which would {VERBS[undo.effect]} something and not only take it back."
        return
    strange = [ref for ref in undo.touches if ref not in (*call.makes, *call.touches)]
    if strange:
        yield f"{call.id} is undone by {undo.id}, which would change {_listed(strange)}: {call.id} does not."
    if _unclear(undo) or astray(undo, undo.args):
        yield f"{call.id} is undone wrongly: {_unclear(undo) or astray(undo, undo.args)}"


def _listed(refs: Collection[Ref]) -> str:
    return ", ".join(map(str, refs))


def _consent(plan: Plan, terms: Terms, consent: Consent) -> tuple[str, ...]:
    given, word = consent.identifier, terms.word
    if not plan.calls or (given and given.lower() == word.lower()):
        return ()
    if consent.yes and Grant.DISPOSABLE in terms.grants:
        return ()
    if not word:
        return (f"Nothing can be typed as consent to a run on {plan.request.target}: write 'consent' in dr.yaml.",)
    if consent.yes:
        return (f"--yes is for disposable targets; say --confirm {word} for {plan.request.target}.",)
    if given:
        return (f"{given!r} is not {word}, by which a run on {plan.request.target} is confirmed.",)
    return (f"Nothing was confirmed: say --confirm {word} (or --yes on a disposable target).",)
