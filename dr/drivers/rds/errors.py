"""AWS's error codes as sentences: which are preconditions that are not met, which may pass, and what to do about each.

Pure. The codes are botocore's own spelling of them, which drops the word "Fault" from some and not from others.
"""

from __future__ import annotations

from typing import NamedTuple

from dr.domain.errors import DrError, ProviderError, RefusedError
from dr.drivers.rds.settings import SET_BY


class _Row(NamedTuple):
    """``refused``: a precondition, nothing was changed. ``transient``: the same call may succeed when repeated."""

    sentence: str
    hint: str
    refused: bool = True
    transient: bool = False


_CREDENTIALS = _Row(
    "AWS does not accept the credentials",
    "Check the target's credentials, account and region, and the clock here.",
)
_EXPIRED = _Row("The credentials have expired", "Sign in again, then repeat the command.")
_CLOCK = _Row("AWS rejects the time of the request", "Correct this machine's clock, then repeat the command.")
_DENIED = _Row("The credentials may not do this", "Grant the action that the message names, then repeat the command.")
_THROTTLED = _Row("AWS limits the rate of calls", "Wait a minute, then repeat the command.", False, True)
_BUSY = _Row("AWS is not available at the moment", "Wait a minute, then repeat the command.", False, True)
_NETWORK = f"Name one that fits, {SET_BY}."
_STATE = "Wait until RDS has finished what it is doing with it, then repeat the command."

_ROWS = {
    "AccessDenied": _DENIED,
    "AccessDeniedException": _DENIED,
    "AuthFailure": _CREDENTIALS,
    "AuthorizationError": _DENIED,
    "AuthorizationNotFound": _Row("The security group is not authorised", _NETWORK),
    "CertificateNotFound": _Row("There is no such CA certificate", f"Name another CACertificateIdentifier, {SET_BY}."),
    "DBInstanceAlreadyExists": _Row("An instance of this name exists already", "Choose another name with --as."),
    "DBInstanceAutomatedBackupNotFound": _Row(
        "There is no automated backup to restore from", "Restore a snapshot instead: --latest-snapshot."
    ),
    "DBInstanceNotFound": _Row("There is no such instance", "Check the target's instance, region and account."),
    "DBInstanceNotReady": _Row("The instance is not ready", _STATE, False, True),
    "DBParameterGroupNotFound": _Row("There is no such parameter group", _NETWORK),
    "DBSecurityGroupNotFound": _Row("There is no such security group", _NETWORK),
    "DBSnapshotNotFound": _Row("There is no such snapshot", "'dr backups' lists what can be restored."),
    "DBSubnetGroupDoesNotCoverEnoughAZs": _Row("The subnet group covers too few zones", _NETWORK),
    "DBSubnetGroupNotFoundFault": _Row("There is no such subnet group", _NETWORK),
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "IncompleteSignature": _CREDENTIALS,
    "InstanceQuotaExceeded": _Row(
        "The account's quota of instances is used up", "Delete one that is not needed, or ask AWS for a higher quota."
    ),
    "InsufficientDBInstanceCapacity": _Row(
        "AWS has no free capacity for this instance class", f"Name another DBInstanceClass, {SET_BY}, or wait."
    ),
    "InternalFailure": _BUSY,
    "InvalidClientTokenId": _CREDENTIALS,
    "InvalidDBInstanceState": _Row("The instance is in a state that does not allow this", _STATE, False, True),
    "InvalidDBSnapshotState": _Row("The snapshot cannot be restored in its present state", _STATE),
    "InvalidParameterCombination": _Row(
        "The settings do not go together", f"Correct those that the message names, {SET_BY}."
    ),
    "InvalidParameterValue": _Row(
        "RDS does not accept a setting", f"Correct the one that the message names, {SET_BY}."
    ),
    "InvalidRestoreFault": _Row("RDS cannot restore from this", "Choose another recovery point."),
    "InvalidSubnet": _Row("The subnet group cannot be used", _NETWORK),
    "InvalidVPCNetworkStateFault": _Row("The VPC's subnets do not cover what is asked", _NETWORK),
    "KMSKeyNotAccessibleFault": _Row(
        "The KMS key of this backup cannot be used", "Enable the key and allow these credentials to use it."
    ),
    "MissingAuthenticationToken": _CREDENTIALS,
    "NetworkTypeNotSupported": _Row("The subnet group does not support this network type", _NETWORK),
    "OptInRequired": _Row(
        "The account has no access to this region", "Enable the region, or correct target.rds.region."
    ),
    "OptionGroupNotFoundFault": _Row("There is no such option group", _NETWORK),
    "PointInTimeRestoreNotEnabled": _Row(
        "The source keeps no automated backups, so no time can be restored", "Restore a snapshot: --latest-snapshot."
    ),
    "ProvisionedIopsNotAvailableInAZFault": _Row(
        "The zone offers no provisioned IOPS", f"Name another StorageType, {SET_BY}."
    ),
    "RequestExpired": _CLOCK,
    "RequestLimitExceeded": _THROTTLED,
    "RequestTimeTooSkewed": _CLOCK,
    "ServiceUnavailable": _BUSY,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "StorageQuotaExceeded": _Row(
        "The account's quota of storage is used up", "Delete what is not needed, or ask AWS for a higher quota."
    ),
    "StorageTypeNotSupported": _Row(
        "RDS does not offer this storage type here", f"Name another StorageType, {SET_BY}."
    ),
    "Throttling": _THROTTLED,
    "ThrottlingException": _THROTTLED,
    "TooManyRequestsException": _THROTTLED,
    "UnrecognizedClientException": _CREDENTIALS,
}


_NAMED = (
    # what a message of InvalidParameterCombination or InvalidParameterValue names, and what is to be done about it
    (("different vpc", "same vpc", "security group"), "Subnet group and security groups share one VPC: correct either"),
    (("invalid availability zone",), "Ask for an AvailabilityZone that the subnet group covers, or for none"),
    (("availability zone", "multi-az"), "Ask for either a zone or MultiAZ=false"),
    (
        ("throughput", "iops"),
        "Ask for Iops and StorageThroughput that go with StorageType and size, or leave them out (null)",
    ),
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
_MATCHED = frozenset({"InvalidParameterCombination", "InvalidParameterValue"})


def _hint(code: str, message: str, usual: str) -> str:
    """What to do about what the message names; ``usual`` where it names nothing that is known."""
    said = message.lower()
    named = next((what for words, what in _NAMED if any(word in said for word in words)), "")
    return f"{named}, {SET_BY}." if named and code in _MATCHED else usual


def from_code(code: str, message: str, operation: str, http_status: int = 400) -> DrError:
    """The error for AWS's ``code``. A code that is not known here fails, and is transient where AWS blames itself."""
    row = _ROWS.get(code)
    said = f"{operation}: {code}: {message.strip().rstrip('.')}"
    if row is None:
        return ProviderError(
            f"AWS answered with an error ({said}).",
            "Look the code up in the RDS API reference.",
            code=code,
            transient=http_status >= 500,
        )
    if row.refused:
        return RefusedError(f"{row.sentence} ({said}).", _hint(code, message, row.hint))
    return ProviderError(f"{row.sentence} ({said}).", row.hint, code=code, transient=row.transient)


KNOWN_CODES = frozenset(_ROWS)
