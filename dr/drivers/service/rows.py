"""Rows of a run's own in its copy: planted before a service serves from it, counted, and taken away again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import errors, sql

from dr.domain.errors import ProviderError, RefusedError
from dr.domain.refs import Endpoint
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.connection import Connection, connect, one, reason, translated
from dr.drivers.service.config import Planting, Rows, Stored
from dr.drivers.service.variants import planted_names
from dr.evidence.answers import Names

SECONDS = 60.0
"""The most that a statement may take."""

_COLUMNS = """
select a.attname, format_type(a.atttypid, null)
  from pg_attribute a left join pg_index i on i.indrelid = a.attrelid and i.indisprimary
 where a.attrelid = to_regclass(%s) and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
   and (a.attname = any (%s) or (a.attidentity = '' and not coalesce(a.attnum = any (i.indkey), false)))
 order by a.attnum
"""
"""What a copied row has from another. The rest of what identifies it, and what is reckoned, the database fills in."""


def plant(copy: Endpoint, database: PostgresConfig, planting: Planting, run: str) -> int:
    """Copy the rows under names of the run's own, all or none; how many there are. Again, it finds them.

    Raises what ``connect`` raises, and ProviderError where the copy has nothing to be copied.
    """
    names = planted_names(planting, run)
    with _writing(copy, database, planting, "planting rows of the run's own") as connection:
        return sum(_copied(connection, rows, names) for rows in planting.rows)


def uproot(copy: Endpoint, database: PostgresConfig, planting: Planting, stored: Stored | None, run: str) -> int:
    """Delete what ``plant`` has made, and the predictions of it; how many rows that were. Whoever could not plant is
    not asked to delete. Raises what ``connect`` raises, and ProviderError."""
    names = planted_names(planting, run)
    with connect(copy, database, seconds=SECONDS) as connection, translated("looking for the planted rows"):
        if not any(_there(connection, rows, names) for rows in planting.rows):
            return 0
    with _writing(copy, database, planting, "deleting the planted rows") as connection:
        gone = connection.execute(sql.SQL("delete") + _of(stored), (_texts(names),)).rowcount if stored else 0
        for rows in reversed(planting.rows):
            where, values = _where(rows, names)
            query = sql.SQL("delete from {} where ").format(_table(rows.table)) + where
            gone += connection.execute(query, values).rowcount
        return gone


def count_stored(server: Endpoint, database: PostgresConfig, stored: Stored, planting: Planting, run: str) -> int:
    """How many predictions ``server`` holds of what ``plant`` makes. Raises what ``connect`` raises, and
    ProviderError."""
    names = planted_names(planting, run)
    with connect(server, database, seconds=SECONDS) as connection, translated("counting the run's predictions"):
        return int(one(connection, sql.SQL("select count(*)") + _of(stored), (_texts(names),)))


@contextmanager
def _writing(copy: Endpoint, database: PostgresConfig, planting: Planting, what: str) -> Iterator[Connection]:
    user = planting.login.user
    with connect(copy, database, planting.login, seconds=SECONDS) as connection, translated(what):
        try:
            with connection.transaction():
                yield connection
        except errors.InsufficientPrivilege as error:
            hint = "Let it write the tables that service.planted names, or name another login there."
            raise RefusedError(f"The database refused {user} {what}: {reason(error)}.", hint) from None


def _there(connection: Connection, rows: Rows, names: Names) -> int:
    where, values = _where(rows, names)
    query = sql.SQL("select count(*) from {} where ").format(_table(rows.table)) + where
    return int(one(connection, query, values))


def _copied(connection: Connection, rows: Rows, names: Names) -> int:
    table = _table(rows.table)
    if found := _there(connection, rows, names):
        return found
    columns = connection.execute(_COLUMNS, (table.as_string(connection), [*rows.keys])).fetchall()
    if missing := sorted({*rows.keys} - {name for name, _ in columns}):
        raise ProviderError(f"{rows.table} has no column {', '.join(missing)}.", "Correct service.planted.")
    made = [sql.SQL("%s::" + kind) if name in rows.keys else sql.Identifier(name) for name, kind in columns]
    query = sql.SQL("insert into {} ({}) overriding system value select {} from {} where ").format(
        table, sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns), sql.SQL(", ").join(made), table
    )
    where, old = _where(rows, {})
    filled = [names[rows.keys[name]] for name, _ in columns if name in rows.keys]
    copied = connection.execute(query + where, [*filled, *old]).rowcount
    if not copied:
        raise ProviderError(f"{rows.table} of the copy holds no row of those that service.planted names.")
    return copied


def _where(rows: Rows, names: Names) -> tuple[sql.Composed, list[Any]]:
    """The condition that rows have these keys, once they are renamed, and its parameters."""
    each = [sql.SQL("{} = %s").format(sql.Identifier(column)) for column in rows.keys]
    return sql.SQL(" and ").join(each), [names.get(value, value) for value in rows.keys.values()]


def _of(stored: Stored) -> sql.Composed:
    """The predictions of whom a parameter names."""
    where = sql.SQL(" from {} where {}::text = any (%s)")
    return where.format(_table(stored.table), sql.Identifier(stored.column))


def _table(name: str) -> sql.Identifier:
    schema, dot, table = name.rpartition(".")
    return sql.Identifier(schema if dot else "public", table)


def _texts(names: Names) -> list[str]:
    return [str(value) for value in names.values()]
