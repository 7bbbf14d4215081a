"""What the lab puts into its database: the population, the roles, or somebody's own dump."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from dr.domain.errors import ProviderError, RefusedError, UsageError
from dr.lab.platform import dump, model, roles
from dr.lab.platform.install import complete, install
from dr.lab.platform.population import PROBE_REQUESTS
from dr.lab.servers.access import Access
from dr.lab.servers.binaries import environment
from dr.lab.servers.postgres import Server
from dr.lab.servers.settings import ADMIN
from tests.lab_servers import MASTER, PASSWORD, lab_site, log_in, make_server

FOREIGN = """
SET transaction_timeout = 0;
CREATE TABLE public.wards (id int PRIMARY KEY, name text NOT NULL);
ALTER TABLE public.wards OWNER TO somebody_elsewhere;
CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS $$
SELECT $q$
GRANT SELECT ON x TO y;
$q$::text;
$$;
COPY public.wards (id, name) FROM stdin;
1\tGRANT SELECT ON x TO y;
2\tnorth
\\.
GRANT SELECT ON TABLE public.wards TO auditor;
"""


@pytest.fixture(scope="module", params=["system", "wheel"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with lab_site(request.param) as site:
        yield make_server(site, "primary")


@pytest.fixture
def database(server: Server, request: pytest.FixtureRequest) -> str:
    """An empty database of the master's."""
    name = f"db_{abs(hash(request.node.name)) % 10**8}"
    with log_in(server) as session:
        session.execute(f"CREATE DATABASE {name}")
    return name


def access(server: Server, database: str) -> Access:
    return Access("localhost", server.port, MASTER, PASSWORD, database, str(server.site.ca))


def by_socket(server: Server, database: str) -> Access:
    return Access(str(server.socket_directory), server.port, MASTER, PASSWORD, database)


def load(server: Server, database: str, file: Path) -> None:
    superuser = replace(by_socket(server, database), user=ADMIN, password=server.site.admin_password())
    dump.load(superuser, MASTER, server.site.binaries, file)


def rows(server: Server, database: str, query: str) -> list[tuple[object, ...]]:
    with log_in(server, dbname=database) as session:
        return session.execute(query).fetchall()


def write(server: Server, name: str, content: str | bytes) -> Path:
    path = server.site.directory / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_two_thousand_patients_are_installed_with_roles_and_a_model(
    server: Server, database: str, tmp_path: Path
) -> None:
    installed = install(access(server, database), 2000, tmp_path / "models", tmp_path / "secrets")
    counts = {table: rows(server, database, f"SELECT count(*) FROM {table}")[0][0] for table in (
        "patients", "admissions", "predictions", "model_versions"
    )}  # fmt: skip
    assert counts["patients"] == installed.patients == 2005
    assert counts["admissions"] == installed.admissions > 2500
    assert counts["predictions"] > 100
    active = rows(server, database, "SELECT performance_metrics FROM model_versions WHERE active")
    assert len(active) == 1
    artifact = tmp_path / "models" / active[0][0]["artifact"]
    assert model.digest(artifact.read_bytes()) == active[0][0]["sha256"]
    for role in roles.ROLES:
        path = roles.secret_file(tmp_path / "secrets", role)
        assert path.stat().st_mode & 0o777 == 0o600
        log_in(server, role, path.read_text().strip(), dbname=database).close()


def test_the_same_seed_gives_the_same_rows(server: Server, database: str, tmp_path: Path) -> None:
    sums = []
    tables = ("patients", "admissions", "predictions")
    query = " UNION ALL ".join(f"(SELECT md5(string_agg(t::text, '' ORDER BY 1)) FROM {name} t)" for name in tables)
    for again in (f"{database}_a", f"{database}_b"):
        with log_in(server) as session:
            session.execute(f"CREATE DATABASE {again}")
        install(access(server, again), 40, tmp_path / "models", tmp_path / "secrets", seed=3)
        sums.append(rows(server, again, query.replace("ORDER BY 1", "ORDER BY t::text")))
    assert sums[0] == sums[1]


