"""How a person reaches a database that was restored, and leads the service to it. Pure."""

from __future__ import annotations

import shlex

from dr.domain.model import Component
from dr.domain.refs import Endpoint, Ref
from dr.drivers.postgres.config import PostgresConfig

UNVERIFIED = "The target names no CA file (postgres.ca), so psql does not verify the server's certificate."


def component(of: Ref, at: Endpoint, database: PostgresConfig) -> Component:
    """The database of the instance ``of``, to which a person connects as the application does."""
    return Component(
        role="database",
        ref=of,
        endpoint=at,
        connect=psql(at, database, database.first.user),
        cut_over=(
            "Stop every writer of the old database.",
            f"Point the service's DATABASE_URL at {at} and restart it.",
        ),
        note="" if database.ca else UNVERIFIED,
    )


def psql(at: Endpoint, database: PostgresConfig, user: str) -> str:
    """A command to paste. psql asks for the password, and gives it to none but the server that the target's CA knows,
    where it has one; a quote in a name cannot end the argument."""
    parts: dict[str, object] = {"host": at.host, "port": at.port, "dbname": database.name, "user": user}
    parts |= {"sslmode": "verify-full", "sslrootcert": database.ca} if database.ca else {"sslmode": "require"}
    conninfo = " ".join(f"{key}={_conninfo(value)}" for key, value in parts.items() if value != "")
    return f"psql {shlex.quote(conninfo)}"


def _conninfo(value: object) -> str:
    text = str(value)
    if text and not any(c.isspace() or c in "'\\" for c in text):
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
