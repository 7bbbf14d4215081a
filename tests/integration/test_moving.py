"""Leading PgBouncer's entry elsewhere, with a real PgBouncer over real servers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dr.config.model import Login
from dr.domain.errors import ProviderError, RefusedError
from dr.drivers.clients import pgbouncer_entry
from dr.drivers.clients.config import PoolerConfig
from dr.drivers.clients.pgbouncer_console import console, shown
from dr.drivers.clients.pgbouncer_entry import Entry
from dr.drivers.clients.place import NotTakenError, Place
from dr.lab.beside import pgbouncer
from dr.lab.beside.pgbouncer import ADMIN, PgBouncer
from dr.lab.platform.roles import password
from dr.lab.servers.process import suspend_tree
from dr.lab.servers.site import Site, free_port
from tests.lab_servers import DATABASE, MASTER, PASSWORD, lab_site, make_server
from tests.relay import Relay
from tests.support import BUSY, eventually

WHERE = "SELECT current_setting('port')::int"


class Pooled:
    def __init__(self, site: Site, pooler: PgBouncer, ports: tuple[int, int]) -> None:
        self.site, self.pooler = site, pooler
        self.first, self.second = (Place("127.0.0.1", port) for port in ports)

    def start(self, port: int = 0) -> None:
        self.pooler.stop()
        self.pooler.start({"readmission": pgbouncer.Entry("127.0.0.1", port or self.first.port, DATABASE)})

    def config(self, user: str = ADMIN) -> PoolerConfig:
        secret = self.pooler.directory / "console-password"
        secret.write_text(password(self.pooler.directory, ADMIN))
        login = Login(user, f"file:{secret}")
        return PoolerConfig("localhost", self.pooler.port, "readmission", login, str(self.pooler.configuration))

    def entry(self, user: str = ADMIN) -> Entry:
        return Entry(self.config(user), str(self.site.ca))

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host="localhost",
            port=self.pooler.port,
            user=MASTER,
            password=PASSWORD,
            dbname="readmission",
            sslmode="verify-full",
            sslrootcert=str(self.site.ca),
            autocommit=True,
            prepare_threshold=None,
        )


def answered(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute(WHERE).fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture(scope="module")
def pooled() -> Iterator[Pooled]:
    with lab_site() as site:
        first, second = make_server(site, "first"), make_server(site, "second")
        program = pgbouncer.find(site)
        assert program is not None, "PgBouncer is not installed: .ci/run installs it"
        pooler = PgBouncer(site, program, site.directory / "pgbouncer", free_port(), {MASTER: PASSWORD})
        try:
            yield Pooled(site, pooler, (first.port, second.port))
        finally:
            pooler.stop()


def test_clients_that_are_connected_are_led_to_the_other_server_and_back(pooled: Pooled) -> None:
    pooled.start()
    entry = pooled.entry()
    before = pooled.pooler.configuration.stat()
    assert entry.present() == pooled.first
    with pooled.connect() as client:
        assert answered(client) == pooled.first.port
        for to in (pooled.second, pooled.first):
            entry.lead(to)
            assert entry.present() == to
            eventually(lambda to=to: not entry.waiting(to, 0.0))  # type: ignore[misc]
            assert answered(client) == to.port, "the client keeps its connection"
    after = pooled.pooler.configuration.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_connections_to_a_server_that_fell_silent_are_dropped_after_a_while(pooled: Pooled) -> None:
    relay = Relay(pooled.first.port)
    try:
        pooled.start(relay.port)
        entry = pooled.entry()
        with pooled.connect() as client:
            assert answered(client) == pooled.first.port
            client.execute("BEGIN")
            relay.freeze()
            entry.lead(pooled.second)
            assert "1 old connections" in entry.waiting(pooled.second, 0.0)
            assert "1 old connections" in entry.waiting(pooled.second, pgbouncer_entry.SILENT_SECONDS)
            eventually(lambda: not entry.waiting(pooled.second, pgbouncer_entry.SILENT_SECONDS))
            with pytest.raises(psycopg.OperationalError):
                answered(client)
        with pooled.connect() as client:
            assert answered(client) == pooled.second.port
    finally:
        relay.close()


def test_an_administrator_whose_login_is_not_accepted_leads_nobody(pooled: Pooled) -> None:
    pooled.start()
    with pytest.raises(RefusedError, match=r"PgBouncer's console at localhost:\d+ failed"):
        pooled.entry("nobody").check()
    with pytest.raises(NotTakenError, match=r"PgBouncer's console at localhost:\d+ failed"):
        pooled.entry("nobody").waiting(pooled.second, 0.0)


# -- files as people have them: PgBouncer is the judge of what they say

LEADING = {
    "twice": b"[databases]\nreadmission = host=h1 port=1\nreadmission = host=h2 port=2\n",
    "sections twice": b"[databases]\nreadmission = host=h1\n[users]\n[databases]\nreadmission = host=h2\n",
    "blanks": b"  [databases]\n   readmission   =   host = h1  port =  7  dbname= x\n",
    "several hosts": b"[databases]\nreadmission = host=h1,h2 port=1\n",
    "several hosts with blanks": b"[databases]\nreadmission = host='h1, h2' port='05432'\n",
    "a socket's directory": b"[databases]\nreadmission = host=/run/postgresql\n",
    "IPv6": b"[databases]\nreadmission = host=::1 port=5432\n",
    "a fallback beside it": b"[databases]\n* = host=h0\nreadmission = host=h1\n",
    "host= in a password": b"[databases]\nreadmission = password='a'' host=evil port=9' host=h1 port=1\n",
    "host= in a bare value": b"[databases]\nreadmission = password=host=evil user=xhost=y host=h1\n",
    "a backslash": b"[databases]\nreadmission = password='a\\' host=h1 port=7\n",
    "the last host": b"[databases]\nreadmission = host=h1 port=1 host=h2 port=2\n",
    "Latin-1": b"; M\xfcller\n[databases]\nreadmission = host=h1 password='M\xfc' dbname=M\xfcller\nx = dbname=\xe4\n",
    "lines as on Windows": b"[databases]\r\n; one\r\nreadmission = host=h1 port=1\r\n\r\n",
    "comments": b"[databases]\n;readmission = host=a\n  # readmission = host=b\nreadmission = host=h1\n",
    "on the section's line": b"[databases] readmission = host=h1\n",
    "included": b"[databases]\nreadmission = host=h1\n%include {here}/included.ini\n",
    "included before": b"[databases]\n%include {here}/included.ini\nreadmission = host=h1\n",
}
INCLUDED = b"# theirs\nreadmission = host=included port=3\n"
PIECES = [
    *("host=", "host = ", "port=", "port = ", "password=", "dbname=x", "h1", "h1,h2", "::1", "/run", "6543", "0", "x"),
    *("'", "''", "\\", " ", "  ", "\t", "\r", "=", ";", "#", '"', "\xfc", "\nreadmission = host=", "\n* = host=h9"),
]


def reload(pooled: Pooled) -> None:
    with console(pooled.config(), str(pooled.site.ca)) as session:
        session.execute("RELOAD")


class File:
    """PgBouncer's configuration with a section of databases that somebody wrote."""

    def __init__(self, pooled: Pooled) -> None:
        pooled.start()
        self.pooled, self.path = pooled, pooled.pooler.configuration
        self.settings = self.path.read_bytes().partition(b"\n[pgbouncer]")[2]

    def hold(self, databases: bytes) -> bytes:
        here = str(self.path.parent).encode()
        self.path.write_bytes(databases.replace(b"{here}", here) + b"\n[pgbouncer]" + self.settings)
        (self.path.parent / "included.ini").write_bytes(INCLUDED)
        reload(self.pooled)
        return self.path.read_bytes()

    def shown(self) -> Place | None:
        with console(self.pooled.config(), str(self.pooled.site.ca)) as session:
            rows = [row for row in shown(session, "DATABASES") if row["name"] == "readmission"]
        return Place(str(rows[0]["host"]), int(rows[0]["port"])) if rows else None


