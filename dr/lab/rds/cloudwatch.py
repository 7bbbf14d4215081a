"""CloudWatch, as far as a replica's lag is asked of it: GetMetricData answered."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from dr.lab.rds.errors import AwsError, invalid, missing
from dr.lab.rds.metrics import STATISTICS, periods
from dr.lab.rds.service import Answer, Asked, Lab

NAMESPACE = "AWS/RDS"
_ID = re.compile(r"[a-z][a-zA-Z0-9_]*\Z")


def get_metric_data(lab: Lab, asked: Asked) -> Answer:
    """Whole: one page holds every value. Raises AwsError."""
    start, end = float(asked["StartTime"]), float(asked["EndTime"])
    if start >= end:
        raise invalid("The parameter StartTime must be less than the parameter EndTime.")
    if asked.get("NextToken"):
        raise AwsError("InvalidNextToken", "The next token specified is invalid.")
    order = asked.get("ScanBy", "TimestampDescending")
    if order not in ("TimestampAscending", "TimestampDescending"):
        raise invalid(f"The value {order} for parameter ScanBy is not supported.")
    queries = asked["MetricDataQueries"]
    if len({query.get("Id") for query in queries}) < len(queries):
        raise invalid("The values for parameter Id in MetricDataQueries are not unique.")
    found = [_result(lab, query, start, end, order) for query in queries if query.get("ReturnData", True)]
    return {"MetricDataResults": found, "Messages": []}


def _result(lab: Lab, query: Mapping[str, Any], start: float, end: float, order: str) -> dict[str, Any]:
    metric, identifier, period, statistic = _checked(query)
    # As CloudWatch does, a period that begins within the interval counts whole, and none that begins before it.
    since = math.ceil(start / period) * period
    values = periods(lab.work.replicas.metrics.between(metric, identifier, since, end), period, statistic)
    if order == "TimestampDescending":
        values.reverse()
    return {
        "Id": query["Id"],
        "Label": query.get("Label") or metric,
        "Timestamps": [at for at, _ in values],
        "Values": [value for _, value in values],
        "StatusCode": "Complete",
    }


def _checked(query: Mapping[str, Any]) -> tuple[str, str, int, str]:
    """Metric, instance, period and statistic of a query. Raises AwsError."""
    if not _ID.match(query.get("Id", "")):
        raise invalid(f"The value {query.get('Id')} for parameter Id is not matching the expected pattern.")
    if query.get("Expression") is not None or query.get("MetricStat") is None:
        raise AwsError("ValidationError", "The lab evaluates no expressions: give a MetricStat.")
    stat = query["MetricStat"]
    for name in ("Metric", "Period", "Stat"):
        if name not in stat:
            raise missing(f"MetricDataQueries.member.1.MetricStat.{name}")
    period, statistic, metric = stat["Period"], stat["Stat"], stat["Metric"]
    if period not in (1, 5, 10, 20, 30) and (period < 60 or period % 60):
        raise invalid("The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60.")
    if statistic not in STATISTICS:
        raise invalid(f"The value {statistic} for parameter Stat is not supported.")
    dimensions = {one.get("Name"): one.get("Value") for one in metric.get("Dimensions") or ()}
    # Another namespace or other dimensions are another metric, of which there is no sample.
    is_known = metric.get("Namespace") == NAMESPACE and set(dimensions) == {"DBInstanceIdentifier"}
    identifier = str(dimensions["DBInstanceIdentifier"]).lower() if is_known else ""
    return str(metric.get("MetricName")), identifier, period, statistic
