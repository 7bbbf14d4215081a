"""What a restored database is asked before anything writes to it: each answer an observation (docs/design.md).

Nothing here changes a database or installs anything in it. What cannot be examined says why in its observation, and
does not keep the others from being examined.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from psycopg import Error, sql

from dr.config.model import Login
from dr.domain.errors import DrError
from dr.domain.refs import Endpoint
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.connection import Connection, connect, reason, translated
from dr.drivers.postgres.own_schema import OWN_SCHEMA
from dr.host.steps import Steps, working

_OTHERS = "n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'dr')"

_FOREIGN_KEYS = f"""
    select k.conname, format('%I.%I', n.nspname, c.relname),
           n.nspname, c.relname, c.relkind = 'p', rn.nspname, rc.relname, rc.relkind = 'p', k.confmatchtype,
           (select array_agg(a.attname::text order by u.i) from unnest(k.conkey) with ordinality u(num, i)
              join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.num),
           (select array_agg(a.attname::text order by u.i) from unnest(k.confkey) with ordinality u(num, i)
              join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.num),
           (select array_agg(format('operator(%I.%s)', o_n.nspname, o.oprname) order by u.i)
              from unnest(k.conpfeqop) with ordinality u(op, i)
              join pg_operator o on o.oid = u.op join pg_namespace o_n on o_n.oid = o.oprnamespace)
      from pg_constraint k
      join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
      join pg_class rc on rc.oid = k.confrelid join pg_namespace rn on rn.oid = rc.relnamespace
     where k.contype = 'f' and k.conparentid = 0 and k.convalidated and c.relpersistence = 'p' and {_OTHERS}
     order by 2, 1
"""  # noqa: S608 - put together from this module's own constants

_SEARCH_PATH = """
    select coalesce(
            (select substr(o.setting, length('search_path=') + 1)
               from pg_db_role_setting s cross join unnest(s.setconfig) as o(setting)
              where o.setting like 'search\\_path=%%' and s.setrole in (0, r.oid)
                and s.setdatabase in (0, (select d.oid from pg_database d where d.datname = current_database()))
              order by s.setrole <> 0 desc, s.setdatabase <> 0 desc limit 1),
            (select case when g.source like '%%user' or g.source = 'client' then g.boot_val else g.reset_val end
               from pg_settings g where g.name = 'search_path'))
      from (select (select oid from pg_roles where rolname = %(login)s) as oid) as r
"""
"""``login``'s: that of the role in this database, of the role, of the database, of the server, the first there is."""

_NAMES = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",\s]+))\s*(?:,|$)')

_MODEL_VERSIONS = f"""
    select n.nspname, n.nspname = any (%(path)s) and (r.oid is null or has_schema_privilege(r.oid, n.oid, 'usage'))
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      left join pg_roles r on r.rolname = %(login)s
     where c.relname = 'model_versions' and c.relkind in ('r', 'p', 'v', 'm', 'f') and {_OTHERS}
       and (n.nspname = any (%(path)s) or 3 = (
            select count(*) from pg_attribute a where a.attrelid = c.oid and not a.attisdropped
               and a.attname in ('model_version', 'active', 'performance_metrics')))
     order by 2 desc, array_position(%(path)s, n.nspname::text), 1
"""  # noqa: S608
"""Every schema with a model_versions, and whether ``login`` finds it there by its search ``path``. What it finds first
comes first."""

_INDEXES = f"""
    select i.indexrelid::oid::int8, format('%I.%I', n.nspname, c.relname), m.amname, i.indisvalid and i.indisready
      from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
      join pg_am m on m.oid = c.relam
     where c.relkind = 'i' and c.relpersistence = 'p' and {_OTHERS}
     order by 2
"""  # noqa: S608

_NO_AMCHECK = (
    "the extension amcheck is not installed in this database: create it on the source, or say amcheck: false under the"
    " target's postgres"
)


