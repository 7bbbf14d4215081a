"""The prober: sends requests when they are due, whatever the target does, and writes down what came of each.

One thread, sockets that never block, and ``select`` (epoll's time-outs are rounded to milliseconds). Rules it keeps:
open loop from the intended send time; due, sent and done apart; a time-out is an error and a latency of at least the
time-out; a probe that finds the pool exhausted waits and is never dropped; its own lateness is written with each
sample.
"""

from __future__ import annotations

import errno
import select
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any

from dr.domain.errors import ProviderError
from dr.evidence.samples import TIMEOUT, sample_line
from dr.meter.golden import Golden
from dr.meter.http import Endpoint, MalformedError, answer, response
from dr.meter.loop import AWAKE, SECOND, Lines

IDLE = 16
"""Connections kept open for reuse."""
STALE = SECOND // 50
"""Nanoseconds after the sending within which a reused connection shows that it had been closed while it was idle."""
ERRORS = {errno.ECONNREFUSED: "refused", errno.ECONNRESET: "reset", errno.EPIPE: "reset", errno.ETIMEDOUT: TIMEOUT}


class Probe:
    """One request on its way. Times in monotonic nanoseconds."""

    __slots__ = ("connection", "due", "late", "n", "over", "retried", "sent", "until")

    def __init__(self, n: int, due: int, now: int, timeout: int) -> None:
        self.n, self.due, self.late = n, due, max(0, now - due)
        self.until = max(due, now) + timeout
        self.sent = 0
        self.connection: Connection | None = None
        self.retried = self.over = False


class Connection:
    """A socket that carries one probe at a time."""

    __slots__ = ("probe", "received", "socket", "unsent", "used")

    def __init__(self, of: socket.socket) -> None:
        self.socket = of
        self.probe: Probe | None = None
        self.received = b""
        self.unsent = b""
        self.used = False


@dataclass(frozen=True)
class Settings:
    """What a prober is told. ``timeout`` in seconds; ``pool``: connections at once, below ``select``'s limit.

    ``golden``: of each request its golden answer; None where none is known.
    """

    to: Endpoint
    requests: Sequence[bytes]
    fields: Sequence[str]
    timeout: float
    pool: int = 128
    golden: Sequence[Golden | None] = (None,)


