"""AWS's error codes as sentences: which are preconditions that are not met, which may pass, and what to do about each.

Pure. The codes are botocore's own spelling of them, which drops the word "Fault" from some and not from others.
"""

from __future__ import annotations

from collections.abc import Mapping

from dr.domain.errors import DrError, ProviderError, RefusedError
from dr.drivers.rds.naming import SET_BY

_THROTTLED = ("RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyRequestsException")
_BUSY = ("InternalFailure", "ServiceUnavailable")
_STATE = ("DBInstanceNotReady", "InvalidDBInstanceState")
_PASSING = frozenset({*_THROTTLED, *_BUSY, *_STATE})
"""The same call may succeed when it is repeated. All others are preconditions, and nothing was changed."""

_WAIT = "Wait a minute, then repeat the command."
_FINISHED = "Wait until RDS has finished what it is doing with it, then repeat the command."
_FITTING = f"Name one that fits, {SET_BY}."
_TYPE = f"Name another StorageType, {SET_BY}."
_QUOTA = "Delete what is not needed, or ask AWS for a higher quota."
_SNAPSHOT = "Restore a snapshot instead: --latest-snapshot."

_DENIED = ("The credentials may not do this", "Grant the action that the message names, then repeat the command.")
_EXPIRED = ("The credentials have expired", "Sign in again, then repeat the command.")
_CLOCK = ("AWS rejects the time of the request", "Correct this machine's clock, then repeat the command.")
_CREDENTIALS = (
    "AWS does not accept the credentials",
    "Check the target's credentials, account and region, and the clock here.",
)
_UNACCEPTED = (
    *("AuthFailure", "IncompleteSignature", "InvalidClientTokenId", "MissingAuthenticationToken"),
    *("SignatureDoesNotMatch", "UnrecognizedClientException"),
)

_ROWS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("AccessDenied", "AccessDeniedException", "AuthorizationError"), _DENIED),
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException"), _EXPIRED),
    **dict.fromkeys(("RequestExpired", "RequestTimeTooSkewed"), _CLOCK),
    **dict.fromkeys(_UNACCEPTED, _CREDENTIALS),
    **dict.fromkeys(_THROTTLED, ("AWS limits the rate of calls", _WAIT)),
    **dict.fromkeys(_BUSY, ("AWS is not available at the moment", _WAIT)),
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
    "OptInRequired": ("The account has no access to this region", "Enable it, or correct the target's rds.region."),
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
    """The error for AWS's ``code``. A code that is not known here fails, and is transient where AWS blames itself."""
    said = f"{operation}: {code}: {message.strip().rstrip('.')}"
    if code not in _ROWS:
        text, hint = f"AWS answered with an error ({said}).", "Look the code up in the RDS API reference."
        return ProviderError(text, hint, code=code, transient=http_status >= 500)
    sentence, hint = _ROWS[code]
    if code in _PASSING:
        return ProviderError(f"{sentence} ({said}).", hint, code=code, transient=True)
    if code in ("InvalidParameterCombination", "InvalidParameterValue"):
        named = (what for words, what in _NAMED if any(word in message.lower() for word in words))
        hint = next((f"{what}, {SET_BY}." for what in named), hint)
    return RefusedError(f"{sentence} ({said}).", hint)
