"""The lab's servers: real PostgreSQL, of the system and of the wheel."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from dr.domain.errors import ProviderError, RefusedError, UsageError
from dr.host.clock import SystemClock
from dr.lab.servers import process
from dr.lab.servers.archive import next_segment, segments
from dr.lab.servers.binaries import find
from dr.lab.servers.faults import crash_postmaster
from dr.lab.servers.postgres import Heartbeat, Server
from dr.lab.servers.site import Site, free_port, open_site
from tests.lab_servers import DATABASE, MASTER, PASSWORD, lab_site, log_in, make_server
from tests.support import BUSY, eventually


@pytest.fixture(scope="module", params=["system", "wheel"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with lab_site(request.param) as site:
        server = Server(site, site.directory / "primary", free_port())
        server.create(MASTER, PASSWORD, DATABASE)
        yield server


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with lab_site() as made:
        yield made


def test_the_master_user_is_no_superuser_and_owns_its_database(server: Server) -> None:
    with log_in(server) as session:
        assert session.execute("SHOW is_superuser").fetchone() == ("off",)
        owner = session.execute("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", (DATABASE,))
        assert owner.fetchone() == (MASTER,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("COPY (SELECT 1) TO PROGRAM 'true'")


def test_the_master_user_can_pass_on_what_rds_superuser_has(server: Server) -> None:
    with log_in(server) as session:
        session.execute("CREATE ROLE reader LOGIN PASSWORD 'reading matters'")
        session.execute("GRANT pg_read_all_data TO reader")
    with log_in(server, "reader", "reading matters") as session:
        assert session.execute("SELECT pg_has_role('pg_read_all_data', 'usage')").fetchone() == (True,)


def test_a_session_is_encrypted_and_its_certificate_holds_for_both_names(server: Server) -> None:
    for host in ("localhost", "127.0.0.1"):
        with log_in(server) as session:
            assert session.pgconn.ssl_in_use
        dsn = f"host={host} port={server.port} user={MASTER} dbname={DATABASE} sslmode=verify-full"
        with psycopg.connect(f"{dsn} sslrootcert={server.site.ca}", password=PASSWORD) as session:
            assert session.execute("SELECT 1").fetchone() == (1,)


def test_a_session_without_tls_is_refused(server: Server) -> None:
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        log_in(server, sslmode="disable")


def test_a_wrong_password_is_refused(server: Server) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        log_in(server, password="wrong")


def test_the_superuser_is_refused_over_tcp(server: Server) -> None:
    with pytest.raises(psycopg.OperationalError, match="SSL encryption"):
        log_in(server, "rdsadmin", server.site.admin_password())


def test_a_running_query_can_be_cancelled_from_outside(server: Server) -> None:
    with log_in(server) as session:
        canceller = threading.Timer(0.3, session.cancel_safe)
        canceller.start()
        started = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            session.execute("SELECT pg_sleep(30)")
        assert time.monotonic() - started < 5 * BUSY  # of 30
        canceller.join()


def test_many_bytes_pass_both_ways_unchanged(server: Server) -> None:
    text = "äß" * 1_000_000
    with log_in(server) as session:
        assert session.execute("SELECT %s || md5(%s)", (text, text)).fetchone()[0].startswith(text)


def test_a_new_password_takes_the_place_of_the_old_and_stands_in_no_log(server: Server) -> None:
    with log_in(server) as session:
        session.execute("CREATE ROLE changing LOGIN")
    server.set_password("changing", "first-of-two-secrets")
    log_in(server, "changing", "first-of-two-secrets").close()
    server.set_password("changing", "second-of-two-secrets")
    log_in(server, "changing", "second-of-two-secrets").close()
    with pytest.raises(psycopg.OperationalError):
        log_in(server, "changing", "first-of-two-secrets")
    for log in server.log.parent.iterdir():
        assert "of-two-secrets" not in log.read_text()
        assert "SCRAM-SHA-256$" not in log.read_text()


def test_a_password_for_a_role_that_is_not_there_is_an_error_of_ours(server: Server) -> None:
    with pytest.raises(ProviderError, match="does not exist") as caught:
        server.set_password("nobody", "never-to-be-seen")
    assert "never-to-be-seen" not in str(caught.value)


def test_no_secret_stands_in_a_process_list(server: Server) -> None:
    secrets = (PASSWORD, server.site.admin_password())
    for found in psutil.process_iter(["cmdline"]):
        line = " ".join(found.info["cmdline"] or [])
        assert not any(secret in line for secret in secrets)


def test_its_data_survive_a_kill(server: Server) -> None:
    with log_in(server) as session:
        session.execute("CREATE TABLE kept (id int)")
        session.execute("INSERT INTO kept VALUES (7)")
    server.kill()
    assert not server.is_running()
    with pytest.raises(psycopg.OperationalError):
        log_in(server)
    server.start()
    assert server.is_running()
    with log_in(server) as session:
        assert session.execute("SELECT id FROM kept").fetchall() == [(7,)]


def test_a_stopped_server_is_not_running_and_starts_again(server: Server) -> None:
    server.stop()
    server.stop()
    assert not server.is_running()
    server.start()
    server.start()
    assert server.is_running()


def test_the_archive_moves_on_by_itself_after_every_start(server: Server) -> None:
    heart = Heartbeat(server, 0.5)
    heart.start()
    try:
        for restart in (server.stop, server.kill):
            restart()
            server.start()
            before = max(segments(server.archive))
            eventually(lambda: max(segments(server.archive)) > next_segment(before), seconds=20)  # noqa: B023
    finally:
        heart.stop()


def test_the_heartbeat_goes_on_after_a_restart(server: Server) -> None:
    def beats() -> object:
        with server.connect() as session:
            return session.execute("SELECT value FROM rds_heartbeat2").fetchone()

    heart = Heartbeat(server, 0.05)
    heart.start()
    try:
        server.kill()
        server.start()
        before = beats()
        eventually(lambda: beats() != before)
    finally:
        heart.stop()


def test_the_system_of_postgresql_offers_index_checks_and_the_wheel_does_not(server: Server) -> None:
    with log_in(server) as session:
        known = session.execute("SELECT 1 FROM pg_extension WHERE extname = 'amcheck'").fetchone()
        if server.site.binaries.origin == "wheel":
            assert known is None
            return
        session.execute("CREATE ROLE checker LOGIN PASSWORD 'checks and balances'")
        session.execute("GRANT EXECUTE ON FUNCTION bt_index_check(regclass, boolean) TO checker")
        session.execute("CREATE TABLE indexed (id int PRIMARY KEY)")
    with log_in(server, "checker", "checks and balances") as session:
        session.execute("SELECT bt_index_check('indexed_pkey', true)")


def test_removal_leaves_nothing(site: Site) -> None:
    server = make_server(site, "removed")
    number = server.pid()
    server.remove()
    server.remove()
    assert number is not None
    assert process.alive(number, "postgres") is None
    assert not server.directory.exists()
    assert not server.socket_directory.exists()


def test_removal_of_a_killed_server_leaves_no_shared_memory(site: Site) -> None:
    server = make_server(site, "killed")
    key = int((server.data / "postmaster.pid").read_text().splitlines()[6].split()[0])
    assert key in shared_memory()
    psutil.Process(server.pid()).kill()
    eventually(lambda: server.pid() is None)
    server.remove()
    assert key not in shared_memory()


def shared_memory() -> set[int]:
    """The keys of this machine's System V segments."""
    return {int(line.split()[0]) for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}


