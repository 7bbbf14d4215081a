"""Which transactions a server had finished at a moment, as a snapshot by which rows can be told on another server, too.

What pg_current_snapshot() says is not enough. It lists no subtransactions, and on a copy it knows nothing of those
transactions that were under way at the recovery point: their rows are not there, and may be on the source later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from psycopg import Error

from dr.domain.looks import Snapshot
from dr.drivers.postgres.connection import Connection, one, translated
from dr.drivers.postgres.fingerprint import REACH
from dr.host.hearing import Steps, working

ASKED = 2_000_000
"""The newest transactions that are looked at one by one, a few seconds. What became of older ones is unsure."""
ASKED_SINCE = 50_000_000
"""The same since a moment of which it is known what was under way: two minutes at most, a few seconds as a rule."""
_AT_ONCE = 200_000
_FIRST = 3
"""Lower ones are nobody's."""

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
                then (split_part(next_xid, ':', 1)::int8 << 32) + split_part(next_xid, ':', 2)::int8 end,
           redo_lsn = checkpoint_lsn and (prev_timeline_id <> timeline_id
               or coalesce(b.stats_reset >= pg_postmaster_start_time(), false))
      from pg_control_checkpoint(), pg_stat_bgwriter as b
     where timeline_id = ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int4
"""
"""The next transaction at the newest checkpoint, and whether that is the one which ends the recovery, before any
session is taken: nothing was at work meanwhile, and it begins a timeline or the statistics were discarded since the
server's start, which a recovery does and a restart does not. What a replica wrote down while it followed its source is
of the source's timeline."""
_COUNTED = """
    select extract(epoch from stats_reset)::text, stats_reset >= pg_postmaster_start_time() from pg_stat_bgwriter
"""
"""Since when the statistics count. A server that is stopped keeps them; its recovery discards them, and so does whoever
resets them."""
_COUNTED_SINCE = 150_000
"""The version from which on a table's own are exact."""
_OWN = "select coalesce(sum(xact_commit + xact_rollback), 0)::int8 from pg_stat_database"
"""Transactions since the recovery, which discards what was counted before it; those that only read are among them."""
_UNCOUNTED = 100
"""Transactions that the statistics may not tell of yet."""


class Unfinished(NamedTuple):
    """``broken_off``: transactions that did not end before the recovery point. ``unsure``: of those from the first to
    before the second, nobody looked; both 0: all were looked at."""

    broken_off: tuple[int, ...]
    unsure: tuple[int, int] = (0, 0)


class Recovered(NamedTuple):
    """``held``: all that anybody but the provider can have written later is beyond it. ``sure``: of transactions from
    this one on the provider itself may have written them on the copy, after its recovery: RDS does so, and starts the
    server anew. A transaction of the same number on the source is another one then. ``counted``: the moment since
    when its statistics count, as it is written; "" where they do not tell. ``fresh``: that is this recovery, and no
    moment of the source's."""

    held: Snapshot
    sure: int
    counted: str = ""
    fresh: bool = False

    @classmethod
    def parse(cls, told: Mapping[str, Any]) -> Recovered:
        """From what ``told`` gave. Raises EvidenceError, KeyError."""
        counted = (str(told.get("counted", "")), bool(told.get("fresh", False)))
        return cls(Snapshot.parse(told["held"]), int(told["sure"]), *counted)

    def told(self) -> dict[str, Any]:
        """It for a ledger."""
        return {"held": str(self.held), "sure": self.sure, "counted": self.counted, "fresh": self.fresh}

    def cut(self) -> Snapshot:
        """``held``, unsure from ``sure`` on. Where others are unsure already, those are left out of it."""
        if self.sure >= self.held.xmax:
            return self.held
        if any(self.held.unsure):
            return self.held.below(self.sure)
        return self.held._replace(unsure=(self.sure, self.held.xmax))


def finished(connection: Connection) -> Snapshot:
    """What is finished now: of all that it shows, what was committed is visible in whatever snapshot is taken next.

    Raises ProviderError.
    """
    with translated("reading which transactions are under way"):
        now = Snapshot.parse(str(one(connection, "select pg_current_snapshot()::text")))
        if now.xmax - now.xmin > ASKED_SINCE:  # what was begun since, by whoever works for so long, is not asked for
            return now.below(now.xmin)
        found = one(connection, _UNDER_WAY, (now.xmin, now.xmax)) or ()
    return Snapshot(now.xmin, now.xmax, tuple(sorted({*now.running, *found})))


def recovered(connection: Connection) -> Recovered:
    """What a copy holds by its source's log: its snapshot of now, less whatever it was told to write since it ended its
    recovery. Raises ProviderError."""
    with translated("reading what was recovered"):
        now = Snapshot.parse(str(one(connection, "select pg_current_snapshot()::text")))
        try:
            end, exact = connection.execute(_RECOVERED).fetchone() or (None, False)
        except Error:  # it may not be asked: then nothing is told of what was written before this
            if connection.closed:
                raise
            end, exact = None, False
        own = 0 if exact else int(one(connection, _OWN)) + _UNCOUNTED
        old = connection.info.server_version < _COUNTED_SINCE
        counted, fresh = ("", False) if old else connection.execute(_COUNTED).fetchone() or ("", False)
    held = now if end is None else now.below(int(end))
    return Recovered(held, max(0, held.xmax - own), counted or "", bool(fresh))


def unfinished(copy: Connection, point: Snapshot, since: int) -> Steps[Unfinished]:
    """The transactions that ``point``, a copy's own snapshot, would show and that did not end before the recovery
    point: there they are broken off. ``since``: none is older, 0 where that is not known. Raises ProviderError."""
    found: list[int] = []
    oldest = max(since, point.xmax - REACH, _FIRST)
    asked = max(oldest, point.xmax - (ASKED_SINCE if since else ASKED))
    for first in range(asked, point.xmax, _AT_ONCE):
        yield working("looking which transactions were under way at the recovery point")
        with translated("reading which transactions it broke off"):
            found += one(copy, _NOT_DONE, (first, min(first + _AT_ONCE, point.xmax))) or ()
    return Unfinished(tuple(found), (oldest, asked) if oldest < asked else (0, 0))


def less(point: Snapshot, source: Connection, open_then: Unfinished) -> Snapshot:
    """``point`` without those that were broken off and that the source did not break off, too: it may show their rows.

    Raises ProviderError.
    """
    asked = list(open_then.broken_off)
    with translated("reading which transactions were committed later"):
        later = one(source, _NOT_ABORTED, (asked,)) or () if asked else ()
    return Snapshot(point.xmin, point.xmax, tuple(sorted({*point.running, *later})), open_then.unsure)
