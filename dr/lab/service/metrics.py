"""The service's metrics, by platform.md's names, in Prometheus's text format.

Seconds everywhere.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping

import psutil

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
"""platform.md's thresholds (0.5, 1 and 2 s) are among the bounds, so that a quantile near them is exact."""


class Counter:
    """A number that only grows, one for each set of labels; the empty set is there from the start."""

    def __init__(self, name: str, about: str, labels: tuple[str, ...] = ()) -> None:
        self.name, self._about, self._labels = name, about, labels
        self._values: dict[tuple[str, ...], int] = {} if labels else {(): 0}

    def add(self, *values: str) -> None:
        self._values[values] = self._values.get(values, 0) + 1

    def render(self) -> list[str]:
        head = [f"# HELP {self.name} {self._about}", f"# TYPE {self.name} counter"]
        rows = [
            f"{self.name}{_labels(dict(zip(self._labels, values, strict=True)))} {count}"
            for values, count in sorted(self._values.items())
        ]
        return head + rows


class Histogram:
    """Durations in cumulative buckets."""

    def __init__(self, name: str, about: str) -> None:
        self.name, self._about = name, about
        self._counts = [0] * (len(BUCKETS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect.bisect_left(BUCKETS, seconds)] += 1
        self._sum += seconds

    def render(self) -> list[str]:
        lines = [f"# HELP {self.name} {self._about}", f"# TYPE {self.name} histogram"]
        total = 0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self._counts, strict=True):
            total += count
            lines.append(f"{self.name}_bucket{_labels({'le': bound})} {total}")
        return [*lines, f"{self.name}_sum {self._sum:.6f}", f"{self.name}_count {total}"]


class Gauge:
    """A number that stays what it is."""

    def __init__(self, name: str, about: str, value: float) -> None:
        self.name, self._about, self._value = name, about, value

    def render(self) -> list[str]:
        return [
            f"# HELP {self.name} {self._about}",
            f"# TYPE {self.name} gauge",
            f"{self.name} {self._value:.3f}",
        ]


def _labels(labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{{{inside}}}" if inside else ""


class Metrics:
    """All of the service's."""

    def __init__(self) -> None:
        self.requests = Counter(
            "readmission_api_requests_total", "API requests, by route and status.", ("method", "path", "status")
        )
        self.errors = Counter("readmission_api_request_errors_total", "API requests answered with a 5xx status.")
        self.request_seconds = Histogram("readmission_api_request_duration_seconds", "API request duration.")
        self.prediction_seconds = Histogram("readmission_model_prediction_duration_seconds", "Model prediction time.")
        self.prediction_errors = Counter("readmission_model_prediction_errors_total", "Predictions that failed.")
        self.query_seconds = Histogram("readmission_database_query_duration_seconds", "Database query duration.")
        # Every client library of Prometheus's has it, by this name: a restart shows in it.
        self.started = Gauge(
            "process_start_time_seconds", "Start of the process, in epoch seconds.", psutil.Process().create_time()
        )

    def render(self) -> str:
        parts = (
            *(self.requests, self.errors, self.request_seconds),
            *(self.prediction_seconds, self.prediction_errors, self.query_seconds),
            self.started,
        )
        return "\n".join(line for part in parts for line in part.render()) + "\n"
