"""Perform and unwind: the two loops through which every effect goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

from dr.domain.errors import DeadlineError, DrError, HaltedError, ProviderError, RefusedError
from dr.domain.model import Call, Effect, Progress
from dr.engine.guard import astray
from dr.engine.references import fill
from dr.engine.told import misfit, stated
from dr.evidence.directory import RunDirectory
from dr.evidence.ledger import Ledger, State
from dr.host import hearing
from dr.host.alarm import looking_up
from dr.host.hearing import heed, heeding
from dr.ports import Clock, Provider

FIRST_PAUSE, LONGEST_PAUSE, SHARE = 0.1, 10.0, 0.02
"""Seconds between polls: a fiftieth of the time already waited, so that waiting costs at most two per cent."""
OVERDUE = 60.0
"""Seconds past a call's deadline after which a provider that has not returned is given up."""
UNHEARD = 10.0
"""Seconds after which one that does not hear that the run is to stop is given up."""

Tell = Callable[[Call, str], None]
"""Progress for a person."""


@dataclass(frozen=True)
class Engine:
    """What both loops need. ``providers``: a driver's name to the driver. ``orphaned``: why the run must stop although
    nobody halted it (its session is gone), or ""."""

    run: RunDirectory
    ledger: Ledger
    providers: Mapping[str, Provider]
    clock: Clock
    tell: Tell
    orphaned: Callable[[], str]


def pause(waited: float) -> float:
    """Seconds to the next poll after ``waited`` seconds."""
    return min(max(FIRST_PAUSE, waited * SHARE), LONGEST_PAUSE)


def perform(engine: Engine, calls: Iterable[Call]) -> None:
    """Execute planned calls: intent, apply, poll, effect. A call that already has its effect is left alone. Raises the
    driver's DrError after noting it in the ledger, HaltedError where the run was told to stop, and RefusedError where
    the plan was not accepted or the run is over."""
    applied: list[str] = []
    for call in calls:
        state = engine.ledger.state()
        if not state.accepted:
            raise RefusedError("This run has no accepted plan, so nothing may be changed.", "Start it with dr.")
        if state.over:
            raise RefusedError(f"This run is over: {state.over}")
        if call.id in state.effects:
            continue
        try:
            with heeding(partial(_check_halt, engine)):
                heed()
                _perform(engine, call, state, applied)
        except HaltedError as error:
            engine.ledger.append("halted", call.id, {"because": str(error)} | ({} if error.begun else {"begun": False}))
            raise
        except Exception as error:
            why: dict[str, Any] = {"because": _sentence(error), "error": type(error).__name__}
            if call.effect is not Effect.READS and call.id in applied:
                why["begun"] = True  # what it touches is not what it was, whatever the error
            if isinstance(error, ProviderError) and error.transient:
                why["passing"] = True
            engine.ledger.append("failed", call.id, why)
            raise


def _check_halt(engine: Engine) -> None:
    because = engine.run.halted() or engine.orphaned()
    if because:
        raise HaltedError(f"The run was stopped: {because}.")


def _sentence(error: Exception) -> str:
    """What the ledger says of an error; a foreign one's text may hold anything and is left out."""
    return str(error) if isinstance(error, DrError) else f"the harness itself failed ({type(error).__name__})"


def _perform(engine: Engine, call: Call, state: State, applied: list[str]) -> None:
    args = fill(call.args, state.effects)
    _check_names(call, args)
    provider = engine.providers[call.driver]
    provider.confirm_identity()
    intent = engine.ledger.append("intent", call.id, {"args": args})
    engine.tell(call, "")
    with looking_up(_impatience(engine, call)):
        result = provider.apply(call, args)
    applied.append(call.id)
    observed = 0

    def poll() -> Progress:
        nonlocal observed
        with looking_up(_impatience(engine, call)):
            progress = provider.poll(call, result)
        engine.run.observe(progress.observations, engine.clock.now().at, call.id)
        observed += len(progress.observations)
        return progress

    # Between a kill and a resumption nobody waited: that time is not counted against the call.
    began = max(state.began.get(call.id, intent.stamp.at), state.resumed)
    progress = _awaited(call, poll, began, engine.clock, engine.tell, partial(hearing.pause, engine.clock))
    _check_told(engine, call, progress)
    engine.ledger.append("effect", call.id, progress.result, progress.milestones, progress.components, observed)


def _impatience(engine: Engine, call: Call) -> Callable[[float], None]:
    """What gives a provider up that does not return. Whoever bounds itself, as dr's own do, never meets it."""
    told: list[float] = []

    def look(waited: float) -> None:
        _check_overdue(call, waited)
        try:
            _check_halt(engine)
        except HaltedError:
            told.append(waited)
            if waited - told[0] > UNHEARD:
                raise

    return look


