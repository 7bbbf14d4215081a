"""Whether indexes hold what their tables do: B-trees by amcheck, and those of every kind by looking for rows through
them alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import product
from typing import Any, NamedTuple

from psycopg import Error, sql
from psycopg.errors import InsufficientPrivilege, QueryCanceled

from dr.domain.databases import within
from dr.domain.looks import DAMAGED
from dr.drivers.postgres.connection import Connection, one, reason, translated, unread
from dr.drivers.postgres.own_schema import USERS_OWN, harness_tables
from dr.host.hearing import Steps, working

ROWS = 8
"""Rows that are drawn of each index's table."""
PAGES = 64
"""Pages of the table that they are drawn from, or a few more."""
SECONDS = 20
"""The most that one index is asked for."""
NO_PLAN = "no plan goes through it alone, as where another index serves as well"
NO_OPERATOR = "no operator of it finds a value by itself"

_REFLEXIVE = "array['=', '~=', '@>', '&&', '<@', '%', '~~', '@@', '<=']"
_INDEXES = f"""
    select i.indexrelid::int8, format('%I.%I', n.nspname, c.relname), m.amname, i.indisvalid and i.indisready,
           c.relname, format('%I.%I', tn.nspname, t.relname), t.relpages, t.relispopulated,
           array(select array_to_string(array(
                     select case when o.oprname = '@@' then 'words ' when o.oprname = '<=' then 'both ' else '' end
                            || format('operator(%I.%s)', o_n.nspname, o.oprname)
                       from pg_amop a join pg_operator o on o.oid = a.amopopr
                       join pg_namespace o_n on o_n.oid = o.oprnamespace
                      where a.amopfamily = q.opcfamily and a.amoppurpose = 's' and a.amoplefttype = q.opcintype
                        and (a.amoprighttype = a.amoplefttype or a.amoprighttype = 'tsquery'::regtype)
                        and o.oprname = any ({_REFLEXIVE})
                      order by array_position({_REFLEXIVE}, o.oprname::text)),
                     E'\\n')
                   from unnest(i.indclass) with ordinality as u(oid, place) join pg_opclass q on q.oid = u.oid
                  where u.place <= i.indnkeyatts order by u.place)
      from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
      join pg_class t on t.oid = i.indrelid join pg_namespace tn on tn.oid = t.relnamespace
      join pg_am m on m.oid = c.relam
     where c.relkind = 'i' and c.relpersistence = 'p' and {USERS_OWN} and not {harness_tables("c")}
     order by 2
"""  # noqa: S608 - put together from this module's own constants
"""Of each index, for each of its keys, the operators that hold between a value and itself, those that promise most
first."""
_KEYS = """
    select pg_get_expr(indpred, indrelid),
           array(select pg_get_indexdef(indexrelid, k, true) from generate_series(1, indnkeyatts) as k order by k)
      from pg_index where indexrelid = %s
"""
"""What its table's rows are found by. It waits for the table's lock, and so is asked of each index alone."""
_COLLATIONS = """
    select format('%I.%I', n.nspname, c.collname), c.collversion, pg_collation_actual_version(c.oid)
      from pg_collation c join pg_namespace n on n.oid = c.collnamespace
     where c.collversion is not null and c.collversion is distinct from pg_collation_actual_version(c.oid)
       and c.oid in (select unnest(i.indcollation) from pg_index i)
"""
_OF_THE_DATABASE = """
    select datname, datcollversion, pg_database_collation_actual_version(oid)
      from pg_database
     where datname = current_database() and datcollversion is not null
       and datcollversion is distinct from pg_database_collation_actual_version(oid)
"""
_VERSIONED = 150_000
"""The version from which on a database has a collation version."""
_NO_AMCHECK = (
    "the extension amcheck is not installed in this database: create it on the source, or say amcheck: false under the"
    " target's postgres"
)
_COSTS = ("", *(f"set local {dear} = 1000" for dear in ("cpu_index_tuple_cost", "cpu_operator_cost")))
"""What makes a planner take one kind of index rather than another that would serve as well."""
_FREE = "; ".join(f"set local {cost} = 0" for cost in (
    *("seq_page_cost", "random_page_cost", "cpu_tuple_cost", "cpu_operator_cost", "cpu_index_tuple_cost"),
))  # fmt: skip
_SCANS = ("", "set local enable_indexscan = off", "set local enable_bitmapscan = off")
_FORCED = f"""
    set transaction read only; set local statement_timeout = '{SECONDS}s'; set local enable_seqscan = off;
    set local enable_tidscan = off; set local max_parallel_workers_per_gather = 0
"""


