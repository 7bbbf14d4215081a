"""One connection through a link: bytes both ways over plain sockets, so that nothing moves unless a link lets it.

Transports are not used: they flush what they hold and close when a peer closes, and a link that is frozen must do
neither.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from dr.lab.network.link import Link, parse

CHUNK = 1 << 16
HELD = 1 << 20
"""Bytes held for a receiver that does not read, before the sender is no longer read from."""
HELD_DELAYED = 1 << 26
"""The same on a delayed link, where what is under way is held, too."""
LOOK = 1.0
"""Seconds a server has to answer whether it still listens."""


def dialled(address: str) -> tuple[socket.socket, tuple[str, int] | str]:
    """A non-blocking socket of the address's kind, and the address for it."""
    where = parse(address)
    made = socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET)
    made.setblocking(False)
    _hasten(made)
    return made, where


def _hasten(end: socket.socket) -> None:
    if end.family == socket.AF_INET:
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def reset(end: socket.socket) -> None:
    """Close with RST. A Unix socket knows none; it is closed."""
    with suppress(OSError):
        if end.family == socket.AF_INET:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


class Flow:
    """One direction. ``None`` in the queue is the sender's FIN."""

    def __init__(self, wire: Wire, source: socket.socket, sink: socket.socket) -> None:
        self._wire, self._source, self._sink = wire, source, sink
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[float, memoryview | None]] = deque()
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._reading = self._writing = False
        self._heard_end = False
        self.moved = 0
        self.over = False
        """The sender's FIN has been passed on."""

    def regulate(self) -> None:
        """Read or not, as the link's mode and what is held say; send what is due."""
        held = self._wire.link.mode == "silent"
        self._read(not held and not self._heard_end and self._has_room())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if held:
            self._write(False)
        elif self._queue and not self._writing:
            wait = self._queue[0][0] - self._loop.time()
            if wait > 0:
                self._timer = self._loop.call_later(wait, self._send)
            else:
                self._send()

    def _has_room(self) -> bool:
        return self._size < (HELD_DELAYED if self._wire.link.mode == "delay" else HELD)

    def _read(self, wanted: bool) -> None:
        if wanted and not self._reading:
            self._loop.add_reader(self._source, self._readable)
        elif not wanted and self._reading:
            self._loop.remove_reader(self._source)
        self._reading = wanted

    def _write(self, wanted: bool) -> None:
        if wanted and not self._writing:
            self._loop.add_writer(self._sink, self._send)
        elif not wanted and self._writing:
            self._loop.remove_writer(self._sink)
        self._writing = wanted

    def _readable(self) -> None:
        try:
            data = self._source.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._wire.broken(self._source)
            return
        due = self._loop.time() + self._wire.link.seconds
        self._heard_end = not data
        self._queue.append((due, memoryview(data) if data else None))
        self._size += len(data)
        if not data:
            self._wire.fin(self._source)
        self.regulate()

    def _send(self) -> None:
        try:
            while self._queue and self._queue[0][0] <= self._loop.time():
                due, data = self._queue.popleft()
                if data is None:
                    self._sink.shutdown(socket.SHUT_WR)
                    self.over = True
                    break
                try:
                    sent = self._sink.send(data)
                except (BlockingIOError, InterruptedError):
                    sent = 0
                self._size -= sent
                self.moved += sent
                if sent < len(data):
                    self._queue.appendleft((due, data[sent:]))
                    self._write(True)
                    self._read(self._reading and self._has_room())
                    return
        except OSError:
            self._wire.broken(self._sink)
            return
        self._write(False)
        if self.over:
            self._wire.flowed()
        else:
            self.regulate()

    @property
    def under_way(self) -> int:
        return self._size

    def lose(self) -> None:
        """Drop what is under way; a FIN still follows in its time."""
        self._queue = deque(item for item in self._queue if item[1] is None)
        self._size = 0
        self.regulate()

    def stop(self) -> None:
        """Touch neither socket any more."""
        self._read(False)
        self._write(False)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._queue.clear()
        self._size = 0


