"""How findings are put together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from dr.config.objective import Judge
from dr.domain.errors import DEFECTS
from dr.domain.model import Demand, Finding, Status
from dr.evidence.clocks import UnknownError as UnknownError
from dr.evidence.model import Evidence

WORST_FIRST = (Status.MISSED, Status.INCONCLUSIVE, Status.MET)


def judged(judge: Judge, evidence: Evidence, demand: Demand) -> Finding:
    """What ``judge`` finds; inconclusive where the evidence does not tell, and where the judge itself fails."""
    try:
        found = judge(evidence, demand)
        if not isinstance(found, Finding):
            raise TypeError
        return found
    except UnknownError as error:
        because = str(error)
    except DEFECTS as error:
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


FEW = 3
"""Offenders named in a sentence; the observation has them all."""


def some(names: Collection[str]) -> str:
    """The first few of ``names``, and how many more there are."""
    shown = ", ".join(list(names)[:FEW])
    return f"{shown} and {len(names) - FEW} more" if len(names) > FEW else shown


def counted(number: int, noun: str) -> str:
    """``number`` of ``noun``, in words."""
    return f"{number} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    return f"{noun}es" if noun.endswith("x") else f"{noun}s"


def named(of: Mapping[str, str]) -> str:
    """The first few of what is named, each with what is the matter."""
    return some([f"{name}: {what}" for name, what in of.items()])


class Judged(Protocol):
    """One of the things that a finding is about. ``because``: what is the matter, the end of a sentence."""

    @property
    def name(self) -> str: ...

    @property
    def status(self) -> Status: ...

    @property
    def because(self) -> str: ...


def parted(of: Iterable[Judged]) -> tuple[dict[str, str], dict[str, str]]:
    """What is wrong, and what could not be judged: name to what is the matter."""
    each = [*of]
    wrong, unproven = (
        {one.name: one.because for one in each if one.status is status}
        for status in (Status.MISSED, Status.INCONCLUSIVE)
    )
    return wrong, unproven


def by_name(demand: Demand, wrong: Mapping[str, str], unproven: Mapping[str, str], met: str, noun: str) -> Finding:
    """Missed if anything is ``wrong``, inconclusive if anything is ``unproven``; both: name to what is the matter."""
    told = named(wrong or unproven)
    if unproven and not wrong:
        raise UnknownError(f"{told}.")
    beside = f"; {counted(len(unproven), noun)} could not be judged" if unproven else ""
    status, because = (Status.MISSED, f"{told}{beside}.") if wrong else (Status.MET, met)
    return replace(finding(demand, status, because, float(len(wrong))), unit=plural(noun))


def baseline_of(evidence: Evidence, what: str) -> Mapping[str, Any]:
    """The source's, as observed. Raises UnknownError where there is none that ``what`` could be compared with."""
    seen = [o.value for o in evidence.observations if (o.what, o.path) == ("baseline", "source")]
    if seen and isinstance(seen[-1], Mapping):
        return seen[-1]
    why = "no baseline covers the recovery point" if seen else "no baseline was looked for"
    if seen and seen[-1] is not None:
        why = "what was recorded of the baseline cannot be read"
    raise UnknownError(f"{what} cannot be compared: {why}.")
