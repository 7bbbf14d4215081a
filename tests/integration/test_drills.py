"""The drills from argv to verdict, and that nothing is left of them however they end."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from dr.app.cleanup import unsealed
from dr.app.drill import read_all, request
from dr.app.prepare import Prepared, prepare
from dr.config.place import OWN
from dr.domain.errors import RefusedError, UsageError
from dr.host.signals import CODES
from dr.wiring import settings
from tests.integration.test_restore import SOURCE, held_processes, intends, statuses
from tests.labs import ROOT, USUAL, Lab, eventually, inside
from tests.support import ended

QUIETLY = ("--no-version-check", "--log-file", os.devnull, "--settings", os.devnull)
SMALL = str(ROOT / "tests" / "attack" / "small.yaml")
"""A drill without anything that is measured."""
DRILLS = ("rds-snapshot-restore", "rds-pitr")


def leaves_nothing(lab: Lab) -> None:
    """The source alone is left, with no schema or table of the harness's, no process of a run and no lock."""
    assert list(lab.instances()) == [SOURCE]
    with lab.connect(SOURCE) as connection:
        schemas = connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'dr'").fetchone()
        tables = connection.execute("SELECT count(*) FROM pg_class WHERE relname ~ '^(markers|victims)'").fetchone()
        assert (schemas, tables) == ((0,), (0,))
    eventually(lambda: not lab.run_processes() and not held_processes(lab), 10)
    assert not held_locks(lab)


def held_locks(lab: Lab) -> list[Path]:
    """Locks of targets and of runs that somebody holds."""
    held = []
    for path in (*(lab.home / "locks").glob("*.lock"), *(run / "lock" for run in lab.runs())):
        with suppress(FileNotFoundError), path.open("r") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(path)
    return held


@pytest.fixture(scope="session")
def met(shared_lab: Lab) -> dict[str, Any]:
    """The verdict of a drill that nobody disturbed, under no dr.yaml: several tests ask what it left."""
    return shared_lab.verdict("drill", "run", "rds-snapshot-restore", "--yes", code=0, **USUAL)


asks_one_drill = pytest.mark.xdist_group("one-drill")


@asks_one_drill
def test_the_snapshot_drill_is_met_and_leaves_nothing(lab: Lab, met: dict[str, Any]) -> None:
    assert set(statuses(met).values()) == {"met"}
    assert {"time-to-copy", "exposure", "data", "golden", "latency", "errors"} <= set(statuses(met))
    leaves_nothing(lab)


def test_the_point_in_time_drill_brings_the_rows_back_and_loses_no_marker(lab: Lab) -> None:
    verdict = lab.verdict("drill", "run", "rds-pitr", "--yes", code=0, **USUAL)
    assert set(statuses(verdict).values()) == {"met"}
    assert {"loss", "exact-point", "exposure", "data"} <= set(statuses(verdict))
    leaves_nothing(lab)


def test_keep_leaves_the_copy_and_nothing_else(lab: Lab) -> None:
    verdict = lab.verdict("drill", "run", "rds-snapshot-restore", "--yes", "--keep", code=0)
    kept = verdict["restored"][0]["identifier"]
    assert sorted(lab.instances()) == sorted([SOURCE, kept])
    eventually(lambda: not lab.run_processes(), 10)
    assert "The provider lists nothing of this run any more" in lab.dr("cleanup", verdict["run"], code=0).stdout
    assert kept not in lab.instances()
    assert lab.verdict("verify", verdict["run"], code=0)["verdict"] == "met"


def test_a_signal_unwinds_the_drill(lab: Lab) -> None:
    """At every call of every drill: tests/attack/test_kills.py. SIGTERM: tests/attack/test_end_to_end.py."""
    running = lab.begin("drill", "run", "rds-snapshot-restore", "--yes")
    eventually(lambda: any(intends(run, "measure-restored") for run in lab.runs()[-1:]))
    running.send_signal(signal.SIGINT)
    assert ended(running, 120) == 130
    leaves_nothing(lab)
    assert json.loads((lab.runs()[-1] / "verdict.json").read_text())["verdict"] != "met"


@asks_one_drill
def test_a_drill_is_cleaned_up_and_never_resumed(lab: Lab, met: dict[str, Any]) -> None:
    refused = lab.dr("restore", "--resume", met["run"], "--yes", code=3)
    assert "come to its end" in refused.stderr


