"""Whether a service reads the copy for a request: for as long as nobody may read the rows there, it waits for them.

A service that asks the source first, and the copy for what the source lacks, answers what was planted as it should. But
for a golden request it does not wait. The lock is rolled back: nothing is written, and the source has no part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from psycopg import sql

from dr.domain.refs import Endpoint
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.connection import connect, translated
from dr.drivers.service.config import Planting
from dr.drivers.service.rows import SECONDS, table_of
from dr.ports import Clock

REQUESTS = 3
"""Golden requests that are asked so, each with the planted one that is equal to it."""
WITHHELD, GLANCE = 2.0, 0.02
"""Seconds for which nobody reads the rows, at the most, and after which it is looked again who waits."""
READS, WAITS, ANSWERS = "reads", "waits", "answers"
"""It waits to read; for another lock, as whoever stores a row that refers to these; it does not wait."""

_WAITING = """
    select bool_or(l.mode = 'AccessShareLock') from pg_locks l
     where not l.granted and l.locktype = 'relation' and l.pid <> pg_backend_pid()
       and l.relation = any (array(select to_regclass(t)::oid from unnest(%s::text[]) as t))
"""

Said = Mapping[str, Any] | str
"""An answer, or why there was none."""


def withheld(
    copy: Endpoint, database: PostgresConfig, planting: Planting, ask: Callable[[], Said], clock: Clock
) -> tuple[str, Said]:
    """What ``ask`` does while nobody may read the tables of ``planting``, "" where that is not seen; and what it came
    to once they may again. Raises what ``connect`` raises, and ProviderError."""
    tables = [table_of(name) for name in dict.fromkeys(rows.table for rows in planting.rows)]
    with ThreadPoolExecutor(1) as thread, connect(copy, database, planting.login, seconds=SECONDS) as connection:
        names = [one.as_string(connection) for one in tables]
        with translated("locking the tables of the planted rows"), connection.transaction(force_rollback=True):
            connection.execute(f"set local lock_timeout = '{WITHHELD:.0f}s'".encode())
            connection.execute(sql.SQL("lock table {} in access exclusive mode").format(sql.SQL(", ").join(tables)))
            asked, found, until = thread.submit(ask), "", clock.now().at + WITHHELD
            while found != READS and not asked.done() and clock.now().at < until:
                reads = (connection.execute(_WAITING, (names,)).fetchone() or (None,))[0]
                found = found if reads is None else READS if reads else WAITS
                clock.sleep(GLANCE)
            answered = asked.done()
    said = asked.result()
    return (ANSWERS if answered and not isinstance(said, str) else found), said
