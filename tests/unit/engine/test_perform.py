from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dr.domain.errors import DeadlineError, HaltedError, ProviderError, RefusedError
from dr.domain.model import Call, Effect, Progress
from dr.engine.perform import Engine, pause, perform, renew, unwind
from dr.engine.references import fill
from dr.evidence.directory import RunDirectory
from tests.virtual import Scripted, VirtualClock, call


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def engine_in(path: Path, driver: Scripted, clock: VirtualClock | None = None, orphaned: str = "") -> Engine:
    clock = clock or VirtualClock()
    path.mkdir(exist_ok=True)
    run = RunDirectory(path)
    return Engine(run, run.ledger(clock), {"scripted": driver}, clock, lambda _call, _note: None, lambda: orphaned)


@pytest.fixture
def driver() -> Scripted:
    return Scripted()


@pytest.fixture
def engine(tmp_path: Path, driver: Scripted) -> Engine:
    made = engine_in(tmp_path / "run", driver)
    made.ledger.append("accepted")
    return made


def kinds(engine: Engine) -> list[str]:
    return [f"{e.kind} {e.call}".strip() for e in engine.ledger.entries()]


def test_a_call_is_intended_before_and_recorded_after_it_is_applied(engine: Engine, driver: Scripted) -> None:
    perform(engine, [call("a")])
    assert kinds(engine) == ["accepted", "intent a", "effect a"]
    assert engine.ledger.state().effects["a"] == {"name": "a-made"}
    assert list(driver.made) == ["a"]


def test_an_effect_tells_how_many_observations_its_call_wrote(tmp_path: Path) -> None:
    engine = engine_in(tmp_path / "run", Scripted(polls=2))
    engine.ledger.append("accepted")
    perform(engine, [call("a")])
    observed = (tmp_path / "run" / "observations.jsonl").read_bytes().splitlines()
    assert [one.observed for one in engine.ledger.entries()] == [0, 0, len(observed)]
    assert observed


def test_without_an_accepted_plan_there_is_no_effect(tmp_path: Path, driver: Scripted) -> None:
    with pytest.raises(RefusedError, match="no accepted plan"):
        perform(engine_in(tmp_path, driver), [call("a")])
    assert driver.log == []


def test_a_call_that_has_its_effect_is_not_applied_again(engine: Engine, driver: Scripted) -> None:
    perform(engine, [call("a")])
    perform(engine, [call("a"), call("b")])
    assert driver.log == ["make a", "make b"]


def test_arguments_are_filled_from_earlier_effects(engine: Engine, driver: Scripted) -> None:
    later = call("b", args={"of": "${a.name}", "in": [{"deep": "x-${a.name}"}], "n": 3})
    perform(engine, [call("a"), later])
    assert driver.made["b"] == {"of": "a-made", "in": [{"deep": "x-a-made"}], "n": 3}


def test_a_reference_to_a_missing_effect_is_refused_and_ends_the_run(engine: Engine, driver: Scripted) -> None:
    with pytest.raises(RefusedError, match="a has not given name"):
        perform(engine, [call("b", args={"of": "${a.name}"})])
    assert driver.log == []
    assert engine.ledger.state().over


def test_a_result_puts_no_other_name_in_the_place_of_what_was_let_pass(engine: Engine, driver: Scripted) -> None:
    choice, promote = (
        call("choose", effect=Effect.READS, makes=()),
        call("promote", args={"of": "${choose.identifier}"}),
    )
    engine.ledger.append("effect", choice.id, {"identifier": "billing-db"})
    with pytest.raises(RefusedError, match="promote would build on billing-db, which its plan does not name"):
        perform(engine, [choice, promote])
    assert driver.log == []
    assert "promote" not in engine.ledger.state().began


def test_an_undo_is_held_to_what_it_names_too(engine: Engine, driver: Scripted) -> None:
    made = call("a")
    assert made.undo is not None
    perform(engine, [made])
    engine.ledger.append("effect", "choose", {"identifier": "billing-db"})
    astray = replace(made, undo=replace(made.undo, args={**made.undo.args, "of": "${choose.identifier}"}))
    (left,) = unwind(engine, [astray])
    assert "a could not be undone: undo-a would change billing-db, which its plan does not name." in left
    assert list(driver.made) == ["a"]


def test_after_a_failure_every_further_call_is_refused(tmp_path: Path) -> None:
    driver = Scripted(fails={"b": ProviderError("storage-full")})
    engine = engine_in(tmp_path, driver)
    engine.ledger.append("accepted")
    with pytest.raises(ProviderError, match="storage-full"):
        perform(engine, [call("a"), call("b")])
    with pytest.raises(RefusedError, match="over: storage-full"):
        perform(engine, [call("c")])
    assert "make c" not in driver.log


