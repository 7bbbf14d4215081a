"""What servers say of their place in replication: a real primary and a real replica, asked as the harness asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dr.config.model import Login
from dr.domain.errors import ProviderError, RefusedError
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.servers import Followed, Servers
from dr.lab.servers.postgres import Server
from dr.lab.servers.replication import Upstream, make_standby, promote, set_synchronous
from dr.lab.servers.site import free_port
from tests.lab_servers import DATABASE, MASTER, PASSWORD, lab_site, log_in, make_server
from tests.support import eventually

pytestmark = pytest.mark.in_order


def followed(server: Server, home: Path, user: str) -> Followed:
    return asking(server, home, user, user).followed("localhost", server.port)


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Server, Server]]:
    with lab_site() as site:
        primary = make_server(site, "primary")
        with log_in(primary) as session:
            session.execute("CREATE TABLE written (n bigint PRIMARY KEY)")
            session.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
        replica = Server(site, site.directory / "replica", free_port())
        upstream = Upstream(primary.socket_directory, primary.port, "replica")
        make_standby(primary, replica, upstream, readable=True)
        yield primary, replica


def asking(server: Server, home: Path, user: str = MASTER, password: str = PASSWORD) -> Servers:
    secret = home / "secret"
    secret.write_text(password)
    return Servers(PostgresConfig(DATABASE, Login(user, f"file:{secret}"), ca=str(server.site.ca)))


def test_a_primary_tells_who_follows_it_and_for_whom_its_commits_wait(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    primary, _ = pair
    with primary.connect(DATABASE) as session:
        session.execute("CREATE ROLE watching LOGIN PASSWORD 'watching' IN ROLE pg_read_all_stats")
    assert followed(primary, tmp_path, "watching") == Followed(1, 0, "on")
    set_synchronous(primary, "replica")
    assert followed(primary, tmp_path, "watching") == Followed(1, 1, "on")
    set_synchronous(primary, "")
    with pytest.raises(RefusedError, match="Give it pg_read_all_stats"):
        followed(primary, tmp_path, "plain")


def test_a_replica_says_whether_it_streams_and_a_primary_that_it_does_not(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    primary, replica = pair
    servers = asking(primary, tmp_path)
    eventually(lambda: servers.receives("localhost", replica.port))
    assert not servers.receives("localhost", primary.port)


def test_a_replica_is_asked_before_and_after_its_promotion(pair: tuple[Server, Server], tmp_path: Path) -> None:
    primary, replica = pair
    servers = asking(primary, tmp_path, "plain", "plain")  # no right but to log in
    with log_in(primary) as session:
        session.execute("INSERT INTO written VALUES (1)")
    written = servers.written("localhost", primary.port)
    eventually(lambda: (servers.standing("localhost", replica.port).replayed or 0) >= written)
    own = servers.standing("localhost", replica.port)
    assert own.recovering
    assert own.received is not None
    assert own.received >= written
    assert own.behind is not None
    assert own.behind >= 0.0
    assert not servers.standing("localhost", primary.port).recovering
    primary.kill()
    assert (servers.standing("localhost", replica.port).received or 0) >= written, "its source is gone"
    with pytest.raises(ProviderError) as caught:
        servers.written("localhost", primary.port)
    assert caught.value.transient
    promote(replica)
    assert not servers.standing("localhost", replica.port).recovering
    assert servers.written("localhost", replica.port) >= written
    with pytest.raises(RefusedError, match="Logging in"):
        asking(replica, tmp_path, "plain", "wrong").standing("localhost", replica.port)