@pytest.fixture
def file(pooled: Pooled) -> File:
    return File(pooled)


@pytest.mark.parametrize("databases", LEADING.values(), ids=LEADING)
def test_clients_are_led_where_pgbouncer_says_and_back_to_the_byte(file: File, databases: bytes) -> None:
    before, entry, second = file.hold(databases), file.pooled.entry(), file.pooled.second
    entry.check()
    was = entry.present()
    assert was == file.shown()
    for to in (second, was):
        entry.lead(to)
        assert not entry.waiting(to, 0.0)
        assert file.shown() == entry.present() == to
    assert file.path.read_bytes() == before
    assert (file.path.parent / "included.ini").read_bytes() == INCLUDED


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.lists(st.sampled_from(PIECES), max_size=10).map("".join))
def test_what_a_file_is_read_as_is_what_pgbouncer_shows_or_is_refused(file: File, value: str) -> None:
    file.hold(b"[databases]\n")
    file.hold(b"[databases]\nreadmission = host=h0 " + value.encode("latin-1") + b"\n")
    try:
        file.pooled.entry().check()
    except RefusedError:
        return
    assert file.pooled.entry().present() == file.shown()


@pytest.mark.parametrize(
    ("databases", "why"),
    [
        (b"[databases]\n* = host=h1\n", "the fallback '\\*' of line 2 serves it"),
        (b"[databases]\nreadmission = dbname=x\n", "names no host .line 2"),
        (b"[databases]\nreadmission = host=h1 ; port=4\n", "is no connection string .line 2"),
        (b"[databases]\nreadmission = host=h1\n%include {here}/nowhere.ini\n", "Line 3 .* cannot be read here"),
    ],
)
def test_what_could_not_be_led_back_is_refused_while_planning(file: File, databases: bytes, why: str) -> None:
    file.hold(databases)
    with pytest.raises(RefusedError, match=why):
        file.pooled.entry().check()


