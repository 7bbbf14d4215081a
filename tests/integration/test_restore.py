"""``dr restore`` from argv to verdict, against the lab: what it restores, what it refuses, how it survives."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from dr.config.model import Login
from dr.host import children
from tests.labs import USUAL, Lab, configured, eventually, inject
from tests.support import ended
from tests.targets import retargeted

SOURCE, REGION = "readmission-db", "eu-central-1"


def statuses(verdict: dict[str, Any]) -> dict[str, str]:
    return {finding["objective"]: finding["status"] for finding in verdict["findings"]}


def tags(instance: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in instance["TagList"]}


def later(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Restored:
    """A restore that nobody disturbed, under no dr.yaml; ``copy`` and the source's descriptions right afterwards, the
    source's ``before``, too."""

    verdict: dict[str, Any]
    copy: dict[str, Any]
    before: dict[str, Any]
    after: dict[str, Any]
    run: Path


@pytest.fixture(scope="session")
def proven(shared_lab: Lab) -> Restored:
    """Several tests ask what one restore came to."""
    lab, before = shared_lab, shared_lab.instances()[SOURCE]
    verdict = lab.verdict("restore", "--latest-snapshot", "--yes", code=0, **USUAL)
    found = lab.instances()
    copy = found[verdict["restored"][0]["identifier"]]
    return Restored(verdict, copy, before, found[SOURCE], lab.home / "runs" / verdict["run"])


asks_one_restore = pytest.mark.xdist_group("one-restore")


@asks_one_restore
def test_last_nights_snapshot_is_restored_and_proven(lab: Lab, proven: Restored) -> None:
    verdict = proven.verdict
    assert verdict["verdict"] == "met"
    assert set(statuses(verdict).values()) == {"met"}
    assert {
        "time-to-copy",
        "exposure",
        "schema",
        "data",
        "foreign-keys",
        "model",
        "golden",
        "logins",
        "latency",
    } <= set(statuses(verdict))
    assert proven.copy["DBInstanceStatus"] == "available"
    assert proven.copy["Endpoint"]["Port"] == verdict["restored"][0]["port"]
    assert proven.after | {"LatestRestorableTime": None} == proven.before | {"LatestRestorableTime": None}


def test_a_restoration_on_call_is_no_drill_copy_and_adopting_it_takes_the_runs_tags_off(lab: Lab) -> None:
    asked = ("--latest-snapshot", "--no-verify", "--as", "readmission-db-tonight")
    verdict = lab.verdict("restore", *asked, "--yes", code=0)
    assert verdict["restored"][0]["identifier"] == "readmission-db-tonight"
    source, restored = lab.instances()[SOURCE], lab.instances()["readmission-db-tonight"]
    assert restored["DeletionProtection"] == source["DeletionProtection"]
    assert restored["BackupRetentionPeriod"] == source["BackupRetentionPeriod"]
    assert restored["DBSubnetGroup"] == source["DBSubnetGroup"]
    assert restored["VpcSecurityGroups"] == source["VpcSecurityGroups"]
    assert tags(source).items() <= tags(restored).items()
    assert tags(restored)["dr:purpose"] == "restore"
    assert "dr:expires" not in tags(restored)
    left = lab.dr("cleanup", "--all", code=0)
    assert "readmission-db-tonight" not in left.stdout
    assert "readmission-db-tonight" in lab.instances()
    refused = lab.dr("adopt", verdict["run"], code=3)
    assert "readmission-db-tonight" in refused.stderr
    lab.dr("adopt", verdict["run"], "--confirm", "readmission-db-tonight", code=0)
    adopted = lab.instances()["readmission-db-tonight"]
    assert not [key for key in tags(adopted) if key.startswith("dr:")]
    lab.rds.add_tags_to_resource(
        ResourceName=adopted["DBInstanceArn"], Tags=[{"Key": "dr:purpose", "Value": "restore"}]
    )  # so that the fixture removes it


