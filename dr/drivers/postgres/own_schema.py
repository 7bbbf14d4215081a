"""Schema ``dr`` on a source: the harness's own tables, which no run leaves behind, and the drill's rows that vanish.

What a crash could forget stands in the comments of what it concerns, written in the same transaction.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql

OWN_SCHEMA = "dr"
USERS_OWN = "n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"
"""A condition on pg_namespace ``n``, in SQL: no schema of PostgreSQL's."""
_OWN_TABLES = "'^(markers|victims)_.*[0-9]{8}_[0-9]{6}_'"
"""How the names begin that ``table_name`` gives to runs' tables, and those of what PostgreSQL makes for these."""
_MADE_BY = "made by dr run "
HARNESS_SCHEMA = f"n.nspname = '{OWN_SCHEMA}' and obj_description(n.oid, 'pg_namespace') like '{_MADE_BY}%'"
"""The same: the harness's schema, where a run made it. Who made it beforehand may have things of their own there."""
_NAME_LENGTH = 63
ROWS = 200


def harness_tables(of: str) -> str:
    """A condition in SQL on pg_class ``of``, and pg_namespace ``n``: a run's table, or an index of one. A person's own
    in the schema is none."""
    return f"(n.nspname = '{OWN_SCHEMA}' and {of}.relname ~ {_OWN_TABLES})"


def table_name(kind: str, run: str) -> str:
    """A run's table of ``kind``, within the schema: what SQL takes unquoted, no longer than PostgreSQL keeps."""
    return f"{kind}_{re.sub(r'[^a-z0-9]+', '_', run.lower())}"[:_NAME_LENGTH]


def victims(run: str) -> str:
    """A run's victims, with the schema."""
    return f"{OWN_SCHEMA}.{table_name('victims', run)}"


def table(name: str) -> sql.Identifier:
    """``name`` within the schema, quoted."""
    return sql.Identifier(OWN_SCHEMA, name)


def make(connection: psycopg.Connection[Any], run: str) -> None:
    """Make the schema where it is missing, marked as ``run``'s. It is looked for first, since IF NOT EXISTS wants the
    right to create schemas even where there is nothing to create. Raises psycopg.Error."""
    if connection.execute("SELECT to_regnamespace(%s)", (OWN_SCHEMA,)).fetchone() == (None,):
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(OWN_SCHEMA)))
        mark = sql.Literal(_made_by(run))
        connection.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(OWN_SCHEMA), mark))


def drop(connection: psycopg.Connection[Any], name: str, run: str) -> None:
    """Drop table ``name``, and the schema where ``run`` made it and nothing else is in it. Raises psycopg.Error."""
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table(name)))
    ours = connection.execute(
        "SELECT FROM pg_namespace n WHERE n.nspname = %s AND obj_description(n.oid, 'pg_namespace') = %s"
        " AND NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid)",
        (OWN_SCHEMA, _made_by(run)),
    ).fetchone()
    if ours is not None:
        connection.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(OWN_SCHEMA)))


def _made_by(run: str) -> str:
    return f"{_MADE_BY}{run}"


def plant(connection: psycopg.Connection[Any], run: str) -> None:
    """Make the victims' table with its rows, in one transaction; again, it finds them. Raises psycopg.Error."""
    name = table(table_name("victims", run))
    with connection.transaction():
        make(connection, run)
        connection.execute(
            sql.SQL(
                "create table if not exists {} (n bigint primary key, note text not null,"
                " planted_at timestamptz not null default clock_timestamp())"
            ).format(name)
        )
        connection.execute(
            sql.SQL(
                "insert into {} (n, note) select n, 'synthetic row ' || n from generate_series(1, %s) as n"
                " on conflict do nothing"
            ).format(name),
            (ROWS,),
        )


def vanished(connection: psycopg.Connection[Any], run: str) -> dict[str, Any] | None:
    """What an earlier ``vanish`` noted, or None where the rows are still there. Raises psycopg.Error."""
    row = connection.execute("select obj_description(to_regclass(%s), 'pg_class')", (victims(run),)).fetchone()
    return dict(json.loads(row[0])) if row and row[0] else None


def vanish(connection: psycopg.Connection[Any], run: str, note: Mapping[str, Any]) -> dict[str, Any]:
    """Delete the victims in one transaction that also notes ``note`` on the table, so that a crash cannot part them.

    Returns ``note`` with the number of rows that were deleted. Raises psycopg.Error.
    """
    name = table(table_name("victims", run))
    with connection.transaction():
        done = {**note, "rows": connection.execute(sql.SQL("delete from {}").format(name)).rowcount}
        connection.execute(sql.SQL("comment on table {} is {}").format(name, sql.Literal(json.dumps(done))))
    return done
