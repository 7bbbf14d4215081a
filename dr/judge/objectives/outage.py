"""Whether a path was out for no longer than its limit: outage. Pure.

``dr.judge.interruption`` tells from the probes how long it was.
"""

from __future__ import annotations

import math

from dr.config.objective import About, Limit, Objective
from dr.domain.model import Demand, Finding, Status
from dr.domain.requests import promotes
from dr.evidence.model import Evidence
from dr.judge.findings import finding, unknown, within
from dr.judge.interruption import Interruption, Outage, outage_of

SHOWN = 5
"""Interruptions that a sentence lists."""


def judge_outage(evidence: Evidence, demand: Demand) -> Finding:
    """Seconds from the first bad probe to the last after the disaster, whatever was good in between."""
    found, disaster = outage_of(evidence, demand.path), evidence.disaster()
    if isinstance(found, str) or demand.limit is None:
        return unknown(demand, found if isinstance(found, str) else "No limit is known.")
    if found.whole is None:
        seconds, low, high = 0.0, 0.0, found.unseen
        because = f"Never out; an outage of less than {high * 1000:.0f} ms may have gone unseen."
    else:
        seconds, (low, high) = found.whole.seconds, found.whole.interval
        because = f"{_told(found, found.whole, disaster)}{_slips(found)}{_blind(found, disaster)}{_hung(found)}"
    if math.isinf(high):
        return _never_back(demand, demand.limit, low, because)
    high = max(high, found.unseen)
    status = within(low, high, demand.limit)
    if status is Status.MET and not found.measured.whole:
        status, because = Status.INCONCLUSIVE, f"Not all of what was measured is there, or it never settled. {because}"
    return finding(demand, status, because, seconds, (low, high))


def _never_back(demand: Demand, limit: float, low: float, because: str) -> Finding:
    """Missed where it was out beyond its limit: where the measuring ended before, it might have come back in time."""
    if low > limit:
        return finding(demand, Status.MISSED, f"It never came back. {because}")
    return unknown(demand, f"The measuring ended before it was back for good. {because}")


def _told(found: Outage, whole: Interruption, disaster: float) -> str:
    began = whole.began.best - disaster
    after = f"from {abs(began):.2f} s {'before' if began < 0 else 'after'} the disaster"
    if math.isinf(whole.ended.high):
        said = f"Out for at least {whole.interval[0]:.2f} s {after}"
    else:
        said = f"Out for {whole.seconds:.2f} s {after}"
    if len(found.pieces) == 1:
        return f"{said}."
    shown = [f"{p.seconds:.2f} s from {p.began.best - disaster:.2f} s" for p in found.pieces[:SHOWN]]
    more = f" and {len(found.pieces) - SHOWN} more" if len(found.pieces) > SHOWN else ""
    return f"{said}, in {len(found.pieces)} pieces: {', '.join(shown)}{more}."


def _slips(found: Outage) -> str:
    if not found.slips:
        return ""
    longest = max(piece.seconds for piece in found.slips)
    return f" {len(found.slips)} times besides, answers were late by {longest:.2f} s at most, and none failed."


def _blind(found: Outage, disaster: float) -> str:
    if not found.blind:
        return ""
    begin, end = max(found.blind, key=lambda stretch: stretch[1] - stretch[0])
    return f" Nobody looked for {end - begin:.2f} s from {begin - disaster:.2f} s on."


def _hung(found: Outage) -> str:
    if not found.hung:
        return ""
    return f" {found.hung} requests hung to their time-out of {found.measured.timeout:g} s or beyond."


PROMOTION = Limit("outage-promotion", 600.0, promotes)
"""Seconds: somebody has to decide."""
FAILOVER = Limit("outage-failover", 120.0)
"""Seconds: a managed database takes 60 to 120."""
OBJECTIVES = (Objective("outage", About.TIME, judge_outage, "s", (PROMOTION, FAILOVER)),)
