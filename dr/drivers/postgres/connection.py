"""Connections to PostgreSQL, and its client library's errors as the harness's own.

Every connection is verified TLS; the password goes to the client library as an argument, never into a URL, a command
line or a message.
"""

from __future__ import annotations

import os
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, TypeVar

import psycopg
from psycopg import errors, sql
from psycopg.abc import Params, PQGen
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from dr.config.model import Login
from dr.config.secrets import secret
from dr.domain.errors import (
    DrError,
    HaltedError,
    HiddenStandbyError,
    NoDatabaseError,
    PasswordError,
    ProviderError,
    RefusedError,
    UnreachableError,
)
from dr.domain.looks import DAMAGED
from dr.domain.refs import Endpoint
from dr.drivers.postgres.config import PostgresConfig
from dr.host.bounded import SLICE, given_up, within
from dr.host.clock import SystemClock
from dr.host.hearing import heed

Connection = psycopg.Connection[TupleRow]
T = TypeVar("T")

APPLICATION = "dr"
"""What the harness's sessions are called, whatever role they log in as."""
CONNECT_SECONDS = 10
LEAST_SECONDS = 2
"""The client library waits for a connection no shorter."""
STATEMENT_SECONDS = 3600.0
"""A table of a terabyte is read in one statement; a statement that takes longer hangs."""
STATEMENTS = 4
"""More than are made within one of the short limits."""
ATTEMPTS = 3
"""Addresses of one host that are tried, each for as long as one connection may take, its name's resolution included."""
CLOCK_READINGS = 7
CANCEL_SECONDS = 1.0
"""The most that a statement's cancelling may take: whoever stops the run is not kept."""
_KEEPALIVE = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
}
"""A host that is lost answers nothing: a minute instead of the system's hours."""

_SESSION = {
    "search_path": "pg_catalog",  # catalog functions then print every name qualified, whoever asks
    "row_security": "off",  # a policy that hides rows from the harness is an error, not a smaller sum
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",  # a backslash in what is asked is itself
    "quote_all_identifiers": "off",  # what is named is told apart by how its name is printed
    "lc_monetary": "C",
    "transform_null_equals": "off",
    "gin_fuzzy_search_limit": "0",
    "extra_float_digits": "1",
    "jit": "off",  # compiling costs more than it saves here, and makes times jump
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "0",  # sessions that share one snapshot wait for the slowest table
    "idle_session_timeout": "0",
    "transaction_timeout": "0",  # a look is one transaction of hours
}

_RIGHTS = "Give the harness's role pg_read_all_data and ownership of schema dr."
_CA = "Give a file that can be read and holds the CA that signed its certificate as the target's postgres.ca."
_UNVERIFIED = ("certificate", "ssl", "tls")
_BROKEN = ("syscall", "unexpectedly", "unexpected eof")
"""What the client library says with "SSL" where a connection broke, which is no matter of TLS."""
_PASSWORD = ("password authentication failed", "no password supplied")
_REFUSALS = (
    ("no pg_hba.conf entry", "Let this role and address log in."),
    ("is not permitted to log in", "Give the role LOGIN."),
    ("does not exist", "Correct the target's database or role."),
)
_STANDBY = "the database system is not accepting connections"
"""Of a standby with hot_standby off. One that is "not yet accepting connections" may be on its way to anything."""
_ANSWER = "fatal:"
_NO_CA = "root certificate file"
"""The client library's own words: it does not exist, which no server said."""
_POLICY = "row-level security policy"
_DAMAGED = ("XX", "58")
"""The classes of errors by which PostgreSQL tells that data are damaged, or that a file of them is."""
_OF_NO_VALUE = ("08", "25", "28", "3D", "40", "42", "53", "54", "55", "56", "57", "58", "XX")
"""The classes of errors that speak of connections, transactions, rights, names, resources and files, and of no row."""
_SYNTAX = "42601"
"""A statement's, but also that of a text that a row holds, as where it is taken for words to search for."""
_ENDED = "57P"
"""The SQLSTATEs by which a server ends a session: it shuts down, crashed, or drops the database."""
_PASSING = (
    *_BROKEN,
    "refused",
    "timeout",
    "timed out",
    "starting up",
    "shutting down",
    "in recovery",
    "too many",
    "reset by",
)


