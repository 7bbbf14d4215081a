"""The marker writer: rows written at known times, each acknowledged, failed or indeterminate.

Called by: ``python -m dr.meter mark`` and ``dr.drivers.measuring`` (the table). Open loop over a few connections, each
with a thread of its own. libpq is driven directly, since only so every wait has an end and every warning is seen: a
COMMIT whose wait for the synchronous standby was cancelled answers with success and a warning, and is indeterminate.
"""

from __future__ import annotations

import queue
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import Any, Protocol

import psycopg
from psycopg import pq, sql

from dr.config.load import secret
from dr.domain.errors import DrError, ProviderError
from dr.drivers import own_schema
from dr.evidence.clock import SystemClock
from dr.evidence.samples import (
    ACKNOWLEDGED,
    FAILED,
    INDETERMINATE,
    footer,
    header,
    marker_line,
    markers_file,
    next_number,
)
from dr.meter.pace import SECOND, Pace

WRITERS = 4
"""Connections. As many markers can be under way; further ones wait, and their waiting is recorded."""
CLOCK_READINGS = 15
"""The shortest round trip of so many bounds the clock's offset."""
LOOK = 0.1
"""Seconds between two looks at the owner."""


class Journal(Protocol):
    """Where lines go."""

    def write(self, lines: bytes) -> None: ...


@dataclass(frozen=True)
class Login:
    """How to reach the database. ``password`` is a reference, resolved in the process that connects."""

    host: str
    port: int
    database: str
    user: str
    password: str
    ca: str

    def connect(self, timeout: float) -> psycopg.Connection[Any]:
        """An autocommit connection, each wait of which has an end. Raises ProviderError without the password."""
        try:
            return psycopg.connect(
                host=self.host,
                port=self.port,
                dbname=self.database,
                user=self.user,
                password=secret(self.password),
                sslmode="verify-full",
                sslrootcert=self.ca or "system",
                connect_timeout=max(2, round(timeout)),  # libpq takes whole seconds and no fewer than two
                hostaddr="",  # set, so that PGHOSTADDR of this machine's user is not looked at
                options=f"-c statement_timeout={round(timeout * 1000)}",
                application_name="dr-markers",
                autocommit=True,
            )
        except psycopg.Error as error:
            raise ProviderError(f"The markers' database cannot be reached: {_said(error)}.", transient=True) from None


def marker_table(run: str) -> str:
    """The name, within schema dr, of a run's markers."""
    return own_schema.table_name("markers", run)


def create_table(login: Login, run: str, timeout: float = 5.0) -> None:
    """Make the run's table, and schema dr where it is missing; again does no harm. Raises ProviderError."""
    with _statements(login, timeout) as connection, connection.transaction():
        own_schema.make(connection, run)
        connection.execute(
            sql.SQL(
                "CREATE TABLE IF NOT EXISTS {} (n bigint PRIMARY KEY,"
                " sent_at timestamptz NOT NULL, written_at timestamptz NOT NULL DEFAULT clock_timestamp())"
            ).format(own_schema.table(marker_table(run)))
        )


def drop_table(login: Login, run: str, timeout: float = 5.0) -> None:
    """Remove the run's table, and the schema where this run made it. Raises ProviderError."""
    with _statements(login, timeout) as connection:
        own_schema.drop(connection, marker_table(run), run)


@contextmanager
def _statements(login: Login, timeout: float) -> Iterator[psycopg.Connection[Any]]:
    connection = login.connect(timeout)
    try:
        yield connection
    except psycopg.Error as error:
        raise ProviderError(f"The markers' table cannot be changed: {_said(error)}.") from None
    finally:
        connection.close()


def _said(error: psycopg.Error) -> str:
    """The first line of what the server or libpq said; neither repeats the password."""
    return str(error).partition("\n")[0].rstrip(". ") or type(error).__name__


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


def write_markers(config: dict[str, Any], journal: Callable[[Path], Journal], ended: Callable[[], str]) -> str:
    """Write markers at the configured rate until ``ended`` gives a reason, and return it. Raises ProviderError."""
    login, timeout = Login(**config["login"]), float(config["timeout"])
    connection = login.connect(timeout)
    try:
        offset, uncertainty = clock_offset(connection)
    except psycopg.Error as error:
        raise ProviderError(f"The database's clock cannot be read: {_said(error)}.") from None
    finally:
        connection.close()
    file = markers_file(Path(config["run"]), config["path"])
    first = next_number(file)
    out = journal(file)
    out.write(header(config["path"], config["rate"], timeout, SystemClock().now(), offset, uncertainty))
    return _Writers(login, marker_table(config["run_id"]), timeout, out).run(
        Pace(monotonic_ns(), config["rate"], first), ended
    )


