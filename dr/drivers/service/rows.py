"""Rows of a run's own in its copy: planted before a service serves from it, counted, and taken away again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from psycopg import errors, sql

from dr.domain.errors import NoDatabaseError, ProviderError, RefusedError
from dr.domain.refs import Endpoint
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.connection import Connection, connect, one, reason, translated
from dr.drivers.service.config import Planting, Rows, Stored
from dr.drivers.service.variants import UUID, planted_names
from dr.evidence.answers import Names, stored_form

Held = Counter[tuple[str, str]]
"""How many rows bear a value of the column by which they are found, and hold what has a ``stored_form``."""
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

_KIND = """
select format_type(atttypid, null) from pg_attribute
 where attrelid = to_regclass(%s) and attname = %s and not attisdropped
"""
_INTEGERS = ("smallint", "integer", "bigint", "numeric")


def plant(copy: Endpoint, database: PostgresConfig, planting: Planting, stored: Stored | None, run: str) -> int:
    """Copy the rows under names of the run's own, all or none; how many there are. Again, it finds them. What cannot be
    deleted again, with predictions of it, is not planted.

    Raises what ``connect`` raises, and ProviderError where the copy has nothing to be copied, or where others' rows
    have those names.
    """
    names = planted_names(planting, run)
    with _writing(copy, database, planting, "planting rows of the run's own") as connection:
        made = sum(_copied(connection, rows, names) for rows in planting.rows)
        with connection.transaction(force_rollback=True):
            _delete(connection, planting, stored, names)
        return made


def uproot(
    copy: Endpoint, database: PostgresConfig, planting: Planting, stored: Stored | None, run: str, made: int
) -> int:
    """Delete what ``plant`` has made, and the predictions of it; how many rows that were. Whoever could not plant is
    not asked to delete. ``made``: how many rows it is known to have made; 0: rows count as made by it that are equal to
    what it copies. Raises what ``connect`` raises, and ProviderError."""
    names = planted_names(planting, run)
    try:
        if not made and not _look(copy, database, planting, names):
            return 0
        with _writing(copy, database, planting, "deleting the planted rows") as connection:
            return _delete(connection, planting, stored, names)
    except (ProviderError, RefusedError) as error:
        tables = ", ".join(
            dict.fromkeys([*(rows.table for rows in planting.rows), *([stored.table] if stored else [])])
        )
        keys, user = ", ".join(_texts(names)), planting.login.user
        raise ProviderError(
            f"Rows of run {run} may still be in {tables} of the copy at {copy}, which {user} was to delete: {error}",
            f"Mend that and repeat 'dr cleanup {run}', or delete the rows there whose keys are: {keys}.",
        ) from None


def count_stored(
    server: Endpoint, database: PostgresConfig, stored: Stored, planting: Planting, run: str, tolerance: float = 0.0
) -> Held:
    """How many predictions ``server`` holds of what ``plant`` makes, by what stands in them: none where their table, or
    the database, is gone. Raises what ``connect`` raises, and ProviderError."""
    names = planted_names(planting, run)
    try:
        with connect(server, database, seconds=SECONDS) as connection, translated("reading the run's predictions"):
            where, values = _of(connection, stored, names)
            asked = [sql.SQL("{}::text").format(sql.Identifier(stored.column))]
            asked += [sql.SQL("to_jsonb({})").format(sql.Identifier(column)) for column in stored.values.values()]
            rows = connection.execute(sql.SQL("select ") + sql.SQL(", ").join(asked) + where, (values,)).fetchall()
    except NoDatabaseError:
        return Counter()
    except ProviderError as error:
        if error.code != errors.UndefinedTable.sqlstate:
            raise
        return Counter()
    return Counter(
        (str(key), stored_form(dict(zip(stored.values, held, strict=True)), tolerance)) for key, *held in rows
    )


def _look(copy: Endpoint, database: PostgresConfig, planting: Planting, names: Names) -> int:
    """How many rows ``plant`` has made, as the harness's own role sees them."""
    with connect(copy, database, seconds=SECONDS) as connection, translated("looking for the planted rows"):
        return sum(_made(connection, rows, names, _columns(connection, rows)) for rows in planting.rows)


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


