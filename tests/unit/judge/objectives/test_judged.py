"""The judges judged: every objective is missed by a recovery that breaks it, and not known of one that nobody watched.

Each objective has the evidence of both, and of a recovery that keeps it, so that a judge which always answers the same
is found. An objective that is new needs its three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from dr.domain import looks
from dr.domain.looks import Look
from dr.domain.model import Demand, Observation, Status
from dr.domain.state import Sequence, State
from dr.evidence.model import Evidence
from dr.judge.findings import judged
from dr.judge.former import Baseline, Fingerprint, Repeat, TableSum
from dr.judge.objectives import registry
from dr.judge.verdict import judge
from dr.wiring import objectives
from tests.unit.judge.objectives.test_judged_failovers import KEPT_AND_BROKEN as OF_A_FAILOVER
from tests.unit.recovery import DEMANDS, WALL, evidence, marker, samples

KNOWN = objectives()
PRINT = Fingerprint(1.0, 15, "10:10:", {"table public.a": "1"}, {"public.a": TableSum(3, "77", "hash-15/1")})
BASELINE = {**msgspec.to_builtins(Baseline(PRINT, (Repeat(2.0, ()),))), "golden": {"p1": "aa"}}
MODEL = {"active": 1, "version": "2.3.0", "digest": "d", "artifact_digest": "d", "source": None}
POINT = {"kind": "time", "identifier": "x", "covers": WALL - 30, "resolution": 1.0}
WRITTEN = tuple(marker(n, WALL - 60 + n) for n in range(50))
HELD = {"table": True, "present": [[0, 29]]}
SETTING = {"name": "MultiAZ", "source": True, "restored": False, "because": ""}
MODEL_METRIC = "readmission_model_prediction_duration_seconds"
DATABASE_METRIC = "readmission_database_query_duration_seconds"


def copied(fingerprint: Fingerprint, golden: Mapping[str, str] | None = None) -> Evidence:
    """A copy that holds ``fingerprint``, and answers ``golden``, beside a baseline that covers it."""
    seen = {"fingerprint": msgspec.to_builtins(fingerprint), "golden": golden or {}}
    found = evidence(observed=seen)
    recorded = Observation("baseline", "source", BASELINE, WALL)
    return replace(found, observations=(*found.observations, recorded))


KEY = {"name": "k", "table": "t"}


def stateful(sequence: Sequence) -> Evidence:
    """A copy whose sequence stands as ``sequence``, beside looks at the source where it stood at 5."""
    source, copy = (
        Look(1.0, 15, "10:10:", {}, {}, {}, state=State({"public.s": one})) for one in (Sequence(5, True), sequence)
    )
    found = evidence(observed={"look": msgspec.to_builtins(copy)})
    before = looks.Baseline("b", "t", "db", "db-1", source)
    return _beside(found, baseline=msgspec.to_builtins(before), look=msgspec.to_builtins(source))


def _beside(found: Evidence, **source: Any) -> Evidence:
    """``found`` and what was observed at the source."""
    seen = (Observation(what.replace("_", "-"), "source", value, WALL) for what, value in source.items())
    return replace(found, observations=(*found.observations, *seen))


def examined(what: str, value: Any) -> Evidence:
    return evidence(observed={what: value})


def written(present: list[list[int]], covers: float = WALL - 30) -> Evidence:
    seen = {"recovery-point": {**POINT, "covers": covers}, "markers": {"table": True, "present": present}}
    return evidence(None, WRITTEN, seen)


def counted(metric: str, below: int) -> Evidence:
    return examined(
        "metrics", {metric: {"count": 300, "buckets": {"0.1": below, "2.0": below, "9.0": 300, "+Inf": 300}}}
    )


def probed(**answer: Any) -> Evidence:
    return evidence(samples(600, change=lambda _: answer))


def loaded(golden: bool, stored: int) -> Evidence:
    """Under load every answer is ``golden``, or none; and so many predictions are in the copy."""
    seen = {"copy": stored, "source": 0, "because": "", "silent": False, "first": 0, "last": 599, "before": 0}
    held = tuple(replace(one, golden=golden) for one in samples(600).samples)
    return evidence(replace(samples(600), samples=held), observed={"stored": seen})


def planted(answer: str) -> Evidence:
    return evidence(observed={"golden": {"p1": "aa"}, "planted": {"answers": {"p1": answer}, "because": ""}})


BLIND = evidence()
"""A run that did everything, of which nothing was observed."""
KEPT_AND_BROKEN: dict[str, tuple[Evidence, Evidence]] = {
    "time-to-copy": (probed(), evidence(samples(600), disaster=WALL - 100)),
    "latency": (probed(), probed(seconds=1.5)),
    "errors": (probed(), probed(status=500, error="status")),
    "exposure": (written([[0, 29]]), written([[0, 29]], covers=WALL - 3600)),
    "loss": (written([[0, 29]]), written([[0, 9], [12, 29]])),
    "exact-point": (written([[0, 29]]), written([[0, 34]])),
    "schema": (copied(PRINT), copied(replace(PRINT, schema={}))),
    "data": (copied(PRINT), copied(replace(PRINT, tables={"public.a": TableSum(3, "78", "hash-15/1")}))),
    "state": (
        stateful(Sequence(5, True)),
        stateful(Sequence(1, True, column="public.a.n", utmost=5)),
    ),
    "foreign-keys": (
        examined("foreign-keys", [{**KEY, "orphans": 0}]),
        _beside(examined("foreign-keys", [{**KEY, "orphans": 1}]), foreign_keys=[{**KEY, "orphans": 0}]),
    ),
    "indexes": (
        examined("indexes", {"available": True, "checked": 1, "failed": []}),
        examined("indexes", {"available": True, "checked": 1, "failed": [{"index": "i", "error": "torn"}]}),
    ),
    "model": (examined("model", MODEL), examined("model", {**MODEL, "artifact_digest": "e"})),
    "golden": (copied(PRINT, {"p1": "aa"}), copied(PRINT, {"p1": "bb"})),
    "planted": (planted("aa"), planted("bb")),
    "answers": (loaded(True, 600), loaded(False, 600)),
    "stored": (loaded(True, 600), loaded(True, 599)),
    "logins": (
        examined("logins", [{"user": "u", "ok": True, "because": ""}]),
        examined("logins", [{"user": "u", "ok": False, "because": "stale"}]),
    ),
    "configuration": (
        examined("configuration", [{**SETTING, "expected": True}]),
        examined("configuration", [{**SETTING, "expected": False}]),
    ),
    "model-latency": (counted(MODEL_METRIC, 300), counted(MODEL_METRIC, 200)),
    "database-latency": (counted(DATABASE_METRIC, 300), counted(DATABASE_METRIC, 200)),
}


def test_every_objective_is_here() -> None:
    apart = {"time-to-restore"}  # of which nothing but the ledger tells
    assert set(registry()) <= set(KEPT_AND_BROKEN) | set(OF_A_FAILOVER) | apart


@pytest.mark.parametrize("objective", KEPT_AND_BROKEN)
def test_an_objective_is_met_where_kept_missed_where_broken_and_not_known_where_nothing_was_seen(
    objective: str,
) -> None:
    kept, broken = KEPT_AND_BROKEN[objective]
    found = [judged(KNOWN[objective].judge, seen, asked(objective)) for seen in (kept, broken, BLIND)]
    assert [one.status for one in found] == [Status.MET, Status.MISSED, Status.INCONCLUSIVE], found
    assert len({one.because for one in found}) == 3


@pytest.mark.parametrize("objective", KEPT_AND_BROKEN)
def test_one_objective_alone_misses_the_verdict_or_keeps_it_from_met(objective: str) -> None:
    _, broken = KEPT_AND_BROKEN[objective]
    for seen, status in ((broken, Status.MISSED), (BLIND, Status.INCONCLUSIVE)):
        disaster = tuple(call for call in seen.record.plan.calls if call.phase == "disaster")
        plan = replace(seen.record.plan, calls=disaster, demands=(asked(objective), *_slo(objective)))
        assert judge(replace(seen, record=replace(seen.record, plan=plan)), KNOWN).status is status


def asked(objective: str) -> Demand:
    return next((d for d in DEMANDS if d.objective == objective), Demand(objective, "restored"))


def _slo(objective: str) -> tuple[Demand, ...]:
    """The time to a copy is the time until these are kept."""
    return (asked("latency"), asked("errors")) if objective == "time-to-copy" else ()