def logins(server: Endpoint, database: PostgresConfig) -> list[dict[str, Any]]:
    """Every application role logs in with the secret the service really uses, and asks one question."""
    found: list[dict[str, Any]] = []
    for role in database.roles:
        because = ""
        try:
            log_in(server, database, role)
        except DrError as error:
            because = str(error)
        found.append({"user": role.user, "ok": not because, "because": because})
    return found


def log_in(server: Endpoint, database: PostgresConfig, role: Login) -> None:
    """Log in as ``role``, ask one question, and leave. Raises as ``connect`` does."""
    with connect(server, database, role, seconds=10) as connection, translated("the first question of a login"):
        connection.execute("select 1").fetchone()


def foreign_keys(connection: Connection) -> Steps[list[dict[str, Any]]]:
    """Rows of each validated foreign key that refer to nothing, by anti-join; ``orphans`` None: why in ``because``.

    A key declared NOT VALID is left out: its source may hold orphans, too.
    """
    with translated("reading the catalog of foreign keys"):
        keys = connection.execute(_FOREIGN_KEYS).fetchall()
    found = []
    for name, table, *rest in keys:
        yield working(f"looking for orphans of {name} in {table}")
        found.append(_foreign_key(connection, name, table, *rest))
    return found


def _foreign_key(
    connection: Connection,
    name: str,
    qualified: str,
    schema: str,
    table: str,
    partitioned: bool,
    to_schema: str,
    to_table: str,
    to_partitioned: bool,
    match: str,
    columns: list[str],
    to_columns: list[str],
    operators: list[str],
) -> dict[str, Any]:
    # MATCH SIMPLE asks nothing of a row with a null among its columns; MATCH FULL only of one without any.
    present = sql.SQL(" or " if match == "f" else " and ").join(
        sql.SQL("t.{} is not null").format(sql.Identifier(c)) for c in columns
    )
    # A child of plain inheritance is no part of its parent's key; a partition is.
    query = sql.SQL("select count(*) from {} as t where ({}) and not exists (select from {} as r where {})").format(
        _rows_of(schema, table, partitioned),
        present,
        _rows_of(to_schema, to_table, to_partitioned),
        sql.SQL(" and ").join(
            sql.SQL("r.{} {} t.{}").format(sql.Identifier(there), sql.SQL(operator), sql.Identifier(here))
            for here, there, operator in zip(columns, to_columns, operators, strict=True)
        ),
    )
    found = {"name": name, "table": qualified}
    try:
        row = connection.execute(query).fetchone()
    except Error as error:
        return {**found, "orphans": None, "because": reason(error)}
    return {**found, "orphans": row[0] if row else None}


def _rows_of(schema: str, table: str, partitioned: bool) -> sql.Composed:
    return sql.SQL("{} {}").format(sql.SQL("" if partitioned else "only"), sql.Identifier(schema, table))


def indexes(connection: Connection) -> Steps[dict[str, Any]]:
    """Every B-tree by amcheck, with each heap row looked for, where the extension exists and may be executed.

    ``invalid``: those that no query uses, by name; ``others``: how many there are of each kind amcheck does not know.
    """
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
    with translated("reading the catalog of indexes"):
        found = connection.execute(_INDEXES).fetchall()
    valid = [(oid, name, kind) for oid, name, kind, usable in found if usable]
    trees = [(oid, name) for oid, name, kind in valid if kind == "btree"]
    failed = []
    for oid, name in trees:
        yield working(f"checking the index {name}")
        try:
            connection.execute(check, (oid,))
        except Error as error:
            failed.append({"index": name, "error": reason(error)})
    others = Counter(kind for _, _, kind in valid if kind != "btree")
    invalid = [name for _, name, _, usable in found if not usable]
    return {"available": True, "checked": len(trees), "failed": failed, "invalid": invalid, "others": dict(others)}


