"""Statements over PostgreSQL connections that never block: each has an end, and none waits for another's server.

One thread drives libpq directly, since only so a connection is opened, used and given up without waiting, and every
warning is seen.

A statement that finds no connection waits for one, at most its time-out. Connections are opened one at a time, so that
a server that comes back is met by few; where the ones there are hang, further ones are opened evenly spread over a
time-out, so that whatever answers first is found by the next one. An opening that failed speaks for all statements
that were waiting when it began. A statement that hangs is given up at the time-out. Past a pooler its server is asked
to cancel, so that it is not left with sessions that wait for nobody. Its connection stays, and serves again once it is
answered; it is closed where its place is needed. Of all that, an endpoint gets no more than its ``Limits`` allow.
"""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from time import monotonic_ns
from typing import Protocol

import psycopg
from psycopg import pq

from dr.drivers.postgres.meter.answers import POOLER_FULL, Answer, opening_failed, outcome
from dr.drivers.postgres.meter.limits import Limits
from dr.drivers.postgres.meter.login import Addresses, Login
from dr.evidence.samples import FAILED, INDETERMINATE, OWN_REFUSAL, TIMEOUT
from dr.meter.loop import AWAKE, SECOND, Lines

KEEP, IDLE = 4, 8
"""Connections kept open at least, as far as the limits go, and idle ones at most."""
PAUSE, POOLED_PAUSE, SPARE = SECOND // 50, SECOND // 10, 4
"""Nanoseconds after an opening that failed, the same where a pooler said so, which has a log-in's work with each, and
how often the processor's time for it, until the next one."""
Handle = Callable[[int], None]
"""What to do at a time, when a connection is ready for it."""
DONE = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)


class Task:
    """One statement. Times in monotonic nanoseconds; ``sent`` is 0 until it is."""

    __slots__ = ("attempt", "due", "late", "n", "over", "sent", "taken", "until")

    def __init__(self, n: int, due: int, now: int, timeout: int, attempt: int = 0) -> None:
        self.n, self.attempt, self.due, self.taken = n, attempt, due, max(due, now)
        self.late, self.until = max(0, now - due), max(due, now) + timeout
        self.sent = 0
        self.over = False


@dataclass(slots=True, eq=False)
class Session:
    """A connection that carries one statement at a time.

    ``task``: None also where the statement that it carries was given up. ``cancelled``: a cancel is on its way, which
    may meet any later statement, too. ``unsent``: it waits for room to write, too. ``socket``: once it is open.
    """

    pg: pq.abc.PGconn
    began: int
    until: int
    task: Task | None = None
    cancelled: bool = False
    answers: list[Answer] = field(default_factory=list)
    warnings: list[bytes] = field(default_factory=list)
    unsent: bool = True
    spent: int = 0
    socket: int = -1


class Listener(Protocol):
    """Who is told what becomes of a statement."""

    def sending(self, task: Task) -> None:
        """``task`` is sent when this returns."""

    def over(self, task: Task, now: int, outcome: str, word: str) -> None:
        """``outcome`` as the markers have it; ``word``: why it was not acknowledged."""


@dataclass(frozen=True)
class Settings:
    """``statement`` with the parameters that ``params`` makes of a task, within ``timeout`` seconds. ``logins``: where
    it goes, in turn; ``limits``: of each of them."""

    logins: Sequence[Login]
    statement: bytes
    params: Callable[[Task], Sequence[bytes]]
    timeout: float
    limits: Limits


