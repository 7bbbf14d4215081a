"""Listens for Services and Ingress hosts on loopback, and leads what comes to pods that are ready.

A connection to a Service goes to one of its pods by chance, as with kube-proxy: where that pod is gone and nobody has
noticed, it is closed. A request to an Ingress host goes to the next pod where one does not take the connection, as with
nginx; one that was sent is not sent again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import msgspec

from dr.domain.errors import ProviderError
from dr.drivers.kubernetes.api import Api
from dr.lab.cluster.nodes.api import follow
from dr.lab.cluster.routing.table import DOMAIN, Place, Table, table
from dr.lab.cluster.routing.urls import SERVICES, Urls, read_urls
from dr.lab.loopback import stranger
from dr.lab.servers.site import free_port, write_closed
from dr.lab.service.http import HEAD_LIMIT, Connections, Malformed, Request, Response, answer, status_of

log = logging.getLogger(__name__)
Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
KINDS = {
    "services": "/api/v1/services",
    "slices": "/apis/discovery.k8s.io/v1/endpointslices",
    "ingresses": "/apis/networking.k8s.io/v1/ingresses",
    "secrets": "/api/v1/secrets?fieldSelector=type=kubernetes.io/tls",
}
CHUNK = 64 * 1024
CONNECT_LIMIT, ANSWER_LIMIT = 1.0, 60.0
"""Seconds; the latter as the Ingress says to nginx."""
SETTLED = 0.02
"""Seconds in which changes are taken together."""
HOP = ("connection", "keep-alive", "transfer-encoding", "upgrade", "host", "content-length")


@dataclass(frozen=True, slots=True)
class Where:
    """``network``: the second octet of the lab's own addresses for Services. ``hosts``: the file of names that it
    writes; ``routes``: the file with the URLs of each Ingress host, which a router that is started again keeps to."""

    kubeconfig: Path
    network: int
    hosts: Path
    routes: Path


class Router:
    """``run`` ends with the process. All of it happens in its loop, but for the watches."""

    def __init__(self, where: Where, chance: Callable[[tuple[Place, ...]], Place] = random.choice) -> None:
        self._where = where
        self._chance = chance
        self._found: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        self._table = Table()
        self._listening: dict[Place, asyncio.Server] = {}
        self._urls: dict[str, Urls] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._pairs: dict[str, str] = {}
        self._changed = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for kind, path in KINDS.items():
            threading.Thread(target=self._follow, args=(loop, kind, path), name=kind, daemon=True).start()
        await self.serve_services()
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLED)
            self._changed.clear()
            services, slices, ingresses, secrets = (self._found[kind].values() for kind in KINDS)
            await self.lead(table(services, slices, ingresses, secrets, self._where.network))

    def _follow(self, loop: asyncio.AbstractEventLoop, kind: str, path: str) -> None:
        follow(
            Api(self._where.kubeconfig),
            path,
            lambda items: loop.call_soon_threadsafe(self._listed, kind, items),
            lambda event, one: loop.call_soon_threadsafe(self._told, kind, event, one),
        )

    def _listed(self, kind: str, items: list[dict[str, Any]]) -> None:
        self._found[kind] = {one["metadata"]["uid"]: one for one in items}
        self._changed.set()

    def _told(self, kind: str, event: str, one: dict[str, Any]) -> None:
        if event == "DELETED":
            self._found[kind].pop(one["metadata"]["uid"], None)
        else:
            self._found[kind][one["metadata"]["uid"]] = one
        self._changed.set()

    async def lead(self, found: Table) -> None:
        """Let everything lead as ``found`` says: listen where it is new, and stop where it is gone."""
        before, self._table = self._table, found
        for place in set(self._listening) - set(found.services):
            self._listening.pop(place).close()
        for place in set(found.services) - set(self._listening):
            try:
                self._listening[place] = await asyncio.start_server(partial(self._connect, place), *place)
            except OSError as error:
                log.warning("nothing can listen on %s:%s: %s", *place, error.strerror)
        if found.names != before.names or not self._where.hosts.exists():
            write_closed(self._where.hosts, found.hosts_file())
        await self._serve_hosts(found)

    async def serve_services(self) -> None:
        """Let each Service be reached by one URL, as whoever measures a copy beside production reaches its own."""
        before = read_urls(self._where.routes)
        serve = Connections(self._forward_to_service).serve
        self._urls[SERVICES] = Urls(await _listen(serve, before.get(SERVICES, Urls()).http))
        write_closed(self._where.routes, msgspec.json.encode({**before, **self._urls}).decode())

    async def _serve_hosts(self, found: Table) -> None:
        """Each host has URLs of its own, which stay also while no Ingress has it."""
        if fresh := set(found.hosts) - set(self._urls):
            before = read_urls(self._where.routes)
            for host in fresh:
                self._urls[host] = await self._serve(host, before.get(host, Urls()))
            write_closed(self._where.routes, msgspec.json.encode(self._urls).decode())
        for host, pair in found.certificates.items():
            if host in self._contexts and self._pairs.get(host) != pair:
                self._pairs[host] = pair
                self._show(host, pair)

    async def _serve(self, host: str, before: Urls) -> Urls:
        serve = Connections(partial(self._forward, host)).serve
        context = self._contexts[host] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        return Urls(await _listen(serve, before.http), await _listen(serve, before.https, context))

    def _show(self, host: str, pair: str) -> None:
        """Let new connections to a host see this certificate. What is no certificate changes nothing."""
        file = self._where.routes.with_name("shown.pem")
        write_closed(file, pair)
        try:
            self._contexts[host].load_cert_chain(file)
        except ssl.SSLError as error:
            log.warning("the Secret for %s holds no certificate with its key: %s", host, error.reason)
        finally:
            file.unlink()

    # ---- Services

    async def _connect(self, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pods = self._table.services.get(place, ())
        try:
            if pods:
                async with asyncio.timeout(CONNECT_LIMIT):
                    there, back = await asyncio.open_connection(*self._chance(pods))
                await asyncio.gather(_copy(reader, back), _copy(there, writer))
        except (OSError, TimeoutError):
            return
        finally:
            writer.close()

    # ---- Ingress hosts

    async def _forward(self, host: str, request: Request) -> Response:
        because = stranger(request.headers, host)
        if because:
            return answer(403, {"error": because})
        pods = self._table.backends(host, request.path)
        if pods is None:
            return answer(404, {"error": "No Ingress leads from here."})
        return await _led(request, host, pods)

    async def _forward_to_service(self, request: Request) -> Response:
        because = stranger(request.headers)
        if because:
            return answer(403, {"error": because})
        space, name, port, *rest = [*request.path.lstrip("/").split("/", 3), "", "", ""][:4]
        pods = self._table.behind(f"{name}.{space}", int(port)) if port.isdecimal() else None
        if pods is None:
            return answer(404, {"error": "There is no such Service: /NAMESPACE/NAME/PORT/PATH."})
        return await _led(replace(request, path=f"/{rest[0]}"), f"{name}.{space}.{DOMAIN}", pods)


async def _led(request: Request, host: str, pods: tuple[Place, ...]) -> Response:
    """The answer of the first of the pods, in any order, that takes the connection."""
    for pod in random.sample(pods, len(pods)):
        try:
            async with asyncio.timeout(CONNECT_LIMIT):
                there, back = await asyncio.open_connection(*pod)
        except (OSError, TimeoutError):
            continue
        return await _passed(request, host, there, back)
    return answer(503, {"error": "No pod is ready for this."})


async def _listen(serve: Serve, before: str, context: ssl.SSLContext | None = None) -> str:
    """Listen on the port of the URL ``before``, or on another where that is taken; the URL, by 127.0.0.1."""
    for port in (urlsplit(before).port, free_port()):
        with suppress(OSError):
            if port is not None:
                await asyncio.start_server(serve, "127.0.0.1", port, limit=HEAD_LIMIT, ssl=context)
                return f"{'https' if context else 'http'}://127.0.0.1:{port}"
    raise ProviderError("Nothing could listen for an Ingress host.")


async def _passed(request: Request, host: str, there: asyncio.StreamReader, back: asyncio.StreamWriter) -> Response:
    """The answer of a pod to a request, or what stands for it."""
    try:
        async with asyncio.timeout(ANSWER_LIMIT):
            back.write(_head(request, host) + request.body)
            head = await there.readuntil(b"\r\n\r\n")
            body = await there.read(-1)
        return Response(status_of(head), body, _headers(head).get("content-type", "application/octet-stream"))
    except TimeoutError:
        return answer(504, {"error": "The pod did not answer in time."})
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, Malformed, ValueError):
        return answer(502, {"error": "The pod did not answer."})
    finally:
        back.close()


def _head(request: Request, host: str) -> bytes:
    kept = [f"{name}: {value}" for name, value in request.headers.items() if name not in HOP]
    own = [f"Host: {host}", "Connection: close", f"Content-Length: {len(request.body)}"]
    return "\r\n".join((f"{request.method} {request.path} HTTP/1.1", *own, *kept, "", "")).encode("latin-1")


def _headers(head: bytes) -> Mapping[str, str]:
    pairs = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:] if ":" in line)
    return {name.lower(): value.strip() for name, _, value in pairs}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
