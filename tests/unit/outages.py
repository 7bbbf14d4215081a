"""Paths that were out, in virtual time: what an open-loop prober sees of scripted outages, for the judges' tests."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dr.domain.model import Call, Demand, Effect, Observation, Plan, Purpose, Request, RunIdentity, Stamp, Verb
from dr.evidence.model import Entry, Evidence, Marker, Markers, RunRecord, Sample, Samples
from tests.unit.recoveries import JOURNAL

DISASTER = 1_795_417_230.0
BOOT, MONO = "boot-1", 10**12
KINDS = ("refuse", "break", "silent", "hang")
"""New requests are refused and old ones answered; all are refused, and old ones break; all time out; all hang and are
answered when it ends, as far as they did not time out by then. Beside them "slow": each answer comes later."""
DEMANDS = (
    Demand("outage", "source", 120.0, "s"),
    Demand("latency", "source", 1.0, "s"),
    Demand("errors", "source", 0.01, "share"),
)
CALLS = (
    Call("measure-source", "1-measure", "measure", "measuring", "probe", effect=Effect.MAKES),
    Call("declare", "2-declare", "disaster", "postgres", "declare", effect=Effect.READS),
    Call("settle", "3-settle", "verify", "measuring", "settle", effect=Effect.READS),
)


def dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311


def ns(at: float) -> int:
    """``at`` seconds after the disaster."""
    return MONO + round(at * 1e9)


def stamp(at: float) -> Stamp:
    return Stamp(DISASTER + at, ns(at), BOOT)


@dataclass(frozen=True)
class Out:
    """Out from ``begin`` to ``end``, seconds after the disaster. ``share``: of the requests that meet it.

    ``slower``: seconds by which an answer comes later, of the kind "slow".
    """

    begin: float
    end: float
    kind: str = "refuse"
    share: float = 1.0
    slower: float = 0.0


@dataclass(frozen=True)
class Script:
    """What happens. ``took``: seconds an answer takes. ``stalls``: when the prober itself sleeps, from and until."""

    outs: Sequence[Out] = ()
    rate: float = 50.0
    timeout: float = 2.0
    before: float = 3.0
    after: float = 5.0
    stalls: Sequence[tuple[float, float]] = ()
    took: Callable[[random.Random], float] = lambda dice: dice.uniform(0.001, 0.004)
    jitter: float = 0.0003


def samples(script: Script, dice: random.Random, path: str = "source") -> Samples:
    phase = dice.random() / script.rate
    made = []
    for n in range(round((script.before + script.after) * script.rate)):
        due = n / script.rate - script.before + phase
        taken = _awake(script, due + dice.uniform(0, script.jitter))
        done, status, error = _answer(script, taken, dice)
        done = _awake(script, done)
        made.append(Sample(n, ns(due), ns(taken), ns(done), status, error, ns(taken) - ns(due)))
    return Samples(path, script.rate, script.timeout, stamp(-script.before), tuple(made))


def _awake(script: Script, at: float) -> float:
    """When a prober that sleeps at ``at`` gets to it: not before the last of the stalls that overlap there."""
    for begin, until in sorted(script.stalls):
        at = until if begin <= at < until else at
    return at


def _answer(script: Script, asked: float, dice: random.Random) -> tuple[float, int, str]:
    took = script.took(dice)
    for out in script.outs:
        if asked >= out.end or asked + took <= out.begin:
            continue
        under_way = asked < out.begin
        if (out.kind in ("refuse", "slow") and under_way) or (out.share < 1 and dice.random() >= out.share):
            continue
        if out.kind in ("refuse", "break"):
            return (out.begin if under_way else asked) + 0.0002, 0, "reset" if under_way else "refused"
        done = {"hang": out.end + took, "slow": asked + took + out.slower}.get(out.kind, float("inf"))
        if done > asked + script.timeout:
            return asked + script.timeout, 0, "timeout"
        return done, 200, ""
    return asked + took, 200, ""


def markers(of: Samples, path: str) -> Markers:
    """The same, written by a writer of rows."""
    made = tuple(
        Marker(
            s.n,
            s.due,
            s.sent,
            s.done,
            "acknowledged" if s.status == 200 else "failed" if s.error == "refused" else "indeterminate",
            error=s.error,
            late=s.late,
        )
        for s in of.samples
    )
    return Markers(path, of.rate, of.timeout, of.start, 0.0, 0.001, made)


def evidence(
    measured: Mapping[str, Samples] | None = None,
    written: Mapping[str, Markers] | None = None,
    observed: Sequence[Observation] = (),
    demands: Sequence[Demand] = DEMANDS,
    settled: bool = True,
) -> Evidence:
    """A run whose disaster was declared, and whose paths settled."""
    of = {**(written or {}), **(measured or {})}
    lines = {path: (m.samples if isinstance(m, Samples) else m.markers) for path, m in of.items()}
    ends = {path: max((line.n for line in found), default=-1) for path, found in lines.items()}
    effects: list[tuple[str, float, Mapping[str, Any]]] = [("declare", 0.0, {})]
    if settled:
        effects.append(
            ("settle", 600.0, {"settled": {path: {"first": 0, "last": last} for path, last in ends.items()}})
        )
    when = {"declare": {"disaster": DISASTER}}
    entries = tuple(
        Entry(n, stamp(at), "effect", call, data, "", "", when.get(call, {}))
        for n, (call, at, data) in enumerate(effects)
    )
    ended = Entry(len(entries), stamp(900.0), "event", "", {"text": "Chaos Toolkit ended", "exit": 0}, "", "")
    request = Request("lab", (Verb("declare"),), Purpose.DRILL, drill="db-failover")
    plan = Plan(request, RunIdentity("r", "lab", Purpose.DRILL, ""), CALLS, tuple(demands))
    record = RunRecord(plan, stamp(-30), "RDS emulated", {}, 1.0)
    paths = dict(measured or {}), dict(written or {})
    return Evidence(record, (*entries, ended), tuple(observed), *paths, journal=JOURNAL)


def of(script: Script, seed: int = 0) -> Evidence:
    """A run that measured path ``source`` through ``script``."""
    return evidence({"source": samples(script, dice(seed))})


def without(found: Evidence, *, path: str = "source", keep: Callable[[Sample], bool]) -> Evidence:
    kept = tuple(s for s in found.samples[path].samples if keep(s))
    return replace(found, samples={**found.samples, path: replace(found.samples[path], samples=kept)})


def demand(objective: str, limit: float | None = None) -> Demand:
    asked = next(d for d in DEMANDS if d.objective == objective)
    return asked if limit is None else replace(asked, limit=limit)


@dataclass(frozen=True)
class Takeover:
    """The primary is lost at the disaster, another takes over ``out`` seconds later.

    ``lag``: seconds that the standby is behind; None: it is synchronous. ``astray``: from when until when writes still
    reach the old primary, which acknowledges them.
    """

    rate: float = 50.0
    before: float = 3.0
    out: float = 1.0
    after: float = 3.0
    lag: float | None = None
    astray: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Written:
    """What was written, and the truth: the new primary's ``rows`` and those ``lost`` of what was acknowledged, by
    number and attempt."""

    markers: Markers
    rows: frozenset[tuple[int, int]]
    lost: frozenset[tuple[int, int]]

    def observed(self, **value: Any) -> tuple[Observation, ...]:
        """The new primary's rows and its promotion, as the drivers observe them."""
        present = {str(a): ranges([n for n, attempt in self.rows if attempt == a]) for a in (0, 1)}
        return (
            Observation("failover", "source", {"events": [], "promoted_at": DISASTER + 0.1}, DISASTER + 500),
            Observation("markers", "writes", {"table": True, "present": present} | value, DISASTER + 600),
            Observation("old-primary", "source", {"outcome": "read-only"}, DISASTER + 600),
        )


