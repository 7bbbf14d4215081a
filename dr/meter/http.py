"""One HTTP/1.1 exchange as bytes: the request built beforehand, the response recognised as it arrives. Pure.

Only what a prober needs: no redirects, no compression, no trailers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from dr.domain.errors import UsageError
from dr.host.decode import OBJECT, line_of

END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where probes go."""

    host: str
    port: int
    path: str
    authority: str


def endpoint(url: str) -> Endpoint:
    """Take ``url`` apart. Raises UsageError for what cannot be probed."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise UsageError(f"{url!r} cannot be probed.", "The prober speaks plain http; name an http:// URL with a host.")
    try:
        port = parts.port or 80
    except ValueError:
        raise UsageError(f"{url!r} has no valid port.") from None
    return Endpoint(parts.hostname, port, parts.path or "/", parts.netloc.rpartition("@")[2])


def request(to: Endpoint, body: object, more: Mapping[str, str]) -> bytes:
    """A POST of ``body`` as JSON, headers and all; ``more``: further ones."""
    content = json.dumps(body).encode()
    head = (
        f"POST {to.path} HTTP/1.1\r\nHost: {to.authority}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\nAccept: application/json\r\nUser-Agent: dr-meter\r\n"
    )
    further = "".join(f"{name}: {value}\r\n" for name, value in more.items())
    return f"{head}{further}\r\n".encode() + content


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response. ``reusable``: the connection may carry another request."""

    status: int
    body: bytes
    reusable: bool


class MalformedError(ValueError):
    """The bytes are no HTTP response."""


def response(received: bytes, closed: bool) -> Response | None:
    """The response in ``received``, or None while more is to come. Raises MalformedError. ``closed``: the other side
    has closed, which ends a body of no stated length and tears any other."""
    end = received.find(END)
    if end < 0:
        return None
    lines = received[:end].split(b"\r\n")
    status = _status(lines[0])
    headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(b":") for line in lines[1:])}
    keep = lines[0].startswith(b"HTTP/1.1") and headers.get(b"connection", b"").lower() != b"close" and not closed
    rest = received[end + len(END) :]
    if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        body = _dechunked(rest)
        return None if body is None else Response(status, body, keep)
    length = headers.get(b"content-length")
    if length is None:
        return Response(status, rest, False) if closed else None
    if not length.isdigit():
        raise MalformedError("content-length is no number")
    return Response(status, rest[: int(length)], keep) if len(rest) >= int(length) else None


def _status(line: bytes) -> int:
    code = line[9:12]
    if not line.startswith(b"HTTP/1.") or not code.isdigit():
        raise MalformedError("no status line")
    return int(code)


def _dechunked(rest: bytes) -> bytes | None:
    """The body, or None while its last chunk is not there."""
    parts: list[bytes] = []
    while True:
        line, found, after = rest.partition(b"\r\n")
        if not found:
            return None
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            raise MalformedError("a chunk without a size") from None
        if len(after) < size + 2:
            return None
        if size == 0:
            return b"".join(parts)
        parts.append(after[:size])
        rest = after[size + 2 :]


def answer(found: Response, fields: Sequence[str]) -> dict[str, Any] | str:
    """What a good answer says: one of status 200, and JSON that has ``fields``. Of any other why it is none, as the
    samples name it."""
    if found.status != 200:
        return "status"
    said = line_of(found.body, OBJECT)
    return said if said is not None and all(field in said for field in fields) else "body"
