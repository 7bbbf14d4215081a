"""A run's end: undo, ask the provider once more what is left, judge, seal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dr.app.outcome import Outcome
from dr.app.pools import look_after
from dr.app.remains import look
from dr.domain.errors import DrError
from dr.domain.model import Purpose, Verdict
from dr.evidence.directory import RunDirectory
from dr.evidence.model import Evidence
from dr.judge.verdict import judge
from dr.ports import Clock
from dr.report.formats import document
from dr.wiring import objectives

if TYPE_CHECKING:
    from dr.app.session import Session


def finish(session: Session, *, ends: bool = False) -> Outcome:
    """Unwind, look, judge, seal. ``ends``: the run is over with this, also where it is a restore that is not done.

    Such a one stays unsealed else, so that the same command goes on with it; a run that could not be unwound, or of
    which something stands that should not, stays unsealed, so that the next command tries again.
    """
    request = session.plan.request
    _note_halt(session)
    over = ends or request.purpose is Purpose.DRILL or session.done()
    undone = session.unwind(request.keep)
    seen = look(session, keep=request.keep, over=over, sweep=not undone)
    look_after(session)
    evidence, verdict = pronounce(session.directory, session.context.clock)
    leftovers = undone or seen.left
    if over and not leftovers:
        seal(session, verdict)
    return Outcome(session.directory, verdict, leftovers, saw=seen.sentence, stands=seen.stands, evidence=evidence)


def _note_halt(session: Session) -> None:
    """A run that was told to stop between two verbs, or after the last, was interrupted, too: its ledger says so."""
    because, ledger = session.directory.halted(), session.engine.ledger
    if because and ledger.intact() and not any(entry.kind == "halted" for entry in ledger.entries()):
        ledger.append("halted", data={"because": f"The run was stopped: {because}."})


def pronounce(directory: RunDirectory, clock: Clock) -> tuple[Evidence, Verdict]:
    """Judge a run by its evidence, and write the verdict beside it."""
    evidence = directory.load(clock)
    verdict = judge(evidence, objectives())
    directory.write_verdict(document(evidence, verdict))
    return evidence, verdict


def seal(session: Session, verdict: Verdict) -> None:
    """Fix the evidence, and mark the restoration so that another machine sees that its run has ended."""
    for ref in session.restorations():
        try:
            session.restorer.seal_tag(ref.name, session.directory.id, verdict.status)
        except DrError as error:
            session.engine.ledger.append("event", data={"text": f"{ref.name} could not be tagged: {error}"})
    session.directory.seal(session.context.clock.now())