class Prober:
    """``write`` takes whole lines for the samples file."""

    def __init__(self, settings: Settings, write: Callable[[bytes], None]) -> None:
        self._settings = settings
        self._timeout = round(settings.timeout * SECOND)
        self._family, self._address = _resolved(settings.to)
        self._waiting: deque[Probe] = deque()
        self._flying: deque[Probe] = deque()  # in the order of their time-outs
        self._busy: dict[int, Connection] = {}
        self._opening: dict[int, Connection] = {}
        self._idle: dict[int, Connection] = {}
        self.lines = Lines(sample_line, write)

    def take(self, n: int, due: int, now: int) -> None:
        probe = Probe(n, due, now, self._timeout)
        self._flying.append(probe)
        if self._waiting or not self._send(probe):
            self._waiting.append(probe)

    def turn(self, until: int) -> None:
        """Wait for answers until ``until``, or the next time-out if that is sooner, and handle what came."""
        if self._flying:
            until = min(until, self._flying[0].until)
        seconds = max(0, until - monotonic_ns() - AWAKE) / SECOND
        readable, writable, _ = select.select([*self._busy, *self._idle], list(self._opening), [], seconds)
        now = monotonic_ns()
        for fd in writable:
            if (opening := self._opening.get(fd)) is not None:
                self._push(opening)
        for fd in readable:
            if (connection := self._busy.get(fd) or self._idle.get(fd)) is not None:
                self._read(connection, now)
        self._expire(now)
        while self._waiting and (self._waiting[0].over or self._send(self._waiting[0])):
            self._waiting.popleft()

    def _expire(self, now: int) -> None:
        while self._flying and (self._flying[0].over or self._flying[0].until <= now):
            probe = self._flying.popleft()
            if not probe.over:
                self._finish(probe, now, 0, TIMEOUT)
                if probe.connection is not None:
                    self._close(probe.connection)

    def _send(self, probe: Probe) -> bool:
        """Put ``probe`` on a connection. False where the pool is exhausted."""
        if self._idle and not probe.retried:
            _, connection = self._idle.popitem()  # the one used last: the least likely to be closed by now
        elif len(self._busy) + len(self._opening) < self._settings.pool:
            connection = Connection(socket.socket(self._family, socket.SOCK_STREAM))
            connection.socket.setblocking(False)
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            return False
        connection.probe, probe.connection = probe, connection
        connection.received, connection.unsent = b"", self._settings.requests[probe.n % len(self._settings.requests)]
        if connection.used:
            self._push(connection)
        else:
            self._open(connection)
        return True

    def _open(self, connection: Connection) -> None:
        code = connection.socket.connect_ex(self._address)
        if code in (0, errno.EINPROGRESS):
            self._opening[connection.socket.fileno()] = connection
            if code == 0:
                self._push(connection)
        else:
            self._fail(connection, ERRORS.get(code, "unreachable"))

    def _push(self, connection: Connection) -> None:
        """Send what is unsent, then wait for the answer."""
        fd = connection.socket.fileno()
        code = connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if fd in self._opening else 0
        try:
            if code:
                raise OSError(code, "")
            connection.unsent = connection.unsent[connection.socket.send(connection.unsent) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self._fail(connection, ERRORS.get(error.errno or 0, "unreachable"))
            return
        if connection.unsent:
            self._opening[fd] = connection
            return
        self._opening.pop(fd, None)
        self._busy[fd] = connection
        if connection.probe is not None:
            connection.probe.sent = monotonic_ns()

    def _read(self, connection: Connection, now: int) -> None:
        try:
            data = connection.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(connection, ERRORS.get(error.errno or 0, "reset"))
            return
        if connection.probe is None:
            self._close(connection)  # idle, and the other side closed it or speaks unasked
            return
        connection.received += data
        try:
            found = response(connection.received, closed=not data)
        except MalformedError:
            self._fail(connection, "protocol")
            return
        if found is not None:
            probe, said = connection.probe, answer(found, self._settings.fields)
            if isinstance(said, str):
                self._finish(probe, now, found.status, said)
            else:
                self._finish(probe, now, found.status, "", self._is_golden(probe.n, said))
            self._release(connection, found.reusable)
        elif not data:
            self._fail(connection, "closed")

    def _fail(self, connection: Connection, error: str) -> None:
        """The connection broke. A reused one may have been closed unseen: its probe then gets one fresh one. Later than
        at once it is the service that died under the request, which is an error and stays one."""
        probe = connection.probe
        sent = probe.sent if probe is not None else 0
        stale = connection.used and not connection.received and (not sent or monotonic_ns() - sent < STALE)
        self._close(connection)
        if probe is None:
            return
        if stale and not probe.retried:
            probe.retried, probe.connection, probe.sent = True, None, 0
            self._waiting.appendleft(probe)
        else:
            self._finish(probe, monotonic_ns(), 0, error)

    def _release(self, connection: Connection, reusable: bool) -> None:
        if not reusable or len(self._idle) >= IDLE:
            self._close(connection)
            return
        fd = connection.socket.fileno()
        self._busy.pop(fd, None)
        connection.probe, connection.received, connection.used = None, b"", True
        self._idle[fd] = connection

    def _close(self, connection: Connection) -> None:
        fd = connection.socket.fileno()
        for held in (self._busy, self._opening, self._idle):
            held.pop(fd, None)
        connection.probe = None
        connection.socket.close()

    def _is_golden(self, n: int, said: Mapping[str, Any]) -> bool | None:
        golden = self._settings.golden[n % len(self._settings.golden)]
        return golden.is_in(said) if golden is not None else None

    def _finish(self, probe: Probe, now: int, status: int, error: str, golden: bool | None = None) -> None:
        probe.over = True
        self.lines.append((probe.n, probe.due, probe.sent, now, status, error, probe.late, golden))

    def finish(self) -> None:
        """Await what is under way, and write it down."""
        while any(not probe.over for probe in self._flying):
            self.turn(monotonic_ns() + self._timeout)
        for connection in [*self._busy.values(), *self._opening.values(), *self._idle.values()]:
            self._close(connection)
        self.lines.flush()


def _resolved(to: Endpoint) -> tuple[int, tuple[object, ...]]:
    """The address family and address of the target. Raises ProviderError where its name is unknown."""
    try:
        family, _, _, _, address = socket.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ProviderError(f"The host {to.host!r} cannot be resolved: {error.strerror}.") from None
    return family, address
