"""Whether the service came back by itself: unaided. Pure.

The observation ``service-process`` tells when the service's process had started, before the disaster and after it.
"""

from __future__ import annotations

import math

from dr.config.objective import About, Objective
from dr.domain.model import Demand, Finding, Observation, Status
from dr.evidence.model import Evidence
from dr.judge.findings import finding, unknown
from dr.judge.interruption import outage_of
from dr.judge.windows import limits_on

SAME_START = 1.0
"""Seconds by which two readings of one process's start may differ."""


def judge_unaided(evidence: Evidence, demand: Demand) -> Finding:
    """The service came back, and the process that answers is the one that answered before the disaster.

    It never came back where it was out to the end, and for longer than its path's outage may last.
    """
    found, disaster = outage_of(evidence, demand.path), evidence.disaster()
    if isinstance(found, str):
        return unknown(demand, found)
    seen = [o for o in evidence.observations if o.what == "service-process"]
    before, after = [o for o in seen if o.at < disaster], [o for o in seen if o.at >= disaster]
    if found.whole is not None and math.isinf(found.whole.ended.high):
        allowed = limits_on(evidence, demand.path).get("outage")
        if allowed is not None and found.whole.interval[0] > allowed and found.still_out and found.measured.whole:
            return finding(demand, Status.MISSED, "The service never came back by itself.")
        return unknown(demand, "The measuring ended before the service was back for good.")
    if not before or not after:
        return unknown(demand, "When the service's process had started was not read before the disaster and after it.")
    if found.whole is not None and after[-1].at < found.whole.ended.high:
        return unknown(demand, "The service's process was last looked at before the path was back.")
    return _same(demand, before[-1], after[-1])


def _same(demand: Demand, before: Observation, after: Observation) -> Finding:
    first, last = before.value.get("started"), after.value.get("started")
    if first is None or last is None:
        return unknown(demand, "The service does not tell when its process started.")
    other = before.value.get("pid") != after.value.get("pid")
    if other or abs(float(last) - float(first)) > SAME_START:
        because = (
            f"The service was restarted: its process started {float(last) - float(first):.1f} s after the one before."
        )
        return finding(demand, Status.MISSED, because)
    return finding(demand, Status.MET, "The service came back by itself: its process is the one from before.")


OBJECTIVES = (Objective("unaided", About.SERVICE, judge_unaided),)