class _FoundBy(NamedTuple):
    predicate: str | None
    keys: list[str]


class _Index(NamedTuple):
    oid: int
    name: str
    kind: str
    usable: bool
    relation: str
    table: str
    pages: int
    populated: bool
    operators: list[str]

    def ways(self) -> Iterator[tuple[str, ...]]:
        """The operators to ask by, one for each key."""
        choices = [[one for one in found.splitlines() if one] for found in self.operators]
        longest = max(map(len, choices), default=0) if all(choices) else 0
        return (tuple(found[min(n, len(found) - 1)] for found in choices) for n in range(longest))

    def query(self, found_by: _FoundBy, operators: tuple[str, ...], share: float) -> bytes:
        """How many rows are drawn, and how many of these are found by their own keys; each is told by its place, which
        no scan may go by."""
        asked = list(zip(found_by.keys, operators, range(len(operators)), strict=True))
        drawn = [_fits(key, operator, key) for key, operator, _ in asked]
        sought = [_fits(key, operator, f"s.k{n}") for key, operator, n in asked]
        also = [f"({found_by.predicate})"] if found_by.predicate else []
        keys = ", ".join(f"{key} as k{n}" for key, _, n in asked)
        return (
            f"with s as materialized (select ctid as place, {keys} from only {self.table} tablesample system ({share})"  # noqa: S608
            f" where {' and '.join(also + drawn)} order by random() limit {ROWS})"
            f" select count(*), coalesce(sum((select count(*) from only {self.table} as t"
            f" where {' and '.join(also + sought)} and t.ctid::text = s.place::text)), 0)::int8 from s"
        ).encode()


def _fits(key: str, operator: str, value: str) -> str:
    """``key`` fits ``value``. A text is asked for by one of its words, which no backslash is in. No less and no more is
    what a hash index does not serve, where it stands beside another."""
    how, _, same = operator.rpartition("operator(")
    same = f"operator({same}"
    if how == "both ":
        return f"{key} {same} {value} and {value} {same} {key}"
    if how != "words ":
        return f"{key} {same} {value}"
    word = f"(tsvector_to_array({value}))[1]"
    asked = f"{key} {same} quote_literal({word})::tsquery"
    return asked if value != key else f"{word} !~ '\\\\' and {asked}"


def indexes(connection: Connection, database: str = "", only: Collection[str] | None = None) -> Steps[dict[str, Any]]:
    """Every B-tree by amcheck, with each heap row looked for, where the extension exists and may be executed; and each
    index by rows that are looked for through it. ``database``: what the names say, where it is not the main one.
    ``only``: these alone, by name.

    ``invalid``: those that no query uses. ``lost``: those that do not find every row. ``unprobed``: why, by name, of
    those that amcheck may check instead, and of those that nothing can be looked for by; ``unchecked``: why by amcheck,
    or by nothing, since the harness's role may not read the table, or no plan goes through that index.
    ``collations``: those whose version is not the one that indexes were built with.
    """
    with translated("reading the catalog of indexes"):
        rows = [
            _Index(oid, within(database, name), *row) for oid, name, *row in connection.execute(_INDEXES).fetchall()
        ]
        collations = [[within(database, name), *row] for name, *row in connection.execute(_COLLATIONS).fetchall()]
        if connection.info.server_version >= _VERSIONED:
            collations += [
                [f"of database {row[0]}", *row[1:]] for row in connection.execute(_OF_THE_DATABASE).fetchall()
            ]
    found = [index for index in rows if only is None or index.name in only]
    seen = yield from _checked(connection, [index for index in found if index.usable and index.kind == "btree"])
    lost, unprobed, probed = [], {}, 0
    for index in found:
        if not (index.usable and index.populated):
            continue
        yield working(f"looking for rows through the index {index.name}")
        try:
            drawn, through, why = _probed(connection, index)
        except InsufficientPrivilege as error:
            seen.setdefault("unchecked", {})[index.name] = reason(error)
            continue
        probed += not why
        if why and index.kind != "btree" and any(index.ways()) and not why.startswith(DAMAGED):
            seen.setdefault("unchecked", {})[index.name] = why
        elif why:
            unprobed[index.name] = why
        elif through < drawn:
            lost.append({"index": index.name, "kind": index.kind, "rows": drawn, "found": through})
    invalid = [index.name for index in found if not index.usable]
    return {**seen, "invalid": invalid, "probed": probed, "lost": lost, "unprobed": unprobed, "collations": collations}


