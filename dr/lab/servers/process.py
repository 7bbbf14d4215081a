"""Find and end a server's processes, and no others: a recorded pid is believed only where its command line agrees."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from psutil import Process

__all__ = ["Process", "alive", "ended", "kill_tree", "recorded", "resume_tree", "suspend_tree", "unshare"]

_LIBC = ctypes.CDLL(None)
_REMOVE = 0
"""IPC_RMID."""
_MEMORY_LINE = 6
"""Of postmaster.pid, counted from 0: key and id of its segment of System V shared memory."""


def alive(pid: int, marker: str) -> Process | None:
    """The process ``pid`` if it lives and ``marker`` stands in its command line; a pid given anew is not it."""
    try:
        process = Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process if any(marker in part for part in process.cmdline()) else None
    except psutil.Error:
        return None


def recorded(path: Path) -> int | None:
    """The pid on a file's first line; None where there is none."""
    try:
        return int(path.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def unshare(path: Path) -> None:
    """Remove the shared memory that a server which was killed left, as its ``path`` (postmaster.pid) tells: nobody else
    does where no server starts in that directory again. Harmless where it left none."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        key, segment = map(int, path.read_text().split("\n")[_MEMORY_LINE].split())
        if _LIBC.shmget(ctypes.c_int(key), 0, 0) == segment:
            _LIBC.shmctl(segment, _REMOVE, None)


def kill_tree(process: Process, limit: float = 10.0) -> None:
    """SIGKILL a process and its children, and wait until they are gone."""
    # What it forked after it was listed would outlive it.
    suspend_tree(process)
    family = _family(process)
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.kill()
    for member in family:
        ended(member, limit)


def suspend_tree(process: Process, limit: float = 10.0) -> None:
    """SIGSTOP a process and all its descendants, those too that are forked meanwhile.

    Returns when all stand still, or after ``limit`` seconds for each: a process stops only once it gets a processor.
    """
    stopped: set[int] = set()
    while True:
        # Once those that were seen stand still, only a descendant that was not seen yet can still fork.
        fresh = [member for member in _family(process) if member.pid not in stopped]
        if not fresh:
            return
        for member in fresh:
            stopped.add(member.pid)
            with contextlib.suppress(psutil.Error):
                member.suspend()
        for member in fresh:
            _within(limit, functools.partial(_stands_still, member))


def resume_tree(process: Process) -> None:
    """SIGCONT a process and all its descendants. Harmless where none stands still."""
    for member in reversed(_family(process)):
        with contextlib.suppress(psutil.Error):
            member.resume()


def _family(process: Process) -> list[Process]:
    """A process, and then all its descendants."""
    with contextlib.suppress(psutil.Error):
        return [process, *process.children(recursive=True)]
    return [process]


def ended(found: Process, limit: float) -> bool:
    """Whether a process is dead within ``limit`` seconds."""
    return _within(limit, functools.partial(_is_dead, found))


def _within(limit: float, holds: Callable[[], bool]) -> bool:
    """Whether something holds within ``limit`` seconds."""
    deadline = time.monotonic() + limit
    while not holds():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True


def _stands_still(found: Process) -> bool:
    """Stopped, or dead."""
    try:
        return found.status() == psutil.STATUS_STOPPED or _is_dead(found)
    except psutil.Error:
        return True


def _is_dead(found: Process) -> bool:
    """Dead, whether or not its parent has noticed."""
    try:
        return not found.is_running() or found.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True
