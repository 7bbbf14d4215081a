"""Connections to real servers: what is wrong is said in one sentence, and no password in it."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import trustme

from dr.config.model import Login
from dr.domain.errors import DrError, HaltedError, ProviderError, RefusedError
from dr.domain.refs import Endpoint
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.connection import STATEMENT_SECONDS, connect, translated
from dr.host.hearing import heeding
from dr.lab.servers.site import free_port
from tests.dripping import dripping
from tests.relay import Relay
from tests.servers import LocalServer, local_server
from tests.support import BUSY, eventually

WRONG = "s3cret-but-wrong"


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with local_server(f"create role locked nologin password '{WRONG}'") as running:
        yield running


def failure(address: Endpoint, database: PostgresConfig, seconds: float = STATEMENT_SECONDS) -> DrError:
    with pytest.raises(DrError) as caught, connect(address, database, seconds=seconds):
        pass
    said = "".join(traceback.format_exception(caught.value))
    assert WRONG not in said
    assert "psycopg" not in said.replace("postgres_connection", "")
    return caught.value


def test_a_session_is_the_harness_own_and_verified(server: LocalServer) -> None:
    with connect(server.address, server.database(), seconds=7) as connection:
        row = connection.execute(
            "select current_user, current_setting('application_name'), current_setting('search_path'),"
            " current_setting('statement_timeout')"
        ).fetchone()
        assert connection.pgconn.ssl_in_use
    assert row == ("dr_harness", "dr", "pg_catalog", "7s")
    assert connection.closed


def test_no_time_out_of_the_role_ends_a_session_that_waits(server: LocalServer) -> None:
    ends = ("idle_in_transaction_session_timeout", "idle_session_timeout")
    with server.superuser() as owner:
        for name in ends:
            owner.execute(f"alter role dr_harness set {name} = '200ms'".encode())
    try:
        with connect(server.address, server.database()) as connection:
            time.sleep(0.5)
            with connection.transaction():
                connection.execute("select 1")
                time.sleep(0.5)
                assert connection.execute("select 1").fetchone() == (1,)
    finally:
        with server.superuser() as owner:
            owner.execute("alter role dr_harness reset all")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_texts_are_text_whatever_the_databases_encoding(server: LocalServer, encoding: str) -> None:
    made = f"create database {encoding} encoding '{encoding}' template template0 lc_collate 'C' lc_ctype 'C'"
    with server.superuser() as owner:
        owner.execute(made.encode())
    with connect(server.address, msgspec.structs.replace(server.database(), name=encoding.lower())) as connection:
        row = connection.execute("select pg_current_snapshot()::text, 'é'").fetchone()
    assert row is not None
    assert (type(row[0]), row[1]) == (str, "é")


def test_a_stale_password_is_refused_by_name(server: LocalServer) -> None:
    error = failure(server.address, server.database(WRONG))
    assert isinstance(error, RefusedError)
    assert "as dr_harness was refused: FATAL:  password authentication failed" in str(error)


def test_a_missing_database_is_refused_by_name(server: LocalServer) -> None:
    error = failure(server.address, msgspec.structs.replace(server.database(), name="nowhere"))
    assert isinstance(error, RefusedError)
    assert '"nowhere" does not exist' in str(error)


def test_a_role_that_may_not_log_in_is_refused(server: LocalServer) -> None:
    error = failure(server.address, server.database(WRONG, user="locked"))
    assert isinstance(error, RefusedError)
    assert "not permitted to log in" in str(error)


def test_a_missing_secret_is_refused_by_its_reference(server: LocalServer) -> None:
    database = msgspec.structs.replace(server.database(), harness=Login("dr_harness", "env:DR_NOT_SET"))
    error = failure(server.address, database)
    assert isinstance(error, RefusedError)
    assert "env:DR_NOT_SET" in str(error)


def test_a_certificate_of_another_authority_is_refused(server: LocalServer, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    error = failure(server.address, msgspec.structs.replace(server.database(), ca=str(tmp_path / "other.pem")))
    assert isinstance(error, RefusedError)
    assert "could not be verified by TLS" in str(error)
    assert "postgres.ca" in str(error)


def test_a_certificate_of_another_name_is_refused(server: LocalServer) -> None:
    error = failure(Endpoint("127.0.0.1", server.port), server.database())
    assert isinstance(error, RefusedError)
    assert "could not be verified by TLS" in str(error)


def test_without_a_ca_the_systems_authorities_decide(server: LocalServer) -> None:
    error = failure(server.address, msgspec.structs.replace(server.database(), ca=""))
    assert isinstance(error, RefusedError)


def test_a_server_that_is_down_may_be_tried_again(server: LocalServer) -> None:
    error = failure(Endpoint("localhost", free_port()), server.database())
    assert isinstance(error, ProviderError)
    assert error.transient
    assert "cannot be reached: Connection refused" in str(error)


def test_the_users_environment_redirects_nothing(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    ambient = {"PGHOSTADDR": "127.0.0.9", "PGPORT": "1", "PGOPTIONS": "-c jit=on", "PGSSLMODE": "disable"}
    for name, value in ambient.items():
        monkeypatch.setenv(name, value)
    with connect(server.address, server.database()) as connection:
        assert connection.execute("select current_setting('jit')").fetchone() == ("off",)


def test_a_server_that_dies_is_a_passing_failure() -> None:
    with local_server() as server, connect(server.address, server.database()) as connection:
        server.stop("immediate")
        with pytest.raises(ProviderError, match="failed the test") as caught, translated("the test"):
            connection.execute("select 1")
        server.start()
    assert caught.value.transient


def test_a_statement_over_its_time_is_named(server: LocalServer) -> None:
    impatient = connect(server.address, server.database(), seconds=0.1)
    with pytest.raises(ProviderError, match="took too long: the test"), impatient as connection, translated("the test"):
        connection.execute("select pg_sleep(5)")


def test_a_missing_privilege_says_what_to_grant(server: LocalServer) -> None:
    session = connect(server.address, server.database())
    with pytest.raises(RefusedError, match="pg_read_all_data"), session as connection, translated("the test"):
        connection.execute("create schema other")


def test_a_server_that_falls_silent_after_the_login_is_not_waited_for_without_end(server: LocalServer) -> None:
    relay, began = Relay(server.address.port), time.monotonic()
    with connect(Endpoint(server.address.host, relay.port), server.database(), seconds=0.5) as connection:
        relay.freeze()
        with pytest.raises(ProviderError, match="failed a question") as caught, translated("a question"):
            connection.execute("select 1")
    relay.close()
    assert caught.value.transient
    assert time.monotonic() - began < 20 * BUSY
    with connect(server.address, server.database(), seconds=2.0) as connection:
        connection.execute("select 1")


def test_a_statement_of_hours_ends_once_the_run_is_told_to_stop_here_and_at_the_server(server: LocalServer) -> None:
    told = threading.Event()

    def check() -> None:
        if told.is_set():
            raise HaltedError("The run was stopped.")

    threading.Timer(0.5, told.set).start()
    began = time.monotonic()
    with pytest.raises(HaltedError), connect(server.address, server.database()) as connection, heeding(check):
        connection.execute("select pg_sleep(60)")
    assert time.monotonic() - began < 10 * BUSY  # of 60; usually 0.7
    with connect(server.address, server.database()) as other:
        busy = "select count(*) from pg_stat_activity where query like '%pg_sleep(60)%' and pid <> pg_backend_pid()"
        eventually(lambda: other.execute(busy).fetchone() == (0,), 10)


def test_a_server_that_never_ends_its_greeting_is_given_up() -> None:
    """A byte now and then would keep a time-out for each piece from ever passing."""
    with dripping(b"\x16\x03\x03\x40\x00", every=0.2, first=b"S") as port:
        began = time.monotonic()
        error = failure(Endpoint("localhost", port), PostgresConfig("clinic", Login("dr", "env:PATH")), seconds=1.0)
    assert isinstance(error, ProviderError)
    assert error.transient
    assert time.monotonic() - began < 20 * BUSY
