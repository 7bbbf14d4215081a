"""``dr restore`` on a bad night: overrides, a restoration that failed for good, another machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from dr.config.model import Login
from tests.labs import Lab, configured, eventually, inject
from tests.support import ended
from tests.targets import retargeted

SOURCE = "readmission-db"


def pinned(lab: Lab, tmp_path: Path, **changes: Any) -> dict[str, str]:
    """A dr.yaml whose target "pinned" is the lab's, so that a DR_HOME without the lab reaches it, too. ``changes``: of
    its database."""
    database = msgspec.structs.replace(lab.target.postgres, **changes)
    target = msgspec.to_builtins(retargeted(lab.target, database=database))
    return {**configured(tmp_path, targets={"pinned": target}), "DR_TARGET": "pinned"}


def restorations(lab: Lab) -> list[str]:
    return [identifier for identifier in lab.instances() if identifier != SOURCE]


def test_an_override_is_planned_restored_and_expected(lab: Lab) -> None:
    override = ("--set", "DBInstanceClass=db.r6g.xlarge")
    assert 'DBInstanceClass to "db.r6g.xlarge"' in lab.dr("restore", "--latest-snapshot", *override, "--plan").stdout
    verdict = lab.verdict("restore", "--latest-snapshot", *override, "--yes", code=0)
    restored = lab.instances()[verdict["restored"][0]["identifier"]]
    assert restored["DBInstanceClass"] == "db.r6g.xlarge" != lab.instances()[SOURCE]["DBInstanceClass"]
    report = lab.dr("report", verdict["run"], "--format", "markdown", code=0).stdout
    assert "asked for on the command line" in report


def test_what_the_copy_could_not_be_read_with_is_refused_before_anything_is_made(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "stale").write_text("stale\n")
    stale = pinned(lab, tmp_path, harness=Login("dr_harness", f"file:{tmp_path / 'stale'}"))
    refused = lab.dr("restore", "--latest", "--yes", code=3, **stale).stderr
    assert f"the password of dr_harness that file:{tmp_path / 'stale'} refers to" in refused
    assert "--no-verify" in refused
    refused = lab.dr("restore", "--latest", "--yes", code=3, **pinned(lab, tmp_path, ca="/nope")).stderr
    assert "The CA file '/nope' cannot be read" in refused
    assert restorations(lab) == []


def killed_elsewhere(lab: Lab, tmp_path: Path, *options: str) -> tuple[str, dict[str, str]]:
    """A restore that another machine began and did not live to finish: its run, and this machine's environment."""
    env, there = pinned(lab, tmp_path), tmp_path / "there"
    running = lab.begin("restore", *options, "--yes", **env, DR_HOME=str(there))
    eventually(lambda: restorations(lab))
    running.kill()
    ended(running)
    (run,) = (there / "runs").iterdir()
    return run.name, {**env, "DR_HOME": str(tmp_path / "here")}


SINCE = "2026-04-24T23:40:00Z"
OVERRIDDEN = ("--set", "DBInstanceClass=db.r6g.xlarge", "--set", 'EnableCloudwatchLogsExports=["postgresql"]')


@pytest.mark.parametrize(
    "options",
    [
        ("--latest-snapshot", "--since", SINCE),
        ("--latest", "--as", "readmission-db-tonight", *OVERRIDDEN, "--no-verify"),
    ],
)
def test_another_machine_resumes_a_run_by_its_name(lab: Lab, tmp_path: Path, options: tuple[str, ...]) -> None:
    run, here = killed_elsewhere(lab, tmp_path, *options)
    (begun,) = restorations(lab)
    finished = lab.verdict("restore", "--resume", run, "--yes", **here)
    assert (finished["run"], finished["restored"][0]["identifier"]) == (run, begun)
    resumed = json.loads((tmp_path / "here" / "runs" / run / "run.json").read_text())["plan"]["request"]
    assert (resumed["since"] is not None) == (SINCE in options)
    assert restorations(lab) == [begun]
    over = lab.dr("restore", "--resume", run, "--yes", code=3, **{**here, "DR_HOME": str(tmp_path / "third")})
    assert "come to its end" in over.stderr


