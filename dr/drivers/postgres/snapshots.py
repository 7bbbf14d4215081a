"""Which transactions a server had finished at a moment, as a snapshot by which rows can be told on another server, too.

What pg_current_snapshot() says is not enough. It lists no subtransactions, and on a copy it knows nothing of those
transactions that were under way at the recovery point: their rows are not there, and may be on the source later.
"""

from __future__ import annotations

from psycopg import Error

from dr.domain.looks import Snapshot
from dr.drivers.postgres.connection import Connection, one, translated
from dr.host.hearing import Steps, working

ASKED = 2_000_000
"""The newest transactions that are looked at one by one, a second or two."""
_AT_ONCE = 200_000

_UNDER_WAY = """
    select array_agg(x) from generate_series(%s::int8, %s::int8 - 1) as x
     where pg_xact_status(x::text::xid8) = 'in progress'
"""
_NOT_DONE = """
    select array_agg(x) from generate_series(%s::int8, %s::int8 - 1) as x
     where pg_xact_status(x::text::xid8) <> 'committed'
"""
_NOT_ABORTED = """
    select array_agg(x) from unnest(%s::int8[]) as x
     where x < pg_snapshot_xmax(pg_current_snapshot())::text::int8
       and pg_xact_status(x::text::xid8) is distinct from 'aborted'
"""
_RECOVERED = """
    select case when position(':' in next_xid) > 0
                then (split_part(next_xid, ':', 1)::int8 << 32) + split_part(next_xid, ':', 2)::int8 end
      from pg_control_checkpoint()
     where timeline_id = ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int4
"""
"""The next transaction at the newest checkpoint: at first the one that ends the recovery, before any session is taken.
What a replica wrote down while it followed its source is of the source's timeline."""


def finished(connection: Connection) -> Snapshot:
    """What is finished now: of all that it shows, what was committed is visible in whatever snapshot is taken next.

    Raises ProviderError.
    """
    with translated("reading which transactions are under way"):
        now = Snapshot.parse(str(one(connection, "select pg_current_snapshot()::text")))
        first = max(now.xmin, now.xmax - ASKED)
        found = one(connection, _UNDER_WAY, (first, now.xmax)) or ()
    return Snapshot(now.xmin, now.xmax, tuple(sorted({*now.running, *found})))


def recovered(connection: Connection) -> Snapshot:
    """What a copy holds by its source's log: its snapshot of now, less whatever it was told to write since it ended its
    recovery. Raises ProviderError."""
    with translated("reading what was recovered"):
        now = Snapshot.parse(str(one(connection, "select pg_current_snapshot()::text")))
        try:
            end = one(connection, _RECOVERED)
        except Error:  # it may not be asked: then nothing is told of what was written before this
            if connection.closed:
                raise
            end = None
    xmax = now.xmax if end is None else min(now.xmax, int(end))
    return Snapshot(min(now.xmin, xmax), xmax, tuple(xid for xid in now.running if xid < xmax))


def unfinished(copy: Connection, point: Snapshot, since: int) -> Steps[tuple[int, ...]]:
    """The transactions that ``point``, a copy's own snapshot, would show and that did not end before the recovery
    point, as far as they began with ``since`` or later: there they are broken off. Raises ProviderError."""
    found: list[int] = []
    for first in range(max(since, point.xmax - ASKED, 3), point.xmax, _AT_ONCE):
        yield working("looking which transactions were under way at the recovery point")
        with translated("reading which transactions it broke off"):
            found += one(copy, _NOT_DONE, (first, min(first + _AT_ONCE, point.xmax))) or ()
    return tuple(found)


def less(point: Snapshot, source: Connection, broken_off: tuple[int, ...]) -> Snapshot:
    """``point`` without those of ``broken_off`` that the source did not break off, too: it may show their rows.

    Raises ProviderError.
    """
    with translated("reading which transactions were committed later"):
        later = one(source, _NOT_ABORTED, (list(broken_off),)) or () if broken_off else ()
    return Snapshot(point.xmin, point.xmax, tuple(sorted({*point.running, *later})))
