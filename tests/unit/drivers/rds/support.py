"""An RDS in memory for the driver's unit tests: no network, virtual time, errors on demand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dr.config.context import Context
from dr.config.model import Login, Settings, Target
from dr.domain.errors import DrError, UnreachableError
from dr.domain.looks import Snapshot
from dr.domain.model import Facts, Purpose, RecoveryPoint, RunIdentity
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.servers import Standing
from dr.drivers.postgres.snapshots import Recovered
from dr.drivers.rds.errors import from_code
from dr.drivers.rds.look import own, resource
from dr.drivers.rds.settings import tags
from tests import virtual
from tests.targets import target_of

ACCOUNT = "123456789012"
REGION = "eu-central-1"
NOW = 1_760_000_000.0
SOURCE = "readmission-db"


class VirtualClock(virtual.VirtualClock):
    """At the time of these tests."""

    def __init__(self, at: float = NOW) -> None:
        super().__init__(at)


def description(name: str = SOURCE, **changes: Any) -> dict[str, Any]:
    """A production-like instance, as DescribeDBInstances has it (times as epoch seconds)."""
    return {
        "DBInstanceIdentifier": name,
        "DBInstanceArn": f"arn:aws:rds:{REGION}:{ACCOUNT}:db:{name}",
        "DBInstanceStatus": "available",
        "DBInstanceClass": "db.r6g.large",
        "Engine": "postgres",
        "EngineVersion": "15.8",
        "MasterUsername": "postgres",
        "Endpoint": {"Address": f"{name}.example.com", "Port": 5432},
        "AllocatedStorage": 100,
        "InstanceCreateTime": NOW - 1e6,
        "DbiResourceId": "db-SOURCE",
        "LatestRestorableTime": NOW - 120,
        "BackupRetentionPeriod": 30,
        "PreferredBackupWindow": "02:00-02:30",
        "PreferredMaintenanceWindow": "sun:04:00-sun:04:30",
        "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-app", "Status": "active"}],
        "DBParameterGroups": [{"DBParameterGroupName": "readmission15", "ParameterApplyStatus": "in-sync"}],
        "OptionGroupMemberships": [{"OptionGroupName": "default:postgres-15", "Status": "in-sync"}],
        "DBSubnetGroup": {"DBSubnetGroupName": "private", "VpcId": "vpc-1"},
        "MultiAZ": True,
        "DeletionProtection": True,
        "IAMDatabaseAuthenticationEnabled": True,
        "EnabledCloudwatchLogsExports": ["upgrade", "postgresql"],
        "CopyTagsToSnapshot": True,
        "StorageType": "io1",
        "Iops": 3000,
        "MonitoringInterval": 60,
        "MonitoringRoleArn": "arn:aws:iam::123456789012:role/monitoring",
        "PerformanceInsightsEnabled": True,
        "PerformanceInsightsRetentionPeriod": 7,
        "AssociatedRoles": [
            {"RoleArn": "arn:aws:iam::123456789012:role/s3", "FeatureName": "s3Import", "Status": "ACTIVE"}
        ],
        "TagList": [{"Key": "env", "Value": "prod"}, {"Key": "aws:cloudformation:stack-name", "Value": "db"}],
        **changes,
    }


def replica(name: str, source: str = SOURCE, **changes: Any) -> dict[str, Any]:
    """A read replica of ``source``."""
    link = {"ReadReplicaSourceDBInstanceIdentifier": source, "MultiAZ": False, "BackupRetentionPeriod": 0}
    return description(name, **{**link, "DbiResourceId": f"db-{name}", **changes})


class FakeServers:
    """What servers say of themselves, by their address's first word; an error is raised instead."""

    def __init__(self, **standings: Standing | DrError) -> None:
        gone = UnreachableError("The source does not answer.", transient=True)
        self.standings: dict[str, Standing | DrError] = {SOURCE: gone}
        self.standings |= {name.replace("_", "-"): standing for name, standing in standings.items()}
        self.log: int | DrError = gone
        self.answering = True
        self.held: Recovered | DrError = Recovered(Snapshot(10, 10, ()), 10)

    def answers(self, host: str, port: int) -> bool:
        return self.answering

    def standing(self, host: str, port: int) -> Standing:
        found = self.standings[host.split(".")[0]]
        if isinstance(found, DrError):
            raise found
        return found

    def recovered(self, host: str, port: int) -> Recovered:
        if isinstance(self.held, DrError):
            raise self.held
        return self.held

    def written(self, host: str, port: int) -> int:
        if isinstance(self.log, DrError):
            raise self.log
        return self.log


