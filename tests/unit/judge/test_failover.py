"""Phases of a failover, one that the provider gave up, and whether the service came back unaided."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from dr.domain.model import Call, Component, Demand, Effect, Finding, Observation, Status
from dr.domain.refs import Endpoint, Ref
from dr.evidence.model import Entry, Evidence
from dr.judge.findings import judged
from dr.judge.objectives import outage
from dr.judge.phases import of_failover as phases
from dr.judge.verdict import judge
from dr.report.summary import summarise
from dr.wiring import objectives
from tests.unit import outages
from tests.unit.eighths import path, refused
from tests.unit.outages import DISASTER, Out, Script, of, stamp

judge_unaided = partial(judged, outage.judge_unaided)
UNAIDED = Demand("unaided", "source")
WENT = {
    "events": [
        {"at": DISASTER + 0.8, "message": "Multi-AZ instance failover started."},
        {"at": DISASTER - 60.0, "message": "Backing up DB instance."},
    ],
    "promoted_at": DISASTER + 2.0,
}


def run(*observed: Observation, script: Script | None = None) -> Evidence:
    found = of(script or Script([Out(0.0, 3.0, "silent")], after=15))
    return replace(found, observations=observed)


def failover(**changed: Any) -> Observation:
    return Observation("failover", "source", WENT | changed, DISASTER + 20)


def process(at: float, started: float = 1.0, pid: int = 7) -> Observation:
    return Observation("service-process", "source", {"pid": pid, "started": started}, DISASTER + at)


def test_phases_go_from_the_disaster_to_the_slo() -> None:
    found = phases(run(failover()))
    assert [p.name for p in found] == ["detection", "promotion", "reconnection", "back-in-slo"]
    assert [p.seconds for p in found[:2]] == [pytest.approx(0.8), pytest.approx(1.2)]
    assert found[2].seconds == pytest.approx(1.0, abs=0.04)
    assert 0 <= found[3].seconds <= 1.0
    assert found[0].started == DISASTER


@pytest.mark.parametrize("name", ["promoted", "failed-over"])
def test_who_observes_no_failover_tells_its_end_by_a_milestone(name: str) -> None:
    """As another provider may, which has no events."""
    found = run()
    server = Component("database", Ref("other", "server", "two"), Endpoint("two.example.test", 5432))
    told = Entry(9, stamp(3.0), "effect", "other-failover", {}, "", "", {name: DISASTER + 2.0}, (server,))
    found = replace(found, entries=(*found.entries, told))
    assert [(p.name, round(p.seconds, 1)) for p in phases(found)][:2] == [("detection", 2.0), ("promotion", 0.0)]
    primary = next(fact for fact in summarise(found, judge(found, objectives())).facts if fact.name == "Primary")
    assert primary.sentence == "two, which listens at two.example.test:5432"


def test_a_promotions_start_ends_detection_where_it_comes_first() -> None:
    assert phases(run(failover(promotion_started_at=DISASTER + 0.5)))[0].seconds == pytest.approx(0.5)


def test_a_failover_that_the_provider_told_of_at_the_disaster_was_detected_at_once() -> None:
    for at, seconds in ((0.0, 0.0), (-0.125, 2.0)):
        told = failover(events=[{"at": DISASTER + at, "message": "Multi-AZ instance failover started."}])
        assert phases(run(told))[0].seconds == seconds


def test_phases_end_where_their_moments_are_not_known() -> None:
    never = Script([Out(0.0, 99.0)])
    assert [p.name for p in phases(run(failover(), script=never))] == ["detection", "promotion"]
    assert phases(run(failover(promoted_at=None))) == ()
    assert [p.name for p in phases(run())] == ["restart", "back-in-slo"], "nothing was to fail over"


def test_a_remedy_is_timed_from_when_the_provider_showed_what_was_wrong() -> None:
    found = run()
    remedy = Call("remedy-disk-full", "4-remedy", "remedy", "faults", "take-out", effect=Effect.CHANGES)
    plan = replace(found.record.plan, calls=(*found.record.plan.calls, remedy))
    done = Entry(
        *(9, stamp(2.0), "effect", remedy.id, {}, "", ""), {"detected": DISASTER + 0.5, "remedied": DISASTER + 0.75}
    )
    found = replace(found, record=replace(found.record, plan=plan), entries=(*found.entries, done))
    timed = {p.name: p.seconds for p in phases(found)}
    assert list(timed) == ["detection", "remedy", "reconnection", "back-in-slo"]
    assert (timed["detection"], timed["remedy"]) == (pytest.approx(0.5), pytest.approx(0.25))


def test_a_paths_return_before_the_promotion_takes_no_time() -> None:
    assert phases(run(failover(), script=Script([Out(0.0, 1.0)], after=15)))[2].seconds == 0.0


def test_a_failover_that_the_provider_abandoned_is_missed() -> None:
    event = {"at": DISASTER + 1, "event": "RDS-EVENT-0034", "message": "", "abandons": True}
    gone = failover(events=[*WENT["events"], event])  # type: ignore[misc]
    found = next(one for one in judge(run(gone), objectives()).findings if one.objective == "failover")
    assert found.status is Status.MISSED
    assert "abandoned the failover (RDS-EVENT-0034)" in found.because
    assert judge(run(gone), objectives()).status is Status.MISSED
    assert "failover" not in [one.objective for one in judge(run(failover()), objectives()).findings]


def test_events_that_cannot_be_read_are_inconclusive() -> None:
    found = judge(run(failover(events=[{"message": "no time"}])), objectives())
    assert [f.status for f in found.findings if f.objective == "failover"] == [Status.INCONCLUSIVE]


def unaided(*observed: Observation, script: Script | None = None) -> Finding:
    return judge_unaided(run(*observed, script=script), UNAIDED)


def test_a_service_whose_process_is_the_one_from_before_came_back_unaided() -> None:
    found = unaided(process(-5), process(10))
    assert found.status is Status.MET
    assert found.because == "The service came back by itself: its process is the one from before."


@pytest.mark.parametrize("other", [{"started": 900.0}, {"pid": 8}])
def test_a_service_that_was_restarted_did_not_come_back_unaided(other: dict[str, Any]) -> None:
    assert unaided(process(-5), process(10, **other)).status is Status.MISSED


@pytest.mark.parametrize(("started", "status"), [(2.0, Status.MET), (0.0, Status.MET), (2.125, Status.MISSED)])
def test_two_readings_of_one_start_may_differ_by_a_second(started: float, status: Status) -> None:
    found = unaided(process(-5), process(10, started=started))
    assert found.status is status, found.because
    assert ("its process started 1.1 s after the one before" in found.because) is (status is Status.MISSED)


def test_a_look_at_the_disaster_is_one_after_it() -> None:
    assert unaided(process(0.0), process(10)).status is Status.INCONCLUSIVE
    assert unaided(process(-5), process(0.0), script=Script(after=15)).status is Status.MET


@pytest.mark.parametrize(("at", "status"), [(1.0, Status.INCONCLUSIVE), (1.125, Status.MET)])
def test_a_look_at_the_very_moment_the_path_was_back_at_the_latest_is_one_after_that(at: float, status: Status) -> None:
    found = replace(path(refused(1.0)), observations=(process(-5), process(at)))
    assert judge_unaided(found, UNAIDED).status is status


def test_a_service_that_was_hardly_back_when_the_measuring_ended_is_not_known_to_be() -> None:
    found = unaided(process(-5), process(10), script=Script([Out(0.0, 3.0)], after=5))
    assert found.status is Status.INCONCLUSIVE
    assert found.because == "The measuring ended before the service was back for good."


def test_a_service_that_keeps_its_dead_connections_is_missed() -> None:
    """To the end of what was measured, and for longer than an outage may last: else it might have come back in time."""
    for measured, status in ((122.5, Status.MISSED), (60.0, Status.INCONCLUSIVE)):
        found = unaided(process(-5), process(10), script=Script([Out(0.0, 999.0, "silent")], after=measured))
        assert found.status is status, found.because
        assert (found.because == "The service never came back by itself.") is (status is Status.MISSED)
    back = unaided(process(-5), process(10), script=Script([Out(0.0, 125.0)], after=127.0))
    assert back.status is Status.INCONCLUSIVE, "too late for its outage, and none has restarted it"


NOT_BOTH = "When the service's process had started was not read before the disaster and after it."


@pytest.mark.parametrize(
    ("seen", "because"),
    [
        ((), NOT_BOTH),
        ((process(-5),), NOT_BOTH),
        ((process(10),), NOT_BOTH),
        ((process(-5), process(1.0)), "The service's process was last looked at before the path was back."),
        (
            (process(-5), Observation("service-process", "source", {"pid": 7, "started": None}, DISASTER + 10)),
            "The service does not tell when its process started.",
        ),
    ],
)
def test_a_process_that_was_not_looked_at_before_and_after_is_inconclusive(
    seen: tuple[Observation, ...], because: str
) -> None:
    found = unaided(*seen)
    assert (found.status, found.because) == (Status.INCONCLUSIVE, because)


def test_a_service_is_missed_only_where_it_was_out_for_longer_than_its_outage_may_last() -> None:
    never = path(*(refused(1.0 + n / 8) for n in range(57)))
    for limit, status in ((7.0 - 1 / 64, Status.INCONCLUSIVE), (7.0 - 2 / 64, Status.MISSED)):
        plan = replace(never.record.plan, demands=(Demand("outage", "source", limit, "s"), UNAIDED))
        asked = replace(never, record=replace(never.record, plan=plan))
        assert judge_unaided(asked, UNAIDED).status is status
        assert judged(outage.judge_outage, asked, plan.demands[0]).status is status


def test_a_service_that_was_not_measured_is_inconclusive() -> None:
    assert judge_unaided(outages.evidence(observed=[process(-5), process(10)]), UNAIDED).status is Status.INCONCLUSIVE
