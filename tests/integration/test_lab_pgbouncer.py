"""The lab's PgBouncer, over real servers: who gets in, where it leads, and how it bears a server that goes."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from dr.domain.errors import ProviderError, RefusedError
from dr.lab.beside import companion, pgbouncer
from dr.lab.beside.pgbouncer import Entry, PgBouncer
from dr.lab.platform.roles import password
from dr.lab.servers.postgres import Server
from dr.lab.servers.site import Site, free_port
from dr.lab.service.metrics import Histogram
from dr.lab.service.store import SESSIONS, Store
from tests.lab_servers import DATABASE, MASTER, PASSWORD, lab_site, make_server
from tests.relay import Relay
from tests.support import BUSY, eventually

WHERE = "SELECT current_setting('port')::int"
BACK_LIMIT = 8.0
"""Seconds from a server's silence until every client is served by another: query_timeout, and a log-in."""


@dataclass
class Pooled:
    """Two servers, and a pooler whose database leads to the first one."""

    site: Site
    pooler: PgBouncer
    first: Server
    second: Server

    def connect(self, **more: Any) -> psycopg.Connection[Any]:
        arguments = {
            "host": "localhost",
            "port": self.pooler.port,
            "user": MASTER,
            "password": PASSWORD,
            "dbname": "readmission",
            "sslmode": "verify-full",
            "sslrootcert": str(self.site.ca),
            "connect_timeout": 10,
            "autocommit": True,
            "prepare_threshold": None,
            **more,
        }
        return psycopg.connect(**arguments)

    def where(self, **more: Any) -> int:
        """The port of the server that answers."""
        with self.connect(**more) as connection:
            return int(connection.execute(WHERE).fetchone()[0])

    def reset(self) -> None:
        self.pooler.stop()
        self.pooler.start({"readmission": Entry("127.0.0.1", self.first.port, DATABASE)})


def installed(site: Site) -> companion.Program:
    program = pgbouncer.find(site)
    assert program is not None, "PgBouncer is not installed: .ci/run installs it"
    return program


@pytest.fixture(scope="module")
def servers() -> Iterator[Pooled]:
    with lab_site() as site:
        first, second = make_server(site, "first"), make_server(site, "second")
        pooler = PgBouncer(site, installed(site), site.directory / "pgbouncer", free_port(), {MASTER: PASSWORD})
        try:
            yield Pooled(site, pooler, first, second)
        finally:
            pooler.stop()


@pytest.fixture
def pooled(servers: Pooled) -> Pooled:
    servers.reset()
    return servers


@contextmanager
def relayed(backend: int, address: str = "127.0.0.1", port: int = 0) -> Iterator[Relay]:
    relay = Relay(backend, address, port)
    try:
        yield relay
    finally:
        relay.close()


# ---- who gets in


def test_a_client_that_checks_the_certificate_is_served_by_the_server(pooled: Pooled) -> None:
    with pooled.connect() as connection:
        assert connection.execute(WHERE).fetchone() == (pooled.first.port,)
        # To the server it is TLS, too: PostgreSQL sees its own side of it.
        encrypted = connection.execute("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
    assert encrypted == (True, "TLSv1.3")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"sslmode": "disable"}, "SSL required"),
        ({"password": "wrong"}, "authentication failed"),
        ({"user": "rdsadmin"}, "authentication failed"),
        ({"dbname": "postgres"}, "no such database"),
        ({"dbname": "pgbouncer"}, "not allowed"),
    ],
)
def test_whoever_has_no_business_there_is_refused(pooled: Pooled, more: dict[str, Any], reason: str) -> None:
    with pytest.raises(psycopg.OperationalError, match=reason):
        pooled.connect(**more)


def test_a_server_whose_certificate_is_for_another_name_gets_no_password(pooled: Pooled) -> None:
    with relayed(pooled.first.port, "127.0.0.2") as relay:
        pooled.pooler.point("readmission", "127.0.0.2", relay.port)
        with pytest.raises(psycopg.OperationalError):
            pooled.where()
    assert "127.0.0.2" in pooled.pooler.log.read_text()
    pooled.pooler.point("readmission", "127.0.0.1", pooled.first.port)
    eventually(lambda: works(pooled))


def works(pooled: Pooled) -> bool:
    try:
        return pooled.where() > 0
    except psycopg.OperationalError:
        return False


