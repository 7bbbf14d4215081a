"""A wall clock that was set while a run was under way: no duration is taken from it, and it is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dr.domain.model import Finding, Observation, Stamp, Status
from dr.evidence.clocks import clocks
from dr.evidence.ledger import Ledger
from dr.evidence.model import Evidence
from dr.host import clock
from dr.host.clock import SystemClock, WallClock
from dr.judge.objectives.loss import point_of
from dr.judge.verdict import judge
from dr.wiring import objectives
from tests.unit.recoveries import DISASTER, drill, on_call, stamp

AFTER = 4
"""From this entry on the clock is another; the disaster comes before, the copy after."""


def set_by(evidence: Evidence, seconds: float) -> Evidence:
    """As dr took all times from the wall clock, and that was set by ``seconds``."""
    entries = [
        replace(
            one,
            stamp=replace(one.stamp, at=one.stamp.at + seconds),
            milestones={name: at + seconds for name, at in one.milestones.items()},
        )
        for one in evidence.entries[AFTER + 2 :]
    ]
    return replace(evidence, entries=(*evidence.entries[: AFTER + 2], *entries))


def followed(evidence: Evidence, seconds: float) -> Evidence:
    """As no time followed the wall clock, which was set by ``seconds``."""
    entries = [
        replace(one, stamp=replace(one.stamp, wall=one.stamp.at + (seconds if n >= AFTER else 0.0)))
        for n, one in enumerate(evidence.entries)
    ]
    return replace(evidence, entries=tuple(entries))


def found(evidence: Evidence, objective: str) -> Finding:
    """Without what was found in the copy, which the time to a verified one waits for."""
    plan = evidence.record.plan
    demands = tuple(one for one in plan.demands if one.objective == objective or one.objective not in ("data", "loss"))
    asked = replace(evidence, record=replace(evidence.record, plan=replace(plan, demands=demands)))
    return next(one for one in judge(asked, objectives()).findings if one.objective == objective)


def test_the_drill_is_in_time_by_a_clock_that_nobody_sets() -> None:
    assert found(drill(), "time-to-copy").status is Status.MET
    assert "clock" not in found(drill(), "time-to-copy").because


@pytest.mark.parametrize(("seconds", "words"), [(-60.0, "The wall clock was set back by 60.0 s"), (60.0, "forward by")])
@pytest.mark.parametrize("objective", ["time-to-copy", "exposure", "loss", "clock"])
def test_times_taken_from_a_clock_that_was_set_are_unknown(objective: str, seconds: float, words: str) -> None:
    one = found(set_by(drill(), seconds), objective)
    assert one.status is Status.INCONCLUSIVE
    assert words in one.because
    assert one.measured is None


def test_what_rests_on_no_time_is_judged_all_the_same() -> None:
    evidence, stepped = drill(), set_by(drill(), -60.0)
    for objective in ("latency", "errors", "data"):
        assert found(stepped, objective) == found(evidence, objective)
    assert judge(stepped, objectives()).phases == ()


@pytest.mark.parametrize(("seconds", "words"), [(-60.0, "set back by 60.0 s"), (60.0, "set forward by 60.0 s")])
def test_a_clock_that_was_set_and_no_time_followed_is_told_and_changes_no_time(seconds: float, words: str) -> None:
    before, one = found(drill(), "time-to-copy"), found(followed(drill(), seconds), "time-to-copy")
    assert (one.status, one.measured, one.interval) == (before.status, before.measured, before.interval)
    assert (
        one.because == f"{before.because} The wall clock was {words} during the run; times are by the monotonic clock."
    )


def test_a_quarter_of_a_second_is_two_readings_and_no_set_clock() -> None:
    assert found(followed(drill(), 0.2), "time-to-copy") == found(drill(), "time-to-copy")
    assert found(set_by(drill(), 0.2), "time-to-copy").status is Status.MET
    assert clocks([stamp(1.0), replace(stamp(2.0), at=2.3)]).lost == pytest.approx(0.3)


def test_a_clock_that_was_read_is_known_whatever_the_wall_clock_here_was_set_to() -> None:
    assert point_of(followed(drill(), -60.0), "restored") == point_of(drill(), "restored")


def test_a_database_whose_clock_was_set_and_one_that_was_never_read_may_be_elsewhere_by_that() -> None:
    usual = point_of(drill(), "restored")
    again = Observation("clock", "source", {"offset": -59.9996, "uncertainty": 0.001})
    parted = point_of(replace(drill(), observations=(*drill().observations, again)), "restored")
    assert (parted.covers, parted.unsure) == (usual.covers, pytest.approx(usual.unsure + 60.0))
    unread = replace(followed(drill(), 45.0), markers={})
    assert point_of(unread, "restored").unsure == pytest.approx(1.0 + 45.0)


def test_a_persons_time_of_the_disaster_is_by_another_clock() -> None:
    def since(evidence: Evidence) -> Evidence:
        untold = (
            replace(one, milestones={k: v for k, v in one.milestones.items() if k != "disaster"})
            for one in evidence.entries
        )
        return replace(evidence, entries=tuple(untold))

    assert on_call().record.plan.request.since == DISASTER
    assert found(since(on_call()), "time-to-copy").status is Status.MET
    one = found(followed(since(on_call()), 60.0), "time-to-copy")
    assert one.status is Status.INCONCLUSIVE
    assert "set forward by 60.0 s during the run, and other clocks" in one.because


def test_a_providers_events_are_by_another_clock() -> None:
    """They say when it failed over; a restore's phases are by the ledger alone."""
    told = Observation("failover", "source", {"events": [], "promoted_at": DISASTER + 9, "server": "b"})
    whole = replace(drill(), observations=(*drill().observations, told))
    names = [phase.name for phase in judge(whole, objectives()).phases]
    assert "promotion" in names
    assert [phase.name for phase in judge(followed(whole, 60.0), objectives()).phases] == names[
        : names.index("detection")
    ]


