"""The reader: a trivial query, to one endpoint after the other, written down as the prober writes its probes.

A query that was answered has status 200, as a good probe has; any other has status 0, and the word for why.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path
from time import monotonic_ns
from typing import Any

from dr.evidence.samples import ACKNOWLEDGED, footer, header, next_number, sample_line, samples_file
from dr.host.clock import SystemClock
from dr.meter import loop
from dr.meter.limits import Limits, limits
from dr.meter.login import Login
from dr.meter.loop import Lines
from dr.meter.mark import Journal
from dr.meter.pace import SECOND, Pace, spread
from dr.meter.probe import Sampled
from dr.meter.query import Queries, Settings, Task

QUERY = b"SELECT relname FROM pg_catalog.pg_class LIMIT 1"
"""Reads a table that every database has, and that says nothing of anybody."""
GOOD = 200


class Reader:
    """Takes up queries, and writes down what came of each. ``write`` takes whole lines for the samples file."""

    def __init__(self, logins: list[Login], timeout: float, write: Callable[[bytes], None], limits: Limits) -> None:
        self.queries = Queries(Settings(logins, QUERY, lambda _: (), timeout, limits), self)
        self._timeout = round(timeout * SECOND)
        self.lines: Lines[Sampled] = Lines(lambda line: sample_line(*line), write)
        self.lateness = array("q")
        """Of every query taken up, nanoseconds."""

    def take(self, n: int, due: int, now: int) -> None:
        task = Task(n, due, now, self._timeout)
        self.lateness.append(task.late)
        self.queries.submit(task)

    def turn(self, until: int) -> None:
        self.queries.turn(until)

    def sending(self, task: Task) -> None:
        """Nothing is noted: a query that nobody heard of again changed nothing."""

    def over(self, task: Task, now: int, outcome: str, word: str) -> None:
        status = GOOD if outcome == ACKNOWLEDGED else 0
        self.lines.append((task.n, task.due, task.sent, now, status, word, task.late))


def read_rows(config: dict[str, Any], journal: Callable[[Path], Journal], ended: Callable[[], str]) -> str:
    """Query at the configured rate until ``ended`` gives a reason, and return it. Raises ProviderError."""
    logins, rate, timeout = [Login(**login) for login in config["logins"]], config["rate"], config["timeout"]
    file = samples_file(Path(config["run"]), config["path"])
    first = next_number(file)
    out = journal(file)
    reader = Reader(logins, timeout, out.write, limits(config))
    reader.queries.warm()
    out.write(header(config["path"], rate, timeout, SystemClock().now()))
    share = loop.processor_share()
    why, after = loop.run(reader, Pace(monotonic_ns() + SECOND // 100, rate, first), ended)
    processor = share()
    reader.queries.finish()
    reader.lines.flush()
    out.write(footer(why, after - 1, lateness=spread(reader.lateness), processor=processor))
    return why
