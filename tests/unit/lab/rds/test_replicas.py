"""Read replicas as the API shows them, and their lag as CloudWatch does; over servers that remember."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.lab.rds.fakes import T0, fake_lab
from tests.unit.lab.rds.test_states import NEW, Driver

PAIR = {"DBInstanceIdentifier": "copy", "SourceDBInstanceIdentifier": "one"}
COPY = {"DBInstanceIdentifier": "copy"}


@pytest.fixture
def made(tmp_path: Path) -> Driver:
    driver = Driver(*fake_lab(tmp_path, begin_at_once=False))
    driver("CreateDBInstance", **{**NEW, "DeletionProtection": False})
    driver.work()
    return driver


@pytest.fixture
def pair(made: Driver) -> Driver:
    made("CreateDBInstanceReadReplica", **PAIR)
    made.work()
    made.lab.work.watch()
    return made


def test_a_replica_and_its_source_name_each_other(pair: Driver) -> None:
    one, copy = pair.instance(), pair.instance("copy")
    assert one["ReadReplicaDBInstanceIdentifiers"] == ["copy"]
    assert copy["ReadReplicaSourceDBInstanceIdentifier"] == "one"
    info = {"StatusType": "read replication", "Normal": True, "Status": "replicating"}
    assert copy["StatusInfos"] == [info]
    assert (copy["BackupRetentionPeriod"], copy["MultiAZ"], copy["DeletionProtection"]) == (0, False, False)
    assert (copy["MasterUsername"], copy["DBInstanceClass"]) == ("boss", "db.t3.micro")
    assert ("replicate", copy["DbiResourceId"], one["DbiResourceId"]) in pair.servers.calls


def test_a_renamed_source_keeps_its_replicas(pair: Driver) -> None:
    pair("ModifyDBInstance", DBInstanceIdentifier="one", NewDBInstanceIdentifier="uno", ApplyImmediately=True)
    pair.work()
    assert pair.instance("copy")["ReadReplicaSourceDBInstanceIdentifier"] == "uno"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"SourceDBInstanceIdentifier": "nobody"}, "DBInstanceNotFound"),
        ({"SourceDBInstanceIdentifier": ""}, "InvalidParameterCombination"),
        ({"DBInstanceIdentifier": "one"}, "DBInstanceAlreadyExists"),
        ({"DBInstanceClass": "huge"}, "InvalidParameterValue"),
        ({"AllocatedStorage": 5}, "InvalidParameterCombination"),
    ],
)
def test_a_wrong_replica_is_refused(made: Driver, asked: dict[str, Any], code: str) -> None:
    assert made.refused("CreateDBInstanceReadReplica", **{**PAIR, **asked}) == code


def test_a_source_must_be_available_and_keep_backups(made: Driver) -> None:
    made("RebootDBInstance", DBInstanceIdentifier="one")
    assert made.refused("CreateDBInstanceReadReplica", **PAIR) == "InvalidDBInstanceState"
    made.work()
    made("ModifyDBInstance", DBInstanceIdentifier="one", BackupRetentionPeriod=0, ApplyImmediately=True)
    made.work()
    assert made.refused("CreateDBInstanceReadReplica", **PAIR) == "InvalidDBInstanceState"


def test_a_source_has_fifteen_replicas_at_most(made: Driver) -> None:
    for number in range(15):
        made("CreateDBInstanceReadReplica", **{**PAIR, "DBInstanceIdentifier": f"copy-{number}"})
        made.work()
    assert made.refused("CreateDBInstanceReadReplica", **PAIR) == "InstanceQuotaExceeded"


def test_a_replica_of_a_replica_needs_backups_of_it(pair: Driver) -> None:
    below = {"DBInstanceIdentifier": "below", "SourceDBInstanceIdentifier": "copy"}
    assert pair.refused("CreateDBInstanceReadReplica", **below) == "InvalidDBInstanceState"
    pair("ModifyDBInstance", **COPY, BackupRetentionPeriod=1, ApplyImmediately=True)
    pair.work()
    pair("CreateDBInstanceReadReplica", **below)
    pair.work()
    assert pair.instance("below")["ReadReplicaSourceDBInstanceIdentifier"] == "copy"


def test_a_promotion_ends_both_links_and_begins_backups(pair: Driver) -> None:
    assert pair("PromoteReadReplica", **COPY)["DBInstance"]["DBInstanceStatus"] == "modifying"
    assert pair.instance("copy")["ReadReplicaSourceDBInstanceIdentifier"] == "one"
    pair.work()
    copy = pair.instance("copy")
    assert "ReadReplicaSourceDBInstanceIdentifier" not in copy
    assert "StatusInfos" not in copy
    assert (copy["BackupRetentionPeriod"], copy["DBInstanceStatus"]) == (1, "available")
    assert pair.instance()["ReadReplicaDBInstanceIdentifiers"] == []
    assert [s["DBInstanceIdentifier"] for s in pair.snapshots()].count("copy") == 1
    assert "Replication streaming has been terminated." in pair.messages()
    assert pair.refused("PromoteReadReplica", **COPY) == "InvalidDBInstanceState"


def test_a_promotion_is_refused_during_a_backup(pair: Driver) -> None:
    pair("CreateDBSnapshot", DBSnapshotIdentifier="s", **COPY)
    assert pair.refused("PromoteReadReplica", **COPY) == "InvalidDBInstanceState"
    assert pair.refused("PromoteReadReplica", DBInstanceIdentifier="nobody") == "DBInstanceNotFound"
    assert pair.refused("PromoteReadReplica", **COPY, BackupRetentionPeriod=36) == "InvalidParameterValue"


def test_a_promotion_that_fails_leaves_a_replica(pair: Driver) -> None:
    pair.servers.broken = "promote"
    pair("PromoteReadReplica", **COPY)
    pair.work()
    assert pair.instance("copy")["ReadReplicaSourceDBInstanceIdentifier"] == "one"
    assert pair.instance("copy")["DBInstanceStatus"] == "available"
    assert pair.instance("copy")["PendingModifiedValues"] == {}


def test_replicas_of_a_deleted_source_stand_alone(pair: Driver) -> None:
    pair("DeleteDBInstance", DBInstanceIdentifier="one", SkipFinalSnapshot=True)
    pair.work()
    assert "ReadReplicaSourceDBInstanceIdentifier" not in pair.instance("copy")
    assert "promote" in {call[0] for call in pair.servers.calls}


def test_what_a_replica_and_its_source_may_not(pair: Driver) -> None:
    for name in ("one", "copy"):
        assert pair.refused("StopDBInstance", DBInstanceIdentifier=name) == "InvalidDBInstanceState"
    assert pair.refused("DeleteDBInstance", **COPY, FinalDBSnapshotIdentifier="f") == "InvalidParameterCombination"
    no_backups = {"DBInstanceIdentifier": "one", "BackupRetentionPeriod": 0}
    assert pair.refused("ModifyDBInstance", **no_backups) == "InvalidParameterCombination"
    assert pair.refused("ModifyDBInstance", **COPY, MasterUserPassword="another-one") == "InvalidParameterCombination"


def test_a_restore_of_a_replicas_snapshot_is_no_replica(pair: Driver) -> None:
    pair("CreateDBSnapshot", DBSnapshotIdentifier="s", **COPY)
    pair.work()
    pair("RestoreDBInstanceFromDBSnapshot", DBInstanceIdentifier="two", DBSnapshotIdentifier="s")
    pair.work()
    assert "ReadReplicaSourceDBInstanceIdentifier" not in pair.instance("two")
    assert pair.instance("two")["MultiAZ"] is False


def test_replicas_follow_a_failover(pair: Driver) -> None:
    pair("RebootDBInstance", DBInstanceIdentifier="one", ForceFailover=True)
    pair.work()
    keys = [pair.instance(name)["DbiResourceId"] for name in ("copy", "one")]
    assert ("follow", *keys) in pair.servers.calls


def test_a_replica_that_could_not_follow_is_led_again(pair: Driver) -> None:
    pair.servers.broken = "follow"
    pair("RebootDBInstance", DBInstanceIdentifier="one", ForceFailover=True)
    pair.work()
    pair.servers.broken = ""
    for _ in range(20):
        pair.lab.work.watch()
        pair.work()
        pair.clock.at += 0.5
    assert [call[0] for call in pair.servers.calls].count("follow") == 2


def test_a_replica_that_does_not_stream_is_in_error_and_says_so(pair: Driver) -> None:
    key = pair.instance("copy")["DbiResourceId"]
    pair.servers.lags[key] = -1.0
    pair.lab.work.watch()
    info = pair.instance("copy")["StatusInfos"][0]
    assert (info["Normal"], info["Status"]) == (False, "error")
    pair.servers.lags[key] = 0.5
    pair.lab.work.watch()
    assert pair.instance("copy")["StatusInfos"][0]["Status"] == "replicating"
    said = pair("DescribeEvents", EventCategories=["read replica"])["Events"]
    assert [e["Message"] for e in said] == [
        "Replication has stopped.",
        "Replication for the Read Replica resumed.",
    ]


def query(period: int = 60, stat: str = "Average", name: str = "copy", **changed: Any) -> dict[str, Any]:
    dimensions = [{"Name": "DBInstanceIdentifier", "Value": name}]
    metric = {"Namespace": "AWS/RDS", "MetricName": "ReplicaLag", "Dimensions": dimensions}
    return {"Id": "lag", "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}, **changed}


def lags(driver: Driver, **how: Any) -> list[tuple[float, float]]:
    asked = {"MetricDataQueries": [query(**how)], "StartTime": T0 - 60, "EndTime": T0 + 3600}
    found = driver("GetMetricData", **asked, ScanBy="TimestampAscending")["MetricDataResults"][0]
    return list(zip(found["Timestamps"], found["Values"], strict=True))


def test_lag_is_answered_by_period_and_statistic(pair: Driver) -> None:
    key = pair.instance("copy")["DbiResourceId"]
    pair.lab.work.replicas.metrics._samples.clear()
    pair.clock.at = begin = T0 // 60 * 60 + 60
    for lag in (1.0, 2.0, 6.0):
        pair.servers.lags[key] = lag
        pair.lab.work.watch()
        pair.clock.at += 1
    assert lags(pair) == [(begin, 3.0)]
    assert lags(pair, stat="Maximum") == [(begin, 6.0)]
    assert lags(pair, period=1) == [(begin, 1.0), (begin + 1, 2.0), (begin + 2, 6.0)]
    assert lags(pair, name="one") == []


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"StartTime": T0 + 9999}, "InvalidParameterValue"),
        ({"MetricDataQueries": [query(period=7)]}, "InvalidParameterValue"),
        ({"MetricDataQueries": [query(stat="Median")]}, "InvalidParameterValue"),
        ({"MetricDataQueries": [query(), query()]}, "InvalidParameterValue"),
        ({"MetricDataQueries": [{"Id": "a", "Expression": "1+1"}]}, "ValidationError"),
        ({"NextToken": "x"}, "InvalidNextToken"),
        ({"ScanBy": "sideways"}, "InvalidParameterValue"),
    ],
)
def test_a_wrong_metric_query_is_refused(pair: Driver, changed: dict[str, Any], code: str) -> None:
    right = {"MetricDataQueries": [query()], "StartTime": T0, "EndTime": T0 + 60}
    assert pair.refused("GetMetricData", **{**right, **changed}) == code
