"""Instances of one or two nodes behind a stable endpoint, of the system's PostgreSQL and the wheel's.

Whatever happens to a host, what was confirmed to a client is there after a failover; and nothing is left of an
instance that was deleted, or of a lab whose daemon was killed.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from dr.domain.errors import DrError, RefusedError
from dr.host.clock import SystemClock
from dr.lab.rds.availability import History, Look, Step, decide
from dr.lab.rds.postgres import PostgresServers, remove_strays
from dr.lab.rds.trouble import Trouble
from dr.lab.rds.wires import place, streams
from dr.lab.servers.postgres import Server
from dr.lab.servers.site import Site, free_port, open_site
from tests.lab_servers import DATABASE, MASTER, PASSWORD, copied, lab_site
from tests.support import BUSY, eventually

KEY, REPLICA = "db-ONE", "db-TWO"
FAULTS = ("healthy", "lost", "hung")
ROUNDS = int(os.environ.get("DR_TEST_FAILOVERS", "2"))
INSTALLS = pytest.mark.parametrize("installed", ["system", "wheel"], indirect=True)


class Lab:
    """A site's servers with one instance, reached as clients reach it."""

    def __init__(self, site: Site) -> None:
        self.site, self.port = site, free_port()
        self.servers = PostgresServers(site)
        self.trouble = Trouble(self.servers)

    def create(self, multi_az: bool = True) -> None:
        with copied():
            self.servers.create(KEY, self.port, MASTER, PASSWORD, DATABASE)
        with self.log_in() as session:
            session.execute("CREATE TABLE written (n bigint PRIMARY KEY)")
        if multi_az:
            self.servers.add_standby(KEY)

    def log_in(self, port: int = 0, patience: int = 60) -> psycopg.Connection:
        """``patience``: seconds, after which something hangs, on however busy a machine."""
        return psycopg.connect(
            host="localhost",
            port=port or self.port,
            user=MASTER,
            password=PASSWORD,
            dbname=DATABASE,
            sslmode="verify-full",
            sslrootcert=str(self.site.ca),
            connect_timeout=patience,
            autocommit=True,
        )

    def rows(self, port: int = 0) -> set[int]:
        with self.log_in(port) as session:
            return {n for (n,) in session.execute("SELECT n FROM written").fetchall()}

    def write(self, *numbers: int) -> None:
        with self.log_in() as session:
            for number in numbers:
                session.execute("INSERT INTO written VALUES (%s)", (number,))

    def slots(self, key: str = KEY) -> list[str]:
        with self.servers.server(key).connect() as session:
            return [name for (name,) in session.execute("SELECT slot_name FROM pg_replication_slots").fetchall()]


@pytest.fixture
def installed(request: pytest.FixtureRequest) -> Iterator[Site]:
    with lab_site(getattr(request, "param", "system")) as site:
        yield site
        assert processes_of(site.directory) == []


@pytest.fixture
def lab(installed: Site) -> Iterator[Lab]:
    lab = Lab(installed)
    try:
        yield lab
    finally:
        lab.trouble.stop()
        lab.servers.close()
        left = [path.name for path in (installed.directory / "instances").glob("*")]
        assert left == [], "what an instance leaves behind"


def processes_of(directory: Path) -> list[str]:
    lines = [" ".join(one.info["cmdline"] or []) for one in psutil.process_iter(["cmdline"])]
    return [line for line in lines if str(directory) in line]


class Writer(threading.Thread):
    """Inserts numbers until its session breaks, or falls silent; ``acknowledged``: those that were confirmed."""

    def __init__(self, lab: Lab, first: int) -> None:
        super().__init__(daemon=True)
        self._lab, self._next = lab, first
        self.acknowledged: list[int] = []
        self.over = threading.Event()
        self.times: list[float] = []

    def run(self) -> None:
        with suppress(psycopg.Error), self._lab.log_in() as session:
            while not self.over.is_set():
                session.execute("INSERT INTO written VALUES (%s)", (self._next,))
                self.acknowledged.append(self._next)
                self.times.append(time.monotonic())
                self._next += 1


@contextmanager
def writing(lab: Lab, first: int) -> Iterator[Writer]:
    writer = Writer(lab, first)
    writer.start()
    eventually(lambda: len(writer.acknowledged) > 20)
    try:
        yield writer
    finally:
        writer.over.set()


