"""Whether a workload of a cluster stood whole again in time after a part was lost, and when that was noticed. Pure.

What was seen when stands in the observation ``redundancy``: each moment as that of the last look which did not show
it, and of the first which did.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dr.config.objective import About, Limit, Objective
from dr.domain.model import Demand, Finding, Phase, Status
from dr.evidence.model import Evidence
from dr.judge.findings import UnknownError, counted, finding, limit_of, within
from dr.judge.phases import between
from dr.judge.windows import good, latency, limits_on

WORDS = {
    "noticed": "noticed",
    "endpoint-dropped": "nobody led there any more",
    "evicted": "evicted",
    "rescheduled": "rescheduled",
    "started": "started",
    "artifact-loaded": "artifact loaded",
    "warm": "warm",
}
"""The steps, in their usual order."""


def course(evidence: Evidence, path: str) -> Mapping[str, Any]:
    """What was seen of the workload behind ``path``. Raises UnknownError where nobody watched it after the disaster."""
    seen = evidence.observed("redundancy", path)
    if not isinstance(seen, Mapping):
        raise UnknownError("Nobody watched the workload after the loss.")
    if float(seen["until"]) < evidence.disaster():
        raise UnknownError("The workload was last looked at before the loss.")
    return seen


def steps(seen: Mapping[str, Any]) -> list[tuple[str, float]]:
    """When each step was first seen, in their order of time; steps at one moment in their usual order."""
    found = [(name, float(seen["steps"][name][1])) for name in WORDS if name in seen["steps"]]
    return sorted(found, key=lambda step: step[1])


def judge_redundancy(evidence: Evidence, demand: Demand) -> Finding:
    """Seconds from the loss until as many pods stood as before, each with its GPUs on a node that is ready, and the
    Services led to all of them."""
    seen, limit, disaster = course(evidence, demand.path), limit_of(demand), evidence.disaster()
    if seen["restored"] is None:
        return _not_restored(demand, seen, float(seen["until"]) - disaster, limit)
    low, high = (max(0.0, float(at) - disaster) for at in seen["restored"])
    low = max(0.0, low - evidence.asleep(disaster, disaster + high))
    because = f"{_whole(seen)} {high:.1f} s after the loss{_steps(seen, disaster)}."
    because += _spare(seen) + harm(evidence, demand.path, disaster, disaster + high)
    if evidence.drowsy(disaster, disaster + high) and low <= limit < high:
        raise UnknownError(f"dr itself was stopped meanwhile. {because}")
    return finding(demand, within(low, high, limit), because, high, (low, high))


def _not_restored(demand: Demand, seen: Mapping[str, Any], watched: float, limit: float) -> Finding:
    because = f"{_partly(seen)} {watched:.1f} s after the loss. {_lack(seen)}".rstrip()
    if watched <= limit:
        raise UnknownError(f"It was not watched for its {limit:g} s. {because}")
    return finding(demand, Status.MISSED, because, interval=(watched, math.inf))


def _whole(seen: Mapping[str, Any]) -> str:
    return f"All {seen['wanted']['before']} pods of {seen['of']} stood again"


def _partly(seen: Mapping[str, Any]) -> str:
    return f"{seen['standing']} of {seen['wanted']['before']} pods of {seen['of']} stood"


def _lack(seen: Mapping[str, Any]) -> str:
    """What is missing, a sentence."""
    asked, wanted, waiting = seen["wanted"]["now"], seen["wanted"]["before"], seen["unscheduled"]
    if asked is None:
        return "The workload itself is gone."
    if asked < wanted:
        return f"It was asked for {asked} pods by then, and not for {wanted}."
    if waiting["pods"]:
        gpus = f", which lack {counted(waiting['gpus'], 'GPU')}" if waiting["gpus"] else ""
        said = str(waiting["because"]).rstrip(".") or "nothing"
        return f"{counted(waiting['pods'], 'pod')} found no node{gpus}: the scheduler says: {said}."
    if seen["led"] is not None and seen["led"] < seen["standing"]:
        return f"Its Services led to {seen['led']} of them."
    came = [WORDS[name] for name, _ in steps(seen)]
    return f"Seen until then: {', '.join(came)}." if came else "Nothing showed that the cluster had noticed the loss."


def _steps(seen: Mapping[str, Any], disaster: float) -> str:
    told = [f"{WORDS[name]} {at - disaster:.1f} s" for name, at in steps(seen)]
    return f" ({', '.join(told)})" if told else ""


def _spare(seen: Mapping[str, Any]) -> str:
    """How much room the cluster has left for the next loss."""
    before, now = seen["gpus"]["before"], seen["gpus"]["now"]
    return f" The cluster has {now} usable GPUs, and had {before}." if before != now else ""


def harm(evidence: Evidence, path: str, begin: float, end: float) -> str:
    """How many predictions failed or were slow between two moments, wall time; "" where none were asked."""
    measured = evidence.samples.get(path)
    asked = [s for s in measured.samples if begin <= measured.wall(s.due) < end] if measured is not None else []
    if measured is None or not asked:
        return ""
    slow = limits_on(evidence, path).get("latency") or math.inf
    failed = sum(not good(s) for s in asked)
    late = sum(good(s) and latency(s, measured.timeout) > slow for s in asked)
    told = f" Meanwhile {failed} of {len(asked)} predictions failed"
    return f"{told}, and {late} took longer than {slow:g} s." if math.isfinite(slow) else f"{told}."


def judge_noticed(evidence: Evidence, demand: Demand) -> Finding:
    """Seconds from the loss until the cluster itself showed it: a node that is not ready, or that counts less GPUs."""
    seen, limit, disaster = course(evidence, demand.path), limit_of(demand), evidence.disaster()
    came = seen["steps"].get("noticed")
    if came is None:
        watched = float(seen["until"]) - disaster
        because = f"The cluster did not show the loss within {watched:.1f} s."
        if watched <= limit:
            raise UnknownError(f"{because} It was not watched for its {limit:g} s.")
        return finding(demand, Status.MISSED, because, interval=(watched, math.inf))
    low, high = (max(0.0, float(at) - disaster) for at in came)
    remedied, detected = evidence.milestone("remedied"), evidence.milestone("detected")
    if detected is not None:  # whoever had to act on it looked before the workload was watched
        high = min(high, detected - disaster)
    moved = f" A person's remedy moved its pods {remedied - disaster:.1f} s after it." if remedied is not None else ""
    gone = seen["steps"].get("evicted")
    if remedied is None and gone is not None:
        moved = " The cluster moved its pods by itself."
    because = f"The cluster showed the loss of {seen['node']} {high:.1f} s after it.{moved}"
    return finding(demand, within(low, high, limit), because, high, (low, high))


def phases(evidence: Evidence) -> tuple[Phase, ...]:
    """Each step from the loss until the workload stood whole again, by when it was first seen."""
    seen = evidence.latest("redundancy")
    if seen is None:
        return ()
    found = course(evidence, seen.path)
    moments = [("", evidence.disaster()), *steps(found)]
    if found["restored"] is not None:
        moments.append(("redundant", float(found["restored"][1])))
    return between(moments)


LIMIT = Limit("redundancy", 600.0)
"""Seconds: the node controller's grace (50), the pods' toleration (300), and four minutes to pull, load and warm up."""
NOTICED = Limit("noticed", 60.0)
"""Seconds: the node controller's grace (50 by default), or what a device plugin takes to report a GPU."""
OBJECTIVES = (
    Objective("redundancy", About.TIME, judge_redundancy, "s", (LIMIT,), phases=phases),
    Objective("noticed", About.TIME, judge_noticed, "s", (NOTICED,), phases=phases),
)
