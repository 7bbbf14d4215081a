"""What a DB instance is set to, and what of it RDS takes for a restoration. Pure.

Sources: botocore's RDS model for which call takes what; the RDS User Guide for what is inherited, and for storage.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from dr.domain.errors import UsageError
from dr.drivers.rds.naming import listens

_SHOWN_AS = {
    "DBSubnetGroupName": "DBSubnetGroup",
    "VpcSecurityGroupIds": "VpcSecurityGroups",
    "DBParameterGroupName": "DBParameterGroups",
    "OptionGroupName": "OptionGroupMemberships",
    "EnableIAMDatabaseAuthentication": "IAMDatabaseAuthenticationEnabled",
    "EnableCloudwatchLogsExports": "EnabledCloudwatchLogsExports",
    "EnableCustomerOwnedIp": "CustomerOwnedIpEnabled",
    "EnablePerformanceInsights": "PerformanceInsightsEnabled",
}
"""The attribute of a description that a parameter sets, where it has another name."""

_DOMAIN = {
    "Domain": "Domain",
    "DomainAuthSecretArn": "AuthSecretArn",
    "DomainDnsIps": "DnsIps",
    "DomainFqdn": "FQDN",
    "DomainIAMRoleName": "IAMRoleName",
    "DomainOu": "OU",
}
"""What a membership of a directory is set by, and how its description calls it."""


def _parameters(*names: str) -> dict[str, str]:
    return {name: _SHOWN_AS.get(name, name) for name in names}


REQUIRED = (
    *("DBSubnetGroupName", "VpcSecurityGroupIds", "DBParameterGroupName", "OptionGroupName", "MultiAZ"),
    *("DeletionProtection", "EnableIAMDatabaseAuthentication", "EnableCloudwatchLogsExports", "CopyTagsToSnapshot"),
    "StorageType",
)
"""Left unset, RDS takes a default of its own for each: they are never left to chance."""

RESTORE = _parameters(
    *("DBInstanceClass", *REQUIRED, "Iops", "StorageThroughput", "BackupRetentionPeriod", "PreferredBackupWindow"),
    *("PubliclyAccessible", "AutoMinorVersionUpgrade", "LicenseModel", "NetworkType", "CACertificateIdentifier"),
    *("DedicatedLogVolume", "EngineLifecycleSupport", "ProcessorFeatures"),
)
"""Parameters of both restore calls, each with the attribute of a description that it sets."""

ASKED = _parameters(
    *("AllocatedStorage", "AvailabilityZone", "BackupTarget", "CustomIamInstanceProfile"),
    *("DBCapacityReservationIdentifier", "DBName", *_DOMAIN, "EnableCustomerOwnedIp", "ManageMasterUserPassword"),
    *("MasterUserSecretKmsKeyId", "Port", "TdeCredentialArn"),
)
"""Further parameters of both, passed where they are asked for: RDS knows best, or each has its own. Left out are names,
tags, which are the harness's, the engine, volumes beside the first, and a password, which no argument holds."""

MODIFY = _parameters(
    *("PreferredMaintenanceWindow", "MonitoringInterval", "MonitoringRoleArn", "DatabaseInsightsMode"),
    *("EnablePerformanceInsights", "PerformanceInsightsKMSKeyId", "PerformanceInsightsRetentionPeriod"),
    "MaxAllocatedStorage",
)
"""What no restore call takes, but ModifyDBInstance does (a point-in-time restore alone takes the last one)."""