def test_the_harness_reads_everything_makes_its_own_schema_and_writes_nothing_else(
    server: Server, database: str, tmp_path: Path
) -> None:
    install(access(server, database), 10, tmp_path / "models", tmp_path / "secrets")
    with server.connect(database) as session:
        roles.show_all(session)
        session.execute("ALTER TABLE patients ENABLE ROW LEVEL SECURITY")
    with log_in(server, roles.HARNESS, roles.password(tmp_path / "secrets", roles.HARNESS), dbname=database) as session:
        assert session.execute("SELECT count(*) FROM patients").fetchone() == (15,)
        assert session.execute("SELECT pg_has_role('pg_read_all_stats', 'usage')").fetchone() == (True,)
        session.execute("CREATE SCHEMA dr")
        session.execute("CREATE TABLE dr.marker (n int)")
        if server.site.binaries.origin == "system":
            session.execute("SELECT bt_index_check('public.patients_pkey', true)")
        for forbidden in ("DELETE FROM patients", "CREATE TABLE public.mine (n int)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(forbidden)
    with log_in(server, roles.ANALYST, roles.password(tmp_path / "secrets", roles.ANALYST), dbname=database) as session:
        session.execute("SELECT count(*) FROM predictions")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("DELETE FROM predictions")


def test_a_failed_installation_leaves_the_database_as_it_was(server: Server, database: str, tmp_path: Path) -> None:
    with log_in(server, dbname=database) as session:
        session.execute("CREATE TABLE predictions (something_else int)")
    with pytest.raises(ProviderError):
        install(access(server, database), 10, tmp_path / "models", tmp_path / "secrets")
    assert rows(server, database, "SELECT to_regclass('patients')") == [(None,)]


@pytest.mark.parametrize("form", ["plain", "custom", "tar"])
def test_a_dump_of_the_lab_itself_comes_back_whole(server: Server, database: str, tmp_path: Path, form: str) -> None:
    install(access(server, database), 30, tmp_path / "models", tmp_path / "secrets")
    command = [str(server.site.binaries.tool("pg_dump")), f"--format={form}"]
    variables = environment(by_socket(server, database).environment())
    content = subprocess.run(command, env=variables, capture_output=True, check=True).stdout
    copy = f"{database}_copy"
    with log_in(server) as session:
        session.execute(f"CREATE DATABASE {copy}")
    load(server, copy, write(server, f"{database}.dump", content))
    installed = complete(access(server, copy), tmp_path / "models", tmp_path / "secrets")
    assert installed.added == ()
    for table in ("patients", "admissions", "predictions", "model_versions"):
        query = f"SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {table} t"
        assert rows(server, copy, query) == rows(server, database, query)


def test_a_foreign_dump_is_loaded_and_completed_for_the_service(server: Server, database: str, tmp_path: Path) -> None:
    load(server, database, write(server, "foreign.sql", FOREIGN))
    installed = complete(access(server, database), tmp_path / "models", tmp_path / "secrets")
    assert rows(server, database, "SELECT name FROM wards ORDER BY id") == [("GRANT SELECT ON x TO y;",), ("north",)]
    assert "GRANT SELECT ON x TO y;" in str(rows(server, database, "SELECT prosrc FROM pg_proc WHERE proname = 'f'"))
    assert "the table patients" in installed.added
    assert any("model version 2.3.0" in sentence for sentence in installed.added)
    known = rows(server, database, "SELECT admission_id FROM admissions")
    assert {request["admission_id"] for request in PROBE_REQUESTS} <= {str(row[0]) for row in known}
    assert complete(access(server, database), tmp_path / "models", tmp_path / "secrets").added == ()


MASTERS = """
CREATE ROLE "it's an auditor";
CREATE ROLE former_owner;
CREATE EXTENSION postgres_fdw;
CREATE EXTENSION pg_stat_statements;
COMMENT ON EXTENSION pg_stat_statements IS 'the hospital''s own words';
CREATE SERVER archive FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'archive.example.com', dbname 'old');
CREATE USER MAPPING FOR former_owner SERVER archive OPTIONS (user 'reader', password 'none');
CREATE FOREIGN TABLE old_stays (id int) SERVER archive;
CREATE TABLE "Patient's notes" (id int PRIMARY KEY, "it's" text);
INSERT INTO "Patient's notes" VALUES (1, 'GRANT SELECT ON x TO y;');
ALTER TABLE "Patient's notes" OWNER TO former_owner;
GRANT SELECT ON "Patient's notes" TO "it's an auditor", rds_superuser;
ALTER TABLE "Patient's notes" ENABLE ROW LEVEL SECURITY;
CREATE POLICY "some TO none" ON "Patient's notes" FOR SELECT TO "it's an auditor", former_owner USING (id > 0);
CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE DEBUG 'it''s seen'; END$$;
CREATE EVENT TRIGGER watch ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION watch();
COMMENT ON EVENT TRIGGER watch IS 'it''s watched';
CREATE PUBLICATION everything FOR ALL TABLES;
CREATE PUBLICATION one FOR TABLE "Patient's notes";
COMMENT ON PUBLICATION everything IS 'for the warehouse';
SELECT lo_from_bytea(0, 'x');
"""
MADE = """
SELECT 'extension', extname::text FROM pg_extension
UNION SELECT 'comment', description FROM pg_description WHERE classoid IN
 ('pg_extension'::regclass, 'pg_publication'::regclass, 'pg_event_trigger'::regclass)
UNION SELECT 'server', srvname FROM pg_foreign_server UNION SELECT 'mapping', usename FROM pg_user_mappings
UNION SELECT 'trigger', evtname FROM pg_event_trigger UNION SELECT 'publication', pubname FROM pg_publication
UNION SELECT 'policy', polname || polroles::regrole[]::text FROM pg_policy
UNION SELECT 'large object', encode(lo_get(oid), 'escape') FROM pg_largeobject_metadata
UNION SELECT 'row', t::text FROM "Patient's notes" t
"""


@pytest.mark.parametrize("form", ["plain", "custom"])
@pytest.mark.parametrize("server", ["system"], indirect=True)
def test_what_rdss_master_may_load_is_loaded(server: Server, database: str, tmp_path: Path, form: str) -> None:
    roles_made = ("it's an auditor", "former_owner")
    with server.connect(database) as session:
        session.execute(MASTERS)
    with server.connect(database) as session:
        there = set(session.execute(MADE).fetchall())
    superuser = replace(by_socket(server, database), user=ADMIN, password=server.site.admin_password())
    command = [str(server.site.binaries.tool("pg_dump")), f"--format={form}"]
    content = subprocess.run(command, env=environment(superuser.environment()), capture_output=True, check=True).stdout
    copy = f"{database}_copy"
    with server.connect() as session:
        session.execute(f"DROP DATABASE {database} WITH (FORCE)")
        for role in roles_made:
            session.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
    with log_in(server) as session:
        session.execute(f"CREATE DATABASE {copy}")
    load(server, copy, write(server, f"{copy}.dump", content))
    complete(access(server, copy), tmp_path / "models", tmp_path / "secrets")
    with server.connect(copy) as session:
        assert set(session.execute(MADE).fetchall()) == there
        owner = session.execute("SELECT relowner::regrole::text FROM pg_class WHERE relname = 'Patient''s notes'")
        assert owner.fetchone() == (MASTER,)
        assert session.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", (MASTER,)).fetchone() == (False,)
    with server.connect() as session:
        session.execute(f"DROP DATABASE {copy} WITH (FORCE)")
        for role in roles_made:
            session.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_a_dump_whose_active_model_has_no_artifact_here_gets_one_that_has(
    server: Server, database: str, tmp_path: Path
) -> None:
    install(access(server, database), 5, tmp_path / "elsewhere", tmp_path / "secrets")
    with log_in(server, dbname=database) as session:
        session.execute("UPDATE model_versions SET model_version = '7.1', performance_metrics = '{\"auc\": 0.7}'")
    installed = complete(access(server, database), tmp_path / "models", tmp_path / "secrets")
    assert installed.model_version == model.VERSION
    assert rows(server, database, "SELECT model_version FROM model_versions WHERE active") == [(model.VERSION,)]
    assert any("whose artifact is here" in sentence for sentence in installed.added)


def test_a_dump_with_tables_of_another_shape_is_refused_and_named(
    server: Server, database: str, tmp_path: Path
) -> None:
    file = write(server, "shape.sql", "CREATE TABLE public.patients (patient_id varchar(50) PRIMARY KEY, name text);\n")
    load(server, database, file)
    with pytest.raises(RefusedError, match=r"table patients lacks .*: demographics"):
        complete(access(server, database), tmp_path / "models", tmp_path / "secrets")
    assert rows(server, database, "SELECT to_regclass('admissions')") == [(None,)]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("CREATE TABLE half (id int);\nSELECT broken FROM nowhere;\n", 'line 2: relation "nowhere" does not exist'),
        ("CREATE TABLE half (id int);\nCREATE EXTENSION imaginary;\n", "line 2: .*imaginary"),
        ("CREATE TABLE half (id int);\n\nCREATE FOREIGN DATA WRAPPER own;\n", "line 3: permission denied"),
        ("CREATE TABLE half (id int);\n\\connect elsewhere\n", "Line 2 of the dump is a command of psql's"),
        ("CREATE TABLE half (id int);\nCOPY half (id) FROM stdin;\nseven\n\\.\n", "invalid input syntax"),
        (b"PGDMP broken", "pg_restore|archive|end of file|version"),
    ],
)
def test_a_broken_dump_ends_in_one_sentence_and_leaves_nothing(
    server: Server, database: str, content: str | bytes, why: str
) -> None:
    file = write(server, "broken.dump", content)
    with pytest.raises(UsageError, match=why) as caught:
        load(server, database, file)
    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert rows(server, database, "SELECT to_regclass('half')") == [(None,)]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x1f\x8b\x08stuff", "compressed with gzip"),
        (b"", "not a dump"),
        (b"\0\1\2\3", "not a dump"),
        (b"--\n-- PostgreSQL database cluster dump\n--\n", "whole cluster"),
    ],
)
def test_what_is_no_dump_is_refused_before_anything_is_done(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=why):
        dump.is_archive(path)


def test_a_dump_that_is_not_there_or_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        dump.is_archive(tmp_path / "missing")
    with pytest.raises(UsageError, match="is a directory"):
        dump.is_archive(tmp_path)


def test_a_dump_only_its_owner_reads_can_be_loaded(server: Server, database: str) -> None:
    file = write(server, "closed.sql", "CREATE TABLE closed (id int);\n")
    file.chmod(0o600)
    os.chown(file, os.geteuid(), os.getegid())
    load(server, database, file)
    assert rows(server, database, "SELECT count(*) FROM closed") == [(0,)]


def test_a_directory_that_cannot_be_written_is_refused(server: Server, database: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RefusedError, match="model cannot be placed"):
        install(access(server, database), 5, tmp_path / "file" / "models", tmp_path / "secrets")
    with pytest.raises(RefusedError, match="cannot be made"):
        install(access(server, database), 5, tmp_path / "models", tmp_path / "file" / "secrets")
