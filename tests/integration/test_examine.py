"""The examinations against real servers: each finds what it is for, and says why where it cannot look."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest

from dr.config.model import Login
from dr.drivers.postgres import examine
from dr.drivers.postgres.connection import Connection, connect
from dr.drivers.postgres.indexes import indexes
from dr.drivers.postgres.others import everywhere
from dr.host.hearing import at_once
from tests.servers import DATABASE, PASSWORD, LocalServer, local_server

KEYS = """
    create schema "Odd ""one";
    create extension citext;
    create table "Odd ""one"."select" (a int, b int, primary key (a, b));
    create table lines (id int primary key, a int, b int,
        constraint simple foreign key (a, b) references "Odd ""one"."select");
    create table strict_lines (a int, b int,
        constraint whole foreign key (a, b) references "Odd ""one"."select" match full);
    create table codes (code citext primary key);
    create table uses (code citext references codes);
    create table years (y int primary key) partition by range (y);
    create table years_2 partition of years for values from (2000) to (3000);
    create table facts (y bigint references years) partition by range (y);
    create table facts_2 partition of facts for values from (2000) to (3000);
    create table untrusted (id int);
    insert into untrusted values (404);
    alter table untrusted add constraint loose foreign key (id) references lines not valid;
    insert into "Odd ""one"."select" values (1, 1);
    insert into lines values (1, 1, 1), (2, null, 7), (3, null, null);
    insert into strict_lines values (1, 1), (null, null);
    insert into codes values ('I50');
    insert into uses values ('i50'), (null);
    insert into years values (2026);
    insert into facts values (2026);
