"""What can happen to one server and its host, each with its undo.

All but ``Slowness`` keep nothing in memory, so that another process may undo them. ``Server.remove`` ends a server
under any of them.

- A lost host: ``Server.kill``; its undo is ``Server.start``.
- A hung host: ``hang``, ``resume``. - An engine crash: ``crash_backend`` (it restarts in place by itself),
  ``crash_postmaster`` (undo: ``Server.start``). - A full disk: ``fill_disk``, ``free_disk``. - A disk that is gone:
  ``take_disk``, ``return_disk``. - Slow queries: ``Slowness``.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import psycopg

from dr.domain.errors import ProviderError, RefusedError, UsageError
from dr.lab.servers import process
from dr.lab.servers.postgres import Server
from dr.lab.servers.settings import SEGMENT_BYTES

FULL_AT = SEGMENT_BYTES - 8192
"""A file's greatest length on a full disk: no WAL segment can be made or filled to its end."""
CLIENT = re.compile(r"^postgres: (?!walsender )\S+ \S+ (\[local\]|\d+\.\d+\.\d+\.\d+)")
"""The title of a process that serves a client's session."""


def hang(server: Server) -> None:
    """Let everything on its host stand still: ports accept, and nothing answers. Raises RefusedError."""
    for root in _running(server):
        process.suspend_tree(root)


def resume(server: Server) -> None:
    """Undo ``hang``. Harmless where nothing stands still."""
    for root in server.roots():
        process.resume_tree(root)


def crash_backend(server: Server) -> None:
    """SIGKILL one session's process: PostgreSQL ends all others and recovers in place, by itself.

    Returns when the first session has broken. Raises RefusedError, and ProviderError where no session is to be had.
    """
    _running(server)
    with server.connect() as session:
        os.kill(session.info.backend_pid, signal.SIGKILL)
        # The session ends with it.
        with suppress(psycopg.Error):
            session.execute("SELECT pg_sleep(5)")


def crash_postmaster(server: Server) -> None:
    """SIGKILL the postmaster alone; its children end by themselves, and nothing restarts them. Undo: ``Server.start``.

    Returns when they have ended. Raises RefusedError.
    """
    postmaster = _running(server)[0]
    children = postmaster.children(recursive=True)
    postmaster.kill()
    for one in (postmaster, *children):
        # What holds on would keep the memory that the next start needs.
        if not process.ended(one, 5.0):
            process.kill_tree(one)


def fill_disk(server: Server) -> None:
    """Let writes fail as on a full disk: no file of the server's grows beyond ``FULL_AT``.

    What it truly is: RLIMIT_FSIZE on the server's processes. PostgreSQL meets EFBIG ("File too large") where a full
    disk gives ENOSPC, and does the same: a table that has to grow fails its statement alone; WAL that cannot be written
    is a PANIC, a crash recovery, and, while the disk stays full, sooner or later the end of the server. Unlike a full
    disk it also refuses to overwrite what lies beyond ``FULL_AT`` in longer files, and does not stop small ones. A
    server that is started anew is free of it. Raises RefusedError where it does not run, or there is no such limit.
    """
    _running(server)
    _limit_files(server, str(FULL_AT))


def free_disk(server: Server) -> None:
    """Undo ``fill_disk``. A server that ended of it is for the caller to start. Harmless where nothing is full."""
    if server.pid() is not None:
        _limit_files(server, "unlimited")


def _limit_files(server: Server, longest: str) -> None:
    """Set the limit for a server's processes, new ones included: each inherits its parent's."""
    limited: set[int] = set()
    while fresh := [one for one in _tree(server.roots()[:1]) if one.pid not in limited]:
        for one in fresh:
            limited.add(one.pid)
            _prlimit(server, one, longest)


