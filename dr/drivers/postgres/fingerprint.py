"""The SQL that sums a table's rows: what equal copies share, and any altered row changes.

Rows are parted by the snapshots that they are visible in (facts/measurement.md), and each part is summed in buckets of
the rows' identities. A filter cannot bring back what was updated or deleted after its snapshot: a later look under the
same cut has fewer rows. The same holds for a frozen row whose 32-bit xid has come round again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from dr.domain.errors import RefusedError
from dr.domain.looks import LATER, MOST_BUCKETS, NOTHING, UNSURE, Part, Row, Snapshot, Sum, packed_sums
from dr.drivers.postgres.connection import Connection, translated
from dr.drivers.postgres.own_schema import USERS_OWN, harness_tables

_EPOCH = 1 << 32
REACH = 1 << 31
"""Transactions after which a snapshot can no longer be told from the future in 32 bits."""
_FIRST_NORMAL = 3
"""Lower xids are permanent: always visible."""
_BITMAP = 48
"""Nullable columns in one bitmap word."""
CHAINED = 330
"""Columns in one chain of hashes: PostgreSQL's stack (2 MB by default) bears some 1,600, at 1.5 kB each."""
_ARGUMENTS = 90
"""PostgreSQL's functions take a hundred."""
BINARY = "binary/1"
"""The method by which no value is made text."""
ENUM = "enum"
"""Stands for the type of a column whose values are an enum's."""
_BYTES_ALREADY = frozenset({"text", "varchar", "bytea"})
"""Types that md5 takes as they are."""
ROWS_IN_A_BUCKET = 16
"""About as many rows of a small table are read one by one where one of them differs."""
CACHED_BUCKETS = 1 << 11
"""So many sums stay in a processor's cache. With more, a million rows take twice as long to sum."""
ROWS_OF_MANY = 512
_LAST = {LATER: 2, UNSURE: 3}
"""The numbers of the parts that follow those of the cuts, in SQL."""


class Column(NamedTuple):
    """``base``: the type's name in pg_catalog, domains resolved; ENUM for an enum, "" for another type from elsewhere.
    ``number``: its place in the table, which no other column gets once it was dropped. ``definition``: a digest of what
    a type from elsewhere is made of, or ""."""

    name: str
    base: str
    nullable: bool
    number: int = 0
    definition: str = ""

    @property
    def form(self) -> tuple[int, str, bool]:
        """What a row's hash depends on besides its value."""
        kind = self.base if self.base == ENUM else _ALIKE.get(self.base, self.base) + self.definition
        return self.number, kind, self.nullable

    @property
    def kept(self) -> tuple[int, str]:
        """What it keeps when it may be null, or no more."""
        return self.form[:2]

    @property
    def form_as_text(self) -> tuple[int, str, bool]:
        """The same where each value is made text, or sent."""
        return self.number, self._kept + self.definition, self.nullable

    @property
    def formerly(self) -> Column:
        """It as earlier versions had it: by its text, unless it was of a type of theirs."""
        known = self.base in _FORMERLY_TYPED or self.base in _BYTES_ALREADY
        return self._replace(base=self.base if known else "", definition="")

    @property
    def _kept(self) -> str:
        return "" if self.base in _BYTES_ALREADY else self.base

    @property
    def of_row(self) -> str:
        """It in the row ``t``, in SQL."""
        return 't."{}"'.format(self.name.replace('"', '""'))


