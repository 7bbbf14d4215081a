"""What the lab's RDS and the real one have in common: one suite, run against either.

A subclass gives the fixture ``cloud``. Everything the suite makes carries the prefix of ``cloud`` and is deleted by it.
"""

from __future__ import annotations

import json
import math
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from botocore.exceptions import ClientError

MASTER, DATABASE = "suite_master", "suite"


@dataclass
class Cloud:
    """An RDS. ``poll`` and ``patience``: seconds between looks, and until a change must have happened."""

    rds: Any
    sts: Any
    account: str
    region: str
    environment: dict[str, str]
    ca: str
    poll: float
    patience: float
    placement: dict[str, Any] = field(default_factory=dict)
    prefix: str = field(default_factory=lambda: f"suite-{secrets.token_hex(3)}")

    def name(self, what: str) -> str:
        return f"{self.prefix}-{what}"

    def instance(self, identifier: str) -> dict[str, Any]:
        found: dict[str, Any] = self.rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]
        return found

    def until(self, identifier: str, status: str = "available") -> list[dict[str, Any]]:
        """Every description seen on the way to ``status``."""
        limit, seen = time.monotonic() + self.patience, []
        while time.monotonic() < limit:
            seen.append(self.instance(identifier))
            if seen[-1]["DBInstanceStatus"] == status:
                return seen
            assert seen[-1]["DBInstanceStatus"] not in ("failed", "incompatible-restore"), seen[-1]
            time.sleep(self.poll)
        raise AssertionError(f"{identifier} is {seen[-1]['DBInstanceStatus']}, not {status}")

    def gone(self, identifier: str) -> None:
        waiter = self.rds.get_waiter("db_instance_deleted")
        waiter.wait(
            DBInstanceIdentifier=identifier,
            WaiterConfig={"Delay": self.poll, "MaxAttempts": int(self.patience / self.poll)},
        )

    def snapshot_done(self, identifier: str) -> dict[str, Any]:
        self.rds.get_waiter("db_snapshot_available").wait(
            DBSnapshotIdentifier=identifier,
            WaiterConfig={"Delay": self.poll, "MaxAttempts": int(self.patience / self.poll)},
        )
        found: dict[str, Any] = self.rds.describe_db_snapshots(DBSnapshotIdentifier=identifier)["DBSnapshots"][0]
        return found

    def connect(self, identifier: str, password: str, **options: Any) -> psycopg.Connection[Any]:
        endpoint = self.instance(identifier)["Endpoint"]
        security = {"sslmode": "verify-full", "sslrootcert": self.ca, **options}
        return psycopg.connect(
            host=endpoint["Address"],
            port=endpoint["Port"],
            user=MASTER,
            password=password,
            dbname=DATABASE,
            connect_timeout=10,
            autocommit=True,
            **security,
        )

    def aws(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).parent / "aws"
        return subprocess.run(
            [str(program), *arguments, "--output", "json"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def code(self, operation: str, **arguments: Any) -> str:
        """The error code of a call that must be refused."""
        with pytest.raises(ClientError) as refused:
            getattr(self.rds, operation)(**arguments)
        return str(refused.value.response["Error"]["Code"])

    def clean(self) -> None:
        """Delete everything with the suite's prefix, and wait until it is gone."""
        mine = [
            i
            for i in self.rds.describe_db_instances()["DBInstances"]
            if i["DBInstanceIdentifier"].startswith(self.prefix)
        ]
        for one in mine:
            name = one["DBInstanceIdentifier"]
            with suppress(ClientError):
                self.rds.modify_db_instance(DBInstanceIdentifier=name, DeletionProtection=False)
                self.until(name)
            with suppress(ClientError):
                self.rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)
        for one in mine:
            self.gone(one["DBInstanceIdentifier"])
        for snapshot in self.rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]:
            if snapshot["DBSnapshotIdentifier"].startswith(self.prefix):
                self.rds.delete_db_snapshot(DBSnapshotIdentifier=snapshot["DBSnapshotIdentifier"])
        for kept in self.rds.describe_db_instance_automated_backups()["DBInstanceAutomatedBackups"]:
            if kept["DBInstanceIdentifier"].startswith(self.prefix) and kept["Status"] == "retained":
                self.rds.delete_db_instance_automated_backup(DbiResourceId=kept["DbiResourceId"])


