"""The content of a database as sums: what equal copies share, and any altered row changes.

Rows are summed under a recorded pg_snapshot, so that a copy is compared with what its source held at that moment,
whatever both have written since (facts/measurement.md). A filter cannot bring back what was updated or deleted after
the snapshot: that is what a baseline's repeat is for. The same holds for what a subtransaction wrote that was open at
the snapshot (pg_snapshot does not list it) and for a frozen row whose 32-bit xid has come round again: the repeat
differs, and the table is inconclusive, never wrongly equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from psycopg import Error, IsolationLevel
from psycopg.errors import ProgramLimitExceeded

from dr.domain.errors import ProviderError, RefusedError
from dr.domain.model import Baseline, Fingerprint, Repeat, TableSum
from dr.drivers.postgres.connection import Connection, reason, translated
from dr.drivers.postgres.own_schema import OWN_SCHEMA
from dr.drivers.postgres.schema import schema_digests
from dr.host.hearing import Steps, working

UNREADABLE = "unreadable: "
"""Begins the method of a table that could not be summed; the reason follows."""

_EPOCH = 1 << 32
_REACH = 1 << 31
"""Transactions after which a snapshot can no longer be told from the future in 32 bits."""
_FIRST_NORMAL = 3
"""Lower xids are permanent: always visible."""
_BITMAP = 48
"""Nullable columns in one bitmap word."""
_CHAINED = 330
"""Columns in one chain of hashes: PostgreSQL's stack (2 MB by default) bears some 1,600, at 1.5 kB each."""
_ARGUMENTS = 90
"""PostgreSQL's functions take a hundred."""
_BYTES_ALREADY = frozenset({"text", "varchar", "bytea"})
"""Types that md5 takes as they are."""
_TOO_LONG_FOR_POSTGRESQL = "invalid memory alloc request size"
"""How it says, as an internal error and so in no other language, that a value would take more than a gigabyte."""


class Snapshot(NamedTuple):
    """A pg_snapshot: transactions below ``xmax`` that are not in ``running`` are visible in it. 64-bit xids."""

    xmin: int
    xmax: int
    running: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """From "xmin:xmax:xip,xip". Raises ProviderError on anything else."""
        try:
            low, high, running = text.split(":")
            return cls(int(low), int(high), tuple(int(x) for x in running.split(",") if x))
        except ValueError:
            raise ProviderError(f"{text!r} is not a pg_snapshot.", "The baseline is damaged: take a new one.") from None


class Column(NamedTuple):
    """``base``: the type's name in pg_catalog, domains resolved; "" for a type from elsewhere."""

    name: str
    base: str
    nullable: bool

    @property
    def of_row(self) -> str:
        """It in the row ``t``, in SQL."""
        return 't."{}"'.format(self.name.replace('"', '""'))


class Table(NamedTuple):
    """A table that holds rows of its own: an ordinary one, or the leaf of a partitioned one. ``name`` is as SQL has it,
    quoted where it must be."""

    name: str
    columns: tuple[Column, ...]


def visible_in(snapshot: Snapshot, current: Snapshot) -> str:
    """A condition on the 32-bit column ``t.xmin``: of the rows visible in ``current``, those visible in ``snapshot``.

    The same as pg_visible_in_snapshot over xmin with its epoch restored (the newest one that is not in ``current``'s
    future), at a third of the cost and in parallel plans: xids have no order in SQL, but their sent bytes have, and
    casts by way of text are slow. Raises RefusedError where too many transactions lie in between.
    """
    if current.xmax - snapshot.xmax >= _REACH:
        raise RefusedError(
            f"The baseline is {current.xmax - snapshot.xmax} transactions old, too many to compare with.",
            "Take baselines more often.",
        )
    conditions = ["true"]
    if current.xmax > snapshot.xmax:
        conditions.append(_outside(snapshot.xmax, current.xmax))
    if snapshot.running:
        listed = ",".join(str(xid % _EPOCH) for xid in snapshot.running)
        conditions.append(f"t.xmin <> all ('{{{listed}}}'::xid[])")
    return " and ".join(conditions)


def _outside(low: int, high: int) -> str:
    """xmin is none of the transactions from ``low`` up to ``high``, compared as 32-bit numbers on their circle."""
    sent, first, last = "xidsend(t.xmin)", low % _EPOCH, high % _EPOCH
    below, beyond = f"{sent} < '\\x{first:08x}'::bytea", f"{sent} >= '\\x{last:08x}'::bytea"
    if high < _EPOCH:
        return below  # the first epoch: nothing has come round yet
    if first < last:
        return f"({below} or {beyond})"
    return f"(({below} and {beyond}) or {sent} < '\\x{_FIRST_NORMAL:08x}'::bytea)"


