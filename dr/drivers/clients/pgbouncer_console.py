"""PgBouncer's console: its administrator's session, and what it shows of pools and of its limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from dr.config.secrets import secret
from dr.domain.errors import ProviderError, RefusedError
from dr.drivers.clients.config import PoolerConfig
from dr.drivers.postgres.connection import opened, reason, severed_after
from dr.meter.limits import Sizes

SECONDS = 2
"""For a login, and for all that is asked in one session: it answers from memory, and whoever waits is to be heard."""

Session = psycopg.Connection[dict[str, Any]]


class Console:
    """The console of a target's pooler. ``ca``: where the pooler names none of its own."""

    def __init__(self, config: PoolerConfig, ca: str) -> None:
        self._config = config
        self._ca = config.ca or ca

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session of the administrator's; the console knows simple queries only. Raises RefusedError for a login
        that is not accepted, else ProviderError. What it shows is decoded as Latin-1: its bytes may be anything."""
        config = self._config
        try:
            with (
                opened(
                    f"PgBouncer's console at {config.address}",
                    host=config.host,
                    port=config.port,
                    user=config.admin.user,
                    password=secret(config.admin.secret),
                    dbname=config.console,
                    sslmode="verify-full",
                    sslrootcert=self._ca or "system",
                    connect_timeout=SECONDS,
                    client_encoding="latin1",
                    row_factory=dict_row,
                ) as console,
                severed_after(console, SECONDS),
            ):
                yield console
        except psycopg.Error as error:
            said = f"PgBouncer's console at {config.address} failed: {reason(error)}."
            if "password" in str(error).lower() or "sasl" in str(error).lower():
                raise RefusedError(said, "Correct the target's pooler.admin.") from None
            raise ProviderError(
                said, "See whether PgBouncer runs and can be reached from here.", transient=True
            ) from None

    def sizes(self, entry: str) -> Sizes:
        """What PgBouncer allows a pool of ``entry``.

        Raises as ``session`` does, and ProviderError where it shows neither.
        """
        with self.session() as console:
            databases, settings = shown(console, "DATABASES"), shown(console, "CONFIG")
        row: Mapping[str, Any] = next((row for row in databases if row["name"] == entry), {})
        values = {str(row["key"]): row["value"] for row in settings}
        try:
            pool = int(row.get("pool_size") or values["default_pool_size"])
            return Sizes(pool, int(values["max_client_conn"]), float(values["query_wait_timeout"]))
        except (KeyError, TypeError, ValueError):
            raise ProviderError("PgBouncer's console does not show the limits of its pools.") from None


def shown(console: Session, what: str) -> list[dict[str, Any]]:
    """The rows of SHOW ``what``."""
    return console.execute(sql.SQL("SHOW {}").format(sql.SQL(what))).fetchall()
