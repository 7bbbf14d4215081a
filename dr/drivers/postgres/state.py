"""What a server holds beside rows and definitions: where its sequences stand, large objects, unlogged tables' rows,
settings as they act, and what a restore never brings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

from psycopg import Error

from dr.domain.looks import Version
from dr.domain.state import LARGE_OBJECTS, Sequence, State
from dr.drivers.postgres.connection import Connection, one, translated, unread
from dr.drivers.postgres.own_schema import USERS_OWN
from dr.drivers.postgres.schema import digest, newest, whole
from dr.host.hearing import Steps, working

EXCLUDED = "pg_catalog.pg_largeobject"
"""What dr.yaml excludes so that nobody reads what is in large objects."""
NAMED_OBJECTS = 50_000
"""Large objects that are told apart by name; of more, none is."""
MOST_CONTENTS = 50 << 30
"""Bytes of all large objects that are read: they are in one table, which one statement sums within its time."""
_LOGGED = 32
"""PostgreSQL writes a sequence's value ahead, so that it need not at every number."""

_SEQUENCES = f"""
    select format('%I.%I', n.nspname, c.relname), s.seqincrement, s.seqcycle, s.seqcache, c.xmin::text::int8,
           case when s.seqincrement > 0 then s.seqmax else s.seqmin end, c.relpersistence = 'u'
      from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace
     where c.relpersistence <> 't' and {USERS_OWN} order by 1
"""  # noqa: S608 - put together from this module's own constants
_COLUMNS = rf"""
    select distinct format('%I.%I', sn.nspname, s.relname), format('%I.%I', n.nspname, c.relname),
           quote_ident(a.attname)
      from pg_depend d
      join pg_class s on s.oid = case when d.classid = 'pg_class'::regclass then d.objid else d.refobjid end
           and s.relkind = 'S'
      join pg_namespace sn on sn.oid = s.relnamespace
      left join pg_attrdef f on d.classid = 'pg_attrdef'::regclass and f.oid = d.objid
      join pg_class c on c.oid = coalesce(f.adrelid, d.refobjid) and c.relkind in ('r', 'p') and c.relpersistence <> 't'
      join pg_namespace n on n.oid = c.relnamespace and {USERS_OWN}
      join pg_attribute a on a.attrelid = c.oid and a.attnum = coalesce(f.adnum, d.refobjsubid)
      join pg_type t on t.oid = a.atttypid and t.typname in ('int2', 'int4', 'int8', 'numeric')
     where d.refclassid = 'pg_class'::regclass
       and (d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i') and d.refobjsubid > 0
            or d.classid = 'pg_attrdef'::regclass
               and case when strpos(f.adbin::text, '{{VAR ') = 0
                        then pg_get_expr(f.adbin, 0) ~ '^nextval\(''[^'']*''::regclass\)$' end)
"""  # noqa: S608
"""The columns that own a sequence, and those that take their numbers from it by default. A default without variables is
printed without its table, which would wait for the table's lock."""
_NUMBER = f"""
    select case when of between {-(1 << 63)} and {(1 << 63) - 1} then trunc(of)::int8 end
      from (select {{}}({{}})::numeric as of from {{}}) as utmost
"""  # noqa: S608
"""Exactly, which a floating-point number is not; none where a sequence cannot give it out, as infinity."""
_UNLOGGED = f"""
    select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'r' and c.relpersistence = 'u' and {USERS_OWN} order by 1
"""  # noqa: S608
_LARGE_OBJECTS = """
    select m.oid::text, m.xmin::text::int8, concat_ws('/', m.lomowner, array(
             select concat_ws('/', x.grantor, x.grantee, x.privilege_type, x.is_grantable)
               from aclexplode(m.lomacl) as x order by 1))
      from pg_largeobject_metadata m
"""
_CONTENTS = """
    select l.loid::text, array_agg(distinct l.xmin::text::int8),
           concat_ws('/', count(*), sum(length(l.data)),
                     sum(('x' || substr(md5(int4send(l.pageno) || l.data), 1, 16))::bit(64)::int8))
      from pg_largeobject l group by l.loid
"""
_SETTINGS = """
    select name, case when reset_val <> '' and name ~ '[.]|conninfo|command|passphrase'
                      then 'digest ' || left(md5(reset_val), 16) else coalesce(reset_val, '') end
      from pg_settings
"""
"""As a new session has them; of those that somebody may keep a secret in, no more than a digest."""
_NAMES = {
    "prepared": "select gid from pg_prepared_xacts where database = current_database() order by 1",
    "slots": "select slot_name from pg_replication_slots"
    " where not temporary and (slot_type = 'logical' or not active) and slot_name !~ '^rds' order by 1",
    "subscriptions": "select subname from pg_subscription"
    " where subdbid = (select oid from pg_database where datname = current_database()) order by 1",
    "databases": "select datname from pg_database where not datistemplate and datname <> 'rdsadmin'"
    " and datname <> current_database() order by 1",
}
"""What is only named, by the field of State."""


