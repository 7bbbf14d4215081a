"""The open loop that every meter runs, and the file that it fills: what is due is taken up when it is due, whatever
came of the rest. A due time depends on the start and the rate alone, never on how the target answers.

One thread: what a meter does between two due times (reading answers, writing lines, looking after its owner) never
keeps it from the next.
"""

from __future__ import annotations

import math
import os
import time
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import Any, Protocol

from dr.domain.errors import ProviderError
from dr.evidence.samples import ends_whole, footer, header, next_number
from dr.host.clock import SystemClock
from dr.meter.punctual import be_punctual

SECOND = 1_000_000_000
QUIET = 300_000
"""Nanoseconds to the next due time that leave room for writing and for looking after the owner."""
BATCH, BACKLOG = 64, 4096
"""Lines written in one quiet gap; lines that are written even without one."""
AWAKE = 80_000
"""Nanoseconds before a due time that are spent awake: a wake-up by the system alone comes some 50 us late."""
LOOK = SECOND // 10
"""Nanoseconds between two looks at the owner and the clock, and for which a line may wait to be written."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Number ``first`` is due at ``start`` (monotonic ns), and each further one ``1/rate`` seconds later."""

    start: int
    rate: float
    first: int = 0

    def due(self, n: int) -> int:
        """When number ``n`` is due; reckoned from the start, so that rounding does not add up."""
        return self.start + round((n - self.first) * SECOND / self.rate)


def percentile(ordered: Sequence[int], share: float) -> int:
    """The nearest-rank percentile of sorted values (0 of none): the smallest that ``share`` of them do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0


def spread(lateness: Iterable[int]) -> dict[str, float]:
    """A meter's own lateness as the footer of its file has it: percentiles, seconds of nanoseconds."""
    ordered = sorted(lateness)
    return {f"p{round(share * 100)}": percentile(ordered, share) / SECOND for share in (0.5, 0.95, 0.99)}


class Journal:
    """An append-only file of whole lines, each on its way to the disk when ``write`` returns. ``first``: the number
    that follows the greatest in it."""

    def __init__(self, path: Path) -> None:
        whole, self.first = ends_whole(path), next_number(path)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if not whole:
            self.write(b"\n")  # what a kill tore stays a line of its own, which loading leaves out

    def write(self, lines: bytes) -> None:
        """Raises ProviderError where the disk takes no more: measuring must end then, and not go on unseen."""
        try:
            while lines:
                lines = lines[os.write(self._fd, lines) :]
        except OSError as error:
            raise ProviderError(
                f"Measurements cannot be written: {error.strerror}.", "Free space on its disk."
            ) from None


class Lines:
    """Lines that are finished and not yet written. ``form`` makes one into bytes, ``write`` takes whole lines."""

    def __init__(self, form: Callable[..., bytes], write: Callable[[bytes], None]) -> None:
        self._form, self._write = form, write
        self._finished: list[tuple[Any, ...]] = []

    def __len__(self) -> int:
        return len(self._finished)

    def append(self, line: tuple[Any, ...]) -> None:
        self._finished.append(line)

    def flush(self, most: int | None = None) -> None:
        """Write the oldest ``most`` of them, or all."""
        lines, self._finished = self._finished[:most], self._finished[len(self._finished[:most]) :]
        if lines:
            self._write(b"".join([self._form(*line) for line in lines]))


class Work(Protocol):
    """What a meter does. All times are monotonic nanoseconds."""

    lines: Lines

    def take(self, n: int, due: int, now: int) -> None:
        """Number ``n``, which was due at ``due``, is taken up at ``now``."""

    def turn(self, until: int) -> None:
        """Wait until ``until`` at most for what comes in, and handle it."""

    def finish(self) -> None:
        """Await what is under way, begin nothing more, and write it all down."""


def record(
    work: Work,
    out: Journal,
    config: Mapping[str, Any],
    ended: Callable[[], str],
    hosts: Iterable[str],
    *clock_of_database: float,
) -> str:
    """``run`` at the configured rate, between a header and a footer; returns why it ended. ``hosts``: those measured.
    Raises ProviderError."""
    be_punctual(hosts)
    rate = float(config["rate"])
    out.write(header(config["path"], rate, float(config["timeout"]), SystemClock().now(), *clock_of_database))
    spent, began = time.process_time(), time.monotonic()
    lateness = array("q")
    why, after = run(work, Pace(monotonic_ns() + SECOND // 100, rate, out.first), ended, lateness.append)
    processor = (time.process_time() - spent) / (time.monotonic() - began)
    work.finish()
    out.write(footer(why, after - 1, lateness=spread(lateness), processor=processor))
    return why


def run(
    work: Work, pace: Pace, ended: Callable[[], str], late: Callable[[int], object] = lambda _: None
) -> tuple[str, int]:
    """Take up one number after another until ``ended`` gives a reason; returns it, and one past the last number.
    ``late`` is told of each by how many nanoseconds it was taken up too late."""
    n, due, look, why = pace.first, pace.due(pace.first), 0, ""
    while not why:
        now = monotonic_ns()
        if now >= due:
            late(now - due)
            work.take(n, due, now)
            n += 1
            due = pace.due(n)
            if monotonic_ns() >= due:
                work.turn(0)  # behind: read what came in before going on
            continue
        quiet, waiting = due - now > QUIET, len(work.lines)
        if waiting > BACKLOG or (quiet and (waiting >= BATCH or now >= look)):
            work.lines.flush(BATCH)
        if now >= look and (quiet or now - look > LOOK):
            look, why = now + LOOK, ended()
        work.turn(due)
    return why, n
