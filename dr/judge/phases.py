"""What the time went into: of a restore by the ledger alone, of a failover also by what was measured, of anything else
as the objectives that are demanded tell it. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import Any

from dr.config.objective import Objective
from dr.domain.model import Effect, Phase
from dr.evidence.model import Entry, Evidence
from dr.judge.findings import UnknownError
from dr.judge.interruption import outage_of
from dr.judge.windows import Slo, recovered, slo_of, windows


def phases(evidence: Evidence, objectives: Mapping[str, Objective]) -> tuple[Phase, ...]:
    """Those whose length the run's clocks tell. ``objectives``: all that there are."""
    demanded = [objectives[one.objective] for one in evidence.record.plan.demands if one.objective in objectives]
    own = dict.fromkeys(one.phases for one in demanded if one.phases is not None)
    derived: list[Callable[[Evidence], Iterable[Phase]]] = [of_restore, partial(of_failover, alone=not own), *own]
    found: list[Phase] = []
    for derive in derived:
        with suppress(UnknownError):
            found += derive(evidence)
    return tuple(found)


def between(moments: Iterable[tuple[str, float]]) -> tuple[Phase, ...]:
    """Phases by the moments at which they end, the earliest first; what the first is called, none is."""
    return tuple(Phase(name, begin, max(0.0, end - begin)) for (_, begin), (name, end) in pairwise(moments))


# -- a restore


def of_restore(evidence: Evidence) -> tuple[Phase, ...]:
    """Detect (before the run), decide (to the first restore), then each call's own phase; replay apart from restore.
    Neighbours of one name are one phase, from the first intent to the last effect."""
    named = {call.id: call.phase for call in evidence.record.plan.calls}
    began = next(
        (e.stamp.at for e in evidence.entries if e.kind == "intent" and named.get(e.call) == "restore"), math.inf
    )
    disaster, started, found = evidence.disaster(), evidence.record.started.at, list[Phase]()
    if disaster < started:
        found.append(Phase("detect", disaster, started - disaster))
    if max(disaster, started) <= began < math.inf:
        found.append(Phase("decide", max(disaster, started), began - max(disaster, started)))
    intents: dict[str, float] = {}
    for entry in evidence.entries:
        if entry.kind == "intent" and entry.stamp.at >= began:
            intents.setdefault(entry.call, entry.stamp.at)
        elif entry.kind == "effect" and entry.call in intents and named.get(entry.call):
            for phase in _of_call(named[entry.call], intents[entry.call], entry):
                if found and found[-1].name == phase.name:
                    first = found.pop().started
                    phase = Phase(phase.name, first, phase.started + phase.seconds - first)
                found.append(phase)
    return tuple(found)


def _of_call(name: str, started: float, effect: Entry) -> Iterator[Phase]:
    seconds = max(0.0, effect.stamp.at - started)
    replay = min(seconds, float(effect.data.get("replay_seconds", 0.0)))
    yield Phase(name, started, seconds - replay)
    if replay > 0:
        yield Phase("replay", started + seconds - replay, replay)


# -- a failover


def _observed(evidence: Evidence) -> Mapping[str, Any]:
    seen = evidence.latest("failover")
    return dict(seen.value) if seen is not None and seen.value else {}


def events(evidence: Evidence) -> list[Mapping[str, Any]]:
    """What the provider told of the failover, the earliest first."""
    return sorted(_observed(evidence).get("events") or (), key=lambda event: float(event["at"]))


def of_failover(evidence: Evidence, *, alone: bool = True) -> tuple[Phase, ...]:
    """Detection, promotion, reconnection of the last path to come back, and until the paths are in their SLO again.
    Where nothing was to fail over, a remedy or a restart in place is in the promotion's stead, if nobody else tells the
    run's phases: it is ``alone``.

    A phase of which an end is not known is left out, and so are those after it.
    """
    disaster, seen = evidence.disaster(), _observed(evidence)
    promoted = evidence.promoted()
    if promoted is None:
        moments = [*_in_place(evidence, disaster)] if alone else []
    else:
        evidence.clocks().check(others=True)  # a provider tells by its own
        begun = [float(event["at"]) for event in events(evidence) if float(event["at"]) >= disaster]
        if seen.get("promotion_started_at") is not None:
            begun.append(float(seen["promotion_started_at"]))
        moments = [("", disaster), ("detection", min([*begun, promoted])), ("promotion", promoted)]
        moments += _after(evidence, promoted)
    return between(moments)


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


def _after(evidence: Evidence, promoted: float) -> Iterable[tuple[str, float]]:
    paths = [demand.path for demand in evidence.record.plan.demands if demand.objective == "outage"]
    try:
        back = max([promoted, *(_back(evidence, path) for path in paths)])
    except UnknownError:
        return
    if not paths or math.isinf(back):
        return
    yield "reconnection", back
    in_slo = [_in_slo(evidence, path, back) for path in paths if slo_of(evidence, path) != Slo(None, None)]
    if in_slo and not any(map(math.isinf, in_slo)):
        yield "back-in-slo", max(back, *in_slo)


def _back(evidence: Evidence, path: str) -> float:
    """When the path was good again; of one that never was out, before all else."""
    whole = outage_of(evidence, path).whole
    if whole is None:
        return -math.inf
    return math.inf if math.isinf(whole.ended.high) else whole.ended.best


def _in_slo(evidence: Evidence, path: str, back: float) -> float:
    """The start of the first of three windows within the SLO that ends after ``back``; infinite without one."""
    measured, slo = evidence.samples.get(path), slo_of(evidence, path)
    found = windows(measured, evidence.record.window, slo) if measured is not None else ()
    later = [window for window in found if window.start + window.seconds > back]
    first = recovered(later, slo)
    return math.inf if first is None else later[first].start
