"""Instances and snapshots go through their states, also where a server fails under them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dr.lab.rds.actions import ACTIONS
from dr.lab.rds.errors import AwsError
from dr.lab.rds.service import Lab, dispatch, page
from tests.unit.lab.rds.fakes import T0, FakeClock, FakeServers, fake_lab

NEW = {
    "DBInstanceIdentifier": "One",
    "DBInstanceClass": "db.t3.micro",
    "Engine": "postgres",
    "AllocatedStorage": 20,
    "MasterUsername": "boss",
    "MasterUserPassword": "long-enough",
    "DBName": "things",
    "BackupRetentionPeriod": 7,
    "MultiAZ": True,
    "DeletionProtection": True,
    "StorageType": "io1",
    "Iops": 3000,
    "CopyTagsToSnapshot": True,
    "EnableIAMDatabaseAuthentication": True,
    "DBParameterGroupName": "readmission-postgres",
    "DBSubnetGroupName": "readmission-db-subnets",
    "Tags": [{"Key": "env", "Value": "prod"}],
}


class Driver:
    """Calls actions by name; jobs wait until ``work``."""

    def __init__(self, lab: Lab, servers: FakeServers, clock: FakeClock) -> None:
        self.lab, self.servers, self.clock = lab, servers, clock

    def __call__(self, action: str, **asked: Any) -> dict[str, Any]:
        return dispatch(ACTIONS, self.lab, action, asked)

    def refused(self, action: str, **asked: Any) -> str:
        with pytest.raises(AwsError) as error:
            self(action, **asked)
        return error.value.code

    def work(self) -> None:
        waiting: list[Callable[[], None]] = self.lab.work.waiting  # type: ignore[attr-defined]
        while waiting:
            waiting.pop(0)()

    def instance(self, name: str = "one") -> dict[str, Any]:
        found: dict[str, Any] = self("DescribeDBInstances", DBInstanceIdentifier=name)["DBInstances"][0]
        return found

    def messages(self) -> list[str]:
        return [one["Message"] for one in self("DescribeEvents")["Events"]]

    def snapshots(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self("DescribeDBSnapshots")["DBSnapshots"]
        return found


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    return Driver(*fake_lab(tmp_path, begin_at_once=False))


@pytest.fixture
def made(driver: Driver) -> Driver:
    driver("CreateDBInstance", **NEW)
    driver.work()
    return driver


def test_a_new_instance_is_backed_up_once_before_it_is_available(driver: Driver) -> None:
    assert driver("CreateDBInstance", **NEW)["DBInstance"]["DBInstanceStatus"] == "creating"
    assert driver.instance().get("Endpoint") is None
    driver.work()
    assert driver.instance()["DBInstanceStatus"] == "available"
    assert driver.messages()[0] == "DB instance created"
    assert [s["DBSnapshotIdentifier"] for s in driver.snapshots()] == ["rds:one-2023-11-14-22-13"]


def test_two_automated_snapshots_of_one_minute_have_two_names(made: Driver) -> None:
    made.lab.work.automated_backup(made.lab.store._state.instances["one"])
    assert len({s["DBSnapshotIdentifier"] for s in made.snapshots()}) == 2


def test_an_instance_whose_server_cannot_be_made_has_failed_and_needs_skip(driver: Driver) -> None:
    driver.servers.broken = "create"
    driver("CreateDBInstance", **{**NEW, "DeletionProtection": False})
    driver.work()
    assert driver.instance()["DBInstanceStatus"] == "failed"
    final = {"DBInstanceIdentifier": "one", "FinalDBSnapshotIdentifier": "last"}
    assert driver.refused("DeleteDBInstance", **final) == "InvalidDBInstanceState"
    driver("DeleteDBInstance", DBInstanceIdentifier="one", SkipFinalSnapshot=True)
    driver.work()
    assert driver.refused("DescribeDBInstances", DBInstanceIdentifier="one") == "DBInstanceNotFound"


def test_a_restore_takes_defaults_for_what_is_not_passed(made: Driver) -> None:
    name = made.snapshots()[0]["DBSnapshotIdentifier"]
    made("RestoreDBInstanceFromDBSnapshot", DBInstanceIdentifier="two", DBSnapshotIdentifier=name)
    made.work()
    two, one = made.instance("two"), made.instance("one")
    assert (two["MultiAZ"], two["DeletionProtection"], two["IAMDatabaseAuthenticationEnabled"]) == (False,) * 3
    assert (two["StorageType"], one["StorageType"]) == ("gp3", "io1")
    assert two["DBSubnetGroup"]["DBSubnetGroupName"] == "default"
    assert two["DBParameterGroups"][0]["DBParameterGroupName"] == "default.postgres15"
    assert (two["MasterUsername"], two["BackupRetentionPeriod"], two["DBInstanceClass"]) == ("boss", 7, "db.t3.micro")
    assert two["TagList"] == [{"Key": "env", "Value": "prod"}]
    assert two["DbiResourceId"] != one["DbiResourceId"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"StorageType": "gp3", "Iops": 3000}, "InvalidParameterCombination"),
        ({"StorageThroughput": 500}, "InvalidParameterCombination"),
        ({"StorageType": "gp3", "Iops": 3000, "AllocatedStorage": 400}, "InvalidParameterValue"),
        ({"StorageType": "gp2", "Iops": 3000}, "InvalidParameterCombination"),
        ({"StorageType": "io1", "Iops": 3000, "StorageThroughput": 500}, "InvalidParameterCombination"),
        ({"AllocatedStorage": 10}, "InvalidParameterCombination"),
    ],
)
def test_a_restore_takes_of_storage_what_rds_takes(made: Driver, asked: dict[str, Any], code: str) -> None:
    name = made.snapshots()[0]["DBSnapshotIdentifier"]
    named = {"DBInstanceIdentifier": "two", "DBSnapshotIdentifier": name}
    assert made.refused("RestoreDBInstanceFromDBSnapshot", **named, **asked) == code
    faster = {"StorageType": "gp3", "Iops": 12_000, "StorageThroughput": 500, "AllocatedStorage": 400}
    made("RestoreDBInstanceFromDBSnapshot", **named, **faster)
    made.work()
    assert made.instance("two")["Iops"] == 12_000


ROLE = "arn:aws:iam::123456789012:role/monitoring"


def watched(driver: Driver, name: str = "one") -> list[Any]:
    shown = ("MonitoringInterval", "MonitoringRoleArn", "PerformanceInsightsEnabled")
    found = driver.instance(name)
    return [found.get(key) for key in (*shown, "PerformanceInsightsRetentionPeriod")]


def modified(driver: Driver, **asked: Any) -> None:
    driver("ModifyDBInstance", DBInstanceIdentifier="one", **asked)
    driver.work()


def test_monitoring_and_insights_are_shown_as_they_were_set_and_no_restore_inherits_them(made: Driver) -> None:
    assert watched(made) == [0, None, False, None]
    modified(made, MonitoringInterval=60, MonitoringRoleArn=ROLE, EnablePerformanceInsights=True)
    assert watched(made) == [60, ROLE, True, 7]
    modified(made, MonitoringInterval=30, PerformanceInsightsRetentionPeriod=31)
    assert watched(made) == [30, ROLE, True, 31]
    name = made.snapshots()[0]["DBSnapshotIdentifier"]
    made("RestoreDBInstanceFromDBSnapshot", DBInstanceIdentifier="two", DBSnapshotIdentifier=name)
    made("CreateDBInstanceReadReplica", DBInstanceIdentifier="copy", SourceDBInstanceIdentifier="one")
    assert watched(made, "two") == watched(made, "copy") == [0, None, False, None]
    modified(made, MonitoringInterval=0, EnablePerformanceInsights=False)
    assert watched(made) == [0, None, False, None]


def test_monitoring_is_an_interval_and_a_role_together(made: Driver) -> None:
    def refused(**asked: Any) -> str:
        return made.refused("ModifyDBInstance", DBInstanceIdentifier="one", **asked)

    assert refused(MonitoringInterval=60) == "InvalidParameterCombination"
    assert refused(MonitoringRoleArn=ROLE) == "InvalidParameterCombination"
    assert refused(MonitoringInterval=7, MonitoringRoleArn=ROLE) == "InvalidParameterValue"
    assert watched(made) == [0, None, False, None]


def test_a_restore_that_fails_is_incompatible(made: Driver) -> None:
    made.servers.broken = "restore"
    name = made.snapshots()[0]["DBSnapshotIdentifier"]
    made("RestoreDBInstanceFromDBSnapshot", DBInstanceIdentifier="two", DBSnapshotIdentifier=name)
    made.work()
    assert made.instance("two")["DBInstanceStatus"] == "incompatible-restore"


def test_a_point_in_time_restore_takes_the_newest_backup_before_it_and_whole_seconds(made: Driver) -> None:
    made.clock.at = T0 + 100
    made.lab.work.automated_backup(made.lab.store._state.instances["one"])
    made.clock.at = T0 + 200
    made.lab.work.automated_backup(made.lab.store._state.instances["one"])
    made.servers.archived = T0 + 300
    made.lab.work.survey()
    pair = {"SourceDBInstanceIdentifier": "one", "TargetDBInstanceIdentifier": "two"}
    made("RestoreDBInstanceToPointInTime", **pair, RestoreTime=T0 + 150.9)
    made.work()
    backups = [call[2] for call in made.servers.calls if call[0] == "backup"]
    restored = next(call for call in made.servers.calls if call[0] == "restore_to")
    assert restored[2] == backups[1]
    assert restored[4] == T0 + 150


def test_the_window_ends_where_the_archive_does(made: Driver) -> None:
    pair = {"SourceDBInstanceIdentifier": "one", "TargetDBInstanceIdentifier": "two"}
    assert made.refused("RestoreDBInstanceToPointInTime", **pair, UseLatestRestorableTime=True) == (
        "InvalidDBInstanceState"
    )
    made.servers.archived = T0 + 60
    made.lab.work.survey()
    assert made.instance()["LatestRestorableTime"] == T0 + 60
    assert made.refused("RestoreDBInstanceToPointInTime", **pair, RestoreTime=T0 + 61) == "InvalidParameterValue"
    made("RestoreDBInstanceToPointInTime", **pair, RestoreTime=T0 + 60)


def test_a_failed_final_snapshot_leaves_the_instance(made: Driver) -> None:
    made("ModifyDBInstance", DBInstanceIdentifier="one", DeletionProtection=False)
    made.work()
    made.servers.broken = "backup"
    made("DeleteDBInstance", DBInstanceIdentifier="one", FinalDBSnapshotIdentifier="last")
    assert made.instance()["DBInstanceStatus"] == "deleting"
    made.work()
    assert made.instance()["DBInstanceStatus"] == "available"
    assert "delete" not in {call[0] for call in made.servers.calls}


def test_deleting_an_instance_takes_its_automated_backups_along_unless_they_are_kept(made: Driver) -> None:
    made("ModifyDBInstance", DBInstanceIdentifier="one", DeletionProtection=False)
    made.work()
    made("DeleteDBInstance", DBInstanceIdentifier="one", SkipFinalSnapshot=True)
    made.work()
    assert made.snapshots() == []
    assert {"delete", "delete_backup", "delete_archive"} <= {call[0] for call in made.servers.calls}
    assert made("DescribeDBInstanceAutomatedBackups")["DBInstanceAutomatedBackups"] == []


def test_a_backup_that_a_copy_shares_is_deleted_with_the_last_of_them(made: Driver) -> None:
    made("CreateDBSnapshot", DBSnapshotIdentifier="s1", DBInstanceIdentifier="one")
    made.work()
    made("CopyDBSnapshot", SourceDBSnapshotIdentifier="s1", TargetDBSnapshotIdentifier="s2")
    made.work()
    made("DeleteDBSnapshot", DBSnapshotIdentifier="s1")
    made.work()
    assert "delete_backup" not in {call[0] for call in made.servers.calls}
    made("DeleteDBSnapshot", DBSnapshotIdentifier="s2")
    made.work()
    assert "delete_backup" in {call[0] for call in made.servers.calls}


def test_a_server_that_does_not_start_again_has_failed(made: Driver) -> None:
    made("ModifyDBInstance", DBInstanceIdentifier="one", MultiAZ=False, ApplyImmediately=True)
    made.work()
    made.servers.up.clear()
    made.servers.broken = "start"
    for _ in range(4):
        made.lab.work.watch()
        made.work()
    assert made.instance()["DBInstanceStatus"] == "failed"
    assert [call[0] for call in made.servers.calls].count("start") == 3


def test_a_stopped_server_is_left_alone(made: Driver) -> None:
    made("StopDBInstance", DBInstanceIdentifier="one")
    made.work()
    made.lab.work.watch()
    assert made.servers.up == set()
    assert made.instance()["DBInstanceStatus"] == "stopped"


def test_a_renamed_instance_keeps_its_resource_id(made: Driver) -> None:
    resource = made.instance()["DbiResourceId"]
    made("ModifyDBInstance", DBInstanceIdentifier="one", NewDBInstanceIdentifier="uno", ApplyImmediately=True)
    made.work()
    assert made.instance("uno")["DbiResourceId"] == resource
    assert made.refused("DescribeDBInstances", DBInstanceIdentifier="one") == "DBInstanceNotFound"


def test_the_state_on_disk_is_whole_and_holds_no_password(made: Driver, tmp_path: Path) -> None:
    made("ModifyDBInstance", DBInstanceIdentifier="one", MasterUserPassword="another-long-one")
    text = (tmp_path / "rds.json").read_text()
    assert json.loads(text)["instances"]["one"]["status"] == "modifying"
    assert "long-enough" not in text
    assert "another-long-one" not in text


def test_pages_cover_everything_once() -> None:
    items, seen, marker = list(range(55)), [], None
    while True:
        answer = page(items, {"MaxRecords": 20, **({"Marker": marker} if marker else {})}, "Items")
        seen += answer["Items"]
        marker = answer.get("Marker")
        if marker is None:
            break
    assert seen == items
