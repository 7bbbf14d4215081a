"""The router and the forwarder with real connections: whom they lead to, and what comes where nobody is there."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from dr.lab.cluster.forward import Forwarder
from dr.lab.cluster.routing.router import Router, Where
from dr.lab.cluster.routing.table import Place, Table
from dr.lab.cluster.routing.urls import SERVICES, read_urls
from dr.lab.servers.site import free_port
from dr.lab.service.http import Connections, Request, Response, answer

HOST = "api.example"


async def pod(say: Callable[[Request], Awaitable[Response]]) -> tuple[asyncio.Server, Place]:
    """Something that answers, and where."""
    server = await asyncio.start_server(Connections(say).serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[:2]


async def echo(request: Request) -> Response:
    return answer(200, {"path": request.path, "host": request.headers["host"], "body": request.body.decode()})


def at(url: str) -> Place:
    """Where a URL of the router's is listened for."""
    return "127.0.0.1", int(url.rpartition(":")[2])


async def raw(place: Place, said: bytes, **tls: Any) -> bytes:
    reader, writer = await asyncio.open_connection(*place, **tls)
    try:
        writer.write(said)
        return await reader.read(-1)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def request(host: str = HOST, path: str = "/predict", body: bytes = b"{}") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Led:
    """A router that leads as a test says."""

    def __init__(self, directory: Path) -> None:
        self.where = Where(directory / "kubeconfig", 77, directory / "hosts", directory / "routes.json")
        self.router = Router(self.where, chance=lambda pods: pods[0])

    async def host(self, *pods: Place) -> Place:
        """Where HOST is served when these pods are ready for it."""
        await self.router.lead(Table(hosts={HOST: (("/predict", pods),)}))
        return at(read_urls(self.where.routes)[HOST].http)


@pytest.fixture
def led(tmp_path: Path) -> Led:
    return Led(tmp_path)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60.0))  # type: ignore[arg-type]


def test_a_request_reaches_a_pod_as_it_was_sent(led: Led) -> None:
    async def test() -> None:
        _, place = await pod(echo)
        said = await raw(await led.host(place), request(body=b'{"a": 1}'))
        assert said.startswith(b"HTTP/1.1 200 ")
        body = json.loads(said.rpartition(b"\r\n\r\n")[2])
        assert body == {"path": "/predict", "host": HOST, "body": '{"a": 1}'}

    run(test)


def test_the_next_pod_is_asked_where_one_takes_no_connection(led: Led) -> None:
    async def test() -> None:
        _, place = await pod(echo)
        gone: Any = ("127.0.0.1", free_port())
        front = await led.host(gone, place)
        for _ in range(8):  # whose turn it is, is drawn
            assert (await raw(front, request())).startswith(b"HTTP/1.1 200 ")

    run(test)


def test_what_was_sent_is_not_sent_again(led: Led) -> None:
    asked = []

    async def test() -> None:
        async def falls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                asked.append(1)
            writer.close()

        servers = [await asyncio.start_server(falls, "127.0.0.1", 0) for _ in range(2)]
        places = [server.sockets[0].getsockname()[:2] for server in servers]
        assert (await raw(await led.host(*places), request())).startswith(b"HTTP/1.1 502 ")

    run(test)
    assert asked == [1]


def test_any_service_is_reached_by_its_name_and_port(led: Led) -> None:
    async def test() -> None:
        _, place = await pod(echo)
        own = ("127.77.0.9", 8000)
        await led.router.serve_services()
        led.router._table = Table(services={own: (place,)}, names={own[0]: ("10.96.0.9", "api.copy")})
        front = at(read_urls(led.where.routes)[SERVICES].http)
        said = await raw(front, request("127.0.0.1", "/copy/api/8000/predict"))
        body = json.loads(said.rpartition(b"\r\n\r\n")[2])
        assert (body["path"], body["host"]) == ("/predict", "api.copy.svc.cluster.local")
        for path in ("/copy/api/8001/predict", "/copy/other/8000/predict", "/copy/api", "/"):
            assert (await raw(front, request("127.0.0.1", path))).startswith(b"HTTP/1.1 404 ")
        assert (await raw(front, request("rebound.example", "/copy/api/8000/x"))).startswith(b"HTTP/1.1 403 ")

    run(test)


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [(HOST, "/predict", 503), (HOST, "/other", 404), ("rebound.example", "/predict", 403)],
)
def test_what_leads_nowhere_is_told_apart(led: Led, host: str, path: str, status: int) -> None:
    async def test() -> None:
        assert (await raw(await led.host(), request(host, path))).startswith(f"HTTP/1.1 {status} ".encode())

    run(test)


