"""How findings are put together."""

from __future__ import annotations

from dr.domain.model import Demand, Finding, Status


def finding(
    demand: Demand,
    status: Status,
    because: str,
    measured: float | None = None,
    interval: tuple[float, float] | None = None,
) -> Finding:
    """``demand``, judged: ``measured`` and ``interval`` are in its unit."""
    return Finding(demand.objective, demand.path, status, because, measured, demand.unit, demand.limit, interval)


def unknown(demand: Demand, because: str) -> Finding:
    """What cannot be told is inconclusive."""
    return finding(demand, Status.INCONCLUSIVE, because)


def within(low: float, high: float, limit: float) -> Status:
    """Three ways: an interval proves that ``limit`` is kept, or that it is broken, or neither."""
    if high <= limit:
        return Status.MET
    return Status.MISSED if low > limit else Status.INCONCLUSIVE
