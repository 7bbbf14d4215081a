"""RDS's own error codes as sentences, beside those of all AWS. Pure.

The codes are botocore's own spelling of them, which drops the word "Fault" from some and not from others.
"""

from __future__ import annotations

from collections.abc import Mapping

from dr.domain.errors import DrError
from dr.drivers.aws import errors as aws
from dr.drivers.rds.naming import SET_BY

_STATE = ("DBInstanceNotReady", "InvalidDBInstanceState")
_PASSING = frozenset({*aws.PASSING, *_STATE})

_FINISHED = "Wait until RDS has finished what it is doing with it, then repeat the command."
_FITTING = f"Name one that fits, {SET_BY}."
_TYPE = f"Name another StorageType, {SET_BY}."
_QUOTA = "Delete what is not needed, or ask AWS for a higher quota."
_SNAPSHOT = "Restore a snapshot instead: --latest-snapshot."

_ROWS: Mapping[str, tuple[str, str]] = {
    **aws.ROWS,
    "AuthorizationNotFound": ("The security group is not authorised", _FITTING),
    "CertificateNotFound": ("There is no such CA certificate", f"Name another CACertificateIdentifier, {SET_BY}."),
    "DBInstanceAlreadyExists": ("An instance of this name exists already", "Choose another name with --as."),
    "DBInstanceAutomatedBackupNotFound": ("There is no automated backup to restore from", _SNAPSHOT),
    "DBInstanceNotFound": ("There is no such instance", "Check the target's instance, region and account."),
    "DBInstanceNotReady": ("The instance is not ready", _FINISHED),
    "DBParameterGroupNotFound": ("There is no such parameter group", _FITTING),
    "DBSecurityGroupNotFound": ("There is no such security group", _FITTING),
    "DBSnapshotNotFound": ("There is no such snapshot", "'dr backups' lists what can be restored."),
    "DBSubnetGroupDoesNotCoverEnoughAZs": ("The subnet group covers too few zones", _FITTING),
    "DBSubnetGroupNotFoundFault": ("There is no such subnet group", _FITTING),
    "InstanceQuotaExceeded": ("The account's quota of instances is used up", _QUOTA),
    "InsufficientDBInstanceCapacity": (
        "AWS has no free capacity for this instance class",
        f"Name another DBInstanceClass, {SET_BY}, or wait.",
    ),
    "InvalidDBInstanceState": ("The instance is in a state that does not allow this", _FINISHED),
    "InvalidDBSnapshotState": ("The snapshot cannot be restored in its present state", _FINISHED),
    "InvalidParameterCombination": (
        "The settings do not go together",
        f"Correct those that the message names, {SET_BY}.",
    ),
    "InvalidParameterValue": ("RDS does not accept a setting", f"Correct the one that the message names, {SET_BY}."),
    "InvalidRestoreFault": ("RDS cannot restore from this", "Choose another recovery point."),
    "InvalidSubnet": ("The subnet group cannot be used", _FITTING),
    "InvalidVPCNetworkStateFault": ("The VPC's subnets do not cover what is asked", _FITTING),
    "KMSKeyNotAccessibleFault": (
        "The KMS key of this backup cannot be used",
        "Enable it, and let these credentials use it.",
    ),
    "NetworkTypeNotSupported": ("The subnet group does not support this network type", _FITTING),
    "OptionGroupNotFoundFault": ("There is no such option group", _FITTING),
    "PointInTimeRestoreNotEnabled": ("The source keeps no automated backups, so no time can be restored", _SNAPSHOT),
    "ProvisionedIopsNotAvailableInAZFault": ("The zone offers no provisioned IOPS", _TYPE),
    "StorageQuotaExceeded": ("The account's quota of storage is used up", _QUOTA),
    "StorageTypeNotSupported": ("RDS does not offer this storage type here", _TYPE),
}
KNOWN_CODES = frozenset(_ROWS)

_NAMED = (
    # what a message of InvalidParameterCombination or InvalidParameterValue names, and what is to be done about it
    (("different vpc", "same vpc", "security group"), "Subnet group and security groups share one VPC: correct either"),
    (("invalid availability zone",), "Ask for an AvailabilityZone that the subnet group covers, or for none"),
    (("availability zone", "multi-az"), "Ask for either a zone or MultiAZ=false"),
    (("throughput", "iops"), "Ask for Iops and StorageThroughput that go with StorageType and size, or for null"),
    (("storage", "allocated"), "Ask for an AllocatedStorage and StorageType that the recovery point and engine take"),
    (("instance class", "db instance class"), "Ask for a DBInstanceClass that this engine version has here"),
    (("monitoring",), "Ask for MonitoringInterval and MonitoringRoleArn together, or for MonitoringInterval=0"),
    (("performance insights", "database insights"), "Ask for EnablePerformanceInsights=false, or a class that has it"),
    (("parameter group",), "Ask for a DBParameterGroupName of the recovery point's major version"),
    (("option group",), "Ask for an OptionGroupName of the recovery point's major version"),
    (("kms", "secret"), "Ask for ManageMasterUserPassword and MasterUserSecretKmsKeyId together"),
    (("dedicated log",), "Ask for DedicatedLogVolume=false, or provisioned IOPS"),
    (("certificate",), "Ask for another CACertificateIdentifier"),
    (("network type", "dual"), "Ask for a NetworkType that the subnet group has"),
    (("domain", "directory"), "Ask for a Domain and DomainIAMRoleName that go together"),
    (("backup", "retention"), "Ask for a BackupRetentionPeriod from 0 to 35, and windows that do not overlap"),
    (("port",), "Ask for a Port from 1150 to 65535"),
    (("engine", "version"), "Choose a recovery point of a version that RDS still runs, or another DBInstanceClass"),
)


def from_code(code: str, message: str, operation: str, http_status: int = 400) -> DrError:
    """The error for RDS's ``code``; see ``aws.errors``."""
    rows = _ROWS
    if code in ("InvalidParameterCombination", "InvalidParameterValue"):
        sentence, hint = rows[code]
        named = (what for words, what in _NAMED if any(word in message.lower() for word in words))
        rows = {**rows, code: (sentence, next((f"{what}, {SET_BY}." for what in named), hint))}
    return aws.from_code(code, message, operation, http_status, rows, _PASSING)
