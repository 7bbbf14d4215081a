"""Finish what was left: runs that were killed, and copies that no run owns any more; or hand a copy over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass
from itertools import chain

from dr.app.drill import end_orphan
from dr.app.ending import Outcome, finish, look, of_purpose, pronounce, remove
from dr.app.lock import busy, locked
from dr.app.session import Session, Tell, attach, context_of
from dr.config.context import Context
from dr.config.load import home
from dr.config.model import Settings
from dr.domain.errors import DrError, ProviderError, RefusedError
from dr.domain.model import Purpose, Resource
from dr.domain.refs import Ref
from dr.evidence.directory import RunDirectory, find_run, runs, unfinished
from dr.evidence.restored import made
from dr.evidence.seals import seal
from dr.host import locks
from dr.host.clock import SystemClock
from dr.host.signals import say
from dr.judge.verdict import judge
from dr.ports import Clock, Restorer
from dr.wiring import ask_each, drivers, objectives

MEND = (
    "Make it readable, or put it back from a copy. If neither can be done, move {path} away. Then"
    " 'dr cleanup {run} --target NAME' removes what it left at the provider, found by its tag."
)


def unsealed(target: str | None = None, purpose: Purpose | None = None) -> list[RunDirectory]:
    """Runs that never came to their end, oldest first. Those that cannot be read, ``unreadable`` names."""
    known = ((directory, record.plan.request) for directory, record in unfinished(home()).runs)
    return [one for one, asked in known if target in (None, asked.target) and purpose in (None, asked.purpose)]


def unreadable() -> tuple[str, ...]:
    """A sentence for each unfinished run that is left out, on whichever target, since its evidence cannot be read."""
    lost = unfinished(home()).unreadable.items()
    return tuple(
        f"Run {run} is left out: {why} {MEND.format(path=home() / 'runs' / run, run=run)}" for run, why in lost
    )


def clean(settings: Settings, directory: RunDirectory, tell: Tell) -> Outcome:
    """Unwind, judge and seal ``directory``'s run. What ``dr restore`` made stays, and the outcome says so. Raises
    RefusedError while the run is under way (stop it with ``dr abort`` first)."""
    session = attach(settings, directory, tell)
    with locked(session.context.name):
        return _clean(session)


Ended = Iterator[tuple[RunDirectory, Outcome | DrError]]
"""Runs, each with what became of it. One that cannot be ended keeps none of the others."""


def clean_drills(settings: Settings, target: str, tell: Tell) -> Ended:
    """Finish the drills on a target whose lock is held that were killed. What fails is raised where they are gone
    through, not before."""
    yield from _each(unsealed(target, Purpose.DRILL), lambda directory: _clean(attach(settings, directory, tell)))


def _each(directories: Iterable[RunDirectory], end: Callable[[RunDirectory], Outcome]) -> Ended:
    for directory in directories:
        try:
            yield directory, end(directory)
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
    restore made is marked as over and stays. Returns a sentence for each; none where nothing bears that tag. Raises
    DrError where the provider cannot be asked, or something could not be deleted."""
    context = context_of(settings, target, run)
    with locked(target):
        told, failed = ask_each(drivers(context, ()), lambda one: _end_elsewhere(one, context, run, tell))
    if failed:
        raise failed[0]
    return [*chain.from_iterable(told)]


def _end_elsewhere(provider: Restorer, context: Context, run: str, tell: Tell) -> list[str]:
    found = provider.remains(run)
    drills = [one.ref.name for one in of_purpose(Purpose.DRILL, found)]
    calls = provider.orphans(context.clock.now().at, frozenset(), frozenset({run})) if drills else ()
    failed = [because for _, because in remove(provider, calls, context.clock, tell) if because]
    strange = sorted({*drills} - {ref.name for call in calls for ref in call.touches})
    failed += [f"{name} is not of {context.name}'s source: name its own --target." for name in strange]
    if failed:
        raise ProviderError(" ".join(failed))
    kept = [one.ref.name for one in of_purpose(Purpose.RESTORE, found)]
    for identifier in kept:
        provider.seal_tag(identifier, run, "abandoned")
    told = [f"{identifier} was deleted." for identifier in drills]
    return [*told, *(f"{identifier} stays, since dr restore made it; its run is over." for identifier in kept)]


def _note_killed(directory: RunDirectory, clock: Clock) -> None:
    """A drill whose own session came to no verdict was killed, wherever that was."""
    ledger, purpose = directory.ledger(clock), directory.record().plan.request.purpose
    if purpose is Purpose.DRILL and directory.verdict_document() is None and ledger.intact():
        ledger.append("event", data={"text": "The drill was killed, and another command finishes it", "killed": True})


