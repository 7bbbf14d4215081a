"""Being told to stop, wherever this process waits.

What drives the process says how it is told (``heeding``); whatever waits asks (``heed``), at least each ``GLANCE``.
Unwinding heeds nothing: it goes on whether the run was halted or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dr.ports import Clock

GLANCE = 0.5
"""Seconds between two times that whatever waits asks whether to stop."""

_checks: list[Callable[[], None]] = []


@contextmanager
def heeding(check: Callable[[], None]) -> Iterator[None]:
    """Inside, ``heed`` is ``check``, which raises HaltedError where this process was told to stop."""
    _checks.append(check)
    try:
        yield
    finally:
        _checks.remove(check)


def heed() -> None:
    """Raises HaltedError where this process was told to stop."""
    for check in tuple(_checks):
        check()


def pause(clock: Clock, seconds: float) -> None:
    """Wait for ``seconds``. Raises HaltedError where this process is told to stop meanwhile, or was before."""
    while seconds > 0:
        heed()
        clock.sleep(min(seconds, GLANCE))
        seconds -= GLANCE
    heed()
