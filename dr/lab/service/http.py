"""As much of HTTP/1.1 as the service needs: keep-alive, limits, and an answer to everything malformed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

HEAD_LIMIT = 16 * 1024
BODY_LIMIT = 64 * 1024
IDLE_LIMIT = 75.0
"""Seconds a kept connection may be silent, and a request may take to arrive."""


@dataclass(frozen=True, slots=True)
class Request:
    """``headers``: names in lower case. ``gone``: whether its client has left meanwhile."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    gone: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def answer(status: int, value: Any, *headers: tuple[str, str]) -> Response:
    """A JSON response."""
    return Response(status, json.dumps(value).encode(), headers=headers)


class Malformed(Exception):  # noqa: N818 - a reply, not a failure of ours
    """A request that gets ``status`` and ends its connection."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


Handler = Callable[[Request], Awaitable[Response]]


class Connections:
    """Serves connections one request after another; ``close`` lets requests under way finish."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._open: dict[asyncio.Task[None], bool] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs this as a task
        self._open[task] = False
        try:
            # Cancelled only by ``close`` and at the loop's end: either way this connection is over.
            with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError, asyncio.CancelledError):
                await self._requests(task, reader, writer)
        finally:
            del self._open[task]
            writer.close()

    async def _requests(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        keep = True
        while keep:
            try:
                async with asyncio.timeout(IDLE_LIMIT):
                    request = await read(reader)
                self._open[task] = True
                keep = request.headers.get("connection", "").lower() != "close"
                response = await self._handler(request)
            except Malformed as why:
                keep = False
                response = answer(why.status, {"error": str(why)})
            writer.write(render(response, keep))
            await writer.drain()
            self._open[task] = False

    async def close(self, limit: float) -> None:
        """End idle connections now, and the others when they have answered, or after ``limit`` seconds."""
        for task, busy in list(self._open.items()):
            if not busy:
                task.cancel()
        if self._open:
            await asyncio.wait(list(self._open), timeout=limit)
        for task in list(self._open):
            task.cancel()


async def read(reader: asyncio.StreamReader) -> Request:
    """The next request. Raises Malformed, IncompleteReadError where the client left."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise Malformed(431, "The request's head is too large.") from None
    method, path, headers = parse_head(head)
    if "transfer-encoding" in headers:
        raise Malformed(411, "Send a Content-Length.")
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise Malformed(400, "Content-Length is not a number.")
    if int(length[:12]) > BODY_LIMIT:
        raise Malformed(413, f"The body is larger than {BODY_LIMIT} bytes.")
    return Request(method, path, headers, await reader.readexactly(int(length)), reader.at_eof)


def parse_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Method, path without its query, and headers. Pure. Raises Malformed."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].startswith("/"):
        raise Malformed(400, "This is not an HTTP/1.1 request.")
    headers: dict[str, str] = {}
    for line in lines[1:-2]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise Malformed(400, "A header is malformed.")
        if name.lower() in headers and name.lower() == "content-length":
            raise Malformed(400, "Content-Length stands there twice.")
        headers[name.lower()] = value.strip()
    if words[2] == "HTTP/1.0":
        headers.setdefault("connection", "close")
    return words[0], words[1].partition("?")[0], headers


def status_of(head: bytes) -> int:
    """The status of a response, by its head. Pure. Raises Malformed."""
    words = head.decode("latin-1").split("\r\n", 1)[0].split(" ")
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise Malformed(502, "This is not an HTTP/1.1 response.")
    return int(words[1])


def render(response: Response, keep: bool) -> bytes:
    """A response's bytes. Pure."""
    lines = [
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        *(f"{name}: {value}" for name, value in response.headers),
    ]
    if not keep:
        lines.append("Connection: close")
    return "\r\n".join((*lines, "", "")).encode() + response.body