def snapshot(name: str, covers: float, **changes: Any) -> RecoveryPoint:
    row = {
        "DBSnapshotIdentifier": name,
        "DBSnapshotArn": f"arn:aws:rds:{REGION}:{ACCOUNT}:snapshot:{name}",
        "SnapshotType": "manual",
        "EngineVersion": "15.8",
        **changes,
    }
    return RecoveryPoint(
        "snapshot",
        name,
        str(row.pop("source", SOURCE)),
        str(row.pop("status", "available")),
        covers,
        automated=row["SnapshotType"] == "automated",
        attributes=row,
    )


def window(earliest: float, latest: float, status: str = "active", **attributes: Any) -> RecoveryPoint:
    return RecoveryPoint(
        "window", "db-SOURCE", SOURCE, status, latest, earliest, True, {"DbiResourceId": "db-SOURCE", **attributes}
    )


def facts(*points: RecoveryPoint, instances: tuple[Mapping[str, Any], ...] | None = None, profile: Any = None) -> Facts:
    rows = (description(),) if instances is None else instances
    extra = {} if instances is None else {"profile": profile}
    identity = {"rds": {"account": ACCOUNT, "region": REGION}}
    shown = tuple(resource(row) for row in rows)
    return Facts(NOW, identity, shown, points, own(SOURCE, shown), extra)


def target(**changes: Any) -> Target:
    database = PostgresConfig(
        "readmission", Login("dr", "env:DR_SECRET"), master=Login("postgres", "env:MASTER_SECRET")
    )
    apart: dict[str, object] = {"VpcSecurityGroupIds": ["sg-drill"]}
    pins = {"account": ACCOUNT, "region": REGION, "instance": SOURCE}
    return target_of(**{**pins, "database": database, "restored": apart, **changes})


def run(purpose: Purpose = Purpose.DRILL, name: str = "20261123-070000-ab12", digest: str = "d1") -> RunIdentity:
    return RunIdentity(name, "prod", purpose, digest)


def context(home: Path, clock: VirtualClock | None = None, **changes: Any) -> Context:
    return Context("prod", target(**changes), Settings(), home, home / "run", clock or VirtualClock(), "1:1")


