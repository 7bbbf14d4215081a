"""Whether the service answers within its limits: by the prober, and by its own histograms. Pure.

Latency counts from the due time. Judged is what bounds prove: met only where the bad end of the interval keeps the
limit, missed only where the good end breaks it. A histogram's bucket says only between which bounds a value lies:
nothing is interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from dr.config.objective import About, Limit, Objective
from dr.domain.model import Demand, Finding, Status
from dr.evidence.model import Evidence, Sample, Samples
from dr.judge import bounds
from dr.judge.findings import UnknownError, finding, limit_of, within
from dr.judge.windows import MISSED, Slo, countable, good, latency, p95, recovered, slo_of, why_void, windows

METRICS = {
    "model-latency": "readmission_model_prediction_duration_seconds",
    "database-latency": "readmission_database_query_duration_seconds",
}
"""The platform's own names (platform.md, key metrics)."""


def _settled(evidence: Evidence, path: str) -> tuple[Sample, ...]:
    """The samples to judge on ``path``: of the settled period from the first good windows on, without void ones. The
    ledger says which numbers were on disk when the path had settled: all of them must still be there, so that evidence
    that was cut proves nothing."""
    measured, ended, slo = evidence.samples.get(path), evidence.settled(path), slo_of(evidence, path)
    if measured is None or ended is None:
        raise UnknownError(f"Path {path} was not measured to the end.")
    settled = replace(measured, samples=numbered(measured, ended.first, ended.last))
    stood_still(evidence, path)
    return counted(settled, evidence.record.window, slo)


def stood_still(evidence: Evidence, path: str) -> None:
    """Raises UnknownError where the process of the path's service was stopped while it was measured: that it answered
    nothing then is no fault of what was restored."""
    ended = evidence.settled(path)
    if ended is not None and ended.stood:
        raise UnknownError(f"The service's process was stopped for about {ended.stood:.1f} s while it was measured.")


def seconds_stopped(evidence: Evidence, path: str) -> float:
    """For how many seconds that process was seen stopped while it was asked for single answers."""
    asked = evidence.observed("asked", path) or {}
    return float(asked.get("stood", 0.0))


def stopped_while_asked(evidence: Evidence, path: str) -> str:
    """The same, as the reason why an answer that did not come proves nothing; "" where it never was."""
    stood = seconds_stopped(evidence, path)
    return f"The service's process was stopped for about {stood:.1f} s while it was asked" if stood else ""


def numbered(measured: Samples, first: int, last: int) -> tuple[Sample, ...]:
    """The samples with these numbers. Raises UnknownError where too many of them are missing."""
    kept, whole = tuple(s for s in measured.samples if first <= s.n <= last), last - first + 1
    if whole - len(kept) > MISSED * whole:
        raise UnknownError(f"{whole - len(kept)} of {whole} samples are missing.")
    return kept


def counted(settled: Samples, seconds: float, slo: Slo) -> tuple[Sample, ...]:
    """Of what a path settled by, the samples from the first good windows on, without void ones; ``seconds`` is a
    window's. Raises UnknownError where too many are void."""
    found = windows(settled, seconds, slo)
    found = found[recovered(found, slo) or 0 :]
    judged = [window for window in found if not window.void]
    if not countable(found):
        raise UnknownError(f"{len(found) - len(judged)} of {len(found)} windows are void{why_void(found)}.")
    return tuple(s for window in judged for s in window.samples)


def p95_latency(evidence: Evidence, demand: Demand) -> Finding:
    """The p95 by the order statistic's bounds, over the settled path."""
    limit, samples = limit_of(demand), _settled(evidence, demand.path)
    ordered = sorted(latency(s, evidence.samples[demand.path].timeout) for s in samples)
    ranks = bounds.p95_ranks(len(ordered))
    if ranks is None:
        raise UnknownError(f"{len(ordered)} samples prove no p95; {bounds.ENOUGH} are needed.")
    low, high = ordered[ranks[0] - 1], ordered[ranks[1] - 1]
    because = f"p95 of {len(ordered)} requests lies between {low:.4f} s and {high:.4f} s (95% confidence)."
    return finding(demand, within(low, high, limit), because, p95(ordered), (low, high))