def test_its_passwords_are_nobody_elses_to_read(pooled: Pooled) -> None:
    process = psutil.Process(pooled.pooler.pid() or 0)
    secrets = (PASSWORD, password(pooled.pooler.directory, pgbouncer.ADMIN))
    seen = " ".join([*process.cmdline(), *process.environ().values(), pooled.pooler.log.read_text()])
    assert not any(secret in seen for secret in secrets)
    holders = [path for path in pooled.pooler.directory.rglob("*") if path.is_file() and secrets[1] in path.read_text()]
    assert len(holders) == 2  # the user list, and the administrator's own
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in holders)
    assert stat.S_IMODE(pooled.pooler.directory.stat().st_mode) == 0o700


def test_it_runs_under_the_servers_account(pooled: Pooled) -> None:
    account = pooled.site.binaries.account
    assert psutil.Process(pooled.pooler.pid() or 0).uids().real == (account.uid if account else os.geteuid())


# ---- many clients, few sessions


def test_the_services_store_works_through_transaction_pooling(pooled: Pooled) -> None:
    with pooled.connect() as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS model_versions (model_version text, performance_metrics jsonb, active bool)"
        )
        connection.execute("TRUNCATE model_versions")
        connection.execute("INSERT INTO model_versions VALUES ('2.3.0', '{}', true)")
    address = f"postgresql://{MASTER}@localhost:{pooled.pooler.port}/readmission?sslmode=verify-full"

    async def often(store: Store) -> list[list[list[Any]]]:
        return [await store.active() for _ in range(25)]

    async def ask() -> list[list[list[list[Any]]]]:
        store = Store(f"{address}&sslrootcert={pooled.site.ca}", Histogram("seconds", ""))
        try:
            # Far more often than a driver waits before it prepares, over sessions that share servers.
            return await asyncio.gather(*(often(store) for _ in range(SESSIONS)))
        finally:
            await store.close()

    before = os.environ.get("PGPASSWORD")
    os.environ["PGPASSWORD"] = PASSWORD
    try:
        found = asyncio.run(ask())
    finally:
        if before is None:
            del os.environ["PGPASSWORD"]
    assert found == [[[["2.3.0", {}]]] * 25] * SESSIONS


def test_sessions_at_the_server_are_fewer_than_clients(pooled: Pooled) -> None:
    clients = [pooled.connect() for _ in range(20)]
    for client in clients:
        client.execute("SELECT 1")
    (pool,) = [one for one in pooled.pooler.stats()["pools"] if one["database"] == "readmission"]
    for client in clients:
        client.close()
    assert (pool["cl_active"], pool["sv_idle"] + pool["sv_used"]) == (20, 1)


# ---- where it leads


def test_a_database_is_led_elsewhere_without_a_clients_doing(pooled: Pooled) -> None:
    with pooled.connect() as connection:
        assert connection.execute(WHERE).fetchone() == (pooled.first.port,)
        pooled.pooler.point("readmission", "127.0.0.1", pooled.second.port)
        assert pooled.pooler.entries() == {"readmission": Entry("127.0.0.1", pooled.second.port, DATABASE)}
        eventually(lambda: connection.execute(WHERE).fetchone() == (pooled.second.port,))
    assert pooled.where() == pooled.second.port


def test_a_transaction_under_way_ends_where_it_began(pooled: Pooled) -> None:
    with pooled.connect() as connection, connection.transaction():
        assert connection.execute(WHERE).fetchone() == (pooled.first.port,)
        pooled.pooler.point("readmission", "127.0.0.1", pooled.second.port)
        assert connection.execute(WHERE).fetchone() == (pooled.first.port,)


def test_an_unknown_database_is_not_led_anywhere(pooled: Pooled) -> None:
    with pytest.raises(RefusedError, match="has no database 'other'"):
        pooled.pooler.point("other", "127.0.0.1", 1)
    for host in ("127.0.0.1 user=postgres", "127.0.0.1,127.0.0.2", ""):
        with pytest.raises(RefusedError, match="cannot be led there"):
            pooled.pooler.point("readmission", host, 1)
    assert pooled.where() == pooled.first.port


def test_queries_wait_while_a_database_is_paused(pooled: Pooled) -> None:
    with pooled.connect() as connection:
        connection.execute(WHERE)
        pooled.pooler.pause("readmission")
        paused = time.monotonic()
        threading.Timer(1.0, pooled.pooler.resume, ["readmission"]).start()
        connection.execute(WHERE)
        assert 0.9 < time.monotonic() - paused < 4.0 * BUSY


def test_each_replica_has_a_database_of_its_own(pooled: Pooled) -> None:
    pooled.pooler.stop()
    replicas = (pooled.first, pooled.second)
    ways = {f"readmission_ro_{n}": Entry("127.0.0.1", one.port, DATABASE) for n, one in enumerate(replicas)}
    pooled.pooler.start(ways)
    assert [pooled.where(dbname=name) for name in ways] == [pooled.first.port, pooled.second.port]
    pooled.pooler.point("readmission_ro_0", "127.0.0.1", pooled.second.port)
    assert [pooled.where(dbname=name) for name in ways] == [pooled.second.port] * 2


