"""The marker writer: rows written at known times, each acknowledged, failed or indeterminate.

Open loop. A write stands as indeterminate on disk before it is sent. One that stays so is repeated once, as a row of
its own, when nothing that is due waits; a repetition that could not be sent leaves no line.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic_ns
from typing import Any, Protocol

import psycopg
from psycopg import sql

from dr.domain.errors import ProviderError
from dr.drivers.postgres import own_schema
from dr.evidence.samples import INDETERMINATE, footer, header, marker_line, markers_file, next_number
from dr.host.clock import SystemClock
from dr.meter import loop
from dr.meter.limits import DIRECT, Limits, limits
from dr.meter.login import Login, said
from dr.meter.loop import Lines
from dr.meter.pace import SECOND, Pace, spread
from dr.meter.query import Queries, Settings, Task

CLOCK_READINGS = 15
"""The shortest round trip of so many bounds the clock's offset."""
SOURCE = "source"
"""The path whose table is named after the run alone."""

Written = tuple[int, int, int, int, str, int, str, int]
"""What ``marker_line`` takes."""


class Journal(Protocol):
    """Where lines go."""

    def write(self, lines: bytes) -> None: ...


def marker_table(run: str, path: str = SOURCE) -> str:
    """The name, within schema dr, of a run's markers on ``path``."""
    return own_schema.table_name("markers" if path == SOURCE else f"markers_{path.replace('-', '_')}", run)


def create_table(login: Login, run: str, path: str = SOURCE, timeout: float = 5.0) -> None:
    """Make the table of a run's path, and schema dr where it is missing; again does no harm. Raises ProviderError."""
    with _statements(login, timeout) as connection, connection.transaction():
        own_schema.make(connection, run)
        connection.execute(
            sql.SQL(
                "CREATE TABLE IF NOT EXISTS {} (n bigint, attempt smallint, sent_at timestamptz NOT NULL,"
                " written_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (n, attempt))"
            ).format(own_schema.table(marker_table(run, path)))
        )


def drop_table(login: Login, run: str, path: str = SOURCE, timeout: float = 5.0) -> None:
    """Remove the table of a run's path, and the schema where this run made it. Raises ProviderError."""
    with _statements(login, timeout) as connection:
        own_schema.drop(connection, marker_table(run, path), run)


@contextmanager
def _statements(login: Login, timeout: float) -> Iterator[psycopg.Connection[Any]]:
    connection = login.connect(timeout)
    try:
        yield connection
    except psycopg.Error as error:
        raise ProviderError(f"The markers' table cannot be changed: {said(error)}.") from None
    finally:
        connection.close()


def clock_offset(connection: psycopg.Connection[Any]) -> tuple[float, float]:
    """Database clock minus this machine's, and by how much that may be wrong: half the shortest round trip; seconds."""
    best = (float("inf"), 0.0)
    for _ in range(CLOCK_READINGS):
        before = time.time()
        row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
        after = time.time()
        if row is not None:
            best = min(best, (after - before, float(row[0]) - (before + after) / 2))
    return best[1], best[0] / 2


class Writer:
    """Takes up markers, and writes down what came of each. ``write`` takes whole lines for the markers file."""

    def __init__(
        self,
        login: Login,
        table: str,
        timeout: float,
        write: Callable[[bytes], None],
        limits: Limits = DIRECT,
    ) -> None:
        statement = f"INSERT INTO dr.{table} (n, attempt, sent_at) VALUES ($1, $2, $3)"  # noqa: S608  (made by marker_table)
        self.queries = Queries(Settings([login], statement.encode(), _values, timeout, limits), self)
        self._write, self._timeout, self._repeats = write, round(timeout * SECOND), True
        self.lines: Lines[Written] = Lines(lambda line: marker_line(*line), write)
        self.lateness = array("q")
        """Of every marker taken up, nanoseconds."""

    def take(self, n: int, due: int, now: int) -> None:
        task = Task(n, due, now, self._timeout)
        self.lateness.append(task.late)
        self.queries.submit(task)

    def turn(self, until: int) -> None:
        self.queries.turn(until)

    def sending(self, task: Task) -> None:
        """Raises ProviderError where the disk takes no more: then the marker is not sent, either."""
        self._write(marker_line(task.n, task.due, task.sent, 0, INDETERMINATE, task.attempt, late=task.late))

    def over(self, task: Task, now: int, outcome: str, word: str) -> None:
        if task.sent or not task.attempt:
            self.lines.append((task.n, task.due, task.sent, now, outcome, task.attempt, word, task.late))
        if outcome == INDETERMINATE and not task.attempt and self._repeats:
            self.queries.submit(Task(task.n, now, now, self._timeout, attempt=1))

    def finish(self) -> None:
        """Await what is under way, begin nothing more, and write it all down."""
        self._repeats = False
        self.queries.finish()
        self.lines.flush()


def _values(task: Task) -> tuple[bytes, bytes, bytes]:
    at = time.time()
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1e6):06d}+00"
    return str(task.n).encode(), str(task.attempt).encode(), moment.encode()


def write_markers(config: dict[str, Any], journal: Callable[[Path], Journal], ended: Callable[[], str]) -> str:
    """Write markers at the configured rate until ``ended`` gives a reason, and return it. Raises ProviderError."""
    login, rate, timeout = Login(**config["login"]), float(config["rate"]), float(config["timeout"])
    connection = login.connect(timeout)
    try:
        offset, uncertainty = clock_offset(connection)
    except psycopg.Error as error:
        raise ProviderError(f"The database's clock cannot be read: {said(error)}.") from None
    finally:
        connection.close()
    file = markers_file(Path(config["run"]), config["path"])
    first = next_number(file)
    out = journal(file)
    writer = Writer(login, marker_table(config["run_id"], config["path"]), timeout, out.write, limits(config))
    writer.queries.warm()
    out.write(header(config["path"], rate, timeout, SystemClock().now(), offset, uncertainty))
    share = loop.processor_share()
    why, after = loop.run(writer, Pace(monotonic_ns() + SECOND // 100, rate, first), ended)
    processor = share()
    writer.finish()
    out.write(footer(why, after - 1, lateness=spread(writer.lateness), processor=processor))
    return why
