"""Whether this process goes on: one that is stopped, or starved of the processor, does not notice by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TICK = 0.25
"""Seconds between two looks at the clock."""
LATE = 1.0 - TICK
"""Seconds by which a look that comes late shows that nothing else was done meanwhile, either: whoever is stopped for
one second may have been about to look."""


@contextmanager
def watching(asleep: Callable[[float], object]) -> Iterator[None]:
    """While inside, tell ``asleep`` right after each time for how many seconds this process had been stopped."""
    over = threading.Event()

    def watch() -> None:
        looked = time.monotonic()
        while not over.wait(TICK):
            now = time.monotonic()
            if now - looked - TICK > LATE:
                asleep(now - looked - TICK)
            looked = now

    thread = threading.Thread(target=watch, daemon=True, name="awake")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
