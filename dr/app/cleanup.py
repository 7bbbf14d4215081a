"""Finish what was left: runs that were killed, and copies that no run owns any more.

Called by: ``dr.cli`` (cleanup, abort, lab), and before every new run on the same target.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dr.app.outcome import Outcome
from dr.app.session import Session, Tell, attach, context_of, finish, locked, pronounce, seal
from dr.config.load import home
from dr.config.model import Settings
from dr.domain.errors import DrError
from dr.domain.model import Purpose
from dr.engine.perform import carry_out
from dr.evidence.clock import SystemClock
from dr.evidence.directory import RunDirectory, runs, unfinished
from dr.judge.verdict import judge
from dr.ports import Clock, Restorer
from dr.wiring import drivers, restorer

MEND = "Put it back from a copy, or move the run's directory away once nothing is left of it at the provider."


def unsealed(target: str | None = None) -> list[RunDirectory]:
    """Runs that never came to their end, oldest first. Those that cannot be read, ``unreadable`` names."""
    known = unfinished(home()).runs
    return [directory for directory, record in known if target in (None, record.plan.request.target)]


def unreadable() -> tuple[str, ...]:
    """A sentence for each unfinished run that is left out, on whichever target, since its evidence cannot be read."""
    return tuple(f"Run {run} is left out: {why} {MEND}" for run, why in unfinished(home()).unreadable.items())


def clean(settings: Settings, directory: RunDirectory, tell: Tell) -> Outcome:
    """Unwind, judge and seal ``directory``'s run. What ``dr restore`` made stays, and the outcome says so.

    Raises RefusedError while the run is under way (stop it with ``dr abort`` first).
    """
    session = attach(settings, directory, tell)
    with locked(session.context.name):
        return _clean(session)


def clean_drills(settings: Settings, target: str, tell: Tell) -> Iterator[tuple[RunDirectory, Outcome | DrError]]:
    """Before a run on a target whose lock is held: finish the drills on it that were killed.

    Each comes with what became of it. One that cannot be cleaned up keeps none of the others.
    """
    for directory in unsealed(target):
        try:
            if directory.record().plan.request.purpose is Purpose.DRILL:
                yield directory, _clean(attach(settings, directory, tell))
        except DrError as error:
            yield directory, error


def _clean(session: Session) -> Outcome:
    """A sealed run is unwound, what --keep had spared included, and nothing more: its verdict and its seal stand."""
    if session.directory.sealed():
        leftovers = session.unwind(keep=False)
        return Outcome(session.directory, judge(session.directory.load(session.context.clock)), leftovers)
    _note_killed(session.directory, session.context.clock)
    verdict, leftovers = finish(session)
    stays = ""
    if not leftovers and not session.directory.sealed():
        stays = seal(session, verdict)
    return Outcome(session.directory, verdict, leftovers, stays=stays)


def _note_killed(directory: RunDirectory, clock: Clock) -> None:
    """A drill whose own session came to no verdict was killed, wherever that was."""
    ledger, purpose = directory.ledger(clock), directory.record().plan.request.purpose
    if purpose is Purpose.DRILL and directory.verdict_document() is None and ledger.intact():
        ledger.append("event", data={"text": "The drill was killed, and another command finishes it", "killed": True})


def abandon(target: str) -> Iterator[tuple[RunDirectory, Outcome | DrError]]:
    """Judge and seal the unfinished runs of a target that is gone with all that was on it: nothing is left to undo.

    The target's lock is held. Each comes with what became of it.
    """
    for directory in unsealed(target):
        try:
            yield directory, _abandon(directory)
        except DrError as error:
            yield directory, error


def _abandon(directory: RunDirectory) -> Outcome:
    clock = SystemClock()
    _note_killed(directory, clock)
    ledger = directory.ledger(clock)
    for call in ledger.state().open:
        ledger.append("undone", call, {"because": "the target was taken down, and this with it"})
    verdict = pronounce(directory, clock)
    directory.seal(clock.now())
    return Outcome(directory, verdict)


def clean_orphans(settings: Settings, target: str, tell: Tell) -> tuple[list[str], list[str]]:
    """Delete the drill copies that no run of this DR_HOME owns: those past their expiry, and those of its runs that are
    over, which were listed too late for them.

    Returns a sentence for each that is gone, and one for each that is left.
    """
    context = context_of(settings, target, "orphans")
    known = {directory.id: _over(directory, context.clock) for directory in runs(home())}
    over = frozenset(run for run, ended in known.items() if ended)
    with locked(target):
        return remove_orphans(restorer(drivers(context, ())), context.clock, known.keys() - over, over, tell)


def _over(directory: RunDirectory, clock: Clock) -> bool:
    """Whether a run will undo nothing more: it is sealed, and its ledger shows nothing open."""
    ledger = directory.ledger(clock)
    return directory.sealed() and ledger.intact() and not ledger.state().open


def remove_orphans(
    provider: Restorer, clock: Clock, owned: Iterable[str], over: Iterable[str], tell: Tell
) -> tuple[list[str], list[str]]:
    """What ``clean_orphans`` does, once it is known with what. One that stays does not keep the others."""
    gone, left = [], []
    for call in provider.orphans(clock.now().at, frozenset(owned), frozenset(over)):
        copies = f"{', '.join(call.touches)}, a drill copy that no run here owns,"
        try:
            provider.confirm_identity()
            carry_out(provider, call, call.args, clock, tell)
            gone.append(f"{copies} was deleted.")
        except DrError as error:
            left.append(f"{copies} could not be deleted: {error}")
    return gone, left