class Wire:
    """A client's connection and the server's that belongs to it. ``ended(how)`` is called once, with both closed."""

    def __init__(self, number: int, link: Link, client: socket.socket, ended: Callable[[Wire, str], None]) -> None:
        self.number, self.link, self.frozen, self.backend = number, link, False, ""
        self._client = client
        self._server: socket.socket | None = None
        self._flows: tuple[Flow, ...] = ()
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._reset: asyncio.TimerHandle | None = None
        client.setblocking(False)
        _hasten(client)
        self.follow(link)

    @property
    def moved(self) -> dict[str, int]:
        """Bytes passed on, each way."""
        return {name: flow.moved for name, flow in zip(("to_server", "to_client"), self._flows, strict=False)}

    def follow(self, link: Link) -> None:
        """Take the link's present mode. A client that no server was dialled for goes to its present backend."""
        self.link = link
        if self.frozen or (self._reset is not None and link.mode != "refuse"):
            return
        if link.mode == "refuse":
            self.cut("refused")
        elif self._task is None and not self._flows and link.mode != "silent":
            self.backend = link.backend
            self._task = self._loop.create_task(self._dial())
        else:
            for flow in self._flows:
                flow.regulate()

    async def _dial(self) -> None:
        try:
            server, where = dialled(self.backend)
        except OSError:
            self._task = None
            self.cut("no descriptor left")
            return
        try:
            await self._loop.sock_connect(server, where)
        except OSError:
            server.close()
            self._task = None
            self.cut("backend gone")
            return
        except asyncio.CancelledError:
            server.close()
            raise
        self._task, self._server = None, server
        self._flows = (Flow(self, self._client, server), Flow(self, server, self._client))
        for flow in self._flows:
            flow.regulate()

    def freeze(self) -> None:
        """Silence towards both until ``cut``: what comes is dropped, nothing goes, the client's end stays open."""
        self.frozen = True
        self._quiet()
        self._loop.add_reader(self._client, self._drop, self._client)
        if self._server is not None:
            self._loop.add_reader(self._server, self._drop, self._server)

    def _drop(self, end: socket.socket) -> None:
        try:
            data = end.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            # The client's socket is not closed: it may have ended its half only, and would be told.
            self._loop.remove_reader(end)
            if end is self._server:
                end.close()
                self._server = None

    def fin(self, source: socket.socket) -> None:
        """A sender has ended. A server that listens no more has died, and what was under way from it is lost."""
        if source is self._server and self._flows[1].under_way and self.link.mode == "delay":
            self._task = self._loop.create_task(self._bury())

    async def _bury(self) -> None:
        look, where = dialled(self.backend)
        try:
            async with asyncio.timeout(LOOK):
                await self._loop.sock_connect(look, where)
        except TimeoutError:
            pass
        except OSError:
            self._flows[1].lose()
        finally:
            look.close()
            self._task = None

    def broken(self, end: socket.socket) -> None:
        """One end was reset: what was under way is lost, and the other end is reset after the link's delay."""
        how = "reset by the server" if end is self._server else "reset by the client"
        self._quiet()
        if self.link.seconds:
            self._reset = self._loop.call_later(self.link.seconds, self.cut, how)
        else:
            self.cut(how)

    def flowed(self) -> None:
        """A FIN was passed on; with both of them the connection is over."""
        if all(flow.over for flow in self._flows):
            self._close(socket.socket.close, "ended")

    def cut(self, how: str) -> None:
        """Reset both ends."""
        self._close(reset, how)

    def _close(self, closing: Callable[[socket.socket], None], how: str) -> None:
        self._quiet()
        for end in (self._client, self._server):
            if end is not None:
                self._loop.remove_reader(end)
                closing(end)
        self._ended(self, how)

    def _quiet(self) -> None:
        for flow in self._flows:
            flow.stop()
        if self._reset is not None:
            self._reset.cancel()
            self._reset = None
        if self._task is not None:
            self._task.cancel()
            self._task = None