def test_a_foreign_error_is_recorded_without_its_text_which_may_hold_a_secret(tmp_path: Path) -> None:
    engine = engine_in(tmp_path, Scripted(fails={"a": ValueError("password=hunter2")}))
    engine.ledger.append("accepted")
    with pytest.raises(ValueError, match="hunter2"):
        perform(engine, [call("a")])
    assert b"hunter2" not in (tmp_path / "ledger.jsonl").read_bytes()
    assert "ValueError" in engine.ledger.state().over


def test_a_call_that_never_gets_there_ends_at_its_deadline(tmp_path: Path) -> None:
    clock = VirtualClock()
    engine = engine_in(tmp_path, Scripted(polls=10**6), clock)
    engine.ledger.append("accepted")
    began = clock.at
    with pytest.raises(DeadlineError, match=r"a did not reach made within 30 s.*provider's events\.$"):
        perform(engine, [call("a", deadline=30.0)])
    assert 30.0 < clock.at - began < 31.0


class Blind(Scripted):
    """A driver whose provider answers nothing."""

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        return Progress(False, note="RDS cannot be reached", blind=True)


def test_a_deadline_that_passes_while_nobody_can_be_asked_proves_nothing(tmp_path: Path) -> None:
    engine = engine_in(tmp_path, Blind())
    engine.ledger.append("accepted")
    with pytest.raises(ProviderError, match="Whether a reached made is not known after 30 s") as caught:
        perform(engine, [call("a", deadline=30.0)])
    assert not isinstance(caught.value, DeadlineError)
    assert engine.ledger.entries()[-1].data["error"] == "ProviderError"


def test_the_time_between_a_kill_and_a_resumption_is_not_counted_against_a_call(tmp_path: Path) -> None:
    clock = VirtualClock()
    engine = engine_in(tmp_path, Scripted(polls=20), clock)
    engine.ledger.append("accepted")
    engine.ledger.append("intent", "a", {"args": {}})
    clock.sleep(50_000.0)
    engine.ledger.append("resumed")
    perform(engine, [call("a", deadline=30.0)])
    assert "a" in engine.ledger.state().effects
    clock.sleep(50_000.0)
    resumed = clock.at
    engine.ledger.append("resumed")
    with pytest.raises(DeadlineError, match="within 1 s"):
        perform(engine, [call("b", deadline=1.0)])
    assert 1.0 < clock.at - resumed < 2.0


def test_waiting_costs_at_most_two_per_cent_after_the_first_seconds() -> None:
    assert pause(0.0) == 0.1
    assert pause(60.0) == pytest.approx(1.2)
    assert pause(36_000.0) == 10.0


def test_a_halt_stops_a_waiting_call_within_a_second(tmp_path: Path) -> None:
    clock = VirtualClock()
    engine = engine_in(tmp_path, Scripted(polls=10**6), clock)
    engine.ledger.append("accepted")
    halt_at = clock.at + 1000.0
    clock.on_sleep = lambda: engine.run.halt("dr abort was called") if clock.at >= halt_at else None
    with pytest.raises(HaltedError, match="dr abort was called"):
        perform(engine, [call("a", deadline=10_000.0)])
    assert clock.at - halt_at <= 1.0


def test_a_run_whose_session_is_gone_stops(tmp_path: Path) -> None:
    engine = engine_in(tmp_path, Scripted(), orphaned="its session is gone")
    engine.ledger.append("accepted")
    with pytest.raises(HaltedError, match="its session is gone"):
        perform(engine, [call("a")])


def test_identity_is_confirmed_before_every_call_and_every_undo(engine: Engine, driver: Scripted) -> None:
    perform(engine, [call("a")])
    driver.identity = RefusedError("another account")
    with pytest.raises(RefusedError, match="another account"):
        perform(engine, [call("b")])
    left = unwind(engine, [call("a"), call("b")])
    assert left == ("a could not be undone: another account",)
    assert driver.made == {"a": {}}


def test_unwind_undoes_newest_first_and_only_what_is_open(engine: Engine, driver: Scripted) -> None:
    calls = [call("a"), call("b"), call("c")]
    perform(engine, calls[:2])
    assert unwind(engine, calls) == ()
    assert driver.log == ["make a", "make b", "remove undo-b", "remove undo-a"]
    assert unwind(engine, calls) == ()
    assert len(driver.log) == 4


def test_one_undo_that_fails_does_not_stop_the_others_and_is_told(engine: Engine, driver: Scripted) -> None:
    calls = [call("a"), call("b")]
    perform(engine, calls)
    driver.fails["undo-b"] = ProviderError("still attached")
    assert unwind(engine, calls) == ("b could not be undone: still attached",)
    assert list(driver.made) == ["b"]
    del driver.fails["undo-b"]
    assert unwind(engine, calls) == ()
    assert driver.made == {}


