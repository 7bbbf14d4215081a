"""The definitions of a database's objects as digests, and the newest transaction that wrote any of them.

A physical copy has the same catalog rows, oids and all: they are digested as they are, but for what changes without
being defined anew: statistics, file nodes, what a vacuum sets, the oids that REINDEX CONCURRENTLY exchanges, and the
versions of collations, which are a matter of indexes. A digest so depends on no row but those whose writers are noted:
where another object is renamed, its own definition tells.
Names are "KIND QUALIFIED-NAME". Left out: the system's own, runs' tables and most of what extensions made (their
version stands for it), but for privileges on these; passwords, of which only is told who wrote them, and options that
look like one; comments on these; indexes that REINDEX CONCURRENTLY is about to exchange.
"""
# ruff: noqa: S608 - the queries are put together from this module's own constants

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from dr.domain.looks import Version
from dr.drivers.postgres.connection import Connection, one, translated
from dr.drivers.postgres.own_schema import HARNESS_SCHEMA, USERS_OWN, harness_tables

RECIPE = 3
"""Of what is digested here: looks of another recipe do not compare (``Look.recipe``)."""
_DIGITS = 16
_EPOCH = 1 << 32
_FIRST_NORMAL = 3
"""Lower xids are permanent."""
_USERS = 16384
"""The first oid of an object that initdb did not make."""
_THEIRS = "'^(pg_|rds)'"
"""Roles that are the server's, or RDS's own."""
_MASTERS = "'rds_superuser'"
"""The role whose members RDS may give another password while it restores: the master is one."""
_ROLES = "<roles>"
"""Stands for pg_roles with the column ``written``: who wrote it, 0 where the harness may not read that."""
_MAPPINGS = "<mappings>"
"""Stands for user mappings: ``written``, by whom, as an array. Their options are shown to whoever may read that."""
_SUBSCRIPTIONS = "<subscriptions>"
"""Stands for this database's subscriptions: ``written``, by whom, as an array, and ``place``, where they lead, without
a password; neither where the harness may not read that."""
_HIDDEN = r"password\s*=\s*(''[^'']*''|\S+)|:[^:@/]*@"
_STANDS_FOR = {
    _ROLES: (
        "(select '0'::xid as written, r.* from pg_roles r)",
        "(select a.xmin as written, r.* from pg_roles r join pg_authid a on a.oid = r.oid)",
    ),
    _MAPPINGS: (
        "(select array['0'] as written, u.srvname, u.usename, u.umoptions from pg_user_mappings u)",
        """(select array_remove(array[m.xmin, s.xmin, a.xmin]::text[], null) as written, s.srvname,
                   coalesce(a.rolname, 'public') as usename, m.umoptions
              from pg_user_mapping m join pg_foreign_server s on s.oid = m.umserver
              left join pg_authid a on a.oid = m.umuser)""",
    ),
    _SUBSCRIPTIONS: tuple(
        f"(select {written} as written, {place} as place, s.oid, s.subname, s.subowner, s.subenabled, s.subslotname,"
        " s.subpublications, s.subsynccommit from pg_subscription s where s.subdbid ="
        " (select d.oid from pg_database d where d.datname = current_database()))"
        for written, place in (
            ("array['0']", "''"),
            ("array[s.xmin]::text[]", f"regexp_replace(s.subconninfo, '{_HIDDEN}', '', 'gi')"),
        )
    ),
}
"""For what it stands where the harness may not read passwords' catalogs, and where it may."""
_KNOWN = "select bool_and(has_table_privilege(c, 'select')) from unnest(array['pg_authid', 'pg_subscription']) as c"
_UNWRITTEN = "array['0']"
"""Where the rows' writers cannot be read, or the name rests on a row whose writer cannot."""
_SECRETIVE = "'^[^=]*(pass|secret|token|key|cred)'"
"""An option whose value is not looked at."""
_PLACES = re.compile(r" :(?:stmt_)?(?:location|len) -?\d+")
"""Where in its statement a part of an expression stood: REINDEX CONCURRENTLY forgets it."""


