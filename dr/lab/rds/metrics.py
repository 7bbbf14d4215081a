"""What is measured of instances, and kept a while."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

KEPT = 20_000
"""Samples kept of each metric of each instance; at three a second, nearly two hours."""
STATISTICS: Mapping[str, Callable[[list[float]], float]] = {
    "Average": lambda values: math.fsum(values) / len(values),
    "Maximum": max,
    "Minimum": min,
    "Sum": math.fsum,
    "SampleCount": lambda values: float(len(values)),
}


class Metrics:
    """Samples by metric and DBInstanceIdentifier, which outlive their instance. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._samples: dict[tuple[str, str], deque[tuple[float, float]]] = {}

    def record(self, metric: str, identifier: str, at: float, value: float) -> None:
        with self._lock:
            self._samples.setdefault((metric, identifier), deque(maxlen=KEPT)).append((at, value))

    def between(self, metric: str, identifier: str, start: float, end: float) -> list[tuple[float, float]]:
        """Samples from ``start`` on and before ``end``."""
        with self._lock:
            return [s for s in self._samples.get((metric, identifier), ()) if start <= s[0] < end]


def periods(samples: Sequence[tuple[float, float]], period: int, statistic: str) -> list[tuple[float, float]]:
    """One value for each period that has samples, by the period's beginning, oldest first. Pure."""
    grouped: dict[float, list[float]] = {}
    for at, value in samples:
        grouped.setdefault(float(at // period * period), []).append(value)
    return [(at, STATISTICS[statistic](grouped[at])) for at in sorted(grouped)]
