"""What stands behind an instance: its nodes, each a server with a directory and a port of its own, and their parts."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import psycopg

from dr.domain.errors import RefusedError
from dr.lab.rds.servers import Condition, Standby
from dr.lab.rds.wires import Stream, Wire
from dr.lab.servers.postgres import Heartbeat, Server
from dr.lab.servers.replication import Upstream
from dr.lab.servers.site import Site, free_port

T = TypeVar("T")


@dataclass(eq=False)
class Node:
    """A server on a host of its own.

    ``slot``: its name where it streams from. ``stream``: the wire it streams through; None: it does not.
    ``is_lost``: its host is. ``is_full``: its disk is. ``is_spared``: it was not fenced, which is sabotage.
    """

    name: str
    server: Server
    slot: str
    stream: Stream | None = None
    is_lost: bool = False
    is_full: bool = False
    is_spared: bool = False

    @property
    def upstream(self) -> Upstream:
        assert self.stream is not None  # noqa: S101 - who asks has just opened it
        return Upstream(self.stream.directory, self.stream.port, self.slot)

    def condition(self) -> Condition:
        """Read from its processes and files: nobody waits for an answer that may not come."""
        if self.is_lost or self.server.lost.exists():
            return "gone"
        if self.is_full:
            return "full"
        if not self.server.is_running():
            return "dead"
        return "hung" if self.stands_still() else "running"

    def stands_still(self) -> bool:
        """Whether its processes do, as on a host that hangs."""
        try:
            return any(root.status() == psutil.STATUS_STOPPED for root in self.server.roots()[:1])
        except psutil.Error:
            return False

    def require_host(self) -> None:
        """Raises RefusedError where its host is lost or hangs, or is not to be had."""
        if self.is_lost or self.stands_still():
            raise RefusedError(f"The host of {self.slot} is not back.", "Wait until it is.")
        if self.is_spared:
            raise RefusedError(f"The server {self.slot} goes on by itself.", "Keep the old primary no longer.")


@dataclass(eq=False)
class Nodes:
    """An instance's nodes.

    ``aside``: the former primary that a failover fenced. ``is_synchronous``: every COMMIT that was confirmed is on
    the standby's disk, so that it may be promoted; it ends before COMMITs stop waiting. ``source``: a replica's.
    ``lock``: held while the parts change.
    """

    key: str
    endpoint: Wire
    primary: Node
    standby: Node | None = None
    aside: Node | None = None
    is_synchronous: bool = False
    source: str | None = None
    keeps_old_primary: bool = False
    """Sabotage: the next failover fences nothing."""
    heart: Heartbeat | None = None
    seen: Standby = field(default_factory=lambda: Standby(False, False, 0.0))
    """The standby as it was seen last, and ``seen_at`` when, in monotonic seconds."""
    seen_at: float = 0.0
    lock: threading.RLock = field(default_factory=threading.RLock)
    asking: Asking = field(default_factory=lambda: Asking())

    def __iter__(self) -> Iterator[Node]:
        return (one for one in (self.primary, self.standby, self.aside) if one is not None)

    def beat(self) -> None:
        """Heartbeats on the primary, and nowhere else."""
        if self.heart is None:
            self.heart = Heartbeat(self.primary.server)
            self.heart.start()

    def hush(self, limit: float = 2.0) -> None:
        """End them. One that waits for a standby, or for a server that hangs, ends with its server."""
        heart, self.heart = self.heart, None
        if heart is not None:
            heart.stop(limit)


Question = Callable[[psycopg.Connection[Any]], T]


class Kept:
    """A session of a server's superuser that is kept: a log-in costs more than the questions asked again and again."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.thread: threading.Thread | None = None
        self._session: psycopg.Connection[Any] | None = None
        self._over = False

    def ask(self, question: Question[T]) -> T | None:
        """The answer; None where there is none. One that broke since the last question is opened anew."""
        for session in (self._session, None):
            try:
                self._session = session or self.server.session()
                return question(self._session)
            except psycopg.Error:
                self._end()
                if session is None:
                    break
            finally:
                if self._over:
                    self._end()
        return None

    def close(self) -> None:
        """It ends, or does so once what was asked last is answered."""
        self._over = True
        if self.thread is None or not self.thread.is_alive():
            self._end()

    def _end(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()


class Asking:
    """Questions to servers that may never answer: one at a time, and nobody waits longer than ``limit`` seconds."""

    def __init__(self) -> None:
        self._kept: Kept | None = None
        self._turn = threading.Lock()

    def ask(self, server: Server, question: Question[T], limit: float) -> T | None:
        """The answer; None where there is none in time, or where the server still owes the one before."""
        answers: list[T | None] = []
        with self._turn:
            kept = self._of(server)
            if kept.thread is not None and kept.thread.is_alive():
                return None
            kept.thread = mine = threading.Thread(target=lambda: answers.append(kept.ask(question)), daemon=True)
            mine.start()
        mine.join(limit)
        return answers[0] if answers else None

    def _of(self, server: Server) -> Kept:
        if self._kept is None or self._kept.server is not server:
            self._drop()
            self._kept = Kept(server)
        return self._kept

    def close(self) -> None:
        with self._turn:
            self._drop()

    def _drop(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None


def place(site: Site, key: str) -> Path:
    """The directory of an instance's nodes."""
    return site.directory / "instances" / key


def new_node(site: Site, key: str, name: str, archive: Path) -> Node:
    """A node with an empty directory and a free port. ``name``: of lower-case letters."""
    server = Server(site, place(site, key) / name, free_port(), archive)
    return Node(name, server, re.sub("[^a-z0-9_]", "_", f"{key}_{name}".lower()))


def next_name(nodes: Nodes) -> str:
    """A name that no node of the instance has; so its slot is new, too."""
    taken = {one.name for one in nodes}
    return next(name for name in "abcdef" if name not in taken)


def remove(site: Site, key: str) -> None:
    """Remove an instance's directory; its servers have ended."""
    shutil.rmtree(place(site, key), ignore_errors=True)


def monotonic() -> float:
    return time.monotonic()
