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
from dataclasses import dataclass

from psycopg import Error, IsolationLevel, sql
from psycopg.errors import ProgramLimitExceeded

from dr.domain.errors import ProviderError, RefusedError
from dr.domain.model import Fingerprint, TableSum
from dr.drivers.postgres.connection import Connection, reason, translated
from dr.drivers.postgres.own_schema import OWN_SCHEMA
from dr.drivers.postgres.schema import schema_digests
from dr.host.steps import Steps, at_once, working

UNREADABLE = "unreadable: "
"""Begins the method of a table that could not be summed; the reason follows."""

_EPOCH = 1 << 32
_REACH = 1 << 31
"""Transactions after which a snapshot can no longer be told from the future in 32 bits."""
_FIRST_NORMAL = 3
"""Lower xids are permanent: always visible."""
_XMIN = sql.SQL("t.xmin")
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


@dataclass(frozen=True, slots=True)
class Snapshot:
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


@dataclass(frozen=True, slots=True)
class Column:
    """``base``: the type's name in pg_catalog, domains resolved; "" for a type from elsewhere."""

    name: str
    base: str
    nullable: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table that holds rows of its own: an ordinary one, or the leaf of a partitioned one."""

    qualified: str
    """How observations and findings name it: as SQL would, quoted where it must be."""
    schema: str
    name: str
    columns: tuple[Column, ...]


def visible_in(snapshot: Snapshot, current: Snapshot, xmin: sql.Composable = _XMIN) -> sql.Composed:
    """A condition on the 32-bit column ``xmin``: of the rows visible in ``current``, those visible in ``snapshot``.

    The same as pg_visible_in_snapshot over xmin with its epoch restored (the newest one that is not in ``current``'s
    future), at a third of the cost and in parallel plans: xids have no order in SQL, but their sent bytes have, and
    casts by way of text are slow. Raises RefusedError where too many transactions lie in between.
    """
    if current.xmax - snapshot.xmax >= _REACH:
        raise RefusedError(
            f"The baseline is {current.xmax - snapshot.xmax} transactions old, too many to compare with.",
            "Take baselines more often.",
        )
    conditions: list[sql.Composable] = [sql.SQL("true")]
    if current.xmax > snapshot.xmax:
        conditions.append(_outside(xmin, snapshot.xmax, current.xmax))
    if snapshot.running:
        listed = "{" + ",".join(str(x % _EPOCH) for x in snapshot.running) + "}"
        conditions.append(sql.SQL("{} <> all ({}::xid[])").format(xmin, sql.Literal(listed)))
    return sql.SQL(" and ").join(conditions)


def _outside(xmin: sql.Composable, low: int, high: int) -> sql.Composed:
    """``xmin`` is none of the transactions from ``low`` up to ``high``, compared as 32-bit numbers on their circle."""

    def compared(operator: str, xid: int) -> sql.Composed:
        value = sql.SQL(f"'\\x{xid % _EPOCH:08x}'::bytea")
        return sql.SQL("xidsend({}) {} {}").format(xmin, sql.SQL(operator), value)

    if high < _EPOCH:
        return compared("<", low)  # the first epoch: nothing has come round yet
    if low % _EPOCH < high % _EPOCH:
        return sql.SQL("({} or {})").format(compared("<", low), compared(">=", high))
    between = sql.SQL("({} and {})").format(compared("<", low), compared(">=", high))
    return sql.SQL("({} or {})").format(between, compared("<", _FIRST_NORMAL))


def _hashing(function: str, cast: str = "{}", missing: str = "0") -> tuple[str, str, str]:
    return function, cast, missing


_TYPED: dict[str, tuple[str, str, str]] = {
    # base type: hash function, how a value is brought to its argument's type, and what stands for null there.
    # Only types where equal hashes mean equal values; the others (numeric's 1.0 and 1.00, a float's zero, which hashes
    # to its seed, timestamps, whose halves are folded, json's structure, intervals, arrays) go by their text.
    "bool": _hashing("hashint4extended", "{}::int4"),
    "int2": _hashing("hashint2extended", missing="0::int2"),
    "int4": _hashing("hashint4extended"),
    "uuid": _hashing("uuid_hash_extended", missing="uuid '00000000-0000-0000-0000-000000000000'"),
}
_BY_TEXT = _hashing("hashtextextended", '{}::text collate "C"', "''")


def _chained(column: Column) -> tuple[sql.Composable, sql.Composable]:
    """The hash of one column's value: what stands before and after its seed, which is the hash of all before it."""
    name = sql.SQL("t.{}").format(sql.Identifier(column.name))
    if column.base == "int8":  # its hash folds two halves onto each other: the seed holds the value whole
        return _mixed(sql.SQL("coalesce({}, 0)").format(name) if column.nullable else name)
    function, cast, missing = _TYPED.get(column.base, _BY_TEXT)
    value = sql.SQL(cast).format(name)
    if column.nullable:
        value = sql.SQL("coalesce({}, {})").format(value, sql.SQL(missing))
    return sql.SQL("{}({}, ").format(sql.SQL(function), value), sql.SQL(")")


def _mixed(value: sql.Composable) -> tuple[sql.Composable, sql.Composable]:
    return sql.SQL("hashint8extended({0}, {0} # ").format(value), sql.SQL(")")


def _null_bitmap(columns: Sequence[Column]) -> sql.Composed:
    terms = [
        sql.SQL("case when t.{} is null then {}::int8 else 0 end").format(sql.Identifier(c.name), sql.Literal(1 << n))
        for n, c in enumerate(columns)
    ]
    return sql.SQL("({})").format(sql.SQL(" + ").join([*terms, sql.SQL("0::int8")]))


