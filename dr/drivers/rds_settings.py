"""What a DB instance is set to, and what of it RDS does not carry over to a restoration. Pure.

Called by: ``dr.drivers.rds_restore`` (what to pass) and ``dr.drivers.rds`` (what differs afterwards). Sources:
botocore's RDS model for which call takes what; the RDS User Guide for what is inherited.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr.domain.errors import UsageError

RESTORE = {
    "DBInstanceClass": "DBInstanceClass",
    "DBSubnetGroupName": "DBSubnetGroup",
    "VpcSecurityGroupIds": "VpcSecurityGroups",
    "DBParameterGroupName": "DBParameterGroups",
    "OptionGroupName": "OptionGroupMemberships",
    "MultiAZ": "MultiAZ",
    "DeletionProtection": "DeletionProtection",
    "EnableIAMDatabaseAuthentication": "IAMDatabaseAuthenticationEnabled",
    "EnableCloudwatchLogsExports": "EnabledCloudwatchLogsExports",
    "CopyTagsToSnapshot": "CopyTagsToSnapshot",
    "StorageType": "StorageType",
    "Iops": "Iops",
    "StorageThroughput": "StorageThroughput",
    "BackupRetentionPeriod": "BackupRetentionPeriod",
    "PreferredBackupWindow": "PreferredBackupWindow",
    "PubliclyAccessible": "PubliclyAccessible",
    "AutoMinorVersionUpgrade": "AutoMinorVersionUpgrade",
    "LicenseModel": "LicenseModel",
    "NetworkType": "NetworkType",
    "CACertificateIdentifier": "CACertificateIdentifier",
    "DedicatedLogVolume": "DedicatedLogVolume",
    "EngineLifecycleSupport": "EngineLifecycleSupport",
    "ProcessorFeatures": "ProcessorFeatures",
}
"""Parameters of both restore calls, and the attribute of a description that each one sets."""

MODIFY = {
    "PreferredMaintenanceWindow": "PreferredMaintenanceWindow",
    "MonitoringInterval": "MonitoringInterval",
    "MonitoringRoleArn": "MonitoringRoleArn",
    "DatabaseInsightsMode": "DatabaseInsightsMode",
    "EnablePerformanceInsights": "PerformanceInsightsEnabled",
    "PerformanceInsightsKMSKeyId": "PerformanceInsightsKMSKeyId",
    "PerformanceInsightsRetentionPeriod": "PerformanceInsightsRetentionPeriod",
    "MaxAllocatedStorage": "MaxAllocatedStorage",
}
"""What no restore call takes, but ModifyDBInstance does (a point-in-time restore alone takes the last one)."""

SET_BY = "with --set NAME=VALUE, or for a drill under 'restored:' of the target in dr.yaml"
"""Where a person says what a restoration is to have instead of the source's, for hints."""

REQUIRED = (
    "DBSubnetGroupName",
    "VpcSecurityGroupIds",
    "DBParameterGroupName",
    "OptionGroupName",
    "MultiAZ",
    "DeletionProtection",
    "EnableIAMDatabaseAuthentication",
    "EnableCloudwatchLogsExports",
    "CopyTagsToSnapshot",
    "StorageType",
)
"""Left unset, RDS takes a default of its own for each: they are never left to chance."""

_IDENTITY = frozenset(
    {
        "ActivityStreamEngineNativeAuditFieldsIncluded",
        "ActivityStreamKinesisStreamName",
        "AutomaticRestartTime",
        "AwsBackupRecoveryPointArn",
        "CertificateDetails",
        "DBInstanceArn",
        "DBInstanceAutomatedBackupsReplications",
        "DBInstanceIdentifier",
        "DBInstanceStatus",
        "DbInstancePort",
        "DbiResourceId",
        "Endpoint",
        "EnhancedMonitoringResourceArn",
        "InstanceCreateTime",
        "LatestRestorableTime",
        "ListenerEndpoint",
        "MasterUserSecret",
        "PendingModifiedValues",
        "PercentProgress",
        "ReadReplicaDBClusterIdentifiers",
        "ReadReplicaDBInstanceIdentifiers",
        "ReadReplicaSourceDBClusterIdentifier",
        "ReadReplicaSourceDBInstanceIdentifier",
        "ResumeFullAutomationModeTime",
        "StatusInfos",
        "StorageOperationPercentProgress",
        "StorageOperationStatus",
        "StorageVolumeStatus",
        "TagList",
    }
)
"""Who an instance is and what it is doing, as opposed to how it is set."""

_OF_THE_POINT = {
    "AllocatedStorage": "the size at the recovery point",
    "EngineVersion": "the version at the recovery point",
    "AvailabilityZone": "RDS chooses the zone",
    "SecondaryAvailabilityZone": "RDS chooses the zone",
}

_FOLLOWS = {
    "MonitoringRoleArn": "MonitoringInterval",
    "PerformanceInsightsKMSKeyId": "PerformanceInsightsEnabled",
    "PerformanceInsightsRetentionPeriod": "PerformanceInsightsEnabled",
}
"""What comes and goes with another setting: asked for the one, RDS sets the other or drops it."""

LEFT_TO_RDS: tuple[Any, ...] = (None, "", [])
"""Values that ask for no setting at all."""

_GP3_THRESHOLD_GIB = 400
"""Below it RDS refuses IOPS and throughput for gp3 volumes of PostgreSQL, though it describes its baseline of them."""


