"""What a DB instance is set to, and what of it RDS does not carry over to a restoration. Pure.

Sources: botocore's RDS model for which call takes what; the RDS User Guide for what is inherited.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from dr.domain.errors import UsageError
from dr.drivers.rds.naming import listens

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

ASKED = {
    "AllocatedStorage": "AllocatedStorage",
    "AvailabilityZone": "AvailabilityZone",
    "BackupTarget": "BackupTarget",
    "CustomIamInstanceProfile": "CustomIamInstanceProfile",
    "DBCapacityReservationIdentifier": "DBCapacityReservationIdentifier",
    "DBName": "DBName",
    "Domain": "Domain",
    "DomainAuthSecretArn": "DomainAuthSecretArn",
    "DomainDnsIps": "DomainDnsIps",
    "DomainFqdn": "DomainFqdn",
    "DomainIAMRoleName": "DomainIAMRoleName",
    "DomainOu": "DomainOu",
    "EnableCustomerOwnedIp": "CustomerOwnedIpEnabled",
    "ManageMasterUserPassword": "ManageMasterUserPassword",
    "MasterUserSecretKmsKeyId": "MasterUserSecretKmsKeyId",
    "Port": "Port",
    "TdeCredentialArn": "TdeCredentialArn",
}
"""Further parameters of both restore calls, which are passed where they are asked for: RDS knows best, or each has its
own. Left out are names, tags, which are the harness's, the engine, volumes beside the first, and a password, which no
argument holds."""

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
        "ActivityStreamKmsKeyId",
        "ActivityStreamMode",
        "ActivityStreamPolicyStatus",
        "ActivityStreamStatus",
        "AutomaticRestartTime",
        "AwsBackupRecoveryPointArn",
        "CertificateDetails",
        "DBInstanceArn",
        "DBInstanceAutomatedBackupsReplications",
        "DBInstanceIdentifier",
        "DBInstanceStatus",
        "DBSystemId",
        "DbInstancePort",
        "DbiResourceId",
        "Endpoint",
        "EnhancedMonitoringResourceArn",
        "InstanceCreateTime",
        "IsStorageConfigUpgradeAvailable",
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
        "UpgradeRolloutOrder",
    }
)
"""Who an instance is and what it is doing, or what is done to it, as opposed to how it is set."""

_STATES = ("Status", "StorageVolumeStatus")
"""How what is attached to an instance is doing: beside its settings, in what describes it."""

_WHERE_ASKED = frozenset({"ManageMasterUserPassword", "MasterUserSecretKmsKeyId"})
"""What a restoration never has of its source, and which is so compared only where it was asked for."""

APPLIED, _WAITING = "ParameterApplyStatus", "pending-reboot"
"""How an instance stands to its parameter group, which is no setting: a restoration starts with its group."""
_REBOOT = "its parameter group has changes that wait for a reboot: reboot it ('aws rds reboot-db-instance')"

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
    "DomainMemberships": "Domain",
    **dict.fromkeys(("DomainAuthSecretArn", "DomainDnsIps", "DomainFqdn", "DomainIAMRoleName", "DomainOu"), "Domain"),
    "MasterUserSecretKmsKeyId": "ManageMasterUserPassword",
    **dict.fromkeys(("Iops", "StorageThroughput"), "StorageType"),
}
"""What comes and goes with another setting: asked for the one, RDS sets the other or drops it."""

LEFT_TO_RDS: tuple[Any, ...] = (None, "", [])
"""Values that ask for no setting at all."""

_DOMAIN = {
    "Domain": "Domain",
    "DomainAuthSecretArn": "AuthSecretArn",
    "DomainDnsIps": "DnsIps",
    "DomainFqdn": "FQDN",
    "DomainIAMRoleName": "IAMRoleName",
    "DomainOu": "OU",
}
"""What a membership of a directory is set by, and how its description calls it."""


def tags(description: Mapping[str, Any]) -> dict[str, str]:
    """The tags in a description or a snapshot's."""
    return {str(tag["Key"]): str(tag.get("Value", "")) for tag in description.get("TagList", ())}


