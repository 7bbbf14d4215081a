"""Leading PgBouncer's entry elsewhere, with a real PgBouncer over real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dr.config.model import Login, PoolerConfig
from dr.domain.errors import RefusedError
from dr.drivers import pgbouncer_entry
from dr.drivers.moving import Place
from dr.drivers.pgbouncer_entry import Entry
from dr.lab import pgbouncer
from dr.lab.pgbouncer import ADMIN, PgBouncer
from dr.lab.platform.roles import password
from dr.lab.site import Site, free_port
from tests.lab_servers import DATABASE, MASTER, PASSWORD, lab_site, make_server
from tests.relay import Relay
from tests.support import eventually

WHERE = "SELECT current_setting('port')::int"


class Pooled:
    def __init__(self, site: Site, pooler: PgBouncer, ports: tuple[int, int]) -> None:
        self.site, self.pooler = site, pooler
        self.first, self.second = (Place("127.0.0.1", port) for port in ports)

    def start(self, port: int = 0) -> None:
        self.pooler.stop()
        self.pooler.start({"readmission": pgbouncer.Entry("127.0.0.1", port or self.first.port, DATABASE)})

    def entry(self, user: str = ADMIN) -> Entry:
        secret = self.pooler.directory / "console-password"
        secret.write_text(password(self.pooler.directory, ADMIN))
        login = Login(user, f"file:{secret}")
        at = PoolerConfig("localhost", self.pooler.port, "readmission", login, str(self.pooler.configuration))
        return Entry(at, str(self.site.ca))

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
            eventually(lambda to=to: not entry.waiting(to, 0.0))  # type: ignore[misc]
            assert answered(client) == to.port, "the client keeps its connection"
            assert entry.present() == to
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


def test_an_administrator_whose_login_is_not_accepted_is_told_and_the_file_is_as_before(pooled: Pooled) -> None:
    pooled.start()
    text = Path(pooled.pooler.configuration).read_text()
    with pytest.raises(RefusedError, match=r"PgBouncer's console at localhost:\d+ failed"):
        pooled.entry("nobody").lead(pooled.second)
    assert Path(pooled.pooler.configuration).read_text() == text
