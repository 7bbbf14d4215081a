"""What an objective is: its name, its limit, what it is about, and who judges it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dr.config.model import Amount, Seconds, Share
from dr.domain.model import Demand, Finding, Phase, Request
from dr.evidence.model import Evidence

Judge = Callable[[Evidence, Demand], Finding]
"""It raises UnknownError (dr/judge/findings.py) with the reason where evidence does not tell: that is inconclusive."""


UNKNOWN = "share unknown"
"""The unit of what nobody can know: a share of what was compared."""
_NUMBERS = {"s": Seconds, "share": Share, UNKNOWN: Share}
"""What a number of a unit may be; of any other: ``Amount``."""


class About(StrEnum):
    """What an objective says something of."""

    CONTENT = "content"
    """Whether what was restored holds what it should. A restoration is verified where all of these are met."""
    SETUP = "setup"
    """Whether what was restored is set up as its source was, and lets its users in."""
    TIME = "time"
    """How long nobody was served (RTO)."""
    WRITES = "writes"
    """Which writes the recovery did not keep, or could not (RPO)."""
    SERVICE = "service"
    """Whether the service answers as it should."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One of the limits that dr.yaml may state under ``objectives``, in the objective's unit. ``when``: whether a
    request is held to it."""

    name: str
    default: float
    when: Callable[[Request], bool] = lambda _request: True

    def of(self, stated: Mapping[str, float]) -> float:
        """The limit, by what dr.yaml has ``stated``."""
        return stated.get(self.name, self.default)


@dataclass(frozen=True, slots=True)
class Objective:
    """What can be demanded of a path.

    ``unit``: of its limits, and of what is measured; "" where it has no number. ``limits``: the first of them to which
    a request is held is frozen with the plan. ``on_call``: the verb that lets a restore on call demand it of what was
    restored; "": drills alone demand it. ``role``: of the components that it is about, which that verb has to read; "":
    any. ``needs``: a key of the facts' ``extra``; where that is false, it is not demanded. "": none. ``verified``: it
    times a restoration, and so is met only by one whose content is as demanded, and missed where the provider failed to
    make it. ``phases``: what the time went into, of a run of which it is demanded.
    """

    name: str
    about: About
    judge: Judge
    unit: str = ""
    limits: tuple[Limit, ...] = ()
    on_call: str = ""
    role: str = ""
    needs: str = ""
    verified: bool = False
    phases: Callable[[Evidence], tuple[Phase, ...]] | None = None

    @property
    def number(self) -> Any:
        """The type of its limits, which bounds them."""
        return _NUMBERS.get(self.unit, Amount)

    def demand(self, path: str, request: Request, stated: Mapping[str, float]) -> Demand:
        """This, of ``path``, with the limit that holds for ``request``."""
        by_kind = {kind: self._limit(of, stated) for kind, of in request.of_each_kind().items()}
        limits = {kind: limit for kind, limit in by_kind.items() if limit is not None}
        several = limits if len({*limits.values()}) > 1 else {}
        return Demand(self.name, path, self._limit(request, stated), self.unit, several)

    def _limit(self, request: Request, stated: Mapping[str, float]) -> float | None:
        return next((limit.of(stated) for limit in self.limits if limit.when(request)), None)