"""


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with local_server(KEYS, allow_system_table_mods="on") as running:
        yield running


@pytest.fixture
def saboteur(server: LocalServer) -> Iterator[psycopg.Connection]:
    with server.superuser() as connection:
        connection.execute("set session_replication_role = replica")
        yield connection


@pytest.fixture
def harness(server: LocalServer) -> Iterator[Connection]:
    with connect(server.address, server.database()) as connection:
        yield connection


def orphans(connection: Connection) -> dict[str, int | None]:
    return {key["name"]: key["orphans"] for key in at_once(examine.foreign_keys(connection))}


WHOLE = {"facts_y_fkey": 0, "simple": 0, "whole": 0, "uses_code_fkey": 0}


def test_keys_that_hold_have_no_orphans_whatever_their_shape(harness: Connection) -> None:
    assert orphans(harness) == WHOLE


@pytest.mark.parametrize(
    ("statement", "undo", "name"),
    [
        ("insert into lines values (9, 1, 2)", "delete from lines where id = 9", "simple"),
        ("insert into strict_lines values (1, null)", "delete from strict_lines where b is null and a = 1", "whole"),
        ("insert into uses values ('J18')", "delete from uses where code = 'J18'", "uses_code_fkey"),
        ("insert into facts values (2027)", "delete from facts where y = 2027", "facts_y_fkey"),
    ],
)
def test_an_orphan_is_found_in_every_shape_of_key(
    saboteur: psycopg.Connection, harness: Connection, statement: str, undo: str, name: str
) -> None:
    saboteur.execute(statement)
    try:
        assert orphans(harness) == {**WHOLE, name: 1}
    finally:
        saboteur.execute(undo)


def test_a_key_that_cannot_be_read_says_why_and_stops_no_other(
    saboteur: psycopg.Connection, harness: Connection
) -> None:
    saboteur.execute("alter table uses enable row level security")
    try:
        keys = {key["name"]: key for key in at_once(examine.foreign_keys(harness))}
    finally:
        saboteur.execute("alter table uses disable row level security")
    assert keys["uses_code_fkey"]["orphans"] is None
    assert "row-level security" in keys["uses_code_fkey"]["because"]
    assert keys["simple"]["orphans"] == 0


def test_the_servers_other_databases_are_asked_too_and_one_that_is_closed_says_so(
    server: LocalServer, saboteur: psycopg.Connection, harness: Connection
) -> None:
    database = msgspec.structs.replace(server.database(), databases=("billing", "closed", "gone"))
    saboteur.execute("create database closed")
    saboteur.execute("create database billing")
    saboteur.execute("revoke connect on database closed from public")
    try:
        with server.superuser("billing") as there:
            there.execute("create table payers (id int primary key)")
            there.execute("create table bills (payer int references payers); set session_replication_role = replica")
            there.execute("insert into bills values (7)")
            there.execute("create table secrets (id int primary key); alter table secrets enable row level security")
        keys = at_once(everywhere(server.address, database, harness, examine.foreign_keys))
        seen = at_once(everywhere(server.address, database, harness, indexes))
    finally:
        saboteur.execute("drop database billing")
        saboteur.execute("drop database closed")
    billing = seen["billing"]
    assert {key["name"] for key in keys[""] if not isinstance(key, str)} == set(WHOLE)
    assert keys["billing"] == [{"name": "bills_payer_fkey", "table": "billing: public.bills", "orphans": 1}]
    assert "permission denied for database" in str(keys["closed"])
    assert "gone" not in keys
    assert not isinstance(billing, str)
    assert billing["probed"] == 1
    assert "row-level security" in billing["unchecked"]["billing: public.secrets_pkey"]


def test_indexes_are_not_examined_without_amcheck_or_its_privilege(
    saboteur: psycopg.Connection, harness: Connection
) -> None:
    assert "not installed" in at_once(indexes(harness))["because"]
    saboteur.execute("create schema tools; create extension amcheck schema tools")
    try:
        assert "may not execute" in at_once(indexes(harness))["because"]
    finally:
        saboteur.execute("drop extension amcheck; drop schema tools")


def test_amcheck_finds_a_row_that_an_index_lost(saboteur: psycopg.Connection, harness: Connection) -> None:
    saboteur.execute("create extension amcheck; create table rows (id int); create index rows_id on rows (id)")
    saboteur.execute("create index rows_hash on rows using hash (id)")
    saboteur.execute("grant execute on all functions in schema public to dr_harness")
    try:
        whole = at_once(indexes(harness))
        assert whole["available"]
        assert whole["checked"] == 5
        assert whole["failed"] == []
        assert whole["invalid"] == []
        assert (whole["probed"], whole["lost"]) == (6, [])
        flags = "update pg_index set indisready = {0}, indisvalid = {0} where indexrelid = 'rows_id'::regclass"
        saboteur.execute(flags.format("false"))
        assert at_once(indexes(harness))["invalid"] == ["public.rows_id"]
        saboteur.execute("insert into rows values (7)")
        saboteur.execute(flags.format("true"))
        (failed,) = at_once(indexes(harness))["failed"]
    finally:
        saboteur.execute("drop table rows; drop extension amcheck")
    assert failed["index"] == "public.rows_id"
    assert "lacks matching index tuple" in failed["error"]


# -- the active model


@pytest.fixture
def models(saboteur: psycopg.Connection, tmp_path: Path) -> Iterator[psycopg.Connection]:
    (tmp_path / "m.json").write_bytes(b"{}")
    saboteur.execute(
        "create schema app; create table app.model_versions"
        " (model_version varchar(20) primary key, performance_metrics jsonb, active boolean default false)"
    )
    yield saboteur
    saboteur.execute("drop schema app cascade")


DIGEST = hashlib.sha256(b"{}").hexdigest()


def add(connection: psycopg.Connection, version: str, artifact: str = "m.json", active: bool = True) -> None:
    metrics = f'{{"artifact": "{artifact}", "sha256": "{DIGEST}"}}'
    connection.execute("insert into app.model_versions values (%s, %s, %s)", (version, metrics, active))


def test_the_active_model_is_found_in_any_schema(
    models: psycopg.Connection, harness: Connection, tmp_path: Path
) -> None:
    add(models, "2.3.0")
    add(models, "2.2.0", active=False)
    found = examine.active_model(harness, str(tmp_path), "")
    assert found.pop("xid") > 700
    assert found == {"active": 1, "version": "2.3.0", "digest": DIGEST, "artifact_digest": DIGEST}


@pytest.fixture
def archived(models: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """Another model_versions in a schema that comes before the service's, by the alphabet."""
    models.execute("create schema aaa; create table aaa.model_versions (like app.model_versions including all)")
    models.execute("create role server; create role stranger; grant usage on schema app, aaa to server")
    add(models, "2.3.0")
    yield models
    models.execute("drop schema aaa cascade")
    models.execute("drop owned by server, stranger; drop role server, stranger")


