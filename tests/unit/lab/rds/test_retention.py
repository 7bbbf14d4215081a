"""Automated backups expire, end with retention 0, and are taken anew each day: days pass in no time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dr.lab.rds.retention import DAY, due
from dr.lab.servers.archive import trim
from tests.unit.lab.rds.fakes import T0, fake_lab
from tests.unit.lab.rds.test_states import NEW, Driver

SOURCE = {"DBInstanceIdentifier": "one"}


@pytest.fixture
def kept(tmp_path: Path) -> Driver:
    """An instance that keeps two days, with its first backup."""
    driver = Driver(*fake_lab(tmp_path, begin_at_once=False))
    driver("CreateDBInstance", **{**NEW, "BackupRetentionPeriod": 2, "PreferredBackupWindow": "23:45-00:15"})
    driver.work()
    return driver


def back_up(driver: Driver, days: float) -> None:
    driver.clock.at = T0 + days * DAY
    with driver.lab.store.reading() as state:
        one = state.instances["one"]
    driver.servers.archived = driver.clock.at + 60
    driver.lab.work.automated_backup(one)


def ages(driver: Driver) -> list[float]:
    """Of the snapshots that are left, in days after the first."""
    return [round((s["SnapshotDatabaseTime"] - T0) / DAY, 1) for s in driver.snapshots()]


def modify(driver: Driver, **asked: Any) -> None:
    driver("ModifyDBInstance", **SOURCE, ApplyImmediately=True, **asked)
    driver.work()


def test_backups_expire_but_for_the_one_that_the_first_kept_day_is_restored_from(kept: Driver) -> None:
    back_up(kept, 1)
    back_up(kept, 2)
    back_up(kept, 2.5)
    kept.lab.work.retain()
    assert ages(kept) == [0, 1, 2, 2.5]
    kept.clock.at = T0 + 3 * DAY
    kept.lab.work.retain()
    assert ages(kept) == [1, 2, 2.5]
    assert "Deleted automated snapshot" in kept.messages()
    deleted = [call[1] for call in kept.servers.calls if call[0] == "delete_backup"]
    taken = [call[2] for call in kept.servers.calls if call[0] == "backup"]
    assert deleted == taken[:1]
    trimmed = [call[2] for call in kept.servers.calls if call[0] == "trim_archive"]
    assert trimmed == [taken[0], taken[1]]


def test_the_newest_backup_stays_however_old_it_is(kept: Driver) -> None:
    kept.clock.at = T0 + 30 * DAY
    kept.lab.work.retain()
    assert ages(kept) == [0]


def test_nothing_of_a_stopped_instance_expires(kept: Driver) -> None:
    back_up(kept, 1)
    kept("StopDBInstance", **SOURCE)
    kept.work()
    kept.clock.at = T0 + 30 * DAY
    kept.lab.work.retain()
    assert ages(kept) == [0, 1]


def test_manual_snapshots_never_expire(kept: Driver) -> None:
    kept("CreateDBSnapshot", DBSnapshotIdentifier="mine", **SOURCE)
    kept.work()
    back_up(kept, 1)
    kept.clock.at = T0 + 30 * DAY
    kept.lab.work.retain()
    assert [s["SnapshotType"] for s in kept.snapshots()] == ["manual", "automated"]


def test_retention_zero_deletes_the_automated_backups_and_ends_point_in_time_restore(kept: Driver) -> None:
    back_up(kept, 1)
    kept("CreateDBSnapshot", DBSnapshotIdentifier="mine", **SOURCE)
    kept.work()
    assert kept.instance()["LatestRestorableTime"]
    modify(kept, BackupRetentionPeriod=0)
    assert [s["DBSnapshotIdentifier"] for s in kept.snapshots()] == ["mine"]
    assert kept.instance()["LatestRestorableTime"] is None
    assert kept("DescribeDBInstanceAutomatedBackups")["DBInstanceAutomatedBackups"] == []
    pair = {"SourceDBInstanceIdentifier": "one", "TargetDBInstanceIdentifier": "two"}
    refused = kept.refused("RestoreDBInstanceToPointInTime", **pair, UseLatestRestorableTime=True)
    assert refused == "PointInTimeRestoreNotEnabled"
    assert "Automatic backups for this DB instance have been disabled" in kept.messages()
    assert [call[0] for call in kept.servers.calls].count("delete_backup") == 2
    kept.lab.work.retain()
    assert kept.servers.calls[-1] == ("trim_archive", kept.instance()["DbiResourceId"], None)


def test_retention_zero_waits_for_the_maintenance_window_unless_it_is_to_apply_at_once(kept: Driver) -> None:
    kept("ModifyDBInstance", **SOURCE, BackupRetentionPeriod=0)
    kept.work()
    assert kept.instance()["PendingModifiedValues"] == {"BackupRetentionPeriod": 0}
    assert ages(kept) == [0]
    modify(kept)
    assert kept.instance()["BackupRetentionPeriod"] == 0
    assert ages(kept) == []


def test_a_copy_without_retention_is_backed_up_when_it_gets_one(kept: Driver) -> None:
    name = kept.snapshots()[0]["DBSnapshotIdentifier"]
    copy = {"DBInstanceIdentifier": "two"}
    kept("RestoreDBInstanceFromDBSnapshot", **copy, DBSnapshotIdentifier=name, BackupRetentionPeriod=0)
    kept.work()
    assert len(kept.snapshots()) == 1
    kept("ModifyDBInstance", **copy, BackupRetentionPeriod=3, ApplyImmediately=True)
    kept.work()
    assert [s["DBInstanceIdentifier"] for s in kept.snapshots()] == ["one", "two"]
    assert kept.instance("two")["DBInstanceStatus"] == "available"


def test_what_a_restore_reads_is_removed_when_it_has_ended(kept: Driver) -> None:
    name = kept.snapshots()[0]["DBSnapshotIdentifier"]
    kept("RestoreDBInstanceFromDBSnapshot", DBInstanceIdentifier="two", DBSnapshotIdentifier=name)
    restoring = kept.lab.work.waiting.pop()  # type: ignore[attr-defined]
    modify(kept, BackupRetentionPeriod=0)
    assert kept.snapshots() == []
    assert "delete_backup" not in {call[0] for call in kept.servers.calls}
    restoring()
    kept.lab.work.retain()
    assert "delete_backup" in {call[0] for call in kept.servers.calls}


def test_kept_backups_of_a_gone_instance_end_with_their_retention(kept: Driver) -> None:
    modify(kept, DeletionProtection=False)
    kept("DeleteDBInstance", **SOURCE, SkipFinalSnapshot=True, DeleteAutomatedBackups=False)
    kept.work()
    kept.clock.at = T0 + 2 * DAY
    kept.lab.work.retain()
    assert len(kept("DescribeDBInstanceAutomatedBackups")["DBInstanceAutomatedBackups"]) == 1
    kept.clock.at = T0 + 2 * DAY + 61
    kept.lab.work.retain()
    assert kept("DescribeDBInstanceAutomatedBackups")["DBInstanceAutomatedBackups"] == []
    assert {"delete_backup", "delete_archive"} <= {call[0] for call in kept.servers.calls}


# T0 is 22:13 UTC; the window begins at 23:45.
@pytest.mark.parametrize(
    ("hours", "asked"),
    [(1.6, False), (25.5, False), (25.6, True), (26.0, True), (26.1, False), (49.6, True)],
)
def test_a_daily_backup_is_due_within_its_window_half_a_day_after_the_last(
    kept: Driver, hours: float, asked: bool
) -> None:
    with kept.lab.store.reading() as state:
        assert bool(due(state, T0 + hours * 3600)) == asked


def test_no_daily_backup_is_due_where_none_are_kept_or_the_instance_is_not_available(kept: Driver) -> None:
    at = T0 + 25.6 * 3600
    kept("StopDBInstance", **SOURCE)
    kept.work()
    with kept.lab.store.reading() as state:
        assert due(state, at) == []
        state.instances["one"].status = "available"
        assert due(state, at) != []
        state.instances["one"].attributes["BackupRetentionPeriod"] = 0
        assert due(state, at) == []


def test_an_archive_is_trimmed_to_a_segment_whatever_the_timeline_and_keeps_its_history(tmp_path: Path) -> None:
    first = "000000020000000100000002"
    before = ["000000010000000100000001", "0000000100000001000000F1", "000000010000000000000009"]
    kept = [first, "000000020000000100000003", "00000002.history"]
    for name in [*before, *kept]:
        (tmp_path / name).touch()
    trim(tmp_path, first)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*kept, "0000000100000001000000F1"}
    trim(tmp_path, None)
    assert {path.name for path in tmp_path.iterdir()} == {"00000002.history"}
