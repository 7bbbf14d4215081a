"""dr asleep is not a target out of its objectives: its own lateness is judged before all else, and told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from dr.app import steady
from dr.domain.model import Finding, Observation, Status
from dr.evidence.model import Entry, Evidence
from dr.judge import course
from dr.judge.findings import judged
from dr.judge.objectives.outage import judge_outage
from dr.judge.objectives.time_to_copy import time_to_copy
from dr.judge.verdict import judge
from dr.judge.windows import Look, Slo, look
from dr.report.summary import summarise
from dr.wiring import objectives
from tests.unit.drivers.rds.support import VirtualClock
from tests.unit.outages import DISASTER, Out, Script, of
from tests.unit.outages import demand as demand_of
from tests.unit.recoveries import drill
from tests.unit.recovery import TIMEOUT, WALL, demand, entry, evidence, samples

SLO = Slo(1.0, 0.01)
BAD = {"status": 0, "error": "timeout"}


def probes(count: int, change: Mapping[str, Any], first: int, last: int) -> Any:
    return samples(count, change=lambda n: change if first <= n < last else {}).samples


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seconds": 3.1, "late": 3.0}, "the prober was stalled for 3000 ms"),
        ({**BAD, "seconds": 2.0, "late": 1.0}, "the prober was stalled for 1000 ms"),
        ({"seconds": 1.05, "late": 0.09}, "the prober was 90 ms late"),
    ],
)
def test_a_look_of_a_prober_that_slept_says_nothing_of_the_source(change: Mapping[str, Any], words: str) -> None:
    seen = look(probes(100, change, 20, 80), TIMEOUT, SLO, 100)
    assert (seen.in_slo, seen.broken, seen.void) == (False, False, words)


def test_a_look_that_was_cut_short_says_nothing_however_good_it_is() -> None:
    assert look(probes(95, {}, 0, 0), TIMEOUT, SLO, 100) == Look(0.01, 0, 95, True, False)
    assert look(probes(40, {}, 0, 0), TIMEOUT, SLO, 100).void == "60 of 100 probes are missing"
    assert not look(probes(40, {}, 0, 0), TIMEOUT, SLO, 100).in_slo
    assert not look(probes(40, BAD, 0, 40), TIMEOUT, SLO, 100).broken


def test_a_source_that_a_punctual_prober_finds_out_is_out() -> None:
    seen = look(probes(100, {**BAD, "seconds": 2.0}, 0, 50), TIMEOUT, SLO, 100)
    assert (seen.in_slo, seen.broken, seen.void) == (False, True, "")


def steady_state(*values: Mapping[str, Any]) -> list[Finding]:
    looks = tuple(Observation("steady", "source", value) for value in values)
    return [one for one in course.findings(replace(drill(), observations=looks)) if one.objective == "steady-state"]


@pytest.mark.parametrize(("place", "when"), [(0, "before the drill began"), (1, "after the drill")])
def test_a_void_look_is_told_as_that_and_is_no_harm(place: int, when: str) -> None:
    fine = {"p95": 0.1, "errors": 0, "probes": 100, "in_slo": True, "broken": False, "looks": 1, "void": ""}
    void = {**fine, "p95": 3.1, "in_slo": False, "void": "the prober was stalled for 3000 ms"}
    (told,) = steady_state(*([void, fine] if place == 0 else [fine, void]))
    assert told.status is Status.INCONCLUSIVE
    known = f"Whether the source was within its objectives {when} is not known"
    assert told.because == f"{known}: the prober was stalled for 3000 ms."


@pytest.mark.parametrize(("stalled", "in_slo", "looks"), [(1, True, 2), (3, True, 4), (9, False, 4)])
def test_a_look_during_which_dr_slept_is_taken_once_more_whatever_the_time(
    stalled: int, in_slo: bool, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many looks, during each of which dr is stopped for half a minute."""
    clock, seen = VirtualClock(), list[Observation]()
    taken: list[Look] = []

    def observed(*_: object) -> Look:
        void = len(taken) < stalled
        clock.sleep(30.0 if void else steady.SECONDS)
        taken.append(Look(30.0, 0, 100, not void, False, "the prober was stalled" if void else ""))
        return taken[-1]

    monkeypatch.setattr(steady, "_observed", observed)
    directory = SimpleNamespace(observe=lambda found, _: seen.extend(found), halted=lambda: "")
    session: Any = SimpleNamespace(context=SimpleNamespace(clock=clock), directory=directory)
    assert steady.in_slo(session) is in_slo
    assert [(one.value["in_slo"], one.value["looks"]) for one in seen] == [(in_slo, looks)]