class Table(NamedTuple):
    """A table that holds rows of its own: an ordinary one, the leaf of a partitioned one, or a materialized view.
    ``name`` is as SQL has it, quoted where it must be. ``key``: the columns that tell its rows apart; none: the whole
    row does. ``rows``: about so many. ``ever``: how many columns it has and had."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[Column, ...] = ()
    rows: int = 0
    ever: int = 0

    @property
    def buckets(self) -> int:
        """A power of two: for about ``ROWS_IN_A_BUCKET`` rows in each up to ``CACHED_BUCKETS``, of a larger table for
        about ``ROWS_OF_MANY``."""
        fine = min(CACHED_BUCKETS, -(-self.rows // ROWS_IN_A_BUCKET))
        wanted = max(1, fine, -(-self.rows // ROWS_OF_MANY))
        return min(MOST_BUCKETS, 1 << (wanted - 1).bit_length())

    @property
    def shape(self) -> str:
        """What the hash of a row depends on besides its values: two tables of another shape do not compare. A column's
        name is none of it, and neither is a type by which the same bytes have the same hash."""
        return self._shape(column.form for column in self.columns)

    @property
    def shape_as_text(self) -> str:
        """The same where each value is made text, or sent: so that what a type prints is part of it."""
        return self._shape(column.form_as_text for column in self.columns)

    def _shape(self, forms: Iterable[tuple[int, str, bool]]) -> str:
        told = msgspec.json.encode((list(forms), [c.number for c in self.key]))
        return hashlib.sha256(told).hexdigest()[:8]

    def summed_as(self, like: str) -> bool:
        """Whether the method ``like`` says a shape of it, by whichever form."""
        return any(f":{shape}" in like for of in (self, self.formerly) for shape in (of.shape, of.shape_as_text))

    def as_in(self, like: str) -> Table:
        """It as the method ``like`` has it: of a former form where that says no shape, or only the former one."""
        former = self.formerly
        told = f":{self.shape}" in like or f":{self.shape_as_text}" in like
        return former if like and not told and (":" not in like or f":{former.shape}" in like) else self

    @property
    def formerly(self) -> Table:
        """It as earlier versions summed it."""
        columns, key = (tuple(column.formerly for column in of) for of in (self.columns, self.key))
        return self._replace(columns=columns, key=key)

    def sharing(self, other: Table) -> Table:
        """It with those columns alone that ``other`` has, too. Which of the two may not be null is no difference, and
        rows that each tells apart otherwise are told by the whole of them."""
        theirs = {column.kept: column for column in other.columns}
        columns = tuple(
            column._replace(nullable=column.nullable or theirs[column.kept].nullable)
            for column in self.columns
            if column.kept in theirs
        )
        alike = [column.kept for column in self.key] == [column.kept for column in other.key]
        return self._replace(columns=columns, key=self.key if alike else ()) if columns else self


def copy_beside(source: Mapping[str, Table], copy: Table, like: str) -> Table:
    """What of a table of a copy is summed: all where that compares with the look before, by its method ``like``. Else
    what it shares with the source of now, by name: a column that neither look has may have come and gone."""
    there = source.get(copy.name)
    if there is None or _lacking(copy, there) or (like and (":" not in like or copy.summed_as(like))):
        return copy
    return copy.sharing(there)


def source_beside(copy: Mapping[str, Table], source: Table, _like: str) -> Table:
    """What of a table of the source is summed, once its ``copy`` was: nothing of a column that was added since."""
    here = copy.get(source.name)
    return source if here is None or _lacking(here, source) else source.sharing(here)


def _lacking(copy: Table, source: Table) -> bool:
    """Whether ``copy`` has a column no more that its source kept: no number is given twice."""
    here = {column.kept for column in copy.columns}
    return any(column.kept not in here and column.number <= copy.ever for column in source.columns)


def in_reach(snapshot: Snapshot, newest: int) -> bool:
    """Whether rows can be told by ``snapshot`` where ``newest`` is the newest transaction."""
    return newest - snapshot.xmax < REACH


def visible_in(snapshot: Snapshot, current: Snapshot) -> str:
    """A condition on the 32-bit column ``t.xmin``: of the rows visible in ``current``, those visible in ``snapshot``.

    The same as pg_visible_in_snapshot over xmin with its epoch restored (the newest one that is not in ``current``'s
    future), at a third of the cost and in parallel plans: xids have no order in SQL, but their sent bytes have, and
    casts by way of text are slow. Raises RefusedError where too many transactions lie in between.
    """
    if not in_reach(snapshot, current.xmax):
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


def _inside(low: int, high: int) -> str:
    """xmin is one of the transactions from ``low`` up to ``high``, compared as 32-bit numbers on their circle."""
    sent, first, last = "xidsend(t.xmin)", low % _EPOCH, high % _EPOCH
    above, below = f"{sent} >= '\\x{first:08x}'::bytea", f"{sent} < '\\x{last:08x}'::bytea"
    normal = f"{sent} >= '\\x{_FIRST_NORMAL:08x}'::bytea"
    return f"({normal} and ({above} {'and' if first < last else 'or'} {below}))"


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
_FORMERLY_TYPED = frozenset(_TYPED)
"""Those that stored looks of earlier versions did not take as text."""
_BY_TEXT = ("hashtextextended", '::text collate "C"', "''")
_NAMED = (
    *("regclass", "regcollation", "regconfig", "regdictionary", "regnamespace", "regoper", "regoperator", "regproc"),
    *("regprocedure", "regrole", "regtype"),
)
"""Types whose text is the name of something, which may be given another one."""
_TYPED |= dict.fromkeys(_NAMED, ("", "::oid::int8", "0"))
_TYPED |= dict.fromkeys((f"_{name}" for name in _NAMED), ("hashtextextended", '::oid[]::text collate "C"', "''"))
_TYPED["timestamptz"] = ("hashtextextended", '::timestamp::text collate "C"', "''")
_ALIKE = {**dict.fromkeys(_BYTES_ALREADY, ""), "timestamptz": "timestamp"}
"""Base types that may be exchanged with no row written anew, and whose values then have the same hash."""


def _chained(column: Column) -> str:
    """The hash of one column's value, up to its seed, which is the hash of all before it."""
    if column.base == ENUM:  # by the oid of its value, which keeps that when it is renamed
        return _mixed(f"coalesce(hashenumextended({column.of_row}, 0), 0)")
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
    chains = [_chain(columns[start : start + CHAINED]) for start in range(0, len(columns) or 1, CHAINED)]
    return chains[0] if len(chains) == 1 else f"hashtextextended(concat_ws(',', {', '.join(chains)}) collate \"C\", 0)"


