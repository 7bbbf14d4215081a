"""How somebody reaches a database of the lab: a name for everything a connection needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from dr.lab.servers.postgres import translated


@dataclass(frozen=True, slots=True)
class Access:
    """``host``: a name, with TLS checked against the authority ``ca``; or a socket's directory, without."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    ca: str = ""

    @property
    def encrypted(self) -> bool:
        return not self.host.startswith("/")

    def environment(self) -> dict[str, str]:
        """The same for PostgreSQL's programs; the password never stands among arguments."""
        values = {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.database,
        }
        return values | ({"PGSSLMODE": "verify-full", "PGSSLROOTCERT": self.ca} if self.encrypted else {})

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection[Any]]:
        """A session that commits at its end. Raises ProviderError instead of psycopg's errors."""
        security: dict[str, Any] = {"sslmode": "verify-full", "sslrootcert": self.ca} if self.encrypted else {}
        with (
            translated(f"The database {self.database} on port {self.port}"),
            psycopg.connect(
                host=self.host,
                port=self.port,
                user=self.user,
                password=self.password,
                dbname=self.database,
                connect_timeout=10,
                **security,
            ) as connection,
        ):
            yield connection