def test_a_socket_directory_with_too_long_a_name_stands_in_tmp(site: Site) -> None:
    server = Server(site, site.directory / ("x" * 80), free_port())
    server.create(MASTER, PASSWORD)
    try:
        assert server.socket_directory.parent == Path("/tmp")
        assert server.socket_directory.stat().st_mode & 0o777 == 0o700
    finally:
        server.remove()
    assert not server.socket_directory.exists()


def test_a_directory_with_something_in_it_is_not_touched(site: Site) -> None:
    place = site.directory / "occupied"
    place.mkdir()
    (place / "letter").write_text("mine")
    with pytest.raises(RefusedError, match="something"):
        Server(site, place, free_port()).create(MASTER, PASSWORD)
    assert (place / "letter").read_text() == "mine"


def test_a_port_in_use_fails_with_postgresqls_reason_and_leaves_nothing(site: Site) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = Server(site, site.directory / "clash", listener.getsockname()[1])
        with pytest.raises(ProviderError, match="did not start: could not create any TCP/IP sockets"):
            server.create(MASTER, PASSWORD)
    assert not server.directory.exists()


def test_a_port_in_use_fails_before_the_wheels_front_too() -> None:
    with lab_site("wheel") as wheel, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = Server(wheel, wheel.directory / "clash", listener.getsockname()[1])
        with pytest.raises(ProviderError, match="Nothing can listen"):
            server.create(MASTER, PASSWORD)
        assert not server.directory.exists()


