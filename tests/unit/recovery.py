"""Evidence of made-up recoveries, for the judges' tests: one clock, round numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dr.domain.model import Call, Demand, Effect, Observation, Plan, Purpose, Request, RunIdentity, Stamp
from dr.evidence.model import Entry, Evidence, Marker, Markers, RunRecord, Sample, Samples

WALL, MONO, BOOT = 1_000_000.0, 5_000_000_000, "boot"
RATE, TIMEOUT, SECOND = 50.0, 2.0, 1_000_000_000
DEMANDS = (
    Demand("time-to-copy", "restored", 60.0, "s"),
    Demand("latency", "restored", 1.0, "s"),
    Demand("errors", "restored", 0.01, "share"),
    Demand("exposure", "restored", 600.0, "s"),
    Demand("loss", "restored", 0.0, "markers"),
    Demand("exact-point", "restored"),
    Demand("model-latency", "restored", 2.0, "s"),
    Demand("database-latency", "restored", 0.5, "s"),
)
CALLS = tuple(
    Call(name, "1-x", phase, "driver", "operation", effect=Effect.FAULT if name == "vanish" else Effect.READS)
    for name, phase in (
        ("vanish", "disaster"),
        ("restore", "restore"),
        ("configure", "reconfigure"),
        ("examine", "verify"),
        ("serve", "warm-up"),
        ("settle", "verify"),
    )
)


def demand(objective: str) -> Demand:
    return next(d for d in DEMANDS if d.objective == objective)


def ns(wall: float) -> int:
    return MONO + round((wall - WALL) * SECOND)


def sample(
    n: int, begins: float = WALL, seconds: float = 0.01, status: int = 200, error: str = "", late: float = 0.0
) -> Sample:
    due = ns(begins) + round(n * SECOND / RATE)
    sent = due + round(late * SECOND)
    return Sample(n, due, sent, due + round(seconds * SECOND), status, error, round(late * SECOND))


def samples(count: int, begins: float = WALL, change: Callable[[int], Mapping[str, Any]] = lambda _: {}) -> Samples:
    """``count`` good samples from ``begins`` on, number n changed by ``change(n)``."""
    made = tuple(sample(n, begins, **change(n)) for n in range(count))
    return Samples("restored", RATE, TIMEOUT, Stamp(WALL, MONO, BOOT), made)


def entry(
    seq: int,
    kind: str,
    call: str,
    at: float,
    data: Mapping[str, Any] | None = None,
    milestones: Mapping[str, float] | None = None,
) -> Entry:
    return Entry(seq, Stamp(at, ns(at), BOOT), kind, call, data or {}, "", "", milestones or {})


def marker(n: int, sent: float, seconds: float = 0.01, outcome: str = "acknowledged") -> Marker:
    return Marker(n, ns(sent), ns(sent), ns(sent + seconds), outcome)


def written(markers: Sequence[Marker], uncertainty: float = 0.001, path: str = "source", rate: float = 10.0) -> Markers:
    return Markers(path, rate, TIMEOUT, Stamp(WALL, MONO, BOOT), 0.0, uncertainty, tuple(markers))


def evidence(
    measured: Samples | None = None,
    markers: Sequence[Marker] | None = None,
    observed: Mapping[str, Any] | None = None,
    *,
    disaster: float | None = WALL - 20,
    examined: float | None = WALL - 1,
    settled: bool = True,
    since: float | None = None,
    uncertainty: float = 0.001,
) -> Evidence:
    """A run that started at WALL - 30; its copy was available at WALL - 10 and served from WALL - 0.5."""
    effects: list[tuple[str, float, Mapping[str, Any], Mapping[str, float]]] = []
    if disaster is not None:
        effects.append(("vanish", disaster + 0.1, {}, {"disaster": disaster}))
    effects.append(("restore", WALL - 10, {}, {"available": WALL - 10}))
    if examined is not None:
        effects.append(("examine", examined, {}, {"correct": WALL - 8, "examined": examined}))
    effects.append(("serve", WALL - 0.2, {}, {"started": WALL - 0.5}))
    if measured is not None and settled:
        numbers = {"first": 0, "last": len(measured.samples) - 1}
        effects.append(("settle", WALL + 20, {"settled": {"restored": numbers}}, {}))
    request = Request("lab", (), Purpose.DRILL, since=since)
    plan = Plan(request, RunIdentity("r", "lab", Purpose.DRILL, ""), CALLS, DEMANDS)
    return Evidence(
        RunRecord(plan, Stamp(WALL - 30, ns(WALL - 30), BOOT), "", {}, 1.0),
        tuple(entry(i, "effect", *told) for i, told in enumerate(effects)),
        tuple(Observation(what, "restored", value, WALL) for what, value in (observed or {}).items()),
        {"restored": measured} if measured is not None else {},
        {"source": written(markers, uncertainty)} if markers is not None else {},
    )
