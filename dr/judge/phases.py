"""What the recovery's time went into, from the ledger alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from dr.domain.model import Call, Phase
from dr.evidence.model import Entry, Evidence

RESTORE = "restore"


def phases(evidence: Evidence) -> tuple[Phase, ...]:
    """Detect (before the run), decide (to the first restore), then each call's own phase; replay apart from restore."""
    calls = {call.id: call for call in evidence.record.plan.calls}
    began = next((e.stamp.at for e in evidence.entries if e.kind == "intent" and _phase(calls, e) == RESTORE), None)
    return (*_before(evidence, began), *(() if began is None else _since(evidence, calls, began)))


def _phase(calls: dict[str, Call], entry: Entry) -> str:
    return calls[entry.call].phase if entry.call in calls else ""


def _before(evidence: Evidence, began: float | None) -> Iterator[Phase]:
    disaster, started = evidence.disaster(), evidence.record.started.at
    if disaster < started:
        yield Phase("detect", disaster, started - disaster)
    decided = max(disaster, started)
    if began is not None and began >= decided:
        yield Phase("decide", decided, began - decided)


def _since(evidence: Evidence, calls: dict[str, Call], began: float) -> tuple[Phase, ...]:
    """From the first restore on; neighbours of one name are one phase, from the first intent to the last effect."""
    found: list[Phase] = []
    intents: dict[str, float] = {}
    for entry in evidence.entries:
        if entry.kind == "intent" and entry.stamp.at >= began:
            intents.setdefault(entry.call, entry.stamp.at)
        elif entry.kind == "effect" and entry.call in intents and _phase(calls, entry):
            for phase in _of_call(_phase(calls, entry), intents[entry.call], entry):
                _append(found, phase)
    return tuple(found)


def _of_call(name: str, started: float, effect: Entry) -> Iterator[Phase]:
    seconds = max(0.0, effect.stamp.at - started)
    replay = min(seconds, float(effect.data.get("replay_seconds", 0.0)))
    yield Phase(name, started, seconds - replay)
    if replay > 0:
        yield Phase("replay", started + seconds - replay, replay)


def _append(found: list[Phase], phase: Phase) -> None:
    if found and found[-1].name == phase.name:
        last = found.pop()
        phase = Phase(phase.name, last.started, phase.started + phase.seconds - last.started)
    found.append(phase)