def test_a_second_is_waited_for_and_restored_with_all_it_holds_and_no_more_by_the_copys_own_log(lab: Lab) -> None:
    with lab.connect(SOURCE) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS dr")
        connection.execute("CREATE TABLE dr.second_test (word text)")
        connection.execute("INSERT INTO dr.second_test VALUES ('before')")
    try:
        time.sleep(1.2)  # the server's clock, which is real, must pass a whole second
        at = later(0)
        time.sleep(1.2)
        with lab.connect(SOURCE) as connection:
            connection.execute("INSERT INTO dr.second_test VALUES ('after')")
        verdict = lab.verdict("restore", "--to-time", at, "--no-verify", "--yes", code=0)
        with lab.connect(verdict["restored"][0]["identifier"]) as connection:
            assert connection.execute("SELECT word FROM dr.second_test").fetchall() == [("before",)]
    finally:
        with lab.connect(SOURCE) as connection:
            connection.execute("DROP SCHEMA dr CASCADE")
    (exposure,) = (finding for finding in verdict["findings"] if finding["objective"] == "exposure")
    assert "By its own log the first transaction left out is one" in exposure["because"]


def test_without_consent_and_terminal_nothing_is_changed(lab: Lab) -> None:
    refused = lab.dr("restore", "--latest-snapshot", code=3)
    assert "--confirm readmission-db" in refused.stderr
    assert list(lab.instances()) == [SOURCE]


def test_the_plan_is_printed_and_nothing_is_changed(lab: Lab) -> None:
    runs = lab.runs()
    printed = lab.dr("restore", "--latest-snapshot", "--plan", code=0)
    assert "RestoreDBInstanceFromDBSnapshot" in printed.stdout
    plan = json.loads(lab.dr("restore", "--latest-snapshot", "--plan", "--output", "json", code=0).stdout)
    assert plan["calls"][0]["id"] == "restore"
    assert lab.runs() == runs
    assert list(lab.instances()) == [SOURCE]


CLUSTERS = f"arn:aws:rds:{REGION}:123456789012:cluster-snapshot:night"


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ((), 2, "No recovery points were named"),
        (("--latest", "--latest-snapshot"), 2, "2 recovery points were named"),
        (("--snapshot", "nothing-of-that-name"), 3, "There is no snapshot 'nothing-of-that-name'"),
        (("--to-time", "2026-04-24T23:45:00"), 2, "has no zone"),
        (("--to-time", "yesterday"), 2, "is not a time"),
        (("--to-time", "2020-01-01T00:00:00Z"), 3, "2020-01-01T00:00:00Z cannot be restored: the automated backups"),
        (("--to-time", "2020-01-01T01:00:00.75+01:00"), 3, "2020-01-01T00:00:00Z cannot be restored"),
        (("--snapshot", CLUSTERS), 3, "is the snapshot of a cluster, and dr restores none"),
        (("--to-time", "2099-01-01T00:00:00Z"), 3, "2099-01-01T00:00:00Z is in the future"),
        (("--latest-snapshot", "--as", "Not_A_Name"), 2, "Not_A_Name"),
        (("--latest-snapshot", "--as", SOURCE), 3, SOURCE),
        (("--latest-snapshot", "--since", "tonight"), 2, "is not a time"),
        (("--latest-snapshot", "--confirm", "another-db"), 3, "another-db"),
    ],
)
def test_wrong_input_ends_in_one_clear_sentence(lab: Lab, args: tuple[str, ...], code: int, words: str) -> None:
    consent, runs = () if "--confirm" in args else ("--yes",), lab.runs()
    ended = lab.dr("restore", *args, *consent, code=code)
    assert words in ended.stderr
    assert ended.stderr.startswith("dr: ")
    assert ended.stderr.count("\n") == 1
    begins_nothing(lab, runs)


def begins_nothing(lab: Lab, runs: list[Path]) -> None:
    """What was refused before it began: the source alone, no run beside the known ``runs``, no process."""
    assert list(lab.instances()) == [SOURCE]
    assert lab.runs() == runs
    assert not held_processes(lab)