class _Kind(NamedTuple):
    """One query of catalog rows: name of the object they belong to, its writers' xids, what is digested. The rows of
    one name are one object; what can go while the others stay is an object of its own, since nothing tells who deleted
    a row. ``since``: the first major version that has the catalog. ``key``: what the object keeps and no other is given
    in its database; only one kind of those that are one object has it."""

    of: str
    name: str
    writers: str
    row: str
    source: str
    since: int = 0
    key: str = "null"

    def query(self, known: bool) -> bytes:
        asked = f"select {self.name}, {self.writers}, ({self.row})::text, ({self.key})::text from {self.source}"
        for name, of in _STANDS_FOR.items():
            asked = asked.replace(name, of[known])
        return asked.encode()


def _own(catalog: str, oid: str) -> str:
    return (
        f"not exists (select from pg_depend d where d.classid = '{catalog}'::regclass "
        f"and d.objid = {oid} and d.deptype = 'e')"
    )


def _row(alias: str, *without: str, acl: str = "", oids: tuple[str, ...] = (), options: str = "") -> str:
    """The row ``alias`` without its oid and the columns ``without``. ``acl``: its column of privileges, by oid, in an
    order of their own; null and empty differ (the default, and nothing). ``oids``: columns that would print as names.
    ``options``: its column of options of something foreign, without the values of what looks like a secret."""
    replaced = {f"{name}": f"{alias}.{name}::oid" for name in oids}
    if acl:
        replaced[acl] = f"case when {alias}.{acl} is not null then {_privileges(f'{alias}.{acl}')} end"
    if options:
        replaced[options] = _open(f"{alias}.{options}")
    left = ",".join(("oid", *without, *replaced))
    pairs = ", ".join(f"'{name}', {value}" for name, value in replaced.items())
    return f"to_jsonb({alias}) - '{{{left}}}'::text[]" + (f" || jsonb_build_object({pairs})" if pairs else "")


def _privileges(acl: str) -> str:
    return (
        "array(select concat_ws('/', x.grantor, x.grantee, x.privilege_type, x.is_grantable)"
        f" from aclexplode({acl}) as x order by 1)"
    )


def _open(options: str) -> str:
    return (
        f"array(select case when o ~* {_SECRETIVE} then split_part(o, '=', 1) else o end"
        f" from unnest({options}) as o order by 1)"
    )


def _identity(catalog: str, oid: str) -> str:
    return f"(pg_identify_object('{catalog}'::regclass, {oid}, 0)).identity"


def _by(*aliases: str, types: str = "") -> str:
    """``types``: those that are named, too, as what their oid is equal to."""
    own = f"array[{', '.join(f'{alias}.xmin' for alias in aliases)}]::text[]"
    named = "select array_agg(t.xmin::text) || array_agg(tn.xmin::text) from pg_type t"
    joined = f"join pg_namespace tn on tn.oid = t.typnamespace where t.oid = {types}"
    return f"{own} || ({named} {joined})" if types else own


_RELATION = f"""pg_class c join pg_namespace n on n.oid = c.relnamespace and {USERS_OWN}
    and not {harness_tables("c")} and {_own("pg_class", "c.oid")}"""
_HELD = f"{_RELATION} and c.relpersistence <> 't' and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f', 'c')"
_RELATION_NAME = """format('%s %I.%I', case c.relkind when 'v' then 'view' when 'm' then 'materialized view'
    when 'S' then 'sequence' when 'f' then 'foreign table' when 'c' then 'composite type' when 'i' then 'index'
    when 'I' then 'index' else 'table' end, n.nspname, c.relname)"""
_KEPT_IN_ORDER = (
    *("relname", "relnamespace", "reltype", "relfilenode", "relpages", "reltuples", "relallvisible", "relallfrozen"),
    *("reltoastrelid", "relhasindex", "relhasrules", "relhastriggers", "relhassubclass", "relfrozenxid", "relminmxid"),
    *("relrewrite", "relnatts"),
)
_CLASS = _row("c", *_KEPT_IN_ORDER, acl="relacl")
_INDEX = f"""{_RELATION} and c.relpersistence <> 't' join pg_index i on i.indexrelid = c.oid
    and {_own("pg_class", "i.indrelid")} and not (c.relname ~ '_cc(new|old)[0-9]*$' and not i.indisvalid)"""
