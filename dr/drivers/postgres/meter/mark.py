"""The marker writer: rows written at known times, each acknowledged, failed or indeterminate; and the reader.

Open loop. A write stands as indeterminate on disk before it is sent. One that stays so is repeated once, as a row of
its own, when nothing that is due waits; a repetition that could not be sent leaves no line.

The reader asks one endpoint after the other a trivial query, and writes it down as the prober does its probes. One that
was answered has status 200, as a good probe has; any other has status 0, and the word for why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from dr.domain.errors import ProviderError
from dr.drivers.postgres import own_schema
from dr.drivers.postgres.meter.limits import DIRECT, Limits, limits
from dr.drivers.postgres.meter.login import Login, said
from dr.drivers.postgres.meter.query import Queries, Settings, Task
from dr.evidence.samples import ACKNOWLEDGED, INDETERMINATE, marker_line, markers_file, sample_line, samples_file
from dr.host.clock import SystemClock
from dr.meter.loop import Journal, Lines, record

CLOCK_READINGS = 15
"""The shortest round trip of so many bounds the clock's offset."""
SOURCE = "source"
"""The path whose table is named after the run alone."""
QUERY = b"SELECT relname FROM pg_catalog.pg_class LIMIT 1"
"""Reads a table that every database has, and that says nothing of anybody."""
GOOD = 200


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
    best, clock = (float("inf"), 0.0), SystemClock()
    for _ in range(CLOCK_READINGS):
        before = clock.now().at
        row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
        after = clock.now().at
        if row is not None:
            best = min(best, (after - before, float(row[0]) - (before + after) / 2))
    return best[1], best[0] / 2


class Writer(Queries):
    """Takes up markers, and writes down what came of each. ``write`` takes whole lines for the markers file."""

    def __init__(
        self, login: Login, table: str, timeout: float, write: Callable[[bytes], None], limits: Limits = DIRECT
    ) -> None:
        statement = f"INSERT INTO dr.{table} (n, attempt, sent_at) VALUES ($1, $2, $3)"  # noqa: S608  (made by marker_table)
        super().__init__(Settings([login], statement.encode(), _values, timeout, limits), Lines(marker_line, write))
        self._write, self._repeats = write, True

    def sending(self, task: Task) -> None:
        """Raises ProviderError where the disk takes no more: then the marker is not sent, either."""
        self._write(marker_line(task.n, task.due, task.sent, 0, INDETERMINATE, task.attempt, late=task.late))

    def over(self, task: Task, now: int, outcome: str, word: str) -> None:
        if task.sent or not task.attempt:
            self.lines.append((task.n, task.due, task.sent, now, outcome, task.attempt, word, task.late))
        if outcome == INDETERMINATE and not task.attempt and self._repeats:
            self.submit(Task(task.n, now, now, self._timeout, attempt=1))

    def finish(self) -> None:
        self._repeats = False
        super().finish()


def _values(task: Task) -> tuple[bytes, bytes, bytes]:
    at = SystemClock().now().at
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1e6):06d}+00"
    return str(task.n).encode(), str(task.attempt).encode(), moment.encode()


def write_markers(config: dict[str, Any], ended: Callable[[], str]) -> str:
    """Write markers at the configured rate until ``ended`` gives a reason, and return it. Raises ProviderError."""
    login, timeout = Login(**config["login"]), float(config["timeout"])
    connection = login.connect(timeout)
    try:
        offset, uncertainty = clock_offset(connection)
    except psycopg.Error as error:
        raise ProviderError(f"The database's clock cannot be read: {said(error)}.") from None
    finally:
        connection.close()
    out = Journal(markers_file(Path(config["run"]), config["path"]))
    writer = Writer(login, marker_table(config["run_id"], config["path"]), timeout, out.write, limits(config))
    writer.warm()
    return record(writer, out, config, ended, [login.host], offset, uncertainty)


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
