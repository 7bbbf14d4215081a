"""The lab's network as a process: ``python -m dr.lab.network DIRECTORY``.

It answers JSON lines on DIRECTORY/network.sock, appends to DIRECTORY/network.jsonl, and ends when its standard input
does: its starter is gone then, however it ended.
"""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import socket
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from dr.domain.errors import DrError, RefusedError, UsageError
from dr.lab.network.link import Answer, Connection, Link, Request, checked, parse
from dr.lab.network.wire import Wire

BACKLOG = 128
PAUSE = 0.1
"""Seconds until clients are accepted again, where there is no descriptor left for one."""


class Log:
    """network.jsonl: a line for each event, with the monotonic clock in nanoseconds, written before it is answered."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def tell(self, event: str, link: str, **more: object) -> None:
        line = {"monotonic_ns": time.monotonic_ns(), "event": event, "link": link, **more}
        os.write(self._file, msgspec.json.encode(line) + b"\n")


def bind(address: str, access: int = 0o666) -> socket.socket:
    """A socket at the address, not listening: who connects is refused. Raises RefusedError where it is taken.

    ``access``: to a path. Who may come to a link, its directory says; servers run under another account.
    """
    where = parse(address)
    try:
        return _bind_path(where, access) if isinstance(where, str) else _bind_port(where)
    except OSError as error:
        raise _taken(address, error) from None


def _taken(address: str, error: OSError) -> DrError:
    return RefusedError(f"No link can listen at {address}: {error.strerror}.", "Choose another address.")


def _bind_port(where: tuple[str, int]) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(where)
    except OSError:
        made.close()
        raise
    return made


def _bind_path(path: str, access: int) -> socket.socket:
    """Renamed into place, so that a client finds a socket there at every moment."""
    made, new = socket.socket(socket.AF_UNIX), f"{path}.new"
    try:
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise OSError(errno.EEXIST, "something that is no socket is there")
        with suppress(FileNotFoundError):
            os.unlink(new)
        made.bind(new)
        os.chmod(new, access)
        os.rename(new, path)
    except OSError:
        made.close()
        raise
    return made


def in_use(address: str) -> bool:
    """Whether somebody listens at a Unix socket's path."""
    where = parse(address)
    with socket.socket(socket.AF_UNIX) as look:
        look.settimeout(1.0)
        try:
            look.connect(where)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError as error:
            return error.errno != errno.ENOTSOCK
    return True


class Port:
    """A link at work: its listener and its connections."""

    def __init__(self, link: Link, log: Log) -> None:
        self.link, self._log = link, log
        self.wires: dict[int, Wire] = {}
        self._count = 0
        self._loop = asyncio.get_running_loop()
        if link.address.startswith("/") and in_use(link.address):
            raise _taken(link.address, OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)))
        self._socket = bind(link.address)
        self._listening = False
        try:
            self._listen(link.mode != "refuse")
        except OSError as error:
            self._socket.close()
            raise _taken(link.address, error) from None

    def _listen(self, wanted: bool) -> None:
        if wanted and not self._listening:
            self._socket.setblocking(False)
            self._socket.listen(BACKLOG)
            self._listening = True
            self._take()
        elif not wanted and self._listening:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._listening = False
            self._socket = bind(self.link.address)

    def _take(self) -> None:
        if self._listening:
            self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        try:
            client, _ = self._socket.accept()
        except OSError as error:
            # Else the client was gone before it was accepted.
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                self._loop.remove_reader(self._socket)
                self._loop.call_later(PAUSE, self._take)
            return
        self._count += 1
        number = self._count
        wire = Wire(number, self.link, client, self._over)
        self.wires[number] = wire
        self._log.tell("opened", self.link.name, connection=number, backend=wire.backend)

    def _over(self, wire: Wire, how: str) -> None:
        if self.wires.pop(wire.number, None) is not None:
            self._log.tell("closed", self.link.name, connection=wire.number, how=how, **wire.moved)

    def change(self, link: Link) -> None:
        """Take a new mode or backend."""
        self._listen(link.mode != "refuse")
        self.link = link
        for wire in list(self.wires.values()):
            wire.follow(link)

    def freeze(self) -> list[int]:
        for wire in self.wires.values():
            wire.freeze()
        return list(self.wires)

    def reset(self) -> None:
        for wire in [wire for wire in self.wires.values() if wire.frozen]:
            wire.cut("its host is back")

    def close(self) -> None:
        """Stop listening and reset every connection, frozen ones too."""
        if self._listening:
            self._loop.remove_reader(self._socket)
        self._listening = False
        self._socket.close()
        if self.link.address.startswith("/"):
            with suppress(OSError):
                os.unlink(self.link.address)
        for wire in list(self.wires.values()):
            wire.cut("link closed")