_CONSTRAINT = f"""pg_constraint k join pg_namespace n on n.oid = k.connamespace and {USERS_OWN}
    and {_own("pg_constraint", "k.oid")}
    left join pg_class c on c.oid = k.conrelid left join pg_namespace cn on cn.oid = c.relnamespace
    left join pg_type t on t.oid = k.contypid left join pg_namespace tn on tn.oid = t.typnamespace"""
_KEPT = f"c.relpersistence is distinct from 't' and {harness_tables('c')} is not true"
_CONSTRAINT_NAME = """format('constraint %I on %I.%I', k.conname, coalesce(cn.nspname, tn.nspname),
    coalesce(c.relname, t.typname))"""
_CONSTRAINT_BY = "array_remove(array[k.xmin, c.xmin, cn.xmin, t.xmin, tn.xmin]::text[], null)"
_FUNCTION = (
    f"""pg_proc p join pg_namespace n on n.oid = p.pronamespace and {USERS_OWN} and {_own("pg_proc", "p.oid")}"""
)
_FUNCTION_NAME = (
    "format('function %I.%I', n.nspname, p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')'"
)
_FUNCTION_BY = _by("p", "n", types="any (p.proargtypes)")
_COMMENT_BY = f"array_remove({_by('d', 'c', 'a', 'k', 'g', 't', 'n', 'p', types='any (p.proargtypes)')}, null)"
_TYPE = f"""pg_type t join pg_namespace n on n.oid = t.typnamespace and {USERS_OWN} and {_own("pg_type", "t.oid")}
    and (t.typrelid = 0 or exists (select from pg_class c where c.oid = t.typrelid and c.relkind = 'c'))
    and not exists (select from pg_type e where e.typarray = t.oid)"""
_TYPE_NAME = "format('type %I.%I', n.nspname, t.typname)"


def _named(
    of: str,
    catalog: str,
    *without: str,
    space: str = "",
    acl: str = "",
    oids: tuple[str, ...] = (),
    also: str = "",
    options: str = "",
    types: str = "",
) -> _Kind:
    """A kind whose objects the server itself names. ``space``: the column of their schema; without one, those that
    initdb made are left out. ``also``: one more condition."""
    joined = f"join pg_namespace n on n.oid = x.{space} and {USERS_OWN}" if space else ""
    among = "" if space else f"and x.oid >= {_USERS} "
    return _Kind(
        of,
        f"'{of} ' || {_identity(catalog, 'x.oid')}",
        _by(*("xn" if space else "x"), types=types),
        _row("x", *without, acl=acl, oids=oids, options=options),
        f"{catalog} x {joined} where {_own(catalog, 'x.oid')} {among}{also}",
        key="x.oid",
    )


def _part(of: str, name: str, whole: str, space: str, part: str, key: str, types: str = "") -> _Kind:
    """Rows ``part``, each an object of its own, of a kind that ``_named`` names: those whose column ``key`` has the oid
    of its row. One can go without the row of the whole being written."""
    source = f"{part} y join {whole} x on x.oid = y.{key} join pg_namespace n on n.oid = x.{space} and {USERS_OWN}"
    return _Kind(of, name, _by("x", "n", "y", types=types), _row("y", key), f"{source} where {_own(whole, 'x.oid')}")


def _member(of: str, catalog: str, space: str, *without: str, also: str = "", types: str = "") -> _Kind:
    """What extensions made, but for its privileges, which ``_privileged`` has: it may be altered without another
    version. ``space``: the column of its schema, or ""."""
    joined = f"join pg_namespace n on n.oid = x.{space}" if space else ""
    return _Kind(
        f"{of}s of extensions",
        f"'{of} ' || {_identity(catalog, 'x.oid')}",
        _by(*("xn" if space else "x"), types=types),
        _row("x", *without),
        f"{catalog} x {joined} where not ({_own(catalog, 'x.oid')}) {also}",
        key="x.oid",
    )