class FakeRds:
    """Speaks as ``RdsClient`` does. ``fail``: operation to the errors (codes) that its next calls meet.

    A code with a leading "!" strikes after the call took effect: its answer is lost.
    """

    def __init__(self, *rows: dict[str, Any], account: str = ACCOUNT, where: str = "the fake") -> None:
        self.rows = {row["DBInstanceIdentifier"].lower(): row for row in rows}
        self.owner = account
        self.where = where
        self.fail: dict[str, list[str]] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.listings: dict[str, list[dict[str, Any]]] = {}
        self.creates_as = "creating"
        self.late: set[str] = set()
        """What was made and is not listed yet."""
        self.lags: dict[str, float] = {}
        """CloudWatch's ReplicaLag, by instance."""

    def account(self) -> str:
        self._strike("GetCallerIdentity")
        return self.owner

    def made(self, operation: str) -> list[dict[str, Any]]:
        return [parameters for name, parameters in self.calls if name == operation]

    def call(
        self, operation: str, parameters: Mapping[str, Any], absent: tuple[str, ...] = (), *, once: bool = False
    ) -> dict[str, Any] | None:
        self.calls.append((operation, dict(parameters)))
        lost = self._strike(operation, absent)
        if lost is None:
            return None
        answer = self._do(operation, parameters)
        if isinstance(answer, str):
            if answer in absent:
                return None
            raise from_code(answer, "the fake's words", operation)
        if lost:
            raise from_code(lost, "the answer was lost", operation, 500)
        return copy.deepcopy(answer)

    def metric(self, name: str, identifier: str, now: float) -> float | None:
        self._strike("GetMetricData")
        return self.lags.get(identifier) if name == "ReplicaLag" else None

    def tells(self, at: float, message: str) -> None:
        """An event, as RDS lists it."""
        self.listings.setdefault("Events", []).append({"Date": at, "Message": message})

    def pages(
        self, operation: str, key: str, parameters: Mapping[str, Any], absent: tuple[str, ...] = ()
    ) -> tuple[dict[str, Any], ...]:
        if key == "DBInstances":
            self._strike(operation)
            return tuple(copy.deepcopy([row for name, row in self.rows.items() if name not in self.late]))
        self.calls.append((operation, dict(parameters)))
        if self._strike(operation, absent) is None:
            return ()
        rows = self.listings.get(key, [])
        wanted = parameters.get("DBSnapshotIdentifier")
        return tuple(row for row in rows if wanted in (None, row.get("DBSnapshotIdentifier"), row.get("DBSnapshotArn")))

    def _strike(self, operation: str, absent: tuple[str, ...] = ()) -> str | None:
        pending = self.fail.get(operation)
        if not pending:
            return ""
        code = pending.pop(0)
        if code.startswith("!"):
            return code[1:]
        if code in absent:
            return None
        raise from_code(code, "the fake's words", operation)

    def _do(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any] | str:
        name = str(parameters.get("TargetDBInstanceIdentifier") or parameters.get("DBInstanceIdentifier") or "").lower()
        if operation.startswith("RestoreDBInstance"):
            if name in self.rows:
                return "DBInstanceAlreadyExists"
            self.rows[name] = description(name, DBInstanceStatus=self.creates_as, TagList=parameters["Tags"])
            return {}
        if operation == "CreateDBInstanceReadReplica":
            return self._replicate(name, parameters)
        if operation in ("AddTagsToResource", "RemoveTagsFromResource"):
            return self._retag(operation, parameters)
        if name not in self.rows or name in self.late:
            return "DBInstanceNotFound"
        if operation == "DescribeDBInstances":
            return {"DBInstances": [self.rows[name]]}
        if operation in ("RebootDBInstance", "PromoteReadReplica"):
            return self._take_over(operation, self.rows[name])
        if operation == "DeleteDBInstance":
            if self.rows[name]["DBInstanceStatus"] == "creating":
                return "InvalidDBInstanceState"
            del self.rows[name]
        return {}

    def _take_over(self, operation: str, row: dict[str, Any]) -> dict[str, Any] | str:
        """Accepted, and begun: what follows is the test's to tell."""
        linked = "ReadReplicaSourceDBInstanceIdentifier" in row
        if row["DBInstanceStatus"] != "available" or (operation == "PromoteReadReplica" and not linked):
            return "InvalidDBInstanceState"
        row["DBInstanceStatus"] = "rebooting" if operation == "RebootDBInstance" else "modifying"
        return {}

    def _replicate(self, name: str, parameters: Mapping[str, Any]) -> dict[str, Any] | str:
        if name in self.rows:
            return "DBInstanceAlreadyExists"
        source = str(parameters["SourceDBInstanceIdentifier"])
        if source not in self.rows:
            return "DBInstanceNotFound"
        self.rows[name] = replica(name, source, DBInstanceStatus=self.creates_as, TagList=parameters["Tags"])
        return {}

    def _retag(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        row = next(row for row in self.rows.values() if row["DBInstanceArn"] == parameters["ResourceName"])
        kept = tags(row)
        for tag in parameters.get("Tags", ()):
            kept[tag["Key"]] = tag["Value"]
        for key in parameters.get("TagKeys", ()):
            kept.pop(key, None)
        row["TagList"] = [{"Key": key, "Value": value} for key, value in kept.items()]
        return {}


class LateRds(FakeRds):
    """Lists what ``hidden`` names only from then on; ``deaf``: it takes no call that names it before, either.

    ``empty``: how many of its next descriptions list nothing at all.
    """

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(description())
        self.clock = clock
        self.hidden: dict[str, float] = {}
        self.deaf = False
        self.looks: list[Callable[[], None] | None] = []
        """What befalls the next descriptions."""
        self.empty = 0

    def call(
        self, operation: str, parameters: Mapping[str, Any], absent: tuple[str, ...] = (), *, once: bool = False
    ) -> dict[str, Any] | None:
        name, describes = str(parameters.get("DBInstanceIdentifier")), operation == "DescribeDBInstances"
        if (describes or self.deaf) and self.clock.at < self.hidden.get(name, 0.0):
            return None
        if describes and self.looks and (befalls := self.looks.pop(0)):
            befalls()
        if describes and self.empty:
            self.empty -= 1
            return {"DBInstances": []}
        return super().call(operation, parameters, absent)