def test_a_file_that_pgbouncer_has_not_loaded_is_refused_while_planning(file: File) -> None:
    file.hold(b"[databases]\nreadmission = host=h1 port=1\n")
    file.path.write_bytes(file.path.read_bytes().replace(b"host=h1", b"host=h2"))
    with pytest.raises(RefusedError, match=r"leads readmission to h1:1, and line 2 of .* says h2:1"):
        file.pooled.entry().check()


def test_a_move_in_a_file_that_pgbouncer_does_not_read_is_noticed_at_once(file: File, tmp_path: Path) -> None:
    file.hold(b"[databases]\nreadmission = host=h1 port=1\n")
    copy = tmp_path / "pgbouncer.ini"
    copy.write_bytes(file.path.read_bytes())
    entry = Entry(msgspec.structs.replace(file.pooled.config(), configuration=str(copy)), str(file.pooled.site.ca))
    entry.check()
    entry.lead(file.pooled.second)
    with pytest.raises(NotTakenError, match="after a reload it still leads readmission to h1:1"):
        entry.waiting(file.pooled.second, 0.0)


def test_a_pooler_that_stands_still_keeps_nobody_waiting(file: File) -> None:
    entry, process = file.pooled.entry(), psutil.Process(file.pooled.pooler.pid() or 0)
    suspend_tree(process)
    began = time.monotonic()
    try:
        with pytest.raises(ProviderError) as caught:
            entry.waiting(file.pooled.second, 0.0)
    finally:
        process.resume()
    assert caught.value.transient
    assert time.monotonic() - began < 8 * BUSY
