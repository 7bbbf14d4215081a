"""What a replica has received and replayed, and what its source has written: asked of each server itself.

Called by: ``dr.drivers.rds_takeover``. The functions asked need no right but to log in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dr.config.model import DatabaseConfig

ASK_SECONDS = 5.0
"""A server that takes longer to answer is not asked: others wait."""

_STANDING = """
select pg_is_in_recovery(),
       (greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'::pg_lsn)::bigint,
       (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint,
       extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float8
"""
"""A replica that was restarted while its source is gone has received, as far as it knows, less than it has replayed."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A server's own view. ``received`` and ``replayed``: log sequence numbers, as numbers. ``behind``: seconds since
    the newest transaction that it replayed was committed, which grows while nothing is written, too."""

    recovering: bool
    received: int | None
    replayed: int | None
    behind: float | None


class Servers:
    """The servers of a target, as its harness's role sees them."""

    def __init__(self, database: DatabaseConfig) -> None:
        self._database = database

    def standing(self, host: str, port: int) -> Standing:
        """Raises RefusedError where the login is not accepted, ProviderError where the server does not answer."""
        return Standing(*self._row(host, port, _STANDING))

    def written(self, host: str, port: int) -> int:
        """Up to where a primary has written its log. Raises as ``standing``."""
        return int(self._row(host, port, "select (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint")[0])

    def _row(self, host: str, port: int, query: str) -> tuple[Any, ...]:
        from dr.drivers.postgres_connection import Server, connect, translated  # psycopg is slow to import

        with (
            connect(Server(host, port), self._database, seconds=ASK_SECONDS) as connection,
            translated("asking how far it is"),
        ):
            row = connection.execute(query.encode()).fetchone()
        return row or ()
