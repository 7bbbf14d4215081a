"""The judges of a workload that lost a part: kept, broken, and not known of a run that nobody watched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dr.domain.model import Demand, Observation, Status
from dr.drivers.kubernetes import judge
from dr.evidence.model import Entry, Evidence
from dr.judge.findings import judged
from dr.judge.phases import phases
from dr.wiring import objectives
from tests.unit.outages import DISASTER, Out, Script, dice, evidence, samples, stamp

KNOWN = objectives()
ASKED = {
    "redundancy": Demand("redundancy", "cluster", 60.0, "s"),
    "noticed": Demand("noticed", "cluster", 20.0, "s"),
}
STEPS = {"noticed": 10.0, "endpoint-dropped": 10.0, "evicted": 12.0, "rescheduled": 12.5, "artifact-loaded": 20.0}


def span(at: float) -> list[float]:
    return [DISASTER + at - 0.25, DISASTER + at]


def watched(restored: float | None, until: float = 100.0, noticed: float | None = 10.0, **parts: Any) -> Evidence:
    """A workload that stood whole again so many seconds after the loss."""
    came = {name: span(at) for name, at in STEPS.items() if name != "noticed"}
    value = {
        "of": "readmission-system/readmission-model",
        "node": "gpu-1",
        "steps": came | ({} if noticed is None else {"noticed": span(noticed)}),
        "restored": None if restored is None else span(restored),
        "until": DISASTER + until,
        "wanted": {"before": 2, "now": 2},
        "standing": 2 if restored is not None else 1,
        "led": 2 if restored is not None else 1,
        "gpus": {"before": 3, "now": 2},
        "unscheduled": {"pods": 0, "gpus": 0, "because": ""},
        **parts,
    }
    script = Script([Out(0.0, 4.0)], after=30.0)
    measured = {"cluster": samples(script, dice(0), "cluster")}
    demands = (*ASKED.values(), Demand("latency", "cluster", 1.0, "s"))
    return evidence(measured, None, (Observation("redundancy", "cluster", value, DISASTER + until),), demands)


KEPT_AND_BROKEN = {
    "redundancy": (watched(25.0), watched(61.0)),
    "noticed": (watched(25.0), watched(25.0, noticed=21.0)),
}


def found(objective: str, seen: Evidence) -> Any:
    return judged(KNOWN[objective].judge, seen, ASKED[objective])


def test_every_objective_of_a_workload_is_here() -> None:
    assert set(KEPT_AND_BROKEN) == set(ASKED) == {one.name for one in judge.OBJECTIVES}


@pytest.mark.parametrize("objective", KEPT_AND_BROKEN)
def test_an_objective_is_met_where_kept_missed_where_broken_and_not_known_where_nobody_watched(objective: str) -> None:
    kept, broken = KEPT_AND_BROKEN[objective]
    each = [found(objective, seen) for seen in (kept, broken, evidence())]
    assert [one.status for one in each] == [Status.MET, Status.MISSED, Status.INCONCLUSIVE], each


def test_the_steps_the_room_that_is_left_and_the_harm_stand_in_the_sentence() -> None:
    told = found("redundancy", watched(25.0)).because
    assert (
        "All 2 pods of readmission-system/readmission-model stood again 25.0 s after the loss (noticed 10.0 s," in told
    )
    assert "evicted 12.0 s, rescheduled 12.5 s, artifact loaded 20.0 s)." in told
    assert "The cluster has 2 usable GPUs, and had 3." in told
    assert "Meanwhile 200 of 1250 predictions failed, and 0 took longer than 1 s." in told


def test_a_moment_that_lies_on_both_sides_of_the_limit_is_not_known() -> None:
    assert found("redundancy", watched(60.0)).status is Status.MET
    assert found("redundancy", watched(60.125)).status is Status.INCONCLUSIVE
    assert found("redundancy", watched(60.5)).status is Status.MISSED


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (
            {"unscheduled": {"pods": 1, "gpus": 1, "because": "0/9 nodes are available: Insufficient nvidia.com/gpu."}},
            "1 pod found no node, which lack 1 GPU: the scheduler says: 0/9 nodes are available: Insufficient",
        ),
        ({"wanted": {"before": 2, "now": 0}}, "It was asked for 0 pods by then, and not for 2."),
        ({"wanted": {"before": 2, "now": None}}, "The workload itself is gone."),
        ({"standing": 2, "led": 0}, "Its Services led to 0 of them."),
        ({"steps": {}}, "Nothing showed that the cluster had noticed the loss."),
    ],
)
def test_what_never_stood_again_is_missed_with_what_lacks(parts: dict[str, Any], words: str) -> None:
    one = found("redundancy", watched(None, **parts))
    assert one.status is Status.MISSED
    assert words in one.because


def test_what_was_not_watched_for_its_limit_is_not_known() -> None:
    assert found("redundancy", watched(None, until=59.0)).status is Status.INCONCLUSIVE
    assert found("noticed", watched(None, until=19.0, noticed=None)).status is Status.INCONCLUSIVE
    assert found("noticed", watched(None, until=21.0, noticed=None)).status is Status.MISSED
    assert found("redundancy", watched(None, until=-1.0)).status is Status.INCONCLUSIVE


def test_who_moved_the_pods_is_told_and_a_remedy_looked_first() -> None:
    alone = found("noticed", watched(25.0))
    assert "The cluster moved its pods by itself." in alone.because
    seen = watched(25.0)
    acted = Entry(9, stamp(6.0), "effect", "remedy", {}, "", "", {"detected": DISASTER + 5, "remedied": DISASTER + 6})
    told = found("noticed", replace(seen, entries=(*seen.entries, acted)))
    assert (told.measured, told.status) == (5.0, Status.MET)
    assert "A person's remedy moved its pods 6.0 s after it." in told.because


def test_each_step_is_a_phase() -> None:
    told = {one.name: one.seconds for one in phases(watched(25.0), KNOWN)}
    want = {"noticed": 10.0, "evicted": 2.0, "rescheduled": 0.5, "artifact-loaded": 7.5, "redundant": 5.0}
    assert {name: told[name] for name in want} == pytest.approx(want)


def test_whoever_tells_its_own_phases_is_told_no_restart_in_place() -> None:
    names = [one.name for one in phases(watched(25.0), KNOWN)]
    assert "restart" not in names
    assert len(names) == len({*names}), "each once, although two objectives tell them"
