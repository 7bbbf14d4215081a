"""How findings are put together."""

from __future__ import annotations

from dr.config.objective import Judge
from dr.domain.model import Demand, Finding, Status
from dr.evidence.clocks import UnknownError as UnknownError
from dr.evidence.model import Evidence


def judged(judge: Judge, evidence: Evidence, demand: Demand) -> Finding:
    """What ``judge`` finds; inconclusive where the evidence does not tell, and where the judge itself fails."""
    try:
        return judge(evidence, demand)
    except UnknownError as error:
        because = str(error)
    except Exception as error:
        because = f"The judge itself failed with {type(error).__name__}, so nothing is known."
    return finding(demand, Status.INCONCLUSIVE, because)


def finding(
    demand: Demand,
    status: Status,
    because: str,
    measured: float | None = None,
    interval: tuple[float, float] | None = None,
) -> Finding:
    """``demand``, judged: ``measured`` and ``interval`` are in its unit."""
    return Finding(demand.objective, demand.path, status, because, measured, demand.unit, demand.limit, interval)


def limit_of(demand: Demand) -> float:
    if demand.limit is None:
        raise UnknownError("No limit is known.")
    return demand.limit


def within(low: float, high: float, limit: float) -> Status:
    """Three ways: an interval proves that ``limit`` is kept, or that it is broken, or neither."""
    if high <= limit:
        return Status.MET
    return Status.MISSED if low > limit else Status.INCONCLUSIVE
