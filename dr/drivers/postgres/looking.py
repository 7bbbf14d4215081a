"""The taking of a look: what a database holds at one moment, summed table by table and never kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec
from psycopg import Error, IsolationLevel, sql
from psycopg.errors import ProgramLimitExceeded

from dr.domain.comparing import comparable, unsettled
from dr.domain.databases import joined, parted
from dr.domain.errors import ProviderError, RefusedError
from dr.domain.looks import (
    BEFORE,
    LATER,
    NOWHERE,
    POINT,
    UNREADABLE,
    UNSURE,
    Look,
    Snapshot,
    TableLook,
    TableRows,
    packed_rows,
)
from dr.domain.refs import Endpoint
from dr.domain.state import CONTENTS, State
from dr.drivers.postgres import state
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.connection import CANCEL_SECONDS, Connection, connect, database_clock, one, translated, unread
from dr.drivers.postgres.fingerprint import (
    Summed,
    Table,
    find_tables,
    names_of,
    parts_of,
    read_rows,
    read_sums,
    rows_query,
    sums_query,
    ways,
)
from dr.drivers.postgres.schema import RECIPE, newest, objects, whole
from dr.drivers.postgres.snapshots import Recovered, finished
from dr.host.hearing import GLANCE, Steps, heed, working

T = TypeVar("T")

MOST_ROWS = 1_000_000
"""Rows of a table that are read one by one; more stay unread."""
_EXCLUDED = "dr.yaml excludes it"
_TOO_LONG_FOR_POSTGRESQL = "invalid memory alloc request size"
"""How it says, as an internal error and so in no other language, that a value would take more than a gigabyte."""
_TABLES = "reading the tables for their checksums"
_MOMENT = """
    select pg_current_snapshot()::text, extract(epoch from statement_timestamp())::float8,
           extract(epoch from clock_timestamp())::float8
"""
_SHORT = """
    select c.relpages > pg_relation_size(c.oid) / s.page
        or (pg_relation_size(c.oid) = 0 and c.reltuples < 0 and exists (
           select from pg_index i join pg_class x on x.oid = i.indexrelid join pg_am m on m.oid = x.relam
            where i.indrelid = c.oid and m.amname = 'btree' and pg_relation_size(x.oid) > s.page))
      from pg_class c, (select current_setting('block_size')::int8 as page) as s where c.oid = %s::regclass
"""
"""Whether a table's file lacks pages: nothing but VACUUM makes one shorter, which counts its rows and pages then."""
_COUNTED = """
    select pg_snapshot_xmax(pg_current_snapshot())::text::int8,
           (select coalesce(sum(tup_inserted + tup_updated + tup_deleted), 0)::int8 from pg_stat_database)
"""
"""The next transaction, and the rows that those before it are known to have written."""
_COUNTED_LATE = 20
"""Times a tenth of a second that a session of a server may keep what it counted to itself."""
_ON_LOGIN = """
    select format('%I', evtname) from pg_event_trigger
     where evtevent = 'login' and evtenabled in ('O', 'A')
       and coalesce(current_setting('event_triggers', true), 'on') = 'on' order by 1
"""
"""Since PostgreSQL 17. A role whose event_triggers are off, which a superuser may set them to, sets none off."""
SUMMING = "set local work_mem = '64MB'; set local enable_sort = off"
"""For the buckets of a table, of which the most take 50 MB, and which are not to be sorted: the planner takes them for
as many as there are rows."""
_FILED = """
    select format('%I.%I', n.nspname, c.relname), c.xmin::text::int8, c.reltuples < 0
      from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'm')
"""
"""Of each table; before PostgreSQL 14 it does not tell whether its rows were counted."""
_TOUCHED = """
    select format('%%I.%%I', schemaname, relname), n_tup_ins + n_tup_upd + n_tup_del
      from pg_stat_all_tables
     where schemaname !~ '^pg_'
       and (select extract(epoch from stats_reset)::text from pg_stat_bgwriter) = %s
       and not exists (select from pg_stat_database d, pg_stat_bgwriter b
                        where d.datname = current_database() and d.stats_reset > b.stats_reset)
       and (%s or n_tup_ins + n_tup_upd + n_tup_del = 0)
"""
"""Of each table, where the statistics count since a given moment, and nobody reset a table's own meanwhile. Where that
is not the recovery, they may count what the source did, and tell no more than that nothing was touched."""


