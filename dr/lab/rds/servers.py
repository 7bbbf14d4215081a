"""What the API needs of the PostgreSQL servers behind it.

``key`` is an instance's DbiResourceId. Every method blocks until it is done and raises DrError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class LogFile:
    """A server's log: name as the API shows it, size in bytes, last write in epoch seconds."""

    name: str
    size: int
    written: float


@dataclass(frozen=True, slots=True)
class Standby:
    """The standby of a Multi-AZ instance, as its primary sees it; while that cannot be asked, as it was seen last.

    ``synchronous``: every COMMIT that the primary confirmed is on its disk, so that it may be promoted. It ends with
    ``degrade`` alone, not with the connection. ``silent``: seconds since it last said anything; about 1 at most where
    all is well.
    """

    streaming: bool
    synchronous: bool
    silent: float

    @property
    def takes_all(self) -> bool:
        """Whether every acknowledged write is on it, and it is there now."""
        return self.streaming and self.synchronous


Condition = Literal["running", "hung", "dead", "full", "gone"]
"""Of an instance's primary. hung: its processes are there and stand still. dead: they are not, and may be started.
full: its disk is. gone: its host, or its disk, is not there."""


class Servers(Protocol):
    """Servers by key. An instance's ``port`` is its endpoint: it leads to whichever server is its primary now.

    ``restore``, ``restore_to`` and ``replicate`` of an instance that is there replace all its servers.
    """

    @property
    def version(self) -> str:
        """The PostgreSQL version they run, "15.8"."""

    def create(self, key: str, port: int, master: str, password: str, database: str | None) -> None:
        """A new, empty server; started."""

    def restore(self, key: str, port: int, backup: str) -> None:
        """A server from a backup, as it was at the backup's end; started."""

    def restore_to(self, key: str, port: int, backup: str, source: str, at: float) -> None:
        """A server from a backup of ``source`` and ``source``'s archive, replayed up to ``at``; started."""

    def start(self, key: str) -> None: ...

    def stop(self, key: str) -> None: ...

    def running(self, key: str) -> bool: ...

    def delete(self, key: str) -> None:
        """Stop it and remove its files; its archive stays."""

    def delete_archive(self, key: str) -> None: ...

    def trim_archive(self, key: str, backup: str | None) -> None:
        """Remove from ``key``'s archive what lies before a backup of it; None: everything."""

    def set_password(self, key: str, user: str, password: str) -> None: ...

    def backup(self, key: str, name: str) -> float:
        """A physical backup of a running server. Returns the time of the last transaction in it."""

    def delete_backup(self, name: str) -> None: ...

    def complete_archive(self, key: str) -> None:
        """Have the archive get what a server finished right before it crashed."""

    def archive_now(self, key: str) -> None:
        """Have the archive cover the present moment within a moment, instead of within seconds."""

    def restorable(self, key: str, backup: str) -> float | None:
        """The last whole second that a backup of ``key`` and its archive truly cover; None: none. May take a while."""

    def logs(self, key: str) -> Sequence[LogFile]: ...

    def read_log(self, key: str, name: str, offset: int) -> bytes:
        """A log file's content from ``offset``. Raises FileNotFoundError."""

    # Multi-AZ

    def add_standby(self, key: str) -> None:
        """A standby that cannot be read; blocks until it streams and every COMMIT waits for it.

        One that is there, or was fenced, becomes it again; where its host is lost, another is made.
        """

    def drop_standby(self, key: str) -> None:
        """Single-AZ from here on; writes go on."""

    def standby(self, key: str) -> Standby | None:
        """Within about a second. None: there is none, or the one there was is fenced."""

    def degrade(self, key: str) -> None:
        """Go on without the standby: no COMMIT waits for it, it is not promoted. Undone by ``add_standby``."""

    def condition(self, key: str) -> Condition:
        """Of the primary; within about a second."""

    def fail_over(self, key: str) -> float:
        """Fence the primary, promote the standby, lead the endpoint to it. Returns the seconds that it took.

        The fenced server is kept aside. Raises RefusedError, nothing being done, where no standby is synchronous:
        what was confirmed would be lost.
        """

    def rejoin(self, key: str) -> None:
        """The fenced server becomes the synchronous standby. Raises RefusedError where its host is not back."""

    # Read replicas

    def replicate(self, key: str, port: int, source: str) -> None:
        """A readable replica of another instance, asynchronous; blocks until it streams."""

    def promote(self, key: str) -> None:
        """A replica becomes an ordinary server; what linked it with its source ends."""

    def follow(self, key: str, source: str) -> None:
        """A replica streams from ``source``'s primary, after a failover of it or instead of another source."""

    def lag(self, key: str) -> float | None:
        """ReplicaLag in seconds, within about a second; -1.0 where it does not stream. None: it is no replica."""
