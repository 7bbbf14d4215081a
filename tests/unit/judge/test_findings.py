"""How findings are put together: edges, and sentences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dr.domain.model import Demand, Finding, Observation, Status
from dr.judge.findings import UnknownError, baseline_of, by_name, finding, judged, limit_of, within
from tests.unit.recoveries import drill


@pytest.mark.parametrize(
    ("low", "high", "status"),
    [
        (0.0, 1.0, Status.MET),
        (1.0, 1.0, Status.MET),
        (1.0, 1.5, Status.INCONCLUSIVE),
        (1.125, 1.5, Status.MISSED),
        (0.0, 1.125, Status.INCONCLUSIVE),
    ],
)
def test_a_limit_is_kept_at_itself_and_broken_only_beyond_it(low: float, high: float, status: Status) -> None:
    assert within(low, high, 1.0) is status


def test_without_a_limit_nothing_is_known() -> None:
    with pytest.raises(UnknownError, match=r"^No limit is known\.$"):
        limit_of(Demand("outage", "source"))
    assert limit_of(Demand("loss", "restored", 0.0)) == 0.0


@pytest.mark.parametrize(
    ("recorded", "why"),
    [
        ([], "no baseline was looked for"),
        ([None], "no baseline covers the recovery point"),
        ([{"tables": {}}, "torn"], "what was recorded of the baseline cannot be read"),
    ],
)
def test_it_is_told_why_there_is_no_baseline(recorded: list[Any], why: str) -> None:
    told = tuple(Observation("baseline", "source", value) for value in recorded)
    told += (Observation("baseline", "elsewhere", {}), Observation("other", "source", {}))
    with pytest.raises(UnknownError) as error:
        baseline_of(replace(drill(), observations=told), "The schema")
    assert str(error.value) == f"The schema cannot be compared: {why}."


def test_the_last_baseline_is_the_one_that_is_compared_with() -> None:
    told = tuple(Observation("baseline", "source", value) for value in (None, {"a": 1}, {"b": 2}))
    assert baseline_of(replace(drill(), observations=told), "The schema") == {"b": 2}


def test_offenders_are_named_the_first_three_of_them() -> None:
    demand, many = Demand("indexes", "restored"), dict.fromkeys("abcde", "it is torn")
    wrong = by_name(demand, many, {"z": "it is locked"}, "All are whole.", "index")
    because = "a: it is torn, b: it is torn, c: it is torn and 2 more; 1 index could not be judged."
    assert (wrong.status, wrong.because, wrong.measured, wrong.unit) == (Status.MISSED, because, 5.0, "indexes")
    three = by_name(demand, dict(list(many.items())[:3]), {"y": "", "z": ""}, "", "table")
    because = "a: it is torn, b: it is torn, c: it is torn; 2 tables could not be judged."
    assert (three.because, three.unit) == (because, "tables")
    met = by_name(demand, {}, {}, "All are whole.", "index")
    assert (met.status, met.because, met.measured) == (Status.MET, "All are whole.", 0.0)
    with pytest.raises(UnknownError, match=r"^z: it is locked\.$"):
        by_name(demand, {}, {"z": "it is locked"}, "All are whole.", "index")


def test_a_judge_that_finds_nothing_is_inconclusive() -> None:
    found = judged(lambda _evidence, _demand: None, drill(), Demand("data", "restored"))  # type: ignore[arg-type,return-value]
    assert found.status is Status.INCONCLUSIVE
    assert found.because == "The judge itself failed with TypeError, so nothing is known."


def test_a_finding_has_its_limit_and_unit_from_its_demand() -> None:
    demand = Demand("loss", "restored", 2.0, "markers")
    told = finding(demand, Status.MET, "So it is.", 1.0, (0.0, 2.0))
    assert told == Finding("loss", "restored", Status.MET, "So it is.", 1.0, "markers", 2.0, (0.0, 2.0))