def abandon(target: str) -> Ended:
    """Judge and seal the unfinished runs of a target that is gone with all that was on it: nothing is left to undo. The
    target's lock is held."""
    clock = SystemClock()

    def end(directory: RunDirectory) -> Outcome:
        end_orphan(directory, clock)
        _note_killed(directory, clock)
        ledger = directory.ledger(clock)
        for call in ledger.state().open:
            ledger.append("undone", call, {"because": "the target was taken down, and this with it"})
        _, verdict = pronounce(directory, clock)
        if lost := seal(home(), directory, clock):
            say(lost)
        return Outcome(directory, verdict)

    yield from _each(unsealed(target), end)


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
        made = drivers(context, ())
        swept, failed = ask_each(made, lambda one: remove_orphans(one, context.clock, under_way, over, tell))
    if not swept:
        raise failed[0]
    gone, left, stands = (tuple(chain.from_iterable(told)) for told in zip(*map(astuple, swept), strict=True))
    return Swept(gone, (*left, *(f"whatever one provider has was not looked for: {why}" for why in failed)), stands)


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
    gone, left = [], []
    failed: set[Ref] = set()
    for call, because in remove(provider, provider.orphans(clock.now().at, under_way, over), clock, tell):
        what = f"{', '.join(ref.name for ref in call.touches)}, a drill copy that no run here owns,"
        if because:
            left.append(f"{what} could not be deleted: {because}")
            failed.update(call.touches)
        else:
            gone.append(f"{what} was deleted.")
    stands = [
        _standing(one, under_way) for one in of_purpose(Purpose.DRILL, provider.remains("")) if one.ref not in failed
    ]
    return Swept(tuple(gone), tuple(left), tuple(stands))


def _standing(one: Resource, under_way: frozenset[str]) -> str:
    run, expires = one.tags["dr:run"], one.tags.get("dr:expires", "its expiry")
    removed = f"'dr cleanup {run} --target {one.tags.get('dr:target', 'NAME')}' removes it before."
    why = "its run is under way." if run in under_way else removed
    return f"{one.ref.name} ({one.status}), a drill copy of run {run}, stays until {expires}: {why}"


def adopt(settings: Settings, run: str, confirmed: str) -> Iterator[str]:
    """Take the run's tags off all that it restored, or has only asked for when it was killed: the provider has the word
    on that. Tells what was done, a sentence each; one that fails keeps none of the others, and is raised last. Raises
    RefusedError for a drill's copy, for a run that restored nothing, and where neither any of it nor a place that it
    was restored into, as a namespace, is named as consent."""
    session = attach(settings, find_run(home(), run), lambda *_: None)  # nothing is performed here
    found, failed = _restored(session), list[DrError]()
    names = [ref.name for ref in found]
    filled = [ref.name for call in session.plan.calls if call.restoration for ref in call.touches]
    if confirmed not in (*names, *filled):
        what = f"Say --confirm {names[0]} to take the run's tags off {', '.join(names)}."
        raise RefusedError("Nothing was confirmed.", what)
    with locked(session.context.name):
        for ref in found:
            try:
                session.restorer(ref).adopt(ref.name, session.directory.id)
            except DrError as error:
                failed.append(error)
                continue
            session.engine.ledger.append("event", data=_adopted(ref))
            yield f"{ref.name} is handed over: it bears no tag of the run any more. dr will not touch it again."
    if failed:
        raise failed[0]


def _adopted(ref: Ref) -> dict[str, str]:
    return {"text": f"{ref.name} was adopted", "adopted": ref.name, "provider": ref.provider}


def _restored(session: Session) -> list[Ref]:
    """What there is to adopt: what its restorations made, and whatever else bears the run's tag; what is adopted
    already only where all of it is. Raises RefusedError."""
    run, asked = session.directory.id, session.restorations()
    if session.plan.request.purpose is not Purpose.RESTORE or not asked:
        raise RefusedError(f"Run {run} has no restoration to adopt.", "Only dr restore makes them.")
    entries = session.directory.entries(session.context.clock)
    answers, failed = ask_each(session.providers, lambda one: of_purpose(Purpose.RESTORE, one.remains(run)))
    found = dict.fromkeys((*made(session.plan, entries), *(one.ref for one in chain.from_iterable(answers))))
    if failed and not found:
        raise failed[0]
    if not found:
        raise RefusedError(
            f"The provider lists nothing of run {run}: {asked[0].name} was asked for, and may be listed later.",
            "Repeat the command in a few minutes.",
        )
    adopted = [entry.data for entry in entries if "adopted" in entry.data]  # a former version noted the name alone
    known = {(one["adopted"], one.get("provider", ref.provider)) for one in adopted for ref in found}
    return [ref for ref in found if (ref.name, ref.provider) not in known] or [*found]