def _chain(columns: Sequence[Column]) -> str:
    """Each column's hash seeds the next. A bitmap of the nulls goes first, because the hash functions are strict and
    coalesce alone would take null for a value."""
    nullable = [c for c in columns if c.nullable]
    words = [_null_bitmap(nullable[start : start + _BITMAP]) for start in range(_BITMAP, len(nullable), _BITMAP)]
    steps = [*map(_mixed, words), *map(_chained, columns)]
    return "".join(reversed(steps)) + _null_bitmap(nullable[:_BITMAP]) + ")" * len(steps)


def portable_row_hash(columns: Sequence[Column]) -> str:
    """64 bits that are the same on every major version; three to five times slower than ``row_hash``."""
    return f"('x' || substr(md5(row({', '.join(c.of_row for c in columns)})::text), 1, 16))::bit(64)::int8"


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


class Summed(NamedTuple):
    """How a table is read: ``method`` names it, ``hashed`` and ``identity`` are 64 bits of a row ``t`` in SQL.
    ``share``: of its rows, chosen by their identity; 1: all."""

    method: str
    hashed: str
    identity: str
    share: float = 1.0


def ways(table: Table, major: int, like: str = "", *, portable: bool = False, share: float = 1.0) -> tuple[Summed, ...]:
    """How to sum ``table``, and how where a value is too long for that. ``portable``: alike on every major version.
    ``like``: a method that is followed, of a former form where it does not say the table's shape."""
    of = table.as_in(like)
    as_text = ("md5/1", portable_row_hash, of.shape_as_text)
    usual = as_text if portable else (f"hash-{major}/1", row_hash, of.shape)
    sampled = f" of {share:g}" if share < 1 else ""
    found = [
        Summed(
            method + ("" if like and ":" not in like else f":{shape}") + sampled,
            hashed(of.columns),
            hashed(of.key or of.columns),
            share,
        )
        for method, hashed, shape in (usual, (BINARY, binary_row_hash, of.shape_as_text))
    ]
    return tuple(reversed(found) if like.startswith(BINARY) else found)


def parts_of(cuts: Iterable[Snapshot], current: Snapshot) -> str:
    """The number of the first of ``cuts``, at most two, that shows the row ``t``, or of what is unsure there; else that
    of what is later."""
    shown = (f"when {visible_in(cut, current)} then {_unless_unsure(n, cut)}" for n, cut in enumerate(cuts))
    return f"case {' '.join(shown)} else {_LAST[LATER]} end"


