"""How a failover went: its phases, whether the provider gave it up, and whether the service came back unaided. Pure.

The observation ``failover`` has the provider's events and when the new primary was promoted; ``service-process`` when
the service's process had started, before the disaster and after it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from dr.domain.model import Effect, Finding, Phase, Status
from dr.evidence.model import Evidence
from dr.judge.interruption import Outage, outage_of
from dr.judge.windows import Slo, recovered, slo_of, windows


def _observed(evidence: Evidence) -> Mapping[str, Any]:
    seen = evidence.latest("failover")
    return dict(seen.value) if seen is not None and seen.value else {}


def _events(evidence: Evidence) -> tuple[Mapping[str, Any], ...]:
    return tuple(sorted(_observed(evidence).get("events") or (), key=lambda event: float(event["at"])))


def abandoned(evidence: Evidence) -> Iterable[Finding]:
    """A failover that the provider gave up did not time out: it is known not to have come."""
    for event in _events(evidence):
        said = str(event.get("message", ""))
        if event.get("abandons"):
            named = f" ({event['event']})" if event.get("event") else ""
            because = f"The provider abandoned the failover{named}: {said or 'without a reason'}."
            yield Finding("failover", "", Status.MISSED, because.replace("..", "."))
            return


def phases(evidence: Evidence) -> tuple[Phase, ...]:
    """Detection, promotion, reconnection of the last path to come back, and until the paths are in their SLO again.
    Where nothing was to fail over, a remedy or a restart in place is in the promotion's stead.

    A phase of which an end is not known is left out, and so are those after it.
    """
    disaster, promoted = evidence.disaster(), _observed(evidence).get("promoted_at")
    if promoted is None:
        return _timed(_in_place(evidence, disaster))
    begun = [float(event["at"]) for event in _events(evidence) if float(event["at"]) >= disaster]
    if _observed(evidence).get("promotion_started_at") is not None:
        begun.append(float(_observed(evidence)["promotion_started_at"]))
    moments = [("", disaster), ("detection", min([*begun, float(promoted)])), ("promotion", float(promoted))]
    moments += _after(evidence, float(promoted))
    return _timed(moments)


def _timed(moments: Iterable[tuple[str, float]]) -> tuple[Phase, ...]:
    """Each phase from the end of the one before it."""
    return tuple(Phase(name, begin, max(0.0, end - begin)) for (_, begin), (name, end) in pairwise(moments))


def _in_place(evidence: Evidence, disaster: float) -> Iterator[tuple[str, float]]:
    """Until the provider showed what was wrong, and the remedy was done; or until the engine was back by itself."""
    calls = evidence.record.plan.calls
    if _observed(evidence) or any(call.effect is Effect.TAKES_OVER or "failed-over" in call.promises for call in calls):
        return
    yield "", disaster
    since, name = disaster, "restart"
    for entry in evidence.entries:
        if "remedied" in entry.milestones:
            since, name = entry.milestones["remedied"], "reconnection"
            yield from (("detection", entry.milestones["detected"]), ("remedy", since))
    yield from ((name if phase == "reconnection" else phase, end) for phase, end in _after(evidence, since))


def _after(evidence: Evidence, promoted: float) -> Iterator[tuple[str, float]]:
    paths = [demand.path for demand in evidence.record.plan.demands if demand.objective == "outage"]
    ends = [end for path in paths if (end := _back(outage_of(evidence, path), promoted)) is not None]
    if not paths or len(ends) < len(paths) or math.isinf(max(ends)):
        return
    back = max(promoted, *ends)
    yield "reconnection", back
    in_slo = [_in_slo(evidence, path, back) for path in paths if slo_of(evidence, path) != Slo(None, None)]
    known = [at for at in in_slo if at is not None]
    if known and len(known) == len(in_slo):
        yield "back-in-slo", max(back, *known)


def _back(found: Outage | str, promoted: float) -> float | None:
    """When the path was good again; a path that never was out was good by the promotion."""
    if isinstance(found, str):
        return None
    if found.whole is None:
        return promoted
    return math.inf if math.isinf(found.whole.ended.high) else found.whole.ended.best


def _in_slo(evidence: Evidence, path: str, back: float) -> float | None:
    """The start of the first of three windows within the SLO that ends after ``back``."""
    measured, slo = evidence.samples.get(path), slo_of(evidence, path)
    if measured is None:
        return None
    found = [w for w in windows(measured, evidence.record.window, slo) if w.start + w.seconds > back]
    first = recovered(found, slo)
    return None if first is None else found[first].start
