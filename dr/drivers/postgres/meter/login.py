"""How a meter reaches a database: the login, its address, and a connection for what may take its time.

Verified TLS, always; PostgreSQL's own environment variables decide nothing.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from dr.config.secrets import secret
from dr.domain.errors import ProviderError

LOOK_UP = 1.0
"""Seconds between two looks at where a name leads: an endpoint's name leads to another host after a failover."""


@dataclass(frozen=True)
class Login:
    """How to reach the database. ``password`` is a reference, resolved in the process that connects.

    ``pooled``: through PgBouncer in transaction mode, which refuses ``options`` in the startup message, and hands what
    SET sets to whoever comes next: no time-out but the client's own holds there.
    """

    host: str
    port: int
    database: str
    user: str
    password: str
    ca: str
    pooled: bool = False

    def conninfo(self, timeout: float, addresses: Sequence[str] = ()) -> str:
        """libpq's connection string, with the password. ``addresses``: where the host was found, or libpq looks."""
        many = max(1, len(addresses))
        return make_conninfo(
            host=",".join([self.host] * many),
            hostaddr=",".join(addresses),  # set, so that PGHOSTADDR of this machine's user is not looked at
            port=self.port,
            dbname=self.database,
            user=self.user,
            password=secret(self.password),
            sslmode="verify-full",
            sslrootcert=self.ca or "system",
            gssencmode="disable",
            options="" if self.pooled else f"-c statement_timeout={round(timeout * 1000)}",
            application_name="dr-markers",
        )

    def connect(self, timeout: float) -> psycopg.Connection[Any]:
        """An autocommit connection, each wait of which has an end. Raises ProviderError without the password."""
        try:
            return psycopg.connect(
                self.conninfo(timeout),
                connect_timeout=max(2, round(timeout)),  # libpq takes whole seconds and no fewer than two
                autocommit=True,
                prepare_threshold=None,
            )
        except psycopg.Error as error:
            raise ProviderError(f"The markers' database cannot be reached: {said(error)}.", transient=True) from None


def said(error: psycopg.Error) -> str:
    """The first line of what the server or libpq said; neither repeats the password."""
    return str(error).partition("\n")[0].rstrip(". ") or type(error).__name__


class Addresses:
    """Where a host's name leads now. A thread of its own looks it up again and again, since looking up blocks."""

    def __init__(self, host: str) -> None:
        """Raises ProviderError where the name is unknown."""
        self.now: tuple[str, ...] = ()
        if host.startswith("/"):
            return  # a Unix socket's directory
        try:
            self.now = _looked_up(host)
        except OSError as error:
            raise ProviderError(f"The host {host!r} cannot be resolved: {error.strerror}.") from None
        if host not in self.now:
            threading.Thread(target=self._look, args=(host,), daemon=True).start()

    def _look(self, host: str) -> None:
        while True:
            time.sleep(LOOK_UP)
            try:
                self.now = _looked_up(host)
            except OSError:
                continue  # the last known address is tried on: names fail in a failover, too


def _looked_up(host: str) -> tuple[str, ...]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))
