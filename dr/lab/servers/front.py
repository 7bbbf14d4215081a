"""TLS in front of a PostgreSQL that was built without it (the wheel's): one process for each server.

It listens on the server's loopback port, speaks TLS with clients, and passes their bytes on to the server's socket. It
refuses what pg_hba.conf refuses elsewhere: a session without TLS, and the superuser over TCP. It ends when its server
ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import dr
from dr.domain.errors import ProviderError
from dr.lab.servers import process
from dr.lab.servers.settings import ADMIN

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
STARTUP_LIMIT = 10_000
"""Bytes of a first message; PostgreSQL's own limit."""
GREETING_LIMIT = 30.0
"""Seconds a client has until its session is on its way."""
CHUNK = 1 << 16


class Front:
    """The front of one server, as its owner sees it."""

    def __init__(self, directory: Path, port: int, socket: Path, certificate: Path, key: Path) -> None:
        self._pid = directory / "front.pid"
        self._log = directory / "log" / "front.log"
        self._postmaster = directory / "data" / "postmaster.pid"
        self._arguments = [str(port), str(socket), str(certificate), str(key), str(self._postmaster)]
        self._port = port

    def start(self) -> None:
        """Start the process, and return when it listens. Raises ProviderError where it does not."""
        command = [sys.executable, "-m", "dr.lab.servers.front", *self._arguments]
        environment = {**os.environ, "PYTHONPATH": str(Path(dr.__file__).parent.parent)}
        ready, told = os.pipe()
        with self._log.open("ab") as log, os.fdopen(ready, "rb") as answer:
            child = subprocess.Popen(
                command,
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=log,
                start_new_session=True,
            )
            os.close(told)
            _CHILDREN.append(child)
            self._pid.write_text(f"{child.pid}\n")
            if answer.readline() != b"listening\n":
                raise ProviderError(f"Nothing can listen on port {self._port}.", "Choose another port.")

    def is_running(self) -> bool:
        _reap()
        return self.living() is not None

    def stop(self) -> None:
        """End it. Harmless where it does not run."""
        found = self.living()
        if found is not None:
            process.kill_tree(found)
        _reap()

    def living(self) -> process.Process | None:
        """Its process, if it lives."""
        number = process.recorded(self._pid)
        return process.alive(number, str(self._postmaster)) if number is not None else None


_CHILDREN: list[subprocess.Popen[bytes]] = []


def _reap() -> None:
    """Take the exit codes of ended fronts, so that they do not stay as zombies."""
    _CHILDREN[:] = [child for child in _CHILDREN if child.poll() is None]


def parameters(message: bytes) -> dict[str, str]:
    """A startup message's parameters. Pure."""
    words = message[4:].rstrip(b"\0").split(b"\0")
    names, values = words[::2], words[1::2]
    return {
        name.decode(errors="replace"): value.decode(errors="replace")
        for name, value in zip(names, values, strict=False)
    }


def refusal(message: bytes, encrypted: bool) -> bytes | None:
    """PostgreSQL's answer to a startup message that may not pass; None: it may. Pure."""
    asked = parameters(message)
    if encrypted and asked.get("user") != ADMIN and asked.get("replication", "false") in ("false", "off", "0", "no"):
        return None
    state = "SSL encryption" if encrypted else "no encryption"
    who = f'host "127.0.0.1", user "{asked.get("user", "")}", database "{asked.get("database", "")}", {state}'
    fields = {"S": "FATAL", "V": "FATAL", "C": "28000", "M": f"no pg_hba.conf entry for {who}"}
    body = b"".join(kind.encode() + text.encode() + b"\0" for kind, text in fields.items()) + b"\0"
    return b"E" + struct.pack("!I", len(body) + 4) + body


class _Session:
    """One client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
        self._reader, self._writer, self._context = reader, writer, context
        self._encrypted = False

    async def serve(self, socket: str) -> None:
        """Greet, then pass bytes both ways until one side ends."""
        with suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.TimeoutError, ValueError):
            async with asyncio.timeout(GREETING_LIMIT):
                first = await self._greeting()
                if first is None:
                    return
                inner, outer = await asyncio.open_unix_connection(socket)
            try:
                outer.write(first)
                await _first_to_end(_pass(self._reader, outer), _pass(inner, self._writer))
            finally:
                outer.close()
        self._writer.close()

    async def _greeting(self) -> bytes | None:
        """The message with which the session starts; None where it is refused."""
        while True:
            message = await self._message()
            code = struct.unpack("!I", message[:4])[0]
            if code == SSL_REQUEST and not self._encrypted:
                await self._encrypt()
            elif code == GSS_REQUEST and not self._encrypted:
                self._writer.write(b"N")
            else:
                answer = None if code == CANCEL_REQUEST else refusal(message, self._encrypted)
                if answer is None:
                    return struct.pack("!I", len(message) + 4) + message
                self._writer.write(answer)
                await self._writer.drain()
                self._writer.close()
                return None

    async def _message(self) -> bytes:
        length = struct.unpack("!I", await self._reader.readexactly(4))[0]
        if not 8 <= length <= STARTUP_LIMIT:
            raise ValueError(length)
        return await self._reader.readexactly(length - 4)

    async def _encrypt(self) -> None:
        # What a client sent before TLS stood would be taken as if it had come through it.
        if self._reader._buffer:  # type: ignore[attr-defined]
            raise ValueError("bytes before TLS")
        self._writer.write(b"S")
        await self._writer.drain()
        await self._writer.start_tls(self._context)
        self._encrypted = True


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while chunk := await source.read(CHUNK):
        sink.write(chunk)
        await sink.drain()


async def _first_to_end(*ways: Awaitable[None]) -> None:
    tasks = [asyncio.ensure_future(way) for way in ways]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _outlived(postmaster: Path) -> None:
    """Return when the server has gone."""
    number = process.recorded(postmaster)
    while number is not None and process.alive(number, str(postmaster.parent)):
        await asyncio.sleep(0.5)


async def serve(
    port: int, socket: str, certificate: str, key: str, postmaster: Path, ready: Callable[[], None]
) -> None:
    """Listen until the server ends or a signal comes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _Session(reader, writer, context).serve(socket)

    server = await asyncio.start_server(greet, "127.0.0.1", port)
    task = asyncio.ensure_future(_outlived(postmaster))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    ready()
    with suppress(asyncio.CancelledError):
        await task
    server.close()


def _tell() -> None:
    sys.stdout.write("listening\n")
    sys.stdout.close()


def main() -> None:
    port, socket, certificate, key, postmaster = sys.argv[1:]
    asyncio.run(serve(int(port), socket, certificate, key, Path(postmaster), _tell))


if __name__ == "__main__":
    main()