def row_hash(columns: Sequence[Column]) -> sql.Composed:
    """64 bits of the row ``t``: not linear, so values swapped between rows or columns change the sum, which they do not
    with hash_record (a weighted sum of its columns' hashes).

    A table of more columns than one chain bears is hashed in several, and these by their text, which is not linear
    either. A narrower table's hash must stay what it is: stored baselines are compared with it.
    """
    chains = [_chain(columns[start : start + _CHAINED]) for start in range(0, len(columns), _CHAINED)]
    if len(chains) < 2:
        return chains[0] if chains else _chain(())
    return sql.SQL("hashtextextended(concat_ws(',', {}) collate \"C\", 0)").format(sql.SQL(", ").join(chains))


def _chain(columns: Sequence[Column]) -> sql.Composed:
    """Each column's hash seeds the next. A bitmap of the nulls goes first, because the hash functions are strict and
    coalesce alone would take null for a value.

    Laid out flat here, since each column is one level deeper in SQL, and Python composes no more than some hundred.
    """
    nullable = [c for c in columns if c.nullable]
    words = [_null_bitmap(nullable[start : start + _BITMAP]) for start in range(_BITMAP, len(nullable), _BITMAP)]
    steps = [*(_mixed(word) for word in words), *(_chained(column) for column in columns)]
    innermost = _null_bitmap(nullable[:_BITMAP])
    return sql.Composed([*(before for before, _ in reversed(steps)), innermost, *(after for _, after in steps)])


def portable_row_hash() -> sql.Composable:
    """64 bits that are the same on every major version; three to five times slower than ``row_hash``."""
    return _sixty_four_bits(sql.SQL("t::text"))


def binary_row_hash(columns: Sequence[Column]) -> sql.Composable:
    """64 bits, on every major version the same, for which no value is made text, but for what is text anyway: a
    ``bytea`` of half a gigabyte is a whole one as text, and PostgreSQL holds no longer value."""
    digests = [sql.SQL("coalesce(md5({}), '-')").format(_bytes(column)) for column in columns]
    parts = [
        sql.SQL("concat_ws(',', {})").format(sql.SQL(", ").join(digests[start : start + _ARGUMENTS]))
        for start in range(0, len(digests), _ARGUMENTS)
    ]
    return _sixty_four_bits(sql.SQL("concat_ws(',', {})").format(sql.SQL(", ").join([sql.SQL("''"), *parts])))


def _bytes(column: Column) -> sql.Composed:
    """What of a column's value md5 takes."""
    form = "t.{}" if column.base in _BYTES_ALREADY else "record_send(row(t.{}))"
    return sql.SQL(form).format(sql.Identifier(column.name))


def _sixty_four_bits(text: sql.Composable) -> sql.Composed:
    return sql.SQL("('x' || substr(md5({}), 1, 16))::bit(64)::int8").format(text)


def checksum_query(
    table: Table, snapshot: Snapshot, current: Snapshot, hashed: sql.Composable | None = None
) -> sql.Composed:
    """Count and sum of the hashes of ``table``'s own rows that are visible in ``snapshot``, and the count of all.

    ``hashed``: the hash of a row ``t``; by default ``row_hash``.
    """
    return sql.SQL(
        "select count(*) filter (where {visible}), coalesce(sum({hash}) filter (where {visible}), 0)::text, count(*)"
        " from only {table} as t"
    ).format(
        hash=row_hash(table.columns) if hashed is None else hashed,
        table=sql.Identifier(table.schema, table.name),
        visible=visible_in(snapshot, current),
    )


_TABLES = """
    with recursive bases(oid, base) as (
        select oid, oid from pg_type where typtype <> 'd'
        union all select d.oid, b.base from pg_type d join bases b on b.oid = d.typbasetype where d.typtype = 'd')
    select format('%%I.%%I', n.nspname, c.relname), n.nspname, c.relname,
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
     group by 1, 2, 3 order by 1
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
        Table(qualified, schema, name, tuple(Column(*column) for column in zip(names, bases, nullable, strict=True)))
        for qualified, schema, name, names, bases, nullable in rows
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


def _sum(connection: Connection, ways: Iterable[tuple[str, sql.Composed]]) -> TableSum:
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
            if not _is_too_long(error):
                break
            continue
        assert row is not None  # noqa: S101 - an aggregate always yields a row
        return TableSum(int(row[0]), str(row[1]), method, int(row[2]))
    return TableSum(0, "", UNREADABLE + why)


def _is_too_long(error: Error) -> bool:
    return isinstance(error, ProgramLimitExceeded) or _TOO_LONG_FOR_POSTGRESQL in str(error)


def take_fingerprint(
    connection: Connection, snapshot: str | None = None, include: Iterable[str] = (), *, portable: bool = False
) -> Fingerprint:
    """``summing`` at once."""
    return at_once(summing(connection, snapshot, include, portable=portable))


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
        tables = {}
        for table in find_tables(connection, include):
            yield working(f"summing {table.qualified} of {of}")
            hashes = (
                (method, portable_row_hash() if portable else row_hash(table.columns)),
                ("binary/1", binary_row_hash(table.columns)),
            )
            seen = Snapshot.parse(wanted), Snapshot.parse(current)
            tables[table.qualified] = _sum(
                connection, ((method, checksum_query(table, *seen, hashed)) for method, hashed in hashes)
            )
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