def _unless_unsure(number: int, cut: Snapshot) -> str:
    if not any(cut.unsure):
        return f"{number}"
    return f"case when {_inside(*cut.unsure)} then {_LAST[UNSURE]} else {number} end"


def names_of(cuts: Mapping[str, Snapshot]) -> tuple[str, ...]:
    """The parts that there are by ``cuts``, what is later last."""
    return (*cuts, *((UNSURE,) if any(any(cut.unsure) for cut in cuts.values()) else ()), LATER)


def _numbered(names: Iterable[str]) -> dict[str, int]:
    return {name: _LAST.get(name, n) for n, name in enumerate(names)}


def sums_query(table: Table, way: Summed, parts: str, buckets: int) -> bytes:
    """Count and sum of the hashes of ``table``'s own rows, by part and bucket. ``parts``: as ``parts_of``.

    The hash stands there once, as often as PostgreSQL computes it, and in no subquery, through which that would not sum
    in several processes.
    """
    key = f"(coalesce({way.identity}, 0) & {buckets - 1}) << 2 | {parts}"
    return _copied(f"select {key}, count(*), sum(coalesce({way.hashed}, 0)) {_rows_of(table, way)} group by 1")


def rows_query(table: Table, way: Summed, parts: str, buckets: int, read: Collection[int]) -> bytes:
    """Part, identity and hash of each of ``table``'s own rows in the buckets ``read``."""
    columns = f"{parts} as p, coalesce({way.identity}, 0) as i, coalesce({way.hashed}, 0) as h"
    listed = ",".join(map(str, read))
    wanted = f"i & {buckets - 1} = any ('{{{listed}}}'::int8[])"
    return _copied(f"select p, i, h from (select {columns} {_rows_of(table, way)}) as t where {wanted}")  # noqa: S608


def _rows_of(table: Table, way: Summed) -> str:
    sampled = f" where ({way.identity} >> 40) & 65535 < {round(way.share * 65536)}" if way.share < 1 else ""
    return f"from only {table.name} as t{sampled}"


def _copied(query: str) -> bytes:
    return f"copy ({query}) to stdout".encode()


def read_sums(connection: Connection, query: bytes, buckets: int, names: Sequence[str]) -> dict[str, Part]:
    """What a ``sums_query`` answers: each part that holds rows, by ``names`` in the cuts' order, and what is later
    last. Raises psycopg.Error."""
    found = {n: [NOTHING] * buckets for n in range(4)}
    for key, rows, hashes in _read(connection, query):
        found[key & 3][key >> 2] = Sum(rows, hashes % (1 << 64))
    totals = {n: sum(one.rows for one in sums) for n, sums in found.items()}
    return {
        name: Part(totals[n], packed_sums(found[n])) if totals[n] else Part() for name, n in _numbered(names).items()
    }


def read_rows(connection: Connection, query: bytes, names: Sequence[str]) -> dict[str, list[Row]]:
    """What a ``rows_query`` answers, by part; what is later only where ``names`` have it. Raises psycopg.Error."""
    found: dict[str, list[Row]] = {name: [] for name in names}
    parts = {n: found[name] for name, n in _numbered(names).items()}
    for part, identity, content in _read(connection, query):
        if part in parts:
            parts[part].append(Row(identity % (1 << 64), content % (1 << 64)))
    return found


def _read(connection: Connection, query: bytes) -> Iterator[tuple[int, int, int]]:
    """The lines of a COPY of three numbers."""
    with connection.cursor() as cursor, cursor.copy(query) as copying:
        numbers = map(int, b"".join(copying).split())
        yield from zip(numbers, numbers, numbers, strict=True)