def comparable(description: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a description, each in the form that a call's parameter has. What is empty is left out."""
    found = {name: value for name, value in description.items() if name not in _IDENTITY}
    groups = found.pop("DBParameterGroups", ())
    found["DBParameterGroups"] = groups[0]["DBParameterGroupName"] if groups else None
    found[APPLIED] = groups[0].get(APPLIED) if groups else None
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
    for name in ("DomainMemberships", "DBSecurityGroups", "AdditionalStorageVolumes"):
        found[name] = [_stateless(one) for one in found.get(name, ())]
    for name, key in _DOMAIN.items():
        found[name] = next((one.get(key) for one in found["DomainMemberships"]), None)
    secret = description.get("MasterUserSecret") or {}
    found |= {"ManageMasterUserPassword": bool(secret) or None, "MasterUserSecretKmsKeyId": secret.get("KmsKeyId")}
    found["ReadReplicas"] = sorted(map(str, description.get("ReadReplicaDBInstanceIdentifiers", ())))
    at = listens(description)
    found["Port"] = at.port if at else None
    found["Tags"] = {key: value for key, value in tags(description).items() if not key.startswith(("dr:", "aws:"))}
    return {name: value for name, value in found.items() if value not in (None, "", [], {}, ())}


def _stateless(one: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in one.items() if not key.endswith(_STATES)}


def asked_attributes(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What ``given`` (parameters, as ``where`` names them) asks for, by the attribute that shows it and in its form.

    Raises UsageError for a name that is no setting.
    """
    names = {**RESTORE, **ASKED, **MODIFY}
    strange = sorted(set(given) - set(names))
    if strange:
        raise UsageError(f"{where} names no settings of RDS: {', '.join(strange)}.", f"Known: {', '.join(names)}.")
    chosen = {names[parameter]: value for parameter, value in given.items()}
    for name in ("VpcSecurityGroups", "EnabledCloudwatchLogsExports"):
        value = chosen.get(name)
        if isinstance(value, list):
            chosen[name] = sorted(map(str, value))
    return chosen


def restore_parameters(settings: Mapping[str, Any], asked: Collection[str] = ()) -> dict[str, Any]:
    """What a restore call is told, from settings as ``comparable`` gives them. ``asked``: those asked for."""
    taken = {**RESTORE, **{parameter: name for parameter, name in ASKED.items() if name in asked}}
    return {parameter: settings[name] for parameter, name in taken.items() if name in settings}


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
    source: Mapping[str, Any],
    restored: Mapping[str, Any],
    asked: Mapping[str, Any],
    because: str,
    same_host: bool,
    fitted: Mapping[str, Sequence[Any]] | None = None,
) -> list[dict[str, Any]]:
    """Every setting in which ``restored`` differs from ``source``: {name, source, restored, expected, because}.

    ``asked``: what was set on purpose to something else, or left to RDS, for the reason ``because``.
    ``same_host``: both listen on one address (so emulated), where two ports cannot be equal.
    ``fitted``: what RDS takes only so for what is restored: value (None: any) and reason; see ``rds_fit``.
    """
    found: list[dict[str, Any]] = []
    for name in sorted({*source, *restored, *asked} - (_WHERE_ASKED - set(asked))):
        here, there = source.get(name), restored.get(name)
        if name == APPLIED:
            if there == _WAITING:
                found.append(_difference(name, "in-sync", there, False, _REBOOT))
        elif name in asked and asked[name] not in LEFT_TO_RDS and not _equal(there, asked[name]):
            found.append(_difference(name, here, there, False, f"asked for {asked[name]!r}"))
        elif not _equal(here, there):
            why = _expected(name, there, asked, because, same_host, fitted or {})
            found.append(_difference(name, here, there, bool(why), why or "nobody asked for it"))
    return found


def _difference(name: str, here: Any, there: Any, expected: bool, because: str) -> dict[str, Any]:
    return {"name": name, "source": here, "restored": there, "expected": expected, "because": because}


def _expected(
    name: str,
    there: Any,
    asked: Mapping[str, Any],
    because: str,
    same_host: bool,
    fitted: Mapping[str, Sequence[Any]],
) -> str:
    """Why a setting was to differ, or ""."""
    if name in fitted and (fitted[name][0] is None or _equal(there, fitted[name][0])):
        return str(fitted[name][1])
    if name in asked or _FOLLOWS.get(name) in asked:
        return because
    if name == "ReadReplicas":
        return "RDS restores none: they are made of the copy once it takes over"
    if name == "Port" and same_host:
        return "both listen on one host"
    return _OF_THE_POINT.get(name, "")


def _equal(one: Any, other: Any) -> bool:
    """AWS leaves out what is off, and spells windows in lower case."""
    if isinstance(one, str) and isinstance(other, str):
        return one.lower() == other.lower()
    return (one or None) == (other or None)
