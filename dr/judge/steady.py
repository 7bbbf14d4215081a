"""A moment's probes against the objectives: whether the source keeps them, and whether it is proven not to. Pure.

Two seconds hold a hundred probes, so that two failures among them are above a limit of 1%, and prove nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dr.evidence.model import Sample
from dr.judge.windows import STALL, Slo, good, latency, p95, surely_outside


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


def look(samples: Sequence[Sample], timeout: float, slo: Slo) -> Look:
    """At least one probe, against what is asked of the source."""
    slow, errors = p95([latency(s, timeout) for s in samples]), sum(not good(s) for s in samples)
    too_slow = slo.latency is not None and slow > slo.latency
    failing = slo.errors is not None and errors > slo.errors * len(samples)
    stalled = any(s.late > STALL * 1e9 for s in samples)
    broken = surely_outside(samples, timeout, slo) and not stalled
    return Look(slow, errors, len(samples), not too_slow and not failing, broken)