@dataclass
class Source:
    """The suite's own instance."""

    identifier: str
    password: str
    answer: dict[str, Any]
    seen: list[dict[str, Any]]


class RdsSuite:
    """Class-wide fixtures: one source, one snapshot of it; tests that change the source put it back."""

    @pytest.fixture(scope="class")
    @classmethod
    def source(cls, cloud: Cloud) -> Iterator[Source]:
        password = secrets.token_urlsafe(16)
        name = cloud.name("source")
        answer = cloud.rds.create_db_instance(
            DBInstanceIdentifier=name.upper(),
            DBInstanceClass="db.t3.micro",
            Engine="postgres",
            AllocatedStorage=20,
            DBName=DATABASE,
            MasterUsername=MASTER,
            MasterUserPassword=password,
            BackupRetentionPeriod=1,
            CopyTagsToSnapshot=True,
            Tags=[{"Key": "env", "Value": "prod"}, {"Key": "suite", "Value": cloud.prefix}],
            **cloud.placement,
        )["DBInstance"]
        try:
            seen = cloud.until(name)
            with cloud.connect(name, password) as connection:
                connection.execute("CREATE TABLE rows (at timestamptz DEFAULT clock_timestamp(), what text)")
                connection.execute("INSERT INTO rows (what) VALUES ('before the snapshot')")
            yield Source(name, password, answer, seen)
        finally:
            cloud.clean()

    @pytest.fixture(scope="class")
    @classmethod
    def snapshot(cls, cloud: Cloud, source: Source) -> dict[str, Any]:
        cloud.until(source.identifier)
        name = cloud.name("snapshot")
        cloud.rds.create_db_snapshot(DBSnapshotIdentifier=name, DBInstanceIdentifier=source.identifier)
        return cloud.snapshot_done(name)

    # ---- instances

    def test_the_endpoint_is_absent_while_an_instance_is_creating(self, cloud: Cloud, source: Source) -> None:
        assert source.answer["DBInstanceStatus"] == "creating"
        assert "Endpoint" not in source.answer
        assert all("Endpoint" not in one for one in source.seen if one["DBInstanceStatus"] == "creating")
        assert source.seen[-1]["Endpoint"]["Port"] > 0

    def test_the_password_is_shown_nowhere(self, source: Source) -> None:
        assert source.password not in json.dumps([source.answer, source.seen], default=str)

    def test_identifiers_are_stored_in_lower_case_and_found_in_any(self, cloud: Cloud, source: Source) -> None:
        assert source.answer["DBInstanceIdentifier"] == source.identifier
        assert cloud.instance(source.identifier.upper())["DBInstanceArn"].endswith(f":db:{source.identifier}")

    def test_an_instance_is_found_by_filter(self, cloud: Cloud, source: Source) -> None:
        def found(name: str, value: str) -> list[str]:
            answer = cloud.rds.describe_db_instances(Filters=[{"Name": name, "Values": [value]}])
            return [one["DBInstanceIdentifier"] for one in answer["DBInstances"]]

        assert found("db-instance-id", source.identifier) == [source.identifier]
        assert found("dbi-resource-id", source.answer["DbiResourceId"]) == [source.identifier]
        assert found("dbi-resource-id", "db-NOBODY") == []

    def test_stock_waiters_and_paginators_work(self, cloud: Cloud, source: Source) -> None:
        waiter = cloud.rds.get_waiter("db_instance_available")
        waiter.wait(DBInstanceIdentifier=source.identifier, WaiterConfig={"Delay": cloud.poll, "MaxAttempts": 20})
        whole = cloud.rds.describe_events(Duration=600)["Events"]
        pages = cloud.rds.get_paginator("describe_events").paginate(Duration=600, PaginationConfig={"PageSize": 20})
        paged = [one for page in pages for one in page["Events"]]
        assert [one["Message"] for one in paged[: len(whole)]] == [one["Message"] for one in whole]

    def test_the_caller_is_the_account(self, cloud: Cloud) -> None:
        assert cloud.sts.get_caller_identity()["Account"] == cloud.account

    def test_the_engine_version_is_a_known_one(self, cloud: Cloud, source: Source) -> None:
        versions = cloud.rds.describe_db_engine_versions(Engine="postgres")["DBEngineVersions"]
        assert source.seen[-1]["EngineVersion"] in {one["EngineVersion"] for one in versions}

    def test_connections_without_tls_or_with_a_wrong_password_are_refused(self, cloud: Cloud, source: Source) -> None:
        for password, options in ((source.password, {"sslmode": "disable"}), ("wrong", {})):
            with pytest.raises(psycopg.OperationalError):
                cloud.connect(source.identifier, password, **options).close()

    @pytest.mark.parametrize(
        ("operation", "arguments", "code"),
        [
            ("describe_db_instances", {"DBInstanceIdentifier": "nobody"}, "DBInstanceNotFound"),
            ("describe_db_instances", {"MaxRecords": 5}, "InvalidParameterValue"),
            ("describe_db_instances", {"Filters": [{"Name": "colour", "Values": ["x"]}]}, "InvalidParameterValue"),
            ("describe_db_snapshots", {"DBSnapshotIdentifier": "nobody"}, "DBSnapshotNotFound"),
            ("describe_db_subnet_groups", {"DBSubnetGroupName": "nobody"}, "DBSubnetGroupNotFoundFault"),
            ("describe_db_parameter_groups", {"DBParameterGroupName": "nobody"}, "DBParameterGroupNotFound"),
            ("delete_db_instance", {"DBInstanceIdentifier": "nobody", "SkipFinalSnapshot": True}, "DBInstanceNotFound"),
            ("delete_db_snapshot", {"DBSnapshotIdentifier": "nobody"}, "DBSnapshotNotFound"),
            ("modify_db_instance", {"DBInstanceIdentifier": "nobody"}, "DBInstanceNotFound"),
            ("stop_db_instance", {"DBInstanceIdentifier": "nobody"}, "DBInstanceNotFound"),
            (
                "create_db_snapshot",
                {"DBSnapshotIdentifier": "s", "DBInstanceIdentifier": "nobody"},
                "DBInstanceNotFound",
            ),
            (
                "restore_db_instance_from_db_snapshot",
                {"DBInstanceIdentifier": "a", "DBSnapshotIdentifier": "nobody"},
                "DBSnapshotNotFound",
            ),
            (
                "restore_db_instance_to_point_in_time",
                {
                    "TargetDBInstanceIdentifier": "a",
                    "SourceDBInstanceIdentifier": "nobody",
                    "UseLatestRestorableTime": True,
                },
                "DBInstanceNotFound",
            ),
            ("describe_events", {"SourceIdentifier": "a"}, "InvalidParameterCombination"),
            ("describe_events", {"Duration": 99999}, "InvalidParameterValue"),
        ],
    )
    def test_a_wrong_call_gets_awss_own_code(
        self, cloud: Cloud, operation: str, arguments: dict[str, Any], code: str
    ) -> None:
        assert cloud.code(operation, **arguments) == code

    @pytest.mark.parametrize(
        ("changed", "code"),
        [
            ({"DBInstanceIdentifier": "9-begins-with-a-digit"}, "InvalidParameterValue"),
            ({"DBInstanceIdentifier": "two--hyphens"}, "InvalidParameterValue"),
            ({"MasterUserPassword": "short"}, "InvalidParameterValue"),
            ({"MasterUserPassword": "with/a/slash"}, "InvalidParameterValue"),
            ({"Engine": "no-such-engine"}, "InvalidParameterValue"),
            ({"BackupRetentionPeriod": 36}, "InvalidParameterValue"),
            ({"EngineVersion": "9.99"}, "InvalidParameterCombination"),
            ({"DBSubnetGroupName": "nobody"}, "DBSubnetGroupNotFoundFault"),
            ({"DBParameterGroupName": "nobody"}, "DBParameterGroupNotFound"),
        ],
    )
    def test_a_wrong_creation_gets_awss_own_code(self, cloud: Cloud, changed: dict[str, Any], code: str) -> None:
        right = {
            "DBInstanceIdentifier": cloud.name("wrong"),
            "DBInstanceClass": "db.t3.micro",
            "Engine": "postgres",
            "AllocatedStorage": 20,
            "MasterUsername": MASTER,
            "MasterUserPassword": "long enough".replace(" ", "-"),
        }
        assert cloud.code("create_db_instance", **{**right, **changed}) == code

    def test_the_stock_command_line_works(self, cloud: Cloud, source: Source) -> None:
        found = cloud.aws("rds", "describe-db-instances", "--db-instance-identifier", source.identifier)
        assert json.loads(found.stdout)["DBInstances"][0]["DBInstanceStatus"] == "available", found.stderr
        wrong = cloud.aws("rds", "describe-db-instances", "--db-instance-identifier", "nobody")
        assert wrong.returncode in (254, 255)  # the second is what the first major version of aws gives
        assert "(DBInstanceNotFound)" in wrong.stderr

    # ---- modifying

    def test_a_new_master_password_replaces_the_old_one(self, cloud: Cloud, source: Source) -> None:
        fresh = secrets.token_urlsafe(16)
        answer = cloud.rds.modify_db_instance(
            DBInstanceIdentifier=source.identifier, MasterUserPassword=fresh, ApplyImmediately=True
        )["DBInstance"]
        assert answer["PendingModifiedValues"]["MasterUserPassword"] == "****"
        time.sleep(cloud.poll)
        cloud.until(source.identifier)
        old, source.password = source.password, fresh
        cloud.connect(source.identifier, fresh).close()
        with pytest.raises(psycopg.OperationalError):
            cloud.connect(source.identifier, old)

    def test_a_change_waits_for_the_window_unless_it_is_applied_immediately(self, cloud: Cloud, source: Source) -> None:
        name = source.identifier
        cloud.rds.modify_db_instance(DBInstanceIdentifier=name, DBInstanceClass="db.t3.small")
        time.sleep(cloud.poll)
        waiting = cloud.until(name)[-1]
        assert waiting["DBInstanceClass"] == "db.t3.micro"
        assert waiting["PendingModifiedValues"]["DBInstanceClass"] == "db.t3.small"
        cloud.rds.modify_db_instance(DBInstanceIdentifier=name, DBInstanceClass="db.t3.small", ApplyImmediately=True)
        time.sleep(cloud.poll)
        applied = cloud.until(name)[-1]
        assert applied["DBInstanceClass"] == "db.t3.small"
        assert not applied["PendingModifiedValues"]

    def test_tags_are_added_listed_and_removed(self, cloud: Cloud, source: Source) -> None:
        arn = source.answer["DBInstanceArn"]

        def tags() -> dict[str, str]:
            return {t["Key"]: t["Value"] for t in cloud.rds.list_tags_for_resource(ResourceName=arn)["TagList"]}

        cloud.rds.add_tags_to_resource(ResourceName=arn, Tags=[{"Key": "colour", "Value": "blue"}])
        assert tags()["colour"] == "blue"
        cloud.rds.remove_tags_from_resource(ResourceName=arn, TagKeys=["colour"])
        assert tags() == {"env": "prod", "suite": cloud.prefix}

    def test_deletion_protection_and_final_snapshots_guard_a_deletion(self, cloud: Cloud, source: Source) -> None:
        name = source.identifier
        refused = "InvalidParameterCombination"
        assert cloud.code("delete_db_instance", DBInstanceIdentifier=name) == refused
        both = {"SkipFinalSnapshot": True, "FinalDBSnapshotIdentifier": cloud.name("final")}
        assert cloud.code("delete_db_instance", DBInstanceIdentifier=name, **both) == refused
        cloud.rds.modify_db_instance(DBInstanceIdentifier=name, DeletionProtection=True)
        time.sleep(cloud.poll)
        cloud.until(name)
        assert cloud.code("delete_db_instance", DBInstanceIdentifier=name, SkipFinalSnapshot=True) == refused
        cloud.rds.modify_db_instance(DBInstanceIdentifier=name, DeletionProtection=False)
        time.sleep(cloud.poll)
        assert cloud.until(name)[-1]["DeletionProtection"] is False

    def test_a_single_az_instance_reboots_but_does_not_fail_over(self, cloud: Cloud, source: Source) -> None:
        name = source.identifier
        with cloud.connect(name, source.password) as connection:
            before = connection.execute("SELECT pg_postmaster_start_time()").fetchone()
        assert cloud.code("reboot_db_instance", DBInstanceIdentifier=name, ForceFailover=True) == (
            "InvalidParameterCombination"
        )
        answer = cloud.rds.reboot_db_instance(DBInstanceIdentifier=name)
        assert answer["DBInstance"]["DBInstanceStatus"] == "rebooting"
        cloud.until(name)
        with cloud.connect(name, source.password) as connection:
            assert connection.execute("SELECT pg_postmaster_start_time()").fetchone() > before

    def test_a_stopped_instance_refuses_sessions_and_keeps_its_rows(self, cloud: Cloud, source: Source) -> None:
        name = source.identifier
        endpoint = cloud.instance(name)["Endpoint"]
        assert cloud.rds.stop_db_instance(DBInstanceIdentifier=name)["DBInstance"]["DBInstanceStatus"] == "stopping"
        cloud.until(name, "stopped")
        assert cloud.code("stop_db_instance", DBInstanceIdentifier=name) == "InvalidDBInstanceState"
        assert cloud.code("reboot_db_instance", DBInstanceIdentifier=name) == "InvalidDBInstanceState"
        with pytest.raises(psycopg.OperationalError):
            cloud.connect(name, source.password)
        assert cloud.rds.start_db_instance(DBInstanceIdentifier=name)["DBInstance"]["DBInstanceStatus"] == "starting"
        assert cloud.until(name)[-1]["Endpoint"] == endpoint
        with cloud.connect(name, source.password) as connection:
            assert connection.execute("SELECT count(*) FROM rows").fetchone() == (1,)
        assert cloud.code("start_db_instance", DBInstanceIdentifier=name) == "InvalidDBInstanceState"

    # ---- snapshots

    def test_a_snapshot_in_progress_cannot_be_restored(self, cloud: Cloud, source: Source) -> None:
        cloud.until(source.identifier)
        name = cloud.name("in-progress")
        made = cloud.rds.create_db_snapshot(DBSnapshotIdentifier=name, DBInstanceIdentifier=source.identifier)
        assert made["DBSnapshot"]["Status"] == "creating"
        assert made["DBSnapshot"]["PercentProgress"] < 100
        assert "SnapshotCreateTime" not in made["DBSnapshot"]
        restore = {"DBInstanceIdentifier": cloud.name("early"), "DBSnapshotIdentifier": name}
        assert cloud.code("restore_db_instance_from_db_snapshot", **restore) == "InvalidDBSnapshotState"
        again = {"DBSnapshotIdentifier": name, "DBInstanceIdentifier": source.identifier}
        assert cloud.code("create_db_snapshot", **again) == "DBSnapshotAlreadyExists"
        assert cloud.snapshot_done(name)["PercentProgress"] == 100
        cloud.until(source.identifier)

    def test_a_snapshot_says_which_moment_it_holds(self, snapshot: dict[str, Any]) -> None:
        assert snapshot["SnapshotType"] == "manual"
        assert snapshot["SnapshotDatabaseTime"] <= snapshot["SnapshotCreateTime"]
        assert snapshot["OriginalSnapshotCreateTime"] == snapshot["SnapshotCreateTime"]

    def test_a_copy_keeps_the_original_time(self, cloud: Cloud, snapshot: dict[str, Any]) -> None:
        name = cloud.name("copy")
        cloud.rds.copy_db_snapshot(
            SourceDBSnapshotIdentifier=snapshot["DBSnapshotIdentifier"], TargetDBSnapshotIdentifier=name
        )
        copied = cloud.snapshot_done(name)
        assert copied["OriginalSnapshotCreateTime"] == snapshot["OriginalSnapshotCreateTime"]
        assert copied["SnapshotCreateTime"] > snapshot["SnapshotCreateTime"]

    def test_snapshots_are_listed_by_type(self, cloud: Cloud, source: Source, snapshot: dict[str, Any]) -> None:
        def listed(kind: str) -> set[str]:
            answer = cloud.rds.describe_db_snapshots(DBInstanceIdentifier=source.identifier, SnapshotType=kind)
            return {one["DBSnapshotIdentifier"] for one in answer["DBSnapshots"]}

        assert snapshot["DBSnapshotIdentifier"] in listed("manual")
        assert listed("automated")
        assert all(name.startswith(f"rds:{source.identifier}-") for name in listed("automated"))
        automated = sorted(listed("automated"))[0]
        assert cloud.code("delete_db_snapshot", DBSnapshotIdentifier=automated) == "InvalidDBSnapshotState"

    def test_a_restore_holds_the_rows_and_does_not_inherit_what_rds_does_not(
        self, cloud: Cloud, source: Source, snapshot: dict[str, Any]
    ) -> None:
        with cloud.connect(source.identifier, source.password) as connection:
            connection.execute("INSERT INTO rows (what) VALUES ('after the snapshot')")
        name = cloud.name("restored")
        restore = {"DBInstanceIdentifier": name, "DBSnapshotIdentifier": snapshot["DBSnapshotIdentifier"]}
        cloud.rds.restore_db_instance_from_db_snapshot(**restore, BackupRetentionPeriod=0)
        assert cloud.code("restore_db_instance_from_db_snapshot", **restore) == "DBInstanceAlreadyExists"
        restored = cloud.until(name)[-1]
        origin = cloud.instance(source.identifier)
        with cloud.connect(name, source.password) as connection:
            assert connection.execute("SELECT what FROM rows").fetchall() == [("before the snapshot",)]
            connection.execute("INSERT INTO rows (what) VALUES ('it takes writes')")
        assert restored["DbiResourceId"] != origin["DbiResourceId"]
        assert restored["StorageType"] == "gp3"
        assert restored["MultiAZ"] is restored["DeletionProtection"] is restored["CopyTagsToSnapshot"] is False
        assert restored["DBParameterGroups"][0]["DBParameterGroupName"].startswith("default.postgres")
        assert {t["Key"]: t["Value"] for t in restored["TagList"]} == {"env": "prod", "suite": cloud.prefix}
        assert "LatestRestorableTime" not in restored
        no_archive = {
            "SourceDBInstanceIdentifier": name,
            "TargetDBInstanceIdentifier": cloud.name("of-restored"),
            "UseLatestRestorableTime": True,
        }
        assert cloud.code("restore_db_instance_to_point_in_time", **no_archive) == "PointInTimeRestoreNotEnabled"

    def test_tags_that_are_passed_replace_the_inherited_ones(self, cloud: Cloud, snapshot: dict[str, Any]) -> None:
        name = cloud.name("tagged")
        cloud.rds.restore_db_instance_from_db_snapshot(
            DBInstanceIdentifier=name,
            DBSnapshotIdentifier=snapshot["DBSnapshotIdentifier"],
            BackupRetentionPeriod=0,
            Tags=[{"Key": "run", "Value": "1"}],
        )
        tags = cloud.until(name)[-1]["TagList"]
        assert tags == [{"Key": "run", "Value": "1"}]
        cloud.rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)
        cloud.gone(name)

    # ---- points in time

    def test_a_point_in_time_restore_holds_what_was_committed_by_its_second_and_no_more(
        self, cloud: Cloud, source: Source
    ) -> None:
        with cloud.connect(source.identifier, source.password) as connection:
            connection.execute("INSERT INTO rows (what) VALUES ('by the second')")
            at = math.ceil(_now(connection))
            while _now(connection) <= at:
                time.sleep(0.02)
            connection.execute("INSERT INTO rows (what) VALUES ('after the second')")
        limit = time.monotonic() + cloud.patience
        while cloud.instance(source.identifier)["LatestRestorableTime"].timestamp() < at:
            assert time.monotonic() < limit
            time.sleep(cloud.poll)
        name = cloud.name("pitr")
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
        answer = cloud.aws(
            *("rds", "restore-db-instance-to-point-in-time", "--restore-time", stamp),
            *("--source-db-instance-identifier", source.identifier, "--target-db-instance-identifier", name),
            *("--backup-retention-period", "0"),
        )
        assert json.loads(answer.stdout)["DBInstance"]["DBInstanceStatus"] == "creating", answer.stderr
        cloud.until(name)
        with cloud.connect(name, source.password) as connection:
            rows = {what for (what,) in connection.execute("SELECT what FROM rows").fetchall()}
        assert "by the second" in rows
        assert "after the second" not in rows

    def test_a_point_in_time_needs_one_time_inside_the_window(self, cloud: Cloud, source: Source) -> None:
        pair = {"SourceDBInstanceIdentifier": source.identifier, "TargetDBInstanceIdentifier": cloud.name("never")}
        latest = cloud.instance(source.identifier)["LatestRestorableTime"].timestamp()
        for times, code in (
            ({}, "InvalidParameterCombination"),
            ({"RestoreTime": latest, "UseLatestRestorableTime": True}, "InvalidParameterCombination"),
            ({"RestoreTime": latest + 3600}, "InvalidParameterValue"),
            ({"RestoreTime": latest - 40 * 86400}, "InvalidParameterValue"),
        ):
            assert cloud.code("restore_db_instance_to_point_in_time", **pair, **times) == code

    def test_events_are_filtered_by_source_time_and_category(self, cloud: Cloud, source: Source) -> None:
        def messages(**asked: Any) -> list[str]:
            return [one["Message"] for one in cloud.rds.describe_events(**asked)["Events"]]

        mine = {"SourceType": "db-instance", "SourceIdentifier": source.identifier}
        assert "DB instance created" in messages(**mine)
        assert messages(**mine, EventCategories=["backup"])
        assert "DB instance created" not in messages(**mine, EventCategories=["backup"])
        assert messages(**mine, StartTime=time.time() - 7200, EndTime=time.time() - 3600) == []

    def test_the_servers_log_can_be_read(self, cloud: Cloud, source: Source) -> None:
        files = cloud.rds.describe_db_log_files(DBInstanceIdentifier=source.identifier)["DescribeDBLogFiles"]
        name = files[0]["LogFileName"]
        text = cloud.rds.download_db_log_file_portion(
            DBInstanceIdentifier=source.identifier, LogFileName=name, Marker="0"
        )["LogFileData"]
        assert "database system is ready to accept connections" in text
        wrong = {"DBInstanceIdentifier": source.identifier, "LogFileName": "../../server.key"}
        assert cloud.code("download_db_log_file_portion", **wrong) == "DBLogFileNotFoundFault"

    # ---- the end of the source: the last test of the class

    def test_retained_automated_backups_outlive_their_instance(self, cloud: Cloud, source: Source) -> None:
        final, resource = cloud.name("final"), source.answer["DbiResourceId"]
        cloud.until(source.identifier)
        cloud.rds.delete_db_instance(
            DBInstanceIdentifier=source.identifier, FinalDBSnapshotIdentifier=final, DeleteAutomatedBackups=False
        )
        assert cloud.instance(source.identifier)["DBInstanceStatus"] == "deleting"
        cloud.gone(source.identifier)
        assert cloud.code("describe_db_instances", DBInstanceIdentifier=source.identifier) == "DBInstanceNotFound"
        assert cloud.snapshot_done(final)["SnapshotType"] == "manual"
        kept = cloud.rds.describe_db_instance_automated_backups(DbiResourceId=resource)["DBInstanceAutomatedBackups"][0]
        assert kept["Status"] == "retained"
        assert kept["RestoreWindow"]["EarliestTime"] < kept["RestoreWindow"]["LatestTime"]
        for suffix, by in (
            ("by-id", {"SourceDbiResourceId": resource}),
            ("by-arn", {"SourceDBInstanceAutomatedBackupsArn": kept["DBInstanceAutomatedBackupsArn"]}),
        ):
            name = cloud.name(suffix)
            cloud.rds.restore_db_instance_to_point_in_time(
                TargetDBInstanceIdentifier=name, UseLatestRestorableTime=True, BackupRetentionPeriod=0, **by
            )
            cloud.until(name)
            with cloud.connect(name, source.password) as connection:
                rows = {what for (what,) in connection.execute("SELECT what FROM rows").fetchall()}
            assert {"before the snapshot", "after the second"} <= rows


def _now(connection: psycopg.Connection[Any]) -> float:
    row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    assert row is not None
    return float(row[0])
