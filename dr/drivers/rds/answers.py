"""What an answer of AWS has to hold before anything here relies on it. Pure.

``dr.drivers.rds.client`` holds each answer to it, so that nothing deeper meets a field that is missing, or of another
type than the operation's own model gives it. Source: botocore's models for the types; they call no field required, so
that those stand here without which nothing can be told.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from dr.drivers.rds.naming import same

_NEEDED: Mapping[str, tuple[str, ...]] = {
    "DBInstanceMessage": ("DBInstances",),
    "DBSnapshotMessage": ("DBSnapshots",),
    "DBInstanceAutomatedBackupMessage": ("DBInstanceAutomatedBackups",),
    "EventsMessage": ("Events",),
    "DescribeDBLogFilesResponse": ("DescribeDBLogFiles",),
    "GetCallerIdentityResponse": ("Account",),
    "GetMetricDataOutput": ("MetricDataResults",),
    "RestoreDBInstanceFromDBSnapshotResult": ("DBInstance",),
    "RestoreDBInstanceToPointInTimeResult": ("DBInstance",),
    "DBInstance": ("DBInstanceIdentifier", "DBInstanceStatus", "DBInstanceArn"),
    "DBSnapshot": ("DBSnapshotIdentifier", "Status"),
    "DBInstanceAutomatedBackup": ("DbiResourceId",),
    "Event": ("Date", "Message"),
    "DescribeDBLogFilesDetails": ("LogFileName",),
    "DBParameterGroupStatus": ("DBParameterGroupName",),
    "DBSubnetGroup": ("DBSubnetGroupName",),
    "OptionGroupMembership": ("OptionGroupName",),
    "VpcSecurityGroupMembership": ("VpcSecurityGroupId",),
    "DBInstanceRole": ("RoleArn",),
    "Tag": ("Key",),
}
"""By the name of a structure in the models: what is never missing in it, nor empty where it is text."""

_TYPES: Mapping[str, tuple[type, ...]] = {
    "structure": (dict,),
    "list": (list,),
    "map": (dict,),
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
    "timestamp": (datetime.datetime,),
}


def is_answer_to(operation: str, body: bytes) -> bool:
    """Whether ``body``, of the protocol that has XML, looks like an answer to ``operation``, whole or torn."""
    return re.search(rb"<(\w+:)?" + operation.encode() + rb"Response[\s>/]", body) is not None


def odd(shape: Any, parameters: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    """What is odd about a parsed ``answer`` of the model's ``shape`` to ``parameters``, in words, or ""."""
    found = next(_odd(shape, answer, ""), "")
    return found or (_other_instance(parameters, answer) if shape.name == "DBInstanceMessage" else "")


def _other_instance(parameters: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    wanted = str(parameters.get("DBInstanceIdentifier", ""))
    others = [str(row["DBInstanceIdentifier"]) for row in answer["DBInstances"]]
    others = [name for name in others if wanted and not same(name, wanted)]
    return f"it lists {', '.join(others)}, and {wanted} was asked for" if others else ""


def _odd(shape: Any, value: Any, where: str) -> Iterator[str]:
    known = _TYPES.get(shape.type_name)
    number = isinstance(value, float) and not math.isfinite(value)
    if known is not None and (
        not isinstance(value, known) or (isinstance(value, bool) and bool not in known) or number
    ):
        yield f"{where or 'it'} is no {shape.type_name}"
    elif shape.type_name == "structure":
        yield from _odd_structure(shape, value, where)
    elif shape.type_name == "list":
        for item in value:
            yield from _odd(shape.member, item, where)


def _odd_structure(shape: Any, value: Mapping[str, Any], where: str) -> Iterator[str]:
    for name in _NEEDED.get(shape.name, ()):
        if value.get(name) in (None, ""):
            yield f"{f'a {shape.name} in {where}' if where else 'it'} has no {name}"
    if shape.name == "Endpoint" and value.get("Address") and "Port" not in value:
        yield f"the {where} has an address and no port"
    for name, member in shape.members.items():
        if name in value:
            yield from _odd(member, value[name], name)
