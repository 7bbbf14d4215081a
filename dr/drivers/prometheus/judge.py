"""Whether Prometheus saw what the prober saw: the same SLOs by its range query over the same window. Pure.

docs/design.md has the observation ``prometheus``. The prober's figure at a point is that of its requests over the same
range.

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
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from dr.config.objective import About, Objective
from dr.domain.model import Demand, Finding, Status
from dr.evidence.model import Evidence, Sample, Samples
from dr.evidence.samples import TIMEOUT
from dr.judge.findings import UnknownError, finding
from dr.judge.interruption import VOID_SHARE, settled
from dr.judge.windows import good, limits_on, p95

HOLD = 300.0
"""Seconds that the expression of an alert holds before it fires, where its rule's own are not recorded: platform.md."""
NAMES = {"latency": "p95", "errors": "errors"}
EVALUATIONS = 11_000
"""The most that Prometheus answers a range query with."""
TINY = 1e-3
"""Of a step: what wall-clock seconds may be off as binary fractions."""


class _Figures(NamedTuple):
    """The worst over the window, by the prober and by Prometheus. ``answered``: the prober's without the requests that
    it gave up at its time-out."""

    objective: str
    limit: float
    prober: float
    answered: float
    prometheus: float

    @property
    def contradictory(self) -> bool:
        return (self.prober > self.limit) != (self.prometheus > self.limit)

    @property
    def told(self) -> str:
        form = "{:.3f} s" if self.objective == "latency" else "{:.2%}"
        own, other = form.format(self.prober), form.format(self.prometheus)
        return f"{NAMES[self.objective]} {own} by the prober and {other} by Prometheus"


def judge_corroborated(evidence: Evidence, demand: Demand) -> Finding:
    """Both figures of each SLO of the path, and whether they lie on one side of its limit."""
    seen, measured = evidence.observed("prometheus", demand.path), evidence.samples.get(demand.path)
    demanded = limits_on(evidence, demand.path)
    limits = {name: at for name in NAMES if (at := demanded.get(name)) is not None}
    if not isinstance(seen, Mapping):
        raise UnknownError("Prometheus gave no data: it was not asked.")
    if seen.get("error"):
        raise UnknownError(f"Prometheus gave no data: {seen['error']}.")
    if measured is None or not measured.samples or not limits:
        raise UnknownError(f"Path {demand.path} was not measured, or has no SLO to compare.")
    # What was probed after the path had settled, Prometheus was not asked for.
    last = settled(evidence, demand.path)
    end = measured.wall(max(s.done for s in measured.samples if last is None or s.n <= last))
    window = (evidence.disaster(), end)
    evidence.clocks().check(others=True)
    compared = [_compare(seen, measured, objective, limit, window) for objective, limit in limits.items()]
    # what the prober gave up may account for its errors, where Prometheus saw the service answer late
    slow = any(f.objective == "latency" and f.prometheus > f.limit for f in compared)
    late = [f for f in compared if slow and f.contradictory and max(f.answered, f.prometheus) <= f.limit]
    note = " The service answered later what the prober had given up." if late else ""
    gaps = len(seen.get("up") or ()) - 1
    note += f" It could not scrape the service {gaps} times." if gaps > 0 else ""
    because = f"{', '.join(f.told for f in compared)}.{note}{_alerts(seen)}"
    against = [NAMES[f.objective] for f in compared if f.contradictory and f not in late]
    if against:
        raise UnknownError(f"Prometheus and the prober contradict each other ({', '.join(against)}): {because}")
    if untold := _untold(seen):
        raise UnknownError(f"Whether alerts would have fired is not known ({untold}): {because}")
    return finding(demand, Status.MET, f"Prometheus agrees: {because}")


def _compare(
    seen: Mapping[str, Any], measured: Samples, objective: str, limit: float, window: tuple[float, float]
) -> _Figures:
    """The worst of the points of which both have a figure."""
    begin, end = window
    # the service counts a request when it is done with it
    done = sorted((s for s in measured.samples if s.done), key=lambda s: s.done)
    # while the service was scraped: a target that is gone keeps its last value for minutes
    up = [(max(begin, float(since)), min(end, float(until))) for since, until in seen.get("up") or ()]
    points = [(float(at), float(value)) for at, value in seen.get(objective) or ()]
    inside = [(at, v) for at, v in points if math.isfinite(v) and any(since <= at <= until for since, until in up)]

    def own(at: float) -> tuple[float, float] | None:
        first, last = (
            bisect_left(done, edge, key=lambda s: measured.wall(s.done)) for edge in (at - seen["range"], at)
        )
        return _figure(done[first:last], objective)

    both = [(value, *figure) for at, value in inside if (figure := own(at)) is not None]
    expected = int((end - begin) / float(seen["step"]))
    if not both or len(inside) < (1 - VOID_SHARE) * expected:
        told = f"{len(both)} of {expected} points from the disaster on"
        raise UnknownError(f"Prometheus has data of the {NAMES[objective]} at {told}.")
    prometheus, prober, answered = (max(row[column] for row in both) for column in range(3))
    return _Figures(objective, limit, prober, answered, prometheus)


def _figure(of: Sequence[Sample], objective: str) -> tuple[float, float] | None:
    """The prober's own, with and without what it gave up; None where nothing tells."""
    if objective == "errors":
        bad = [s.error for s in of if not good(s)]
        return (len(bad) / len(of), (len(bad) - bad.count(TIMEOUT)) / len(of)) if of else None
    answered = [max(0.0, (s.done - s.due) / 1e9) for s in of if s.status]
    return (p95(answered),) * 2 if answered else None


def _untold(seen: Mapping[str, Any]) -> str:
    """Which of the alerts that were asked for cannot be told of, and why, or ""."""
    if "rules" not in seen:
        return "" if seen.get("alerts") else "nothing is recorded of its rules"
    problems = {name: str(rule["problem"]).rstrip(".") for name, rule in seen["rules"].items() if rule["problem"]}
    return "; ".join(f"{name}: {problem}" for name, problem in problems.items())


class Alerting(NamedTuple):
    """One stretch of an alert, wall-clock seconds.

    ``firing``: when it began to fire; None: it did not within the stretch. ``until``: the first evaluation at which the
    expression was no longer true; None: it was true to the end, so that what did not fire might have fired later.
    """

    since: float
    firing: float | None
    until: float | None


def stretches(true_at: Iterable[float], start: float, end: float, step: float, held: float) -> tuple[Alerting, ...]:
    """An alert's stretches within the evaluations ``start``, ``start + step``, ... up to ``end``.

    ``true_at``: the times of the points that the range query of the rule's expression returned on that grid: a
    comparison returns a point where it holds and none elsewhere. ``held``: the rule's ``for``, seconds. As Prometheus
    does: pending from the first true evaluation, firing from the first that is ``held`` later, over at one untrue. A
    ``for`` outlasts most drills, so that what Prometheus itself had fired by the drill's end says little.
    """
    true = {round((at - start) / step) for at in true_at}
    evaluations = range(math.floor((end - start) / step + TINY) + 1)
    if len(evaluations) > EVALUATIONS:
        raise UnknownError(f"Prometheus was asked for {len(evaluations)} evaluations of a rule: that is none of a run.")
    found = []
    for holds, group in groupby(evaluations, true.__contains__):
        if holds:
            stretch = [*group]
            fires, over = stretch[0] + math.ceil(held / step - TINY), stretch[-1] + 1
            firing = start + fires * step if fires < over else None
            until = start + over * step if over in evaluations else None
            found.append(Alerting(start + stretch[0] * step, firing, until))
    return tuple(found)


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
