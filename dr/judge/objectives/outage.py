"""Whether a path was out for no longer than its limit, and whether its service came back by itself. Pure.

``dr.judge.interruption`` tells from the probes how long it was.
"""

from __future__ import annotations

import math

from dr.config.objective import About, Limit, Objective
from dr.domain.model import Demand, Finding, Request, Status
from dr.evidence.model import Evidence
from dr.judge.findings import UnknownError, finding, limit_of, within
from dr.judge.interruption import Interruption, Outage, outage_of
from dr.judge.windows import limits_on

SHOWN = 5
"""Interruptions that a sentence lists."""
SAME_START = 1.0
"""Seconds by which two readings of one process's start may differ."""


def judge_outage(evidence: Evidence, demand: Demand) -> Finding:
    """Seconds from the first bad probe to the last after the disaster, whatever was good in between.

    An outage whose end was not seen is missed where it was longer than its limit within what was measured: where that
    ended before, the path might have come back in time.
    """
    found, limit = outage_of(evidence, demand.path), limit_of(demand)
    if found.whole is None:
        seconds, low, high = 0.0, 0.0, found.unseen
        because = f"Never out; an outage of less than {high * 1000:.0f} ms may have gone unseen."
    else:
        seconds, (low, high) = found.whole.seconds, found.whole.interval
        because = _told(found, found.whole, evidence.disaster())
    if found.whole is not None:
        span = found.whole.began.low, found.whole.ended.best
        low = max(0.0, low - evidence.asleep(*span))
        if evidence.drowsy(*span) and low <= limit:
            raise UnknownError(f"dr itself was stopped for {evidence.asleep(*span):.1f} s of the outage. {because}")
    if math.isinf(high) and low > limit:
        return finding(demand, Status.MISSED, f"It never came back. {because}")
    if math.isinf(high):
        raise UnknownError(f"The measuring ended before it was back for good. {because}")
    high = max(high, found.unseen)
    status = within(low, high, limit)
    if status is Status.MET and not found.measured.whole:
        status, because = Status.INCONCLUSIVE, f"Not all of what was measured is there, or it never settled. {because}"
    return finding(demand, status, because, seconds, (low, high))


def _told(found: Outage, whole: Interruption, disaster: float) -> str:
    began = whole.began.best - disaster
    lasted = f"at least {whole.interval[0]:.2f} s" if math.isinf(whole.ended.high) else f"{whole.seconds:.2f} s"
    said = f"Out for {lasted} from {abs(began):.2f} s {'before' if began < 0 else 'after'} the disaster"
    if len(found.pieces) > 1:
        shown = [f"{p.seconds:.2f} s from {p.began.best - disaster:.2f} s" for p in found.pieces[:SHOWN]]
        more = f" and {len(found.pieces) - SHOWN} more" if len(found.pieces) > SHOWN else ""
        said += f", in {len(found.pieces)} pieces: {', '.join(shown)}{more}"
    said += "."
    if found.slips:
        longest = max(piece.seconds for piece in found.slips)
        said += f" {len(found.slips)} times besides, answers were late by {longest:.2f} s at most, and none failed."
    if found.blind:
        begin, end = max(found.blind, key=lambda stretch: stretch[1] - stretch[0])
        said += f" Nobody looked for {end - begin:.2f} s from {begin - disaster:.2f} s on."
    if found.hung:
        said += f" {found.hung} requests hung to their time-out of {found.measured.timeout:g} s or beyond."
    return said


def judge_unaided(evidence: Evidence, demand: Demand) -> Finding:
    """The service came back, and the process that answers is the one that answered before the disaster. It never came
    back where it was out to the end, and for longer than its path's outage may last."""
    found, disaster = outage_of(evidence, demand.path), evidence.disaster()
    seen = [o for o in evidence.observations if o.what == "service-process"]
    before, after = [o for o in seen if o.at < disaster], [o for o in seen if o.at >= disaster]
    back = -math.inf if found.whole is None else found.whole.ended.high
    if found.whole is not None and math.isinf(back):
        allowed = limits_on(evidence, demand.path).get("outage")
        if allowed is not None and found.whole.interval[0] > allowed and found.still_out and found.measured.whole:
            return finding(demand, Status.MISSED, "The service never came back by itself.")
        raise UnknownError("The measuring ended before the service was back for good.")
    if not before or not after:
        raise UnknownError("When the service's process had started was not read before the disaster and after it.")
    if after[-1].at < back:
        raise UnknownError("The service's process was last looked at before the path was back.")
    first, last = before[-1].value, after[-1].value
    if first.get("started") is None or last.get("started") is None:
        raise UnknownError("The service does not tell when its process started.")
    later = float(last["started"]) - float(first["started"])
    if first.get("pid") != last.get("pid") or abs(later) > SAME_START:
        because = f"The service was restarted: its process started {later:.1f} s after the one before."
        return finding(demand, Status.MISSED, because)
    return finding(demand, Status.MET, "The service came back by itself: its process is the one from before.")


PROMOTION = Limit("outage-promotion", 600.0, Request.promotes)
"""Seconds: somebody has to decide."""
FAILOVER = Limit("outage-failover", 120.0)
"""Seconds: a managed database takes 60 to 120."""
OBJECTIVES = (
    Objective("outage", About.TIME, judge_outage, "s", (PROMOTION, FAILOVER)),
    Objective("unaided", About.SERVICE, judge_unaided),
)