_IDENTITY = frozenset(
    {
        *("ActivityStreamEngineNativeAuditFieldsIncluded", "ActivityStreamKinesisStreamName", "ActivityStreamKmsKeyId"),
        *("ActivityStreamMode", "ActivityStreamPolicyStatus", "ActivityStreamStatus", "AutomaticRestartTime"),
        *("AwsBackupRecoveryPointArn", "CertificateDetails", "DBInstanceArn", "DBInstanceAutomatedBackupsReplications"),
        *("DBInstanceIdentifier", "DBInstanceStatus", "DBSystemId", "DbInstancePort", "DbiResourceId", "Endpoint"),
        *("EnhancedMonitoringResourceArn", "InstanceCreateTime", "IsStorageConfigUpgradeAvailable"),
        *("LatestRestorableTime", "ListenerEndpoint", "MasterUserSecret", "PendingModifiedValues", "PercentProgress"),
        *("ReadReplicaDBClusterIdentifiers", "ReadReplicaDBInstanceIdentifiers"),
        *("ReadReplicaSourceDBClusterIdentifier", "ReadReplicaSourceDBInstanceIdentifier"),
        *("ResumeFullAutomationModeTime", "StatusInfos", "StorageOperationPercentProgress", "StorageOperationStatus"),
        *("StorageVolumeStatus", "TagList", "UpgradeRolloutOrder"),
    }
)
"""Who an instance is and what it is doing, or what is done to it, as opposed to how it is set."""

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
    "ReadReplicas": "RDS restores none: they are made of the copy once it takes over",
}

_FOLLOWS = {
    "MonitoringRoleArn": "MonitoringInterval",
    "MasterUserSecretKmsKeyId": "ManageMasterUserPassword",
    **dict.fromkeys(
        ("PerformanceInsightsKMSKeyId", "PerformanceInsightsRetentionPeriod"), "PerformanceInsightsEnabled"
    ),
    **dict.fromkeys(("DomainMemberships", *_DOMAIN), "Domain"),
    **dict.fromkeys(("Iops", "StorageThroughput"), "StorageType"),
}
"""What comes and goes with another setting: asked for the one, RDS sets the other or drops it."""

LEFT_TO_RDS: tuple[Any, ...] = (None, "", [])
"""Values that ask for no setting at all."""


def tags(description: Mapping[str, Any]) -> dict[str, str]:
    """The tags in a description or a snapshot's."""
    return {str(tag["Key"]): str(tag.get("Value", "")) for tag in description.get("TagList", ())}


def inherited(description: Mapping[str, Any]) -> dict[str, str]:
    """Those of its tags that are neither AWS's nor the harness's own."""
    return {key: value for key, value in tags(description).items() if not key.startswith(("aws:", "dr:"))}


