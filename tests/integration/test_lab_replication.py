"""Replication between real servers, of the system and of the wheel.

What arrived is kept, what did not is lost, exactly; and what can happen to one server happens, and can be undone.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from dr.domain.errors import ProviderError, RefusedError
from dr.lab.servers import faults as server_faults
from dr.lab.servers import replication
from dr.lab.servers.archive import segments
from dr.lab.servers.postgres import Server
from dr.lab.servers.process import suspend_tree
from dr.lab.servers.replication import Upstream, make_standby, promote, received, receiving, sending, set_synchronous
from dr.lab.servers.site import Site, free_port
from tests.lab_servers import lab_site, log_in, make_server
from tests.support import BUSY, eventually

ROUNDS = int(os.environ.get("DR_TEST_KILLS", "8"))


@pytest.fixture(scope="module", params=["system", "wheel"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with lab_site(request.param) as made:
        yield made
        assert processes_of(made.directory) == []


@pytest.fixture
def primary(site: Site) -> Iterator[Server]:
    server = make_server(site, "primary")
    with log_in(server) as session:
        session.execute("CREATE TABLE written (n bigint PRIMARY KEY)")
    yield server
    server.remove()


@contextmanager
def standby_of(primary: Server, name: str, readable: bool = False) -> Iterator[Server]:
    """A standby, gone afterwards; its slot lives as long as its primary does."""
    standby = server_at(primary.site, name)
    make_standby(primary, standby, upstream(primary, name), readable)
    try:
        yield standby
    finally:
        standby.remove()


def server_at(site: Site, name: str) -> Server:
    return Server(site, site.directory / name, free_port())


def upstream(primary: Server, name: str) -> Upstream:
    return Upstream(primary.socket_directory, primary.port, name)


def write(server: Server, first: int, count: int) -> None:
    with log_in(server) as session:
        for number in range(first, first + count):
            session.execute("INSERT INTO written VALUES (%s)", (number,))


def rows(server: Server) -> list[int]:
    with log_in(server) as session:
        return [number for (number,) in session.execute("SELECT n FROM written ORDER BY n").fetchall()]


def has_all(primary: Server, name: str) -> bool:
    found = sending(primary, name)
    return found is not None and found.streaming and found.replayed >= found.present


def processes_of(directory: Path) -> list[str]:
    lines = [" ".join(one.info["cmdline"] or []) for one in psutil.process_iter(["cmdline"])]
    return [line for line in lines if str(directory) in line]


def slots(server: Server) -> list[str]:
    with server.connect() as session:
        return [name for (name,) in session.execute("SELECT slot_name FROM pg_replication_slots").fetchall()]


class Writer(threading.Thread):
    """Inserts numbers one by one until its session breaks; ``acknowledged`` holds those that were confirmed."""

    def __init__(self, server: Server, first: int) -> None:
        super().__init__(daemon=True)
        self._server, self._next = server, first
        self.acknowledged: list[int] = []

    def run(self) -> None:
        with suppress(psycopg.OperationalError), log_in(self._server) as session:
            while True:
                session.execute("INSERT INTO written VALUES (%s)", (self._next,))
                self.acknowledged.append(self._next)
                self._next += 1


# ---- standbys


def test_a_standby_that_cannot_be_read_takes_no_session_and_says_what_it_received(primary: Server) -> None:
    with standby_of(primary, "hidden") as standby:
        write(primary, 1, 20)
        with primary.connect() as session:
            end = int(session.execute("SELECT pg_current_wal_flush_lsn() - '0/0'").fetchone()[0])
        assert eventually(lambda: has_all(primary, "hidden"))
        assert received(standby) >= end
        with pytest.raises(ProviderError):
            receiving(standby)
        with pytest.raises(psycopg.OperationalError):
            log_in(standby)
        standby.kill()
        assert received(standby) >= end


def test_a_replica_reads_and_its_lag_is_the_age_of_what_is_missing(primary: Server) -> None:
    with standby_of(primary, "reader", readable=True) as replica:
        write(primary, 1, 5)
        assert eventually(lambda: has_all(primary, "reader"))
        assert rows(replica) == [1, 2, 3, 4, 5]
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            write(replica, 6, 1)
        seen = sending(primary, "reader")
        assert seen is not None
        assert seen.silent < 3 * BUSY
        assert not seen.synchronous
        assert replication.lag_seconds(seen.present, receiving(replica)) == 0.0
        with replica.connect() as session:
            session.execute("SELECT pg_wal_replay_pause()")
            write(primary, 6, 5)
            time.sleep(1.5)
            found = receiving(replica)
            seen = sending(primary, "reader")  # afterwards: meanwhile the primary may have begun another segment
            session.execute("SELECT pg_wal_replay_resume()")
        assert seen is not None
        assert found.streaming
        assert found.replayed < found.received <= seen.present
        lag = replication.lag_seconds(seen.present, found)
        assert lag is not None
        assert 1.5 <= lag < 10 * BUSY
        assert eventually(lambda: rows(replica) == list(range(1, 11)))


def test_what_was_received_is_read_from_files_as_the_server_says_it(primary: Server) -> None:
    with standby_of(primary, "reader", readable=True) as replica, log_in(primary) as session:
        # Records of many lengths, some longer than a page, over several segments.
        session.execute("CREATE TABLE wide (t text)")
        session.execute("ALTER TABLE wide ALTER t SET STORAGE EXTERNAL")
        for size in (1, 700, 9000, 40_000, 3_000_000):
            session.execute("INSERT INTO wide SELECT repeat('x', %s)", (size,))
            assert eventually(lambda: has_all(primary, "reader"))
            assert eventually(lambda: received(replica) == receiving(replica).received)


def test_no_password_stands_in_an_argument_or_an_open_file(primary: Server) -> None:
    password = primary.site.admin_password()
    with standby_of(primary, "hidden") as standby:
        for one in psutil.process_iter(["cmdline"]):
            assert password not in " ".join(one.info["cmdline"] or [])
        for path in standby.directory.rglob("*"):
            if path.is_file() and password in path.read_text(errors="replace"):
                assert path.stat().st_mode & 0o077 == 0
                assert path.name == "replication.pass"


def test_a_standby_that_cannot_connect_leaves_nothing_behind(primary: Server) -> None:
    standby = server_at(primary.site, "nowhere")
    lost = Upstream(primary.site.directory / "no-such-link", primary.port, "nowhere")
    with pytest.raises(ProviderError, match="Is the server running"):
        make_standby(primary, standby, lost, readable=True)
    assert not standby.directory.exists()
    assert not standby.socket_directory.exists()
    assert slots(primary) == []
    assert not standby.is_running()


def test_a_removed_standby_leaves_neither_slot_nor_process_nor_directory(primary: Server) -> None:
    with standby_of(primary, "hidden") as standby:
        with pytest.raises(RefusedError, match="already"):
            make_standby(primary, server_at(primary.site, "second"), upstream(primary, "hidden"), readable=False)
        assert slots(primary) == ["hidden"]
    replication.drop_slot(primary, "hidden")
    replication.drop_slot(primary, "hidden")
    assert slots(primary) == []
    assert not standby.directory.exists()
    assert not standby.socket_directory.exists()
    assert processes_of(standby.directory) == []


# ---- synchronous


def test_a_commit_waits_for_the_synchronous_standby_and_ends_without_a_warning_when_it_is_let_go(
    primary: Server,
) -> None:
    with standby_of(primary, "sync_one") as standby:
        set_synchronous(primary, "sync_one")
        standby.kill()
        notices: list[str] = []
        done = threading.Event()

        def commit() -> None:
            with log_in(primary) as session:
                session.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
                session.execute("INSERT INTO written VALUES (1)")
                done.set()

        waiting = threading.Thread(target=commit, daemon=True)
        waiting.start()
        assert not done.wait(2.0)
        set_synchronous(primary, "")
        assert done.wait(5.0 * BUSY)
        waiting.join(timeout=5 * BUSY)
        assert notices == []


def test_a_cancelled_wait_for_the_standby_is_a_warning(primary: Server) -> None:
    with standby_of(primary, "sync_one") as standby:
        set_synchronous(primary, "sync_one")
        standby.kill()
        notices: list[str] = []
        with log_in(primary) as session:
            session.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
            canceller = threading.Timer(0.5, session.cancel_safe)
            canceller.start()
            session.execute("INSERT INTO written VALUES (1)")
            canceller.join()
        assert any("canceling wait for synchronous replication" in notice for notice in notices)
        assert rows(primary) == [1]


def test_it_is_still_synchronous_after_a_restart(primary: Server) -> None:
    with standby_of(primary, "sync_one"):
        set_synchronous(primary, "sync_one")
        primary.stop()
        primary.start()
        write(primary, 1, 1)
        found = sending(primary, "sync_one")
        assert found is not None
        assert found.synchronous


def test_a_standby_that_does_not_stream_cannot_become_synchronous(primary: Server) -> None:
    with pytest.raises(RefusedError, match="does not stream"):
        set_synchronous(primary, "nobody")
    with standby_of(primary, "reader", readable=True) as replica, pytest.raises(RefusedError, match="Promote"):
        set_synchronous(replica, "nobody")


@pytest.mark.timeout(500)
def test_no_acknowledged_commit_is_lost_when_a_primary_is_killed_again_and_again(primary: Server) -> None:
    times: dict[str, list[float]] = {"promote": [], "rewind": []}
    old, name = primary, "node_b"
    with standby_of(primary, name) as new:
        acknowledged: list[int] = []
        for turn in range(ROUNDS):
            set_synchronous(old, name)
            writer = Writer(old, turn * 1_000_000)
            writer.start()
            assert eventually(lambda writer=writer: len(writer.acknowledged) > 20)
            time.sleep(0.02 * turn)
            old.kill()
            writer.join(timeout=20 * BUSY)
            acknowledged += writer.acknowledged
            began = time.monotonic()
            assert promote(new) == turn + 2
            times["promote"].append(time.monotonic() - began)
            assert set(acknowledged) <= set(rows(new))
            old, new = new, old
            name = f"node_{turn}"
            began = time.monotonic()
            assert replication.rebuild(new, old, upstream(old, name), False).how == "rewound"
            times["rewind"].append(time.monotonic() - began)
            assert slots(old) == [name]
    for what, found in times.items():
        print(f"{what}: median {sorted(found)[len(found) // 2]:.2f} s, at most {max(found):.2f} s")


# ---- asynchronous


def test_an_asynchronous_standby_loses_exactly_what_had_not_arrived(primary: Server) -> None:
    with standby_of(primary, "late", readable=True) as replica:
        write(primary, 1, 30)
        assert eventually(lambda: has_all(primary, "late"))
        receiver = next(one for one in replica.roots()[0].children() if "walreceiver" in " ".join(one.cmdline()))
        suspend_tree(receiver)
        before = received(replica)
        write(primary, 31, 25)
        primary.kill()
        # Its end takes with it what the system still held for it; the server recovers in place.
        receiver.kill()
        assert eventually(lambda: replica.is_running() and _takes_sessions(replica))
        assert received(replica) == before
        promote(replica)
        assert rows(replica) == list(range(1, 31))


def _takes_sessions(server: Server) -> bool:
    with suppress(ProviderError), server.connect():
        return True
    return False


# ---- promoted, rebuilt, re-pointed


def test_a_promoted_server_archives_its_own_wal(primary: Server) -> None:
    with standby_of(primary, "hidden") as standby:
        promote(standby)
        write(standby, 1, 1)
        standby.switch_wal()
        assert eventually(lambda: any(name.startswith("00000002") for name in segments(standby.archive)))
        assert not any(name.startswith("00000002") for name in segments(primary.archive))
        assert not (standby.directory / "replication.pass").exists()
        standby.stop()
        standby.start()
        write(standby, 2, 1)
        with pytest.raises(RefusedError, match="no running standby"):
            promote(standby)


def test_an_old_primary_comes_back_without_what_it_alone_had(primary: Server) -> None:
    with standby_of(primary, "reader", readable=True) as replica:
        write(primary, 1, 3)
        assert eventually(lambda: has_all(primary, "reader"))
        promote(replica)
        write(primary, 100, 3)
        write(replica, 4, 1)
        done = replication.rebuild(primary, replica, upstream(replica, "old"), readable=True)
        assert done.how == "rewound"
        assert eventually(lambda: rows(primary) == [1, 2, 3, 4])


def test_an_old_primary_that_had_nothing_of_its_own_brings_no_slot_along(primary: Server) -> None:
    with standby_of(primary, "reader", readable=True) as replica:
        primary.stop()
        promote(replica)
        assert replication.rebuild(primary, replica, upstream(replica, "old"), readable=True).how == "rewound"
        assert slots(primary) == []


def test_a_server_that_cannot_be_rewound_is_copied_and_says_why(primary: Server) -> None:
    with standby_of(primary, "reader", readable=True) as replica:
        promote(replica)
        primary.kill()
        (primary.data / "global" / "pg_control").unlink()
        done = replication.rebuild(primary, replica, upstream(replica, "old"), readable=True)
        assert done.how == "copied"
        assert primary.is_ready
        assert "pg_control" in done.because
        write(replica, 1, 1)
        assert eventually(lambda: rows(primary) == [1])


def test_a_replica_follows_the_server_that_was_promoted(primary: Server) -> None:
    with standby_of(primary, "first") as first, standby_of(primary, "second", readable=True) as second:
        write(primary, 1, 3)
        assert eventually(lambda: has_all(primary, "first") and has_all(primary, "second"))
        primary.kill()
        promote(first)
        assert replication.follow(second, first, upstream(first, "second"), True).how == "followed"
        write(first, 4, 1)
        assert eventually(lambda: rows(second) == [1, 2, 3, 4])


def test_a_replica_that_was_ahead_of_the_promoted_server_is_taken_back(primary: Server) -> None:
    with standby_of(primary, "behind") as behind, standby_of(primary, "ahead", readable=True) as ahead:
        write(primary, 1, 3)
        assert eventually(lambda: has_all(primary, "behind") and has_all(primary, "ahead"))
        behind.kill()
        write(primary, 4, 3)
        assert eventually(lambda: has_all(primary, "ahead"))
        primary.kill()
        behind.start()
        promote(behind)
        assert replication.follow(ahead, behind, upstream(behind, "ahead"), True).how == "rewound"
        assert eventually(lambda: rows(ahead) == [1, 2, 3])


# ---- faults


def test_a_hung_server_accepts_and_stays_silent_until_it_is_resumed(primary: Server) -> None:
    with log_in(primary) as session:
        server_faults.hang(primary)
        try:
            with socket.create_connection(("127.0.0.1", primary.port), timeout=1) as probe:
                probe.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")
                with pytest.raises(TimeoutError):
                    probe.recv(1)
            states = [one.status() for root in primary.roots() for one in (root, *root.children(recursive=True))]
            # One that ended right before is a zombie while its parent stands still.
            assert set(states) - {psutil.STATUS_ZOMBIE} == {psutil.STATUS_STOPPED}
        finally:
            server_faults.resume(primary)
        assert session.execute("SELECT 1").fetchone() == (1,)
    server_faults.hang(primary)
    primary.kill()
    assert not primary.is_running()


def _is_broken(session: psycopg.Connection) -> bool:
    try:
        session.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def test_a_crashed_backend_takes_all_sessions_with_it_and_the_server_stays(primary: Server) -> None:
    write(primary, 1, 2)
    postmaster = primary.pid()
    with log_in(primary) as session:
        server_faults.crash_backend(primary)
        eventually(lambda: _is_broken(session))  # the others are ended one by one
    assert eventually(lambda: _takes_sessions(primary))
    assert primary.pid() == postmaster
    assert rows(primary) == [1, 2]


def test_a_killed_postmaster_leaves_no_child_and_starts_again(primary: Server) -> None:
    write(primary, 1, 2)
    children = primary.roots()[0].children(recursive=True)
    server_faults.crash_postmaster(primary)
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in children)
    assert not primary.is_running()
    primary.start()
    assert rows(primary) == [1, 2]


def test_a_full_disk_fails_writes_and_what_was_acknowledged_is_there_when_it_is_freed(primary: Server) -> None:
    write(primary, 1, 5)
    server_faults.fill_disk(primary)
    acknowledged = 5

    def refused() -> bool:
        nonlocal acknowledged
        try:
            with log_in(primary) as session:
                session.execute(
                    "INSERT INTO written SELECT generate_series(%s::int, %s)", (acknowledged + 1, acknowledged + 5000)
                )
        except psycopg.Error:
            return True
        acknowledged += 5000
        return False

    assert eventually(refused, 30)
    assert "File too large" in primary.log.read_text()
    server_faults.free_disk(primary)
    # It may take a session before it notices that another one has ended it.
    assert set(range(1, acknowledged + 1)) <= set(eventually(lambda: _rows_once_it_answers(primary)))
    write(primary, 10_000_000, 1)


def _rows_once_it_answers(server: Server) -> list[int]:
    server.start()
    with suppress(psycopg.OperationalError):
        return rows(server)
    return []


@pytest.mark.parametrize("readable", [False, True])
def test_a_server_whose_disk_is_gone_ends_and_has_its_data_when_it_is_back(primary: Server, readable: bool) -> None:
    with standby_of(primary, "other", readable) as standby:
        write(primary, 1, 5)
        assert server_faults.take_disk(primary)
        server_faults.take_disk(standby, patience=2.0)
        for server in (primary, standby):
            assert not server.is_running()
            with pytest.raises(RefusedError, match="no database"):
                server.start()
            server_faults.return_disk(server)
            server_faults.return_disk(server)
            server.start()
        assert rows(primary) == [1, 2, 3, 4, 5]
        assert eventually(lambda: has_all(primary, "other"))


def test_a_slow_server_takes_as_much_longer_as_was_asked(primary: Server) -> None:
    work = "SELECT sum(number) FROM generate_series(1, 3000000) number"

    def stands(backend: psutil.Process) -> bool:
        return bool(backend.status() == psutil.STATUS_STOPPED)

    slowness = server_faults.Slowness(primary, share=0.8)
    slowness.start()
    try:
        with log_in(primary) as session:
            backend = psutil.Process(session.info.backend_pid)
            eventually(lambda: stands(backend), 10)  # a session that is new runs freely until it is seen
            began, before = time.monotonic(), sum(backend.cpu_times()[:2])
            session.execute(work)
            slow = (time.monotonic() - began) / (sum(backend.cpu_times()[:2]) - before)
    finally:
        slowness.stop()
    assert slow > 3, "how much longer it took than it had the processor"
    with log_in(primary) as session:
        backend = psutil.Process(session.info.backend_pid)
        for _ in range(100):
            assert not stands(backend)
            time.sleep(0.01)


def test_what_does_not_run_can_have_no_fault(primary: Server) -> None:
    primary.stop()
    for fault in (
        server_faults.hang,
        server_faults.crash_backend,
        server_faults.crash_postmaster,
        server_faults.fill_disk,
        server_faults.take_disk,
    ):
        with pytest.raises(RefusedError, match="does not run"):
            fault(primary)