def stopped(found: Evidence, at: float, seconds: float, like: Entry) -> Evidence:
    """dr itself had been stopped for ``seconds`` when it went on ``at``."""
    shift = at - like.stamp.at
    stamp = replace(like.stamp, at=at, mono_ns=like.stamp.mono_ns + round(shift * 1e9))
    note = replace(like, stamp=stamp, kind="event", call="", data={"asleep": seconds}, milestones={})
    return replace(found, entries=(*found.entries, note))


@pytest.mark.parametrize(
    ("limit", "asleep", "status"),
    [
        (60.0, 0.0, Status.MET),
        (60.0, 10.0, Status.INCONCLUSIVE),
        (15.0, 10.0, Status.INCONCLUSIVE),
        (15.0, 0.0, Status.MISSED),
        (15.0, 2.0, Status.MISSED),
        (60.0, 0.19, Status.MET),
        (5.0, 10.0, Status.MISSED),
    ],
)
def test_how_long_a_copy_took_is_not_known_where_dr_slept_unless_it_was_late_without_that(
    limit: float, asleep: float, status: Status
) -> None:
    """It is found good from 19.5 to 20 s after the disaster."""
    asked, found = replace(demand("time-to-copy"), limit=limit), evidence(samples(600))
    if asleep:
        found = stopped(found, WALL - 5, asleep, entry(9, "event", "", WALL - 5))
    one = judged(time_to_copy, found, asked)
    assert one.status is status
    told = f"dr itself was stopped for {asleep:.1f} s of the time that it took. From the disaster"
    assert one.because.startswith(told) is (status is Status.INCONCLUSIVE)
    if status is not Status.INCONCLUSIVE:
        assert one.interval == pytest.approx((19.5 - asleep, 20.0))


def test_the_time_for_which_the_service_stood_still_is_not_held_against_the_copy() -> None:
    asked = replace(demand("time-to-copy"), limit=15.0)
    still = evidence(samples(600), observed={"asked": {"stood": 6.0}})
    one = judged(time_to_copy, still, asked)
    assert (one.status, one.interval) == (Status.INCONCLUSIVE, pytest.approx((13.5, 20.0)))


@pytest.mark.parametrize(("asleep", "told"), [(0.1, False), (0.3, True), (5.0, True)])
@pytest.mark.parametrize("place", [5, 7])
def test_a_run_in_which_dr_slept_for_more_than_a_moment_says_so(place: int, asleep: float, told: bool) -> None:
    """The drill's steps take 14 s."""
    whole = drill()
    entries = whole.entries
    found = stopped(whole, entries[place + 1].stamp.at, asleep, entries[place])
    awake = [f for f in course.findings(found) if f.objective == "awake"]
    assert bool(awake) is told
    if told:
        assert awake[0].status is Status.INCONCLUSIVE
        assert f"dr itself was stopped for {asleep:.1f} s of the run" in awake[0].because


def test_a_stop_of_a_second_or_of_half_a_minute_is_told_at_whatever_step() -> None:
    whole = drill()
    first, last = whole.steps()
    places = [n for n, one in enumerate(whole.entries) if first < one.stamp.at <= last]
    assert len(places) > 5
    for place in places:
        for asleep in (1.0, 9.0, 30.0):
            since = whole.entries[place].stamp.at
            found = stopped(whole, since, min(asleep, since - first), whole.entries[place])
            statuses = {one.objective: one.status for one in judge(found, objectives()).findings}
            assert statuses["awake"] is Status.INCONCLUSIVE, (place, asleep)
            assert judge(found, objectives()).status is not Status.MET


