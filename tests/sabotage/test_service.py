"""A service that does not work on the copy it is given, or not as the source's does, is found out while it is asked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dr.drivers.service.variants import planted_names
from tests.integration.test_restore import SOURCE, statuses
from tests.labs import ROOT, Lab, configured
from tests.targets import retargeted

HELD = ("golden", "planted", "answers", "stored")


def restored(lab: Lab, into: Path, code: int, lie: str = "", **of_service: Any) -> dict[str, Any]:
    """The verdict of a restore whose service lies, or of which the target says something else."""
    service, database = lab.target.service, lab.target.postgres.name
    assert service is not None
    at = lab.instances()[SOURCE]["Endpoint"]
    source = f"postgresql://{service.login}@{at['Address']}:{at['Port']}/{database}"
    env = ("env", f"PYTHONPATH={ROOT}", f"TRUTH_SOURCE_URL={source}")
    command = (*env, sys.executable, "-m", "tests.truth.service", *lie.split()) if lie else service.command
    changed = msgspec.structs.replace(service, command=command, **of_service)
    target = msgspec.to_builtins(retargeted(lab.target, service=changed))
    return lab.verdict("restore", "--latest-snapshot", "--yes", code=code, **configured(into, targets={"lab": target}))


def held(verdict: dict[str, Any]) -> dict[str, str]:
    return {name: status for name, status in statuses(verdict).items() if name in HELD}


def rows(lab: Lab, instance: str, table: str, column: str, values: list[str]) -> int:
    with lab.connect(instance) as connection:
        query = f"select count(*) from {table} where {column} = any (%s)"
        return int(connection.execute(query.encode(), (values,)).fetchone()[0])


def test_a_healthy_service_is_met_and_nothing_planted_is_left_in_a_copy_that_stays(lab: Lab, tmp_path: Path) -> None:
    verdict = restored(lab, tmp_path, 0)
    assert held(verdict) == dict.fromkeys(HELD, "met")
    planting = lab.target.service and lab.target.service.planted
    assert planting is not None
    names = [str(name) for name in planted_names(planting, verdict["run"]).values()]
    copy = verdict["restored"][0]["identifier"]
    for instance in (copy, SOURCE):
        for table, column in (
            ("patients", "patient_id"),
            ("admissions", "admission_id"),
            ("predictions", "patient_id"),
        ):
            assert rows(lab, instance, table, column, names) == 0
    assert rows(lab, copy, "predictions", "admission_id", ["SYN-0001-1"]) > 0


def of_the_source(lab: Lab) -> int:
    with lab.connect(SOURCE) as connection:
        return int(connection.execute("select count(*) from predictions").fetchone()[0])


@pytest.mark.parametrize(
    ("lie", "found"),
    [
        ("cached", {"golden": "met", "planted": "missed", "answers": "inconclusive", "stored": "inconclusive"}),
        ("astray", {"golden": "met", "planted": "missed", "answers": "inconclusive", "stored": "inconclusive"}),
        ("forgetful", {"golden": "met", "planted": "met", "answers": "met", "stored": "missed"}),
        ("inverted 24", {"golden": "met", "planted": "met", "answers": "missed", "stored": "missed"}),
    ],
)
def test_a_service_that_lies_is_missed_by_the_demand_that_sees_it(
    lab: Lab, tmp_path: Path, lie: str, found: dict[str, str]
) -> None:
    before = of_the_source(lab)
    verdict = restored(lab, tmp_path, 1, lie)
    assert held(verdict) == found, verdict["findings"]
    asked_of_the_source = {"cached": 5, "astray": 8}  # of which three while nobody may read what was planted
    assert of_the_source(lab) - before == asked_of_the_source.get(lie, 0)


def test_where_a_target_does_not_say_how_nothing_is_planted_and_nothing_is_known_of_it(
    lab: Lab, tmp_path: Path
) -> None:
    verdict = restored(lab, tmp_path, 4, planted=None)
    assert held(verdict) == {"golden": "met", "planted": "inconclusive", "answers": "met", "stored": "inconclusive"}


def test_what_cannot_be_planted_is_not_known_and_keeps_the_copy_from_nothing_else(lab: Lab, tmp_path: Path) -> None:
    assert lab.target.service is not None
    assert lab.target.service.planted is not None
    planting = msgspec.structs.replace(lab.target.service.planted, login=lab.target.postgres.roles[0])
    verdict = restored(lab, tmp_path, 4, planted=planting)
    assert held(verdict) == {"golden": "met", "planted": "inconclusive", "answers": "met", "stored": "inconclusive"}
    because = next(f["because"] for f in verdict["findings"] if f["objective"] == "planted")
    assert "refused readmission_api planting rows of the run's own" in because


def test_a_service_that_is_said_to_store_nothing_and_does_is_met(lab: Lab, tmp_path: Path) -> None:
    verdict = restored(lab, tmp_path, 0, "forgetful", stored=False)
    assert held(verdict) == {"golden": "met", "planted": "met", "answers": "met"}