_TYPED: dict[str, tuple[str, str, str]] = {
    # base type: hash function, how a value is brought to its argument's type, and what stands for null there.
    # Only types where equal hashes mean equal values; the others (numeric's 1.0 and 1.00, a float's zero, which hashes
    # to its seed, timestamps, whose halves are folded, json's structure, intervals, arrays) go by their text.
    "bool": ("hashint4extended", "::int4", "0"),
    "int2": ("hashint2extended", "", "0::int2"),
    "int4": ("hashint4extended", "", "0"),
    "int8": ("", "", "0"),  # its hash folds two halves onto each other: the seed holds the value whole
    "uuid": ("uuid_hash_extended", "", "uuid '00000000-0000-0000-0000-000000000000'"),
}
_BY_TEXT = ("hashtextextended", '::text collate "C"', "''")


def _chained(column: Column) -> str:
    """The hash of one column's value, up to its seed, which is the hash of all before it."""
    function, cast, missing = _TYPED.get(column.base, _BY_TEXT)
    value = f"coalesce({column.of_row}{cast}, {missing})" if column.nullable else f"{column.of_row}{cast}"
    return f"{function}({value}, " if function else _mixed(value)


def _mixed(value: str) -> str:
    return f"hashint8extended({value}, {value} # "


def _null_bitmap(columns: Sequence[Column]) -> str:
    terms = [f"case when {c.of_row} is null then {1 << n}::int8 else 0 end" for n, c in enumerate(columns)]
    return f"({' + '.join([*terms, '0::int8'])})"


def row_hash(columns: Sequence[Column]) -> str:
    """64 bits of the row ``t``: not linear, so values swapped between rows or columns change the sum, which they do not
    with hash_record (a weighted sum of its columns' hashes).

    A table of more columns than one chain bears is hashed in several, and these by their text, which is not linear
    either. A narrower table's hash must stay what it is: stored baselines are compared with it.
    """
    chains = [_chain(columns[start : start + _CHAINED]) for start in range(0, len(columns) or 1, _CHAINED)]
    return chains[0] if len(chains) == 1 else f"hashtextextended(concat_ws(',', {', '.join(chains)}) collate \"C\", 0)"


def _chain(columns: Sequence[Column]) -> str:
    """Each column's hash seeds the next. A bitmap of the nulls goes first, because the hash functions are strict and
    coalesce alone would take null for a value."""
    nullable = [c for c in columns if c.nullable]
    words = [_null_bitmap(nullable[start : start + _BITMAP]) for start in range(_BITMAP, len(nullable), _BITMAP)]
    steps = [*map(_mixed, words), *map(_chained, columns)]
    return "".join(reversed(steps)) + _null_bitmap(nullable[:_BITMAP]) + ")" * len(steps)


PORTABLE = "('x' || substr(md5(t::text), 1, 16))::bit(64)::int8"
"""64 bits of the row ``t`` that are the same on every major version; three to five times slower than ``row_hash``."""


def binary_row_hash(columns: Sequence[Column]) -> str:
    """64 bits, on every major version the same, for which no value is made text, but for what is text anyway: a
    ``bytea`` of half a gigabyte is a whole one as text, and PostgreSQL holds no longer value."""
    values = [c.of_row if c.base in _BYTES_ALREADY else f"record_send(row({c.of_row}))" for c in columns]
    digests = [f"coalesce(md5({value}), '-')" for value in values]
    parts = [
        f"concat_ws(',', {', '.join(digests[start : start + _ARGUMENTS])})"
        for start in range(0, len(digests), _ARGUMENTS)
    ]
    whole = ", ".join(["''", *parts])
    return f"('x' || substr(md5(concat_ws(',', {whole})), 1, 16))::bit(64)::int8"


def checksum_query(table: Table, snapshot: Snapshot, current: Snapshot, hashed: str) -> bytes:
    """Count and sum of the hashes of ``table``'s own rows that are visible in ``snapshot``, and the count of all.

    ``hashed``: the hash of a row ``t``.
    """
    seen = f"filter (where {visible_in(snapshot, current)})"
    sums = f"count(*) {seen}, coalesce(sum({hashed}) {seen}, 0)::text, count(*)"
    return f"select {sums} from only {table.name} as t".encode()  # noqa: S608 - names are quoted


_TABLES = """
    with recursive bases(oid, base) as (
        select oid, oid from pg_type where typtype <> 'd'
        union all select d.oid, b.base from pg_type d join bases b on b.oid = d.typbasetype where d.typtype = 'd')
    select format('%%I.%%I', n.nspname, c.relname),
           coalesce(array_agg(a.attname::text order by a.attnum) filter (where a.attnum is not null), '{}'),
           coalesce(array_agg(case when tn.nspname = 'pg_catalog' then t.typname::text else '' end order by a.attnum)
                    filter (where a.attnum is not null), '{}'),
           coalesce(array_agg(not a.attnotnull order by a.attnum) filter (where a.attnum is not null), '{}')
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      left join bases b on b.oid = a.atttypid
      left join pg_type t on t.oid = b.base
      left join pg_namespace tn on tn.oid = t.typnamespace
     where c.relkind = 'r' and c.relpersistence = 'p'
       and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
       and (n.nspname <> %(own)s or format('%%I.%%I', n.nspname, c.relname) = any (%(include)s))
     group by 1 order by 1
"""