def _prlimit(server: Server, one: process.Process, soft: str) -> None:
    """Under the servers' account: root may do so only where it has a capability that containers often lack."""
    account = server.site.binaries.account
    try:
        answer = subprocess.run(
            ["prlimit", "--pid", str(one.pid), f"--fsize={soft}:"],
            capture_output=True,
            text=True,
            check=False,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except OSError:
        raise RefusedError(
            "There is no program prlimit.", "Install util-linux; on other systems there is none."
        ) from None
    if answer.returncode and process.alive(one.pid, "postgres"):
        raise ProviderError(
            f"The files of PostgreSQL on port {server.port} cannot be limited: {answer.stderr.strip()}."
        )


def take_disk(server: Server, patience: float = 10.0) -> bool:
    """Take all its data away, under its feet; return whether it failed of that by itself.

    Its files are moved out of the data directory, where each process works: whatever it opens next is not there. A
    primary is made to write, which ends it; what has not ended after ``patience`` seconds (a standby that receives
    nothing writes nothing) is killed. Its log stays. Raises RefusedError where it does not run.
    """
    roots = _running(server)
    with ExitStack() as stack:
        session = None
        with suppress(ProviderError):
            session = stack.enter_context(server.connect())
        _move(server.data, server.site.make_directory(server.lost))
        if session is not None:
            with suppress(psycopg.Error):
                session.execute("SELECT pg_switch_wal()")
                session.execute("CHECKPOINT")
    alone = process.ended(roots[0], patience)
    for root in roots:
        process.kill_tree(root)
    return alone


def return_disk(server: Server) -> None:
    """Undo ``take_disk``: the data are as they were when they went; starting the server is for the caller.

    Harmless where nothing was taken. Raises ProviderError where it cannot be brought back.
    """
    if server.lost.exists():
        _move(server.lost, server.data)
        server.lost.rmdir()


def _move(source: Path, destination: Path) -> None:
    """Move all that is in a directory; of the same name, what is moved holds. Raises ProviderError."""
    try:
        for path in list(source.iterdir()):
            place = destination / path.name
            if place.is_dir():
                shutil.rmtree(place)
            path.replace(place)
    except OSError as error:
        raise ProviderError(f"{source} could not be moved: {error.strerror}.", "Look at what holds it.") from None


class Slowness(threading.Thread):
    """Makes every session of a server slow: its process stands still for ``share`` of each ``period`` seconds.

    A long statement so takes 1 / (1 - share) times as long, and a short one up to ``share * period`` seconds longer.
    Queries, locks and COMMITs are slow together, as on a host that is short of CPU. ``stop`` ends it; no session stands
    still for longer than a period, unless this process is killed: ``resume`` helps then. Raises UsageError.
    """

    def __init__(self, server: Server, share: float, period: float = 0.1) -> None:
        super().__init__(name=f"slowness-{server.port}", daemon=True)
        if not 0 < share < 1:
            raise UsageError(f"A share of {share} of the time is not between 0 and 1.")
        self._server = server
        self._stands = share * period
        self._runs = period - self._stands
        self._over = threading.Event()

    def run(self) -> None:
        sessions = _sessions(self._server)
        while not self._over.is_set():
            until = time.monotonic() + self._stands
            _each(sessions, signal.SIGSTOP)
            # Looking for new ones takes a while, which is none of the time that they may run.
            found = _sessions(self._server)
            self._over.wait(max(0.0, until - time.monotonic()))
            _each(sessions, signal.SIGCONT)
            sessions = found
            self._over.wait(self._runs)

    def stop(self) -> None:
        self._over.set()
        self.join(timeout=30)


def _sessions(server: Server) -> list[process.Process]:
    """The processes that serve clients. Asked of the system: the server itself may hold its answer back."""
    found = []
    with suppress(psutil.Error, IndexError):
        for child in server.roots()[0].children():
            with suppress(psutil.Error):
                if CLIENT.match(" ".join(child.cmdline())):
                    found.append(child)
    return found


def _each(members: list[process.Process], number: signal.Signals) -> None:
    for member in members:
        with suppress(psutil.Error):
            member.send_signal(number)


def _tree(roots: list[process.Process]) -> list[process.Process]:
    found = list(roots)
    for root in roots:
        with suppress(psutil.Error):
            found += root.children(recursive=True)
    return found


def _running(server: Server) -> list[process.Process]:
    """The postmaster, and the front where there is one. Raises RefusedError where it does not run."""
    if server.pid() is None:
        raise RefusedError(f"PostgreSQL on port {server.port} does not run.", "Start it first.")
    return server.roots()