def _holds_values(error: psycopg.Error) -> bool:
    if error.sqlstate is None:
        return isinstance(error, psycopg.DataError)
    within_a_function = error.sqlstate.startswith("42") and bool(error.diag.context or error.diag.internal_query)
    # an index's function can make a statement of what a row holds
    return error.sqlstate == _SYNTAX or within_a_function or not error.sqlstate.startswith(_OF_NO_VALUE)


def reason(error: psycopg.Error) -> str:
    """The server's, or else the client library's, own first line, and what to do where only the harness can be told.

    Neither ever holds a password. Of an error whose text may hold a row's values there is no more than its SQLSTATE.
    """
    if _holds_values(error):
        return f"SQLSTATE {error.sqlstate or 'unknown'}, whose text may hold a row's values"
    text = (error.diag.message_primary or str(error)).strip()
    line = text.splitlines()[0] if text else type(error).__name__
    said = line.rsplit("failed: ", 1)[-1].rstrip(".")
    return f"{said}; give the harness's role BYPASSRLS, so that it reads every row" if _POLICY in said else said


def _connect_error(error: psycopg.Error, server: Endpoint, login: Login, database: str) -> DrError:
    said, because = str(error).lower(), reason(error)
    where = f"database {database} at {server} as {login.user}"
    if any(sign in said for sign in _PASSWORD):
        return PasswordError(
            f"Logging in to {where} was refused: {because}.",
            f"The secret {login.secret} is stale, wrong or empty: compare it with the one the role really has.",
        )
    hint = next((hint for sign, hint in _REFUSALS if sign in said and _NO_CA not in said), "")
    if hint:
        refused = NoDatabaseError if because.endswith(f'database "{database}" does not exist') else RefusedError
        return refused(f"Logging in to {where} was refused: {because}.", hint)
    if any(sign in said for sign in _UNVERIFIED) and not any(sign in said for sign in _BROKEN):
        return RefusedError(f"The server at {server} could not be verified by TLS: {because}.", _CA)
    kind = HiddenStandbyError if _STANDBY in said else ProviderError if _ANSWER in said else UnreachableError
    return kind(
        f"The {where} cannot be reached: {because}.",
        "See whether the server runs and this machine may connect to it.",
        transient=any(sign in said for sign in _PASSING),
    )


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the client library's errors inside the block into ``DrError`` that name ``what`` was being done."""
    try:
        yield
    except errors.InsufficientPrivilege as error:
        raise RefusedError(f"The database refused {what}: {reason(error)}.", _RIGHTS) from None
    except errors.QueryCanceled:
        raise ProviderError(f"The database took too long: {what}.", "Look for locks, or a server out of I/O.") from None
    except psycopg.Error as error:
        lost = isinstance(error, psycopg.OperationalError)
        raise ProviderError(
            f"The database failed {what}: {reason(error)}.", code=error.sqlstate or "", transient=lost
        ) from None


def unread(error: psycopg.Error, connection: psycopg.Connection[Any], what: str) -> str:
    """Why one thing was not read, so that the next ones are. Raises as ``translated`` where the session has ended."""
    if connection.closed or (error.sqlstate or "").startswith(_ENDED):
        with translated(what):
            raise error
    return unreadable(error)


def unreadable(error: psycopg.Error) -> str:
    """Why something was not read, and whether that is because it is damaged."""
    return DAMAGED + reason(error) if (error.sqlstate or "").startswith(_DAMAGED) else reason(error)