def held_processes(lab: Lab) -> list[str]:
    """Pid files of runs whose process lives. What a restore on call starts has no DR_RUN in its environment."""
    return [str(path) for run in lab.runs() for path in run.glob("*.pid") if children.running(path)]


def test_a_snapshot_in_the_making_is_refused(lab: Lab) -> None:
    inject(lab, "delay_backups", seconds=120)  # however slow this machine is; let go below
    try:
        lab.rds.create_db_snapshot(DBInstanceIdentifier=SOURCE, DBSnapshotIdentifier="in-the-making")
        runs = lab.runs()
        refused = lab.dr("restore", "--snapshot", "in-the-making", "--yes", code=3)
    finally:
        inject(lab, "delay_backups", seconds=0)
        eventually(lambda: lab.instances()[SOURCE]["DBInstanceStatus"] == "available")
        lab.rds.delete_db_snapshot(DBSnapshotIdentifier="in-the-making")
    assert "Snapshot in-the-making is creating" in refused.stderr
    begins_nothing(lab, runs)


def test_a_shared_and_encrypted_snapshot_is_refused_with_the_command_that_copies_it(lab: Lab) -> None:
    own = lab.rds.describe_db_snapshots(DBInstanceIdentifier=SOURCE)["DBSnapshots"][0]["DBSnapshotIdentifier"]
    arn, runs = inject(lab, "share_foreign_snapshot", snapshot=own, encrypted=True), lab.runs()
    refused = lab.dr("restore", "--snapshot", arn, "--yes", code=3)
    assert "is shared and encrypted" in refused.stderr
    assert f"aws rds copy-db-snapshot --source-db-snapshot-identifier {arn}" in refused.stderr
    begins_nothing(lab, runs)


def altered(lab: Lab, tmp_path: Path, **changes: object) -> dict[str, str]:
    """A dr.yaml whose target "pinned" is the lab's with ``changes``."""
    target = msgspec.to_builtins(retargeted(lab.target, **changes))
    return {**configured(tmp_path, targets={"pinned": target}), "DR_TARGET": "pinned"}


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"account": "999999999999"}, 3, "not to 999999999999 of target 'pinned'"),
        ({"region": "us-east-1"}, 3, "us-east-1"),
        ({"endpoint": "http://127.0.0.1:9"}, 5, f"http://127.0.0.1:9 in {REGION} cannot be reached"),
        ({"instance": "another-db"}, 3, "There is no available snapshot of another-db"),
    ],
)
def test_a_target_that_is_not_what_it_is_pinned_to_is_refused(
    lab: Lab, tmp_path: Path, changes: dict[str, object], code: int, words: str
) -> None:
    runs = lab.runs()
    ended = lab.dr("restore", "--latest-snapshot", "--yes", code=code, **altered(lab, tmp_path, **changes))
    assert words in ended.stderr
    begins_nothing(lab, runs)


def test_wrong_credentials_are_said_to_be_wrong(lab: Lab, tmp_path: Path) -> None:
    bad = tmp_path / "credentials"
    bad.write_text("[lab]\naws_access_key_id = AKIAWRONG\naws_secret_access_key = wrong\n")
    env, runs = altered(lab, tmp_path, credentials={"file": str(bad), "profile": "lab"}), lab.runs()
    ended = lab.dr("restore", "--latest-snapshot", "--yes", code=3, **env)
    assert "AWS does not accept the credentials" in ended.stderr
    assert "wrong" not in ended.stderr.lower()
    begins_nothing(lab, runs)


def test_a_restore_under_way_keeps_others_out_and_is_finished_by_the_same_command_once_interrupted(lab: Lab) -> None:
    asked = ("restore", "--latest-snapshot", "--no-verify", "--yes")
    inject(lab, "delay_restores", seconds=60.0)  # however slow this machine is; let go below
    try:
        running = lab.begin(*asked)
        eventually(lambda: len(lab.instances()) == 2)
        runs = lab.runs()
        refused = lab.dr("restore", "--latest", "--yes", code=3)
        assert f"Another restoration of {SOURCE} is not finished" in refused.stderr
        assert f"'dr restore --resume {runs[-1].name} --target lab'" in refused.stderr
        assert lab.runs() == runs
        running.send_signal(signal.SIGINT)
        assert ended(running, 60) == 130
    finally:
        inject(lab, "delay_restores", seconds=0.0)
    assert lab.verdict(*asked, code=0)["run"] == runs[-1].name
    assert len(lab.instances()) == 2


