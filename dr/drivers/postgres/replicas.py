"""What a replica has received and replayed, and what its source has written and who follows it: asked of each server
itself.

Only who follows a server, and whether one streams, need a right beyond that to log in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dr.domain.errors import RefusedError
from dr.domain.refs import Endpoint
from dr.drivers.postgres.config import PostgresConfig

ASK_SECONDS = 5.0
"""A server that takes longer to answer is not asked: others wait."""

_STANDING = """
select pg_is_in_recovery(),
       (greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'::pg_lsn)::bigint,
       (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint,
       extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float8
"""
"""A replica that was restarted while its source is gone has received, as far as it knows, less than it has replayed."""

_FOLLOWED = """
select count(*) filter (where state = 'streaming'),
       count(*) filter (where state = 'streaming' and sync_state in ('sync', 'quorum')),
       count(*) filter (where state is null),
       current_setting('synchronous_commit')
  from pg_stat_replication as r
 where not exists (select from pg_replication_slots as s where s.active_pid = r.pid and s.slot_type = 'logical')
"""
"""Who decodes the log takes nobody's place, and is left out. To a role that may not look, a row shows its pid alone."""

_RECEIVES = """
select exists (select from pg_stat_wal_receiver
                where status = 'streaming' and last_msg_receipt_time > clock_timestamp() - interval '10 s')
"""
"""Markers are written while this is asked, so that one whose wire was cut has been without a word for as long."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A server's own view. ``received`` and ``replayed``: log sequence numbers, as numbers. ``behind``: seconds since
    the newest transaction that it replayed was committed, which grows while nothing is written, too."""

    recovering: bool
    received: int | None
    replayed: int | None
    behind: float | None


@dataclass(frozen=True, slots=True)
class Followed:
    """How many servers stream from a primary, for how many of them a commit waits, and what it waits for (the setting
    synchronous_commit) in the harness's own sessions."""

    standbys: int
    synchronous: int
    commit: str


class Servers:
    """The servers of a target, as its harness's role sees them."""

    def __init__(self, database: PostgresConfig) -> None:
        self._database = database

    def answers(self, host: str, port: int) -> bool:
        """Whether a server accepts connections; without logging in."""
        from psycopg.pq import PGconn, Ping  # psycopg is slow to import

        asked = f"host={host} port={port} connect_timeout={ASK_SECONDS:.0f}"
        return PGconn.ping(asked.encode()) == Ping.OK

    def standing(self, host: str, port: int) -> Standing:
        """Raises RefusedError where the login is not accepted, ProviderError where the server does not answer."""
        return Standing(*self._row(host, port, _STANDING))

    def written(self, host: str, port: int) -> int:
        """Up to where a primary has written its log. Raises as ``standing``."""
        return int(self._row(host, port, "select (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint")[0])

    def followed(self, host: str, port: int) -> Followed:
        """Who streams from a server. Raises as ``standing``, and RefusedError where the role may not see that."""
        standbys, synchronous, hidden, commit = self._row(host, port, _FOLLOWED)
        if hidden:
            raise RefusedError(
                f"The harness's role may not see how the source at {Endpoint(host, port)} replicates.",
                "Give it pg_read_all_stats.",
            )
        return Followed(int(standbys), int(synchronous), str(commit))

    def receives(self, host: str, port: int) -> bool:
        """Whether a replica says that it streams now; not where it may not be asked that. Raises as ``standing``."""
        return bool(self._row(host, port, _RECEIVES)[0])

    def _row(self, host: str, port: int, query: str) -> tuple[Any, ...]:
        from dr.drivers.postgres.connection import connect, translated  # psycopg is slow to import

        with (
            connect(Endpoint(host, port), self._database, seconds=ASK_SECONDS) as connection,
            translated("asking how far it is"),
        ):
            row = connection.execute(query.encode()).fetchone()
        return row or ()