def error_rate(evidence: Evidence, demand: Demand) -> Finding:
    """The share of errors by its exact bounds, over the settled path: met only where the upper one is below the limit,
    missed only where the lower one is above it."""
    limit, samples = limit_of(demand), _settled(evidence, demand.path)
    ended, n, bad = evidence.settled(demand.path), len(samples), [s for s in samples if not good(s)]
    look = ended.looks if ended is not None else 0
    status, (low, high) = _share(len(bad), n, limit, look)
    sure = f"95% confidence, at look {look}" if look > 1 else "95% confidence"
    because = f"{len(bad)} of {n} requests failed{_kinds(bad)}: between {low:.2%} and {high:.2%} ({sure})."
    if status is Status.INCONCLUSIVE and limit:
        because += f" {max(1, bounds.needed(len(bad), limit, look) - n)} more requests are needed."
    return finding(demand, status, because, len(bad) / n, (low, high))


def _share(bad: int, n: int, limit: float, look: int) -> tuple[Status, tuple[float, float]]:
    low, high = bounds.share(bad, n, look)
    return Status.MET if high < limit else Status.MISSED if low > limit else Status.INCONCLUSIVE, (low, high)


def undecided(settled: Samples, seconds: float, slo: Slo, look: int) -> bool:
    """Whether more of a settled path may tell whether its errors keep their limit, which so much does not. What is void
    says nothing of that, and a limit of 0 no number of requests proves."""
    try:
        samples = counted(settled, seconds, slo)
    except UnknownError:
        return False
    bad = sum(not good(s) for s in samples)
    return bool(slo.errors) and _share(bad, len(samples), slo.errors or 0.0, look)[0] is Status.INCONCLUSIVE


def _kinds(bad: Sequence[Sample]) -> str:
    kinds = sorted({s.error if s.error != "status" else str(s.status) for s in bad})
    return f" ({', '.join(kinds)})" if kinds else ""


def judge_histogram(evidence: Evidence, demand: Demand) -> Finding:
    """The p95 of what the service counted while its path was measured."""
    limit = limit_of(demand)
    seen = (evidence.observed("metrics", demand.path) or {}).get(METRICS[demand.objective])
    if seen is None:
        raise UnknownError(f"The service shows no {METRICS[demand.objective]}.")
    ranks = bounds.p95_ranks(int(seen["count"]))
    if ranks is None:
        raise UnknownError(f"{seen['count']} observations prove no p95; {bounds.ENOUGH} are needed.")
    buckets = [(float(bound), int(count)) for bound, count in seen["buckets"].items()]
    low = max((bound for bound, count in buckets if count < ranks[0]), default=0.0)
    high = min((bound for bound, count in buckets if count >= ranks[1]), default=math.inf)
    because = f"p95 of {seen['count']} observations lies above {low:g} s and at or below {high:g} s (95% confidence)."
    status = within(math.nextafter(low, math.inf), high, limit)  # it lies above ``low``, not at it
    if math.isinf(high):  # beyond the last bucket: no number bounds it
        return finding(demand, status, because)
    return finding(demand, status, because, high, (low, high))


LATENCY = Limit("latency-p95", 1.0)
"""Seconds; platform.md: readmission_api_request_duration_seconds p95 > 1s alerts."""
ERRORS = Limit("error-rate", 0.01)
"""Share of requests; platform.md: > 1% alerts."""
MODEL = Limit("model-latency-p95", 2.0)
"""Seconds; platform.md: readmission_model_prediction_duration_seconds p95 > 2s alerts."""
DATABASE = Limit("database-latency-p95", 0.5)
"""Seconds; platform.md: readmission_database_query_duration_seconds p95 > 500ms alerts."""
OBJECTIVES = (
    Objective("latency", About.SERVICE, p95_latency, "s", (LATENCY,), on_call="serve"),
    Objective("errors", About.SERVICE, error_rate, "share", (ERRORS,), on_call="serve"),
    Objective("model-latency", About.SERVICE, judge_histogram, "s", (MODEL,), on_call="serve"),
    Objective("database-latency", About.SERVICE, judge_histogram, "s", (DATABASE,), on_call="serve"),
)
