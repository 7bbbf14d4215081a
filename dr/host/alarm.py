"""Looking up from what may never return: a provider that waits for ever hears nobody by itself."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY = 1.0
"""Seconds between two times that it is looked up."""


@contextmanager
def looking_up(look: Callable[[float], None]) -> Iterator[None]:
    """Inside, ``look`` is called again and again with the seconds that have passed, whatever the main thread does; what
    it raises ends that. Python gives signals to its main thread alone: in another nothing is called."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    began = time.monotonic()
    former = signal.signal(signal.SIGALRM, lambda _number, _frame: look(time.monotonic() - began))
    asked_before = signal.setitimer(signal.ITIMER_REAL, EVERY, EVERY)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
        signal.setitimer(signal.ITIMER_REAL, *asked_before)
