"""The one door to RDS, and to what CloudWatch and STS tell of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from dr.domain.errors import DrError, RefusedError
from dr.drivers.aws.client import LONGEST, AwsClient, models
from dr.drivers.rds.config import RdsConfig
from dr.drivers.rds.errors import from_code
from dr.drivers.rds.naming import SET_BY, same

LISTING_SECONDS, LISTING_PAGES = 300.0, 1_000
"""The most that all pages of one listing may take, and be."""
METRIC_SECONDS, METRIC_PERIOD = 600.0, 60
"""CloudWatch has a value each minute, and some of them late."""


class RdsClient(AwsClient):
    """RDS, CloudWatch and STS of one target."""

    needed = {
        **AwsClient.needed,
        "DBInstanceMessage": ("DBInstances",),
        "DBSnapshotMessage": ("DBSnapshots",),
        "DBInstanceAutomatedBackupMessage": ("DBInstanceAutomatedBackups",),
        "EventsMessage": ("Events",),
        "DescribeDBLogFilesResponse": ("DescribeDBLogFiles",),
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
    unspoken = "MasterUserPassword"
    section = RdsConfig
    service = "rds"

    def error(self, code: str, message: str, operation: str, status: int) -> DrError:
        return from_code(code, message, operation, status)

    def unfit(self, said: str) -> DrError:
        return RefusedError(f"RDS takes no such setting, or not this value of it ({said}).", f"Correct it {SET_BY}.")

    def strange(self, shape: Any, parameters: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[str]:
        yield from super().strange(shape, parameters, answer)
        wanted = parameters.get("DBInstanceIdentifier")
        for row in answer["DBInstances"] if shape.name == "DBInstanceMessage" and wanted else ():
            if not same(row["DBInstanceIdentifier"], str(wanted)):
                yield f"it lists {row['DBInstanceIdentifier']}, and {wanted} was asked for"

    def metric(self, name: str, identifier: str, now: float) -> float | None:
        """CloudWatch's newest value of an instance's metric; None where it had none in the last minutes. Raises as
        ``call``."""
        of = [{"Name": "DBInstanceIdentifier", "Value": identifier}]
        metric = {"Namespace": "AWS/RDS", "MetricName": name, "Dimensions": of}
        query = {"Id": "newest", "MetricStat": {"Metric": metric, "Period": METRIC_PERIOD, "Stat": "Maximum"}}
        span = {"StartTime": now - METRIC_SECONDS, "EndTime": now, "ScanBy": "TimestampDescending"}
        answer = self.call("GetMetricData", {"MetricDataQueries": [query], **span}, service="cloudwatch")
        values = [value for row in (answer or {}).get("MetricDataResults", ()) for value in row.get("Values", ())]
        if not all(map(math.isfinite, values)):
            raise self.odd("GetMetricData", "a value is no number")
        return float(values[0]) if values else None

    def pages(
        self, operation: str, key: str, parameters: Mapping[str, Any], absent: tuple[str, ...] = ()
    ) -> tuple[dict[str, Any], ...]:
        """Everything under ``key`` from all pages of a listing. Raises as ``call``, and OddAnswerError for a listing
        that does not end."""
        rows: list[dict[str, Any]] = []
        seen: list[str] = []
        until = self.clock.now().mono_ns + LISTING_SECONDS * 1e9
        while True:
            marker = {"Marker": seen[-1]} if seen else {}
            answer = self.call(operation, {**parameters, **marker}, absent) or {}
            rows += answer.get(key, [])
            following = answer.get("Marker")
            if not following:
                return tuple(rows)
            if following in seen:
                raise self.odd(operation, f"the marker {following[:LONGEST]!r} comes a second time")
            seen.append(following)
            if len(seen) > LISTING_PAGES or self.clock.now().mono_ns > until:
                raise self.odd(operation, f"the marker after {len(seen)} pages is not the end")


def wanted_instead(operation: str, parameter: str, value: Any) -> str:
    """The type that ``operation``'s ``parameter`` has in RDS's own model, where ``value`` has another; else ""."""
    shape = _model().operation_model(operation).input_shape.members[parameter]
    return str(shape.type_name) if ParamValidator().validate(value, shape).has_errors() else ""


@cache
def _model() -> ServiceModel:
    """RDS's own model."""
    return ServiceModel(models().load_service_model("rds", "service-2"), "rds")
