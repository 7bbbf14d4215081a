"""Read the present state of a target at RDS: instances, snapshots, windows of automated backups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dr.domain.errors import RefusedError
from dr.domain.model import Own, RecoveryPoint, Request, Resource
from dr.domain.refs import Ref
from dr.drivers.rds.client import RdsClient
from dr.drivers.rds.config import RdsConfig
from dr.drivers.rds.naming import State, classify, instance, listens, remedy
from dr.drivers.rds.settings import tags

_COVERS = ("SnapshotDatabaseTime", "OriginalSnapshotCreateTime", "SnapshotCreateTime")
"""The first is documented as the time of the last transaction in the restored instance; a copy changes the last one."""
_ARNS = ("DBInstanceAutomatedBackupsArn", "DBSnapshotArn", "DBInstanceArn")
"""A thing's own comes first: a backup that was replicated from another region names its source there, too."""


def instances(client: RdsClient, rds: RdsConfig) -> tuple[Resource, ...]:
    """All instances in the account and region. Raises RefusedError where the endpoint serves another region."""
    found = tuple(resource(row) for row in client.pages("DescribeDBInstances", "DBInstances", {}))
    for one in found:
        arn = str(one.attributes.get("DBInstanceArn", "")).split(":")
        if len(arn) > 4 and (arn[3], arn[4]) != (rds.region, rds.account):
            raise RefusedError(
                f"{client.where} serves region {arn[3]} of account {arn[4]}, not {rds.region} of {rds.account}.",
                "Correct the target's endpoint, region or account.",
            )
    return found


def own(source: str, instances: Iterable[Resource]) -> dict[Ref, Own]:
    """The target's instance ``source``, there or not, and the replicas of it: what each is."""
    replicas = [one.ref for one in instances if one.replica_of == instance(source)]
    return {**dict.fromkeys(replicas, Own.REPLICA), instance(source): Own.SOURCE}


def region(instances: Iterable[Resource], points: Iterable[RecoveryPoint]) -> str:
    """The region that RDS showed by the names of what is there; "" where nothing is: what a client is set to is no
    observation."""
    known = [*(one.attributes for one in instances), *(point.attributes for point in points)]
    arns = (str(one.get(name, "")).split(":") for one in known for name in _ARNS)
    return next((arn[3] for arn in arns if len(arn) > 4), "")


def resource(row: Mapping[str, Any]) -> Resource:
    """An instance as its description has it. The source of a replica in another region is named by its ARN."""
    status = row.get("DBInstanceStatus", "")
    stuck = remedy(status) if classify(status) is State.FAILED else ""
    source = str(row.get("ReadReplicaSourceDBInstanceIdentifier") or "")
    replica_of = instance(source) if source else None
    return Resource(
        instance(row["DBInstanceIdentifier"]),
        status,
        tags(row),
        listens(row),
        replica_of,
        row,
        stuck,
        uid=str(row.get("DbiResourceId") or ""),
        replicas=tuple(map(instance, row.get("ReadReplicaDBInstanceIdentifiers") or ())),
    )


def named_snapshot(request: Request) -> str:
    """The snapshot that a request names; "" where it names none."""
    asked = (verb.args.get("to") for verb in request.verbs if verb.name == "restore")
    named = (str(to.get("snapshot", "latest")) for to in asked if isinstance(to, Mapping))
    return next((name for name in named if name != "latest"), "")


def points(client: RdsClient, source: Resource | None, name: str, named: str) -> tuple[RecoveryPoint, ...]:
    """What can be restored of instance ``name``, and the snapshot called ``named`` whosever it is."""
    rows = client.pages("DescribeDBSnapshots", "DBSnapshots", {"DBInstanceIdentifier": name})
    known = {str(row.get(key, "")).lower() for row in rows for key in ("DBSnapshotIdentifier", "DBSnapshotArn")}
    others = _other(client, named) if named and named.lower() not in known else ()
    return (*map(_snapshot, (*rows, *others)), *_windows(client, source, name))


def _other(client: RdsClient, named: str) -> tuple[dict[str, Any], ...]:
    asked: dict[str, Any] = {"DBSnapshotIdentifier": named}
    if named.startswith("rds:"):
        asked["SnapshotType"] = "automated"  # RDS finds an automated snapshot by its name only so
    if named.startswith("arn:"):
        asked["IncludeShared"] = True
    return client.pages("DescribeDBSnapshots", "DBSnapshots", asked, ("DBSnapshotNotFound", "DBSnapshotNotFoundFault"))


def _snapshot(row: Mapping[str, Any]) -> RecoveryPoint:
    covers = next((row[name] for name in _COVERS if row.get(name)), None)
    automated = row.get("SnapshotType") in ("automated", "awsbackup")
    name, source, status = row["DBSnapshotIdentifier"], row.get("DBInstanceIdentifier", ""), row.get("Status", "")
    return RecoveryPoint("snapshot", name, source, status, covers, automated=automated, attributes=row)


def _windows(client: RdsClient, source: Resource | None, name: str) -> tuple[RecoveryPoint, ...]:
    """The live source's window reaches to its LatestRestorableTime; what is retained of deleted ones has its own."""
    rows = client.pages(
        "DescribeDBInstanceAutomatedBackups",
        "DBInstanceAutomatedBackups",
        {"DBInstanceIdentifier": name},
        ("DBInstanceAutomatedBackupNotFound",),
    )
    live = source.attributes.get("DbiResourceId") if source else None
    found = [
        _window(row, str(row.get("DBInstanceAutomatedBackupsArn") or row["DbiResourceId"]), name, "retained")
        for row in rows
        if row.get("DbiResourceId") != live
    ]
    if source is not None and source.attributes.get("LatestRestorableTime"):
        own = next((row for row in rows if row.get("DbiResourceId") == live), {})
        reach = {**own.get("RestoreWindow", {}), "LatestTime": source.attributes["LatestRestorableTime"]}
        found.insert(0, _window({**own, "DbiResourceId": live, "RestoreWindow": reach}, name, name, "active"))
    return tuple(found)


def _window(row: Mapping[str, Any], identifier: str, source: str, status: str) -> RecoveryPoint:
    reach = row.get("RestoreWindow", {})
    latest, earliest = reach.get("LatestTime"), reach.get("EarliestTime")
    return RecoveryPoint("window", identifier, source, status, latest, earliest, automated=True, attributes=row)
