"""How long it took, and whether the service answers within its limits: time-to-copy, latency, errors. Pure.

Latency counts from the due time. Judged is what bounds prove: met only where the bad end of the interval keeps the
limit, missed only where the good end breaks it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dr.domain.model import Demand, Finding, Status
from dr.evidence.model import Evidence, Sample, Samples
from dr.judge import bounds
from dr.judge.findings import finding, unknown, within
from dr.judge.histogram import judge_histogram
from dr.judge.phases import phases as phases
from dr.judge.windows import Slo, Window, countable, good, latency, p95, slo_of, surely_outside, windows

IN_A_ROW = 3
"""Windows within the SLO, one after another, that end an outage."""


def recovered(found: Sequence[Window], slo: Slo) -> int | None:
    """The index of the first of three consecutive windows within the SLO, or None."""
    states = [window.within(slo) for window in found]
    return next((i for i in range(len(states) - IN_A_ROW + 1) if all(states[i : i + IN_A_ROW])), None)


def may_have_recovered(found: Sequence[Window], slo: Slo) -> bool:
    """Whether void windows, or those after the end, could complete three in a row with a good one among them."""
    states = [(w.within(slo), w.outside(slo)) for w in found] + [(False, False)] * (IN_A_ROW - 1)
    runs = (states[i : i + IN_A_ROW] for i in range(len(states) - IN_A_ROW + 1))
    return any(any(is_good for is_good, _ in run) and not any(is_bad for _, is_bad in run) for run in runs)


def time_to_copy(evidence: Evidence, demand: Demand) -> Finding:
    """From the disaster to a verified copy within the SLO, on the copy's path."""
    disaster, examined = evidence.disaster(), _effect_at(evidence, "examine")
    measured, slo = evidence.samples.get(demand.path), slo_of(evidence, demand.path)
    if disaster is None or demand.limit is None:
        return unknown(demand, "No time of the disaster, or no limit, is known.")
    if measured is None or not measured.samples:
        return unknown(demand, f"Path {demand.path} was not measured.")
    if slo == Slo(None, None):
        return unknown(demand, f"Neither latency nor errors are demanded of {demand.path}, so there is no SLO to meet.")
    found = windows(measured, evidence.record.window, slo)
    first = recovered(found, slo)
    if first is None:
        return _not_recovered(demand, found, slo, measured.timeout)
    if examined is None:
        return unknown(demand, "The copy answers within the SLO, but was not examined: it is not a verified copy.")
    good_at = max(found[first].start, examined)
    bad_until = min(good_at, max(_last_bad(evidence, found[:first], slo, found[first].start), examined))
    low, high = bad_until - disaster, good_at - disaster
    because = (
        f"{_from(evidence)} to a verified copy within the SLO {high:.1f} s. {_clocks(evidence, disaster, found[first])}"
    )
    return finding(demand, within(low, high, demand.limit), because, high, (low, high))


def _not_recovered(demand: Demand, found: Sequence[Window], slo: Slo, timeout: float) -> Finding:
    judged = [window for window in found if not window.void]
    if len(judged) < IN_A_ROW or may_have_recovered(found, slo):
        return unknown(
            demand,
            f"Of {len(found)} windows {len(found) - len(judged)} are void{_why_void(found)}, and the others hold no"
            f" {IN_A_ROW} good ones in a row: too few to tell.",
        )
    bad = sum(window.outside(slo) for window in judged)
    told = f"{bad} of {len(judged)} windows broke it"
    if not surely_outside([s for window in judged for s in window.samples], timeout, slo):
        return unknown(
            demand, f"Never within the SLO for {IN_A_ROW} windows in a row: {told}, by too little to prove it."
        )
    return finding(demand, Status.MISSED, f"Never within the SLO: {told}.")


def _last_bad(evidence: Evidence, before: Sequence[Window], slo: Slo, start: float) -> float:
    """Up to when the service is not known to have been good: the last window before that was not, else its start."""
    bad = [window.start for window in before if not window.within(slo)]
    serve = evidence.effect("serve") or {}
    return bad[-1] if bad else min(start, float(serve.get("started_at", start)))


def _effect_at(evidence: Evidence, call: str) -> float | None:
    return next((e.stamp.at for e in reversed(evidence.entries) if (e.call, e.kind) == (call, "effect")), None)


def _from(evidence: Evidence) -> str:
    if evidence.effect("vanish") is not None or evidence.effect("declare") is not None:
        return "From the disaster"
    if evidence.effect("promote") is not None:
        return "From the promotion's beginning"
    return "From --since" if evidence.record.plan.request.since is not None else "From the command's start"


def _clocks(evidence: Evidence, disaster: float, window: Window) -> str:
    """The three clocks, as far as they were read."""
    examine = evidence.effect("examine") or {}
    read = {
        "available": evidence.available_at(),
        "first correct query": examine.get("first_correct_at"),
        "SLO met": window.start,
    }
    return ", ".join(f"{name} after {at - disaster:.1f} s" for name, at in read.items() if at is not None) + "."


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
        return f"{among - len(judged)} of {among} windows are void{_why_void(found)}."
    return Judged(tuple(s for window in judged for s in window.samples), measured.timeout)


def _why_void(found: Sequence[Window]) -> str:
    return next((f" ({window.void})" for window in found if window.void), "")


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


JUDGES: Mapping[str, Callable[[Evidence, Demand], Finding]] = {
    "time-to-copy": time_to_copy,
    "latency": p95_latency,
    "errors": error_rate,
    "model-latency": judge_histogram,
    "database-latency": judge_histogram,
}