@pytest.mark.parametrize(
    "setting",
    [
        "alter role server set search_path = app, public",
        "alter role server set search_path = 'nowhere', 'app', 'aaa'",
        f"alter role server in database {DATABASE} set search_path = app; alter role server set search_path = aaa",
        f"alter database {DATABASE} set search_path = app",
        "alter role server set search_path = aaa, app; revoke usage on schema aaa from server",
        'alter role server set search_path = "no, app", app, aaa',
    ],
)
def test_the_model_is_looked_for_where_the_service_finds_it(
    archived: psycopg.Connection, harness: Connection, setting: str
) -> None:
    archived.execute(setting)
    try:
        assert examine.active_model(harness, "", "server")["version"] == "2.3.0"
        archived.execute("update app.model_versions set active = false")
        archived.execute("insert into aaa.model_versions values ('9', '{}', true)")
        assert examine.active_model(harness, "", "server")["active"] == 0
    finally:
        archived.execute(f"alter database {DATABASE} reset search_path")


def test_a_model_that_nothing_says_the_place_of_is_not_guessed(
    archived: psycopg.Connection, harness: Connection
) -> None:
    for login in ("", "stranger", "gone"):
        found = examine.active_model(harness, "", login)
        assert found["active"] is None
        assert "aaa, app" in found["because"]


def test_the_path_by_default_is_the_schema_of_the_roles_name_and_then_public(
    archived: psycopg.Connection, harness: Connection
) -> None:
    archived.execute("alter role server rename to app")
    try:
        assert examine.active_model(harness, "", "app")["version"] == "2.3.0"
    finally:
        archived.execute("alter role app rename to server")


@pytest.mark.parametrize("active", [0, 2])
def test_another_number_of_active_models_is_told(
    models: psycopg.Connection, harness: Connection, tmp_path: Path, active: int
) -> None:
    for n in range(active):
        add(models, f"3.{n}")
    assert examine.active_model(harness, str(tmp_path), "")["active"] == active


@pytest.mark.parametrize("artifact", ["gone.json", "../m.json"])
def test_an_artifact_that_is_not_there_says_so(
    models: psycopg.Connection, harness: Connection, tmp_path: Path, artifact: str
) -> None:
    add(models, "2.3.0", artifact)
    (tmp_path / "artifacts").mkdir()
    found = examine.active_model(harness, str(tmp_path / "artifacts"), "")
    assert found["artifact_digest"] is None
    assert "cannot be read" in found["because"]


def test_no_table_of_models_is_told(harness: Connection) -> None:
    assert examine.active_model(harness, "", "")["active"] is None


# -- logins and answers


def test_every_role_is_tried_with_its_own_secret(
    server: LocalServer, saboteur: psycopg.Connection, tmp_path: Path
) -> None:
    saboteur.execute(f"create role fresh login password '{PASSWORD}'; create role stale login password 'other'")
    (tmp_path / "secret").write_text(PASSWORD + "\n")
    reference = f"file:{tmp_path / 'secret'}"
    roles = (Login("fresh", reference), Login("stale", reference), Login("nobody", "env:DR_NOT_SET"))
    try:
        found = {login["user"]: login for login in examine.logins(server.address, server.database(roles=roles))}
    finally:
        saboteur.execute("drop role fresh, stale")
    assert {user: login["ok"] for user, login in found.items()} == {"fresh": True, "stale": False, "nobody": False}
    assert "password authentication failed" in found["stale"]["because"]
    assert "env:DR_NOT_SET" in found["nobody"]["because"]
    assert PASSWORD not in str(found)


def test_the_first_answer_may_come_from_any_table_that_should_hold_rows(harness: Connection) -> None:
    assert examine.answers(harness, {"public.gone": 5, "public.codes": 1})
    assert not examine.answers(harness, {"public.gone": 5, "public.untrusted": 0})
    assert examine.answers(harness, {})
