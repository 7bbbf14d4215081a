"""The time to what no service is put on, and whose milestones count where several parts were restored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from dr.config.objective import About, Objective
from dr.domain.errors import FailedError
from dr.domain.model import Call, Component, Demand, Effect, Finding, Observation, Purpose, Request, Status, Verb
from dr.domain.refs import Ref
from dr.evidence.model import Entry, Evidence
from dr.judge.findings import finding, judged
from dr.judge.verdict import judge
from dr.wiring import objectives
from tests.unit.recovery import DEMANDS, WALL, entry, evidence, samples

ASKED = Demand("time-to-restore", "restored", 60.0, "s")
DATABASE, NAMESPACE = (
    Component(role, Ref(role, role, name)) for role, name in (("database", "db-1"), ("namespace", "shop"))
)
KNOWN = objectives()


def found(seen: Evidence, demand: Demand = ASKED) -> Finding:
    return judged(KNOWN[demand.objective].judge, seen, demand)


def beside(seen: Evidence, **milestones: float) -> Evidence:
    """``seen``, which restored a database, and a namespace that another provider restored and examined."""
    own = tuple(
        replace(one, components=(DATABASE,)) if {"available", "examined"} & set(one.milestones) else one
        for one in seen.entries
    )
    others = [
        replace(entry(90 + n, "effect", f"other-{name}", at, None, {name: at}), components=(NAMESPACE,))
        for n, (name, at) in enumerate(milestones.items())
    ]
    return replace(seen, entries=(*own, *others))


def test_it_is_met_missed_or_between_by_what_was_available_and_examined() -> None:
    told = found(evidence())
    assert (told.status, told.measured, told.interval) == (Status.MET, 19.0, (10.0, 19.0))
    assert told.because == "What was restored was available 10.0 s after the disaster, and examined after 19.0 s."
    assert found(evidence(), replace(ASKED, limit=15.0)).status is Status.INCONCLUSIVE
    assert found(evidence(), replace(ASKED, limit=9.0)).status is Status.MISSED


def test_what_never_came_or_was_not_examined_is_not_known() -> None:
    assert "was not examined" in found(evidence(examined=None)).because
    lost = replace(evidence(), entries=tuple(one for one in evidence().entries if one.call != "restore"))
    assert "not known to have become available" in found(lost).because


def test_a_time_in_which_dr_was_stopped_proves_no_miss_and_is_never_met() -> None:
    asleep = entry(80, "event", "", WALL - 2, {"asleep": 8.0})
    stopped = replace(evidence(), entries=(*evidence().entries, asleep))
    assert found(stopped).status is Status.INCONCLUSIVE
    assert found(stopped, replace(ASKED, limit=1.0)).status is Status.MISSED


def test_it_goes_by_the_last_of_all_parts_and_a_copys_time_by_its_own() -> None:
    measured = samples(600)
    both = beside(evidence(measured), available=WALL + 30, examined=WALL + 31)
    copied = Demand("time-to-copy", "restored", 60.0, "s")
    assert found(both).measured == 51.0
    assert found(both, copied) == found(evidence(measured), copied)


def test_a_part_of_another_role_that_nobody_examined_leaves_a_copy_verified() -> None:
    unread = beside(evidence(samples(600)), available=WALL - 5)
    assert found(unread).status is Status.INCONCLUSIVE
    assert found(unread, Demand("time-to-copy", "restored", 60.0, "s")).status is Status.MET


def lacking(role: str) -> Mapping[str, Objective]:
    """All objectives, and one about the content of ``role`` that is missed."""
    missed = Objective("shelf", About.CONTENT, lambda _, of: finding(of, Status.MISSED, "A book is gone."), role=role)
    return {**KNOWN, "shelf": missed}


@pytest.mark.parametrize(("role", "status"), [("database", Status.MISSED), ("", Status.MISSED), ("shop", Status.MET)])
def test_a_copy_is_not_verified_by_content_of_its_own_role(role: str, status: Status) -> None:
    run = evidence(samples(600))
    demands = (
        Demand("shelf", "restored"),
        *(one for one in run.record.plan.demands if one.objective == "time-to-copy"),
    )
    slo = tuple(one for one in run.record.plan.demands if one.objective in ("latency", "errors"))
    plan = replace(run.record.plan, demands=(*demands, *slo))
    verdict = judge(replace(run, record=replace(run.record, plan=plan)), lacking(role))
    assert {one.objective: one.status for one in verdict.findings}["time-to-copy"] is status


@pytest.mark.parametrize(("driver", "status"), [("driver", Status.MISSED), ("other", Status.MET)])
def test_a_copys_time_is_missed_where_its_own_provider_failed(driver: str, status: Status) -> None:
    run = beside(evidence(samples(600)))
    broken = Call("late", "v", "restore", driver, "o", effect=Effect.READS, promises=("available",))
    plan = replace(run.record.plan, calls=(*run.record.plan.calls, broken), demands=DEMANDS[:3])
    failed = Entry(
        99, run.entries[-1].stamp, "failed", "late", {"error": FailedError.__name__, "because": "No."}, "", ""
    )
    seen = replace(run, record=replace(run.record, plan=plan), entries=(*run.entries, failed))
    told = {one.objective: one.status for one in judge(seen, KNOWN).findings}
    assert (told["time-to-copy"], told["completed"]) == (status, Status.MISSED)


# -- how much a recovery point may leave uncovered, each by its kind


def restoring(*to: Mapping[str, Any]) -> Request:
    return Request("t", tuple(Verb("restore", {"to": of}) for of in to), Purpose.DRILL)


STATED = {"exposure-time": 100.0, "exposure-snapshot": 1000.0}


def test_a_demand_holds_the_limit_of_each_kind_of_point_where_there_are_several() -> None:
    exposure = KNOWN["exposure"]
    one = exposure.demand("restored", restoring({"snapshot": "s"}), STATED)
    assert (one.limit, one.limits) == (1000.0, {})
    alike = exposure.demand("restored", restoring({"snapshot": "s"}, {"backup": "b"}), STATED)
    assert (alike.limit, alike.limits) == (1000.0, {})
    both = exposure.demand("restored", restoring({"backup": "b"}, {"time": 5.0}), STATED)
    assert both.limits == {"backup": 1000.0, "time": 100.0}


@pytest.mark.parametrize(("covers", "status", "limit"), [(WALL - 90, "met", 100.0), (WALL - 300, "missed", 100.0)])
def test_each_point_is_held_to_the_limit_of_its_kind(covers: float, status: str, limit: float) -> None:
    demand = KNOWN["exposure"].demand("restored", restoring({"backup": "b"}, {"time": 5.0}), STATED)
    points = [
        Observation("recovery-point", "restored", {"kind": kind, "covers": at, "resolution": 0.0}, WALL, call)
        for kind, at, call in (("backup", WALL - 500, "a"), ("time", covers, "b"))
    ]
    told = found(replace(evidence(), observations=tuple(points)), demand)
    assert (str(told.status), told.limit) == (status, 1000.0 if status == "met" else limit), told.because