def find_tables(connection: Connection, include: Iterable[str] = ()) -> tuple[Table, ...]:
    """Every permanent table that holds rows of its own, in any schema but the system's and the harness's.

    Of schema ``dr`` only what ``include`` names. A partitioned table is its leaves. Left out, because a physical
    recovery does not bring them back or they hold no rows: unlogged and temporary tables, foreign tables, views and
    materialized views; the schema's digests have them.
    """
    with translated("reading the catalog of tables"):
        rows = connection.execute(_TABLES, {"own": OWN_SCHEMA, "include": list(include)}).fetchall()
    return tuple(
        Table(name, tuple(Column(*column) for column in zip(names, bases, nullable, strict=True)))
        for name, names, bases, nullable in rows
    )


@contextmanager
def _one_moment(connection: Connection) -> Iterator[None]:
    """A REPEATABLE READ, READ ONLY transaction: everything inside sees the same rows."""
    connection.isolation_level, connection.read_only = IsolationLevel.REPEATABLE_READ, True
    try:
        with connection.transaction():
            yield
    finally:
        if not connection.closed:
            connection.isolation_level, connection.read_only = None, None


def _sum(connection: Connection, ways: Iterable[tuple[str, bytes]]) -> TableSum:
    """One table's sum by the first of ``ways`` (method, query) for which no value is too long as text; one that cannot
    be read says why in its method and does not stop the others."""
    why = ""
    for method, query in ways:
        try:
            with connection.transaction():
                row = connection.execute(query).fetchone()
        except Error as error:
            if connection.closed:
                raise
            why = why or reason(error)
            if not isinstance(error, ProgramLimitExceeded) and _TOO_LONG_FOR_POSTGRESQL not in str(error):
                break
            continue
        assert row is not None  # noqa: S101 - an aggregate always yields a row
        return TableSum(int(row[0]), str(row[1]), method, int(row[2]))
    return TableSum(0, "", UNREADABLE + why)


def summing(
    connection: Connection,
    snapshot: str | None = None,
    include: Iterable[str] = (),
    *,
    portable: bool = False,
    of: str = "the source",
) -> Steps[Fingerprint]:
    """Sum every table under ``snapshot`` (None: the present one, recorded in the answer), all in one transaction.

    ``at`` is the server's clock: all that the present snapshot shows was committed by then; under a given one, all that
    was committed by then was looked at. ``portable``: by md5, for a comparison between major versions.
    ``of``: what a person is told to be summed.

    Raises RefusedError where the snapshot is too old to filter by, ProviderError where the connection is lost.
    """
    with translated("reading the tables for their checksums"), _one_moment(connection):
        row = connection.execute(
            "select pg_current_snapshot()::text, extract(epoch from statement_timestamp())::float8,"
            " extract(epoch from clock_timestamp())::float8"
        ).fetchone()
        assert row is not None  # noqa: S101
        current, before, after = row
        major = major_version(connection)
        wanted = snapshot or current
        method = "md5/1" if portable else f"hash-{major}/1"
        seen, tables = (Snapshot.parse(wanted), Snapshot.parse(current)), {}
        for table in find_tables(connection, include):
            yield working(f"summing {table.name} of {of}")
            usual, binary = PORTABLE if portable else row_hash(table.columns), binary_row_hash(table.columns)
            ways = ((method, usual), ("binary/1", binary))
            queries = ((way, checksum_query(table, *seen, hashed)) for way, hashed in ways)
            tables[table.name] = _sum(connection, queries)
        at = after if snapshot is None else before
        return Fingerprint(at, major, wanted, schema_digests(connection), tables)


def major_version(connection: Connection) -> int:
    """Hash functions are promised to be the same within one major version only (facts/measurement.md)."""
    return connection.info.server_version // 10_000


def differences(before: Fingerprint, after: Fingerprint) -> tuple[str, ...]:
    """Names of the tables whose sums, and of the objects whose definitions, are not the same in both."""
    tables = {n for n in {*before.tables, *after.tables} if before.tables.get(n) != after.tables.get(n)}
    objects = {n for n in {*before.schema, *after.schema} if before.schema.get(n) != after.schema.get(n)}
    return (*sorted(tables), *sorted(objects))


def repeating(connection: Connection, baseline: Baseline, include: Iterable[str] = ()) -> Steps[Baseline]:
    """``baseline`` with one more repeat: its tables summed again under its own filter, its objects read again.

    Raises RefusedError where too many transactions have passed to filter by it.
    """
    again = yield from summing(connection, baseline.fingerprint.snapshot, include)
    totals = {name: table.total for name, table in again.tables.items()}
    repeat = Repeat(again.at, differences(baseline.fingerprint, again), totals)
    return replace(baseline, repeats=(*baseline.repeats, repeat))