def ranges(numbers: Sequence[int]) -> list[list[int]]:
    found: list[list[int]] = []
    for n in sorted(numbers):
        if found and found[-1][1] == n - 1:
            found[-1][1] = n
        else:
            found.append([n, n])
    return found


def written(script: Takeover, dice: random.Random, path: str = "writes") -> Written:
    made, rows, lost = [], set(), set()

    def note(n: int, attempt: int, asked: float, took: float, outcome: str, error: str = "") -> None:
        due = n / script.rate - script.before
        made.append(Marker(n, ns(due), ns(asked), ns(asked + took), outcome, attempt, error))

    for n in range(round((script.before + script.after) * script.rate)):
        asked, took = n / script.rate - script.before, dice.uniform(0.001, 0.004)
        if script.astray[0] <= asked < script.astray[1]:
            note(n, 0, asked, took, "acknowledged")
            lost.add((n, 0))
        elif asked + took <= 0:
            note(n, 0, asked, took, "acknowledged")
            (rows if script.lag is None or asked + took / 2 <= -script.lag else lost).add((n, 0))
        elif asked < 0:
            note(n, 0, asked, 0.0002 - asked, "indeterminate", "broken")
            if script.lag is None and dice.random() < 0.5:
                rows.add((n, 0))
            note(n, 1, script.out + took, took, "acknowledged")
            rows.add((n, 1))
        elif asked < script.out:
            note(n, 0, asked, 0.0002, "failed", "refused")
        else:
            note(n, 0, asked, took, "acknowledged")
            rows.add((n, 0))
    markers = Markers(
        path, script.rate, 2.0, stamp(0.0), 0.0, 0.001, tuple(sorted(made, key=lambda m: (m.n, m.attempt)))
    )
    return Written(markers, frozenset(rows), frozenset(lost))


WRITES = (
    Demand("acknowledged", "writes"),
    Demand("loss-seconds", "writes", 60.0, "s"),
    Demand("split-brain", "writes"),
)


def run_of(found: Written, observed: Sequence[Observation] | None = None, settled: bool = True) -> Evidence:
    seen = found.observed() if observed is None else observed
    return evidence(written={"writes": found.markers}, observed=seen, demands=WRITES, settled=settled)
