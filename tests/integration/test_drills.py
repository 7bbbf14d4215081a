"""The drills from argv to verdict, and that nothing is left of them however they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_restore import SOURCE, intends, statuses
from tests.labs import ROOT, Lab, eventually

QUIETLY = ("--no-version-check", "--log-file", os.devnull, "--settings", os.devnull)
DRILLS = ("rds-snapshot-restore", "rds-pitr")


def leaves_nothing(lab: Lab) -> None:
    """The source alone is left, with no schema of the harness's, and no process of a run."""
    assert list(lab.instances()) == [SOURCE]
    with lab.connect(SOURCE) as connection:
        found = connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'dr'").fetchone()
        assert found == (0,)
    eventually(lambda: not lab.run_processes(), 10)


def test_the_snapshot_drill_is_met_and_leaves_nothing(lab: Lab) -> None:
    verdict = lab.verdict("drill", "run", "rds-snapshot-restore", "--yes", code=0)
    assert set(statuses(verdict).values()) == {"met"}
    assert {"time-to-copy", "exposure", "data", "golden", "latency", "errors"} <= set(statuses(verdict))
    leaves_nothing(lab)


def test_the_point_in_time_drill_brings_the_rows_back_and_loses_no_marker(lab: Lab) -> None:
    verdict = lab.verdict("drill", "run", "rds-pitr", "--yes", code=0)
    assert set(statuses(verdict).values()) == {"met"}
    assert {"loss", "exact-point", "exposure", "data"} <= set(statuses(verdict))
    leaves_nothing(lab)


def test_keep_leaves_the_copy_and_nothing_else(lab: Lab) -> None:
    verdict = lab.verdict("drill", "run", "rds-snapshot-restore", "--yes", "--keep", code=0)
    kept = verdict["restored"]["identifier"]
    assert sorted(lab.instances()) == sorted([SOURCE, kept])
    eventually(lambda: not lab.run_processes(), 10)
    assert "nothing is left" in lab.dr("cleanup", verdict["run"], code=0).stdout
    assert kept not in lab.instances()
    assert lab.verdict("verify", verdict["run"], code=0)["verdict"] == "met"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("call", ["restore", "measure-restored"])
def test_a_signal_unwinds_the_drill(lab: Lab, call: str, number: signal.Signals, code: int) -> None:
    running = lab.begin("drill", "run", "rds-snapshot-restore", "--yes")
    eventually(lambda: any(intends(run, call) for run in lab.runs()[-1:]))
    running.send_signal(number)
    assert running.wait(120) == code
    leaves_nothing(lab)
    assert json.loads((lab.runs()[-1] / "verdict.json").read_text())["verdict"] != "met"


def test_a_drill_is_cleaned_up_and_never_resumed(lab: Lab) -> None:
    refused = lab.dr("restore", "--resume", lab.runs()[-1].name, "--yes", code=3)
    assert "come to its end" in refused.stderr


def test_a_drill_killed_before_its_acceptance_hinders_nothing(lab: Lab) -> None:
    half = lab.home / "runs" / "20200101-000000-0000"
    half.mkdir()
    record = (lab.runs()[-1] / "run.json").read_text()
    (half / "run.json").write_text(record)
    lab.dr("cleanup", code=0)
    assert (half / "seal.json").exists()
    leaves_nothing(lab)


def test_abort_unwinds_the_drill(lab: Lab) -> None:
    running = lab.begin("drill", "run", "rds-pitr", "--yes")
    eventually(lambda: any(intends(run, "restore") for run in lab.runs()[-1:]))
    lab.dr("abort", code=0)
    assert running.wait(120) == 130
    leaves_nothing(lab)


PITR_CALLS = ("measure-source", "plant-victims", "take-baseline", "vanish", "restore", "examine", "serve")


@pytest.mark.parametrize("call", PITR_CALLS)
def test_a_drill_killed_at_any_step_is_cleaned_up_by_the_next_command(lab: Lab, call: str) -> None:
    running = lab.begin("drill", "run", "rds-pitr", "--yes")
    eventually(lambda: any(intends(run, call) for run in lab.runs()[-1:]))
    running.kill()
    running.wait(10)
    lab.dr("cleanup", code=0)
    leaves_nothing(lab)
    verdict = json.loads((lab.runs()[-1] / "verdict.json").read_text())
    assert verdict["verdict"] in ("inconclusive", "missed")


def test_the_child_alone_killed_unwinds_the_drill(lab: Lab) -> None:
    running = lab.begin("drill", "run", "rds-snapshot-restore", "--yes")
    eventually(lambda: any(intends(run, "restore") for run in lab.runs()[-1:]))
    os.kill(_child(lab.runs()[-1]), signal.SIGKILL)
    assert running.wait(120) == 4
    leaves_nothing(lab)


def _child(run: Path) -> int:
    for line in (run / "ledger.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["data"].get("text") == "Chaos Toolkit started":
            return int(entry["data"]["pid"])
    raise AssertionError("no child was started")


def test_a_bare_chaos_run_plans_guards_and_leaves_nothing(lab: Lab) -> None:
    run = ("run", "--journal-path", str(lab.home / "journal.json"), "experiments/rds-snapshot-restore.yaml")
    refused = _chaos(*run, env=lab.env)
    assert "Nothing was confirmed" in refused.stderr + refused.stdout
    assert list(lab.instances()) == [SOURCE]
    ran = _chaos(*run, env={**lab.env, "DR_YES": "1"})
    assert ran.returncode == 0, ran.stderr
    assert json.loads((lab.runs()[-1] / "verdict.json").read_text())["verdict"] == "met"
    leaves_nothing(lab)


def _chaos(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chaostoolkit", *QUIETLY, *args],
        capture_output=True,
        text=True,
        env=env,
        cwd=ROOT,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize("drill", DRILLS)
def test_chaos_toolkit_finds_every_drill_valid(drill: str) -> None:
    ended = _chaos("validate", f"experiments/{drill}.yaml")
    assert ended.returncode == 0, ended.stderr + ended.stdout


def test_a_refused_drill_is_an_error_in_the_junit_file(lab: Lab, tmp_path: Path) -> None:
    lab.dr("drill", "run", "rds-pitr", "--junit", str(tmp_path / "junit.xml"), code=3)
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()  # noqa: S314  (our own file)
    assert [case.find("error") is not None for case in root.iter("testcase")] == [True]


def test_reports_of_a_run_come_in_every_form(lab: Lab) -> None:
    run = lab.runs()[-1].name
    page = lab.dr("report", run, "--format", "html").stdout
    assert page.lstrip().lower().startswith("<!doctype html")
    assert "RDS emulated" in page
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://127.0.0.1", "")
    for form in ("text", "markdown", "json", "junit"):
        assert lab.dr("report", run, "--format", form).stdout.strip()


def test_drills_are_listed_and_shown(lab: Lab) -> None:
    listed: list[dict[str, Any]] = json.loads(lab.dr("drill", "list", "--output", "json", code=0).stdout)
    assert {drill["name"] for drill in listed} >= set(DRILLS)
    assert "runbooks/rds-pitr.md" in lab.dr("drill", "show", "rds-pitr", code=0).stdout
