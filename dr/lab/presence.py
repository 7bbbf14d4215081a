"""Whether this DR_HOME's lab runs, and how to reach it: the files its daemon writes for ``dr.lab.control`` to read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil

from dr.config.place import let_through
from dr.domain.errors import RefusedError
from dr.host import locks
from dr.host.decode import content, line_of
from dr.lab.servers.site import write_closed

READY = "ready"
"""The last phase: everything is there, last night's snapshot and its baseline, too."""
PREPARED = "prepared"
"""The daemon's own last phase: the target is published; the snapshot and its baseline may be missing."""


class Presence(msgspec.Struct):
    """The daemon and where it is reached. ``started``: its process's ``start``, which tells a pid given anew apart."""

    pid: int
    started: float
    phase: str
    problem: str = ""
    """Why it could not be brought up; ``exit_code`` is that error's."""
    exit_code: int = 0
    api: str = ""
    control: int = 0
    """Loopback port that ``dr.lab.control`` speaks to."""
    service: str = ""
    service_pid: int = 0
    service_started: float = 0.0
    pooler: int = 0
    """PgBouncer's loopback port; 0: there is none."""
    prometheus: str = ""
    """Its URL; "": there is none."""
    kubernetes: str = ""
    """The API server's URL; "": there is none."""
    kubeconfig: str = ""
    """The file by which an administrator reaches it."""
    programs: tuple[str, ...] = ()
    """The folders of kubectl and Velero."""
    absent: tuple[str, ...] = ()
    """Sentences on what is not installed, and what the lab does without it."""
    account: str = ""
    region: str = ""
    patients: int = 0
    added: tuple[str, ...] = ()
    """What a loaded dump lacked and the service needs."""


PRESENCE = msgspec.json.Decoder(Presence)


def read(directory: Path) -> Presence | None:
    """What the daemon wrote last; None where there is nothing, or nothing whole. Raises RefusedError: unreadable."""
    hint = "Make it readable, or set DR_HOME to another place."
    found = content(directory / "daemon.json", error=RefusedError, hint=hint)
    return None if found is None else line_of(found, PRESENCE)


def write(directory: Path, presence: Presence) -> None:
    write_closed(directory / "daemon.json", msgspec.json.encode(presence).decode())


def start(of: psutil.Process) -> float:
    """Seconds from the machine's boot to a process's start: no other time of it stays when the clock is set.

    Raises psutil.Error.
    """
    return of.create_time() - psutil.boot_time()


def process(pid: int, started: float) -> psutil.Process | None:
    """The process with this pid and ``start``, if it lives."""
    try:
        found = psutil.Process(pid)
        if abs(start(found) - started) > 0.5 or found.status() == psutil.STATUS_ZOMBIE:
            return None
        return found
    except psutil.Error:
        return None


def daemon(presence: Presence | None) -> psutil.Process | None:
    """The daemon's process, if it lives."""
    return process(presence.pid, presence.started) if presence is not None else None


@contextmanager
def holding(path: Path, patience: float) -> Iterator[None]:
    """Hold the lock file ``path``; raises RefusedError where somebody still has it after ``patience`` seconds."""

    def refusal(holder: str) -> RefusedError:
        return RefusedError(
            f"Another process is bringing up or running the lab of {path.parent}: {holder}.", "Wait for it, or end it."
        )

    let_through(path.parent)
    with locks.holding(path, "the lab", patience, refusal):
        yield