_TABLES = f"""
    with recursive bases(oid, base) as (
        select oid, oid from pg_type where typtype <> 'd'
        union all select d.oid, b.base from pg_type d join bases b on b.oid = d.typbasetype where d.typtype = 'd'),
    within(oid, part) as (
        select b.base, b.base from pg_attribute a join pg_class c on c.oid = a.attrelid and c.relkind in ('r', 'm')
          join bases b on b.oid = a.atttypid join pg_type t on t.oid = b.base
         where t.typnamespace <> 'pg_catalog'::regnamespace
        union select w.oid, x.part from within w join pg_type t on t.oid = w.part cross join lateral (
            select t.typelem where t.typelem <> 0 union all select t.typbasetype where t.typbasetype <> 0
            union all select r.rngsubtype from pg_range r
                       where t.oid in (r.rngtypid, (to_jsonb(r) ->> 'rngmultitypid')::oid)
            union all select a.atttypid from pg_attribute a
                       where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped) as x(part)
         where t.typnamespace <> 'pg_catalog'::regnamespace),
    made(oid, digest) as (
        select w.oid, md5(string_agg(concat_ws(' ', w.part,
                   (select array_agg(e.enumlabel order by e.oid) from pg_enum e where e.enumtypid = w.part),
                   (select array_agg(row(a.attnum, a.atttypid) order by a.attnum) from pg_attribute a
                     where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped)), ';' order by w.part))
          from within w join pg_type t on t.oid = w.part group by w.oid)
    select format('%%I.%%I', n.nspname, c.relname),
           coalesce(array_agg(a.attname::text order by a.attnum) filter (where a.attnum is not null), '{{}}'),
           coalesce(array_agg(case when tn.nspname = 'pg_catalog' then t.typname::text
                                  when t.typtype = 'e' and t.oid = a.atttypid then %(enum)s else '' end
                              order by a.attnum)
                    filter (where a.attnum is not null), '{{}}'),
           coalesce(array_agg(not a.attnotnull order by a.attnum) filter (where a.attnum is not null), '{{}}'),
           coalesce(array_agg(a.attnum::int4 order by a.attnum) filter (where a.attnum is not null), '{{}}'),
           coalesce(array_agg(coalesce(made.digest, '') order by a.attnum) filter (where a.attnum is not null), '{{}}'),
           coalesce((select (i.indkey::int4[])[0:i.indnkeyatts - 1] from pg_index i
                       join pg_class k on k.oid = i.indexrelid
                      where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indpred is null
                        and i.indexprs is null and not exists (
                            select from unnest((i.indkey::int4[])[0:i.indnkeyatts - 1]) as u(number)
                              join pg_attribute o on o.attrelid = c.oid and o.attnum = u.number
                             where not o.attnotnull)
                      order by i.indisprimary desc, i.indnkeyatts, k.relname limit 1), '{{}}'),
           greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)::int8, c.relnatts::int4
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      left join bases b on b.oid = a.atttypid
      left join pg_type t on t.oid = b.base
      left join pg_namespace tn on tn.oid = t.typnamespace
      left join made on made.oid = t.oid
     where (c.relkind = 'r' or (c.relkind = 'm' and c.relispopulated)) and c.relpersistence = 'p'
       and {USERS_OWN}
       and (not {harness_tables("c")} or format('%%I.%%I', n.nspname, c.relname) = any (%(include)s))
     group by c.oid, n.nspname, c.relname, c.reltuples, c.relnatts order by 1
"""  # noqa: S608 - put together from this module's own constants


def find_tables(connection: Connection, include: Iterable[str] = ()) -> tuple[Table, ...]:
    """Every permanent table that holds rows of its own, in any schema but the system's, and every materialized view
    that was filled.

    Of runs' tables only what ``include`` names. A partitioned table is its leaves. Left out, because a physical
    recovery does not bring them back or they hold no rows: unlogged and temporary tables, foreign tables and views; the
    schema's digests have them.
    """
    with translated("reading the catalog of tables"):
        rows = connection.execute(_TABLES, {"include": list(include), "enum": ENUM}).fetchall()
    return tuple(_table(*row) for row in rows)


def _table(
    name: str,
    names: Sequence[str],
    bases: Sequence[str],
    nullable: Sequence[bool],
    numbers: Sequence[int],
    definitions: Sequence[str],
    key: Sequence[int],
    rows: int,
    ever: int,
) -> Table:
    columns = tuple(Column(*column) for column in zip(names, bases, nullable, numbers, definitions, strict=True))
    return Table(name, columns, tuple(column for column in columns if column.number in key), rows, ever)
