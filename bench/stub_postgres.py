"""A server that speaks just enough of PostgreSQL's protocol for a marker writer, over TLS: every insert is done.

It asks for no password, so that what is measured is the writer.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from multiprocessing.connection import Connection
from pathlib import Path

import trustme

SSL_REQUEST = 80877103
CANCEL_REQUEST = 80877102


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def text(*words: str) -> bytes:
    return b"".join(word.encode() + b"\0" for word in words)


READY = message(b"Z", b"I")
WELCOME = (
    message(b"R", struct.pack("!I", 0))
    + b"".join(
        message(b"S", text(name, value))
        for name, value in (("server_version", "16.0"), ("client_encoding", "UTF8"), ("TimeZone", "UTC"))
    )
    + message(b"K", struct.pack("!II", 1, 1))
    + READY
)
INSERTED = message(b"1") + message(b"2") + message(b"n") + message(b"C", text("INSERT 0 1")) + READY
FLOAT8 = 701
CLOCK = (
    message(b"T", struct.pack("!H", 1) + text("at") + struct.pack("!IHIhih", 0, 0, FLOAT8, 8, -1, 0))
    + message(b"D", struct.pack("!HI", 1, 3) + b"0.0")
    + message(b"C", text("SELECT 1"))
    + READY
)


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
    """One client, until it goes."""
    try:
        if await startup(reader) == SSL_REQUEST:
            writer.write(b"S")
            await writer.start_tls(context)
            await startup(reader)
        writer.write(WELCOME)
        while True:
            kind, length = struct.unpack("!cI", await reader.readexactly(5))
            await reader.readexactly(length - 4)
            if kind == b"S":
                writer.write(INSERTED)
            elif kind == b"Q":
                writer.write(CLOCK)
            elif kind == b"X":
                return
    except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        return
    finally:
        writer.close()


async def startup(reader: asyncio.StreamReader) -> int:
    """The code of a message without a kind: a version, or a request."""
    length, code = struct.unpack("!II", await reader.readexactly(8))
    await reader.readexactly(length - 8)
    return int(code)


def serve(folder: Path, ready: Connection) -> None:
    """The server's process; it sends its port, and leaves its authority's certificate as ca.pem."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    async def main() -> None:
        server = await asyncio.start_server(lambda r, w: talk(r, w, context), "localhost", 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())