def _delete(connection: Connection, planting: Planting, stored: Stored | None, names: Names) -> int:
    """How many rows that were. Raises ProviderError where one is still there after that, as a trigger may have it."""
    gone = 0
    if stored is not None:
        where, values = _of(connection, stored, names)
        gone = connection.execute(sql.SQL("delete") + where, (values,)).rowcount
    for rows in reversed(planting.rows):
        where, values = _where(rows, names)
        query = sql.SQL("delete from {} where ").format(table_of(rows.table)) + where
        gone += connection.execute(query, values).rowcount
        if _there(connection, rows, names):
            raise ProviderError(f"{rows.table} keeps planted rows that are deleted.", "See its triggers and rules.")
    return gone


def _there(connection: Connection, rows: Rows, names: Names) -> int:
    where, values = _where(rows, names)
    query = sql.SQL("select count(*) from {} where ").format(table_of(rows.table)) + where
    return int(one(connection, query, values))


def _made(connection: Connection, rows: Rows, names: Names, columns: Mapping[str, str]) -> int:
    """How many rows have the run's names. Raises ProviderError where one of them is not equal in all else to a row that
    it would be copied from: it is somebody's own, and must not be deleted."""
    found = _there(connection, rows, names)
    if not found:
        return 0
    (new, renamed), (old, known), table = _where(rows, names), _where(rows, {}), table_of(rows.table)
    same = sql.SQL("n.{0}::text is not distinct from o.{0}::text")
    alike = [sql.SQL(" and ") + same.format(sql.Identifier(name)) for name in columns if name not in rows.keys]
    query = sql.SQL("select count(*) from {0} n where {1} and exists (select from {0} o where {2}{3})").format(
        table, new, old, sql.Composed(alike)
    )
    if int(one(connection, query, [*renamed, *known])) < found:
        raise ProviderError(
            f"{rows.table} of the copy holds rows under the names of the run's own that are no copies.",
            "They are left alone. Another run has other names.",
        )
    return found


def _columns(connection: Connection, rows: Rows) -> dict[str, str]:
    """The columns that a copied row has from another, each with its type. Raises ProviderError where a key is none."""
    values = (table_of(rows.table).as_string(connection), [*rows.keys])
    columns = {str(name): str(kind) for name, kind in connection.execute(_COLUMNS, values).fetchall()}
    if missing := sorted({*rows.keys} - {*columns}):
        raise ProviderError(f"{rows.table} has no column {', '.join(missing)}.", "Correct service.planted.")
    return columns


def _copied(connection: Connection, rows: Rows, names: Names) -> int:
    table, columns = table_of(rows.table), _columns(connection, rows)
    if found := _made(connection, rows, names, columns):
        return found
    made = [sql.SQL("%s::" + kind) if name in rows.keys else sql.Identifier(name) for name, kind in columns.items()]
    query = sql.SQL("insert into {} ({}) overriding system value select {} from {} where ").format(
        table, sql.SQL(", ").join(map(sql.Identifier, columns)), sql.SQL(", ").join(made), table
    )
    where, old = _where(rows, {})
    filled = [names[rows.keys[name]] for name in columns if name in rows.keys]
    copied = connection.execute(query + where, [*filled, *old]).rowcount
    if not copied:
        raise ProviderError(f"{rows.table} of the copy holds no row of those that service.planted names.")
    return copied


def _where(rows: Rows, names: Names) -> tuple[sql.Composed, list[Any]]:
    """The condition that rows have these keys, once they are renamed, and its parameters."""
    each = [sql.SQL("{} = %s").format(sql.Identifier(column)) for column in rows.keys]
    return sql.SQL(" and ").join(each), [names.get(value, value) for value in rows.keys.values()]


def _of(connection: Connection, stored: Stored, names: Names) -> tuple[sql.Composed, list[Any]]:
    """The predictions of what has these names, and the parameter that holds them: of the column's own type, so that its
    index is of use."""
    table, values = table_of(stored.table), list[object](names.values())
    kind = one(connection, _KIND, (table.as_string(connection), stored.column))
    column = sql.Identifier(stored.column)
    if kind in _INTEGERS:
        held = sql.SQL("{} = any (%s::bigint[])").format(column)
        values = [value for value in values if isinstance(value, int)]
    elif kind == "uuid":
        held = sql.SQL("{} = any (%s::uuid[])").format(column)
        values = [*filter(UUID.fullmatch, _texts(names))]
    else:
        held, values = sql.SQL("{}::text = any (%s)").format(column), [*_texts(names)]
    return sql.SQL(" from {} where ").format(table) + held, values


def table_of(name: str) -> sql.Identifier:
    """A table by its name in dr.yaml: with its schema, or in public."""
    schema, dot, table = name.rpartition(".")
    return sql.Identifier(schema if dot else "public", table)


def _texts(names: Names) -> list[str]:
    return [str(value) for value in names.values()]
