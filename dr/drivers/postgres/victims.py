"""The drill's own rows: planted before, made to vanish at a known time, dropped at the end.

Everything happens in schema ``dr``, in a table named after the run. What a crash could forget stands in the comments of
what it concerns, written in the same transaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from psycopg import sql

from dr.drivers.postgres import own_schema
from dr.drivers.postgres.connection import Connection, translated
from dr.drivers.postgres.own_schema import OWN_SCHEMA

ROWS = 200


def victim_table(run: str) -> str:
    """The name, within schema dr, of a run's victims."""
    return own_schema.table_name("victims", run)


def plant(connection: Connection, table: str, run: str) -> int:
    """Make the table with its rows, and schema ``dr`` where it is missing; again, it finds them. Returns the rows.

    Raises RefusedError where the harness's role may not.
    """
    with translated("planting the drill's victims"), connection.transaction():
        own_schema.make(connection, run)
        connection.execute(
            sql.SQL(
                "create table if not exists {} (n bigint primary key, note text not null,"
                " planted_at timestamptz not null default clock_timestamp())"
            ).format(own_schema.table(table))
        )
        connection.execute(
            sql.SQL(
                "insert into {} (n, note) select n, 'synthetic row ' || n from generate_series(1, %s) as n"
                " on conflict do nothing"
            ).format(own_schema.table(table)),
            (ROWS,),
        )
    return ROWS


def drop(connection: Connection, table: str, run: str) -> None:
    """Remove the table, and the schema where this run made it and nothing else is in it."""
    with translated("dropping the drill's victims"):
        own_schema.drop(connection, table, run)


def vanished(connection: Connection, table: str) -> dict[str, Any] | None:
    """What an earlier ``vanish`` noted, or None where the rows are still there."""
    with translated("looking for the drill's victims"):
        row = connection.execute(
            "select obj_description(to_regclass(%s), 'pg_class')", (f"{OWN_SCHEMA}.{table}",)
        ).fetchone()
    return dict(json.loads(row[0])) if row and row[0] else None


def vanish(connection: Connection, table: str, note: Mapping[str, Any]) -> dict[str, Any]:
    """Delete the victims in one transaction that also notes ``note`` on the table, so that a crash cannot part them.

    Returns ``note`` with what was deleted, and when by the server's clock.
    """
    with translated("deleting the drill's victims"), connection.transaction():
        deleted = connection.execute(sql.SQL("delete from {}").format(own_schema.table(table))).rowcount
        clock = connection.execute("select extract(epoch from clock_timestamp())::float8").fetchone()
        done = {**note, "rows": deleted, "database_at": clock[0] if clock else None}
        comment = sql.SQL("comment on table {} is {}").format(own_schema.table(table), sql.Literal(json.dumps(done)))
        connection.execute(comment)
    return done