def tags(description: Mapping[str, Any]) -> dict[str, str]:
    """The tags in a description or a snapshot's."""
    return {str(tag["Key"]): str(tag.get("Value", "")) for tag in description.get("TagList", ())}


def comparable(description: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a description, each in the form that a call's parameter has. What is empty is left out."""
    found = {name: value for name, value in description.items() if name not in _IDENTITY}
    groups = found.pop("DBParameterGroups", ())
    found["DBParameterGroups"] = groups[0]["DBParameterGroupName"] if groups else None
    found["ParameterApplyStatus"] = groups[0].get("ParameterApplyStatus") if groups else None
    found["DBSubnetGroup"] = found.get("DBSubnetGroup", {}).get("DBSubnetGroupName")
    options = found.get("OptionGroupMemberships", ())
    found["OptionGroupMemberships"] = options[0]["OptionGroupName"] if options else None
    found["VpcSecurityGroups"] = sorted(group["VpcSecurityGroupId"] for group in found.get("VpcSecurityGroups", ()))
    found["AssociatedRoles"] = sorted(
        (
            {"RoleArn": role["RoleArn"], "FeatureName": role.get("FeatureName", "")}
            for role in found.get("AssociatedRoles", ())
        ),
        key=lambda role: (role["FeatureName"], role["RoleArn"]),
    )
    found["EnabledCloudwatchLogsExports"] = sorted(found.get("EnabledCloudwatchLogsExports", ()))
    found["ReadReplicas"] = sorted(map(str, description.get("ReadReplicaDBInstanceIdentifiers", ())))
    found["Port"] = description.get("Endpoint", {}).get("Port")
    found["Tags"] = {key: value for key, value in tags(description).items() if not key.startswith(("dr:", "aws:"))}
    return {name: value for name, value in found.items() if value not in (None, "", [], {}, ())}


def asked_attributes(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What ``given`` (parameters, as ``where`` names them) asks for, by the attribute that shows it and in its form.

    Raises UsageError for a name that is no setting.
    """
    names = {**RESTORE, **MODIFY}
    strange = sorted(set(given) - set(names))
    if strange:
        raise UsageError(f"{where} names no settings of RDS: {', '.join(strange)}.", f"Known: {', '.join(names)}.")
    chosen = {names[parameter]: value for parameter, value in given.items()}
    for name in ("VpcSecurityGroups", "EnabledCloudwatchLogsExports"):
        value = chosen.get(name)
        if isinstance(value, list):
            chosen[name] = sorted(map(str, value))
    return chosen


def restore_parameters(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a restore call is told, from settings as ``comparable`` gives them."""
    chosen = {parameter: settings[name] for parameter, name in RESTORE.items() if name in settings}
    if not str(chosen.get("StorageType", "")).startswith("io") and (
        chosen.get("StorageType") != "gp3" or settings.get("AllocatedStorage", 0) < _GP3_THRESHOLD_GIB
    ):
        chosen.pop("Iops", None)
        chosen.pop("StorageThroughput", None)
    return chosen


def modify_parameters(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What ModifyDBInstance is told after a restore."""
    chosen = {parameter: settings[name] for parameter, name in MODIFY.items() if name in settings}
    if not chosen.get("MonitoringInterval"):
        chosen.pop("MonitoringRoleArn", None)
    if not chosen.get("EnablePerformanceInsights"):
        chosen.pop("PerformanceInsightsKMSKeyId", None)
        chosen.pop("PerformanceInsightsRetentionPeriod", None)
    return chosen


def missing(parameters: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``parameters`` for ModifyDBInstance that an instance with ``settings`` does not have yet."""
    return {
        parameter: value
        for parameter, value in parameters.items()
        if parameter in MODIFY and not _equal(value, settings.get(MODIFY[parameter]))
    }


def differences(
    source: Mapping[str, Any], restored: Mapping[str, Any], asked: Mapping[str, Any], because: str, same_host: bool
) -> list[dict[str, Any]]:
    """Every setting in which ``restored`` differs from ``source``: {name, source, restored, expected, because}.

    ``asked``: what was set on purpose to something else, or left to RDS, for the reason ``because``.
    ``same_host``: both listen on one address (so emulated), where two ports cannot be equal.
    """
    found: list[dict[str, Any]] = []
    for name in sorted({*source, *restored, *asked}):
        here, there = source.get(name), restored.get(name)
        if name in asked and asked[name] not in LEFT_TO_RDS and not _equal(there, asked[name]):
            expected, reason = False, f"asked for {asked[name]!r}"
        elif _equal(here, there):
            continue
        elif name in asked or _FOLLOWS.get(name) in asked:
            expected, reason = True, because
        elif name in _OF_THE_POINT:
            expected, reason = True, _OF_THE_POINT[name]
        elif name == "ReadReplicas":
            expected, reason = True, "RDS restores none: they are made of the copy once it takes over"
        elif name == "Port" and same_host:
            expected, reason = True, "both listen on one host"
        else:
            expected, reason = False, "nobody asked for it"
        found.append({"name": name, "source": here, "restored": there, "expected": expected, "because": reason})
    return found


def _equal(one: Any, other: Any) -> bool:
    """AWS leaves out what is off, and spells windows in lower case."""
    if isinstance(one, str) and isinstance(other, str):
        return one.lower() == other.lower()
    return (one or None) == (other or None)
