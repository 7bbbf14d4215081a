"""A service on a copy is believed only once it has a session there, whenever it connects; over a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dr.config.model import Login
from dr.domain.errors import PasswordError, ProviderError
from dr.domain.model import Call, Facts, Progress, Purpose, RunIdentity, Verb
from dr.drivers.postgres.examine import logins
from dr.drivers.service.provider import ServingProvider
from dr.host import children
from tests.integration.meters import context, drive
from tests.servers import PASSWORD, LocalServer, local_server

APP = "app"


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with local_server(f"create role {APP} login password '{PASSWORD}'") as running:
        yield running


@pytest.fixture
def provider(server: LocalServer, tmp_path: Path) -> Iterator[ServingProvider]:
    harness = server.database().harness
    yield ServingProvider(context(tmp_path, database=server.database(roles=(Login(APP, harness.secret),))))
    children.stop(tmp_path / "serve.pid")


def serve(provider: ServingProvider, server: LocalServer) -> Progress:
    planned = provider.propose(Verb("serve"), Facts(0.0), RunIdentity("r1", "lab", Purpose.DRILL, ""))
    call: Call = next(call for call in planned if call.id == "serve")
    return drive(provider, call, host=server.address.host, port=server.address.port)


@pytest.mark.parametrize("when", ["start", "readyz", "predict"])
def test_a_service_is_seen_whenever_it_connects(
    server: LocalServer, provider: ServingProvider, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setenv("STUB_CONNECT", when)
    served = serve(provider, server)
    (seen,) = served.observations
    assert (seen.what, seen.path, seen.value) == ("service-sessions", "restored", {"user": APP, "seen": 1})
    assert set(served.result) == {"url", "pid", "started", "started_at", "ready_at", "host", "port"}


def test_a_service_that_is_never_there_is_not_believed_and_the_sessions_of_others_are_not_its(
    server: LocalServer, provider: ServingProvider
) -> None:
    database = server.database(roles=(Login(APP, server.database().harness.secret),))
    assert all(login["ok"] for login in logins(server.address, database))
    at = server.address
    another = {"host": at.host, "port": at.port, "dbname": database.name, "user": APP, "password": PASSWORD}
    with (
        psycopg.connect(**another),
        pytest.raises(ProviderError, match=rf"no session on the copy at {server.address} as {APP}") as caught,
    ):
        serve(provider, server)
    assert "service.command connect to the DATABASE_URL" in str(caught.value)


def test_a_harness_that_has_the_services_login_does_not_take_itself_for_the_service(
    server: LocalServer, tmp_path: Path
) -> None:
    login = server.database().harness
    made = context(tmp_path, database=server.database(roles=(Login(APP, login.secret),), user=APP))
    with pytest.raises(ProviderError, match="no session on the copy"):
        serve(ServingProvider(made), server)
    children.stop(tmp_path / "serve.pid")


def test_where_nobody_can_look_nothing_is_started(server: LocalServer, tmp_path: Path) -> None:
    database = server.database("wrong", roles=(Login(APP, server.database().harness.secret),))
    with pytest.raises(PasswordError):
        serve(ServingProvider(context(tmp_path, database=database)), server)
    assert children.held(tmp_path / "serve.pid") is None