def test_what_another_machine_finished_is_not_gone_on_with_where_it_began(lab: Lab, tmp_path: Path) -> None:
    run, here = killed_elsewhere(lab, tmp_path, "--latest-snapshot", "--no-verify")
    there = {**here, "DR_HOME": str(tmp_path / "there")}
    finished = lab.verdict("restore", "--resume", run, "--yes", code=0, **here)
    (copy,) = restorations(lab)
    eventually(lambda: lab.instances()[copy]["DBInstanceStatus"] == "available")  # its first backup is done
    before = lab.instances()[copy] | {"LatestRestorableTime": None}
    ended = f"Run {run} was ended elsewhere as {finished['verdict']}; {copy} is its restoration."
    assert ended in lab.dr("restore", "--resume", run, "--yes", code=3, **there).stderr
    began = lab.dr("restore", "--latest-snapshot", "--no-verify", "--yes", code=0, **there)
    assert f"dr: {ended} A new one begins." in began.stderr
    assert len(restorations(lab)) == 2
    assert lab.instances()[copy] | {"LatestRestorableTime": None} == before
    assert (tmp_path / "there" / "runs" / run / "seal.json").exists()


def test_the_latest_goes_on_with_no_old_run_unless_that_is_named(lab: Lab, tmp_path: Path) -> None:
    latest = ("restore", "--latest", "--no-verify", "--yes")
    run, here = killed_elsewhere(lab, tmp_path, *latest[1:-1])
    config, there = Path(here["DR_CONFIG"]), {**here, "DR_HOME": str(tmp_path / "there")}
    usual = yaml.safe_load(config.read_text())
    configured(tmp_path, **usual | {"objectives": {"time-to-copy": 0.1}})  # both machines hold it for old
    for env, ends in ((there, f"'dr cleanup {run}'."), (here, "'aws rds add-tags-to-resource ")):
        refused = lab.dr(*latest, code=3, **env).stderr
        assert f"The unfinished restore {run} began at " in refused
        assert f"'dr restore --resume {run}'" in refused
        assert ends in refused
        assert len(restorations(lab)) == 1
    resumed = lab.dr("restore", "--resume", run, "--plan", code=0, **here).stderr
    assert f"The unfinished restore {run} goes on: it began at " in resumed
    assert "its recovery point is 20" in resumed
    assert "stays" in lab.dr("cleanup", run, code=0, **there).stdout
    assert lab.verdict(*latest, **here)["run"] != run
    assert len(restorations(lab)) == 2


def test_what_the_tags_do_not_tell_is_asked_for_as_a_command(lab: Lab, tmp_path: Path) -> None:
    run, here = killed_elsewhere(lab, tmp_path, "--latest-snapshot")
    (begun,) = restorations(lab)
    lab.rds.add_tags_to_resource(
        ResourceName=lab.instances()[begun]["DBInstanceArn"], Tags=[{"Key": "dr:request-1", "Value": "altered"}]
    )
    refused = lab.dr("restore", "--resume", run, "--yes", code=3, **here)
    assert "their request was altered" in refused.stderr
    assert "'dr restore --target pinned --snapshot" in refused.stderr
    eventually(lambda: lab.instances()[begun]["DBInstanceStatus"] == "available")  # for the fixture to remove it


def test_an_unknown_setting_is_named_with_those_there_are(lab: Lab) -> None:
    refused = lab.dr("restore", "--latest-snapshot", "--set", "Flavour=sweet", "--yes", code=2)
    assert "Flavour" in refused.stderr
    assert "DBInstanceClass" in refused.stderr


def test_a_restoration_that_failed_for_good_is_told_left_alone_and_in_nobodys_way(lab: Lab) -> None:
    inject(lab, "delay_restores", seconds=5.0)
    running = lab.begin("restore", "--latest-snapshot", "--no-verify", "--yes")
    (stuck,) = eventually(lambda: restorations(lab))
    inject(lab, "force_status", instance=stuck, status="insufficient-capacity")
    inject(lab, "delay_restores", seconds=0.0)
    try:
        assert ended(running, 60) in (1, 5)
        run = lab.runs()[-1].name
        for again in (("--latest-snapshot", "--no-verify"), ("--resume", run)):
            refused = lab.dr("restore", *again, "--yes", code=3)
            assert f"{stuck}, which the restore {run} made, is insufficient-capacity" in refused.stderr
            assert "--set" in refused.stderr
            assert f"dr cleanup {run}" in refused.stderr
        override = ("--set", "DBInstanceClass=db.r6g.xlarge")
        anew = lab.verdict("restore", "--latest-snapshot", "--no-verify", *override, "--yes", code=0)
        assert anew["run"] != run
        assert set(restorations(lab)) == {stuck, anew["restored"][0]["identifier"]}
        assert f"{stuck} stays" in lab.dr("cleanup", run, code=0).stdout
        assert stuck in restorations(lab)
    finally:
        inject(lab, "force_status", instance=stuck, status="")
