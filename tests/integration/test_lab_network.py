"""The lab's network: silence is silence, refusal is refusal, delay is latency and no throttle."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from dr.domain.errors import ProviderError, RefusedError, UsageError
from dr.lab.network.control import Network
from dr.lab.servers.postgres import Server
from dr.lab.servers.process import alive, suspend_tree
from dr.lab.servers.replication import Upstream, make_standby, sending
from dr.lab.servers.site import free_port
from tests.lab_servers import DATABASE, MASTER, PASSWORD, lab_site, log_in, make_server
from tests.support import BUSY, eventually


@pytest.fixture
def network() -> Iterator[Network]:
    directory = Path(tempfile.mkdtemp(prefix="dr-net-", dir="/tmp"))
    made = Network(directory)
    made.start()
    yield made
    made.stop()
    shutil.rmtree(directory)


class Echo:
    """Answers every byte with its own, behind a prefix that names it."""

    def __init__(self, name: bytes) -> None:
        self.name, self.sessions = name, []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                session, _ = self._socket.accept()
            except OSError:
                return
            self.sessions.append(session)
            threading.Thread(target=self._serve, args=(session,), daemon=True).start()

    def _serve(self, session: socket.socket) -> None:
        try:
            while data := session.recv(1 << 16):
                session.sendall(self.name + data)
            session.sendall(b"bye")
            session.close()
        except OSError:
            pass

    def die(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for session in self.sessions:
            session.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def link(network: Network) -> tuple[Echo, int]:
    echo, port = Echo(b"a"), free_port()
    network.open("db", f"127.0.0.1:{port}", echo.address)
    return echo, port


def dial(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=3)


def ask(client: socket.socket, data: bytes = b"x") -> bytes:
    client.sendall(data)
    return client.recv(1 << 16)


def is_silent(client: socket.socket, seconds: float = 0.5) -> bool:
    client.settimeout(seconds)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    return False


def test_a_frozen_connection_stays_silent_when_its_server_dies(network: Network, link: tuple[Echo, int]) -> None:
    echo, port = link
    old = dial(port)
    assert ask(old) == b"ax"
    assert [c.frozen for c in network.freeze("db")] == [True]
    other = Echo(b"b")
    network.route("db", other.address)
    echo.die()
    old.sendall(b"x" * 100_000)
    assert is_silent(old)
    assert ask(dial(port)) == b"bx"
    network.mode("db", "refuse")
    assert is_silent(old), "refusing resets no frozen connection"


def test_a_host_that_is_back_resets_what_was_frozen_and_nothing_else(network: Network, link: tuple[Echo, int]) -> None:
    port = link[1]
    old = dial(port)
    assert ask(old) == b"ax"
    network.mode("db", "silent")
    waiting = dial(port)
    eventually(lambda: len(network.connections("db")) == 2)
    network.freeze("db")
    network.route("db", Echo(b"b").address)
    network.mode("db", "pass")
    new = dial(port)
    assert ask(new) == b"bx"
    assert is_silent(old)
    assert is_silent(waiting)
    network.reset("db")
    for client in (old, waiting):
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert ask(new) == b"bx"
    assert [c.frozen for c in network.connections("db")] == [False]


def test_a_route_leaves_present_connections_where_they_are(network: Network, link: tuple[Echo, int]) -> None:
    old = dial(link[1])
    assert ask(old) == b"ax"
    network.route("db", Echo(b"b").address)
    assert ask(old) == b"ax"
    assert ask(dial(link[1])) == b"bx"


def test_refusal_is_refused_and_resets_what_is_there(network: Network, link: tuple[Echo, int]) -> None:
    old = dial(link[1])
    assert ask(old) == b"ax"
    network.mode("db", "refuse")
    with pytest.raises(ConnectionResetError):
        old.recv(1)
    with pytest.raises(ConnectionRefusedError):
        dial(link[1])
    network.mode("db", "pass")
    assert ask(dial(link[1])) == b"ax"


def test_a_refusing_socket_keeps_its_file(network: Network) -> None:
    path = network.log.parent / "wire"
    network.open("wal", str(path), Echo(b"a").address)
    network.mode("wal", "refuse")
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
        client.connect(str(path))


def test_silence_lasts_as_long_as_its_mode(network: Network, link: tuple[Echo, int]) -> None:
    old = dial(link[1])
    assert ask(old) == b"ax"
    network.mode("db", "silent")
    new = dial(link[1])
    for client in (old, new):
        client.sendall(b"y")
        assert is_silent(client)
    network.mode("db", "pass")
    for client in (old, new):
        client.settimeout(3)
        assert client.recv(10) == b"ay"


def test_a_delay_comes_each_way_in_order_and_does_not_throttle(network: Network, link: tuple[Echo, int]) -> None:
    network.mode("db", "delay", 0.2)
    client, sent = dial(link[1]), os.urandom(8_000_000)
    begun = time.monotonic()
    assert ask(client) == b"ax"
    assert 0.4 <= time.monotonic() - begun < 0.8 * BUSY
    sink = socket.create_server(("127.0.0.1", 0))
    network.route("db", f"127.0.0.1:{sink.getsockname()[1]}")
    begun, source = time.monotonic(), dial(link[1])
    server, _ = sink.accept()
    threading.Thread(target=lambda: (source.sendall(sent), source.shutdown(socket.SHUT_WR))).start()
    with server.makefile("rb") as got:
        assert got.read() == sent
    assert time.monotonic() - begun < 4 * BUSY, "one window of the sender's at a time would take 25 s"


def test_what_was_under_way_is_lost_with_the_server(network: Network) -> None:
    listener, port = socket.create_server(("127.0.0.1", 0)), free_port()
    network.open("db", f"127.0.0.1:{port}", f"127.0.0.1:{listener.getsockname()[1]}")
    network.mode("db", "delay", 0.5)
    client = dial(port)
    server, _ = listener.accept()
    server.sendall(b"never seen")
    time.sleep(0.1)
    listener.close()
    server.close()
    assert client.recv(100) == b""


def test_a_half_closed_connection_still_answers(link: tuple[Echo, int]) -> None:
    client = dial(link[1])
    client.shutdown(socket.SHUT_WR)
    assert client.recv(10) == b"bye"
    assert client.recv(10) == b""


def test_a_server_that_is_gone_resets_the_client(network: Network, link: tuple[Echo, int]) -> None:
    network.route("db", f"127.0.0.1:{free_port()}")
    with pytest.raises(ConnectionResetError):
        dial(link[1]).recv(1)


def test_bad_requests_are_refused_and_nothing_changes(network: Network, link: tuple[Echo, int]) -> None:
    with pytest.raises(RefusedError, match="no link 'other'"):
        network.freeze("other")
    with pytest.raises(RefusedError, match="Address already in use"):
        network.open("second", link[0].address, f"127.0.0.1:{link[1]}")
    with pytest.raises(RefusedError, match="is at"):
        network.open("fourth", f"127.0.0.1:{link[1]}", link[0].address)
    with pytest.raises(UsageError, match="no address"):
        network.open("third", "0.0.0.0:1", link[0].address)
    with pytest.raises(UsageError, match="delay"):
        network.mode("db", "delay", float("inf"))
    with socket.socket(socket.AF_UNIX) as torn:
        torn.connect(str(network.log.parent / "network.sock"))
        torn.sendall(b'{"do":"close","name":"db"}')
    assert ask(dial(link[1])) == b"ax"


def test_a_killed_network_comes_back_with_its_links(network: Network, link: tuple[Echo, int]) -> None:
    network.route("db", Echo(b"b").address)
    assert not network.keep()
    os.kill(network.pid or 0, signal.SIGKILL)
    assert eventually(lambda: network.pid is None)
    with pytest.raises(ProviderError):
        network.freeze("db")
    assert network.keep()
    assert ask(dial(link[1])) == b"bx"


def test_a_link_that_cannot_come_back_hinders_no_other_and_comes_back_later(network: Network) -> None:
    echo, taken, port = Echo(b"a"), free_port(), free_port()
    network.open("first", f"127.0.0.1:{taken}", echo.address)
    network.open("second", f"127.0.0.1:{port}", echo.address)
    os.kill(network.pid or 0, signal.SIGKILL)
    assert eventually(lambda: network.pid is None)
    with socket.create_server(("127.0.0.1", taken)):
        for _ in range(2):
            with pytest.raises(RefusedError, match="Address already in use"):
                network.keep()
        assert ask(dial(port)) == b"ax"
        assert [link.name for link in network.links()] == ["second"]
    assert not network.keep()
    assert ask(dial(taken)) == b"ax"


def test_what_was_done_after_a_time_out_is_known(
    network: Network, link: tuple[Echo, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dr.lab.network.control.PATIENCE", 0.3)
    process = psutil.Process(network.pid)
    suspend_tree(process)
    with pytest.raises(ProviderError):
        network.mode("db", "delay", 0.1)
    process.resume()
    assert eventually(lambda: [link.mode for link in network.links()] == ["delay"])


def test_the_process_ends_with_the_one_that_started_it(network: Network) -> None:
    network.stop()
    code = (
        "import sys, time; from pathlib import Path; from dr.lab.network.control import Network\n"
        "n = Network(Path(sys.argv[1])); n.start(); print(n.pid, flush=True); time.sleep(60)"
    )
    arguments = [sys.executable, "-c", code, str(network.log.parent)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert alive(pid, "dr.lab.network") is not None
        starter.kill()
        assert eventually(lambda: alive(pid, "dr.lab.network") is None, seconds=5)


def test_only_its_own_account_may_speak_to_the_process(network: Network) -> None:
    assert (network.log.parent / "network.sock").stat().st_mode & 0o777 == 0o600


def test_clients_wait_without_a_spin_while_no_descriptor_is_left(network: Network, link: tuple[Echo, int]) -> None:
    process = psutil.Process(network.pid)
    first = dial(link[1])
    assert ask(first) == b"ax"
    _, most = process.rlimit(psutil.RLIMIT_NOFILE)
    process.rlimit(psutil.RLIMIT_NOFILE, (1, most))
    waiting = dial(link[1])
    waiting.sendall(b"y")
    before = sum(process.cpu_times()[:2])
    assert is_silent(waiting, 1.0)
    assert sum(process.cpu_times()[:2]) - before < 0.2
    assert ask(first) == b"ax"
    process.rlimit(psutil.RLIMIT_NOFILE, (most, most))
    waiting.settimeout(3)
    assert waiting.recv(10) == b"ay"


def test_every_connection_and_change_is_in_the_log(network: Network, link: tuple[Echo, int]) -> None:
    client = dial(link[1])
    ask(client)
    client.close()
    assert eventually(lambda: not network.connections("db"))
    network.mode("db", "silent")
    events = [json.loads(line) for line in network.log.read_text().splitlines()]
    assert [e["event"] for e in events] == ["started", "link opened", "opened", "closed", "mode"]
    assert all(a["monotonic_ns"] < b["monotonic_ns"] for a, b in itertools.pairwise(events))


def test_postgres_behind_a_link_goes_silent_and_the_next_session_reaches_the_other(network: Network) -> None:
    with lab_site() as site:
        first, second = make_server(site, "first"), make_server(site, "second")
        first.start()
        second.start()
        port = free_port()
        network.open("db", f"127.0.0.1:{port}", f"127.0.0.1:{first.port}")

        def session() -> psycopg.Connection:
            return psycopg.connect(
                host="localhost", port=port, user=MASTER, password=PASSWORD, dbname=DATABASE,
                sslmode="verify-full", sslrootcert=str(site.ca), connect_timeout=10, autocommit=True,
            )  # fmt: skip

        old = session()
        old.execute("create table only_here ()")
        network.freeze("db")
        network.route("db", f"127.0.0.1:{second.port}")
        first.kill()
        old.pgconn.send_query(b"select 1")
        with socket.socket(fileno=os.dup(old.pgconn.socket)) as end:
            assert is_silent(end, 1.0)
        with session() as new:
            assert new.execute("select to_regclass('only_here')").fetchone() == (None,)
        old.close()


def test_replication_through_a_link_lags_stops_and_catches_up(network: Network) -> None:
    """As root the standby is another account's, and comes to the link's socket all the same."""
    with lab_site() as site:
        primary, replica = make_server(site, "primary"), Server(site, site.directory / "replica", free_port())
        wires = site.make_directory(site.directory / "wires")
        network.open("wal", str(wires / f".s.PGSQL.{primary.port}"), str(primary.socket))
        make_standby(primary, replica, Upstream(wires, primary.port, "behind"), readable=True)
        assert len(network.connections("wal")) == 1
        with log_in(primary) as writer, log_in(replica) as reader:
            writer.execute("create table here ()")

            def arrived(table: str) -> bool:
                found = reader.execute("select 1 from pg_class where relname = %s", (table,))
                return found.fetchone() is not None

            assert eventually(lambda: arrived("here"), seconds=10)
            network.mode("wal", "delay", 1.0)
            writer.execute("create table late ()")
            committed = time.monotonic()
            behind = sending(primary, "behind")
            assert behind is not None
            assert behind.received < behind.present
            assert eventually(lambda: arrived("late"), seconds=10)
            assert 0.9 < time.monotonic() - committed < 2.5 * BUSY
            network.mode("wal", "silent")
            writer.execute("create table cut ()")
            time.sleep(4.0)
            silent = sending(primary, "behind")
            assert silent is not None
            assert silent.streaming, "silence is no end"
            assert silent.silent > 2.0
            assert not arrived("cut")
            network.mode("wal", "pass")
            assert eventually(lambda: arrived("cut"), seconds=10)
            healed = eventually(lambda: sending(primary, "behind"), seconds=10)
            assert healed.silent < silent.silent