def _privileged(of: str, catalog: str, space: str, acl: str) -> _Kind:
    """Privileges on what is the system's or an extension's, where they are not those it was made with. ``space``: the
    column of its schema; without one, what initdb made is the system's."""
    if space:
        joined = f"join pg_namespace n on n.oid = x.{space} and n.nspname !~ '^pg_(toast|temp)'"
        users, kept = USERS_OWN, "and n.nspname <> 'information_schema'"
    else:
        joined, users, kept = "", f"x.oid >= {_USERS}", ""
    return _Kind(
        f"privileges on {of}s",
        f"'privileges on {of} ' || {_identity(catalog, 'x.oid')}",
        _by("x"),
        f"to_jsonb({_privileges(f'x.{acl}')})",
        f"{catalog} x {joined}"
        f" left join pg_init_privs i on i.classoid = '{catalog}'::regclass and i.objoid = x.oid and i.objsubid = 0"
        f" where x.{acl} is distinct from i.initprivs and not (({users}) and {_own(catalog, 'x.oid')}) {kept}",
    )


_KINDS: tuple[_Kind, ...] = (
    _Kind(
        "schemas",
        "format('schema %I', n.nspname)",
        _by("n"),
        _row("n", acl="nspacl"),
        f"pg_namespace n where {USERS_OWN} and ({HARNESS_SCHEMA}) is not true and {_own('pg_namespace', 'n.oid')}",
        key="n.oid",
    ),
    _Kind(
        "extensions",
        "format('extension %I', e.extname)",
        _by("e"),
        _row("e", "extconfig"),
        "pg_extension e",
        key="e.oid",
    ),
    _Kind("relations", _RELATION_NAME, _by("c", "n"), _CLASS, _HELD, key="c.oid"),
    _Kind(
        "tables' TOAST",
        _RELATION_NAME,
        _by("c", "n", "x"),
        "coalesce(to_jsonb(x.reloptions), 'null')",
        f"{_HELD} join pg_class x on x.oid = c.reltoastrelid",
    ),
    _Kind(
        "sequences",
        _RELATION_NAME,
        _by("c", "n", "s"),
        _row("s", "seqrelid"),
        f"{_HELD} join pg_sequence s on s.seqrelid = c.oid",
    ),
    _Kind(
        "owned sequences",
        "format('sequence %I.%I of %I.%I.%I', n.nspname, c.relname, tn.nspname, t.relname, a.attname)",
        _by("c", "n", "t", "tn", "a", "d"),
        "to_jsonb(d.deptype)",
        f"{_HELD} and c.relkind = 'S' join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = c.oid"
        " and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0 and d.deptype in ('a', 'i')"
        " join pg_class t on t.oid = d.refobjid join pg_namespace tn on tn.oid = t.relnamespace"
        " join pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid",
    ),
    _Kind(
        "inheritance",
        "format('inheritance of %I.%I by %I.%I', pn.nspname, p.relname, n.nspname, c.relname)",
        _by("c", "n", "i", "p", "pn"),
        _row("i", "inhrelid", "inhparent"),
        f"{_HELD} join pg_inherits i on i.inhrelid = c.oid join pg_class p on p.oid = i.inhparent"
        " join pg_namespace pn on pn.oid = p.relnamespace",
    ),
    _Kind(
        "partitioning",
        _RELATION_NAME,
        _by("c", "n", "p"),
        _row("p", "partrelid", "partdefid"),
        f"{_HELD} join pg_partitioned_table p on p.partrelid = c.oid",
    ),
    _Kind(
        "foreign tables",
        _RELATION_NAME,
        _by("c", "n", "f"),
        _row("f", "ftrelid", options="ftoptions"),
        f"{_HELD} join pg_foreign_table f on f.ftrelid = c.oid",
    ),
    _Kind(
        "views",
        _RELATION_NAME,
        _by("c", "n", "r"),
        _row("r", "ev_class"),
        f"{_HELD} join pg_rewrite r on r.ev_class = c.oid and r.rulename = '_RETURN'",
    ),
    _Kind(
        "rules",
        "format('rule %I on %I.%I', r.rulename, n.nspname, c.relname)",
        _by("c", "n", "r"),
        _row("r", "ev_class"),
        f"{_HELD} join pg_rewrite r on r.ev_class = c.oid and r.rulename <> '_RETURN'",
        key="r.oid",
    ),
    _Kind(
        "columns",
        "format('column %I.%I.%I', n.nspname, c.relname, a.attname)",
        _by("c", "n", "a"),
        _row("a", "attrelid", "attcacheoff", "atthasmissing", "attmissingval", acl="attacl"),
        f"{_HELD} and c.relkind <> 'S' join pg_attribute a on a.attrelid = c.oid"
        " and a.attnum > 0 and not a.attisdropped",
        key="concat_ws('.', c.oid, a.attnum)",
    ),
    _Kind(
        "defaults",
        "format('column %I.%I.%I', n.nspname, c.relname, a.attname)",
        _by("c", "n", "a", "d"),
        _row("d", "adrelid"),
        f"{_HELD} join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
        " join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum",
    ),
    _Kind(
        "constraints",
        _CONSTRAINT_NAME,
        _CONSTRAINT_BY,
        _row("k", "conrelid", "contypid", "conindid", "conparentid"),
        f"{_CONSTRAINT} where {_KEPT}",
        key="k.oid",
    ),
    _Kind(
        "constraints' triggers",
        _CONSTRAINT_NAME,
        f"{_CONSTRAINT_BY} || g.xmin::text",
        _row("g", "tgname", "tgconstraint", "tgconstrindid", "tgparentid"),
        f"{_CONSTRAINT} join pg_trigger g on g.tgconstraint = k.oid where {_KEPT} and g.tgisinternal",
    ),
    _Kind(
        "indexes",
        _RELATION_NAME,
        _by("c", "n", "i"),
        _row("i", "indexrelid", "indrelid", "indcheckxmin"),
        _INDEX,
        key="c.oid",
    ),
    _Kind(
        "indexes' relations",
        _RELATION_NAME,
        _by("c", "n"),
        "jsonb_build_array(c.relam, c.reltablespace, c.reloptions)",
        _INDEX,
    ),
    _Kind(
        "functions",
        _FUNCTION_NAME,
        _FUNCTION_BY,
        _row("p", "protransform", "prosupport", acl="proacl"),
        _FUNCTION,
        key="p.oid",
    ),
    _Kind(
        "aggregates",
        _FUNCTION_NAME,
        f"{_FUNCTION_BY} || g.xmin::text",
        _row(
            "g",
            "aggfnoid",
            oids=(
                *("aggtransfn", "aggfinalfn", "aggcombinefn", "aggserialfn", "aggdeserialfn"),
                *("aggmtransfn", "aggminvtransfn", "aggmfinalfn"),
            ),
        ),
        f"{_FUNCTION} join pg_aggregate g on g.aggfnoid = p.oid",
    ),
    _Kind(
        "triggers",
        "format('trigger %I on %I.%I', t.tgname, n.nspname, c.relname)",
        _by("t", "c", "n"),
        _row("t", "tgrelid", "tgconstraint", "tgconstrindid", "tgparentid"),
        f"{_HELD} join pg_trigger t on t.tgrelid = c.oid and (not t.tgisinternal or t.tgconstraint = 0)",
        key="t.oid",
    ),
    _Kind(
        "policies",
        "format('policy %I on %I.%I', p.polname, n.nspname, c.relname)",
        _by("p", "c", "n"),
        _row("p", "polrelid"),
        f"{_HELD} join pg_policy p on p.polrelid = c.oid",
        key="p.oid",
    ),
    _Kind(
        "types",
        _TYPE_NAME,
        _by("t", "n"),
        _row(
            "t",
            *("typarray", "typrelid", "typsubscript"),
            acl="typacl",
            oids=("typinput", "typoutput", "typreceive", "typsend", "typmodin", "typmodout", "typanalyze"),
        ),
        _TYPE,
        key="t.oid",
    ),
    _Kind(
        "enums",
        _TYPE_NAME,
        _by("t", "n", "e"),
        _row("e", "enumtypid"),
        f"{_TYPE} join pg_enum e on e.enumtypid = t.oid",
    ),
    _Kind(
        "ranges",
        _TYPE_NAME,
        _by("t", "n", "r"),
        _row("r", "rngtypid", oids=("rngcanonical", "rngsubdiff")),
        f"{_TYPE} join pg_range r on r.rngtypid = t.oid",
    ),
    _Kind(
        "roles",
        "format('role %I', r.rolname)",
        "array[r.written]::text[]",
        _row("r", "written", "rolpassword", "rolconfig"),
        f"{_ROLES} r where r.rolname !~ {_THEIRS}",
        key="r.oid",
    ),
    _Kind(  # whoever writes a password writes the row: a transaction's number is the same on every physical copy
        "rows of roles",
        "format('password or limits of role %I', r.rolname)",
        "array[r.written]::text[]",
        "to_jsonb(r.written::text)",
        f"{_ROLES} r where r.written <> '0'::xid and r.rolname !~ {_THEIRS} and not exists ("
        "select from pg_auth_members m join pg_roles g on g.oid = m.roleid"
        f" where m.member = r.oid and g.rolname = {_MASTERS})",
    ),
    _Kind(
        "memberships",
        "format('membership of role %I in %I', r.rolname, g.rolname)",
        "array[m.xmin, r.written, g.written]::text[]",
        _row("m", "member", "roleid"),
        f"pg_auth_members m join {_ROLES} r on r.oid = m.member join {_ROLES} g on g.oid = m.roleid"
        f" where r.rolname !~ {_THEIRS}",
    ),
    _Kind(
        "settings by role and database",
        "concat_ws(' ', 'settings of', 'role ' || quote_ident(r.rolname), 'database ' || quote_ident(d.datname),"
        " case when s.setrole = 0 and s.setdatabase = 0 then 'all' end)",
        "array_remove(array[s.xmin, d.xmin, r.written]::text[], null)",
        "to_jsonb(array(select o from unnest(s.setconfig) as o order by 1))",
        f"""pg_db_role_setting s
          left join {_ROLES} r on r.oid = s.setrole left join pg_database d on d.oid = s.setdatabase
         where (s.setdatabase = 0 or d.datname = current_database()) and coalesce(r.rolname, '') !~ {_THEIRS}""",
    ),
    _Kind(
        "databases",
        "format('database %I', d.datname)",
        _by("d"),
        _row("d", "datfrozenxid", "datminmxid", "datlastsysoid", "dathasloginevt", "datcollversion", acl="datacl"),
        "pg_database d where not d.datistemplate and d.datname <> 'rdsadmin'",
        key="d.oid",
    ),
    _Kind(
        "default privileges",
        f"'default privileges ' || {_identity('pg_default_acl', 'x.oid')}",
        "array_remove(array[x.xmin, r.written, n.xmin]::text[], null)",
        _row("x", acl="defaclacl"),
        f"pg_default_acl x join {_ROLES} r on r.oid = x.defaclrole"
        " left join pg_namespace n on n.oid = x.defaclnamespace",
        key="x.oid",
    ),
    _Kind(
        "user mappings",
        "format('user mapping of %I at %I', u.usename, u.srvname)",
        "u.written",
        _row("u", "written", options="umoptions"),
        f"{_MAPPINGS} u",
    ),
    _Kind(
        "comments",
        "'comment on ' || i.type || ' ' || i.identity",
        f"case when n.oid is null then {_UNWRITTEN} else {_COMMENT_BY} end",
        "to_jsonb(d.description)",
        f"""pg_description d cross join pg_identify_object(d.classoid, d.objoid, d.objsubid) as i
          left join pg_constraint k on d.classoid = 'pg_constraint'::regclass and k.oid = d.objoid
          left join pg_trigger g on d.classoid = 'pg_trigger'::regclass and g.oid = d.objoid
          left join pg_proc p on d.classoid = 'pg_proc'::regclass and p.oid = d.objoid
          left join pg_class c on c.oid = case d.classoid when 'pg_class'::regclass then d.objoid
               else coalesce(k.conrelid, g.tgrelid) end
          left join pg_attribute a on a.attrelid = c.oid and a.attnum = d.objsubid and d.objsubid > 0
          left join pg_type t on t.oid = case d.classoid when 'pg_type'::regclass then d.objoid else k.contypid end
          left join pg_namespace n on n.oid = case d.classoid when 'pg_namespace'::regclass then d.objoid
               else coalesce(c.relnamespace, t.typnamespace, p.pronamespace) end
         where d.objoid >= {_USERS} and {harness_tables("c")} is not true and not ({HARNESS_SCHEMA} is true
               and i.type = 'schema') and not exists (select from pg_depend e
         where e.classid = d.classoid and e.objid = d.objoid and e.deptype = 'e')""",
    ),
    _Kind(
        "comments on the server's",
        "'comment on ' || i.type || ' ' || i.identity",
        "array_remove(array[d.xmin, r.written, b.xmin, t.xmin]::text[], null)",
        "to_jsonb(d.description)",
        f"""pg_shdescription d cross join pg_identify_object(d.classoid, d.objoid, 0) as i
          left join {_ROLES} r on d.classoid = 'pg_authid'::regclass and r.oid = d.objoid
          left join pg_database b on d.classoid = 'pg_database'::regclass and b.oid = d.objoid
          left join pg_tablespace t on d.classoid = 'pg_tablespace'::regclass and t.oid = d.objoid
         where i.identity !~ {_THEIRS}""",
    ),
    _named("collation", "pg_collation", "collversion", space="collnamespace"),
    _named("conversion", "pg_conversion", space="connamespace", oids=("conproc",)),
    _named(
        "operator",
        "pg_operator",
        space="oprnamespace",
        oids=("oprcode", "oprrest", "oprjoin"),
        also="and x.oprcode <> 0",
        types="any (array[x.oprleft, x.oprright])",
    ),
    _named("operator class", "pg_opclass", space="opcnamespace"),
    _named("operator family", "pg_opfamily", space="opfnamespace"),
    _part(
        "operators of families",
        _identity("pg_amop", "y.oid"),
        "pg_opfamily",
        "opfnamespace",
        "pg_amop",
        "amopfamily",
        types="any (array[y.amoplefttype, y.amoprighttype])",
    ),
    _part(
        "functions of families",
        _identity("pg_amproc", "y.oid"),
        *("pg_opfamily", "opfnamespace", "pg_amproc", "amprocfamily"),
        types="any (array[y.amproclefttype, y.amprocrighttype])",
    ),
    _named("text search configuration", "pg_ts_config", space="cfgnamespace"),
    _part(
        "text search mappings",
        "format('mapping %s of %s in text search configuration %I.%I',"
        " y.mapseqno, y.maptokentype, n.nspname, x.cfgname)",
        *("pg_ts_config", "cfgnamespace", "pg_ts_config_map", "mapcfg"),
    ),
    _named("text search dictionary", "pg_ts_dict", space="dictnamespace"),
    _named(
        "text search parser",
        "pg_ts_parser",
        space="prsnamespace",
        oids=("prsstart", "prstoken", "prsend", "prsheadline", "prslextype"),
    ),
    _named("text search template", "pg_ts_template", space="tmplnamespace", oids=("tmplinit", "tmpllexize")),
    _named("statistics", "pg_statistic_ext", space="stxnamespace"),
    _named("cast", "pg_cast", types="any (array[x.castsource, x.casttarget])"),
    _named("transform", "pg_transform", oids=("trffromsql", "trftosql"), types="x.trftype"),
    _named("language", "pg_language", acl="lanacl"),
    _named("access method", "pg_am", oids=("amhandler",)),
    _named("event trigger", "pg_event_trigger"),
    _named("foreign-data wrapper", "pg_foreign_data_wrapper", acl="fdwacl", options="fdwoptions"),
    _named("foreign server", "pg_foreign_server", acl="srvacl", options="srvoptions"),
    _named("publication", "pg_publication"),
    _Kind(
        "subscriptions",
        "format('subscription %I', s.subname)",
        "s.written",
        _row("s", "written"),
        f"{_SUBSCRIPTIONS} s",
        key="s.oid",
    ),
    _Kind(
        "security labels",
        "format('security label of %s on ', l.provider) || i.type || ' ' || i.identity",
        _UNWRITTEN,
        "to_jsonb(l.label)",
        f"""(select classoid, objoid, objsubid, provider, label from pg_seclabel
             union all select classoid, objoid, 0, provider, label from pg_shseclabel) as l
          cross join pg_identify_object(l.classoid, l.objoid, l.objsubid) as i where l.objoid >= {_USERS}""",
    ),
    _Kind(
        "tables of publications",
        "format('publication %I of %I.%I', p.pubname, n.nspname, c.relname)",
        _by("p", "x", "c", "n"),
        _row("x", "prpubid", "prrelid"),
        f"{_HELD} join pg_publication_rel x on x.prrelid = c.oid join pg_publication p on p.oid = x.prpubid",
        key="x.oid",
    ),
    _Kind(
        "schemas of publications",
        "format('publication %I of schema %I', p.pubname, n.nspname)",
        _by("p", "x", "n"),
        _row("x", "pnpubid", "pnnspid"),
        f"pg_publication_namespace x join pg_namespace n on n.oid = x.pnnspid and {USERS_OWN}"
        " join pg_publication p on p.oid = x.pnpubid",
        15,
    ),
    _Kind(
        "tablespaces",
        "format('tablespace %I', x.spcname)",
        _by("x"),
        _row("x", acl="spcacl"),
        "pg_tablespace x where x.spcname !~ '^rds'",
        key="x.oid",
    ),
    _Kind(
        "privileges on settings",
        "format('privileges on setting %s', x.parname)",
        _by("x"),
        _row("x", acl="paracl"),
        "pg_parameter_acl x",
        15,
    ),
    _privileged("function", "pg_proc", "pronamespace", "proacl"),
    _privileged("relation", "pg_class", "relnamespace", "relacl"),
    _privileged("type", "pg_type", "typnamespace", "typacl"),
    _privileged("language", "pg_language", "", "lanacl"),
    _privileged("foreign-data wrapper", "pg_foreign_data_wrapper", "", "fdwacl"),
    _member(
        "function",
        *("pg_proc", "pronamespace", "protransform", "prosupport", "proacl"),
        types="any (x.proargtypes)",
    ),
    _member("relation", "pg_class", "relnamespace", *_KEPT_IN_ORDER, "relacl", also="and x.relkind not in ('i', 'I')"),
    _member("language", "pg_language", "", "lanacl"),
    _member("foreign-data wrapper", "pg_foreign_data_wrapper", "", "fdwacl", "fdwoptions"),
)


