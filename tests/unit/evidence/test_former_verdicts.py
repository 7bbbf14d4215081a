"""Runs that were recorded before an effect told milestones and components: their verdicts are repeated to the word.

Each archive beside this file is a sealed run directory of dr as it was then.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from dr.evidence.directory import RunDirectory
from dr.evidence.model import Evidence
from dr.judge.verdict import judge
from dr.report.formats import document
from dr.report.summary import summarise
from dr.wiring import objectives
from tests.virtual import VirtualClock

FORMER = Path(__file__).parent / "former"
RUNS = ("failover-drill", "pitr-drill", "promotion-drill", "promotion-on-call", "restore-on-call")


def recorded(name: str, directory: Path) -> tuple[Evidence, dict[str, Any]]:
    """The evidence of a recorded run, and the verdict that it was given."""
    with tarfile.open(FORMER / f"{name}.tar.xz") as archive:
        archive.extractall(directory, filter="data")
    return RunDirectory(directory).load(VirtualClock()), json.loads((directory / "verdict.json").read_text())


@pytest.mark.parametrize("name", RUNS)
def test_the_verdict_of_a_recorded_run_is_repeated_to_the_word(name: str, tmp_path: Path) -> None:
    evidence, given = recorded(name, tmp_path)
    assert evidence.problems == ()
    repeated = json.loads(json.dumps(document(evidence, judge(evidence, objectives()))))
    same = ("run", "drill", "target", "verdict", "verified", "findings", "phases", "remains")
    assert {key: repeated[key] for key in same} == {key: given[key] for key in same}


def test_a_recorded_restore_says_how_to_cut_over_to_what_it_restored(tmp_path: Path) -> None:
    evidence, _ = recorded("restore-on-call", tmp_path)
    found = summarise(evidence, judge(evidence, objectives()))
    (copy,) = found.standing
    assert f"Point the service at {copy.endpoint} and restart it." in found.cut_over