def active_model(connection: Connection, artifacts: str, login: str) -> dict[str, Any]:
    """The active row of model_versions, and the digest of the artifact it names in ``artifacts``.

    It is looked for where ``login``, the service's role, finds it; where that finds none, in the only schema that has
    one. {active, version, digest, artifact_digest}, or {active: None, because}.
    """
    with translated("looking for model_versions"):
        written = connection.execute(_SEARCH_PATH, {"login": login}).fetchone()
        path = searched(written[0] if written else "", login)
        places = connection.execute(_MODEL_VERSIONS, {"login": login, "path": path}).fetchall()
    if not places:
        return {"active": None, "because": "there is no table model_versions"}
    if len(places) > 1 and not places[0][1]:
        named = ", ".join(schema for schema, _ in places)
        who = f"{login}'s search_path names" if login else "no service's login says"
        return {"active": None, "because": f"there are several model_versions, and {who} none of: {named}"}
    query = sql.SQL(
        "select model_version::text, performance_metrics::jsonb ->> 'sha256', performance_metrics::jsonb ->> 'artifact'"
        " from {} where active order by 1"
    ).format(sql.Identifier(places[0][0], "model_versions"))
    try:
        rows = connection.execute(query).fetchall()
    except Error as error:
        return {"active": None, "because": f"model_versions cannot be read: {reason(error)}"}
    if len(rows) != 1:
        return {"active": len(rows), "version": None, "digest": None, "artifact_digest": None}
    version, digest, artifact = rows[0]
    return {"active": 1, "version": version, "digest": digest, **_artifact(artifacts, artifact)}


def searched(written: str, login: str) -> list[str]:
    """The schemas that a search_path names, as PostgreSQL reads it: blanks or none between, unquoted names in lower
    case, and for $user the role. A parameter group's stands as somebody typed it."""
    names = (quoted.replace('""', '"') or plain.lower() for quoted, plain in _NAMES.findall(written))
    return [login if name == "$user" else name for name in names if name]


def _artifact(directory: str, name: str | None) -> dict[str, Any]:
    if not name or not directory:
        return {"artifact_digest": None, "because": "no artifact is named, or no directory of artifacts is configured"}
    path = Path(directory) / Path(name).name  # a name from the database never leads out of the directory
    try:
        return {"artifact_digest": hashlib.sha256(path.read_bytes()).hexdigest()}
    except OSError as error:
        return {"artifact_digest": None, "because": f"the artifact {path} cannot be read: {error.strerror}"}


def markers(connection: Connection, table: str) -> dict[str, Any]:
    """Which markers ``dr.TABLE`` holds, as ranges of their numbers; {table: False} where there is no such table."""
    if not _has(connection, table):
        return {"table": False, "present": []}
    query = sql.SQL(
        "select min(n), max(n) from (select n, n - row_number() over (order by n) as island"
        " from (select distinct n from {}) as numbers) as numbered group by island order by 1"
    ).format(sql.Identifier(OWN_SCHEMA, table))
    with translated("reading the markers"):
        return {"table": True, "present": [list(row) for row in connection.execute(query).fetchall()]}


def victims(connection: Connection, table: str, expected: int) -> dict[str, Any]:
    """How many of the drill's own victims are there."""
    if not _has(connection, table):
        return {"expected": expected, "present": 0}
    with translated("counting the victims"):
        query = sql.SQL("select count(*) from {}").format(sql.Identifier(OWN_SCHEMA, table))
        row = connection.execute(query).fetchone()
    return {"expected": expected, "present": row[0] if row else 0}


def _has(connection: Connection, table: str) -> bool:
    with translated("looking for the harness's own tables"):
        row = connection.execute("select to_regclass(%s) is not null", (f"{OWN_SCHEMA}.{table}",)).fetchone()
    return bool(row and row[0])


def answers(connection: Connection, rows: Mapping[str, int]) -> bool:
    """Whether one row can be read of a table that should hold some. ``rows``: the baseline's row counts by qualified
    name; empty: any answer will do.
    """
    queries = [sql.SQL("select 1 from {} limit 1").format(sql.SQL(name)) for name, count in rows.items() if count]
    for query in queries or [sql.SQL("select {}").format(1)]:
        try:
            if connection.execute(query).fetchone():
                return True
        except Error:  # this table is missing or unreadable, which its checksum will say; another may answer
            continue
    return False
