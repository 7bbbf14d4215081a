"""A proxy on loopback between dr and the lab's RDS endpoint, which spoils the answers that it is told to spoil."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from tests.attack.answers import Answer, Attack, Break

DRIP_SECONDS, DRIPS = 0.5, 600
"""Between two bytes, and how many of them come at the most."""


@dataclass
class Proxy:
    """``strike`` spoils the next ``times`` answers to ``operation``; ``asked`` has every operation asked for,
    ``struck`` those that were spoilt."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    _attacks: dict[str, list[Attack]] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def strike(self, attack: Attack, operation: str, times: int = 1) -> None:
        with self._guard:
            self._attacks[operation] = [attack] * times

    def take(self, operation: str) -> Attack | None:
        """The attack on this answer, if there is one."""
        with self._guard:
            self.asked.append(operation)
            attacks = self._attacks.get(operation)
            if not attacks:
                return None
            self.struck.append(operation)
            return attacks.pop()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy
    to: tuple[str, int]

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        target = self.headers.get("X-Amz-Target", "")
        operation = target.rpartition(".")[2] or dict(parse_qsl(body.decode())).get("Action", "")
        attack = self.proxy.take(operation)
        if attack is not None and not attack.delivered:
            self._end(attack.bad(Answer(200, {}, b"")))
            return
        true = self._ask(body)
        self._end(true if attack is None else attack.bad(true))

    def _ask(self, body: bytes) -> Answer:
        inner = http.client.HTTPConnection(*self.to, timeout=60)
        left_out = ("connection", "accept-encoding", "content-length")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
        try:
            inner.request("POST", self.path, body, headers)
            got = inner.getresponse()
            return Answer(got.status, {"Content-Type": got.headers.get("Content-Type", "text/xml")}, got.read())
        finally:
            inner.close()

    def _end(self, got: Answer | Break) -> None:
        if isinstance(got, Answer):
            self._send(got, len(got.body))
            return
        self.close_connection = True
        with suppress(OSError):
            if got is Break.RESET:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif got is Break.SHORT:
                self._send(Answer(200, {"Content-Type": "text/xml"}, b"<half"), 1000)
            elif got is Break.DRIPPING:
                self._drip()
            elif got is Break.SILENT:
                threading.Event().wait(DRIP_SECONDS * DRIPS)
            self.connection.close()

    def _send(self, answer: Answer, length: int) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(answer.body)

    def _drip(self) -> None:
        self._send(Answer(200, {"Content-Type": "text/xml"}, b""), 10 * DRIPS)
        for _ in range(DRIPS):
            self.wfile.write(b" ")
            self.wfile.flush()
            threading.Event().wait(DRIP_SECONDS)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gives up is what is tested."""


@contextmanager
def proxied(endpoint: str) -> Iterator[Proxy]:
    """A proxy in front of ``endpoint``, gone afterwards."""
    to, proxy = urlsplit(endpoint), Proxy()

    class Handler(_Handler):
        pass

    Handler.proxy, Handler.to = proxy, (to.hostname or "127.0.0.1", to.port or 80)
    server = _Server(("127.0.0.1", 0), Handler)
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