class Queries:
    """Statements to all endpoints in turn. Who derives from it says what becomes of one: ``over``, and ``sending``."""

    def __init__(self, settings: Settings, lines: Lines) -> None:
        """Raises ProviderError where an endpoint's name is unknown."""
        self._endpoints = [_Endpoint(settings, login, self) for login in settings.logins]
        self._timeout = round(settings.timeout * SECOND)
        self.lines = lines

    def sending(self, task: Task) -> None:
        """Nothing is noted: a query that nobody heard of again changed nothing."""

    def over(self, task: Task, now: int, outcome: str, word: str) -> None:
        raise NotImplementedError

    def take(self, n: int, due: int, now: int) -> None:
        self.submit(Task(n, due, now, self._timeout))

    def submit(self, task: Task) -> None:
        """Send ``task`` as soon as a connection is free; a repetition only where nothing else waits."""
        self._endpoints[task.n % len(self._endpoints)].submit(task)

    def turn(self, until: int) -> None:
        """Wait for answers until ``until``, or the next time-out if that is sooner, and handle what came."""
        now = monotonic_ns()
        reading: dict[int, Handle] = {}
        writing: dict[int, Handle] = {}
        for endpoint in self._endpoints:
            until = min(until, endpoint.next_event(now))
            reading |= endpoint.open
            for fd, writes, handle in endpoint.watched():
                (writing if writes else reading)[fd] = handle
        seconds = max(0, until - monotonic_ns() - AWAKE) / SECOND
        readable, writable, _ = select.select([*reading], [*writing], [], seconds)
        now = monotonic_ns()
        for handle in [*map(writing.__getitem__, writable), *map(reading.__getitem__, readable)]:
            handle(now)
        for endpoint in self._endpoints:
            endpoint.tend(now)

    def warm(self) -> None:
        """Have connections open before the first statement is due, as far as that goes within the time-out."""
        until = monotonic_ns() + self._timeout
        while (now := monotonic_ns()) < until and any(e.warming(now) for e in self._endpoints):
            self.turn(min(until, now + SECOND // 100))

    def finish(self) -> None:
        """Await what is under way, close all connections, and write it all down."""
        while any(endpoint.pending for endpoint in self._endpoints):
            self.turn(monotonic_ns() + self._timeout)
        for endpoint in self._endpoints:
            endpoint.close()
        self.lines.flush()


class _Endpoint:
    """The connections to one endpoint, and what waits for them."""

    def __init__(self, settings: Settings, login: Login, listener: Listener) -> None:
        self._settings, self._login, self._listener = settings, login, listener
        self._timeout = round(settings.timeout * SECOND)
        self._limits = settings.limits
        self._keep = min(KEEP, self._limits.sessions)
        self._spacing = self._timeout // self._limits.sessions
        self._addresses = Addresses(login.host)
        self._conninfo: tuple[tuple[str, ...], bytes] = ((), b"")
        self._flying: deque[Task] = deque()  # in the order of their time-outs
        self._waiting: deque[Task] = deque()
        self._repeated: deque[Task] = deque()
        self._opening: list[Session] = []
        self._idle: list[Session] = []
        self._busy: list[Session] = []
        self.open: dict[int, Handle] = {}
        """By file descriptor, what to do when an open connection says something."""
        self._cancels: list[tuple[pq.abc.PGcancelConn, int, bool]] = []
        self._lingering: deque[int] = deque()
        """Until when each of those counts that were closed without an answer."""
        self._pause = self._opened = 0

    @property
    def pending(self) -> bool:
        return any(not task.over for task in self._flying)

    def warming(self, now: int) -> bool:
        """Open connections until there are enough; False when there are, or when one could not be opened."""
        if self._pause or len(self._idle) >= self._keep:
            return False
        if not self._opening:
            self._open(now)
        return True

    def submit(self, task: Task) -> None:
        self._flying.append(task)
        (self._repeated if task.attempt else self._waiting).append(task)
        self._dispatch(task.taken)

    # -- what is waited for

    def next_event(self, now: int) -> int:
        """The next time-out, or when a connection may be opened for what waits."""
        until = self._flying[0].until if self._flying else now + self._timeout
        for session in self._opening:
            until = min(until, session.until)
        if self._cancels:
            until = min(until, self._cancels[0][1])
        return min(until, self._openable()) if self._wanted() else until

    def watched(self) -> Iterator[tuple[int, bool, Handle]]:
        """Beside those that are open: each file descriptor, whether to write, and what to do when that can be done."""
        for session in self._opening:
            yield session.pg.socket, session.unsent, partial(self._advance, session)
        for session in self._busy:
            if session.unsent:
                yield session.socket, True, partial(self._flush, session)
        for at, (cancel, _, writes) in enumerate(self._cancels):
            yield cancel.socket, writes, partial(self._go_on_cancelling, at)

    def tend(self, now: int) -> None:
        """Give up what is overdue, and send what waits."""
        while self._flying and (self._flying[0].over or self._flying[0].until <= now):
            task = self._flying.popleft()
            if not task.over:
                self._give_up(task, now)
        for session in [s for s in self._opening if s.until <= now] if self._opening else ():
            session.until = self._closable(now)
            if session.until <= now:
                self._opening.remove(session)
                self._close_unheard(session, now)
        if self._cancels:
            self._cancels = [one for one in self._cancels if self._still_cancelling(one, now)]
        self._dispatch(now)

    def _dispatch(self, now: int) -> None:
        while self._waiting and (self._waiting[0].over or self._idle):
            if not (task := self._waiting.popleft()).over:
                self._send(self._idle.pop(), task)  # the one used last: the least likely to be closed by now
        while self._repeated and not self._waiting and (self._repeated[0].over or self._idle):
            if not (task := self._repeated.popleft()).over:
                self._send(self._idle.pop(), task)
        if self._wanted() and self._openable() <= now:
            if self._live >= self._limits.sessions:
                given_up = next(s for s in self._busy if s.task is None)
                self._busy.remove(given_up)
                self._close_unheard(given_up, now)
            self._open(now)

    # -- opening

    @property
    def _live(self) -> int:
        return len(self._opening) + len(self._idle) + len(self._busy)

    def _wanted(self) -> bool:
        """Whether one more connection is: for what waits, or so that there are enough."""
        live = self._live
        if not self._waiting and (live >= self._keep or not (self._repeated or self._idle)):
            return False
        full = live >= self._limits.sessions and all(s.task is not None for s in self._busy)
        return not full and len(self._opening) < self._limits.openings

    def _openable(self) -> int:
        """From when on one may be opened."""
        alone = self._live < self._keep and not self._opening
        if alone:
            return self._pause
        closable = self._closable(self._opened) if self._live >= self._limits.sessions else 0
        return max(self._pause, self._opened + self._spacing, closable)

    def _open(self, now: int) -> None:
        if self._conninfo[0] != (addresses := self._addresses.now) or not self._conninfo[1]:
            self._conninfo = addresses, self._login.conninfo(self._settings.timeout, addresses).encode()
        session = Session(pq.PGconn.connect_start(self._conninfo[1]), now, now + self._timeout)
        self._opened = now
        if session.pg.status == pq.ConnStatus.BAD:
            self._refused(session, now)
        else:
            self._opening.append(session)

    def _advance(self, session: Session, now: int) -> None:
        began = monotonic_ns()
        polled = session.pg.connect_poll()
        session.spent += monotonic_ns() - began
        session.unsent = polled == pq.PollingStatus.WRITING
        if polled == pq.PollingStatus.FAILED:
            self._opening.remove(session)
            self._refused(session, now)
        elif polled == pq.PollingStatus.OK:
            self._opening.remove(session)
            session.pg.nonblocking = 1
            session.pg.notice_handler = partial(_noticed, session.warnings)
            session.socket, self._pause = session.pg.socket, 0
            self.open[session.socket] = partial(self._heard, session)
            self._idle.append(session)

    def _refused(self, session: Session, now: int) -> None:
        """Whoever had been waiting when ``session`` began to be opened has failed with it: none of it was sent."""
        word = opening_failed(session.pg.get_error_message())
        session.pg.finish()
        least = self._spacing if word == POOLER_FULL else POOLED_PAUSE if self._login.pooled else PAUSE
        self._pause = now + max(least, SPARE * session.spent)
        if word == POOLER_FULL and not self._limits.known:
            word = OWN_REFUSAL
        for task in [t for t in (*self._waiting, *self._repeated) if not t.over and t.taken <= session.began]:
            self._end(task, now, FAILED, word)

    # -- sending, and what comes of it

    def _send(self, session: Session, task: Task) -> None:
        session.task, session.answers = task, []
        session.warnings.clear()
        task.sent = monotonic_ns()
        self._listener.sending(task)
        self._busy.append(session)
        try:
            session.pg.send_query_params(self._settings.statement, self._settings.params(task))
            session.unsent = session.pg.flush() == 1
        except psycopg.Error:
            self._conclude(session, monotonic_ns(), usable=False)

    def _flush(self, session: Session, _now: int) -> None:
        with suppress(psycopg.Error):  # what broke is seen when it is read
            session.unsent = session.pg.flush() == 1

    def _heard(self, session: Session, now: int) -> None:
        if session in self._busy:
            self._read(session, now)
        elif session in self._idle:  # else it was closed within this turn
            self._look(session)

    def _read(self, session: Session, now: int) -> None:
        broken = not _consumed(session)
        with suppress(psycopg.Error):
            while not session.pg.is_busy():
                if (result := session.pg.get_result()) is None:
                    status = session.pg.status, session.pg.transaction_status
                    usable = status == (pq.ConnStatus.OK, pq.TransactionStatus.IDLE) and not broken
                    self._conclude(session, now, usable)
                    return
                answer = _answer(result)
                if answer.done or answer.sqlstate:
                    session.answers.append(answer)
                else:
                    broken = True  # libpq's own word: the connection is gone
        if broken:
            self._conclude(session, now, usable=False)

    def _conclude(self, session: Session, now: int, usable: bool) -> None:
        task, session.task = session.task, None
        self._busy.remove(session)
        if usable and not session.cancelled and len(self._idle) < IDLE:
            self._idle.append(session)
        else:
            self._close(session)
        if not usable:  # a pooler lets in whom it then turns away
            self._pause = max(self._pause, now + SPARE * session.spent)
        if task is not None:
            warned = b"WARNING" in session.warnings
            self._end(task, now, *outcome(session.answers, warned, usable))

    def _look(self, session: Session) -> None:
        """An idle connection said something: that it ends, or nothing that matters."""
        whole = _consumed(session)
        with suppress(psycopg.Error):
            session.pg.is_busy()  # so that what came is read
        if not whole or session.warnings or session.pg.status != pq.ConnStatus.OK:
            self._idle.remove(session)
            self._close(session)

    def _close(self, session: Session) -> None:
        self.open.pop(session.socket, None)
        session.pg.finish()

    def _end(self, task: Task, now: int, outcome: str, word: str) -> None:
        task.over = True
        self._listener.over(task, now, outcome, word)

    # -- giving up

    def _give_up(self, task: Task, now: int) -> None:
        session = next((s for s in self._busy if s.task is task), None)
        if session is not None:
            session.task = None
            self._cancel(session, now)
        self._end(task, now, INDETERMINATE if task.sent else FAILED, TIMEOUT)

    def _closable(self, now: int) -> int:
        """From when on a connection may be closed that waits for an answer: a pooler keeps it in its queue until then,
        and hands even a server to it."""
        while self._lingering and self._lingering[0] <= now:
            self._lingering.popleft()
        return self._lingering[0] if len(self._lingering) >= self._limits.lingering else 0

    def _close_unheard(self, session: Session, now: int) -> None:
        self._close(session)
        self._lingering.append(now + round(self._limits.patience * SECOND))

    def _cancel(self, session: Session, now: int) -> None:
        """Ask its server to cancel what it does; not where that would be one cancel more than allowed."""
        if len(self._cancels) < self._limits.cancels:
            with suppress(psycopg.Error):
                cancel = session.pg.cancel_conn()
                cancel.start()
                session.cancelled = True
                self._cancels.append((cancel, now + self._timeout, True))

    def _go_on_cancelling(self, at: int, _now: int) -> None:
        cancel, until, _ = self._cancels[at]
        polled = cancel.poll()
        over = polled in (pq.PollingStatus.OK, pq.PollingStatus.FAILED)
        self._cancels[at] = cancel, 0 if over else until, polled == pq.PollingStatus.WRITING

    def _still_cancelling(self, one: tuple[pq.abc.PGcancelConn, int, bool], now: int) -> bool:
        cancel, until, _ = one
        if until > now:
            return True
        cancel.finish()
        return False

    def close(self) -> None:
        for one in (*self._opening, *self._idle, *self._busy):
            one.pg.finish()
        for cancel, _, _ in self._cancels:
            cancel.finish()


def _noticed(warnings: list[bytes], result: pq.abc.PGresult) -> None:
    severity = result.error_field(pq.DiagnosticField.SEVERITY_NONLOCALIZED) or b""
    if severity in (b"WARNING", b"FATAL", b"PANIC"):
        warnings.append(severity)


def _consumed(session: Session) -> bool:
    """Read what is there; False where the connection broke."""
    try:
        session.pg.consume_input()
    except psycopg.Error:
        return False
    return True


def _answer(result: pq.abc.PGresult) -> Answer:
    if result.status in DONE:
        return Answer(True)

    def field(of: pq.DiagnosticField) -> str:
        return (result.error_field(of) or b"").decode(errors="replace")

    severity = field(pq.DiagnosticField.SEVERITY_NONLOCALIZED) or field(pq.DiagnosticField.SEVERITY)
    return Answer(False, severity, field(pq.DiagnosticField.SQLSTATE), field(pq.DiagnosticField.MESSAGE_PRIMARY))
