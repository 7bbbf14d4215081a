"""Being told to stop, wherever this process waits.

What drives the process says how it is told (``heeding``); whatever waits asks (``heed``), at least each ``GLANCE``.
Unwinding heeds nothing: it goes on whether the run was halted or not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dr.domain.errors import HaltedError
from dr.ports import Clock

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
