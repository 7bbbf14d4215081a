"""The open loop that every meter runs: what is due is taken up when it is due, whatever came of the rest.

One thread: what a meter does between two due times (reading answers, writing lines, looking after its owner) never
keeps it from the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from time import monotonic_ns
from typing import Any, Generic, Protocol, TypeVar

from dr.meter.pace import SECOND, Pace

QUIET = 300_000
"""Nanoseconds to the next due time that leave room for writing and for looking after the owner."""
BATCH, BACKLOG = 64, 4096
"""Lines written in one quiet gap; lines that are written even without one."""
AWAKE = 80_000
"""Nanoseconds before a due time that are spent awake: a wake-up by the system alone comes some 50 us late."""
LOOK = SECOND // 10
"""Nanoseconds between two looks at the owner and the clock."""

Line = TypeVar("Line")


class Lines(Generic[Line]):
    """Lines that are finished and not yet written. ``form`` makes one into bytes, ``write`` takes whole lines."""

    def __init__(self, form: Callable[[Line], bytes], write: Callable[[bytes], None]) -> None:
        self._form, self._write = form, write
        self._finished: list[Line] = []

    def __len__(self) -> int:
        return len(self._finished)

    def append(self, line: Line) -> None:
        self._finished.append(line)

    def flush(self, most: int | None = None) -> None:
        """Write the oldest ``most`` of them, or all."""
        lines, self._finished = self._finished[:most], self._finished[len(self._finished[:most]) :]
        if lines:
            self._write(b"".join([self._form(line) for line in lines]))


class Work(Protocol):
    """What a meter does. All times are monotonic nanoseconds."""

    @property
    def lines(self) -> Lines[Any]: ...

    def take(self, n: int, due: int, now: int) -> None:
        """Number ``n``, which was due at ``due``, is taken up at ``now``."""

    def turn(self, until: int) -> None:
        """Wait until ``until`` at most for what comes in, and handle it."""


def processor_share() -> Callable[[], float]:
    """Gives, when called, this process's share of one processor since now."""
    spent, began = time.process_time(), time.monotonic()
    return lambda: (time.process_time() - spent) / (time.monotonic() - began)


def run(work: Work, pace: Pace, ended: Callable[[], str]) -> tuple[str, int]:
    """Take up one number after another until ``ended`` gives a reason; returns it, and one past the last number."""
    n, due, look, why = pace.first, pace.due(pace.first), 0, ""
    while not why:
        now = monotonic_ns()
        if now >= due:
            work.take(n, due, now)
            n += 1
            due = pace.due(n)
            if monotonic_ns() >= due:
                work.turn(0)  # behind: read what came in before going on
            continue
        if now >= look and (due - now > QUIET or now - look > LOOK):
            look, why = now + LOOK, ended()
        if len(work.lines) and (due - now > QUIET or len(work.lines) > BACKLOG):
            work.lines.flush(BATCH)
        work.turn(due)
    return why, n
