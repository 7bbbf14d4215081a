"""Who is logged in to a server: what shows that a service works on a copy, and not on some other database.

pg_stat_activity tells every role who is there, though not what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from dr.domain.errors import ProviderError
from dr.domain.refs import Endpoint
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.connection import APPLICATION, connect, translated
from dr.ports import Clock

LOOK_SECONDS = 10.0
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
