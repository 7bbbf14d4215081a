"""The definitions of a database's objects as digests.

A physical copy has the same digests; a lost index, grant or constraint, or a changed column, has not. Names are "KIND
QUALIFIED-NAME". System schemas, the harness's own and what extensions made (their version stands for it) are left out.
"""
# ruff: noqa: S608 - the queries are put together from this module's own constants

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from dr.drivers.postgres.connection import Connection, translated

_DIGITS = 16
_OURS = "n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'dr')"


def _own(catalog: str, oid: str) -> str:
    return (
        f"{_OURS} and not exists (select from pg_depend d where d.classid = '{catalog}'::regclass "
        f"and d.objid = {oid} and d.deptype = 'e')"
    )


def _acl(column: str) -> str:
    """Grants in an order of their own; null and empty differ (the default, and nothing)."""
    return f"case when {column} is not null then array(select a::text from unnest({column}) a order by 1) end"


_QUERIES: Mapping[str, str] = {
    "schemas": f"""
        select format('schema %I', n.nspname), jsonb_build_array(pg_get_userbyid(n.nspowner), {_acl("n.nspacl")})
          from pg_namespace n where {_own("pg_namespace", "n.oid")}""",
    "extensions": """
        select format('extension %I', e.extname), jsonb_build_array(e.extversion, n.nspname)
          from pg_extension e join pg_namespace n on n.oid = e.extnamespace""",
    "relations": f"""
        select format('%s %I.%I', case c.relkind when 'v' then 'view' when 'm' then 'materialized view'
                      when 'S' then 'sequence' when 'f' then 'foreign table' when 'c' then 'composite type'
                      else 'table' end, n.nspname, c.relname),
               jsonb_build_array(c.relkind, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity, c.relispartition,
                 c.relreplident, array_to_string(c.reloptions, ','), pg_get_userbyid(c.relowner), {_acl("c.relacl")},
                 pg_get_expr(c.relpartbound, c.oid), case when c.relkind = 'p' then pg_get_partkeydef(c.oid) end,
                 (select string_agg(i.inhparent::regclass::text, ',' order by i.inhseqno)
                    from pg_inherits i where i.inhrelid = c.oid),
                 case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end,
                 (select concat_ws(',', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmax, s.seqmin,
                         s.seqcache, s.seqcycle) from pg_sequence s where s.seqrelid = c.oid))
          from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f', 'c') and c.relpersistence <> 't'
           and {_own("pg_class", "c.oid")}""",
    "columns": f"""
        select format('column %I.%I.%I', n.nspname, c.relname, a.attname),
               jsonb_build_array(a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                 a.attgenerated, a.attcollation::regcollation, pg_get_expr(d.adbin, d.adrelid), {_acl("a.attacl")})
          from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
          left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
         where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'v', 'm', 'f', 'c')
           and c.relpersistence <> 't' and {_own("pg_class", "c.oid")}""",
    "constraints": f"""
        select format('constraint %s on %s', quote_ident(k.conname),
                      case when k.conrelid <> 0 then k.conrelid::regclass::text else k.contypid::regtype::text end),
               jsonb_build_array(pg_get_constraintdef(k.oid), k.convalidated, k.condeferrable, k.condeferred)
          from pg_constraint k join pg_namespace n on n.oid = k.connamespace
          left join pg_class c on c.oid = k.conrelid
         where c.relpersistence is distinct from 't' and {_own("pg_constraint", "k.oid")}""",
    "indexes": f"""
        select format('index %I.%I', n.nspname, c.relname),
               jsonb_build_array(pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisready, i.indisunique,
                 i.indisprimary, i.indisreplident, i.indisclustered)
          from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
         where c.relpersistence <> 't' and {_own("pg_class", "i.indrelid")}""",
    "functions": f"""
        select format('function %I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
               jsonb_build_array(p.prokind, case when p.prokind <> 'a' then pg_get_functiondef(p.oid) else p.prosrc end,
                 (select concat_ws(',', g.aggtransfn, g.aggfinalfn, g.aggtranstype::regtype, g.agginitval)
                    from pg_aggregate g where g.aggfnoid = p.oid),
                 pg_get_userbyid(p.proowner), {_acl("p.proacl")})
          from pg_proc p join pg_namespace n on n.oid = p.pronamespace where {_own("pg_proc", "p.oid")}""",
    "triggers": f"""
        select format('trigger %I on %s', t.tgname, t.tgrelid::regclass),
               jsonb_build_array(pg_get_triggerdef(t.oid), t.tgenabled)
          from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
         where not t.tgisinternal and c.relpersistence <> 't' and {_own("pg_class", "c.oid")}""",
    "policies": f"""
        select format('policy %I on %s', p.polname, p.polrelid::regclass),
               jsonb_build_array(p.polcmd, p.polpermissive, array(select r::regrole::text from unnest(p.polroles) r
                 where r <> 0 order by 1), pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
          from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace
         where {_own("pg_class", "c.oid")}""",
    "rules": f"""
        select format('rule %I on %s', r.rulename, r.ev_class::regclass),
               jsonb_build_array(pg_get_ruledef(r.oid), r.ev_enabled)
          from pg_rewrite r join pg_class c on c.oid = r.ev_class join pg_namespace n on n.oid = c.relnamespace
         where c.relkind not in ('v', 'm') and {_own("pg_class", "c.oid")}""",
    "types": f"""
        select format('type %I.%I', n.nspname, t.typname),
               jsonb_build_array(t.typtype, case when t.typtype = 'd' then format_type(t.typbasetype, t.typtypmod) end,
                 t.typnotnull, t.typdefault, pg_get_userbyid(t.typowner), {_acl("t.typacl")},
                 (select string_agg(quote_literal(e.enumlabel), ',' order by e.enumsortorder)
                    from pg_enum e where e.enumtypid = t.oid),
                 (select concat_ws(',', r.rngsubtype::regtype, r.rngcollation::regcollation, r.rngsubopc)
                    from pg_range r where r.rngtypid = t.oid))
          from pg_type t join pg_namespace n on n.oid = t.typnamespace
         where t.typtype in ('d', 'e', 'r') and {_own("pg_type", "t.oid")}""",
    "roles": r"""
        select format('role %I', r.rolname),
               jsonb_build_array(r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin,
                 r.rolreplication, r.rolbypassrls, r.rolconnlimit, array_to_string(r.rolconfig, ','),
                 (select string_agg(m.roleid::regrole::text || case when m.admin_option then '*' else '' end, ','
                         order by m.roleid::regrole::text) from pg_auth_members m where m.member = r.oid))
          from pg_roles r where r.rolname !~ '^(pg_|rds)'""",
}


def schema_digests(connection: Connection) -> dict[str, str]:
    """Object name to digest of its definition, read in the transaction that is open. Raises ProviderError."""
    digests: dict[str, str] = {}
    for kind, query in _QUERIES.items():
        with translated(f"reading the catalog of {kind}"):
            for name, definition in connection.execute(query):
                digests[name] = hashlib.sha256(json.dumps(definition).encode()).hexdigest()[:_DIGITS]
    return digests
