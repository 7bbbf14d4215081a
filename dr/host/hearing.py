"""Being told to stop, wherever this process waits, and readings that may take hours, part by part.

What drives the process says how it is told (``heeding``); whatever waits asks (``heed``), at least each ``GLANCE``.
Unwinding heeds nothing: it goes on whether the run was halted or not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

from dr.domain.errors import HaltedError
from dr.domain.model import Observation, Progress
from dr.ports import Clock

T = TypeVar("T")

Steps = Generator[Progress, None, T]
"""Yields what it reads next, before it does, so that whoever waits is heard and sees where it is; returns what was
read. One that is given up is to be closed: until then it holds its transaction open."""

GLANCE = 0.5
"""Seconds between two times that whatever waits asks whether to stop."""

_checks: list[Callable[[], None]] = []
_since: dict[Callable[[], None], float] = {}
"""When a check first said to stop."""


@contextmanager
def heeding(check: Callable[[], None]) -> Iterator[None]:
    """Inside, ``heed`` is ``check``, which raises HaltedError where this process was told to stop."""
    _checks.append(check)
    try:
        yield
    finally:
        _checks.remove(check)
        _since.pop(check, None)


def heed(grace: float = 0.0) -> None:
    """Raises HaltedError where this process was told to stop, and that was first noticed ``grace`` seconds ago."""
    for check in tuple(_checks):
        try:
            check()
        except HaltedError:
            now = time.monotonic()
            if now - _since.setdefault(check, now) >= grace:
                raise


def pause(clock: Clock, seconds: float) -> None:
    """Wait for ``seconds``. Raises HaltedError where this process is told to stop meanwhile, or was before."""
    while seconds > 0:
        heed()
        clock.sleep(min(seconds, GLANCE))
        seconds -= GLANCE
    heed()


def working(note: str, observations: tuple[Observation, ...] = ()) -> Progress:
    """The next part is about to be read, in the next poll."""
    return Progress(False, note=note, observations=observations, busy=True)


def at_once(steps: Steps[T]) -> T:
    """All parts, with nobody to be heard in between."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            read: T = end.value
            return read
