"""How RDS names its things, where they listen, and what their states mean. Quick to import.

botocore's own waiter fails on five of the states and waits for the others until its time runs out, so the list is kept
here. Source: RDS User Guide, "Viewing Amazon RDS DB instance status".
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from dr.domain.model import Facts
from dr.domain.refs import Endpoint, Ref

DRIVER = "rds"
SET_BY = "with --set NAME=VALUE, or for a drill under 'restored:' of the target in dr.yaml"
"""Where a person says what a restoration is to have instead of the source's, for hints."""


def instance(identifier: str) -> Ref:
    """RDS keeps identifiers in lower case, whatever case they were typed in."""
    return Ref(DRIVER, "instance", identifier.lower())


def same(one: str, other: str) -> bool:
    """Whether two names of RDS's name one thing."""
    return one.lower() == other.lower()


def listens(description: Mapping[str, Any]) -> Endpoint | None:
    """Where an instance listens, as its description has it; None where it does not yet."""
    endpoint = description.get("Endpoint") or {}
    return Endpoint(str(endpoint["Address"]), int(endpoint["Port"])) if endpoint.get("Address") else None


def account(facts: Facts) -> str:
    """The account that was seen; "" where none was."""
    return facts.identity.get(DRIVER, {}).get("account", "")


def where(facts: Facts) -> str:
    """Region and account, for people."""
    region = facts.identity.get(DRIVER, {}).get("region")
    return f"{region or 'the region'} (account {account(facts)})"


class State(StrEnum):
    """Where an instance stands on its way to being usable."""

    USABLE = "usable"
    SERVING = "serving"
    """RDS is at work on it, and may refuse to change it; its database answers meanwhile, or may."""
    PROGRESS = "progress"
    FAILED = "failed"
    UNKNOWN = "unknown"


_STATES: Mapping[str, State] = {
    # the last two are "fully operational" while RDS works on the volume, which may take a day
    **dict.fromkeys(("available", "storage-optimization", "storage-initialization"), State.USABLE),
    **dict.fromkeys(("backing-up", "maintenance", "modifying", "storage-config-upgrade"), State.SERVING),
    **dict.fromkeys(("configuring-associated-roles", "configuring-enhanced-monitoring"), State.SERVING),
    **dict.fromkeys(("configuring-iam-database-auth", "configuring-log-exports"), State.SERVING),
    "resetting-master-credentials": State.SERVING,
    **dict.fromkeys(("converting-to-vpc", "creating", "moving-to-vpc", "rebooting"), State.PROGRESS),
    **dict.fromkeys(("renaming", "starting", "upgrading"), State.PROGRESS),
}
ENDED = frozenset({"", "deleted", "deleting", "failed", "stopped", "inaccessible-encryption-credentials"})
"""What RDS shows of an instance whose server does not run, nor comes back by itself; "": it shows it no more."""

_KEY = "Enable the KMS key and allow RDS to use it, then start the instance again, or begin anew."
_DELETED = "Somebody deletes it: find out who, then begin anew."
_REMEDIES = {
    **dict.fromkeys(("delete-precheck", "deleted", "deleting"), _DELETED),
    "failed": "RDS cannot recover it: read 'aws rds describe-events', delete it and begin anew.",
    "inaccessible-encryption-credentials": _KEY,
    "inaccessible-encryption-credentials-recoverable": _KEY,
    "incompatible-create": "Change what 'aws rds describe-events' names, delete it and begin anew.",
    "incompatible-network": "Give its subnet group free addresses in two zones, delete it and begin anew.",
    "incompatible-option-group": f"Its OptionGroupName has to fit its engine version: a restore takes one {SET_BY}.",
    "incompatible-parameters": "Its parameter group asks for more than its class has: correct it and reboot.",
    "incompatible-restore": "RDS cannot restore this recovery point: choose another one.",
    "insufficient-capacity": f"Make it anew later, or with another DBInstanceClass: a restore takes one {SET_BY}.",
    "restore-error": "The recovery point is damaged or out of reach: choose another one.",
    "stopped": "Somebody stopped it: 'aws rds start-db-instance', then resume.",
    "stopping": "Somebody is stopping it: start it again, then resume.",
    "storage-full": "Raise its AllocatedStorage with 'aws rds modify-db-instance', then resume.",
}


def classify(status: str) -> State:
    """The meaning of ``status``. One that is not known here is waited for and never taken as success."""
    if status in _STATES:
        return _STATES[status]
    if status in _REMEDIES or status.startswith(("incompatible-", "inaccessible-")):
        return State.FAILED
    return State.UNKNOWN


def remedy(status: str) -> str:
    """What a person does about a failed ``status``."""
    return _REMEDIES.get(status, "Read 'aws rds describe-events' for the reason, then begin anew.")
