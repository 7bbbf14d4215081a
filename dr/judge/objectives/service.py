"""Whether the service answers within its limits: latency, errors. Pure.

Latency counts from the due time. Judged is what bounds prove: met only where the bad end of the interval keeps the
limit, missed only where the good end breaks it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dr.config.objective import About, Limit, Objective
from dr.domain.model import Demand, Finding, Status
from dr.evidence.model import Evidence, Sample, Samples
from dr.judge import bounds
from dr.judge.findings import finding, unknown, within
from dr.judge.windows import countable, good, latency, p95, recovered, slo_of, why_void, windows


@dataclass(frozen=True, slots=True)
class Judged:
    """What latency and errors are judged by: the settled period from the first good windows on, without void ones."""

    samples: tuple[Sample, ...]
    timeout: float


def settled(evidence: Evidence, path: str) -> Judged | str:
    """The samples to judge on ``path``, or why there are none.

    The ledger says which numbers were on disk when the path had settled: all of them must still be there, so that
    evidence that was cut proves nothing.
    """
    measured, ended = evidence.samples.get(path), evidence.settled(path)
    if measured is None or ended is None:
        return f"Path {path} was not measured to the end."
    first, last = ended.first, ended.last
    kept = tuple(s for s in measured.samples if first <= s.n <= last)
    absent = last - first + 1 - len(kept)
    if absent > 0.001 * (last - first + 1):
        return f"{absent} of {last - first + 1} samples are missing."
    part = Samples(measured.path, measured.rate, measured.timeout, measured.start, kept)
    found = windows(part, evidence.record.window, slo_of(evidence, path))
    begin = recovered(found, slo_of(evidence, path)) or 0
    judged = [window for window in found[begin:] if not window.void]
    if not countable(found[begin:]):
        among = len(found) - begin
        return f"{among - len(judged)} of {among} windows are void{why_void(found)}."
    return Judged(tuple(s for window in judged for s in window.samples), measured.timeout)


def p95_latency(evidence: Evidence, demand: Demand) -> Finding:
    """The p95 by the order statistic's bounds, over the settled path."""
    judged = settled(evidence, demand.path)
    if isinstance(judged, str) or demand.limit is None:
        return unknown(demand, judged if isinstance(judged, str) else "No limit is known.")
    ordered = sorted(latency(s, judged.timeout) for s in judged.samples)
    ranks = bounds.p95_ranks(len(ordered))
    if ranks is None:
        return unknown(demand, f"{len(ordered)} samples prove no p95; {bounds.ENOUGH} are needed.")
    low, high = ordered[ranks[0] - 1], ordered[ranks[1] - 1]
    because = f"p95 of {len(ordered)} requests lies between {low:.4f} s and {high:.4f} s (95% confidence)."
    return finding(demand, within(low, high, demand.limit), because, p95(ordered), (low, high))


def error_rate(evidence: Evidence, demand: Demand) -> Finding:
    """The share of errors by its exact bounds, over the settled path: met only where the upper one is below the limit,
    missed only where the lower one is above it."""
    judged = settled(evidence, demand.path)
    if isinstance(judged, str) or demand.limit is None:
        return unknown(demand, judged if isinstance(judged, str) else "No limit is known.")
    n, bad = len(judged.samples), [s for s in judged.samples if not good(s)]
    seen, (low, high) = len(bad) / n, bounds.share(len(bad), n)
    because = f"{len(bad)} of {n} requests failed{_kinds(bad)}: between {low:.2%} and {high:.2%} (95% confidence)."
    if high < demand.limit:
        status = Status.MET
    elif low > demand.limit:
        status = Status.MISSED
    else:
        status = Status.INCONCLUSIVE
        because += (
            f" {max(1, bounds.needed(len(bad), demand.limit) - n)} more requests are needed." if demand.limit else ""
        )
    return finding(demand, status, because, seen, (low, high))


def _kinds(bad: Sequence[Sample]) -> str:
    kinds = sorted({s.error if s.error != "status" else str(s.status) for s in bad})
    return f" ({', '.join(kinds)})" if kinds else ""


LATENCY = Limit("latency-p95", 1.0)
"""Seconds; platform.md: readmission_api_request_duration_seconds p95 > 1s alerts."""
ERRORS = Limit("error-rate", 0.01)
"""Share of requests; platform.md: > 1% alerts."""
OBJECTIVES = (
    Objective("latency", About.SERVICE, p95_latency, "s", (LATENCY,), on_call="serve"),
    Objective("errors", About.SERVICE, error_rate, "share", (ERRORS,), on_call="serve"),
)