def _checked(connection: Connection, trees: list[_Index]) -> Steps[dict[str, Any]]:
    with translated("looking for amcheck"):
        row = connection.execute(
            "select n.nspname, has_schema_privilege(n.oid, 'usage') and has_function_privilege(p.oid, 'execute')"
            "  from pg_extension e join pg_namespace n on n.oid = e.extnamespace"
            "  join pg_proc p on p.pronamespace = n.oid and p.proname = 'bt_index_check' and p.pronargs = 2"
            " where e.extname = 'amcheck'"
        ).fetchone()
    if row is None:
        return {"available": False, "because": _NO_AMCHECK}
    if not row[1]:
        return {"available": False, "because": "the harness's role may not execute amcheck's bt_index_check"}
    check = sql.SQL("select {}(%s::oid, true)").format(sql.Identifier(row[0], "bt_index_check"))
    failed, unchecked = [], {}
    for tree in trees:
        yield working(f"checking the index {tree.name}")
        try:
            connection.execute(check, (tree.oid,))
        except Error as error:
            why = unread(error, connection, f"checking the index {tree.name}")
            if why.startswith(DAMAGED):
                failed.append({"index": tree.name, "error": why.removeprefix(DAMAGED)})
            else:
                unchecked[tree.name] = why
    checked = len(trees) - len(unchecked)
    return {"available": True, "checked": checked, "failed": failed, "unchecked": unchecked}


def _probed(connection: Connection, index: _Index) -> tuple[int, int, str]:
    """Rows that were drawn, and those of them that were found through ``index`` alone; or why that was not tried.

    Raises InsufficientPrivilege.
    """
    try:
        row = connection.execute(_KEYS, (index.oid,)).fetchone()
        if row is None:
            return 0, 0, "it was dropped meanwhile"
        for way in index.ways():
            for scans, costs in product(_SCANS, _COSTS):
                with connection.transaction():
                    connection.execute(
                        "; ".join(part for part in (_FORCED, costs and _FREE, costs, scans) if part).encode()
                    )
                    drawn = _asked(connection, index, _FoundBy(*row), way)
                if drawn is not None:
                    return (*drawn, "")
    except InsufficientPrivilege:
        raise
    except QueryCanceled:
        return 0, 0, f"it took longer than {SECONDS} s"
    except Error as error:
        return 0, 0, unread(error, connection, f"looking for rows through the index {index.name}")
    return 0, 0, NO_PLAN if any(index.ways()) else NO_OPERATOR


def _asked(connection: Connection, index: _Index, found_by: _FoundBy, way: tuple[str, ...]) -> tuple[int, int] | None:
    """None where the planner takes another way. Raises psycopg.Error."""
    for share in sorted({min(100.0, 100.0 * PAGES / max(index.pages, 1)), 100.0}):
        query = index.query(found_by, way, share)
        plan = one(connection, b"explain (format json, costs off) " + query)
        if set(_used(plan)) != {index.relation}:
            return None
        row = connection.execute(query).fetchone() or (0, 0)
        if row[0]:
            return int(row[0]), int(row[1])
    return 0, 0


def _used(plan: Any) -> Iterator[str]:
    """Names of the indexes that a plan goes through."""
    if isinstance(plan, list):
        for part in plan:
            yield from _used(part)
    elif isinstance(plan, dict):
        if "Index Name" in plan:
            yield plan["Index Name"]
        for part in plan.values():
            yield from _used(part)
