"""Whether Prometheus saw what the prober saw: the same SLOs by its range query over the same window. Pure.

The observation ``prometheus`` is {error} or {start, end, step, range, latency, errors, up, rules, alerts}: the query's
grid, the seconds of a rate's window, [at, value] of the p95 and of the share of errors, when the service was scraped,
as [from, until], of each alert that was asked for {held, problem} (seconds of its rule's ``for``, and why it cannot be
evaluated, or ""), and of each that can the times its expression was true. The prober's figure at a point is that of its
requests over the same range.

The prober's samples decide the other findings; this one says whether they can be believed. Two figures on different
sides of a limit are a contradiction: one of the two looks at something else, so that neither is proof, and the finding
is inconclusive. So it is where nothing can be told of an alert that was asked for. An answer's latency is compared only
where there was one: the service counts no request that never reached it, or that it never answered. What the prober
gave up at its time-out is no error to a service that answered it later: there its latency has to be beyond the limit
instead.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dr.config.objective import About, Objective
from dr.domain.model import Demand, Finding, Status
from dr.evidence.model import Evidence, Sample, Samples
from dr.evidence.samples import TIMEOUT
from dr.judge.alerts import stretches
from dr.judge.findings import finding, unknown
from dr.judge.interruption import VOID_SHARE, settled
from dr.judge.windows import good, p95, slo_of

HOLD = 300.0
"""Seconds that the expression of an alert holds before it fires, where its rule's own are not recorded: platform.md."""
NAMES = {"latency": "p95", "errors": "errors"}

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class _Figures:
    """The worst over the window, by the prober and by Prometheus."""

    objective: str
    limit: float
    prober: float
    answered: float
    """The prober's without the requests that it gave up at its time-out."""
    prometheus: float

    @property
    def contradictory(self) -> bool:
        return (self.prober > self.limit) != (self.prometheus > self.limit)

    @property
    def told(self) -> str:
        return (
            f"{NAMES[self.objective]} {_said(self.objective, self.prober)} by the prober and"
            f" {_said(self.objective, self.prometheus)} by Prometheus"
        )


def _said(objective: str, value: float) -> str:
    return f"{value:.3f} s" if objective == "latency" else f"{value:.2%}"


def judge_corroborated(evidence: Evidence, demand: Demand) -> Finding:
    """Both figures of each SLO of the path, and whether they lie on one side of its limit."""
    seen, measured = evidence.observed("prometheus", demand.path), evidence.samples.get(demand.path)
    slo = slo_of(evidence, demand.path)
    limits = {name: at for name, at in (("latency", slo.latency), ("errors", slo.errors)) if at is not None}
    if seen is None or seen.get("error"):
        return unknown(demand, f"Prometheus gave no data: {(seen or {}).get('error') or 'it was not asked'}.")
    if measured is None or not measured.samples or not limits:
        return unknown(demand, f"Path {demand.path} was not measured, or has no SLO to compare.")
    # What was probed after the path had settled, Prometheus was not asked for.
    last = settled(evidence, demand.path)
    end = measured.wall(max(s.done for s in measured.samples if last is None or s.n <= last))
    window = (evidence.disaster(), end)
    compared = []
    for objective, limit in limits.items():
        figures = _compare(seen, measured, objective, limit, window)
        if isinstance(figures, str):
            return unknown(demand, figures)
        compared.append(figures)
    late = [f for f in compared if f.contradictory and _answered_late(f, compared)]
    note = " The service answered later what the prober had given up." if late else ""
    because = f"{', '.join(f.told for f in compared)}.{note}{_scraped(seen)}{_alerts(seen)}"
    against = [NAMES[f.objective] for f in compared if f.contradictory and f not in late]
    if against:
        return unknown(demand, f"Prometheus and the prober contradict each other ({', '.join(against)}): {because}")
    untold = _untold(seen)
    if untold:
        return unknown(demand, f"Whether alerts would have fired is not known ({untold}): {because}")
    return finding(demand, Status.MET, f"Prometheus agrees: {because}")


def _answered_late(figures: _Figures, compared: Sequence[_Figures]) -> bool:
    """Whether what the prober gave up accounts for its errors, and Prometheus saw the service answer late."""
    slow = any(f.objective == "latency" and f.prometheus > f.limit for f in compared)
    return slow and max(figures.answered, figures.prometheus) <= figures.limit