def test_a_host_is_served_with_the_certificate_of_its_secret_and_with_the_next_one_once_that_is_renewed(
    led: Led,
) -> None:
    authority = trustme.CA()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def shown(place: Place) -> bytes:
        _, writer = await asyncio.open_connection(*place, ssl=trusting, server_hostname=HOST)
        writer.close()
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert found
        return bytes(found)

    async def test() -> None:
        _, place = await pod(echo)
        hosts = {HOST: (("/predict", (place,)),)}
        await led.router.lead(Table(hosts=hosts))
        front = at(read_urls(led.where.routes)[HOST].https)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await raw(front, request(), ssl=trusting, server_hostname=HOST)
        seen = []
        for _ in range(2):
            pair = authority.issue_cert(HOST).private_key_and_cert_chain_pem.bytes().decode()
            await led.router.lead(Table(hosts=hosts, certificates={HOST: pair}))
            said = await raw(front, request(), ssl=trusting, server_hostname=HOST)
            assert said.startswith(b"HTTP/1.1 200 ")
            seen.append(await shown(front))
        await led.router.lead(Table(hosts=hosts, certificates={HOST: "no certificate"}))
        assert await shown(front) == seen[1] != seen[0]
        assert {path.name for path in led.where.routes.parent.iterdir()} == {"hosts", "routes.json"}

    run(test)


def test_a_router_that_is_started_again_serves_each_host_where_the_one_before_it_did(led: Led) -> None:
    async def test() -> None:
        hosts: dict[str, Any] = {HOST: (), "other.example": ()}
        led.where.routes.write_text(
            json.dumps({name: {"http": f"http://127.0.0.1:{free_port()}"} for name in hosts}),
        )
        before = {name: urls.http for name, urls in read_urls(led.where.routes).items()}
        await led.router.lead(Table(hosts=hosts))
        assert {name: urls.http for name, urls in read_urls(led.where.routes).items()} == before

    run(test)


def test_a_service_is_listened_for_while_it_is_there_and_closes_where_no_pod_is(led: Led) -> None:
    async def test() -> None:
        _, place = await pod(echo)
        front: Any = ("127.0.0.1", free_port())
        await led.router.lead(Table(services={front: (place,)}, names={"127.0.0.1": ("model.svc",)}))
        assert (await raw(front, request())).startswith(b"HTTP/1.1 200 ")
        assert led.where.hosts.read_text() == "127.0.0.1 model.svc\n"
        for pods in ((), (("127.0.0.1", free_port()),)):
            await led.router.lead(Table(services={front: pods}))
            assert await raw(front, request()) == b""
        await led.router.lead(Table())
        with pytest.raises(OSError, match="Connect"):
            await raw(front, request())

    run(test)


def test_a_forwarder_passes_both_ways_and_closes_where_nobody_is_behind_it() -> None:
    async def test() -> None:
        _, place = await pod(echo)
        fronts = [
            await asyncio.start_server(Forwarder(behind).serve, "127.0.0.1", 0)
            for behind in (place, ("127.0.0.1", free_port()))
        ]
        there, nowhere = (front.sockets[0].getsockname()[:2] for front in fronts)
        assert (await raw(there, request())).startswith(b"HTTP/1.1 200 ")
        assert await raw(nowhere, request()) == b""

    run(test)