@contextmanager
def severed_after(connection: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
    """Sever ``connection`` once ``seconds`` have passed inside the block: a server that stands still ends no statement
    by itself, and its host acknowledges all the same.
    """

    def sever() -> None:
        with socket.socket(fileno=os.dup(connection.fileno())) as wire:
            wire.shutdown(socket.SHUT_RDWR)

    watchdog = threading.Timer(seconds, sever)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()
        watchdog.join()


class _Session(psycopg.Connection[TupleRow]):
    """A connection whose statements may take hours, and end once this process is told to stop."""

    def wait(self, gen: PQGen[T], interval: float = SLICE, timeout: float | None = None) -> T:
        """Raises HaltedError; then the server was asked to cancel, and the connection is of no use any more."""
        try:
            return super().wait(_heeding(gen), interval, timeout)
        except HaltedError:
            with suppress(psycopg.Error):  # nobody waits for its answer
                self.cancel_safe(timeout=CANCEL_SECONDS)
            self.pgconn.finish()
            raise


def _heeding(steps: PQGen[T]) -> PQGen[T]:
    """``steps`` of the client library; between two it is looked whether to stop."""
    looked = time.monotonic()
    try:
        state = next(steps)
        while True:
            ready = yield state
            if time.monotonic() - looked >= SLICE:
                heed()
                looked = time.monotonic()
            state = steps.send(ready)
    except StopIteration as end:
        done: T = end.value
        return done


def opened(what: str, **arguments: Any) -> psycopg.Connection[Any]:
    """An autocommitting connection, by ``arguments`` of the client library; ``what`` names it. Its statements end once
    this process is told to stop.

    Raises psycopg.Error, and ProviderError where it is not opened in time, however slowly something answers.
    """

    def step() -> psycopg.Connection[Any]:
        made: psycopg.Connection[Any] = _Session.connect(autocommit=True, **arguments)
        if given_up():
            made.close()
        return made

    return within(SystemClock(), ATTEMPTS * float(arguments["connect_timeout"]), what, step)


@contextmanager
def connect(
    server: Endpoint, database: PostgresConfig, login: Login | None = None, *, seconds: float = STATEMENT_SECONDS
) -> Iterator[Connection]:
    """An autocommitting connection as ``login`` (absent: the harness's own role); closed at the end of the block.

    ``seconds`` bounds every statement, and the waiting for the connection where it is less than that; a short one is
    kept to also where the server stands still.

    Raises RefusedError where the login (PasswordError: its password), the database or the certificate is not accepted,
    or the secret is missing; UnreachableError where no server answers, HiddenStandbyError where a standby does that
    takes no session, and ProviderError where a server does that takes none now.
    """
    role = login or database.harness
    arguments: dict[str, Any] = {
        "host": server.host,
        "port": server.port,
        "dbname": database.name,
        "user": role.user,
        "password": secret(role.secret),
        "sslmode": "verify-full",
        "sslrootcert": database.ca or "system",
        "connect_timeout": min(CONNECT_SECONDS, max(LEAST_SECONDS, round(seconds))),
        "application_name": APPLICATION,
        "client_encoding": "UTF8",  # else the database's, by which no name or snapshot may be text
        "hostaddr": "",  # set, so that PGHOSTADDR and PGOPTIONS of this machine's user are not looked at
        "options": "",
        **_KEEPALIVE,
    }
    what = f"A connection to database {database.name} at {server} as {role.user}"
    try:
        connection: Connection = opened(what, **arguments)
    except psycopg.Error as error:
        raise _connect_error(error, server, role, database.name) from None
    bound = nullcontext() if seconds >= STATEMENT_SECONDS else severed_after(connection, STATEMENTS * seconds)
    with connection, bound:
        with translated("the session's settings"):
            settings = {**_SESSION, "statement_timeout": f"{round(seconds * 1000)}"}
            connection.execute(
                "select set_config(s.name, value, false) from unnest(%s::text[], %s::text[]) as s(name, value)"
                " join pg_settings as known on known.name = s.name",  # an older server has no such setting
                (list(settings), list(settings.values())),
            )
        yield connection


def clock_offset(connection: Connection, now: Callable[[], float]) -> dict[str, float]:
    """Database clock minus the harness's, within ``uncertainty``: half the shortest of several round trips; seconds."""
    best = (float("inf"), 0.0)
    for _ in range(CLOCK_READINGS):
        before = now()
        database = database_clock(connection)
        after = now()
        best = min(best, (after - before, database - (before + after) / 2))
    return {"offset": best[1], "uncertainty": best[0] / 2}


def database_clock(connection: Connection) -> float:
    with translated("reading the server's clock"):
        return float(one(connection, "select extract(epoch from clock_timestamp())::float8"))


def one(connection: Connection, query: str | bytes | sql.Composed, parameters: Params | None = None) -> Any:
    """The first value of a query's first row; None where there is no row. Raises psycopg.Error."""
    row = connection.execute(query, parameters).fetchone()
    return row[0] if row else None


def psql(at: Endpoint, database: PostgresConfig, user: str) -> str:
    """A command to paste, whose argument no name can end. psql asks for the password, and gives it to none but a server
    that the target's CA knows, where it has one."""
    verified = {"sslmode": "verify-full", "sslrootcert": database.ca} if database.ca else {"sslmode": "require"}
    conninfo = make_conninfo(host=at.host, port=at.port, dbname=database.name or None, user=user, **verified)
    return f"psql {shlex.quote(conninfo)}"