# ---- a server that goes


class Client(threading.Thread):
    """Asks over and over, over a session that it opens again when it breaks."""

    def __init__(self, pooled: Pooled) -> None:
        super().__init__(daemon=True)
        self._pooled = pooled
        self._over = threading.Event()
        self.answers: list[tuple[float, int]] = []
        """When, and by which server."""

    def run(self) -> None:
        while not self._over.is_set():
            try:
                with self._pooled.connect(connect_timeout=3) as connection:
                    while not self._over.is_set():
                        port = int(connection.execute(WHERE).fetchone()[0])
                        self.answers.append((time.monotonic(), port))
                        self._over.wait(0.05)
            except psycopg.OperationalError:
                self._over.wait(0.05)

    def stop(self) -> None:
        self._over.set()
        self.join(timeout=30)


@pytest.mark.parametrize(("clients", "failover"), [(1, 0.5), (8, 0.5), (8, 3.0)])
def test_a_server_that_falls_silent_is_left_within_seconds(pooled: Pooled, clients: int, failover: float) -> None:
    """The endpoint leads to another server ``failover`` seconds after the first one's connections went silent."""
    with relayed(pooled.first.port) as relay:
        pooled.pooler.point("readmission", "127.0.0.1", relay.port)
        crowd = [Client(pooled) for _ in range(clients)]
        for client in crowd:
            client.start()
        eventually(lambda: all(len(client.answers) > 5 for client in crowd))
        silent = time.monotonic()
        relay.silent = True
        relay.freeze()
        time.sleep(failover)
        relay.backend, relay.silent = pooled.second.port, False
        eventually(lambda: all(c.answers[-1][1] == pooled.second.port for c in crowd), BACK_LIMIT * 2)
        back = max(min(at for at, port in c.answers if port == pooled.second.port) for c in crowd) - silent
        for client in crowd:
            client.stop()
    assert back < BUSY * max(BACK_LIMIT, failover + 5.0)
    # Nobody falls back onto a silent connection that another one left behind.
    assert all(
        later - at < 5.0
        for c in crowd
        for (at, port), (later, _) in zip(c.answers, c.answers[1:], strict=False)
        if port == pooled.second.port
    )


def test_a_server_that_restarts_is_found_again(pooled: Pooled) -> None:
    assert pooled.where() == pooled.first.port
    pooled.first.stop()
    with pytest.raises(psycopg.OperationalError):
        pooled.where()
    pooled.first.start()
    started = time.monotonic()
    eventually(lambda: works(pooled))
    assert time.monotonic() - started < 4.0 * BUSY


# ---- its own life


def test_one_that_was_killed_is_started_again_and_leads_where_it_led(pooled: Pooled) -> None:
    pooled.pooler.point("readmission", "127.0.0.1", pooled.second.port)
    was = pooled.pooler.pid() or 0
    psutil.Process(was).kill()
    eventually(lambda: pooled.pooler.pid() is None)
    pooled.pooler.keep()
    eventually(pooled.pooler.answers)
    assert pooled.pooler.pid() != was
    assert pooled.where() == pooled.second.port
    pooled.pooler.stop()
    pooled.pooler.keep()
    assert pooled.pooler.pid() is None


def test_one_that_a_killed_daemon_left_is_ended_by_the_next(pooled: Pooled) -> None:
    left = psutil.Process(pooled.pooler.pid() or 0)
    PgBouncer(pooled.site, installed(pooled.site), pooled.pooler.directory, pooled.pooler.port, {}).stop()
    assert not left.is_running() or left.status() == psutil.STATUS_ZOMBIE
    assert pooled.pooler.pid() is None


def test_a_port_that_is_taken_is_told(pooled: Pooled) -> None:
    other = PgBouncer(pooled.site, installed(pooled.site), pooled.site.directory / "other", pooled.first.port, {})
    with pytest.raises(ProviderError, match=rf"PgBouncer on port {pooled.first.port} did not start: .*in use"):
        other.start({"readmission": Entry("127.0.0.1", pooled.first.port, DATABASE)})
    assert other.pid() is None


def test_a_console_that_is_gone_is_told(pooled: Pooled) -> None:
    pooled.pooler.stop()
    with pytest.raises(ProviderError, match=rf"PgBouncer on port {pooled.pooler.port} cannot be used") as caught:
        pooled.pooler.stats()
    assert caught.value.transient


def test_where_there_is_none_the_lab_does_without(
    pooled: Pooled, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(companion, "PLACES", ())
    assert pgbouncer.find(pooled.site) is None
