"""The service's own histograms, judged by what their buckets prove. Pure.

A bucket says only between which bounds a value lies: nothing is interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dr.config.objective import About, Limit, Objective
from dr.domain.model import Demand, Finding
from dr.evidence.model import Evidence
from dr.judge import bounds
from dr.judge.findings import finding, unknown, within

METRICS = {
    "model-latency": "readmission_model_prediction_duration_seconds",
    "database-latency": "readmission_database_query_duration_seconds",
}
"""The platform's own names (platform.md, key metrics)."""


def judge_histogram(evidence: Evidence, demand: Demand) -> Finding:
    """The p95 of what the service counted while its path was measured."""
    metrics = evidence.observed("metrics", demand.path) or {}
    counted = metrics.get(METRICS[demand.objective])
    if counted is None or demand.limit is None:
        return unknown(demand, f"The service shows no {METRICS[demand.objective]}.")
    ranks = bounds.p95_ranks(int(counted["count"]))
    if ranks is None:
        because = f"{counted['count']} observations prove no p95; {bounds.ENOUGH} are needed."
        return unknown(demand, because)
    low, high = _edges(counted["buckets"], *ranks)
    because = (
        f"p95 of {counted['count']} observations lies above {low:g} s and at or below {high:g} s (95% confidence)."
    )
    status = within(math.nextafter(low, math.inf), high, demand.limit)  # it lies above ``low``, not at it
    if math.isinf(high):  # beyond the last bucket: no number bounds it
        return finding(demand, status, because)
    return finding(demand, status, because, high, (low, high))


def _edges(buckets: Mapping[str, Any], lower: int, upper: int) -> tuple[float, float]:
    """The bound below the value of rank ``lower``, and the one at or above that of rank ``upper``."""
    ordered = sorted((float(bound), int(count)) for bound, count in buckets.items())
    below = [bound for bound, count in ordered if count < lower]
    above = [bound for bound, count in ordered if count >= upper]
    return max(below, default=0.0), min(above, default=float("inf"))


MODEL = Limit("model-latency-p95", 2.0)
"""Seconds; platform.md: readmission_model_prediction_duration_seconds p95 > 2s alerts."""
DATABASE = Limit("database-latency-p95", 0.5)
"""Seconds; platform.md: readmission_database_query_duration_seconds p95 > 500ms alerts."""
OBJECTIVES = (
    Objective("model-latency", About.SERVICE, judge_histogram, "s", (MODEL,), on_call="serve"),
    Objective("database-latency", About.SERVICE, judge_histogram, "s", (DATABASE,), on_call="serve"),
)
