"""A path that is probed each eighth of a second, of which each moment is exact: for the edges of the judges' rules.

All seconds are after the disaster, and sums of powers of two, as far as a test asks about an edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dr.evidence.model import Evidence, Sample, Samples
from dr.judge.interruption import Edge, Interruption, Outage, outage_of
from tests.unit.outages import DISASTER, evidence, ns, stamp

PERIOD, TOOK, LATE = 1 / 8, 1 / 64, 9 / 64
"""Between two probes; of an answer; beyond which an answer is late, where all those before took ``TOOK``."""
BEFORE = 64.0
"""So many answers tell what is usual that a few late ones do not change it."""


def probe(due: float, took: float = TOOK, error: str = "", late: float = 0.0) -> Sample:
    """``took`` and ``late`` in seconds; ``late`` is the prober's own."""
    asked = due + late
    number = round((due + BEFORE) / PERIOD)
    return Sample(number, ns(due), ns(asked), ns(asked + took), 0 if error else 200, error, round(late * 1e9))


def refused(due: float, took: float = TOOK) -> Sample:
    return probe(due, took, "refused")


def path(*told: Sample, end: float = 8.0, absent: Sequence[tuple[float, float]] = (), timeout: float = 2.0) -> Evidence:
    """Good answers from ``BEFORE`` the disaster to ``end``, but for those ``told``, and for what lies strictly between
    the two ends of an ``absent`` stretch."""
    usual = [probe(n * PERIOD - BEFORE) for n in range(round((end + BEFORE) / PERIOD) + 1)]
    gone = [s.n for s in usual if any(ns(begin) < s.due < ns(until) for begin, until in absent)]
    made = {s.n: s for s in (*usual, *told) if s.n not in gone}
    return evidence({"source": Samples("source", 1 / PERIOD, timeout, stamp(0.0), tuple(made.values()))})


def seen(*told: Sample, end: float = 8.0, absent: Sequence[tuple[float, float]] = ()) -> Outage:
    return outage_of(path(*told, end=end, absent=absent), "source")


def after(moment: Edge) -> Edge:
    """The same, in seconds after the disaster."""
    return Edge(moment.low - DISASTER, moment.best - DISASTER, moment.high - DISASTER)


def edges(one: Interruption | None) -> tuple[Edge, Edge]:
    assert one is not None
    return after(one.began), after(one.ended)


def began(outage: Outage) -> list[float]:
    """When each of its pieces began, at the latest."""
    return [after(piece.began).high for piece in outage.pieces]


def settled(found: Evidence, last: int) -> Evidence:
    """The same, with ``last`` as the number up to which the path had settled."""
    told = {"settled": {"source": {"first": 0, "last": last}}}
    return replace(found, entries=tuple(replace(e, data=told) if e.call == "settle" else e for e in found.entries))
