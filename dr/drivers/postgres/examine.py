"""The examination of a restoration, step by step: what it is asked before anything writes to it, and with what that is
compared. Each answer is an observation (docs/design.md).

Nothing here changes a database or installs anything in it. What cannot be examined says why in its observation, and
does not keep the others from being examined.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from psycopg import Error, sql

from dr.config.context import Context
from dr.config.model import Login
from dr.domain.databases import within
from dr.domain.errors import DrError, EvidenceError, ProviderError, UnreachableError
from dr.domain.looks import BEFORE, Baseline, Look, Snapshot
from dr.domain.model import Component, Observation, Progress
from dr.domain.refs import Endpoint
from dr.drivers.postgres import compare, own_schema
from dr.drivers.postgres.compare import Comparison
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.connection import Connection, clock_offset, connect, one, psql, reason, translated
from dr.drivers.postgres.fingerprint import in_reach
from dr.drivers.postgres.indexes import indexes
from dr.drivers.postgres.meter.mark import marker_table
from dr.drivers.postgres.others import everywhere, joined_indexes, joined_keys
from dr.drivers.postgres.own_schema import OWN_SCHEMA, USERS_OWN
from dr.drivers.postgres.schema import newest, whole
from dr.drivers.postgres.snapshots import Recovered
from dr.drivers.postgres.source import Source, database_of
from dr.drivers.service.config import ServiceConfig
from dr.evidence.baselines import BaselineStore, covering, looked_after, read_baseline
from dr.evidence.samples import markers_file
from dr.host.hearing import Steps, working

T = TypeVar("T")
_Seen = tuple[Observation, ...]

RUN_BASELINE = "baseline.json"
LOGIN_ATTEMPTS = 3
LOOK_SECONDS = 3
"""How long a source is waited for that may be what was lost."""
PATH = "restored"

_FOREIGN_KEYS = f"""
    select k.conname, format('%I.%I', n.nspname, c.relname),
           format('select count(*) from %s%I.%I as t where (%s) and not exists (select from %s%I.%I as r where %s)',
                  case when c.relkind = 'p' then '' else 'only ' end, n.nspname, c.relname,
                  string_agg(format('t.%I is not null', a.attname),
                             case when k.confmatchtype = 'f' then ' or ' else ' and ' end),
                  case when rc.relkind = 'p' then '' else 'only ' end, rn.nspname, rc.relname,
                  string_agg(format('r.%I operator(%I.%s) t.%I', ra.attname, o_n.nspname, o.oprname, a.attname),
                             ' and '))
      from pg_constraint k
      join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
      join pg_class rc on rc.oid = k.confrelid join pg_namespace rn on rn.oid = rc.relnamespace
     cross join unnest(k.conkey, k.confkey, k.conpfeqop) as u(here, there, op)
      join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.here
      join pg_attribute ra on ra.attrelid = k.confrelid and ra.attnum = u.there
      join pg_operator o on o.oid = u.op join pg_namespace o_n on o_n.oid = o.oprnamespace
     where k.contype = 'f' and k.conparentid = 0 and k.convalidated and c.relpersistence = 'p' and {USERS_OWN}
     group by k.oid, k.conname, k.confmatchtype, n.nspname, c.relname, c.relkind, rn.nspname, rc.relname, rc.relkind
     order by 2, 1
"""  # noqa: S608 - put together from this module's own constants
"""Each key with the anti-join that counts its orphans. MATCH SIMPLE asks nothing of a row with a null among its
columns, MATCH FULL only of one without any. A child of plain inheritance is no part of its parent's key; a partition
is."""

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
    select n.nspname, c.relkind in ('r', 'p', 'm'),
           n.nspname = any (%(path)s) and (r.oid is null or has_schema_privilege(r.oid, n.oid, 'usage'))
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      left join pg_roles r on r.rolname = %(login)s
     where c.relname = 'model_versions' and c.relkind in ('r', 'p', 'v', 'm', 'f') and {USERS_OWN}
       and (n.nspname = any (%(path)s) or 3 = (
            select count(*) from pg_attribute a where a.attrelid = c.oid and not a.attisdropped
               and a.attname in ('model_version', 'active', 'performance_metrics')))
     order by 3 desc, array_position(%(path)s, n.nspname::text), 1
"""  # noqa: S608
"""Every schema with a model_versions, and whether ``login`` finds it there by its search ``path``. What it finds first
comes first."""


def logins(server: Endpoint, database: PostgresConfig) -> list[dict[str, Any]]:
    """Every application role logs in with the secret the service really uses, and asks one question. ``ok`` of each:
    whether it may; None where the server did not say, though it was asked several times."""
    found: list[dict[str, Any]] = []
    for role in database.roles:
        ok, because = _may_log_in(server, database, role)
        found.append({"user": role.user, "ok": ok, "because": because})
    return found