def test_keep_spares_restorations_but_never_faults(engine: Engine, driver: Scripted) -> None:
    calls = [call("copy", restoration=True), call("fault", restoration=True, effect=Effect.FAULT), call("meter")]
    perform(engine, calls)
    unwind(engine, calls, keep=True)
    assert list(driver.made) == ["copy"]


def test_resuming_makes_what_died_with_its_session_again(engine: Engine, driver: Scripted) -> None:
    calls = [call("copy"), call("service", volatile=True)]
    perform(engine, calls)
    driver.made.pop("service")  # the machine went down
    renew(engine, calls)
    perform(engine, calls)
    assert list(driver.made) == ["copy", "service"]
    assert driver.log.count("make copy") == 1


@pytest.mark.parametrize("appended", range(1, 12))
def test_a_run_killed_after_any_ledger_entry_is_finished_by_the_next(
    appended: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, calls = Scripted(polls=1), [call("a"), call("b", args={"of": "${a.name}"}), call("c")]
    engine = engine_in(tmp_path, driver)
    engine.ledger.append("accepted")
    with monkeypatch.context() as process, suppress(Killed):
        _kill_after(engine, appended, process)
        perform(engine, calls)
        unwind(engine, calls)
    again = engine_in(tmp_path, driver)
    if "undoing" not in {e.kind for e in again.ledger.entries()}:
        perform(again, calls)
        assert list(driver.made) == ["a", "b", "c"]
        assert driver.made["b"] == {"of": "a-made"}
    assert unwind(again, calls) == ()
    assert driver.made == {}
    assert again.ledger.intact()


def _kill_after(engine: Engine, appended: int, process: pytest.MonkeyPatch) -> None:
    real, count = type(engine.ledger).append, 0

    def append(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        entry = real(self, *args, **kwargs)
        count += 1
        if count == appended:
            raise Killed
        return entry

    process.setattr(type(engine.ledger), "append", append)


def test_fill_leaves_values_that_are_no_references_alone() -> None:
    assert fill({"a": 1, "b": None, "c": "$5"}, {}) == {"a": 1, "b": None, "c": "$5"}


def test_a_torn_observation_is_left_out_and_the_next_is_whole(engine: Engine, tmp_path: Path) -> None:
    perform(engine, [call("a")])
    with (tmp_path / "run" / "observations.jsonl").open("ab") as file:
        file.write(b'{"what": "se')
    perform(engine, [call("b")])
    lines = (tmp_path / "run" / "observations.jsonl").read_bytes().splitlines()
    assert len(lines) == 3
    assert b'"b"' in lines[2]


class Deaf(Scripted):
    """A driver that does not return from ``at`` ("make", "remove" or "poll")."""

    def __init__(self, at: str) -> None:
        super().__init__()
        self.at = at

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        done = super().apply(call, args)
        self._wait(call.operation)
        return done

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        self._wait("poll")
        return super().poll(call, result)

    def _wait(self, at: str) -> None:
        while at == self.at:
            time.sleep(60)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dr.host.alarm.EVERY", 0.01)
    monkeypatch.setattr("dr.engine.perform.UNHEARD", 0.05)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("at", ["make", "poll"])
def test_a_provider_that_does_not_return_is_given_up_after_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    monkeypatch.setattr("dr.engine.perform.OVERDUE", 0.05 - call("a").deadline)
    engine = engine_in(tmp_path / "run", Deaf(at))
    engine.ledger.append("accepted")
    with pytest.raises(ProviderError, match="scripted has not returned from a for"):
        perform(engine, [call("a")])
    assert "failed a" in kinds(engine)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("at", ["make", "poll"])
def test_a_provider_that_does_not_return_cannot_keep_a_halted_run(tmp_path: Path, at: str) -> None:
    engine = engine_in(tmp_path / "run", Deaf(at))
    engine.ledger.append("accepted")
    later = threading.Timer(0.05, engine.run.halt, ["SIGTERM was received"])
    later.start()
    with pytest.raises(HaltedError, match="SIGTERM"):
        perform(engine, [call("a")])
    later.join()
    assert kinds(engine)[-1] == "halted a"


@pytest.mark.usefixtures("hurried")
def test_an_undo_that_does_not_return_is_left_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_in(tmp_path / "run", Deaf("remove"))
    engine.ledger.append("accepted")
    perform(engine, [call("a")])
    monkeypatch.setattr("dr.engine.perform.OVERDUE", 0.05 - call("a").deadline)
    (left,) = unwind(engine, [call("a")])
    assert "has not returned from" in left
