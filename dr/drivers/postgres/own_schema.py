"""Schema ``dr`` on a source: where the harness's own tables stand while a run lasts, and which no run leaves behind."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg import sql

OWN_SCHEMA = "dr"
_NAME_LENGTH = 63


def table_name(kind: str, run: str) -> str:
    """A run's table of ``kind``, within the schema: what SQL takes unquoted, no longer than PostgreSQL keeps."""
    return f"{kind}_{re.sub(r'[^a-z0-9]+', '_', run.lower())}"[:_NAME_LENGTH]


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
    return f"made by dr run {run}"