def _may_log_in(server: Endpoint, database: PostgresConfig, role: Login) -> tuple[bool | None, str]:
    because = ""
    for _ in range(LOGIN_ATTEMPTS):
        try:
            log_in(server, database, role)
        except ProviderError as error:
            because = str(error)
            if not (error.transient or isinstance(error, UnreachableError)):
                return False, because
        except DrError as error:
            return False, str(error)
        else:
            return True, ""
    return None, because


def log_in(server: Endpoint, database: PostgresConfig, role: Login) -> None:
    """Log in as ``role``, ask one question, and leave. Raises as ``connect`` does."""
    with connect(server, database, role, seconds=10) as connection, translated("the first question of a login"):
        connection.execute("select 1").fetchone()


def foreign_keys(
    connection: Connection, database: str = "", only: Collection[tuple[str, str]] | None = None
) -> Steps[list[dict[str, Any]]]:
    """Rows of each validated foreign key that refer to nothing, by anti-join; ``orphans`` None: why in ``because``.
    ``database``: what the tables' names say, where it is not the main one. ``only``: these alone, by name and table.

    A key declared NOT VALID is left out: its source may hold orphans, too.
    """
    with translated("reading the catalog of foreign keys"):
        keys = [
            (name, within(database, table), query)
            for name, table, query in connection.execute(_FOREIGN_KEYS).fetchall()
        ]
    found = []
    for name, table, query in keys:
        if only is not None and (name, table) not in only:
            continue
        yield working(f"looking for orphans of {name} in {table}")
        try:
            found.append({"name": name, "table": table, "orphans": one(connection, query.encode())})
        except Error as error:
            found.append({"name": name, "table": table, "orphans": None, "because": reason(error)})
    return found


def active_model(connection: Connection, artifacts: str, login: str) -> dict[str, Any]:
    """The active row of model_versions, and the digest of the artifact it names in ``artifacts``.

    It is looked for where ``login``, the service's role, finds it; where that finds none, in the only schema that has
    one. {active, version, digest, xid, artifact_digest}, or {active: None, because}. ``xid``: what wrote
    it; 0 where that is not known.
    """
    with translated("looking for model_versions"):
        path = searched(one(connection, _SEARCH_PATH, {"login": login}) or "", login)
        places = connection.execute(_MODEL_VERSIONS, {"login": login, "path": path}).fetchall()
    if not places:
        return {"active": None, "because": "there is no table model_versions"}
    if len(places) > 1 and not places[0][2]:
        named = ", ".join(schema for schema, _, _ in places)
        who = f"{login}'s search_path names" if login else "no service's login says"
        return {"active": None, "because": f"there are several model_versions, and {who} none of: {named}"}
    query = sql.SQL(
        "select model_version::text, performance_metrics::jsonb ->> 'sha256',"
        " performance_metrics::jsonb ->> 'artifact', {} from {} where active order by 1"
    ).format(sql.SQL("xmin::text::int8" if places[0][1] else "0"), sql.Identifier(places[0][0], "model_versions"))
    try:
        rows, current = connection.execute(query).fetchall(), newest(connection)
    except Error as error:
        return {"active": None, "because": f"model_versions cannot be read: {reason(error)}"}
    if len(rows) != 1:
        return {"active": len(rows), "version": None, "digest": None, "artifact_digest": None}
    version, digest, artifact, xid = rows[0]
    found = {"active": 1, "version": version, "digest": digest, "xid": whole(xid, current)}
    return {**found, **_artifact(artifacts, artifact)}


def model_of(connection: Connection, context: Context) -> dict[str, Any]:
    """The model that the target's service would use."""
    service = context.target.section(ServiceConfig)
    return active_model(connection, service.artifacts if service else "", service.login if service else "")


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
    """Which markers ``dr.TABLE`` holds, as ranges of their numbers, and which of them ``twice``; {table: False} where
    there is no such table."""
    name = sql.Identifier(OWN_SCHEMA, table)
    query = sql.SQL(
        "select min(n), max(n) from (select n, n - row_number() over (order by n) as island"
        " from (select distinct n from {}) as numbers) as numbered group by island order by 1"
    ).format(name)
    doubled = sql.SQL("select n from {} group by n, attempt having count(*) > 1 order by 1 limit 1000").format(name)
    with translated("reading the markers"):
        if not _has(connection, f"{OWN_SCHEMA}.{table}"):
            return {"table": False, "present": []}
        twice = [n for (n,) in connection.execute(doubled).fetchall()]
        return {"table": True, "present": [list(row) for row in connection.execute(query).fetchall()], "twice": twice}


def _has(connection: Connection, table: str) -> bool:
    """Whether there is a table of that name. Raises psycopg.Error."""
    return bool(one(connection, "select to_regclass(%s) is not null", (table,)))