def test_a_killed_restore_is_finished_by_the_same_command(lab: Lab) -> None:
    """After every entry of its ledger: tests/attack/test_kills.py."""
    running = lab.begin("restore", "--latest-snapshot", "--yes")
    eventually(lambda: any(intends(run, "measure-restored") for run in lab.runs()[-1:]))
    running.kill()
    ended(running)
    finished = lab.verdict("restore", "--latest-snapshot", "--yes", code=0)
    assert finished["run"] == lab.runs()[-1].name
    assert len(lab.instances()) == 2
    assert not held_processes(lab)


def intends(run: Path, call: str) -> bool:
    """Whether the run's ledger holds an intent of ``call`` that has no effect yet, or had one."""
    ledger = run / "ledger.jsonl"
    lines = ledger.read_text().splitlines() if ledger.exists() and not (run / "seal.json").exists() else []
    return any(f'"intent", "call": "{call}"' in line for line in lines)


def test_another_machine_finds_the_restoration_by_its_tag(lab: Lab, tmp_path: Path) -> None:
    inject(lab, "delay_restores", seconds=60.0)  # else the run may have come to its end before it is killed
    try:
        running = lab.begin("restore", "--latest-snapshot", "--no-verify", "--yes", **altered(lab, tmp_path))
        eventually(lambda: len(lab.instances()) == 2)
        running.kill()
        assert ended(running) == -signal.SIGKILL
    finally:
        inject(lab, "delay_restores", seconds=0.0)
    run = lab.runs()[-1].name
    elsewhere = Path(tmp_path / "elsewhere")
    finished = lab.verdict(
        "restore", "--latest-snapshot", "--no-verify", "--yes", **{**altered(lab, tmp_path), "DR_HOME": str(elsewhere)}
    )
    assert finished["run"] == run
    assert len(lab.instances()) == 2


def test_the_day_after_a_source_that_is_gone_is_restored_from_that_nights_backup_and_what_was_known_of_it(
    own_lab: Lab,
) -> None:
    """The lab has backed itself up, between two baselines."""
    lab, now = own_lab, datetime.now(UTC)
    first, baselines = set(snapshots(lab)), lab.home / "baselines" / "lab"
    noted = len(list(baselines.rglob("*.json")))
    window = f"{now - timedelta(minutes=5):%H:%M}-{now + timedelta(minutes=30):%H:%M}"
    lab.rds.modify_db_instance(
        DBInstanceIdentifier=SOURCE, PreferredBackupWindow=window, DeletionProtection=False, ApplyImmediately=True
    )
    inject(lab, "age_backups", instance=SOURCE, seconds=20 * 3600)
    (taken,) = eventually(lambda: set(snapshots(lab)) - first)
    eventually(lambda: snapshots(lab)[taken] == "available")
    eventually(lambda: len(list(baselines.rglob("*.json"))) == noted + 2)
    lab.dr("backups", code=0)  # every look at the source stores its profile
    before = eventually(lambda: (one := lab.instances()[SOURCE])["DBInstanceStatus"] == "available" and one)
    lab.rds.delete_db_instance(DBInstanceIdentifier=SOURCE, SkipFinalSnapshot=True, DeleteAutomatedBackups=False)
    eventually(lambda: SOURCE not in lab.instances())
    verdict = lab.verdict("restore", "--latest-snapshot", "--yes")
    assert statuses(verdict)["data"] == "met"
    assert statuses(verdict)["time-to-copy"] == "met"
    assert taken in lab.dr("report", verdict["run"], "--format", "markdown", code=0).stdout
    restored = lab.instances()[verdict["restored"][0]["identifier"]]
    for name in ("DBSubnetGroup", "VpcSecurityGroups", "DBParameterGroups", "BackupRetentionPeriod", "MultiAZ"):
        assert restored[name] == before[name]


