"""The reader: a trivial query, to one endpoint after the other, written down as the prober writes its probes.

A query that was answered has status 200, as a good probe has; any other has status 0, and the word for why.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dr.evidence.samples import ACKNOWLEDGED, sample_line, samples_file
from dr.meter.limits import Limits, limits
from dr.meter.login import Login
from dr.meter.loop import Journal, Lines, record
from dr.meter.query import Queries, Settings, Task

QUERY = b"SELECT relname FROM pg_catalog.pg_class LIMIT 1"
"""Reads a table that every database has, and that says nothing of anybody."""
GOOD = 200


class Reader(Queries):
    """Takes up queries, and writes down what came of each. ``write`` takes whole lines for the samples file."""

    def __init__(self, logins: list[Login], timeout: float, write: Callable[[bytes], None], limits: Limits) -> None:
        super().__init__(Settings(logins, QUERY, lambda _: (), timeout, limits), Lines(sample_line, write))

    def over(self, task: Task, now: int, outcome: str, word: str) -> None:
        status = GOOD if outcome == ACKNOWLEDGED else 0
        self.lines.append((task.n, task.due, task.sent, now, status, word, task.late))


def read_rows(config: dict[str, Any], ended: Callable[[], str]) -> str:
    """Query at the configured rate until ``ended`` gives a reason, and return it. Raises ProviderError."""
    logins, timeout = [Login(**login) for login in config["logins"]], float(config["timeout"])
    out = Journal(samples_file(Path(config["run"]), config["path"]))
    reader = Reader(logins, timeout, out.write, limits(config))
    reader.warm()
    return record(reader, out, config, ended, [login.host for login in logins])
