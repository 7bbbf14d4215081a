"""How long it took until a verified copy answered within its limits: time-to-copy. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from dr.config.objective import About, Limit, Objective
from dr.domain.model import Demand, Effect, Finding, Status
from dr.evidence.model import Evidence
from dr.evidence.restored import verified
from dr.judge.findings import UnknownError, finding, limit_of, within
from dr.judge.objectives.service import seconds_stopped, stood_still
from dr.judge.windows import (
    IN_A_ROW,
    Slo,
    Window,
    may_have_recovered,
    recovered,
    slo_of,
    surely_outside,
    why_void,
    windows,
)

ROLE = "database"
"""Of what a service is put on."""


def time_to_copy(evidence: Evidence, demand: Demand) -> Finding:
    """From the disaster to a verified copy within the SLO, on the copy's path."""
    disaster, examined, limit = evidence.disaster(), evidence.milestone("examined", ROLE), limit_of(demand)
    measured, slo = evidence.samples.get(demand.path), slo_of(evidence, demand.path)
    if measured is None or not measured.samples:
        raise UnknownError(f"Path {demand.path} was not measured.")
    if slo == Slo(None, None):
        raise UnknownError(f"Neither latency nor errors are demanded of {demand.path}, so there is no SLO to meet.")
    found = windows(measured, evidence.record.window, slo)
    first = recovered(found, slo)
    if first is None:
        stood_still(evidence, demand.path)
        return _not_recovered(demand, found, slo, measured.timeout)
    if examined is None or verified(evidence.entries, ROLE) is False:
        raise UnknownError("The copy answers within the SLO, but was not examined: it is not a verified copy.")
    good_at, start = max(found[first].start, examined), found[first].start
    # up to when the service is known not to have been good: the last such window before that, else its start
    bad = [window.start for window in found[:first] if window.outside(slo)]
    last_bad = bad[-1] if bad else min(start, evidence.milestone("started") or start)
    bad_until = min(good_at, max(last_bad, examined))
    # the copy was ready no later for it, and would have been found sooner
    stopped, still = evidence.asleep(disaster, good_at), seconds_stopped(evidence, demand.path)
    low, high = max(0.0, bad_until - disaster - stopped - still), good_at - disaster
    read = {
        "available": evidence.milestone("available", ROLE),
        "first correct query": evidence.milestone("correct", ROLE),
        "SLO met": start,
    }
    clocks = ", ".join(f"{name} after {at - disaster:.1f} s" for name, at in read.items() if at is not None)
    because = f"{_from(evidence)} to a verified copy within the SLO {high:.1f} s. {clocks}."
    if evidence.drowsy(disaster, good_at) and low <= limit:
        raise UnknownError(f"dr itself was stopped for {stopped:.1f} s of the time that it took. {because}")
    return finding(demand, within(low, high, limit), because, high, (low, high))


def _not_recovered(demand: Demand, found: Sequence[Window], slo: Slo, timeout: float) -> Finding:
    judged = [window for window in found if not window.void]
    if len(judged) < IN_A_ROW or may_have_recovered(found, slo):
        void = f"Of {len(found)} windows {len(found) - len(judged)} are void{why_void(found)}"
        raise UnknownError(f"{void}, and the others hold no {IN_A_ROW} good ones in a row: too few to tell.")
    told = f"{sum(window.outside(slo) for window in judged)} of {len(judged)} windows broke it"
    if not surely_outside([s for window in judged for s in window.samples], timeout, slo):
        raise UnknownError(f"Never within the SLO for {IN_A_ROW} windows in a row: {told}, by too little to prove it.")
    return finding(demand, Status.MISSED, f"Never within the SLO: {told}.")


def _from(evidence: Evidence) -> str:
    by = evidence.disaster_by()
    if by is not None:
        return "From the promotion's beginning" if by is Effect.TAKES_OVER else "From the disaster"
    return "From --since" if evidence.record.plan.request.since is not None else "From the command's start"


LIMIT = Limit("time-to-copy", 3600.0)
"""Seconds; the platform names none."""
OBJECTIVES = (
    Objective("time-to-copy", About.TIME, time_to_copy, "s", (LIMIT,), on_call="serve", role=ROLE, verified=True),
)