class _Writers:
    """A queue of due markers and the threads that write them."""

    def __init__(self, login: Login, table: str, timeout: float, out: Journal) -> None:
        self._login, self._timeout, self._out = login, timeout, out
        self._insert = f"INSERT INTO dr.{table} (n, sent_at) VALUES ($1, $2)".encode()  # noqa: S608  (made by marker_table)
        self._due: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._broken: list[Exception] = []

    def run(self, pace: Pace, ended: Callable[[], str]) -> str:
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(WRITERS)]
        for thread in threads:
            thread.start()
        n, why = pace.first, ""
        while not why and not self._broken:
            wait = (pace.due(n) - monotonic_ns()) / SECOND
            if wait <= 0:
                self._due.put((n, pace.due(n)))
                n += 1
            else:
                time.sleep(min(wait, LOOK))
                why = ended()
        for _ in threads:
            self._due.put(None)
        for thread in threads:
            thread.join(self._timeout * 2)
        if self._broken:
            raise self._broken[0]
        self._note(footer(why, n - 1))
        return why

    def _note(self, line: bytes) -> None:
        with self._lock:
            self._out.write(line)

    def _work(self) -> None:
        connection: psycopg.Connection[Any] | None = None
        while (marker := self._due.get()) is not None and not self._broken:
            try:
                connection = self._write(*marker, connection)
            except Exception as error:  # without a note of this write, none of the evidence would hold
                self._broken.append(error)
        if connection is not None:
            connection.close()

    def _write(self, n: int, due: int, connection: psycopg.Connection[Any] | None) -> psycopg.Connection[Any] | None:
        """Write one marker and note what came of it; returns the connection while it is usable."""
        if monotonic_ns() - due > self._timeout * SECOND:
            self._note(marker_line(n, due, 0, monotonic_ns(), FAILED))  # waited too long: never sent
            return connection
        if connection is None:
            try:
                connection = self._login.connect(self._timeout)
            except DrError:
                self._note(marker_line(n, due, 0, monotonic_ns(), FAILED))
                return None
        sent, wall = monotonic_ns(), time.time()
        self._note(marker_line(n, due, sent, 0, INDETERMINATE))
        outcome = insert(connection.pgconn, self._insert, n, wall, self._timeout)
        self._note(marker_line(n, due, sent, monotonic_ns(), outcome))
        if outcome != INDETERMINATE and connection.pgconn.status == pq.ConnStatus.OK:
            return connection
        with suppress(psycopg.Error):
            connection.close()
        return None


def insert(connection: pq.abc.PGconn, statement: bytes, n: int, sent_at: float, timeout: float) -> str:
    """Insert one marker and wait for the answer, at most ``timeout`` seconds. Returns its outcome.

    Acknowledged: answered without a warning. Failed: the server rejected it and keeps the connection: rolled back.
    Everything else is indeterminate: no answer, a connection that broke, a fatal error, a warning with the commit.
    """
    warnings: list[bytes] = []

    def notice(result: pq.abc.PGresult) -> None:
        if result.error_field(pq.DiagnosticField.SEVERITY_NONLOCALIZED) == b"WARNING":
            warnings.append(b"warning")

    connection.notice_handler = notice
    try:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(sent_at)) + f".{int(sent_at % 1 * 1e6):06d}+00"
        connection.send_query_params(statement, [str(n).encode(), moment.encode()])
        results = _answer(connection, time.monotonic() + timeout)
    except psycopg.Error:
        return INDETERMINATE
    if not results:
        return INDETERMINATE
    if all(r.status == pq.ExecStatus.COMMAND_OK for r in results):
        return INDETERMINATE if warnings else ACKNOWLEDGED
    severity = {r.error_field(pq.DiagnosticField.SEVERITY_NONLOCALIZED) for r in results}
    return FAILED if severity <= {b"ERROR", None} and connection.status == pq.ConnStatus.OK else INDETERMINATE


def _answer(connection: pq.abc.PGconn, until: float) -> list[pq.abc.PGresult]:
    """All results of the statement under way, or none where they did not come in time."""
    results: list[pq.abc.PGresult] = []
    while True:
        connection.flush()
        while not connection.is_busy():
            result = connection.get_result()
            if result is None:
                return results
            results.append(result)
        left = until - time.monotonic()
        if left <= 0 or not select.select([connection.socket], [], [], left)[0]:
            return []
        connection.consume_input()