def present(connection: Connection, table: str) -> int:
    """How many of the drill's own victims are there, in ``table`` of schema ``dr``; 0 where there is no such table."""
    with translated("counting the victims"):
        if not _has(connection, table):
            return 0
        return int(one(connection, f"select count(*) from {table}".encode()))  # noqa: S608 - the harness's own name


def answers(connection: Connection, rows: Mapping[str, int]) -> bool:
    """Whether one row can be read of a table that should hold some. ``rows``: the baseline's row counts by qualified
    name; empty: any answer will do.
    """
    queries = [f"select 1 from {name} limit 1" for name, count in rows.items() if count]  # noqa: S608 - quoted names
    for query in queries or ["select 1"]:
        with suppress(Error):  # this table is missing or unreadable, which its checksum will say; another may answer
            if one(connection, query.encode()):
                return True
    return False


class Examination:
    """One examination of the copy that ``args`` (the examine call's, filled) name."""

    def __init__(self, context: Context, args: Mapping[str, Any]) -> None:
        self._context = context
        self._database, self._protected = context.target.of(PostgresConfig), database_of(context.target)
        self._copy = Endpoint(str(args["host"]), int(args["port"]))
        self._args, self._run = args, str(args["run"])
        self._point: float | None = None if args["recovery_point"] is None else float(args["recovery_point"])
        self._source = Source.from_args(args["source"]) if args["source"] else None
        self._notes: list[str] = []

    def steps(self) -> Steps[None]:
        """Each step's observations, the last one done; in between each table, foreign key and index by its name.

        Raises ProviderError where the copy cannot be reached.
        """
        self._notes = []
        baseline = self._find_baseline()
        held = baseline.look.tables.items() if baseline else ()
        rows = {name: table.rows for name, table in held if ": " not in name}  # of this database, and of no other
        with connect(self._copy, self._database) as connection:
            first = {"correct": self._now()} if answers(connection, rows) else {}
            covers = Observation("baseline", "source", None if baseline is None else msgspec.to_builtins(baseline))
            yield working("examining the logins", (covers,))
            taken = logins(self._copy, self._database)
            yield working("examining every table", _saw(logins=taken))
            comparison = self._comparison(baseline, self._in_reach(baseline, connection))
            compared = yield from compare.everywhere(comparison, connection)
            yield working("examining the foreign keys", compared)
            keys, theirs = yield from self._keys(connection, comparison.source)
            yield working("examining the indexes", _saw(**{"foreign-keys": keys}) + theirs)
            checked, theirs = yield from self._indexes(connection, comparison.source)
            yield working("examining what is left", _saw(indexes=checked) + theirs)
            model: dict[str, Any] = model_of(connection, self._context)
            model["source"] = dict(baseline.model) if baseline else None
            model["after"] = yield from self._at(comparison.source, self._model_there)
            seen = _saw(model=model, **self._own(connection, baseline))
        seen += self._clock()
        user = next((str(login["user"]) for login in taken if login["ok"]), "")
        copy = str(self._args["identifier"])
        made = str(self._args.get("restored", copy))  # a replica holds what that holds, and is no part of it
        way = psql(self._copy, self._database, user) if user and made == copy else ""
        yield Progress(
            True,
            {"notes": self._notes},
            observations=seen,
            milestones={**first, "examined": self._now()},
            components=(Component("database", self._protected.named(made), connect=way),),
        )

    def _now(self) -> float:
        return self._context.clock.now().at

    def _at(
        self, source: Endpoint | None, ask: Callable[[Connection], Steps[T]], database: str = ""
    ) -> Steps[T | None]:
        """What ``ask`` finds on the source, in its main database or another; None where there is none to be asked."""
        if source is None:
            return None
        config = msgspec.structs.replace(self._database, name=database or self._database.name)
        try:
            with connect(source, config) as there:
                return (yield from ask(there))
        except DrError as error:
            self._notes.append(f"the source could not be asked: {error}")
            return None

    def _keys(self, copy: Connection, source: Endpoint | None) -> Steps[tuple[list[dict[str, Any]], _Seen]]:
        """Those of the copy, and on the source those that have orphans."""
        found = yield from everywhere(self._copy, self._database, copy, foreign_keys)
        there: dict[str, list[dict[str, Any]] | str] = {}
        for database, keys in found.items():
            broken = [] if isinstance(keys, str) else [(key["name"], key["table"]) for key in keys if key["orphans"]]
            ask = partial(foreign_keys, database=database, only=broken)
            theirs = (yield from self._at(source, ask, database)) if broken else None
            there |= {} if theirs is None else {database: theirs}
        return joined_keys(found), _saw_there("foreign-keys", joined_keys(there) if there else None)

    def _indexes(self, copy: Connection, source: Endpoint | None) -> Steps[tuple[dict[str, Any], _Seen]]:
        """Those of the copy, and on the source those that something is wrong with."""
        found = yield from everywhere(self._copy, self._database, copy, indexes)
        there: dict[str, dict[str, Any] | str] = {}
        for database, seen in found.items():
            if isinstance(seen, str):
                continue
            broken = [one["index"] for one in (*seen.get("failed", ()), *seen["lost"])]
            ask = partial(indexes, database=database, only=broken)
            theirs = (yield from self._at(source, ask, database)) if broken or seen["collations"] else None
            there |= {} if theirs is None else {database: theirs}
        return joined_indexes(found), _saw_there("indexes", joined_indexes(there) if there else None)

    def _model_there(self, source: Connection) -> Steps[dict[str, Any]]:
        yield working("looking at the source's active model")
        return model_of(source, self._context)

    def _clock(self) -> tuple[Observation, ...]:
        """The source's clock, where it is still up: what the exposure's uncertainty rests on."""
        if self._source is None:
            return ()
        try:
            with connect(self._source.server, self._database, seconds=LOOK_SECONDS) as connection:
                return (Observation("clock", "source", clock_offset(connection, self._now)),)
        except DrError as error:
            self._notes.append(f"the source's clock could not be read: {error}")
            return ()

    def _included(self, baseline: Baseline | None) -> tuple[str, ...]:
        victims = own_schema.victims(self._run)
        return (victims,) if baseline is not None and victims in baseline.look.tables else ()

    def _own(self, connection: Connection, baseline: Baseline | None) -> dict[str, Any]:
        """The run's own rows: markers, where it wrote some, and victims, where the recovery point has them."""
        found: dict[str, Any] = {}
        if markers_file(self._context.run, "source").exists():
            found["markers"] = markers(connection, marker_table(self._run))
        if baseline is not None and (tables := self._included(baseline)):
            expected = baseline.look.tables[tables[0]].rows
            found["victims"] = {"expected": expected, "present": present(connection, tables[0])}
        return found

    # -- what the copy is compared with

    def _find_baseline(self) -> Baseline | None:
        """The one whose look is the nearest before the recovery point: the run's own, or a stored one."""
        if self._point is None:
            self._notes.append("the recovery point's time is not known")
            return None
        stored = BaselineStore(self._context.home, self._context.name)
        known, problems = stored.load(self._protected.name)
        self._notes += problems
        if (path := self._context.run / RUN_BASELINE).exists():
            try:
                known = (*known, read_baseline(path))
            except EvidenceError as error:
                self._notes.append(str(error))
        if self._of_source:  # one of another server that had the name tells nothing of this one
            assert self._source is not None  # noqa: S101 - for the type checker
            known = tuple(one for one in known if one.resource_id == self._source.resource_id)
        return covering(known, self._point)

    @property
    def _of_source(self) -> bool:
        """Whether the copy was made of the server that is the source now, and of no former one of its name."""
        made_of = self._args["kind"], self._args.get("point_id")
        return self._source is not None and made_of == ("time", self._source.identifier)

    def _in_reach(self, baseline: Baseline | None, copy: Connection) -> Look | None:
        """The look before, where rows can still be told by it."""
        if baseline is None:
            return None
        with translated("reading the newest transaction"):
            current = newest(copy)
        if in_reach(Snapshot.parse(baseline.look.cuts[BEFORE]), current):
            return baseline.look
        self._notes.append(
            f"the baseline {baseline.id} is more than 2^31 transactions old, too many to tell rows by: "
            "take baselines more often"
        )
        return None

    def _comparison(self, baseline: Baseline | None, before: Look | None) -> Comparison:
        source, because = self._source, ""
        if source is None:
            because = "the source is gone"
        elif baseline is not None and baseline.resource_id != source.resource_id:
            because = "the source is another one than what the baseline was taken of"
        elif baseline is None and not self._of_source:
            because = "nothing says that the source is the one which the copy was made of"
        stored, held = None, self._args.get("point")  # a run that an earlier version began has none
        if baseline is not None and self._point is not None:
            stored = looked_after(baseline, self._point, float(self._args["resolution"]))
        return Comparison(
            database=self._database,
            copy=self._copy,
            source=None if because or source is None else source.server,
            because=because,
            before=before,
            stored=stored,
            held=Recovered.parse(held) if held else None,
            promoted=self._args.get("of") == "promoted",
            include=self._included(baseline),
        )


def _saw_there(what: str, value: Any) -> _Seen:
    return () if value is None else (Observation(what, "source", value),)


def _saw(**observed: Any) -> _Seen:
    return tuple(Observation(what, PATH, value) for what, value in observed.items())