class Question(NamedTuple):
    """What is looked for. ``cuts``: name to snapshot, in their order; none: of this moment alone, as BEFORE.
    ``like``: tables by name whose buckets and methods are followed. ``include``: tables of runs. ``portable``:
    by what is the same on every major version. ``later``: also what no cut shows. ``touched``: also how many rows were
    touched since this recovery of the server, and who filed each table. ``of``: what a person is told is summed.
    ``summed``: what of a table is, and by which method it is followed, or ""."""

    cuts: Mapping[str, Snapshot] = {}
    like: Mapping[str, TableLook] = {}
    include: tuple[str, ...] = ()
    portable: bool = False
    later: bool = True
    touched: Recovered | None = None
    of: str = "the source"
    summed: Callable[[Table, str], Table] = lambda table, _: table


class _Reading(NamedTuple):
    """How one table is read: the first of ``ways`` for which no value is too long as text; ``parts`` and their
    ``names``, what is later last. ``filed``: its file is looked at, too."""

    table: Table
    ways: tuple[Summed, ...]
    buckets: int
    parts: str
    names: tuple[str, ...]
    filed: bool = False


class _Written(NamedTuple):
    """So many ``rows`` a server's statistics told written when ``xid`` was the next transaction."""

    xid: int
    rows: int

    def until(self, later: Snapshot) -> int:
        """As many by then, where each transaction that began meanwhile wrote one."""
        return self.rows + later.xmax - self.xid


