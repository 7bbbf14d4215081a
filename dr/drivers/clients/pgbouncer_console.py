"""PgBouncer's console: its administrator's session, what it allows a meter, and what its pools hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from dr.config.model import Target
from dr.config.secrets import secret
from dr.domain.errors import DrError, ProviderError, RefusedError
from dr.drivers.clients.config import PoolerConfig, pooler_of
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.connection import opened, reason, severed_after
from dr.drivers.postgres.meter.limits import DIRECT, Sizes, through_pooler

SECONDS = 2
"""For a login, and for all that is asked in one session: it answers from memory, and whoever waits is to be heard."""
CANCELS = ("cl_cancel_req", "cl_active_cancel_req", "cl_waiting_cancel_req", "sv_active_cancel", "sv_being_canceled")
"""Columns of SHOW POOLS, of which each release has some."""

Session = psycopg.Connection[dict[str, Any]]


@contextmanager
def console(config: PoolerConfig, ca: str) -> Iterator[Session]:
    """A session of the administrator's; the console knows simple queries only. ``ca``: where the pooler names none.
    What it shows is decoded as Latin-1: its bytes may be anything. Raises RefusedError for a login that is not
    accepted, else ProviderError."""
    called = f"PgBouncer's console at {config.address}"
    try:
        with (
            opened(
                called,
                host=config.host,
                port=config.port,
                user=config.admin.user,
                password=secret(config.admin.secret),
                dbname=config.console,
                sslmode="verify-full",
                sslrootcert=config.ca or ca or "system",
                connect_timeout=SECONDS,
                client_encoding="latin1",
                row_factory=dict_row,
            ) as session,
            severed_after(session, SECONDS),
        ):
            yield session
    except psycopg.Error as error:
        said = f"{called} failed: {reason(error)}."
        if "password" in str(error).lower() or "sasl" in str(error).lower():
            raise RefusedError(said, "Correct the target's pooler.admin.") from None
        raise ProviderError(said, "See whether PgBouncer runs and can be reached from here.", transient=True) from None


def shown(session: Session, what: str) -> list[dict[str, Any]]:
    """The rows of SHOW ``what``."""
    return session.execute(sql.SQL("SHOW {}").format(sql.SQL(what))).fetchall()


def allowed(target: Target, logins: list[Mapping[str, Any]]) -> dict[str, Any]:
    """``limits``: of each of a meter's endpoints, as it is told them; ``because``: why these are guessed. The console
    is asked, since a pool may have any size; where it does not tell, a path is still to be measured."""
    pooler = pooler_of(target)
    if pooler is None or not all(login.get("pooled") for login in logins):
        return {"limits": asdict(DIRECT)}
    try:
        with console(pooler, target.of(PostgresConfig).ca) as session:
            databases, settings = shown(session, "DATABASES"), shown(session, "CONFIG")
        sizes = [_sizes(str(login["database"]), databases, settings) for login in logins]
    except DrError as error:
        guess = through_pooler(Sizes(), len(logins), known=False)
        return {"limits": asdict(guess), "because": f"PgBouncer's defaults are taken: {error}"}
    least = replace(sizes[0], pool=min(size.pool for size in sizes))
    return {"limits": asdict(through_pooler(least, len(logins)))}


def _sizes(entry: str, databases: list[dict[str, Any]], settings: list[dict[str, Any]]) -> Sizes:
    """What PgBouncer allows a pool of ``entry``. Raises ProviderError where it does not show it."""
    row = next((row for row in databases if row["name"] == entry), {})
    values = {str(row["key"]): row["value"] for row in settings}
    try:
        pool = int(row.get("pool_size") or values["default_pool_size"])
        return Sizes(pool, int(values["max_client_conn"]), float(values["query_wait_timeout"]))
    except (KeyError, TypeError, ValueError):
        raise ProviderError("PgBouncer's console does not show the limits of its pools.") from None


def held(target: Target) -> list[dict[str, Any]]:
    """What each pool holds that others cannot use: clients that wait for a server, cancels at any stage, and of the
    harness's own pools the server connections in use. Raises as ``console`` does.

    What a release of PgBouncer does not show counts as none.
    """
    pooler = pooler_of(target)
    if pooler is None:
        return []
    with console(pooler, target.of(PostgresConfig).ca) as session:
        rows = [row for row in shown(session, "POOLS") if row["database"] != pooler.console]
    own = target.of(PostgresConfig).harness.user
    return [
        {
            "database": str(row["database"]),
            "user": str(row["user"]),
            "waiting": _sum(row, "cl_waiting"),
            "cancels": _sum(row, *CANCELS),
            "busy": _sum(row, "sv_active", "sv_login") if row["user"] == own else 0,
        }
        for row in rows
    ]


def _sum(row: Mapping[str, Any], *columns: str) -> int:
    return sum(int(row.get(column) or 0) for column in columns)
