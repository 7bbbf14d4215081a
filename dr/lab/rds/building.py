"""An instance's attributes from a request: what is checked, what is inherited, what falls back to a default. Pure.

Source: points 1 to 5 of the page of facts about RDS.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr.lab.rds import names
from dr.lab.rds.errors import AwsError, combination, invalid
from dr.lab.rds.records import State

DEFAULT_SUBNET_GROUP = "default"
DEFAULT_SECURITY_GROUP = "sg-0default0000000a"
_INHERITED = ("MasterUsername", "Engine", "EngineVersion", "LicenseModel", "KmsKeyId", "DBName")
_REPLICAS_OWN = (
    "AvailabilityZone",
    "Port",
    "DeletionProtection",
    "EnableIAMDatabaseAuthentication",
    "EnableCloudwatchLogsExports",
    "CopyTagsToSnapshot",
    "MaxAllocatedStorage",
    "MonitoringInterval",
    "MonitoringRoleArn",
    "EnablePerformanceInsights",
    "PerformanceInsightsRetentionPeriod",
    "PerformanceInsightsKMSKeyId",
)
"""What a read replica does not have from its source."""
_INTERVALS = (0, 1, 5, 10, 15, 30, 60)
"""Seconds between two looks of Enhanced Monitoring; 0: off."""
_INSIGHTS_DAYS = 7
_FIXED: Mapping[str, Any] = {
    "CACertificateIdentifier": "rds-ca-rsa2048-g1",
    "NetworkType": "IPV4",
    "PreferredMaintenanceWindow": "sun:04:00-sun:04:30",
    "DedicatedLogVolume": False,
    "EngineLifecycleSupport": "open-source-rds-extended-support",
}


def family(version: str) -> str:
    return f"postgres{version.split('.')[0]}"


def created(asked: Mapping[str, Any], state: State, region: str) -> dict[str, Any]:
    """What CreateDBInstance makes of its parameters. Raises AwsError."""
    if asked["Engine"] != "postgres":
        raise invalid(f"Invalid DB engine: {asked['Engine']}")
    _version(asked.get("EngineVersion"), state)
    size = asked.get("AllocatedStorage")
    if size is None:
        raise invalid("Invalid storage size for engine name postgres and storage type gp3: 0")
    names.between(size, "AllocatedStorage", 5, 65536)
    names.performance(asked, size)
    if asked.get("DBName"):
        names.database(asked["DBName"])
    encrypted = bool(asked.get("StorageEncrypted", False))
    if asked.get("KmsKeyId") and not encrypted:
        raise combination("You cannot specify a KMS key when storage encryption is disabled.")
    identity = {
        "MasterUsername": names.master(asked.get("MasterUsername")),
        "Engine": "postgres",
        "EngineVersion": state.engine_version,
        "LicenseModel": "postgresql-license",
        "StorageEncrypted": encrypted,
        "KmsKeyId": asked.get("KmsKeyId") or (_default_key(region) if encrypted else None),
        "DBName": asked.get("DBName"),
        "AllocatedStorage": size,
        "BackupRetentionPeriod": asked.get("BackupRetentionPeriod", 1),
        "PreferredBackupWindow": asked.get("PreferredBackupWindow", "03:00-03:30"),
        "DBInstanceClass": names.instance_class(asked["DBInstanceClass"]),
    }
    return {**_FIXED, **identity, **_placed(asked, state, region)}


def restored(asked: Mapping[str, Any], source: Mapping[str, Any], state: State, region: str) -> dict[str, Any]:
    """What a restore makes of its parameters and the source's attributes.

    Inherited: engine, master user, encryption, class, size, retention and its window. Everything else that is not
    passed is a default, not the source's. Raises AwsError.
    """
    if asked.get("Engine", source["Engine"]) != source["Engine"]:
        raise combination("The engine of a restored DB instance must be the engine of its source.")
    size = asked.get("AllocatedStorage", source["AllocatedStorage"])
    if size < source["AllocatedStorage"]:
        raise combination("The allocated storage of a restored DB instance cannot be less than its source's.")
    names.between(size, "AllocatedStorage", 5, 65536)
    names.performance(asked, size)
    kept = {
        **{key: source.get(key) for key in _INHERITED},
        "StorageEncrypted": source["Encrypted"] if "Encrypted" in source else source["StorageEncrypted"],
        "AllocatedStorage": size,
        "BackupRetentionPeriod": asked.get("BackupRetentionPeriod", source["BackupRetentionPeriod"]),
        "PreferredBackupWindow": asked.get("PreferredBackupWindow", source["PreferredBackupWindow"]),
        "DBInstanceClass": names.instance_class(asked.get("DBInstanceClass", source["DBInstanceClass"])),
    }
    return {**_FIXED, **kept, **_placed(asked, state, region)}


def replica(asked: Mapping[str, Any], source: Mapping[str, Any], state: State) -> dict[str, Any]:
    """What CreateDBInstanceReadReplica makes of its parameters and the source's attributes.

    Inherited: everything that is not passed, but for backups, which are off, protection and a standby. Raises AwsError.
    """
    if asked.get("MultiAZ"):
        raise combination("The lab has no Multi-AZ read replicas.")
    size = asked.get("AllocatedStorage", source["AllocatedStorage"])
    if size < source["AllocatedStorage"]:
        raise combination("The allocated storage of a read replica cannot be less than its source's.")
    names.performance(asked, size)
    placing = {
        **{key: asked.get(key, source.get(key)) for key in ("StorageType", "Iops", "StorageThroughput")},
        **{key: asked.get(key, source[key]) for key in ("DBSubnetGroupName", "VpcSecurityGroupIds", "OptionGroupName")},
        **{key: asked[key] for key in _REPLICAS_OWN if key in asked},
        "DBParameterGroupName": asked.get("DBParameterGroupName", source["DBParameterGroupName"]),
        "PubliclyAccessible": asked.get("PubliclyAccessible", source["PubliclyAccessible"]),
        "AutoMinorVersionUpgrade": asked.get("AutoMinorVersionUpgrade", source["AutoMinorVersionUpgrade"]),
    }
    chosen = {"AllocatedStorage": size, "BackupRetentionPeriod": 0}
    chosen["DBInstanceClass"] = names.instance_class(asked.get("DBInstanceClass", source["DBInstanceClass"]))
    zone = source["AvailabilityZone"]
    return {**source, **chosen, **_placed({"AvailabilityZone": zone, **placing}, state, zone[:-1])}


def _placed(asked: Mapping[str, Any], state: State, region: str) -> dict[str, Any]:
    """What no restore inherits: network, groups, storage type, availability, protection, monitoring."""
    names.between(asked.get("BackupRetentionPeriod"), "BackupRetentionPeriod", 0, 35)
    names.between(asked.get("Port"), "Port", 1150, 65535)
    storage = asked.get("StorageType") or ("io1" if asked.get("Iops") else "gp3")
    names.storage(storage, asked.get("Iops"))
    if asked.get("MultiAZ") and asked.get("AvailabilityZone"):
        raise combination("Requesting a specific availability zone is not valid for Multi-AZ instances.")
    zone = asked.get("AvailabilityZone") or f"{region}a"
    if zone not in {f"{region}{letter}" for letter in "abc"}:
        raise invalid(f"Invalid availability zone: {zone}")
    groups = network(asked.get("DBSubnetGroupName"), asked.get("VpcSecurityGroupIds"), state)
    return {
        **groups,
        "DBParameterGroupName": parameter_group(asked.get("DBParameterGroupName"), state),
        "OptionGroupName": option_group(asked.get("OptionGroupName"), state),
        "StorageType": storage,
        "Iops": asked.get("Iops") or (3000 if storage == "gp3" else None),
        "StorageThroughput": asked.get("StorageThroughput") or (125 if storage == "gp3" else None),
        "MultiAZ": bool(asked.get("MultiAZ", False)),
        "SecondaryAvailabilityZone": f"{region}b" if asked.get("MultiAZ") else None,
        "AvailabilityZone": zone,
        "DeletionProtection": bool(asked.get("DeletionProtection", False)),
        "IAMDatabaseAuthenticationEnabled": bool(asked.get("EnableIAMDatabaseAuthentication", False)),
        "EnabledCloudwatchLogsExports": asked.get("EnableCloudwatchLogsExports") or None,
        "CopyTagsToSnapshot": bool(asked.get("CopyTagsToSnapshot", False)),
        "PubliclyAccessible": bool(asked.get("PubliclyAccessible", False)),
        "AutoMinorVersionUpgrade": bool(asked.get("AutoMinorVersionUpgrade", True)),
        "MaxAllocatedStorage": asked.get("MaxAllocatedStorage"),
        **watched(asked, {}),
    }


def watched(asked: Mapping[str, Any], a: Mapping[str, Any]) -> dict[str, Any]:
    """Enhanced Monitoring and Performance Insights as a request has them, else as the attributes ``a`` do.

    What is off has neither a role nor a key. Raises AwsError.
    """
    interval = asked.get("MonitoringInterval", a.get("MonitoringInterval", 0))
    role = asked.get("MonitoringRoleArn", a.get("MonitoringRoleArn"))
    if interval not in _INTERVALS:
        raise invalid(
            f"Invalid value {interval} for MonitoringInterval. Valid values: {', '.join(map(str, _INTERVALS))}"
        )
    if interval and not role:
        raise combination(
            "A MonitoringRoleARN value is required if you specify a MonitoringInterval value other than 0."
        )
    if asked.get("MonitoringRoleArn") and not interval:
        raise combination(
            "You must specify a MonitoringInterval value other than 0 when you specify a MonitoringRoleARN value."
        )
    insights = bool(asked.get("EnablePerformanceInsights", a.get("PerformanceInsightsEnabled", False)))
    days, key = "PerformanceInsightsRetentionPeriod", "PerformanceInsightsKMSKeyId"
    return {
        "MonitoringInterval": interval,
        "MonitoringRoleArn": role if interval else None,
        "PerformanceInsightsEnabled": insights,
        days: (asked.get(days) or a.get(days) or _INSIGHTS_DAYS) if insights else None,
        key: (asked.get(key) or a.get(key)) if insights else None,
    }


def network(subnet_group: str | None, security_groups: list[str] | None, state: State) -> dict[str, Any]:
    """Subnet group and security groups, defaults where unset; they must be of one VPC. Raises AwsError."""
    name = (subnet_group or DEFAULT_SUBNET_GROUP).lower()
    if name not in state.subnet_groups:
        raise AwsError("DBSubnetGroupNotFoundFault", f"DB subnet group '{name}' does not exist.")
    vpc = state.subnet_groups[name].vpc
    if not security_groups:
        chosen = [next(group for group, of in state.security_groups.items() if of == vpc)]
    else:
        chosen = list(security_groups)
    for group in chosen:
        if group not in state.security_groups:
            raise invalid(f"Invalid security group , groupId= {group}, groupName=.")
        if state.security_groups[group] != vpc:
            raise combination(
                "The DB instance and EC2 security group are in different VPCs. "
                f"The DB instance is in {vpc} and the EC2 security group is in {state.security_groups[group]}"
            )
    return {"DBSubnetGroupName": name, "VpcSecurityGroupIds": chosen}


def parameter_group(name: str | None, state: State) -> str:
    chosen = (name or f"default.{family(state.engine_version)}").lower()
    if chosen not in state.parameter_groups:
        raise AwsError("DBParameterGroupNotFound", f"DBParameterGroup not found: {chosen}")
    return chosen


def option_group(name: str | None, state: State) -> str:
    default = f"default:postgres-{state.engine_version.split('.')[0]}"
    if name is not None and name.lower() != default:
        raise AwsError("OptionGroupNotFoundFault", f"Specified OptionGroupName: {name} not found.")
    return default


def _version(asked: str | None, state: State) -> None:
    if asked is not None and asked not in (state.engine_version, state.engine_version.split(".")[0]):
        raise combination(f"Cannot find version {asked} for postgres")


def _default_key(region: str) -> str:
    return f"arn:aws:kms:{region}:aws:key/aws-rds-default"
