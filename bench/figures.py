"""What the benches share: alternating runs, medians, and a line a figure."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

STAT = Path("/proc/stat")


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


class Machine:
    """What the machine did meanwhile, from /proc/stat: figures of a busy one are its own, and not an idle machine's."""

    def __init__(self) -> None:
        self._before = self._read()

    def told(self) -> str:
        """Shares of all processors' time since this was made, with the load; where there is no /proc/stat, the load."""
        load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
        spent = [after - before for after, before in zip(self._read(), self._before, strict=True)]
        if not sum(spent):
            return load
        idle, steal = (sum(part) / sum(spent) for part in (spent[3:5], spent[7:8]))
        return f"{load}, {idle:.0%} idle, {steal:.1%} stolen"

    def _read(self) -> list[int]:
        """Ticks: user, nice, system, idle, iowait, irq, softirq, steal."""
        if not STAT.exists():
            return []
        return [int(ticks) for ticks in STAT.read_text().split("\n", 1)[0].split()[1:9]]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def figure(name: str, value: float, limit: float, unit: str, at_least: bool = False) -> bool:
    """Print one figure against its limit; returns whether it holds."""
    holds = value >= limit if at_least else value <= limit
    bound = "at least" if at_least else "at most"
    print(f"{'holds' if holds else 'FAILS':<6} {name:<58} {value:10.3f} {unit:<8} {bound} {limit:g}", flush=True)
    return holds