@asks_one_drill
def test_a_drill_killed_before_its_acceptance_hinders_nothing(lab: Lab, met: dict[str, Any]) -> None:
    half = lab.home / "runs" / "20200101-000000-0000"
    half.mkdir(mode=0o700)
    (half / "run.json").touch(mode=0o600)
    record = (lab.home / "runs" / met["run"] / "run.json").read_text()
    (half / "run.json").write_text(record.replace(met["run"], half.name))
    lab.dr("cleanup", code=0)
    assert (half / "seal.json").exists()
    leaves_nothing(lab)


def test_abort_unwinds_the_drill(lab: Lab) -> None:
    running = lab.begin("drill", "run", "rds-pitr", "--yes")
    eventually(lambda: any(intends(run, "restore") for run in lab.runs()[-1:]))
    lab.dr("abort", code=0)
    assert ended(running, 120) == 130
    leaves_nothing(lab)


def test_a_killed_drill_is_cleaned_up_by_the_next_command(lab: Lab) -> None:
    """After every entry of every drill's ledger: tests/attack/test_kills.py. All of its processes, while it restores
    and while it unwinds: tests/attack/test_end_to_end.py."""
    run = _killed(lab, "settle-restored")
    assert "The provider lists nothing of this run any more" in lab.dr("cleanup", code=0).stdout
    leaves_nothing(lab)
    assert (run / "seal.json").exists()
    assert json.loads((run / "verdict.json").read_text())["verdict"] == "inconclusive"


def _killed(lab: Lab, call: str) -> Path:
    """A drill whose session is killed as soon as ``call`` is intended. Returns its run's directory."""
    known = lab.runs()
    running = lab.begin("drill", "run", "rds-pitr", "--yes")
    eventually(lambda: any(intends(run, call) for run in lab.runs()[len(known) :]))
    running.kill()
    ended(running)
    return lab.runs()[-1]


def _holds(run: Path, kind: str, call: str) -> bool:
    return f'"{kind}", "call": "{call}"' in (run / "ledger.jsonl").read_text()


def test_a_killed_drill_whose_ledger_ends_in_a_torn_line_is_cleaned_up(lab: Lab) -> None:
    run = _killed(lab, "take-baseline")
    eventually(lambda: not lab.run_processes(), 30)  # the child has noticed, and writes no more
    with (run / "ledger.jsonl").open("ab") as ledger:
        ledger.write(b'{"seq": 99, "stamp": {"at": 17')
    assert "The provider lists nothing of this run any more" in lab.dr("cleanup", code=0).stdout
    leaves_nothing(lab)
    assert lab.verdict("verify", run.name, code=4)["verdict"] == "inconclusive"
    assert "altered" not in (run / "verdict.json").read_text()


