"""Readings that may take hours, part by part: whoever waits is heard between two, and sees where they are."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from dr.domain.model import Observation, Progress

T = TypeVar("T")

Steps = Generator[Progress, None, T]
"""Yields what it reads next, before it does; returns what was read. One that is given up is to be closed: until then it
holds its transaction open."""


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
