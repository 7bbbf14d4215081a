"""RDS's rules for names and values. Pure.

Source of the rules: the RDS API reference, as botocore's model repeats it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dr.lab.rds.errors import AwsError, combination, invalid

_IDENTIFIER = re.compile(r"[a-z](?:-?[a-z0-9])*\Z")
_RESERVED_MASTERS = {"rdsadmin", "admin", "postgres_exporter", "rds_superuser", "rdsrepladmin", "public", "user"}


def identifier(value: str, parameter: str, longest: int = 63) -> str:
    """A DB identifier in RDS's own, lower case. Raises AwsError."""
    lowered = value.lower()
    if not _IDENTIFIER.match(lowered) or len(lowered) > longest:
        raise invalid(
            f"The parameter {parameter} is not a valid identifier. Identifiers must begin with a letter; must contain "
            "only ASCII letters, digits, and hyphens; and must not end with a hyphen or contain two consecutive "
            "hyphens."
        )
    return lowered


def snapshot_identifier(value: str, parameter: str) -> str:
    """A new manual snapshot's name: a prefix such as "rds:" is the service's own."""
    return identifier(value, parameter, 255)


def password(value: str | None) -> str:
    if not value:
        raise invalid("The parameter MasterUserPassword must be provided and must not be blank.")
    if not 8 <= len(value) <= 128:
        raise invalid(
            "The parameter MasterUserPassword is not a valid password because it is shorter than 8 or longer than 128 "
            "characters."
        )
    if any(c in '/@" ' or not " " < c <= "~" for c in value):
        raise invalid(
            "The parameter MasterUserPassword is not a valid password. Only printable ASCII characters besides '/', "
            "'@', '\"', ' ' may be used."
        )
    return value


def master(value: str | None) -> str:
    if not value:
        raise invalid("The parameter MasterUsername must be provided and must not be blank.")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,62}", value) or value.lower().startswith("pg_"):
        raise invalid("The parameter MasterUsername is not valid.")
    if value.lower() in _RESERVED_MASTERS:
        raise invalid(f"MasterUsername {value} cannot be used as it is a reserved word used by the engine")
    return value


def database(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", value):
        raise invalid("DBName must begin with a letter and contain only alphanumeric characters.")
    return value


def between(value: int | None, parameter: str, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise invalid(f"Invalid value {value} for {parameter}. Must be between {low} and {high}.")


_GP3_FROM = 400
"""GiB from which on RDS takes IOPS and throughput for gp3 of PostgreSQL."""


def storage(storage_type: str | None, iops: int | None) -> None:
    """Raises AwsError where type and IOPS do not go together."""
    if storage_type is not None and storage_type not in ("standard", "gp2", "gp3", "io1", "io2"):
        raise invalid(f"Invalid storage type: {storage_type}")
    if storage_type in ("io1", "io2") and iops is None:
        raise combination(f"You must specify a value for IOPS when the storage type is {storage_type}.")


def performance(asked: Mapping[str, Any], size: int) -> None:
    """Raises AwsError where IOPS or MiB/s are asked for that storage of this kind and of ``size`` GiB does not take."""
    iops, throughput = asked.get("Iops"), asked.get("StorageThroughput")
    kind = asked.get("StorageType") or ("io1" if iops else "gp3")
    if kind == "gp3" and size < _GP3_FROM and (iops or throughput):
        raise combination(
            "You can't specify IOPS or storage throughput for engine postgres and a storage size less than 400."
        )
    if kind == "gp3" and iops and not 12_000 <= iops <= 64_000:
        raise invalid(f"Invalid iops value for engine name postgres and storage type gp3: {iops}")
    if iops and kind in ("standard", "gp2"):
        raise combination(f"You can't specify IOPS when the storage type is {kind}.")
    if throughput and kind != "gp3":
        raise combination("You can't specify storage throughput when the storage type is other than gp3.")


def instance_class(value: str) -> str:
    if not re.fullmatch(r"db\.[a-z0-9]+(-[a-z0-9]+)?\.[a-z0-9]+(\.[a-z0-9.]+)?", value):
        raise invalid(f"Invalid DB Instance class: {value}")
    return value


def tags(given: Sequence[Mapping[str, str]] | None) -> dict[str, str]:
    """Tags by key. Raises AwsError for a key that AWS keeps for itself, a key twice, or too many."""
    result: dict[str, str] = {}
    for tag in given or ():
        key = tag.get("Key", "")
        if not 1 <= len(key) <= 128 or key.lower().startswith("aws:") or len(tag.get("Value", "")) > 256:
            raise invalid(f"The tag key {key!r} or its value is not valid.")
        if key in result:
            raise invalid(f"Duplicate tag key: {key}")
        result[key] = tag.get("Value", "")
    if len(result) > 50:
        raise AwsError("InvalidParameterValue", "A resource can have at most 50 tags.")
    return result


def filters(given: Sequence[Mapping[str, Any]] | None, allowed: Sequence[str]) -> dict[str, list[str]]:
    """Filters by name. Raises AwsError for one that the action does not know."""
    result: dict[str, list[str]] = {}
    for one in given or ():
        name = one.get("Name", "")
        if name not in allowed:
            raise invalid(f"Unrecognized filter name: {name}")
        if not one.get("Values"):
            raise invalid(f"The filter {name} has no values.")
        result[name] = list(one["Values"])
    return result


def arn_name(value: str) -> tuple[str, str, str] | None:
    """Account, kind and name of an RDS ARN; None where ``value`` is none."""
    parts = value.split(":", 6)
    if len(parts) == 7 and parts[:3] == ["arn", "aws", "rds"]:
        return parts[4], parts[5], parts[6]
    return None
