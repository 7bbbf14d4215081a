"""Which markers a server holds, and what a write comes to at one that should take none."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import errors, sql

from dr.domain.errors import HiddenStandbyError, ProviderError, RefusedError, UnreachableError
from dr.domain.refs import Endpoint
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.connection import Connection, connect, reason, translated
from dr.drivers.postgres.own_schema import OWN_SCHEMA

LOOK_SECONDS = 10.0
WRITE_SECONDS = 3.0
TRIED = -1
"""The number of the row that is attempted: no writer's."""

_ISLANDS = """
select attempt, array_agg(array[low, high] order by low)
  from (select attempt, min(n) as low, max(n) as high
          from (select attempt, n, n - row_number() over (partition by attempt order by n) as island from {}) as rows
         group by attempt, island) as islands
 group by attempt
"""
_SERVER = "select pg_postmaster_start_time()::text, coalesce(inet_server_port(), 0)"


def read_markers(server: Endpoint, database: PostgresConfig, table: str) -> dict[str, Any]:
    """Every row of ``dr.TABLE``: {table: whether it is there, present: attempt to ranges of numbers}.

    Raises what ``connect`` raises, and ProviderError.
    """
    with connect(server, database, seconds=LOOK_SECONDS) as connection, translated("reading the markers"):
        there = connection.execute("select to_regclass(%s) is not null", (f"{OWN_SCHEMA}.{table}",)).fetchone()
        if there != (True,):
            return {"table": False, "present": {}}
        rows = connection.execute(sql.SQL(_ISLANDS).format(sql.Identifier(OWN_SCHEMA, table))).fetchall()
    return {"table": True, "present": {str(attempt): ranges for attempt, ranges in rows}}


def attempt_write(old: Endpoint, new: Endpoint, database: PostgresConfig, table: str) -> dict[str, Any]:
    """Try to write one row to ``old``: {outcome: accepted (with rows: what it took), read-only, refused, unreachable}.

    Refused is said by a standby that takes no session alone: a server that starts, ends or has no room may take writes
    a moment later, and one that does not take this login may take another.

    Raises RefusedError where the attempt proves nothing: ``old`` leads to the very server that ``new`` does, it does
    not take the login, or it failed the write; ProviderError where ``new`` does not answer, and a transient one where
    ``old`` takes no session now, or breaks it off. It may be repeated: a row that was taken is found.
    """
    with connect(new, database, seconds=LOOK_SECONDS) as connection, translated("asking which server this is"):
        primary = _identity(connection)
    try:
        with connect(old, database, seconds=WRITE_SECONDS) as connection:
            return _write(connection, primary, old, table)
    except HiddenStandbyError:
        return {"outcome": "refused"}
    except UnreachableError:
        return {"outcome": "unreachable"}
    except ProviderError as error:
        raise ProviderError(f"The old primary at {old} takes no write now: {error.args[0]}", transient=True) from None


def _identity(connection: Connection) -> Any:
    return connection.execute(_SERVER).fetchone()


def _write(connection: Connection, primary: Any, old: Endpoint, table: str) -> dict[str, Any]:
    insert = sql.SQL("insert into {} (n, attempt, sent_at) values (%s, 0, clock_timestamp())")
    try:
        if _identity(connection) == primary:
            raise RefusedError(f"What listens at {old}, where the old primary was, is the new one.")
        # A server whose standby is gone would wait for it for ever, with the row taken already.
        connection.execute("set synchronous_commit = local")
        connection.execute(insert.format(sql.Identifier(OWN_SCHEMA, table)), (TRIED,))
    except errors.ReadOnlySqlTransaction:
        return {"outcome": "read-only"}
    except errors.UniqueViolation:
        pass  # an attempt before this one was taken
    except psycopg.OperationalError as error:
        raise ProviderError(f"The session broke off: {reason(error)}.") from None
    except psycopg.Error as error:
        raise RefusedError(f"What became of a write at the old primary {old} is not known: {reason(error)}.") from None
    return {"outcome": "accepted", "rows": [f"{OWN_SCHEMA}.{table} n={TRIED}"]}