class Moment:
    """One repeatable-read snapshot of a server, in as many sessions as may read side by side."""

    def __init__(
        self, sessions: Sequence[Connection], database: PostgresConfig, cut: Snapshot, written: _Written | None
    ) -> None:
        self._sessions, self._tables, self._cut, self._written = sessions, database.tables, cut, written
        self._readings: dict[str, _Reading] = {}
        with translated("reading which moment it is"):
            row = sessions[0].execute(_MOMENT).fetchone()
        assert row is not None  # noqa: S101 - it always yields a row
        self._current, self._before, self._after = Snapshot.parse(row[0]), row[1], row[2]

    def look(self, asked: Question, beside: State) -> Steps[Look]:
        """Sum every table. ``at`` of the answer is after this moment where it has no cut but this, and else before it.
        ``beside``: what was seen of the server before.

        Raises RefusedError where a cut is too old to filter by, ProviderError where the connection is lost.
        """
        first, cuts = self._sessions[0], asked.cuts or {BEFORE: self._cut}
        parts, names = parts_of(cuts.values(), self._current), names_of(cuts)
        major, left_out = major_version(first), dict[str, str]()
        for table, share in self._wanted(asked, left_out):
            like = asked.like.get(table.name)
            like = None if like is None or like.unreadable else like
            method = like.method if like else ""
            summed = asked.summed(table, method)
            kept = {column.number for column in summed.columns}
            if without := [column.name for column in table.columns if column.number not in kept]:
                told = f"its columns {', '.join(without)}, which not every look has"
                left_out[table.name] = "; ".join([*([left_out[table.name]] if share < 1 else []), told])
            hashed = ways(summed, major, method, portable=asked.portable, share=share)
            buckets = like.buckets if like else table.buckets
            self._readings[table.name] = _Reading(summed, hashed, buckets, parts, names, bool(asked.cuts))
        jobs = {name: partial(_sum, reading) for name, reading in self._readings.items()}
        looks = yield from self._side_by_side(jobs, lambda name: f"summing {name} of {asked.of}")
        touched, filed = (_touched(first, asked.touched), _filed(first)) if asked.touched else ({}, {})
        found = {
            name: replace(look, touched=touched.get(name), **filed.get(name, {}))
            for name, look in sorted(looks.items())
        }
        at = self._before if asked.cuts else self._after
        return Look(
            at,
            major,
            str(self._cut),
            {name: str(cut) for name, cut in cuts.items()},
            objects(first),
            found if asked.later else {name: _sooner(look) for name, look in found.items()},
            left_out,
            beside,
            recipe=RECIPE,
            on_login={"": _on_login(first)},
            taken=max(0, self._current.xmax - asked.touched.held.xmax) if asked.touched else None,
            counted=self._written.until(self._current) if self._written else 0,
        )

    def _wanted(self, asked: Question, left_out: dict[str, str]) -> Iterator[tuple[Table, float]]:
        """Each table that is to be summed, with the share of its rows. ``left_out`` gets what dr.yaml leaves out."""
        first, tables = self._sessions[0], self._tables
        named, every = {*tables.exclude, *tables.sample}, find_tables(first, asked.include)
        above = _above(first) if named else {}
        known = [*(one.name for one in every), state.EXCLUDED]
        left_out |= dict.fromkeys(sorted(named.difference(known, *above.values())), NOWHERE)
        if state.EXCLUDED in tables.exclude:
            left_out[CONTENTS] = _EXCLUDED
        for table in every:
            names = (table.name, *above.get(table.name, ()))
            share = next((tables.sample[name] for name in names if name in tables.sample), 1.0)
            if not {*tables.exclude}.isdisjoint(names):
                left_out[table.name] = _EXCLUDED
                continue
            if share < 1:
                left_out[table.name] = f"all but a sample of {share:.3g} of its rows, as dr.yaml says"
            yield table, share

    @property
    def summed(self) -> dict[str, Table]:
        """What of each table was, by name."""
        return {name: reading.table for name, reading in self._readings.items()}

    def rows(
        self, wanted: Mapping[str, tuple[int, ...]], look: Look, of: str, *, later: bool = False
    ) -> Steps[dict[str, TableRows]]:
        """The rows of the ``wanted`` buckets, by table, that some cut of ``look``, the last one, shows; ``later``: also
        the others. A table that cannot be read any more is left out. Raises ProviderError where the connection is lost.
        """
        jobs = {
            name: partial(_rows, self._readings[name], look.tables[name].method, read, later)
            for name, read in wanted.items()
        }
        found = yield from self._side_by_side(jobs, lambda name: f"reading what differs in {name} of {of}")
        return {name: rows for name, rows in sorted(found.items()) if rows is not None}

    def _side_by_side(
        self, jobs: Mapping[str, Callable[[Connection], T]], note: Callable[[str], str]
    ) -> Steps[dict[str, T]]:
        """Each job's answer, as many at once as there are sessions; told before each begins."""
        free, running, done = list(self._sessions), dict[Future[T], tuple[str, Connection]](), dict[str, T]()

        def ended() -> None:
            finished, _ = wait(running, GLANCE, FIRST_COMPLETED)
            heed()
            for future in finished:
                name, session = running.pop(future)
                done[name] = future.result()
                free.append(session)

        with ThreadPoolExecutor(len(free)) as threads:
            try:
                for name, job in jobs.items():
                    while not free:
                        ended()
                    yield working(note(name))
                    session = free.pop()
                    running[threads.submit(job, session)] = (name, session)
                while running:
                    ended()
            except BaseException:
                for _, session in running.values():  # whoever gave up is not kept by what nobody waits for
                    with suppress(Error):
                        session.cancel_safe(timeout=CANCEL_SECONDS)
                raise
        return done