def booted(evidence: Evidence) -> Evidence:
    """The machine was booted after the first entries: its monotonic clock began anew."""
    entries = (
        replace(one, stamp=replace(one.stamp, mono_ns=n * 1_000_000_000 * 2, boot="boot-2")) if n >= AFTER else one
        for n, one in enumerate(evidence.entries)
    )
    return replace(evidence, entries=tuple(entries))


def test_across_boots_the_wall_clock_alone_tells_and_a_set_one_does_not() -> None:
    one = found(booted(drill()), "time-to-copy")
    assert one.status is Status.MET
    assert one.because.endswith("The machine was booted during the run; across that its wall clock alone tells.")
    last = booted(drill()).entries[-1]
    late = replace(last, stamp=replace(last.stamp, wall=last.stamp.at + 60))
    first = replace(booted(drill()).entries[AFTER], stamp=replace(booted(drill()).entries[AFTER].stamp, wall=None))
    second = booted(drill()).entries[AFTER + 1]
    second = replace(second, stamp=replace(second.stamp, wall=second.stamp.at))
    whole = booted(drill()).entries
    stepped = replace(drill(), entries=(*whole[:AFTER], first, second, *whole[AFTER + 2 : -1], late))
    assert "the machine was booted, too" in found(stepped, "time-to-copy").because


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, float]]:
    """The machine's clocks, in seconds, to be changed."""
    now = {"wall": 1_795_417_200.0, "awake": 100.0, "passed": 100.0}
    monkeypatch.setattr(time, "time", lambda: now["wall"])
    monkeypatch.setattr(time, "monotonic_ns", lambda: round(now["awake"] * 1e9))
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _: round(now["passed"] * 1e9))
    clock._beginning.cache_clear()
    yield now
    clock._beginning.cache_clear()


def test_the_systems_time_goes_on_whatever_the_wall_clock_is_set_to(times: dict[str, float]) -> None:
    began = SystemClock().now()
    for name, seconds in (("wall", 10.0 - 60.0), ("awake", 10.0), ("passed", 10.0)):
        times[name] += seconds
    after = SystemClock().now()
    assert after.at - began.at == pytest.approx(10.0)
    assert after.wall == began.at - 50.0
    found = clocks([began, after])
    assert (found.lost, found.put) == (0.0, pytest.approx(-60.0))
    assert WallClock().now().at == began.at - 50.0


def test_a_machine_that_slept_is_told_from_a_clock_that_was_set(times: dict[str, float]) -> None:
    began = SystemClock().now()
    for name, seconds in (("wall", 40.0), ("awake", 10.0), ("passed", 40.0)):
        times[name] += seconds
    found = clocks([began, SystemClock().now()])
    assert (found.lost, found.put) == (pytest.approx(30.0), 0.0)
    with pytest.raises(Exception, match=r"^The machine slept, or the wall clock was set forward by 30\.0 s"):
        found.check()


def test_whoever_is_stopped_between_two_clocks_reads_them_once_more(
    times: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    SystemClock().now()
    read = []

    def wall() -> float:
        if not read:  # stopped for five seconds, after the first clock was read
            for name in times:
                times[name] += 5.0
        read.append(times["wall"])
        return times["wall"]

    monkeypatch.setattr(time, "time", wall)
    stamped = SystemClock().now()
    assert len(read) == 2
    assert stamped.mono_ns == 105_000_000_000


def test_every_entry_has_both_clocks_and_the_boot(tmp_path: Path) -> None:
    entry = Ledger(tmp_path / "ledger.jsonl", SystemClock()).append("accepted")
    (kept,) = Ledger(tmp_path / "ledger.jsonl", SystemClock()).entries()
    assert kept.stamp == entry.stamp
    assert isinstance(kept.stamp.wall, float)
    assert abs(kept.stamp.wall - kept.stamp.at) < 0.25
    assert kept.stamp.mono_ns
    assert kept.stamp.boot


def test_a_stamp_of_an_earlier_version_has_no_wall_clock_of_its_own() -> None:
    assert clocks([Stamp(5.0, 5_000_000_000, "b"), Stamp(6.0, 6_000_000_000, "b")]) == (0.0, 0.0, 1)


def test_a_machine_that_is_always_slow_has_a_time_too(times: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    def slow() -> int:
        times["awake"] += 0.002
        return round(times["awake"] * 1e9)

    monkeypatch.setattr(time, "monotonic_ns", slow)
    assert SystemClock().now().at == times["wall"]
