"""The judges of a failover judged: each objective kept, broken, and not known of a run that nobody watched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dr.domain.model import Demand, Observation, Status
from dr.drivers.prometheus import judge as corroboration
from dr.evidence.model import Evidence
from dr.judge.findings import judged
from dr.judge.objectives import outage, survival
from dr.judge.verdict import judge
from dr.wiring import objectives
from tests.unit.outages import DEMANDS, DISASTER, WRITES, Out, Script, Takeover, dice, evidence, of, run_of, written

KNOWN = objectives()
SYNC, LATE = written(Takeover(), dice(3)), written(Takeover(lag=0.5), dice(3))
ASTRAY = written(Takeover(astray=(1.5, 1.7)), dice(3))
ASKED = {
    "outage": Demand("outage", "source", 2.0, "s"),
    "acknowledged": WRITES[0],
    "loss-seconds": replace(WRITES[1], limit=0.3),
    "split-brain": WRITES[2],
    "unaided": Demand("unaided", "source"),
    "corroborated": Demand("corroborated", "source"),
}


def processes(after: float) -> Evidence:
    seen = [(DISASTER - 5, 100.0), (DISASTER + 60, after)]
    told = tuple(Observation("service-process", "source", {"pid": 7, "started": at}, when) for when, at in seen)
    return replace(of(Script([Out(0.0, 1.0)])), observations=told)


def scraped(errors: float) -> Evidence:
    grid = [DISASTER + n for n in range(11)]
    value = {"range": 5.0, "step": 1.0, "up": [[DISASTER - 60, DISASTER + 60]], "latency": [[at, 0.01] for at in grid]}
    value["rules"] = {}
    value["errors"] = [[at, errors] for at in grid]
    told = (Observation("prometheus", "source", value, DISASTER + 20),)
    return replace(of(Script([Out(0.0, 1.0)], after=10)), observations=told)


KEPT_AND_BROKEN: dict[str, tuple[Evidence, Evidence]] = {
    "outage": (of(Script([Out(0.0, 1.0)])), of(Script([Out(0.0, 3.0)]))),
    "acknowledged": (run_of(SYNC), run_of(LATE)),
    "loss-seconds": (run_of(SYNC), run_of(LATE)),
    "split-brain": (run_of(SYNC), run_of(ASTRAY)),
    "unaided": (processes(100.0), processes(DISASTER + 3)),
    "corroborated": (scraped(0.3), scraped(0.0)),
}
BLIND = evidence()


def test_every_objective_of_a_failover_is_here() -> None:
    modules = (outage, survival, corroboration)
    assert set(KEPT_AND_BROKEN) == set(ASKED) == {one.name for module in modules for one in module.OBJECTIVES}


@pytest.mark.parametrize("objective", KEPT_AND_BROKEN)
def test_an_objective_is_met_where_kept_and_not_known_where_nothing_was_seen(objective: str) -> None:
    kept, broken = KEPT_AND_BROKEN[objective]
    contradicted = Status.INCONCLUSIVE if objective == "corroborated" else Status.MISSED
    found = [judged(KNOWN[objective].judge, seen, ASKED[objective]) for seen in (kept, broken, BLIND)]
    assert [one.status for one in found] == [Status.MET, contradicted, Status.INCONCLUSIVE], found
    assert len({one.because for one in found}) == 3


@pytest.mark.parametrize("objective", KEPT_AND_BROKEN)
def test_one_objective_alone_decides_the_verdict(objective: str) -> None:
    kept, broken = KEPT_AND_BROKEN[objective]
    for seen, status in ((kept, Status.MET), (broken, None), (BLIND, Status.INCONCLUSIVE)):
        slo = DEMANDS[1:] if objective == "corroborated" and seen is not BLIND else ()
        calls = tuple(c for c in seen.record.plan.calls if c.phase == "disaster")
        plan = replace(seen.record.plan, calls=calls, demands=(ASKED[objective], *slo))
        found = judge(replace(seen, record=replace(seen.record, plan=plan)), KNOWN)
        wanted = status or judged(KNOWN[objective].judge, broken, ASKED[objective]).status
        own = next(f for f in found.findings if f.objective == objective)
        assert own.status is wanted, own
        assert slo or found.status is wanted
