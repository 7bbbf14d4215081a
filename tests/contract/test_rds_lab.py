"""The suite against the lab, and what only the lab can be made to do."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from dr.domain.errors import RefusedError
from dr.lab import control
from tests.contract.lab import client, environment, lab_home
from tests.contract.rds_suite import Cloud, RdsSuite
from tests.support import eventually

pytestmark = pytest.mark.in_order

SOURCE = control.SOURCE


@pytest.fixture(scope="module")
def lab() -> Iterator[Path]:
    with lab_home() as home:
        control.up(patients=20)
        yield home


@pytest.fixture(scope="module")
def rds(lab: Path) -> Any:
    return client("rds")


def code(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return str(refused.value.response["Error"]["Code"])


class TestLab(RdsSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def cloud(cls, lab: Path) -> Cloud:
        now = control.running()
        return Cloud(
            rds=client("rds"),
            sts=client("sts"),
            account=now.account,
            region=now.region,
            environment=environment(),
            ca=str(lab / "lab" / "ca.pem"),
            poll=0.1,
            patience=60.0,
        )


class TestWrongCallers:
    def test_an_unknown_key_is_refused(self, lab: Path) -> None:
        assert code(client("rds", aws_access_key_id="AKIAOTHER").describe_db_instances) == "InvalidClientTokenId"

    def test_a_wrong_secret_is_refused(self, lab: Path) -> None:
        assert code(client("rds", aws_secret_access_key="wrong").describe_db_instances) == "SignatureDoesNotMatch"

    def test_another_region_is_refused(self, lab: Path) -> None:
        with pytest.raises(ClientError, match="valid region"):
            client("rds", region_name="us-east-1").describe_db_instances()

    def test_a_session_token_is_refused(self, lab: Path) -> None:
        assert code(client("rds", aws_session_token="old").describe_db_instances) == "InvalidClientTokenId"

    def test_an_unsigned_request_is_refused(self, lab: Path) -> None:
        query = f"{control.running().api}/?Action=DescribeDBInstances&Version=2014-10-31"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(query)
        assert refused.value.code == 403
        assert "<Code>MissingAuthenticationToken</Code>" in refused.value.read().decode()

    def test_an_unknown_action_is_refused(self, rds: Any) -> None:
        assert code(rds.describe_db_clusters) == "InvalidAction"

    def test_a_missing_parameter_is_named(self, rds: Any) -> None:
        with pytest.raises(ClientError, match="DBInstanceIdentifier") as refused:
            rds.modify_db_instance()
        assert refused.value.response["Error"]["Code"] == "MissingParameter"

    def test_a_parameter_of_another_type_is_refused(self, rds: Any) -> None:
        assert code(rds.describe_db_instances, MaxRecords="many") == "MalformedInput"

    def test_a_marker_that_the_lab_did_not_give_is_refused(self, rds: Any) -> None:
        assert code(rds.describe_db_instances, Marker="made-up") == "InvalidParameterValue"


class TestFaults:
    def test_the_next_calls_fail_with_the_code_that_was_armed(self, rds: Any) -> None:
        control.inject("fail_calls", code="ExpiredToken", calls=2, action="DescribeDBInstances")
        rds.describe_db_snapshots()
        assert code(rds.describe_db_instances) == code(rds.describe_db_instances) == "ExpiredToken"
        rds.describe_db_instances()

    def test_only_codes_that_rds_knows_can_be_armed(self, rds: Any) -> None:
        with pytest.raises(RefusedError):
            control.inject("fail_calls", code="OutOfCoffee")
        control.inject("fail_calls", code="InsufficientDBInstanceCapacity")
        assert code(rds.describe_db_instances) == "InsufficientDBInstanceCapacity"

    def test_a_stock_client_rides_out_throttling(self, lab: Path) -> None:
        control.inject("fail_calls", code="Throttling", calls=2)
        assert client("rds", attempts=4).describe_db_instances()["DBInstances"]

    def test_a_dropped_connection_loses_the_answer_and_keeps_the_effect(self, rds: Any) -> None:
        arn = rds.describe_db_instances(DBInstanceIdentifier=SOURCE)["DBInstances"][0]["DBInstanceArn"]
        control.inject("fail_calls", code="dropped-connection", action="AddTagsToResource")
        with pytest.raises(ConnectionClosedError):
            rds.add_tags_to_resource(ResourceName=arn, Tags=[{"Key": "kept", "Value": "yes"}])
        assert {"Key": "kept", "Value": "yes"} in rds.list_tags_for_resource(ResourceName=arn)["TagList"]

    def test_a_server_that_dies_is_started_in_place(self, rds: Any, lab: Path) -> None:
        control.inject("kill_server", instance=SOURCE)
        env = control.env()

        def answers() -> bool:
            try:
                with psycopg.connect(
                    env["DATABASE_URL"],
                    passfile=env["PGPASSFILE"],
                    sslmode="verify-full",
                    sslrootcert=env["PGSSLROOTCERT"],
                    connect_timeout=2,
                ) as connection:
                    return connection.execute("SELECT count(*) FROM patients").fetchone() is not None
            except psycopg.OperationalError:
                return False

        eventually(answers)
        messages = [
            e["Message"] for e in rds.describe_events(SourceType="db-instance", SourceIdentifier=SOURCE)["Events"]
        ]
        eventually(lambda: "Recovery of the DB instance is complete." in str(rds.describe_events()["Events"]))
        assert "Recovery of the DB instance has started." in messages

    def test_a_status_can_be_put_on_and_taken_off(self, rds: Any) -> None:
        control.inject("force_status", instance=SOURCE, status="storage-full")
        assert (
            rds.describe_db_instances(DBInstanceIdentifier=SOURCE)["DBInstances"][0]["DBInstanceStatus"]
            == "storage-full"
        )
        assert code(rds.reboot_db_instance, DBInstanceIdentifier=SOURCE) == "InvalidDBInstanceState"
        control.inject("force_status", instance=SOURCE, status="")
        assert (
            rds.describe_db_instances(DBInstanceIdentifier=SOURCE)["DBInstances"][0]["DBInstanceStatus"] == "available"
        )

    def test_a_cut_archive_stops_the_latest_restorable_time(self, rds: Any) -> None:
        def latest() -> Any:
            return rds.describe_db_instances(DBInstanceIdentifier=SOURCE)["DBInstances"][0].get("LatestRestorableTime")

        eventually(latest)
        control.inject("cut_archive", instance=SOURCE)
        try:
            time.sleep(1.0)
            stuck = latest()
            time.sleep(5.0)
            assert latest() == stuck
        finally:
            control.inject("cut_archive", instance=SOURCE, cut=False)
        eventually(lambda: latest() > stuck, 90)

    def test_a_full_quota_refuses_another_instance(self, rds: Any) -> None:
        control.inject("set_quota", instances=1)
        try:
            snapshot = rds.describe_db_snapshots(SnapshotType="automated")["DBSnapshots"][0]["DBSnapshotIdentifier"]
            restore = {"DBInstanceIdentifier": "one-too-many", "DBSnapshotIdentifier": snapshot}
            assert code(rds.restore_db_instance_from_db_snapshot, **restore) == "InstanceQuotaExceeded"
            quotas = {q["AccountQuotaName"]: q for q in rds.describe_account_attributes()["AccountQuotas"]}
            assert quotas["DBInstances"]["Max"] == 1
        finally:
            control.inject("set_quota", instances=40)

    def test_another_accounts_encrypted_snapshot_must_be_copied_first(self, rds: Any) -> None:
        own = rds.describe_db_snapshots(DBInstanceIdentifier=SOURCE)["DBSnapshots"][0]["DBSnapshotIdentifier"]
        arn = control.inject("share_foreign_snapshot", snapshot=own, encrypted=True)
        listed = rds.describe_db_snapshots(SnapshotType="shared")["DBSnapshots"]
        assert [one["DBSnapshotIdentifier"] for one in listed] == [arn]
        assert arn not in str(rds.describe_db_snapshots())
        name = arn.rpartition(":")[2]
        for asked, expected in ((name, "DBSnapshotNotFound"), (arn, "KMSKeyNotAccessibleFault")):
            restore = {"DBInstanceIdentifier": "foreign", "DBSnapshotIdentifier": asked}
            assert code(rds.restore_db_instance_from_db_snapshot, **restore) == expected

    def test_groups_of_two_vpcs_do_not_go_together(self, rds: Any) -> None:
        own = rds.describe_db_snapshots(DBInstanceIdentifier=SOURCE)["DBSnapshots"][0]["DBSnapshotIdentifier"]
        restore = {
            "DBInstanceIdentifier": "torn",
            "DBSnapshotIdentifier": own,
            "DBSubnetGroupName": "default",
            "VpcSecurityGroupIds": ["sg-0readmission0000a"],
        }
        assert code(rds.restore_db_instance_from_db_snapshot, **restore) == "InvalidParameterCombination"

    def test_a_restore_can_be_slowed_down_and_deleted_meanwhile(self, rds: Any) -> None:
        own = rds.describe_db_snapshots(DBInstanceIdentifier=SOURCE)["DBSnapshots"][0]["DBSnapshotIdentifier"]
        control.inject("delay_restores", seconds=1.5)
        try:
            rds.restore_db_instance_from_db_snapshot(DBInstanceIdentifier="slow", DBSnapshotIdentifier=own)
            time.sleep(1.0)
            one = rds.describe_db_instances(DBInstanceIdentifier="slow")["DBInstances"][0]
            assert one["DBInstanceStatus"] == "creating"
            rds.delete_db_instance(DBInstanceIdentifier="slow", SkipFinalSnapshot=True)
        finally:
            control.inject("delay_restores", seconds=0.0)
        eventually(lambda: "slow" not in str(rds.describe_db_instances()))


class TestRetention:
    def test_a_copy_is_backed_up_when_it_gets_a_retention_and_loses_its_backups_with_it(
        self, rds: Any, lab: Path
    ) -> None:
        copy = {"DBInstanceIdentifier": "retained"}
        own = rds.describe_db_snapshots(DBInstanceIdentifier=SOURCE)["DBSnapshots"][0]["DBSnapshotIdentifier"]
        rds.restore_db_instance_from_db_snapshot(**copy, DBSnapshotIdentifier=own, BackupRetentionPeriod=0)

        def one() -> dict[str, Any]:
            found: dict[str, Any] = rds.describe_db_instances(**copy)["DBInstances"][0]
            return found

        def retain(days: int) -> None:
            eventually(lambda: one()["DBInstanceStatus"] == "available")
            rds.modify_db_instance(**copy, BackupRetentionPeriod=days, ApplyImmediately=True)
            eventually(lambda: one()["DBInstanceStatus"] == "available")

        def files() -> list[Path]:
            root = lab / "lab"
            return [*(root / "archives" / one()["DbiResourceId"]).glob("?" * 24), *root.glob(f"backups/{key}*")]

        retain(1)
        key = one()["DbiResourceId"].lower()
        assert len(rds.describe_db_snapshots(**copy)["DBSnapshots"]) == 1
        eventually(lambda: "LatestRestorableTime" in one())
        assert files()
        retain(0)
        assert rds.describe_db_snapshots(**copy)["DBSnapshots"] == []
        assert "LatestRestorableTime" not in one()
        eventually(lambda: not files())
        assert rds.describe_db_snapshots(DBInstanceIdentifier=SOURCE)["DBSnapshots"]
        rds.delete_db_instance(**copy, SkipFinalSnapshot=True)
        eventually(lambda: "retained" not in str(rds.describe_db_instances()))


class TestAvailability:
    """One Multi-AZ instance and its replica, over real servers; the tests follow one another."""

    PAIR, COPY = "available-pair", "available-copy"

    @pytest.fixture(scope="class")
    @classmethod
    def cloud(cls, lab: Path) -> Iterator[Cloud]:
        now = control.running()
        cloud = Cloud(
            *(client("rds"), client("sts"), now.account, now.region, environment(), str(lab / "lab" / "ca.pem")),
            poll=0.1,
            patience=90.0,
            prefix="available",
        )
        cloud.rds.create_db_instance(
            DBInstanceIdentifier=cls.PAIR,
            DBInstanceClass="db.t3.micro",
            Engine="postgres",
            AllocatedStorage=20,
            DBName="suite",
            MasterUsername="suite_master",
            MasterUserPassword="long-enough-1",
            BackupRetentionPeriod=1,
        )
        try:
            cloud.until(cls.PAIR)
            with cloud.connect(cls.PAIR, "long-enough-1") as connection:
                connection.execute("CREATE TABLE rows (n int PRIMARY KEY)")
            yield cloud
        finally:
            cloud.clean()

    def rows(self, cloud: Cloud, name: str) -> set[int]:
        try:
            with cloud.connect(name, "long-enough-1") as connection:
                return {n for (n,) in connection.execute("SELECT n FROM rows").fetchall()}
        except psycopg.OperationalError:
            return set()

    def write(self, cloud: Cloud, n: int) -> None:
        with cloud.connect(self.PAIR, "long-enough-1") as connection:
            connection.execute("INSERT INTO rows VALUES (%s)", [n])

    def messages(self, cloud: Cloud, name: str) -> list[str]:
        found = cloud.rds.describe_events(SourceType="db-instance", SourceIdentifier=name)["Events"]
        return [one["Message"] for one in found]

    def test_it_becomes_multi_az_while_it_serves(self, cloud: Cloud) -> None:
        cloud.rds.modify_db_instance(DBInstanceIdentifier=self.PAIR, MultiAZ=True, ApplyImmediately=True)
        self.write(cloud, 1)
        eventually(lambda: cloud.instance(self.PAIR)["MultiAZ"], 90)
        one = cloud.until(self.PAIR)[-1]
        assert one["AvailabilityZone"] != one["SecondaryAvailabilityZone"]

    def test_a_replica_shows_what_its_source_holds_and_takes_no_writes(self, cloud: Cloud) -> None:
        cloud.rds.create_db_instance_read_replica(DBInstanceIdentifier=self.COPY, SourceDBInstanceIdentifier=self.PAIR)
        cloud.until(self.COPY)
        self.write(cloud, 2)
        eventually(lambda: 2 in self.rows(cloud, self.COPY), 30)
        with (
            cloud.connect(self.COPY, "long-enough-1") as connection,
            pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
        ):
            connection.execute("INSERT INTO rows VALUES (0)")

    def test_a_forced_failover_keeps_what_was_committed_and_the_endpoint(self, cloud: Cloud) -> None:
        before = cloud.instance(self.PAIR)
        self.write(cloud, 3)
        cloud.rds.reboot_db_instance(DBInstanceIdentifier=self.PAIR, ForceFailover=True)
        eventually(lambda: "Multi-AZ instance failover completed." in self.messages(cloud, self.PAIR), 60)
        cloud.until(self.PAIR)
        assert {1, 2, 3} <= self.rows(cloud, self.PAIR)
        self.write(cloud, 4)
        eventually(lambda: cloud.instance(self.PAIR)["AvailabilityZone"] != before["AvailabilityZone"], 30)
        assert cloud.instance(self.PAIR)["Endpoint"] == before["Endpoint"]

    def test_the_replica_follows_the_new_primary(self, cloud: Cloud) -> None:
        eventually(lambda: 4 in self.rows(cloud, self.COPY), 60)
        eventually(lambda: cloud.instance(self.COPY)["StatusInfos"][0]["Status"] == "replicating", 30)

    def test_its_lag_is_told_by_cloudwatch(self, cloud: Cloud) -> None:
        dimensions = [{"Name": "DBInstanceIdentifier", "Value": self.COPY}]
        metric = {"Namespace": "AWS/RDS", "MetricName": "ReplicaLag", "Dimensions": dimensions}
        stat = {"Metric": metric, "Period": 1, "Stat": "Maximum"}
        now = time.time()
        answer = client("cloudwatch").get_metric_data(
            MetricDataQueries=[{"Id": "lag", "MetricStat": stat}], StartTime=now - 60, EndTime=now + 1
        )
        assert 0.0 <= answer["MetricDataResults"][0]["Values"][0] < 30.0

    def test_a_point_in_time_after_the_failover_can_be_restored(self, cloud: Cloud) -> None:
        limit = time.time()
        eventually(lambda: cloud.instance(self.PAIR)["LatestRestorableTime"].timestamp() > limit, 90)
        name = "available-pitr"
        cloud.rds.restore_db_instance_to_point_in_time(
            SourceDBInstanceIdentifier=self.PAIR, TargetDBInstanceIdentifier=name, UseLatestRestorableTime=True
        )
        restored = cloud.until(name)[-1]
        assert (restored["MultiAZ"], restored["ReadReplicaDBInstanceIdentifiers"]) == (False, [])
        assert {1, 2, 3, 4} <= self.rows(cloud, name)

    def test_a_promoted_replica_takes_writes_and_stands_alone(self, cloud: Cloud) -> None:
        cloud.rds.promote_read_replica(DBInstanceIdentifier=self.COPY)
        eventually(lambda: "ReadReplicaSourceDBInstanceIdentifier" not in cloud.instance(self.COPY), 60)
        one = cloud.until(self.COPY)[-1]
        assert one["BackupRetentionPeriod"] == 1
        with cloud.connect(self.COPY, "long-enough-1") as connection:
            connection.execute("INSERT INTO rows VALUES (5)")
        assert cloud.instance(self.PAIR)["ReadReplicaDBInstanceIdentifiers"] == []
        assert 5 not in self.rows(cloud, self.PAIR)


class TestSecrets:
    def test_no_secret_is_in_a_log_a_state_file_or_a_process_list(self, lab: Path) -> None:
        root = lab / "lab"
        found = [path.read_text().strip() for path in (root / "secrets").iterdir()]
        found += [control.env()["AWS_SECRET_ACCESS_KEY"], (root / "rdsadmin.password").read_text()]
        places = {name: (root / name).read_text() for name in ("daemon.log", "rds.json", "daemon.json", "target.yaml")}
        places["server log"] = "".join(p.read_text(errors="replace") for p in root.glob("instances/*/log/*"))
        places["processes"] = json.dumps([p.info["cmdline"] for p in psutil.process_iter(["cmdline"])])
        places["env"] = control.env()["DATABASE_URL"]
        assert len(found) == 7
        for place, text in places.items():
            for secret in found:
                assert secret not in text, place

    def test_files_with_secrets_are_closed_to_others(self, lab: Path) -> None:
        for name in ("aws-credentials", "pgpass", "rdsadmin.password", "control.key", "rds.json", "server.key"):
            assert (lab / "lab" / name).stat().st_mode & 0o077 == 0, name