def _check_overdue(call: Call, waited: float) -> None:
    if waited > call.deadline + OVERDUE:
        what = f"The provider {call.driver} has not returned from {call.id} for {waited:.0f} s."
        raise ProviderError(what, "See what it waits for.", transient=True)


def _check_told(engine: Engine, call: Call, progress: Progress) -> None:
    """Raises ProviderError where what the provider tells at the end is not of what the plan lets it do."""
    plan = engine.run.record().plan.calls if progress.components else ()
    if why := misfit(call, progress, stated(plan, call)):
        raise ProviderError(
            f"{call.id}: the provider {call.driver} {why}.", "Nothing of that is taken. Mend its folder."
        )


def _check_names(call: Call, args: Mapping[str, Any]) -> None:
    """Raises RefusedError where an earlier result named what the guard did not let pass."""
    why = astray(call, args)
    if why:
        raise RefusedError(why, "Nothing was done to it. See in the ledger which result named it.")


def _awaited(
    call: Call, poll: Callable[[], Progress], began: float, clock: Clock, tell: Tell, wait: Callable[[float], None]
) -> Progress:
    """The poll that shows it done. Raises ProviderError past its deadline."""
    while not (progress := poll()).done:
        waited = clock.now().at - began
        tell(call, progress.note)
        if waited > call.deadline:
            raise _too_late(call, progress)
        wait(0.0 if progress.busy else pause(waited))
    return progress


def _too_late(call: Call, progress: Progress) -> ProviderError:
    """What is known at the deadline: nothing, where the last poll saw nothing."""
    end, note = call.until or "its end", progress.note or "no more is known"
    if progress.blind:
        return ProviderError(
            f"Whether {call.id} reached {end} is not known after {call.deadline:.0f} s ({note}).",
            "See why the provider cannot be asked.",
            transient=True,
        )
    return DeadlineError(
        f"{call.id} did not reach {end} within {call.deadline:.0f} s ({note}).", "Look at the provider's events."
    )


def unwind(engine: Engine, calls: Iterable[Call], keep: bool = False) -> tuple[str, ...]:
    """Undo what the ledger shows as open, newest first. Returns what is left, a sentence each. ``keep`` spares
    restorations, never faults. An undo that fails is noted, told, and does not stop the others."""
    planned = {call.id: call for call in calls}
    state = engine.ledger.state()
    leftovers = []
    for name in state.open:
        call = planned.get(name)
        if call is None or call.undo is None or (keep and call.restoration and call.effect is not Effect.FAULT):
            continue
        try:
            _undo(engine, call, call.undo, state)
        except Exception as error:  # whatever it is: the other undos must still be done, and this one told
            engine.ledger.append("event", name, {"text": f"undo failed: {_sentence(error)}"})
            leftovers.append(f"{name} could not be undone: {_sentence(error)}")
    return tuple(leftovers)


def renew(engine: Engine, calls: Iterable[Call]) -> None:
    """Before a run is resumed: undo what died with the session that made it, so that it is made again."""
    unwind(engine, [call for call in calls if call.volatile])


def _undo(engine: Engine, call: Call, undo: Call, state: State) -> None:
    provider = engine.providers[undo.driver]
    provider.confirm_identity()
    engine.ledger.append("undoing", call.id)
    certain = call.id in state.effects or call.id in state.refused
    result = state.effects.get(call.id, {})
    told = {"intended_at": state.intended[call.id], "certain": certain, "result": result}
    args = {**fill(undo.args, state.effects), "undone": told}
    progress = carry_out(provider, undo, args, engine.clock, engine.tell)
    engine.ledger.append("undone", call.id, progress.result)


def carry_out(provider: Provider, undo: Call, args: Mapping[str, Any], clock: Clock, tell: Tell) -> Progress:
    """Apply what removes something, and wait until it is gone, whether the run was halted or not. Raises the driver's
    DrError, ProviderError past the deadline, and RefusedError for what ``undo`` does not name."""
    _check_names(undo, {name: value for name, value in args.items() if name != "undone"})  # that is told, not acted on
    began = clock.now().at
    tell(undo, "")

    def overdue() -> AbstractContextManager[None]:
        return looking_up(partial(_check_overdue, undo))

    with overdue():
        result = provider.apply(undo, args)

    def poll() -> Progress:
        with overdue():
            return provider.poll(undo, result)

    return _awaited(undo, poll, began, clock, tell, clock.sleep)
