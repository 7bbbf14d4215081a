"""Finish what was left: runs that were killed, and copies that no run owns any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from itertools import chain

from dr.app.ending import finish, pronounce
from dr.app.orphans import end_orphan
from dr.app.outcome import Outcome
from dr.app.remains import look, remove
from dr.app.session import Session, Tell, attach, busy, context_of, locked
from dr.config.context import Context
from dr.config.load import home
from dr.config.model import Settings
from dr.domain.errors import DrError, ProviderError
from dr.domain.model import Purpose, Resource
from dr.evidence.directory import RunDirectory, runs, unfinished
from dr.host import locks
from dr.host.clock import SystemClock
from dr.judge.verdict import judge
from dr.ports import Clock, Restorer
from dr.wiring import drivers, objectives, restorers

MEND = (
    "Make it readable, or put it back from a copy. If neither can be done, move {path} away. Then"
    " 'dr cleanup {run} --target NAME' removes what it left at the provider, found by its tag."
)


def unsealed(target: str | None = None) -> list[RunDirectory]:
    """Runs that never came to their end, oldest first. Those that cannot be read, ``unreadable`` names."""
    known = unfinished(home()).runs
    return [directory for directory, record in known if target in (None, record.plan.request.target)]


def unreadable() -> tuple[str, ...]:
    """A sentence for each unfinished run that is left out, on whichever target, since its evidence cannot be read."""
    place = home() / "runs"
    return tuple(
        f"Run {run} is left out: {why} {MEND.format(path=place / run, run=run)}"
        for run, why in unfinished(home()).unreadable.items()
    )


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
    locks.note(f"clean-up of run {session.directory.id}")
    end_orphan(session.directory, session.context.clock)
    if not session.directory.sealed():
        _note_killed(session.directory, session.context.clock)
        return finish(session, ends=True)
    undone = session.unwind(keep=False)
    seen = look(session, keep=False, over=True, sweep=not undone)
    verdict = judge(session.directory.load(session.context.clock), objectives())
    return Outcome(session.directory, verdict, undone or seen.left, saw=seen.sentence, stands=seen.stands)


def clean_elsewhere(settings: Settings, target: str, run: str, tell: Tell) -> list[str]:
    """End ``run``, of which this machine has no directory, by its tag: a drill's copies are deleted, and what dr
    restore made is marked as over and stays. Returns a sentence for each; none where nothing bears that tag.

    Raises DrError where the provider cannot be asked, or something could not be deleted.
    """
    context = context_of(settings, target, run)
    with locked(target):
        each = (_end_elsewhere(one, context, run, tell) for one in restorers(drivers(context, ())))
        return [sentence for told in each for sentence in told]


def _end_elsewhere(provider: Restorer, context: Context, run: str, tell: Tell) -> list[str]:
    found = provider.remains(run)
    drills = [one.ref.name for one in found if one.tags.get("dr:purpose") == Purpose.DRILL]
    calls = provider.orphans(context.clock.now().at, frozenset(), frozenset({run})) if drills else ()
    failed = [because for _, because in remove(provider, calls, context.clock, tell) if because]
    gone = {ref.name for call in calls for ref in call.touches}
    failed += [
        f"{name} is not of {context.name}'s source: name its own --target." for name in drills if name not in gone
    ]
    if failed:
        raise ProviderError(" ".join(failed))
    kept = [one.ref.name for one in found if one.tags.get("dr:purpose") == Purpose.RESTORE]
    for identifier in kept:
        provider.seal_tag(identifier, run, "abandoned")
    told = [f"{identifier} was deleted." for identifier in drills]
    return [*told, *(f"{identifier} stays, since dr restore made it; its run is over." for identifier in kept)]


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
    end_orphan(directory, clock)
    _note_killed(directory, clock)
    ledger = directory.ledger(clock)
    for call in ledger.state().open:
        ledger.append("undone", call, {"because": "the target was taken down, and this with it"})
    _, verdict = pronounce(directory, clock)
    directory.seal(clock.now())
    return Outcome(directory, verdict)


@dataclass(frozen=True)
class Swept:
    """What became of drill copies that no run will delete: a sentence for each that is ``gone``, and for each that is
    ``left`` although it should not be. ``stands``: what the provider lists after that, a sentence each."""

    gone: tuple[str, ...]
    left: tuple[str, ...]
    stands: tuple[str, ...]


def clean_orphans(settings: Settings, target: str, tell: Tell) -> Swept:
    """Delete the drill copies that no run will delete: those past their expiry, and those of runs of this DR_HOME that
    are over, which were listed too late for them. Only a run that is under way keeps its own."""
    context = context_of(settings, target, "orphans")
    known = runs(home())
    under_way = frozenset(directory.id for directory in known if not directory.sealed() and busy(directory))
    over = frozenset(directory.id for directory in known if _over(directory, context.clock))
    with locked(target):
        each = restorers(drivers(context, ()))
        swept = [remove_orphans(one, context.clock, under_way, over, tell) for one in each]
    return Swept(*(tuple(chain.from_iterable(told)) for told in zip(*map(astuple, swept), strict=True)))


def _over(directory: RunDirectory, clock: Clock) -> bool:
    """Whether a run will undo nothing more: it is sealed, and its ledger shows nothing open that has an undo."""
    if not (directory.sealed() and directory.readable()):
        return False
    ledger = directory.ledger(clock)
    final = {call.id for call in directory.record().plan.calls if call.undo is None}
    return ledger.intact() and set(ledger.state().open) <= final


def remove_orphans(
    provider: Restorer, clock: Clock, under_way: frozenset[str], over: frozenset[str], tell: Tell
) -> Swept:
    """What ``clean_orphans`` does, once it is known with what. One that stays does not keep the others."""
    done = remove(provider, provider.orphans(clock.now().at, under_way, over), clock, tell)
    copies = [
        (f"{', '.join(ref.name for ref in call.touches)}, a drill copy that no run here owns,", because)
        for call, because in done
    ]
    failed = {ref for call, because in done if because for ref in call.touches}
    listed = [one for one in provider.remains("") if one.tags.get("dr:purpose") == Purpose.DRILL]
    return Swept(
        gone=tuple(f"{what} was deleted." for what, because in copies if not because),
        left=tuple(f"{what} could not be deleted: {because}" for what, because in copies if because),
        stands=tuple(_standing(one, under_way) for one in listed if one.ref not in failed),
    )


def _standing(one: Resource, under_way: frozenset[str]) -> str:
    run, expires = one.tags["dr:run"], one.tags.get("dr:expires", "its expiry")
    what = f"{one.ref.name} ({one.status}), a drill copy of run {run}, stays until {expires}"
    if run in under_way:
        return f"{what}: its run is under way."
    return f"{what}: 'dr cleanup {run} --target {one.tags.get('dr:target', 'NAME')}' removes it before."