@asks_one_drill
def test_a_run_whose_run_json_is_cut_is_named_and_hinders_nothing(lab: Lab, met: dict[str, Any]) -> None:
    half = lab.home / "runs" / "20200101-000000-0001"
    half.mkdir(mode=0o700)
    (half / "run.json").touch(mode=0o600)
    record = (lab.home / "runs" / met["run"] / "run.json").read_bytes()
    (half / "run.json").write_bytes(record[: len(record) // 2])
    try:
        for command in ("verify", "report", "cleanup"):
            assert f"{half}/run.json, line" in lab.dr(command, half.name, code=4).stderr
        history = json.loads(lab.dr("history", "--output", "json", code=0).stdout)
        assert {row["run"]: row["verdict"] for row in history}[half.name] == "unreadable"
        assert f"Run {half.name} is left out" in lab.dr("cleanup", "--all", code=4).stderr
        assert f"Run {half.name} is left out" in lab.dr("drill", "run", "rds-pitr", "--plan", code=0).stderr
    finally:
        shutil.rmtree(half)


@asks_one_drill
def test_one_byte_of_the_samples_changed_makes_the_verdict_inconclusive(lab: Lab, met: dict[str, Any]) -> None:
    run = lab.home / "runs" / met["run"]
    samples = run / "samples-restored.jsonl"
    whole = samples.read_bytes()
    middle = whole.index(b'"status": 200', len(whole) // 2) + len(b'"status": ')
    samples.write_bytes(whole[:middle] + b"5" + whole[middle + 1 :])
    try:
        judged = lab.verdict("verify", run.name, code=4)
    finally:
        samples.write_bytes(whole)
    assert "met" not in statuses(judged).values()
    assert "samples-restored.jsonl was altered after the seal" in json.dumps(judged)
    assert lab.verdict("verify", run.name, code=0)["verdict"] == "met"


def _experiment(change: Callable[[dict[str, Any]], object]) -> str:
    document = yaml.safe_load((ROOT / "experiments" / "rds-pitr.yaml").read_text())
    change(document)
    return yaml.safe_dump(document)


def _provider(document: dict[str, Any], func: str) -> dict[str, Any]:
    found: dict[str, Any] = next(a["provider"] for a in document["method"] if a["provider"]["func"] == func)
    return found


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "There is no drill"),
        ("title: [", "line 1, is not YAML"),
        ("nothing", "line 1, is not valid"),
        (_experiment(lambda d: d.pop("method")), "is not an experiment dr understands"),
        (_experiment(lambda d: _provider(d, "baseline").update(arguments=["x"])), "Write each as name: value."),
        (_experiment(lambda d: _provider(d, "baseline").update(func="explode")), "There is no verb 'explode'"),
        (_experiment(lambda d: _provider(d, "restore").pop("arguments")), "missing required field `to`"),
        (_experiment(lambda d: _provider(d, "disaster").update(arguments={"kind": "fire"})), "fire"),
        (_experiment(lambda d: d["extensions"][0]["demands"].update(bliss="restored")), "no objective bliss"),
    ],
    ids=["missing", "no-yaml", "no-mapping", "no-method", "arguments", "verb", "no-point", "kind", "objective"],
)
def test_an_experiment_that_makes_no_sense_is_a_usage_error(
    lab: Lab, tmp_path: Path, content: str | None, words: str
) -> None:
    path, runs = tmp_path / "drill.yaml", lab.runs()
    if content is not None:
        path.write_text(content)
    with inside(lab), pytest.raises(UsageError) as refused:
        planned(str(path))
    assert words in str(refused.value)
    assert lab.runs() == runs


def planned(path: str) -> Prepared:
    (experiment,) = read_all([path], settings(), "lab")
    return prepare(settings(), request(experiment, "lab", keep=False), experiment.demands, lambda _call, _note: None)


def test_a_lab_waits_for_a_drill_under_way_and_takes_a_killed_one_with_it(own_lab: Lab) -> None:
    running = own_lab.begin("drill", "run", SMALL, "--yes")
    eventually(lambda: any(intends(run, "restore") for run in own_lab.runs()[-1:]))
    run = own_lab.runs()[-1]
    refused = own_lab.dr("lab", "down", code=3)
    assert "stop it with 'dr abort'" in refused.stderr
    _kill(running, run)
    assert f"Run {run.name} was not finished" in own_lab.dr("lab", "down", code=0).stderr
    assert (run / "seal.json").exists()
    with inside(own_lab):
        assert unsealed("lab") == [], "nothing is left unfinished for the next lab"


def test_a_junit_file_that_cannot_be_written_is_refused_before_the_drill(lab: Lab, tmp_path: Path) -> None:
    known = lab.runs()
    refused = lab.dr("drill", "run", "rds-pitr", "--yes", "--junit", str(tmp_path / "nowhere" / "x.xml"), code=2)
    assert "cannot be written" in refused.stderr
    assert lab.runs() == known


def test_the_child_alone_killed_unwinds_the_drill(lab: Lab) -> None:
    running = lab.begin("drill", "run", SMALL, "--yes")
    # Before it is listed, nothing but the time tells that it does not come.
    eventually(lambda: len(lab.instances()) > 1)
    os.kill(_child(lab.runs()[-1]), signal.SIGKILL)
    assert ended(running, 120) == 4
    leaves_nothing(lab)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_child_alone_is_an_interruption(lab: Lab, number: signal.Signals) -> None:
    running = lab.begin("drill", "run", SMALL, "--yes")
    eventually(lambda: any(intends(run, "restore") for run in lab.runs()[-1:]))
    os.kill(_child(lab.runs()[-1]), number)
    assert ended(running, 120) == CODES[number]
    verdict = json.loads((lab.runs()[-1] / "verdict.json").read_text())
    assert verdict["verdict"] == "inconclusive"
    assert f"{number.name} was received by Chaos Toolkit" in verdict["findings"][0]["because"]
    leaves_nothing(lab)