def comparable(description: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a description, each in the form that a call's parameter has. What is empty is left out."""
    firsts = ("DBParameterGroups", "OptionGroupMemberships", "DomainMemberships")
    group, options, domain = ([*description.get(name, ()), {}][0] for name in firsts)
    secret, at = description.get("MasterUserSecret") or {}, listens(description)
    roles = (
        {"RoleArn": role["RoleArn"], "FeatureName": role.get("FeatureName", "")}
        for role in description.get("AssociatedRoles", ())
    )
    found = {name: value for name, value in description.items() if name not in _IDENTITY} | {
        "DBParameterGroups": group.get("DBParameterGroupName"),
        APPLIED: group.get(APPLIED),
        "OptionGroupMemberships": options.get("OptionGroupName"),
        "DBSubnetGroup": description.get("DBSubnetGroup", {}).get("DBSubnetGroupName"),
        "VpcSecurityGroups": sorted(one["VpcSecurityGroupId"] for one in description.get("VpcSecurityGroups", ())),
        "AssociatedRoles": sorted(roles, key=lambda role: (role["FeatureName"], role["RoleArn"])),
        "EnabledCloudwatchLogsExports": sorted(description.get("EnabledCloudwatchLogsExports", ())),
        "ManageMasterUserPassword": bool(secret) or None,
        "MasterUserSecretKmsKeyId": secret.get("KmsKeyId"),
        "ReadReplicas": sorted(map(str, description.get("ReadReplicaDBInstanceIdentifiers", ()))),
        "Port": at.port if at else None,
        "Tags": inherited(description),
    }
    found |= {name: domain.get(key) for name, key in _DOMAIN.items()}
    for name in ("DomainMemberships", "DBSecurityGroups", "AdditionalStorageVolumes"):
        attached = found.get(name, ())  # what of it there is, without how it is doing
        found[name] = [{key: value for key, value in one.items() if not key.endswith("Status")} for one in attached]
    return {name: value for name, value in found.items() if value not in (None, "", [], {}, ())}


def asked_attributes(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What ``given`` (parameters, as ``where`` names them) asks for, by the attribute that shows it and in its form.
    Raises UsageError for a name that is no setting."""
    names = {**RESTORE, **ASKED, **MODIFY}
    strange = sorted(set(given) - set(names))
    if strange:
        raise UsageError(f"{where} names no settings of RDS: {', '.join(strange)}.", f"Known: {', '.join(names)}.")
    chosen = {names[parameter]: value for parameter, value in given.items()}
    for name in ("VpcSecurityGroups", "EnabledCloudwatchLogsExports"):
        if isinstance(chosen.get(name), list):
            chosen[name] = sorted(map(str, chosen[name]))
    return chosen


def restore_parameters(settings: Mapping[str, Any], asked: Collection[str] = ()) -> dict[str, Any]:
    """What a restore call is told, from settings as ``comparable`` gives them. ``asked``: those asked for."""
    taken = {**RESTORE, **{parameter: name for parameter, name in ASKED.items() if name in asked}}
    return {parameter: settings[name] for parameter, name in taken.items() if name in settings}


def modify_parameters(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What ModifyDBInstance is told after a restore: nothing of what is off."""
    return {
        parameter: settings[name]
        for parameter, name in MODIFY.items()
        if name in settings and (name not in _FOLLOWS or settings.get(_FOLLOWS[name]))
    }


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
    ``fitted``: what RDS takes only so for what is restored: value (None: any) and reason; see ``Fitted``.
    """
    usual = {**_OF_THE_POINT, **({"Port": "both listen on one host"} if same_host else {})}
    found: list[dict[str, Any]] = []
    for name in sorted({*source, *restored, *asked} - (_WHERE_ASKED - set(asked))):
        here, there, expected = source.get(name), restored.get(name), ""
        fit, reason = (fitted or {}).get(name, (there, ""))
        if name == APPLIED:
            if there != _WAITING:
                continue
            here, why = "in-sync", _REBOOT
        elif name in asked and asked[name] not in LEFT_TO_RDS and not _equal(there, asked[name]):
            why = f"asked for {asked[name]!r}"
        elif _equal(here, there):
            continue
        else:
            expected = str(reason) if fit is None or _equal(there, fit) else ""
            expected = expected or (because if {name, _FOLLOWS.get(name)} & set(asked) else usual.get(name, ""))
            why = expected or "nobody asked for it"
        found.append({"name": name, "source": here, "restored": there, "expected": bool(expected), "because": why})
    return found


def _equal(one: Any, other: Any) -> bool:
    """AWS leaves out what is off, and spells windows in lower case."""
    if isinstance(one, str) and isinstance(other, str):
        return one.lower() == other.lower()
    return (one or None) == (other or None)


# -- what a recovery point takes of its source's storage and tags: the source may have grown since, and what was asked
# for may not go with what it has

Fitted = dict[str, tuple[Any, str]]
"""What was left out, or cut to fit: the value that each setting then has (None: what RDS takes of its own), and why."""

TAG_LIMIT = 50
"""Tags that a resource bears."""
TAGS_LATER = 3
"""Those that are added once it is made: ``dr:point``, ``dr:point-id`` and ``dr:sealed``."""

_GP3_FROM = {"oracle": 200, "sqlserver": 0}
_GP3_FROM_ELSE = 400
"""GiB from which on RDS takes IOPS and throughput for gp3, by engine; below, it describes its baseline of them."""
_GP3_STRIPED = {"Iops": (12_000, "IOPS"), "StorageThroughput": (500, "MiB/s")}
"""What gp3 has, and so the least that may be asked for, from that size on."""
_IOPS_PER_GIB = {"io1": 50, "io2": 1_000}
_LEAST_PROVISIONED = 1_000


def fit_storage(
    wanted: Mapping[str, Any], asked: Mapping[str, Any], point: Mapping[str, Any]
) -> tuple[dict[str, Any], Fitted]:
    """``wanted`` (settings by attribute) as RDS takes them for ``point``, a snapshot's or backup's description; and
    what was fitted of them, but for what RDS takes for the source's size no more than for the copy's. ``asked``: those
    that a person asked for, which are never changed. Raises UsageError where they cannot be had."""
    kind, size = str(wanted.get("StorageType") or "gp3"), _size(wanted, asked, point)
    engine = str(point.get("Engine") or wanted.get("Engine") or "")
    least = next((gib for family, gib in _GP3_FROM.items() if engine.startswith(family)), _GP3_FROM_ELSE)
    chosen, fitted = dict(wanted), Fitted()
    for name, (striped, unit) in _GP3_STRIPED.items():
        why = _refusal(name, kind, size, least)
        if why and asked.get(name):
            raise UsageError(f"{name} cannot be set: {why}.", "Leave it out, or ask for another StorageType or size.")
        if not why and name not in asked and kind == "gp3" and least and _number(chosen, name) < striped:
            why = f"gp3 of {size} GiB has {striped} {unit} at the least"  # the source's are of another storage
        if why and name in chosen:
            del chosen[name]
            if not _refusal(name, kind, _number(wanted, "AllocatedStorage"), least):
                fitted[name] = (None, why)
    if kind in _IOPS_PER_GIB:
        _fit_provisioned(chosen, fitted, asked, kind, size)
    return chosen, fitted


def _number(settings: Mapping[str, Any], name: str) -> int:
    """A number among ``settings``; 0 where it is none, which its type's own check says."""
    value = settings.get(name)
    return value if isinstance(value, int) else 0


def _size(wanted: Mapping[str, Any], asked: Mapping[str, Any], point: Mapping[str, Any]) -> int:
    """GiB of what is restored. Raises UsageError where less than the recovery point's was asked for."""
    least = _number(point, "AllocatedStorage") or _number(wanted, "AllocatedStorage")
    size = _number(asked, "AllocatedStorage") or least
    if size < least:
        raise UsageError(
            f"AllocatedStorage {size} is less than the {least} GiB of the recovery point, and no restore shrinks it.",
            f"Ask for {least} or more, or leave it out.",
        )
    return size


def _refusal(name: str, kind: str, size: int, least: int) -> str:
    """Why RDS takes no ``name`` for storage of this kind and size; "" where it does. ``least``: GiB, for gp3."""
    if kind not in ("gp3", *_IOPS_PER_GIB) or (name == "StorageThroughput" and kind != "gp3"):
        return f"RDS takes no {name} for {kind}"
    if kind == "gp3" and size < least:
        return f"RDS takes {name} for gp3 from {least} GiB on, and the copy has {size}"
    return ""


def _fit_provisioned(chosen: dict[str, Any], fitted: Fitted, asked: Mapping[str, Any], kind: str, size: int) -> None:
    """IOPS within what the size bears, where they come from a source of another one. Raises UsageError without any."""
    iops, most = _number(chosen, "Iops"), max(_LEAST_PROVISIONED, _IOPS_PER_GIB[kind] * size)
    if not iops:
        raise UsageError(
            f"StorageType {kind} needs Iops, and nothing says how many.", "Say --set Iops=3000, or as many."
        )
    if "Iops" not in asked and size and not _LEAST_PROVISIONED <= iops <= most:
        chosen["Iops"] = min(max(iops, _LEAST_PROVISIONED), most)
        fitted["Iops"] = (chosen["Iops"], f"{kind} of {size} GiB has {_LEAST_PROVISIONED} to {most} IOPS")


def fit_tags(kept: Mapping[str, str], own: Mapping[str, str]) -> tuple[dict[str, str], Fitted]:
    """``kept``, a source's tags, as far as they fit beside ``own``, the harness's; and what was fitted. The harness's
    go first, since a restoration is found again by them; room is left for those that come later."""
    room = TAG_LIMIT - TAGS_LATER - len(own)
    fitting = dict(sorted(kept.items())[: max(room, 0)])
    left = sorted(set(kept) - set(fitting))
    if not left:
        return fitting, {}
    because = f"a resource bears {TAG_LIMIT} tags, and dr's own go first: left out were {', '.join(left)}"
    return fitting, {"Tags": (fitting, because)}
