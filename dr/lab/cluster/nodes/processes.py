"""The processes of a node's containers: started, told to end, and gone with all that they started.

A container's process leads a session of its own, and dies with the agent (PR_SET_PDEATHSIG), so that it is started by a
thread that lives as long as the agent. What it started and left behind comes to the agent, its subreaper, and is known
by the variable ``MARK``; what is left of a killed agent comes to the supervisor.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import psutil

from dr.domain.errors import ProviderError
from dr.host.children import die_with_parent

MARK = "DR_LAB_CONTAINER"
PR_SET_CHILD_SUBREAPER = 36
ACCOUNT = "nobody"
PAGE = os.sysconf("SC_PAGE_SIZE")
Key: TypeAlias = tuple[str, str, int]
"""A pod's uid, a container's name, and the number of its attempt."""


def keep_orphans() -> None:
    """Let processes whose parent died become this one's children."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


@dataclass(frozen=True, slots=True)
class Launch:
    """What a process is started with. ``account``: not as root."""

    line: list[str]
    environment: Mapping[str, str]
    directory: Path
    log: Path
    account: bool = False


class Processes:
    """A node's. ``tell`` is called by another thread with the key and the exit code of each that ended."""

    def __init__(self, tell: Callable[[Key, int], None]) -> None:
        self._tell = tell
        self._running: dict[Key, subprocess.Popen[bytes]] = {}

    def start(self, key: Key, launch: Launch) -> None:
        """Raises ProviderError where the program cannot be started."""
        marked = {**launch.environment, MARK: _mark(key)}
        identity = _unprivileged() if launch.account and os.geteuid() == 0 else {}
        output = os.open(launch.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            child = subprocess.Popen(
                launch.line,
                env=marked,
                cwd=launch.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent(),
                **identity,
            )
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "an argument holds a zero byte"
            raise ProviderError(f"exec: {launch.line[0]}: {why}") from None
        finally:
            os.close(output)
        self._running[key] = child
        threading.Thread(target=self._await, args=(key, child), daemon=True).start()

    def signal(self, key: Key, number: int) -> None:
        """To the process itself; SIGKILL to all of its group. Harmless where it has ended."""
        child = self._running.get(key)
        if child is not None and child.returncode is None:
            with suppress(ProcessLookupError):
                (os.killpg if number == signal.SIGKILL else os.kill)(child.pid, number)

    def memory(self, key: Key) -> int:
        """Bytes that a container has in memory, all of its processes together."""
        child = self._running.get(key)
        return 0 if child is None else sum(map(_resident, _family(child.pid)))

    def forget(self, key: Key) -> None:
        """A container has ended: end what it left."""
        self._running.pop(key, None)
        for stray in _marked(_mark(key)):
            with suppress(psutil.Error):
                stray.kill()
                stray.wait(timeout=1)

    def _await(self, key: Key, child: subprocess.Popen[bytes]) -> None:
        code = child.wait()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        self._tell(key, code if code >= 0 else 128 - code)


def run_once(line: list[str], launch: Launch, seconds: float) -> tuple[bool, str]:
    """Run a command as a probe does: whether it ended with 0 within so many ``seconds``, and why not. For any thread:
    it is ended here, and does not outlive the agent by more than these seconds."""
    identity = _unprivileged() if launch.account and os.geteuid() == 0 else {}
    try:
        done = subprocess.run(
            ["timeout", "--signal=KILL", str(seconds), *line],
            env=dict(launch.environment),
            cwd=launch.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            **identity,
        )
    except OSError as error:
        return False, f"{line[0]}: {error.strerror}"
    return done.returncode == 0, f"command ended with {done.returncode}"


def _unprivileged() -> dict[str, Any]:
    found = pwd.getpwnam(ACCOUNT)
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}


def _mark(key: Key) -> str:
    return "/".join(map(str, key))


def _family(pid: int) -> Iterator[int]:
    """A process and its descendants. From the kernel's lists: others of the machine are not looked at."""
    yield pid
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                yield from _family(int(child))


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


def _marked(mark: str) -> list[psutil.Process]:
    """This process's descendants that are of one container."""
    found = []
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if one.environ().get(MARK) == mark:
                found.append(one)
    return found