def looking(
    connection: Connection,
    expendable: tuple[str, ...] = (),
    exclude: Collection[str] = (),
    of: str = "the source",
) -> Steps[State]:
    """Everything, one thing after another: each number in a column is read before the sequence that gave it out.
    ``expendable``: as State has it. ``exclude``: tables that are not read. ``of``: what a person is told to be looked
    at.

    Raises ProviderError or RefusedError where a catalog cannot be read; what else cannot be says why in ``unread``.
    """
    left: dict[str, str] = {}
    yield working(f"looking at the settings of {of}")
    with translated("reading the settings and names"):
        settings: dict[str, str] = dict(connection.execute(_SETTINGS).fetchall())
        names: dict[str, Any] = {
            what: tuple(row[0] for row in connection.execute(query.encode())) for what, query in _NAMES.items()
        }
    yield working(f"looking at the large objects of {of}")
    objects, contents = _large_objects(connection, left, EXCLUDED not in exclude)
    sequences = yield from _sequences(connection, of, left)
    unlogged = yield from _unlogged(connection, of, left)
    return State(sequences, objects, contents, unlogged, settings, expendable=expendable, unread=left, **names)


def unkept(connection: Connection) -> dict[str, Any]:
    """What no other server takes over: ``unlogged``, tables by name, and whether each holds rows; and ``slots``.

    Raises ProviderError or RefusedError.
    """
    with translated("looking at unlogged tables and slots"):
        names = [name for (name,) in connection.execute(_UNLOGGED).fetchall()]
        exists = "select exists (select from only {})"
        held = {name: bool(one(connection, exists.format(name).encode())) for name in names}
        return {"unlogged": held, "slots": [name for (name,) in connection.execute(_NAMES["slots"].encode())]}


def _sequences(connection: Connection, of: str, left: dict[str, str]) -> Steps[dict[str, Sequence]]:
    columns: dict[str, list[tuple[str, str]]] = defaultdict(list)
    with translated("reading the catalog of sequences"):
        for name, table, column in connection.execute(_COLUMNS):
            columns[name].append((table, column))
        rows, current = connection.execute(_SEQUENCES).fetchall(), newest(connection)
    found = {}
    for name, step, cycles, cache, xid, limit, unlogged in rows:
        yield working(f"looking at the sequence {name} of {of}")
        try:
            column, utmost = _utmost(connection, columns[name], step)
            row = connection.execute(f"select last_value, is_called from {name}".encode()).fetchone()  # noqa: S608
        except Error as error:
            left[f"the sequence {name}"] = unread(error, connection, f"looking at the sequence {name}")
            continue
        last, called = row or (0, False)
        stands = (last, called, step, cycles, _LOGGED + cache, column, utmost)
        found[name] = Sequence(*stands, xid=whole(xid, current), limit=limit, unlogged=unlogged)
    return found


def _utmost(connection: Connection, columns: Iterable[tuple[str, str]], step: int) -> tuple[str, int | None]:
    """The column that holds the greatest number of all ``columns``, of a descending sequence the smallest, and it.
    Raises psycopg.Error."""
    best: tuple[str, int | None] = ("", None)
    for table, column in columns:
        utmost = "max" if step > 0 else "min"
        number = one(connection, _NUMBER.format(utmost, column, table).encode())
        if not best[0] or (number is not None and (best[1] is None or (number - best[1]) * step > 0)):
            best = (f"{table}.{column}", number)
    return best


def _unlogged(connection: Connection, of: str, left: dict[str, str]) -> Steps[dict[str, int]]:
    with translated("reading the catalog of unlogged tables"):
        names = [name for (name,) in connection.execute(_UNLOGGED)]
    found = {}
    for name in names:
        yield working(f"counting the rows of {name} of {of}")
        try:
            found[name] = int(one(connection, f"select count(*) from only {name}".encode()))  # noqa: S608 - quoted
        except Error as error:
            left[name] = unread(error, connection, f"counting the rows of {name}")
    return found


def _large_objects(connection: Connection, left: dict[str, str], contents: bool) -> tuple[dict[str, Version], bool]:
    """By oid, and whether what is in them was read. ``contents``: whether it is to be."""
    try:
        return _objects(connection, left, contents)
    except Error as error:
        left[LARGE_OBJECTS] = unread(error, connection, f"looking at {LARGE_OBJECTS}")
        return {}, False


def _objects(connection: Connection, left: dict[str, str], contents: bool) -> tuple[dict[str, Version], bool]:
    """As ``_large_objects``. Raises psycopg.Error."""
    number = int(one(connection, "select count(*) from pg_largeobject_metadata"))
    if number > NAMED_OBJECTS:
        left[LARGE_OBJECTS] = f"there are {number}, more than {NAMED_OBJECTS}"
        return {}, False
    rows, current = connection.execute(_LARGE_OBJECTS).fetchall(), newest(connection)
    readable = contents and bool(one(connection, "select has_table_privilege('pg_largeobject', 'select')"))
    size = int(one(connection, "select pg_relation_size('pg_largeobject')"))
    if readable and size > MOST_CONTENTS:
        left[LARGE_OBJECTS] = f"they take {size >> 20} MB, and what is in more than {MOST_CONTENTS >> 20} is not read"
        readable = False
    held = {oid: (xids, told) for oid, xids, told in connection.execute(_CONTENTS)} if readable else {}
    found = {}
    for oid, xid, told in rows:
        xids, content = held.get(oid, ([], ""))
        found[oid] = Version(digest([told, content]), max(whole(x, current) for x in (xid, *xids)))
    return found, readable