_ABOVE = """
    select quote_ident(n.nspname) || '.' || quote_ident(c.relname),
        array_agg(quote_ident(m.nspname) || '.' || quote_ident(p.relname))
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    cross join lateral pg_partition_ancestors(c.oid) as a(relid)
    join pg_class p on p.oid = a.relid and p.oid <> c.oid join pg_namespace m on m.oid = p.relnamespace
    where c.relispartition group by 1"""


def _above(connection: Connection) -> dict[str, list[str]]:
    """Each partition's partitioned tables: whoever names one of these means all that it holds."""
    with translated("reading which tables are partitions"):
        return dict(connection.execute(_ABOVE).fetchall())


@contextmanager
def moment(server: Endpoint, database: PostgresConfig, since: Recovered | None = None) -> Iterator[Moment]:
    """The present moment of a server; its sessions are closed at the end of the block. ``since``: from its recovery on
    it is told how much was written. Raises as ``connect`` does."""
    with ExitStack() as opened:
        first = opened.enter_context(connect(server, database))
        written = _counted(first, since) if since else None
        cut = finished(first)
        opened.enter_context(_frozen(first))
        sessions = [first]
        if database.connections > 1:
            with translated("sharing one moment among several sessions"):
                shared = one(first, "select pg_export_snapshot()")
        for _ in range(database.connections - 1):
            try:
                another = opened.enter_context(connect(server, database))
            except (ProviderError, RefusedError):  # as where the role may have no more: fewer sum the same
                break
            opened.enter_context(_frozen(another))
            with translated("sharing one moment among several sessions"):
                another.execute(sql.SQL("set transaction snapshot {}").format(sql.Literal(shared)))
            sessions.append(another)
        yield Moment(sessions, database, cut, written)


@contextmanager
def _frozen(connection: Connection) -> Iterator[None]:
    """A REPEATABLE READ, READ ONLY transaction: everything inside sees the same rows."""
    connection.isolation_level, connection.read_only = IsolationLevel.REPEATABLE_READ, True
    with translated(_TABLES), connection.transaction():
        connection.execute(SUMMING)
        yield


def looking(server: Endpoint, database: PostgresConfig, asked: Question) -> Steps[Look]:
    """A look alone, at every database that is looked at; one but the main that cannot be is told in ``unlooked``.
    Raises as ``moment`` and ``Moment.look``."""
    look = yield from _one(server, database, asked)
    cuts = asked.cuts or {BEFORE: Snapshot.parse(look.cuts[BEFORE])}
    for name in database.databases:
        like = parted(asked.like, name)
        theirs = asked._replace(cuts=cuts, like=like, include=(), of=f"database {name} of {asked.of}")
        try:
            other = yield from _one(server, msgspec.structs.replace(database, name=name), theirs)
        except (ProviderError, RefusedError) as error:
            look = replace(look, unlooked={**look.unlooked, name: str(error)})
        else:
            look = joined(look, name, other)
    if database.databases and not asked.cuts:  # what the first cut shows may have gone until the last was looked at
        with connect(server, database) as connection:
            look = replace(look, at=database_clock(connection))
    return look


def _one(server: Endpoint, database: PostgresConfig, asked: Question) -> Steps[Look]:
    beside = yield from seen_beside(server, database, asked.of)
    with moment(server, database) as now:
        return (yield from now.look(asked, beside))


def seen_beside(server: Endpoint, database: PostgresConfig, of: str) -> Steps[State]:
    """What a server holds beside rows and definitions. It is seen before a look's moment, as the look before is to hold
    nothing that is later than that. Raises as ``connect`` and ``state.looking``."""
    with connect(server, database) as connection:
        return (yield from state.looking(connection, database.expendable, database.tables.exclude, of))


def major_version(connection: Connection) -> int:
    """Hash functions are promised to be the same within one major version only (facts/measurement.md)."""
    return connection.info.server_version // 10_000


