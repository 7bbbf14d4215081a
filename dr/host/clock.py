"""The system's clocks: the only place that reads the time. Made by ``dr.wiring`` and the meter's processes."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

from dr.domain.model import Stamp

AT_ONCE = 1_000_000
"""Nanoseconds in which the clocks are read. Whoever is stopped in between reads them once more: else that would look
like a clock that was set."""

TRIES = 100
"""How often at the most: there may be machines on which it always takes longer."""


class _Moment(NamedTuple):
    """One moment on each clock. ``awake`` stands still while the machine sleeps, ``passed`` does not."""

    wall: float
    awake: int
    passed: int


def _read(tries: int = TRIES) -> _Moment:
    awake = time.monotonic_ns()
    found = _Moment(time.time(), awake, time.clock_gettime_ns(time.CLOCK_BOOTTIME))
    at_once = time.monotonic_ns() - awake <= AT_ONCE
    return found if at_once or not tries else _read(tries - 1)


@cache
def _beginning() -> _Moment:
    """When this process, or the one that it is a fork of, first asked for the time."""
    return _read()


@cache
def boot_identity() -> str:
    """An identity that changes with every boot: monotonic stamps compare only within one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class SystemClock:
    """A time that nobody sets: the wall clock's as it was when the process began, and what passed since."""

    def now(self) -> Stamp:
        began, read = _beginning(), _read()
        return Stamp(began.wall + (read.passed - began.passed) / 1e9, read.awake, boot_identity(), read.wall)

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


class WallClock(SystemClock):
    """The wall clock, which may be set at any moment: for whoever goes on for days beside servers that tell it."""

    def now(self) -> Stamp:
        read = _read()
        return Stamp(read.wall, read.awake, boot_identity(), read.wall)