def lasting(found: Evidence, factor: float) -> Evidence:
    """The same run, so many times as long."""
    begin = found.entries[0].stamp.at
    stamps = (replace(e.stamp, at=begin + (e.stamp.at - begin) * factor) for e in found.entries)
    return replace(found, entries=tuple(replace(e, stamp=s) for e, s in zip(found.entries, stamps, strict=True)))


@pytest.mark.parametrize(("asleep", "told"), [((1.5, 2.0), "3.5"), ((1.0,), ""), ((), ""), ((900.0,), "")])
def test_what_dr_slept_of_a_long_run_is_told_and_changes_no_verdict(asleep: tuple[float, ...], told: str) -> None:
    """The steps of a thousand drills take some four hours. More than a hundredth of them is a finding, told as that."""
    whole = found = lasting(drill(), 1000.0)
    for seconds in asleep:
        found = stopped(found, found.entries[6].stamp.at, seconds, found.entries[5])
    verdict = judge(found, objectives())
    assert bool(told) <= (verdict == judge(whole, objectives()))
    said = f"dr itself was stopped for {told} s of the run, at most 1% of it, and did nothing meanwhile."
    harness = summarise(found, verdict).harness
    assert ("was stopped" in harness, said in harness) == (bool(told), bool(told))


@pytest.mark.parametrize("told", ["soon", None, -3.0, 10**400, [1.0]])
def test_what_is_no_time_is_none_that_dr_slept(told: object) -> None:
    found = stopped(drill(), drill().entries[6].stamp.at, 1.0, drill().entries[5])
    last = replace(found.entries[-1], data={"asleep": told})
    assert replace(found, entries=(*found.entries[:-1], last)).asleep(*found.steps()) == 0.0


def test_what_dr_slept_before_its_first_step_or_after_its_last_is_no_part_of_the_run() -> None:
    whole = drill()
    for entry_ in (whole.entries[0], whole.entries[-1]):
        found = stopped(whole, entry_.stamp.at, 1.0, entry_)
        assert not [f for f in course.findings(found) if f.objective == "awake"]


def test_what_dr_slept_before_the_disaster_or_after_the_copy_is_none_of_the_time() -> None:
    whole = judged(time_to_copy, evidence(samples(600)), demand("time-to-copy"))
    for at, asleep in ((WALL - 20, 30.0), (WALL + 15, 14.0)):
        found = stopped(evidence(samples(600)), at, asleep, entry(9, "event", "", at))
        assert judged(time_to_copy, found, demand("time-to-copy")) == whole
    half = stopped(evidence(samples(600)), WALL - 15, 30.0, entry(9, "event", "", WALL - 15))
    assert half.asleep(WALL - 20, WALL) == 5.0


@pytest.mark.parametrize(
    ("limit", "status"), [(30.0, Status.INCONCLUSIVE), (15.0, Status.INCONCLUSIVE), (9.0, Status.MISSED)]
)
def test_an_outage_that_dr_slept_through_may_have_been_shorter(limit: float, status: Status) -> None:
    found = of(Script([Out(0.5, 20.5)], after=24.5))
    found = stopped(found, DISASTER + 12.0, 10.0, found.entries[-1])
    one = judged(judge_outage, found, demand_of("outage", limit))
    assert one.status is status
    assert ("dr itself was stopped for 10.0 s of the outage" in one.because) is (status is Status.INCONCLUSIVE)
    if status is Status.MISSED:
        assert one.interval is not None
        assert one.interval[0] == pytest.approx(10.0, abs=0.1)


@pytest.mark.parametrize(("limit", "status"), [(26.0, Status.MET), (22.0, Status.INCONCLUSIVE), (19.0, Status.MISSED)])
def test_a_copy_may_have_been_good_while_its_prober_slept(limit: float, status: Status) -> None:
    """It was served from 19.5 s after the disaster on; the prober was punctual from 26 s on alone."""
    slept = samples(600, change=lambda n: {"late": 0.2, "seconds": 0.21} if n < 300 else {})
    one = judged(time_to_copy, evidence(slept), replace(demand("time-to-copy"), limit=limit))
    assert (one.status, one.interval) == (status, (19.5, 26.0))
