"""Processes by name: "PID:STARTTIME", never the pid alone, since pids are used again."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dr.domain.errors import ProviderError

PROC = Path("/proc/self/stat")
PR_SET_PDEATHSIG = 1
END_SECONDS = 5.0
"""For a process that was killed."""


def started(pid: int) -> str:
    """When process ``pid`` was started, in a form that only compares; "" where there is none, or only a zombie."""
    stat = Path(f"/proc/{pid}/stat")
    if PROC.exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        return "" if fields[0] in "ZX" else fields[19]  # ticks since boot: unlike psutil's, no wall clock is in it
    import psutil

    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return ""


def identity(pid: int) -> str:
    """ "PID:STARTTIME" of a living process: what ``lives`` takes. Raises ProviderError where there is none."""
    when = started(pid)
    if not when:
        raise ProviderError(f"There is no process {pid}.")
    return f"{pid}:{when}"


def lives(who: str) -> bool:
    """Whether the very process that ``who`` names still runs; a later one with the same pid is another."""
    pid, _, when = who.partition(":")
    return pid.isdigit() and bool(when) and started(int(pid)) == when


def die_with_parent() -> Callable[[], None] | None:
    """What a child runs before its command: the kernel is to kill it when this process dies. None off Linux."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # loaded before the fork: loading after it may deadlock
    parent = os.getpid()

    def before() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return before


def end(who: str) -> bool:
    """Kill the very process that ``who`` names, and the group that it leads. Returns whether it ran, and is gone.

    Raises ProviderError where it does not end.
    """
    pid = int(who.partition(":")[0])
    if not lives(who):
        return False
    with suppress(ProcessLookupError):
        (os.killpg if os.getpgid(pid) == pid else os.kill)(pid, signal.SIGKILL)
    until = time.monotonic() + END_SECONDS
    while lives(who):
        if time.monotonic() > until:
            raise ProviderError(f"Process {pid} does not end, not even when killed.", "See what it waits for.")
        time.sleep(0.02)
    return True
