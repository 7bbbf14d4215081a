"""Records as the API shows them. Pure: what AWS derives is derived here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dr.lab.rds import retention
from dr.lab.rds.records import Event, Instance, ParameterGroup, Retained, Snapshot, State, Store, SubnetGroup

HOST = "127.0.0.1"
WITHOUT_ENDPOINT = ("creating", "failed", "restore-error", "incompatible-restore")
_GROUP_NAMES = ("DBSubnetGroupName", "VpcSecurityGroupIds", "DBParameterGroupName", "OptionGroupName")


def status(instance: Instance) -> str:
    return instance.forced or instance.status


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def earliest(state: State, resource_id: str) -> float | None:
    """From when on a point in time can be restored: the end of the first automated backup that is left."""
    backups = retention.automated(state, resource_id)
    return float(math.ceil(retention.end(backups[0]))) if backups else None


def window(state: State, resource_id: str, latest: float | None) -> tuple[float, float] | None:
    """From when to when a point in time can be restored; None: no whole second yet."""
    begin = earliest(state, resource_id)
    return (begin, latest) if begin is not None and latest is not None and begin <= latest else None


def instance(store: Store, state: State, one: Instance, latest: float | None, streams: bool = True) -> dict[str, Any]:
    """``latest``: how far the archive covers, None where there is none; ``streams``: a replica, from its source."""
    a = one.attributes
    shown: dict[str, Any] = {key: value for key, value in a.items() if key not in _GROUP_NAMES}
    covered = window(state, one.resource_id, latest) if a["BackupRetentionPeriod"] else None
    shown |= {
        "DBInstanceIdentifier": one.identifier,
        "DBInstanceStatus": status(one),
        "DbiResourceId": one.resource_id,
        "DBInstanceArn": store.arn("db", one.identifier),
        "DbInstancePort": 0,
        "InstanceCreateTime": one.created,
        "LatestRestorableTime": covered[1] if covered else None,
        "PendingModifiedValues": pending(one),
        "TagList": tag_list(one.tags),
        "DBSecurityGroups": [],
        "VpcSecurityGroups": [{"VpcSecurityGroupId": g, "Status": "active"} for g in a["VpcSecurityGroupIds"]],
        "DBParameterGroups": [{"DBParameterGroupName": a["DBParameterGroupName"], "ParameterApplyStatus": "in-sync"}],
        "OptionGroupMemberships": [{"OptionGroupName": a["OptionGroupName"], "Status": "in-sync"}],
        "DBSubnetGroup": subnet_group(store, state.subnet_groups[a["DBSubnetGroupName"]]),
        **replication(state, one, streams=streams),
        "DomainMemberships": [],
        "AssociatedRoles": [],
        "CustomerOwnedIpEnabled": False,
        "BackupTarget": "region",
        "ActivityStreamStatus": "stopped",
    }
    if one.created is not None and status(one) not in WITHOUT_ENDPOINT:
        shown["Endpoint"] = {"Address": HOST, "Port": one.port, "HostedZoneId": "ZLAB00000000"}
    return shown


def replication(state: State, one: Instance, *, streams: bool) -> dict[str, Any]:
    """An instance's links to its replicas and to its source, and how it stands with the latter."""
    replicas = [other.identifier for other in state.instances.values() if other.source == one.resource_id]
    shown: dict[str, Any] = {"ReadReplicaDBInstanceIdentifiers": sorted(replicas)}
    if one.source:
        names = (other.identifier for other in state.instances.values() if other.resource_id == one.source)
        shown["ReadReplicaSourceDBInstanceIdentifier"] = next(names, None)
    if one.source and one.created is not None:
        info = {"StatusType": "read replication", "Normal": streams, "Status": "replicating" if streams else "error"}
        shown["StatusInfos"] = [info if streams else info | {"Message": "Replication has stopped."}]
    return shown