def test_a_wrong_parameter_fails_with_postgresqls_reason(site: Site) -> None:
    server = Server(site, site.directory / "wrong", free_port(), parameters={"max_connections": "many"})
    with pytest.raises(ProviderError, match=r"did not start: .*errors"):
        server.create(MASTER, PASSWORD)


def test_a_place_its_account_cannot_enter_is_refused_by_name(site: Site) -> None:
    closed = site.directory / "closed"
    closed.mkdir(mode=0o700)
    if os.geteuid() != 0:
        pytest.fail("This test needs root: only then do servers run under another account.")
    with pytest.raises(RefusedError, match=f"cannot enter {closed}"):
        Server(site, closed / "server", free_port()).create(MASTER, PASSWORD)
    with pytest.raises(RefusedError, match="Set DR_HOME"):
        open_site(closed / "lab", SystemClock())


def test_a_database_that_lost_its_data_is_refused(site: Site) -> None:
    server = Server(site, site.directory / "empty", free_port())
    with pytest.raises(RefusedError, match="There is no database"):
        server.start()


def test_a_stale_pid_that_now_is_somebody_elses_neither_blocks_nor_is_killed(site: Site) -> None:
    server = make_server(site, "stale")
    server.kill()
    with subprocess.Popen(["sleep", "60"]) as other:
        pid = server.data / "postmaster.pid"
        lines = pid.read_text().split("\n")
        pid.write_text("\n".join([str(other.pid), *lines[1:]]))
        assert server.pid() is None
        server.kill()
        assert other.poll() is None
        server.start()
        assert server.is_running()
        other.kill()
    server.remove()


def test_the_front_of_the_wheels_server_ends_with_it_and_its_loss_is_seen() -> None:
    with lab_site("wheel") as wheel:
        server = make_server(wheel, "fronted")
        front = process.recorded(server.directory / "front.pid")
        postmaster = server.pid()
        assert front is not None
        assert postmaster is not None
        psutil.Process(front).kill()
        eventually(lambda: not server.is_running())
        server.start()
        assert server.is_running()
        log_in(server).close()
        front = process.recorded(server.directory / "front.pid")
        process.kill_tree(psutil.Process(postmaster))
        eventually(lambda: process.alive(front or 0, "dr.lab.servers.front") is None)


def test_a_wheels_server_that_is_started_just_after_it_ended_has_a_front_that_stays() -> None:
    """The former one looks every half a second whether its server lives."""
    with lab_site("wheel") as wheel:
        server = make_server(wheel, "fronted")
        former = process.recorded(server.directory / "front.pid")
        crash_postmaster(server)
        server.start()
        assert process.recorded(server.directory / "front.pid") != former
        log_in(server).close()


def test_the_wheels_binaries_are_copied_where_their_place_is_closed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "dr.lab.servers.binaries.blocked", lambda path, _: path if "site-packages" in path.parts else None
    )
    found = find(site.directory, "wheel")
    assert found.bin.is_relative_to(site.directory)
    answer = found.run("initdb", ["--version"])
    assert "PostgreSQL" in answer.stdout


def test_an_unknown_choice_of_postgresql_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="DR_LAB_POSTGRES='oracle'"):
        find(tmp_path, "oracle")