def test_a_drill_killed_after_its_last_step_stands_through_a_plan_and_is_not_met_once_cleaned_up(lab: Lab) -> None:
    running = lab.begin("drill", "run", "rds-snapshot-restore", "--yes")
    eventually(lambda: any(intends(run, "settle-restored") for run in lab.runs()[-1:]))
    run = lab.runs()[-1]
    eventually(lambda: _holds(run, "effect", "settle-restored"))
    _kill(running, run)
    before = (run / "ledger.jsonl").read_bytes()
    planned = lab.dr("drill", "run", "rds-snapshot-restore", "--plan")
    assert "had been killed" not in planned.stderr
    assert (run / "ledger.jsonl").read_bytes() == before, "a plan cleans nothing up"
    assert "The provider lists nothing of this run any more" in lab.dr("cleanup", code=0).stdout
    verdict = lab.verdict("verify", run.name, code=4)
    assert "The drill was killed" in verdict["findings"][0]["because"]
    leaves_nothing(lab)


def _kill(running: subprocess.Popen[str], run: Path) -> None:
    """Kill a drill and its child at once."""
    running.kill()
    with suppress(ProcessLookupError):
        os.kill(_child(run), signal.SIGKILL)
    ended(running)


def _child(run: Path) -> int:
    for line in (run / "ledger.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["data"].get("text") == "Chaos Toolkit started":
            return int(entry["data"]["pid"])
    raise AssertionError("no child was started")


@pytest.mark.parametrize("drill", ["rds-pitr", "db-engine-crash"])
def test_chaos_toolkit_finds_a_drill_valid_be_it_written_out_or_by_use_of_another(drill: str) -> None:
    """Every drill, in this process: tests/unit/cli/test_documents.py."""
    ended = subprocess.run(
        [sys.executable, "-m", "chaostoolkit", *QUIETLY, "validate", f"experiments/{drill}.yaml"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr + ended.stdout


def test_a_refused_drill_is_an_error_in_the_junit_file(lab: Lab, tmp_path: Path) -> None:
    lab.dr("drill", "run", "rds-pitr", "--junit", str(tmp_path / "junit.xml"), code=3)
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()  # noqa: S314  (our own file)
    assert [case.find("error") is not None for case in root.iter("testcase")] == [True]


def test_a_failover_of_a_source_without_a_standby_is_refused(lab: Lab, tmp_path: Path) -> None:
    text = (ROOT / "experiments" / "db-failover.yaml").read_text()  # but for the replicas, which this lab lacks as well
    document = yaml.safe_load(text.replace(", reads]", "]"))
    document["method"] = [step for step in document["method"] if step["name"] != "measure-reads"]
    (tmp_path / "drill.yaml").write_text(yaml.safe_dump(document))
    runs = lab.runs()
    with inside(lab), pytest.raises(RefusedError, match="is Single-AZ: it has no standby to fail over to"):
        planned(str(tmp_path / "drill.yaml"))
    assert lab.runs() == runs


@asks_one_drill
def test_reports_of_a_run_come_in_every_form(lab: Lab, met: dict[str, Any]) -> None:
    run = met["run"]
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


@asks_one_drill
def test_after_a_drill_nobody_else_can_read_what_is_in_dr_home(lab: Lab, met: dict[str, Any]) -> None:
    """But the lab's public certificate, and a PostgreSQL that was copied there, which its servers' account reads."""
    public = (lab.home / "lab" / "ca.pem", lab.home / "lab" / "postgresql")
    readable, seen = [], set()
    for place, directories, files in (step for name in OWN for step in os.walk(lab.home / name)):
        for path in (Path(place) / name for name in (*directories, *files)):
            seen.add(path.name)
            if path not in public and not path.is_symlink() and path.lstat().st_mode & 0o066:
                readable.append(path)
        directories[:] = [name for name in directories if (Path(place) / name).stat().st_mode & 0o011]
        directories[:] = [name for name in directories if Path(place) / name not in public]
    assert readable == []
    assert seen >= {"service.log", "daemon.log", "rds.json", "ca.pem"}
    assert {(lab.home / name).stat().st_mode & 0o066 for name in OWN if (lab.home / name).exists()} == {0}