class Exchange:
    """All links, and what may be asked of them."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._ports: dict[str, Port] = {}

    def answer(self, line: bytes) -> Answer:
        """Do what a line asks for."""
        answer = self._tried(line)
        return msgspec.structs.replace(answer, links=[port.link for port in self._ports.values()])

    def _tried(self, line: bytes) -> Answer:
        try:
            return Answer(connections=self._do(msgspec.json.decode(line, type=Request)))
        except msgspec.DecodeError as error:
            return Answer(f"The lab's network does not understand a request: {error}.")
        except DrError as error:
            return Answer(str(error.args[0]), error.hint)
        except OSError as error:
            return Answer(f"The lab's network could not do it: {error.strerror}.")

    def _do(self, asked: Request) -> list[Connection]:
        if asked.do == "links":
            return []
        if asked.do == "open":
            self._open(asked)
            return []
        port = self._ports.get(asked.name)
        if port is None:
            raise UsageError(f"There is no link '{asked.name}'.", "Open it first.")
        link = port.link
        if asked.do == "route":
            port.change(checked(msgspec.structs.replace(link, backend=asked.backend)))
            self._log.tell("route", link.name, backend=asked.backend)
        elif asked.do == "mode":
            port.change(checked(msgspec.structs.replace(link, mode=asked.mode, seconds=asked.seconds)))
            self._log.tell("mode", link.name, mode=asked.mode, seconds=asked.seconds)
        elif asked.do == "freeze":
            self._log.tell("freeze", link.name, connections=port.freeze())
        elif asked.do == "reset":
            self._log.tell("reset", link.name)
            port.reset()
        elif asked.do == "close":
            port.close()
            del self._ports[link.name]
            self._log.tell("link closed", link.name)
        return [Connection(wire.number, wire.backend, wire.frozen) for wire in port.wires.values()]

    def _open(self, asked: Request) -> None:
        if asked.name in self._ports:
            raise RefusedError(f"There is a link '{asked.name}' already.", "Close it first.")
        for port in self._ports.values():
            if port.link.address == asked.address:
                raise RefusedError(f"Link '{port.link.name}' is at {asked.address}.", "Choose another address.")
        link = checked(Link(asked.name, asked.address, asked.backend, asked.mode, asked.seconds))
        self._ports[link.name] = Port(link, self._log)
        more = msgspec.structs.asdict(link)
        self._log.tell("link opened", more.pop("name"), **more)

    def close(self) -> None:
        for port in self._ports.values():
            port.close()


async def _answer(exchange: Exchange, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer line after line. A line that was torn off is not a request."""
    with suppress(OSError, ValueError):
        while (line := await reader.readline()).endswith(b"\n"):
            writer.write(msgspec.json.encode(exchange.answer(line)) + b"\n")
            await writer.drain()
    writer.close()


async def serve(directory: Path) -> None:
    """Until standard input ends or a signal comes."""
    os.umask(0o077)
    # Each connection takes two descriptors, and a frozen one never gives its client's back.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    log = Log(directory / "network.jsonl")
    exchange = Exchange(log)
    control = bind(str(directory / "network.sock"), access=0o600)
    server = await asyncio.start_unix_server(lambda r, w: _answer(exchange, r, w), sock=control)

    def heard() -> None:
        if not os.read(0, 4096):
            over.set()

    loop.add_reader(0, heard)
    log.tell("started", "", pid=os.getpid())
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    await over.wait()
    server.close()
    exchange.close()
    log.tell("ended", "")


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