class Watcher(threading.Thread):
    """What the API does at every look, in short."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(daemon=True)
        self._servers = lab.servers
        self._over = threading.Event()
        self.steps: list[Step] = []

    def run(self) -> None:
        history, known = History(), self._servers
        while not self._over.wait(0.2):
            look = Look(time.monotonic(), known.condition(KEY), known.standby(KEY), multi_az=True)
            history, step = decide(history, look)
            if step is not Step.NOTHING:
                self.steps.append(step)
            do = {
                Step.RESTART: known.start,
                Step.FAIL_OVER: known.fail_over,
                Step.DEGRADE: known.degrade,
                Step.REJOIN: known.rejoin,
                Step.REBUILD: known.add_standby,
            }
            with suppress(DrError):
                do.get(step, known.running)(KEY)

    def __enter__(self) -> Watcher:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join(60)


def strike(lab: Lab, fault: str) -> None:
    if fault == "lost":
        lab.trouble.lose_host(KEY)
    elif fault == "hung":
        lab.trouble.hang(KEY)


def undo(lab: Lab, fault: str) -> None:
    if fault == "lost":
        lab.trouble.lose_host(KEY, lost=False)
    elif fault == "hung":
        lab.trouble.hang(KEY, hung=False)


def speaks(session: psycopg.Connection, seconds: float = 1.0) -> bool:
    """Whether anything, its end included, comes from the other side."""
    return bool(select.select([session.fileno()], [], [], seconds)[0])


def reached(lab: Lab) -> bool:
    """Whether the endpoint leads to somebody who answers."""
    with suppress(psycopg.OperationalError), lab.log_in(patience=2) as session:
        return session.execute("SELECT NOT pg_is_in_recovery()").fetchone() == (True,)
    return False


# ---- failover


@INSTALLS
def test_what_was_confirmed_is_there_after_every_fail_over(lab: Lab) -> None:
    lab.create()
    acknowledged: set[int] = set()
    for number in range(ROUNDS * len(FAULTS)):
        fault = FAULTS[number % len(FAULTS)]
        with lab.log_in() as idle, writing(lab, number * 1_000_000) as writer:
            strike(lab, fault)
            assert lab.servers.condition(KEY) == {"healthy": "running", "lost": "gone", "hung": "hung"}[fault]
            assert lab.servers.fail_over(KEY) < 20 * BUSY
            acknowledged |= set(writer.acknowledged)
            assert speaks(idle) is (fault == "healthy"), f"an old connection, {fault}"
            assert acknowledged <= lab.rows(), fault
            lab.write(number * 1_000_000 + 999_999)
            assert lab.servers.standby(KEY) is None
            if fault != "healthy":
                with pytest.raises(RefusedError, match="not back"):
                    lab.servers.rejoin(KEY)
            undo(lab, fault)
            assert speaks(idle), f"a host that is back resets an old connection, {fault}"
            lab.servers.rejoin(KEY)
            # What it confirmed while it was fenced would be in nobody's rows now.
            acknowledged |= set(writer.acknowledged)
        standby = lab.servers.standby(KEY)
        assert standby is not None
        assert standby.streaming
        assert standby.synchronous
        assert acknowledged <= lab.rows()
        assert len(lab.slots()) == 1


def test_without_a_synchronous_standby_no_fail_over_is_done(lab: Lab) -> None:
    lab.create()
    lab.servers.degrade(KEY)
    with pytest.raises(RefusedError, match="no synchronous standby"):
        lab.servers.fail_over(KEY)
    lab.write(1)
    lab.servers.add_standby(KEY)
    lab.servers.drop_standby(KEY)
    with pytest.raises(RefusedError, match="no synchronous standby"):
        lab.servers.fail_over(KEY)
    lab.write(2)
    assert lab.slots() == []
    assert len(list((lab.site.directory / "instances" / KEY).glob("*/log"))) == 1


@INSTALLS
def test_a_lost_host_is_failed_over_from_and_rejoins_by_itself(lab: Lab) -> None:
    lab.create()
    with Watcher(lab) as watcher, writing(lab, 0) as writer:
        lab.trouble.lose_host(KEY)
        began = time.monotonic()
        eventually(lambda: reached(lab))
        assert Step.FAIL_OVER in watcher.steps
        assert time.monotonic() - began < 20 * BUSY
        assert set(writer.acknowledged) <= lab.rows()
        lab.trouble.lose_host(KEY, lost=False)
        eventually(lambda: (seen := lab.servers.standby(KEY)) is not None and seen.synchronous)
    assert watcher.steps.count(Step.FAIL_OVER) == 1
    assert Step.DEGRADE not in watcher.steps


def test_a_standby_that_is_lost_blocks_writes_for_a_moment_only_and_is_made_anew(lab: Lab) -> None:
    lab.create()
    with Watcher(lab) as watcher, writing(lab, 0) as writer:
        lab.trouble.lose_host(KEY, standby=True)
        eventually(lambda: Step.DEGRADE in watcher.steps)
        count = len(writer.acknowledged)
        eventually(lambda: len(writer.acknowledged) > count + 20)
        eventually(lambda: (seen := lab.servers.standby(KEY)) is not None and seen.synchronous)
        lab.servers.fail_over(KEY)
        assert set(writer.acknowledged) <= lab.rows()
    pauses = [late - early for early, late in zip(writer.times, writer.times[1:], strict=False)]
    assert max(pauses) < 5 * BUSY
    # The host that was lost comes back to nothing.
    lab.trouble.lose_host(KEY, lost=False)


def test_a_crashed_engine_restarts_where_it_is(lab: Lab) -> None:
    lab.create()
    with Watcher(lab) as watcher:
        lab.trouble.crash(KEY, what="postmaster")
        assert lab.servers.condition(KEY) == "dead"
        eventually(lambda: lab.servers.condition(KEY) == "running")
        eventually(lambda: reached(lab))
    assert Step.FAIL_OVER not in watcher.steps
    assert Step.RESTART in watcher.steps


def test_a_full_disk_is_no_reason_to_fail_over_and_a_lost_one_is(lab: Lab) -> None:
    lab.create()
    lab.trouble.fill_disk(KEY)
    assert lab.servers.condition(KEY) == "full"
    lab.trouble.fill_disk(KEY, full=False)

    def written() -> bool:
        """A server that had WAL to write meanwhile recovers from its crash, or ended, and is started as by a watch."""
        try:
            lab.write(1)
        except psycopg.OperationalError:
            if not lab.servers.running(KEY):
                lab.servers.start(KEY)
            return False
        return True

    eventually(written)
    assert lab.servers.condition(KEY) == "running"
    lab.trouble.take_disk(KEY)
    assert lab.servers.condition(KEY) == "gone"
    lab.servers.fail_over(KEY)
    assert lab.rows() == {1}
    lab.trouble.take_disk(KEY, taken=False)
    lab.servers.rejoin(KEY)
    lab.servers.fail_over(KEY)
    assert lab.rows() == {1}


# ---- sabotage


def test_a_primary_that_was_not_fenced_goes_on_confirming_what_is_lost(lab: Lab) -> None:
    lab.create()
    lab.trouble.keep_old_primary(KEY)
    with lab.log_in() as old:
        lab.servers.fail_over(KEY)
        old.execute("INSERT INTO written VALUES (1)")
        lab.write(2)
        assert lab.rows() == {2}
        for have_a_standby in (lab.servers.rejoin, lab.servers.add_standby):
            with pytest.raises(RefusedError, match="goes on by itself"):
                have_a_standby(KEY)
        lab.trouble.keep_old_primary(KEY, kept=False)
        with pytest.raises(psycopg.OperationalError):
            old.execute("SELECT 1")
    lab.servers.rejoin(KEY)
    assert lab.rows() == {2}


def test_an_asynchronous_standby_loses_what_was_confirmed_and_nobody_notices(lab: Lab) -> None:
    lab.create()
    lab.trouble.forget_sync(KEY)
    lab.trouble.replication_link(KEY, mode="delay", seconds=1.0)
    time.sleep(2.5)
    seen = lab.servers.standby(KEY)
    assert seen is not None
    assert seen.synchronous
    lab.write(1)
    lab.servers.fail_over(KEY)
    assert lab.rows() == set()


# ---- replicas


@INSTALLS
def test_a_replica_follows_its_source_through_a_fail_over_and_is_promoted(lab: Lab) -> None:
    lab.create()
    port = free_port()
    lab.servers.replicate(REPLICA, port, KEY)
    lab.write(1)
    eventually(lambda: lab.rows(port) == {1})
    assert lab.servers.lag(KEY) is None
    eventually(lambda: lab.servers.lag(REPLICA) == 0.0)
    lab.servers.fail_over(KEY)
    assert eventually(lambda: lab.servers.lag(REPLICA) == -1.0)
    lab.servers.follow(REPLICA, KEY)
    lab.write(2)
    eventually(lambda: lab.rows(port) == {1, 2})
    lab.trouble.replication_link(REPLICA, mode="delay", seconds=2.0)
    lab.write(3)
    eventually(lambda: (lab.servers.lag(REPLICA) or 0.0) > 1.0, seconds=10)
    lab.trouble.replication_link(REPLICA)
    eventually(lambda: lab.rows(port) == {1, 2, 3})
    lab.servers.promote(REPLICA)
    assert lab.slots() == []
    with lab.log_in(port) as session:
        session.execute("INSERT INTO written VALUES (4)")
    assert lab.rows() == {1, 2, 3}
    assert lab.servers.lag(REPLICA) is None


def test_a_deleted_replica_leaves_nothing_on_its_source(lab: Lab) -> None:
    lab.create(multi_az=False)
    port = free_port()
    lab.servers.replicate(REPLICA, port, KEY)
    assert len(lab.slots()) == 1
    lab.servers.delete(REPLICA)
    assert lab.slots() == []
    assert not (lab.site.directory / "instances" / REPLICA).exists()
    assert [link.name for link in lab.servers.wires.network.links()] == [KEY]
    with pytest.raises(psycopg.OperationalError):
        lab.log_in(port)


# ---- points in time


@INSTALLS
def test_a_backup_from_before_a_fail_over_is_restored_to_a_time_after_it(lab: Lab) -> None:
    lab.create()
    lab.servers.backup(KEY, "before")
    # What the primary finishes now it does not archive any more: the standby has it, and sees to it.
    lab.servers.archive(KEY).chmod(0o500)
    for number in range(0, 100, 25):
        lab.write(*range(number, number + 25))
        lab.servers.server(KEY).switch_wal()
    lab.trouble.lose_host(KEY)
    lab.servers.archive(KEY).chmod(0o700)
    lab.servers.fail_over(KEY)
    lab.write(*range(100, 200))
    after = time.time()
    until = eventually(lambda: (at := lab.servers.restorable(KEY, "before")) is not None and at > after + 1 and at)
    port = free_port()
    lab.servers.restore_to("db-COPY", port, "before", KEY, until)
    assert lab.rows(port) == set(range(200))


# ---- what is left


def test_an_endpoint_keeps_its_port_and_refuses_while_its_instance_is_stopped(lab: Lab) -> None:
    lab.create()
    lab.servers.stop(KEY)
    with pytest.raises(psycopg.OperationalError, match="refused"):
        lab.log_in()
    lab.servers.start(KEY)
    lab.write(1)
    eventually(lambda: lab.servers.standby(KEY).streaming)


NODES = ((KEY, "a"), (KEY, "b"), (REPLICA, "a"))
DAEMON = """
import sys
from pathlib import Path
from dr.host.clock import SystemClock
from dr.lab.rds.postgres import PostgresServers
from dr.lab.servers.site import open_site
site = open_site(Path(sys.argv[1]), SystemClock(), sys.argv[2])
servers = PostgresServers(site)
servers.create("db-ONE", int(sys.argv[3]), "clinic_admin", "secret", "readmission")
servers.add_standby("db-ONE")
servers.replicate("db-TWO", int(sys.argv[4]), "db-ONE")
servers.fail_over("db-ONE")
print("made", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("installed", "long"), [("system", "x" * 70), ("wheel", "")], indirect=["installed"], ids=["too long", "wheel"]
)
def test_nothing_is_left_of_a_daemon_that_was_killed(installed: Site, long: str) -> None:
    directory = installed.directory / long if long else installed.directory
    choice = installed.binaries.origin
    left = open_site(directory, SystemClock(), choice)
    servers = [Server(left, directory / "instances" / key / name, 0) for key, name in NODES]
    arguments = [sys.executable, "-c", DAEMON, str(directory), choice, str(free_port()), str(free_port())]
    daemon = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert daemon.stdout is not None
    assert daemon.stdout.readline() == "made\n"
    assert all((server.directory / "log").is_dir() for server in servers)
    daemon.send_signal(signal.SIGKILL)
    daemon.communicate()
    remove_strays(left)
    eventually(lambda: processes_of(directory) == [], seconds=10)
    assert list((directory / "instances").iterdir()) == []
    places = [server.socket_directory for server in servers] + [streams(left, key) for key in (KEY, REPLICA)]
    assert [path for path in places if path.exists()] == []
    assert place(left) == directory or not place(left).exists()