def _compare(
    seen: Mapping[str, Any], measured: Samples, objective: str, limit: float, window: tuple[float, float]
) -> _Figures | str:
    """The worst of the points of which both have a figure, or why they cannot be compared."""
    client, (begin, end) = _Client(measured, objective), window
    inside = [(at, value) for at, value in points(seen, objective) if begin <= at <= end]
    found = [(value, client.at(at, float(seen["range"]))) for at, value in inside]
    both = [(value, *own) for value, own in found if own is not None]
    expected = int((end - begin) / float(seen["step"]))
    if not both or len(inside) < (1 - VOID_SHARE) * expected:
        return (
            f"Prometheus has data of the {NAMES[objective]} at {len(both)} of {expected} points from the disaster on."
        )
    prometheus, prober, answered = (max(row[column] for row in both) for column in range(3))
    return _Figures(objective, limit, prober, answered, prometheus)


def points(seen: Mapping[str, Any], objective: str) -> Points:
    """What was recorded while the service was scraped: a target that is gone keeps its last value for minutes."""
    up = [(float(begin), float(end)) for begin, end in seen.get("up") or ()]
    found = [(float(at), float(value)) for at, value in seen.get(objective) or ()]
    return [(at, v) for at, v in found if math.isfinite(v) and any(begin <= at <= end for begin, end in up)]


class _Client:
    """The prober's own figures of one objective."""

    def __init__(self, measured: Samples, objective: str) -> None:
        self._objective = objective
        # the service counts a request when it is done with it
        self._samples = sorted((s for s in measured.samples if s.done), key=lambda s: s.done)
        self._done = [measured.wall(s.done) for s in self._samples]

    def at(self, at: float, seconds: float) -> tuple[float, float] | None:
        """Over the ``seconds`` to ``at``, with and without what was given up; None where no request was done then."""
        of = self._samples[bisect_left(self._done, at - seconds) : bisect_left(self._done, at)]
        if self._objective == "errors":
            bad = [s.error for s in of if not good(s)]
            return (len(bad) / len(of), (len(bad) - bad.count(TIMEOUT)) / len(of)) if of else None
        answered = [_took(s) for s in of if s.status]
        return (p95(answered),) * 2 if answered else None


def _took(sample: Sample) -> float:
    return max(0.0, (sample.done - sample.due) / 1e9)


def _scraped(seen: Mapping[str, Any]) -> str:
    gaps = len(seen.get("up") or ()) - 1
    return f" It could not scrape the service {gaps} times." if gaps > 0 else ""


def _untold(seen: Mapping[str, Any]) -> str:
    """Which of the alerts that were asked for cannot be told of, and why, or ""."""
    if "rules" not in seen:
        return "" if seen.get("alerts") else "nothing is recorded of its rules"
    problems = {name: str(rule["problem"]).rstrip(".") for name, rule in seen["rules"].items() if rule["problem"]}
    return "; ".join(f"{name}: {problem}" for name, problem in problems.items())


def _alerts(seen: Mapping[str, Any]) -> str:
    """When the rules would have fired, by the times at which their own expressions were true."""
    rules, alerts = seen.get("rules"), seen.get("alerts") or {}
    if not alerts:
        return " Whether alerts would have fired was not asked." if rules == {} else ""
    told, names = [], " and ".join(alerts)
    for name, true_at in alerts.items():
        start, end, step = (float(seen[key]) for key in ("start", "end", "step"))
        held = float(rules[name]["held"]) if rules else HOLD
        found = stretches([float(at) for at in true_at], start, end, step, held)
        told += [f"{name} would have fired at {_clock(s.firing)}" for s in found if s.firing is not None]
        lasting = [s.since for s in found if s.firing is None and s.until is None]
        told += [f"{name} was true from {_clock(at)} on and would have fired at {_clock(at + held)}" for at in lasting]
    return f" {'; '.join(told) or f'Of {names} none would have fired'}."


def _clock(at: float) -> str:
    seconds = int(at) % 86_400
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d} UTC"


OBJECTIVES = (Objective("corroborated", About.SERVICE, judge_corroborated),)
