"""A moment's probes against the objectives: whether the source keeps them, and whether it is proven not to. Pure.

Two seconds hold a hundred probes, so that two failures among them are above a limit of 1%, and prove nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dr.evidence.model import Sample
from dr.judge import bounds
from dr.judge.windows import STALL, good, latency, p95


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen: ``p95`` in seconds, how many of the ``probes`` failed, and whether both were within their limits.

    ``broken``: by their bounds, one of the two is surely beyond its limit; never so where the prober was stalled.
    """

    p95: float
    errors: int
    probes: int
    in_slo: bool
    broken: bool


def look(samples: Sequence[Sample], timeout: float, latency_limit: float, error_limit: float) -> Look:
    """At least one probe, against the limits of its p95, in seconds, and of its share of errors."""
    slow, errors = p95([latency(s, timeout) for s in samples]), sum(not good(s) for s in samples)
    in_slo = slow <= latency_limit and errors <= error_limit * len(samples)
    failing = bounds.share(errors, len(samples))[0] > error_limit
    broken = failing or _surely_slow(samples, timeout, latency_limit)
    stalled = any(s.late > STALL * 1e9 for s in samples)
    return Look(slow, errors, len(samples), in_slo, broken and not stalled)


def _surely_slow(samples: Sequence[Sample], timeout: float, limit: float) -> bool:
    """By the lower bound of the p95, of latencies without what the prober itself was late."""
    ranks = bounds.p95_ranks(len(samples))
    return ranks is not None and sorted(latency(s, timeout) - s.late / 1e9 for s in samples)[ranks[0] - 1] > limit
