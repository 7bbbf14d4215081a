"""A run's end: undo, ask the provider once more what is left, judge, seal; and how it ended, as an exit code."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from dr.app.pools import look_after
from dr.app.session import Session, Tell
from dr.domain.errors import DrError, RefusedError
from dr.domain.model import Call, Purpose, Resource, Verdict
from dr.domain.refs import Ref
from dr.engine.perform import carry_out
from dr.evidence.directory import RunDirectory
from dr.evidence.model import Evidence
from dr.evidence.seals import seal as fix
from dr.host.signals import say
from dr.judge.verdict import exit_code as verdict_code
from dr.judge.verdict import judge
from dr.ports import Clock, Restorer
from dr.report.formats import document
from dr.wiring import ask_each, objectives

WORST_FIRST = (129, 130, 143, 1, 5, 4, 3, 2)
"""Interrupted before all; then a missed demand before a failure before inconclusive before refused."""


@dataclass(frozen=True)
class Outcome:
    """A finished run: its verdict, what could not be undone, and the error that ended it early, if one did.

    ``saw``: what the provider showed of the run when it was asked last, in words; "" where it was not. ``stands``: the
    names of that.
    ``judged``: by its evidence, and written beside it.
    """

    run: RunDirectory
    verdict: Verdict
    leftovers: tuple[str, ...] = ()
    error: DrError | None = None
    saw: str = ""
    stands: tuple[str, ...] = ()
    judged: bool = True
    evidence: Evidence | None = None
    """What the verdict rests on, where this process judged it."""

    def load(self, clock: Clock) -> Evidence:
        """What the verdict rests on. Raises EvidenceError where that has to be read, and cannot."""
        return self.evidence or self.run.load(clock)


def worst(codes: set[int]) -> int:
    """The exit code of several at once."""
    return next((code for code in WORST_FIRST if code in codes), 0)


def exit_code(outcome: Outcome) -> int:
    """The exit code of one run."""
    early = 0 if outcome.error is None else outcome.error.exit_code
    return worst({verdict_code(outcome.verdict), 5 if outcome.leftovers else 0, early})


def finish(session: Session, *, ends: bool = False) -> Outcome:
    """Unwind, look, judge, seal. ``ends``: the run is over with this, also where it is a restore that is not done.

    Such a one stays unsealed else, so that the same command goes on with it; a run that could not be unwound, or of
    which something stands that should not, stays unsealed, so that the next command tries again. Rows that
    could not be taken out of a copy that stays are told, and keep nothing open: the next restore must not wait.
    """
    request, ledger = session.plan.request, session.engine.ledger
    halted = session.directory.halted()  # between two verbs, say, or after the last: that is an interruption, too
    if halted and ledger.intact() and not any(entry.kind == "halted" for entry in ledger.entries()):
        ledger.append("halted", data={"because": f"The run was stopped: {halted}."})
    over = ends or request.purpose is Purpose.DRILL or session.done()
    undone = session.unwind(request.keep)
    seen = look(session, keep=request.keep, over=over, sweep=not undone)
    look_after(session)
    evidence, verdict = pronounce(session.directory, session.context.clock)
    if over and not seen.left and not (undone and session.bound()):
        seal(session, verdict)
    return Outcome(
        session.directory, verdict, undone or seen.left, saw=seen.sentence, stands=seen.stands, evidence=evidence
    )


def pronounce(directory: RunDirectory, clock: Clock) -> tuple[Evidence, Verdict]:
    """Judge a run by its evidence, and write the verdict beside it."""
    evidence = directory.load(clock)
    verdict = judge(evidence, objectives())
    directory.write_verdict(document(evidence, verdict))
    return evidence, verdict


def seal(session: Session, verdict: Verdict) -> None:
    """Fix the evidence, and mark the restoration so that another machine sees that its run has ended."""

    def mark() -> None:
        for ref in session.restorations():
            try:
                session.restorer(ref).seal_tag(ref.name, session.directory.id, verdict.status)
            except DrError as error:
                session.engine.ledger.append("event", data={"text": f"{ref.name} could not be tagged: {error}"})

    if lost := fix(session.context.home, session.directory, session.context.clock, mark):
        say(lost)


# -- what is left at the provider

NOTHING = "The provider lists nothing of this run any more."


@dataclass(frozen=True)
class Seen:
    """What the provider showed of a run. ``sentence``: that, in words, "" of a run that makes nothing there.

    ``left``: what should not be there, or may be there for all that is known, a sentence each. ``stands``: the names of
    what is there.
    """

    sentence: str
    left: tuple[str, ...] = ()
    stands: tuple[str, ...] = ()


def look(session: Session, *, keep: bool, over: bool, sweep: bool) -> Seen:
    """Ask all who restore once more, and note the answer in the ledger. ``keep``: a drill's restorations were to be
    spared. ``over``: the run is not gone on with. ``sweep``: delete what a drill left that its ledger does not
    tell, too."""
    on_call = session.plan.request.purpose is Purpose.RESTORE
    if on_call and not any(call.restoration for call in session.plan.calls):
        return Seen("")  # what a failover changes is the source, which nobody takes for a thing that was left
    run, spared = session.directory.id, frozenset(session.restorations()) if keep else frozenset[Ref]()

    def ask(provider: Restorer) -> tuple[str, tuple[Resource, ...]]:
        failed = _sweep(session, provider, spared) if sweep and not on_call else ""
        found = provider.remains(run)
        if strange := [one.ref for one in found if session.restorer(one.ref) is not provider]:
            raise RefusedError(f"A provider tells of {strange[0]}, which is {strange[0].provider}'s.")
        return failed, found

    answers, lost = ask_each(session.providers, ask)
    found = tuple(one for _, of in answers for one in of)
    unknown = tuple(f"The provider could not be asked what stands of run {run}: {error}" for error in lost)
    if on_call:
        found = of_purpose(Purpose.RESTORE, found)
        told = () if lost and not found else (_on_call(session, found, over),)
        seen = Seen("\n".join((*told, *unknown)), stands=tuple(one.ref.name for one in found))
    else:
        seen = _of_a_drill(run, found, spared, " ".join(filter(None, (failed for failed, _ in answers))), unknown)
    return _noted(session, seen, None if lost else found)


def remove(provider: Restorer, calls: Iterable[Call], clock: Clock, tell: Tell) -> list[tuple[Call, str]]:
    """Carry out deletions. Each with why it failed, "" where it did not: one that stays does not keep the others."""
    done = []
    for call in calls:
        because = ""
        try:
            provider.confirm_identity()
            carry_out(provider, call, call.args, clock, tell)
        except DrError as error:
            because = str(error)
        done.append((call, because))
    return done


def of_purpose(purpose: Purpose, found: Iterable[Resource]) -> tuple[Resource, ...]:
    """Those that runs of that purpose made."""
    return tuple(one for one in found if one.tags.get("dr:purpose") == purpose)


def _sweep(session: Session, provider: Restorer, spared: frozenset[Ref]) -> str:
    """Delete what bears the tag of a drill whose ledger shows nothing open. Returns what failed."""
    clock = session.context.clock
    found = provider.orphans(clock.now().at, frozenset(), frozenset({session.directory.id}))
    calls = [call for call in found if spared.isdisjoint(call.touches)]
    return " ".join(because for _, because in remove(provider, calls, clock, session.tell) if because)


def _of_a_drill(
    run: str, found: tuple[Resource, ...], spared: frozenset[Ref], failed: str, unknown: tuple[str, ...]
) -> Seen:
    """``failed``: why a deletion failed. ``unknown``: who could not be asked, a sentence each."""
    kept = [one for one in found if one.ref in spared]
    left = [one for one in found if one not in kept]
    sentences = [f"{_stands(one)}, as --keep asked: 'dr cleanup {run}' removes it." for one in kept]
    told = tuple(f"{_stands(one)}: 'dr cleanup {run}' tries again to remove it. {failed}".strip() for one in left)
    told += tuple(f"{what} 'dr cleanup {run}' asks again." for what in unknown)
    if failed and not told:
        told = (failed,)
    sentence = " ".join((*sentences, *told)) or NOTHING
    return Seen(sentence, told, tuple(one.ref.name for one in found))


def _on_call(session: Session, found: tuple[Resource, ...], over: bool) -> str:
    run, asked = session.directory.id, session.restorations()
    if found:
        return "\n".join(f"{_stands(one)}. {_ways(run, one, over, session.restorer(one.ref))}" for one in found)
    if not asked:
        return f"The provider was asked to make nothing{'' if over else '; the same command begins anew'}."
    done = session.engine.ledger.state().effects
    if any(call.restoration and call.id in done for call in session.plan.calls):
        what = "was adopted, renamed without its tags, or deleted."
    else:
        again = "" if over else f" 'dr restore --resume {run}' looks for it and goes on."
        what = f"was asked for, and may be listed later.{again}"
    return f"The provider lists nothing of run {run}: {asked[0].name} {what}"


def _stands(one: Resource) -> str:
    status = "being made (creating)" if one.status == "creating" else one.status
    return f"{one.ref.name} stays at the provider, where it is {status}"


def _ways(run: str, one: Resource, over: bool, provider: Restorer) -> str:
    """How to go on with what a restore on call has made, and how to be rid of it: commands to paste, a line each."""
    name = shlex.quote(one.ref.name)
    ways = [(f"dr adopt {run} --confirm {name}", "hands it over"), *provider.by_hand(one)]
    if not over:
        ways.insert(0, (f"dr cleanup {run}", "ends the run and leaves it"))
        if not one.remedy:
            ways.insert(0, (f"dr restore --resume {run}", "goes on with it"))
    return "\n  ".join(("dr never deletes it.", *(f"{command}  # {does}" for command, does in ways)))


def _noted(session: Session, seen: Seen, found: tuple[Resource, ...] | None) -> Seen:
    """The answer stands in the evidence. What cannot be noted is told all the same."""
    listed = None if found is None else [{"identifier": one.ref.name, "status": one.status} for one in found]
    session.engine.ledger.append("event", data={"text": seen.sentence, "remains": listed})
    return seen