def snapshots(lab: Lab) -> dict[str, str]:
    found = lab.rds.describe_db_snapshots(DBInstanceIdentifier=SOURCE)["DBSnapshots"]
    return {one["DBSnapshotIdentifier"]: one["Status"] for one in found}


@asks_one_restore
def test_no_secret_stands_in_anything_a_run_leaves(lab: Lab, proven: Restored) -> None:
    secrets = [path.read_text().strip() for path in (lab.home / "lab" / "secrets").iterdir()]
    assert secrets
    for file in proven.run.rglob("*"):
        content = file.read_text(errors="replace") if file.is_file() else ""
        assert not [file for secret in secrets if secret in content]


@asks_one_restore
def test_a_verdict_is_repeated_offline_and_altered_evidence_is_not_believed(lab: Lab, proven: Restored) -> None:
    run, observations = proven.run.name, proven.run / "observations.jsonl"
    assert lab.verdict("verify", run, code=0)["findings"] == proven.verdict["findings"]
    whole = observations.read_bytes()
    observations.write_bytes(whole.replace(b'"ok":true', b'"ok":true '))
    try:
        for _ in range(2):
            again = lab.verdict("verify", run, code=4)
            assert again["verdict"] == "inconclusive"
            assert "altered" in json.dumps(again)
            lab.dr("cleanup", run, code=0)  # cleaning up must not make it believable
    finally:
        observations.write_bytes(whole)


def test_a_killed_restore_that_was_cleaned_up_hinders_no_other(lab: Lab) -> None:
    running = lab.begin("restore", "--latest-snapshot", "--no-verify", "--yes", "--as", "readmission-db-killed")
    eventually(lambda: len(lab.instances()) == 2)
    running.kill()
    ended(running)
    assert "readmission-db-killed stays" in lab.dr("cleanup", code=0).stdout
    assert (lab.runs()[-1] / "seal.json").exists()
    assert not held_processes(lab)
    lab.verdict("restore", "--latest-snapshot", "--no-verify", "--yes", code=0)
    assert len(lab.instances()) == 3


@asks_one_restore
def test_a_run_that_came_to_its_end_is_not_resumed(lab: Lab, proven: Restored) -> None:
    refused = lab.dr("restore", "--resume", proven.run.name, "--yes", code=3)
    assert "come to its end" in refused.stderr


def test_the_master_secret_is_set_where_asked_and_the_old_one_is_worth_nothing(lab: Lab, tmp_path: Path) -> None:
    fresh = tmp_path / "master.password"
    fresh.write_text("a-fresh-one-Of-24-letters")
    old = lab.target.postgres.master
    assert old is not None
    master = Login(old.user, f"file:{fresh}")
    env = altered(lab, tmp_path, database=msgspec.structs.replace(lab.target.postgres, master=master))
    verdict = lab.verdict("restore", "--latest-snapshot", "--reset-master-secret", "--no-verify", "--yes", **env)
    identifier = verdict["restored"][0]["identifier"]
    with lab.connect(identifier, master) as connection:
        assert connection.execute("SELECT count(*) > 2000 FROM patients").fetchone() == (True,)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"), lab.connect(identifier, old):
        pass
    ledger = (lab.home / "runs" / verdict["run"] / "ledger.jsonl").read_text()
    assert fresh.read_text() not in ledger


def test_a_quota_that_is_used_up_is_a_refusal_and_leaves_nothing_to_resume(lab: Lab) -> None:
    inject(lab, "set_quota", instances=1)
    try:
        refused = lab.dr("restore", "--latest-snapshot", "--yes", code=3)
    finally:
        inject(lab, "set_quota", instances=40)
    assert "quota of instances is used up" in refused.stderr
    assert list(lab.instances()) == [SOURCE]
    assert (lab.runs()[-1] / "seal.json").exists()