def differing(before: Look | None, copy: Look, after: Look) -> dict[str, tuple[int, ...]]:
    """The buckets of each table that only their rows can settle, as far as these are few enough to be read."""
    wanted = {}
    for name, here in copy.tables.items():
        there = comparable(here, after.tables.get(name))
        if there is None or here.unreadable:
            continue
        buckets = unsettled(before.tables.get(name) if before else None, here, there)
        if read := _few(buckets, here, there):
            wanted[name] = read
    return wanted


def _few(buckets: tuple[int, ...], *looks: TableLook) -> tuple[int, ...]:
    """The first of ``buckets`` that hold no more than ``MOST_ROWS`` in any look. Of what is later, that of the first
    look alone, the copy, is read."""
    parts = [*((look, part) for look in looks for part in (BEFORE, POINT, UNSURE)), (looks[0], LATER)]
    sums = [look.sums(part) for look, part in parts] if buckets else []
    total = 0
    for n, bucket in enumerate(buckets):
        total += sum(of[bucket].rows for of in sums)
        if total > len(looks) * MOST_ROWS:
            return buckets[:n]
    return buckets


# -- one table


def _sum(reading: _Reading, connection: Connection) -> TableLook:
    """One that cannot be read says why in its method and does not stop the others."""
    why = ""
    for way in reading.ways:
        query = sums_query(reading.table, way, reading.parts, reading.buckets)
        try:
            with connection.transaction():
                found = read_sums(connection, query, reading.buckets, reading.names)
                short = reading.filed and bool(one(connection, _SHORT, (reading.table.name,)))
        except Error as error:
            said = unread(error, connection, _TABLES)
            why = why or said
            if not isinstance(error, ProgramLimitExceeded) and _TOO_LONG_FOR_POSTGRESQL not in str(error):
                break
            continue
        return TableLook(way.method, reading.buckets, found, short=short)
    return TableLook(UNREADABLE + why)


def _rows(
    reading: _Reading, method: str, read: tuple[int, ...], later: bool, connection: Connection
) -> TableRows | None:
    way = next(way for way in reading.ways if way.method == method)
    query = rows_query(reading.table, way, reading.parts, reading.buckets, read)
    try:
        with connection.transaction():
            found = read_rows(connection, query, reading.names if later else reading.names[:-1])
    except Error as error:
        unread(error, connection, _TABLES)
        return None
    return TableRows(read, {part: packed_rows(rows) for part, rows in found.items()})


def _sooner(look: TableLook) -> TableLook:
    """It without what no cut shows."""
    return replace(look, parts={name: part for name, part in look.parts.items() if name != LATER})


def _filed(connection: Connection) -> dict[str, dict[str, Any]]:
    """Who wrote each table's own row of the catalog, and whether its rows were counted since."""
    with translated("reading who wrote the catalog of tables"):
        rows, current = connection.execute(_FILED).fetchall(), newest(connection)
    return {name: {"filed": whole(xid, current), "uncounted": uncounted} for name, xid, uncounted in rows}


def _counted(connection: Connection, since: Recovered) -> _Written:
    """What was written, before the moment of a look: later it would count what that does not show. A session that has
    not told yet what it wrote is waited for."""
    with translated("reading the statistics of databases"):
        for _ in range(_COUNTED_LATE):
            found = _Written(*(connection.execute(_COUNTED).fetchone() or (0, 0)))
            if found.rows >= found.xid - since.held.xmax:
                break
            connection.execute("select pg_sleep(0.1)")
        return found


def _on_login(connection: Connection) -> tuple[str, ...]:
    with translated("reading the event triggers"):
        return tuple(name for (name,) in connection.execute(_ON_LOGIN).fetchall())


def _touched(connection: Connection, since: Recovered) -> dict[str, int]:
    """Rows of each table that were touched ``since`` the server's recovery, where its statistics still tell that."""
    if not since.counted:
        return {}
    with translated("reading the statistics of tables"):
        return dict(connection.execute(_TOUCHED, (since.counted, since.fresh)).fetchall())
