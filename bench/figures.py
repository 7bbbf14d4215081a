"""What the benches share: alternating runs, medians, and a line a figure. Called by: ``bench.*``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence


def seconds(work: Callable[[], object]) -> float:
    """How long ``work`` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def alternating(rounds: int, *works: Callable[[], object]) -> list[list[float]]:
    """Seconds of each of ``works``, run in turn, ``rounds`` times after one round that does not count."""
    taken: list[list[float]] = [[] for _ in works]
    for turn in range(rounds + 1):
        for times, work in zip(taken, works, strict=True):
            if turn:
                times.append(seconds(work))
            else:
                work()
    return taken


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def figure(name: str, value: float, limit: float, unit: str, at_least: bool = False) -> bool:
    """Print one figure against its limit; returns whether it holds."""
    holds = value >= limit if at_least else value <= limit
    bound = "at least" if at_least else "at most"
    print(f"{'holds' if holds else 'FAILS':<6} {name:<58} {value:10.3f} {unit:<8} {bound} {limit:g}", flush=True)
    return holds