def objects(connection: Connection) -> dict[str, Version]:
    """Each object's name to its version, read in the transaction that is open, which should be one of repeatable read.
    Raises ProviderError or RefusedError."""
    major = connection.info.server_version // 10_000
    rows: Mapping[str, list[str]] = defaultdict(list)
    writers: Mapping[str, set[int]] = defaultdict(set)
    keys: dict[str, str] = {}
    with translated("reading the server's transactions"):
        current = newest(connection)
        known = bool(one(connection, _KNOWN))
    for kind in _KINDS:
        if major >= kind.since:
            for name, xids, row, key in _read(connection, kind, known):
                rows[name].append(row)
                writers[name].update(xids)
                if key is not None:
                    keys[name] = digest([connection.info.dbname, kind.of, key])
    return {name: Version(digest(of), _last(writers[name], current), keys.get(name, "")) for name, of in rows.items()}


def _read(connection: Connection, kind: _Kind, known: bool) -> Iterator[tuple[str, set[int], str, str | None]]:
    with translated(f"reading the catalog of {kind.of}"):
        for name, xids, row, key in connection.execute(kind.query(known)):
            if name is None:  # it was dropped while it was read: names come from what the catalog holds by then
                continue
            yield name, {int(xid) for xid in xids}, _PLACES.sub("", f"{kind.of}: {row}"), key


def digest(rows: list[str]) -> str:
    """Of what is told of one object, in no order."""
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()[:_DIGITS]


def _last(xids: set[int], current: int) -> int:
    """The newest of 32-bit ``xids`` as 64 bits; 0 where any of them is not known."""
    return 0 if 0 in xids else max((whole(xid, current) for xid in xids), default=0)


def newest(connection: Connection) -> int:
    """The transaction up to which all have ended that the snapshot shows, as 64 bits. Raises psycopg.Error."""
    return int(one(connection, "select pg_snapshot_xmax(pg_current_snapshot())::text"))


def whole(xid: int, current: int) -> int:
    """A 32-bit transaction as 64 bits: the newest that is not after ``current``, a 64-bit one. A permanent one is as it
    is."""
    return xid if xid < _FIRST_NORMAL else current - (current - xid) % _EPOCH
