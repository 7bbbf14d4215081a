"""Whether a run's times can be subtracted from each other: what its stamps tell of the clocks they were taken by. Pure.

All stamps of one boot lie as far apart by ``at`` as they do by the monotonic clock. Where they do not, the machine
slept in between, or ``at`` was taken from a wall clock that somebody set: as earlier versions did, and as another
process does, which goes on with a run later.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

from dr.domain.model import Stamp

JUMP = 0.25
"""Seconds by which two readings of one clock may seem to differ."""


class UnknownError(Exception):
    """What evidence does not tell, and why: a sentence. A judge that raises it finds its demand inconclusive."""


class Clocks(NamedTuple):
    """``lost``: the most seconds by which ``at`` left the monotonic clock within a boot, so that nobody knows how long
    anything took; 0: it never did. ``put``: by how many seconds the wall clock was set meanwhile, which no ``at``
    followed; 0: it was not. ``boots``: how many boots the run's stamps are of."""

    lost: float
    put: float
    boots: int

    @property
    def told(self) -> str:
        """What is to be known of times that were measured all the same; "" where that is nothing."""
        if self.put:
            return f"The wall clock was {_set(self.put)} during the run; times are by the monotonic clock."
        return (
            "The machine was booted during the run; across that its wall clock alone tells." if self.boots > 1 else ""
        )

    def check(self, *, others: bool = False) -> None:
        """Raises UnknownError where how long the run took is not known; with ``others`` also where what another clock
        tells, a person's or a server's, cannot be placed in it."""
        if self.lost:
            slept = "the machine slept, or " if self.lost > 0 else ""
            what = f"{slept}the wall clock was {_set(self.lost)} during the run, and its times were taken by it"
            raise UnknownError(f"{what[0].upper()}{what[1:]}: how long anything took is not known.")
        if self.put and (others or self.boots > 1):
            why = "other clocks are not known to agree with it" if others else "the machine was booted, too"
            raise UnknownError(f"The wall clock was {_set(self.put)} during the run, and {why}: how long is not known.")


def _set(seconds: float) -> str:
    return f"set {'forward' if seconds > 0 else 'back'} by {abs(seconds):.1f} s"


def clocks(stamps: Iterable[Stamp]) -> Clocks:
    """What ``stamps`` tell, whatever their order."""
    by_boot: dict[str, list[Stamp]] = {}
    for stamp in stamps:
        by_boot.setdefault(stamp.boot, []).append(stamp)
    lost = chain.from_iterable(_apart(s.at - s.mono_ns / 1e9 for s in of) for of in by_boot.values())
    put = chain.from_iterable(_apart(s.wall - s.at for s in of if s.wall is not None) for of in by_boot.values())
    return Clocks(max(lost, key=abs, default=0.0), max(put, key=abs, default=0.0), len(by_boot))


def _apart(offsets: Iterable[float]) -> list[float]:
    """By how much more than two readings may differ the offsets left the first one."""
    found = list(offsets)
    return [offset - found[0] for offset in found if abs(offset - found[0]) > JUMP]
