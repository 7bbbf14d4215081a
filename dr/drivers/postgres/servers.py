"""What servers say themselves: what a replica has received, who follows a source, which markers one holds, what a write
comes to at one that should take none, and who is logged in, which shows that a service works on a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import psycopg
from psycopg import errors, sql
from psycopg.pq import PGconn, Ping

from dr.domain.errors import HiddenStandbyError, ProviderError, RefusedError, UnreachableError
from dr.domain.refs import Endpoint
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.connection import APPLICATION, Connection, connect, reason, translated
from dr.drivers.postgres.own_schema import OWN_SCHEMA
from dr.drivers.postgres.snapshots import Recovered, recovered
from dr.ports import Clock

LOOK_SECONDS = 10.0
WRITE_SECONDS = 3.0
TRIED = -1
"""The number of the row that is attempted: no writer's."""

_ISLANDS = """
select attempt, array_agg(array[low, high] order by low)
  from (select attempt, min(n) as low, max(n) as high
          from (select attempt, n, n - row_number() over (partition by attempt order by n) as island from {}) as rows
         group by attempt, island) as islands
 group by attempt
"""
_SERVER = "select pg_postmaster_start_time()::text, coalesce(inet_server_port(), 0)"
GLANCE = 0.002
"""Seconds between two looks: a session that is opened for one request lasts some milliseconds."""
REST = 125
"""Looks that follow an answer: a quarter of a second, in which a service may open what it has found to be missing."""

_SESSIONS = """
select pid from pg_stat_activity
 where usename = %s and datname = current_database() and application_name <> %s
"""

Look = Callable[[], frozenset[int]]
"""The sessions that are there now, by the pid of each one's server process."""
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


class Standing(NamedTuple):
    """A server's own view. ``received`` and ``replayed``: log sequence numbers, as numbers. ``behind``: seconds since
    the newest transaction that it replayed was committed, which grows while nothing is written, too."""

    recovering: bool
    received: int | None
    replayed: int | None
    behind: float | None


class Followed(NamedTuple):
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
        asked = f"host={host} port={port} connect_timeout={ASK_SECONDS:.0f}"
        return PGconn.ping(asked.encode()) == Ping.OK

    def standing(self, host: str, port: int) -> Standing:
        """Raises RefusedError where the login is not accepted, ProviderError where the server does not answer."""
        return Standing(*self._row(host, port, _STANDING))

    def written(self, host: str, port: int) -> int:
        """Up to where a primary has written its log. Raises as ``standing``."""
        return int(self._row(host, port, "select (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint")[0])

    def recovered(self, host: str, port: int) -> Recovered:
        """What a copy holds by its source's log; see ``snapshots.recovered``. Raises as ``standing``."""
        with connect(Endpoint(host, port), self._database, seconds=ASK_SECONDS) as connection:
            return recovered(connection)

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
        with (
            connect(Endpoint(host, port), self._database, seconds=ASK_SECONDS) as connection,
            translated("asking how far it is"),
        ):
            row = connection.execute(query.encode()).fetchone()
        return row or ()


def read_markers(server: Endpoint, database: PostgresConfig, table: str) -> dict[str, Any]:
    """Every row of ``dr.TABLE``: {table: whether it is there, present: attempt to ranges of numbers}.

    Raises what ``connect`` raises, and ProviderError.
    """
    with connect(server, database, seconds=LOOK_SECONDS) as connection, translated("reading the markers"):
        there = connection.execute("select to_regclass(%s) is not null", (f"{OWN_SCHEMA}.{table}",)).fetchone()
        if there != (True,):
            return {"table": False, "present": {}}
        rows = connection.execute(sql.SQL(_ISLANDS).format(sql.Identifier(OWN_SCHEMA, table))).fetchall()
    return {"table": True, "present": {str(attempt): ranges for attempt, ranges in rows}}


def attempt_write(old: Endpoint, new: Endpoint, database: PostgresConfig, table: str) -> dict[str, Any]:
    """Try to write one row to ``old``: {outcome: accepted (with rows: what it took), read-only, refused, unreachable}.

    Refused is said by a standby that takes no session alone: a server that starts, ends or has no room may take writes
    a moment later, and one that does not take this login may take another.

    Raises RefusedError where the attempt proves nothing: ``old`` leads to the very server that ``new`` does, it does
    not take the login, or it failed the write; ProviderError where ``new`` does not answer, and a transient one where
    ``old`` takes no session now, or breaks it off. It may be repeated: a row that was taken is found.
    """
    with connect(new, database, seconds=LOOK_SECONDS) as connection, translated("asking which server this is"):
        primary = _identity(connection)
    try:
        with connect(old, database, seconds=WRITE_SECONDS) as connection:
            return _write(connection, primary, old, table)
    except HiddenStandbyError:
        return {"outcome": "refused"}
    except UnreachableError:
        return {"outcome": "unreachable"}
    except ProviderError as error:
        raise ProviderError(f"The old primary at {old} takes no write now: {error.args[0]}", transient=True) from None


def _identity(connection: Connection) -> Any:
    return connection.execute(_SERVER).fetchone()


def _write(connection: Connection, primary: Any, old: Endpoint, table: str) -> dict[str, Any]:
    insert = sql.SQL("insert into {} (n, attempt, sent_at) values (%s, 0, clock_timestamp())")
    try:
        if _identity(connection) == primary:
            raise RefusedError(f"What listens at {old}, where the old primary was, is the new one.")
        # A server whose standby is gone would wait for it for ever, with the row taken already.
        connection.execute("set synchronous_commit = local")
        connection.execute(insert.format(sql.Identifier(OWN_SCHEMA, table)), (TRIED,))
    except errors.ReadOnlySqlTransaction:
        return {"outcome": "read-only"}
    except errors.UniqueViolation:
        pass  # an attempt before this one was taken
    except psycopg.OperationalError as error:
        raise ProviderError(f"The session broke off: {reason(error)}.") from None
    except psycopg.Error as error:
        raise RefusedError(f"What became of a write at the old primary {old} is not known: {reason(error)}.") from None
    return {"outcome": "accepted", "rows": [f"{OWN_SCHEMA}.{table} n={TRIED}"]}


@contextmanager
def watching(server: Endpoint, database: PostgresConfig, user: str) -> Iterator[Look]:
    """A look at the sessions of ``user`` in the target's database on ``server``, asked anew each time; none of the
    harness's own, which may log in as ``user``, too.

    Raises as ``connect``, and each look ProviderError.
    """
    with connect(server, database, seconds=LOOK_SECONDS) as connection:

        def look() -> frozenset[int]:
            with translated("looking who is logged in"):
                return frozenset(pid for (pid,) in connection.execute(_SESSIONS, (user, APPLICATION)))

        yield look


def seen_beside(
    look: Look, asks: Iterable[Callable[[], object]], before: frozenset[int], clock: Clock
) -> frozenset[int]:
    """Sessions that were not there ``before``, looked for while one after another of ``asks`` is done, and shortly
    after each; empty: none came.

    A service may connect for each request alone, so that nothing shows between two. What an ask is answered with, or
    that it is not, has no part in this. Raises as ``look``, and what an ask raises beyond ProviderError.
    """
    with ThreadPoolExecutor(1) as aside:
        for ask in asks:
            asked, left = aside.submit(ask), REST
            while left:
                if found := look() - before:
                    return found
                left -= asked.done()
                clock.sleep(GLANCE)
            with suppress(ProviderError):
                asked.result()
    return frozenset()