def pending(one: Instance) -> dict[str, Any]:
    shown = dict(one.pending)
    if "MasterUserPassword" in shown:
        shown["MasterUserPassword"] = "****"
    return shown


def snapshot(store: Store, one: Snapshot) -> dict[str, Any]:
    name = one.identifier
    return {
        **one.attributes,
        "DBSnapshotIdentifier": name,
        "DBSnapshotArn": name if name.startswith("arn:") else store.arn("snapshot", name),
        "DBInstanceIdentifier": one.source,
        "DbiResourceId": one.resource_id,
        "SnapshotType": "shared" if name.startswith("arn:") else one.kind,
        "Status": one.status,
        "PercentProgress": one.progress,
        "SnapshotCreateTime": one.created,
        "OriginalSnapshotCreateTime": one.original,
        "SnapshotDatabaseTime": one.database_time,
        "SnapshotTarget": "region",
        "TagList": tag_list(one.tags),
    }


def automated_backup(store: Store, state: State, kept: Retained, *, gone: bool) -> dict[str, Any]:
    one, a = kept.instance, kept.instance.attributes
    covered = window(state, one.resource_id, kept.latest)
    same = ("AllocatedStorage", "AvailabilityZone", "MasterUsername", "Engine", "EngineVersion", "LicenseModel", "Iops")
    return {
        **{key: a.get(key) for key in same},
        "DBInstanceArn": store.arn("db", one.identifier),
        "DBInstanceAutomatedBackupsArn": store.arn("auto-backup", backup_name(one.resource_id)),
        "DbiResourceId": one.resource_id,
        "DBInstanceIdentifier": one.identifier,
        "Region": store.account.region,
        "RestoreWindow": {"EarliestTime": covered[0], "LatestTime": covered[1]} if covered else None,
        "Status": "retained" if gone else "active" if covered else "creating",
        "Port": one.port,
        "VpcId": state.subnet_groups[a["DBSubnetGroupName"]].vpc,
        "InstanceCreateTime": one.created,
        "OptionGroupName": a["OptionGroupName"],
        "Encrypted": a["StorageEncrypted"],
        "KmsKeyId": a.get("KmsKeyId"),
        "StorageType": a["StorageType"],
        "IAMDatabaseAuthenticationEnabled": a["IAMDatabaseAuthenticationEnabled"],
        "BackupRetentionPeriod": a["BackupRetentionPeriod"],
        "PreferredBackupWindow": a["PreferredBackupWindow"],
        "BackupTarget": "region",
        "TagList": tag_list(one.tags),
    }


def backup_name(resource_id: str) -> str:
    return "ab-" + resource_id.removeprefix("db-").lower()


def subnet_group(store: Store, one: SubnetGroup) -> dict[str, Any]:
    zones = [f"{store.account.region}{letter}" for letter in "abc"]
    return {
        "DBSubnetGroupName": one.name,
        "DBSubnetGroupDescription": one.description,
        "VpcId": one.vpc,
        "SubnetGroupStatus": "Complete",
        "Subnets": [
            {
                "SubnetIdentifier": name,
                "SubnetAvailabilityZone": {"Name": zones[n % len(zones)]},
                "SubnetOutpost": {},
                "SubnetStatus": "Active",
            }
            for n, name in enumerate(one.subnets)
        ],
        "DBSubnetGroupArn": store.arn("subgrp", one.name),
        "SupportedNetworkTypes": ["IPV4"],
    }


def parameter_group(store: Store, one: ParameterGroup) -> dict[str, Any]:
    return {
        "DBParameterGroupName": one.name,
        "DBParameterGroupFamily": one.family,
        "Description": one.description,
        "DBParameterGroupArn": store.arn("pg", one.name),
    }


def event(one: Event) -> dict[str, Any]:
    return {
        "SourceIdentifier": one.source,
        "SourceType": one.source_type,
        "Message": one.message,
        "EventCategories": one.categories,
        "Date": one.at,
        "SourceArn": one.arn,
    }
