"""Processes by name, and those that outlive a call and must not outlive their session: start, find again, stop.

A process is named by "PID:STARTTIME", never by its pid alone: pids are used again. Whoever holds a pid file holds a
lock on it as long as it lives, so a second start finds the first.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec

from dr.domain.errors import HaltedError, ProviderError, RefusedError
from dr.domain.refs import Ref
from dr.host.bounded import GRACE
from dr.host.decode import content, line_of
from dr.host.hearing import heed
from dr.host.signals import CODES

ROOM = 1024
"""Bytes of a pid file, all written at once: its end can be noted in place even when the disk is full."""
CLAIM = 15.0
"""Seconds within which a started process has to hold its pid file."""
END_SECONDS = 5.0
"""For a process that was told to end, and for one that was killed."""
POLL = 0.02
LOOK = 0.25
"""Seconds between two looks at what may stand still."""
PR_SET_PDEATHSIG = 1

_children: dict[int, Fork] = {}
"""Processes that this one started: they are reaped when they end, so that none stays behind as a zombie."""


# -- who a process is


def process(call: str) -> Ref:
    """The process on this machine that ``call`` starts."""
    return Ref("host", "process", call)


def started(pid: int) -> str:
    """When process ``pid`` was started, in a form that only compares; "" where there is none, or only a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]  # ticks since boot: no wall clock is in it


def stands_still(group: int) -> bool:
    """Whether any process of the group was stopped by a signal, and does nothing until it is told to go on."""
    for place in Path("/proc").iterdir():
        with suppress(OSError):
            fields = (place / "stat").read_text().rpartition(")")[2].split() if place.name.isdigit() else ()
            if fields and fields[0] == "T" and int(fields[2]) == group:
                return True
    return False


@contextmanager
def standing_still(group: int) -> Iterator[Callable[[], float]]:
    """While this is open, a thread looks whether ``stands_still``. What is given says for how many seconds it did so
    far, to within a look; of what stopped this process, too, it sees nothing."""
    over, stood = threading.Event(), [0.0]

    def look() -> None:
        looked = time.monotonic()
        while not over.wait(LOOK):
            now = time.monotonic()
            if stands_still(group):
                stood[0] += now - looked
            looked = now

    looking = threading.Thread(target=look, name=f"looking at group {group}", daemon=True)
    looking.start()
    try:
        yield lambda: stood[0]
    finally:
        over.set()
        looking.join()


def identity(pid: int) -> str:
    """ "PID:STARTTIME" of a living process. Raises ProviderError where there is none."""
    when = started(pid)
    if not when:
        raise ProviderError(f"There is no process {pid}.")
    return f"{pid}:{when}"


def alive(who: str) -> bool:
    """Whether the very process that ``who`` names still runs; a later one with the same pid is another."""
    pid, _, when = who.partition(":")
    if not pid.isdigit():
        return False
    if (child := _children.get(int(pid))) is not None:
        child.poll()  # reaps it when it has ended
    return bool(when) and started(int(pid)) == when


def end(who: str) -> bool:
    """Kill the very process that ``who`` names, and the group that it leads. Returns whether it ran, and is gone.
    Raises ProviderError where it does not end."""
    if not alive(who):
        return False
    pid = int(who.partition(":")[0])
    with suppress(ProcessLookupError):
        (os.killpg if os.getpgid(pid) == pid else os.kill)(pid, signal.SIGKILL)
    if not _gone(who, END_SECONDS):
        raise ProviderError(f"Process {pid} does not end, not even when killed.", "See what it waits for.")
    return True


def _gone(who: str, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while alive(who):
        if time.monotonic() > until:
            return False
        time.sleep(POLL)
    return True


def die_with_parent() -> Callable[[], None]:
    """What a child runs before its command: the kernel is to kill it when this process dies."""
    prctl = ctypes.CDLL(None).prctl  # loaded before the fork: loading after it may deadlock
    parent = os.getpid()

    def before() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return before


# -- pid files


@dataclass(frozen=True)
class Held:
    """What a pid file says. ``ended``: why its process ended, "" while it runs or where it was killed."""

    who: Annotated[str, msgspec.Meta(pattern=r"^[0-9]+:")]
    owner: str
    ended: str = ""
    code: int = 0

    @property
    def pid(self) -> int:
        return int(self.who.partition(":")[0])


HELD = msgspec.json.Decoder(Held)


def held(pidfile: Path) -> Held | None:
    """What ``pidfile`` says, or None where there is none (or none yet). Raises EvidenceError where it is unreadable."""
    found = content(pidfile)
    return None if found is None else line_of(found, HELD)


def running(pidfile: Path) -> Held | None:
    """The process that holds ``pidfile`` if it lives, else None."""
    found = held(pidfile)
    return found if found is not None and alive(found.who) else None


class PidFile:
    """A pid file held by this process until it ends."""

    def __init__(self, path: Path, owner: str) -> None:
        """Claim ``path``. Raises RefusedError where another living process holds it."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise RefusedError(f"Another process holds {path.name}.", "It is still running; stop it first.") from None
        self._owner = owner
        self.conclude("")

    def conclude(self, ended: str, code: int = 0) -> None:
        """Note why this process ends, and its exit code."""
        plain = ended.encode("ascii", "replace").decode()[: ROOM // 3]
        what = Held(identity(os.getpid()), self._owner, plain, code)
        os.pwrite(self._fd, json.dumps(asdict(what)).encode().ljust(ROOM), 0)


class Fork:
    """This process once more, in a session of its own: what is imported here need not be imported again.

    It does ``work``, whose result is its exit code, and ends. What it says is added to ``log``, its user's alone. Of
    this process's open files, locks and signal handlers it has none. ``returncode`` is None while it runs.
    """

    def __init__(self, work: Callable[[], int], log: Path) -> None:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.returncode: int | None = None
        # A signal in between would be handled by the fork as if it were this process.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, CODES)
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _apart(work, output, before)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(output)

    def poll(self) -> int | None:
        """Reap it where it has ended."""
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode

    def wait(self) -> int:
        while (code := self.poll()) is None:
            time.sleep(POLL)
        return code

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def _apart(work: Callable[[], int], output: int, heard: Iterable[int]) -> NoReturn:
    code = 1
    try:
        for number in CODES:
            if signal.getsignal(number) != signal.SIG_IGN:  # as that of a hang-up under nohup
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, heard)
        gc.freeze()  # nothing of the other process's is to be collected here, and closed by that
        _children.clear()  # they are the other's
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        nothing = os.open(os.devnull, os.O_RDWR)
        for name in os.listdir("/dev/fd"):
            # Not closed: their numbers would be given anew, and whoever still holds one would write there.
            if int(name) not in (1, 2, nothing):
                os.dup2(nothing, int(name), inheritable=False)
        os.dup2(nothing, 0)  # whoever is started without an input has none, and not a closed one
        sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1, closefd=False)
        code = work()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # there is nobody above to tell it
        traceback.print_exc()
    finally:
        os._exit(code)


def begin(work: Callable[[], int], pidfile: Path, log: Path) -> Held:
    """Do ``work`` in a ``Fork``, and wait until it holds ``pidfile``. Raises ProviderError where it ends before, or
    does not hold the file in time."""
    child = Fork(work, log)
    _children[child.pid] = child
    until = time.monotonic() + CLAIM
    while time.monotonic() < until:
        found = held(pidfile)
        if found is not None and found.pid == child.pid:
            return found
        if child.poll() is not None:
            raise ProviderError(f"{pidfile.stem} ended at once: {last_words(log)}", code=str(child.returncode))
        try:
            heed(GRACE)
        except HaltedError:
            child.kill()
            raise
        time.sleep(POLL)
    child.kill()
    raise ProviderError(f"{pidfile.stem} did not start within {CLAIM:.0f} s.", f"See {log.name} in the run directory.")


def stop(pidfile: Path, grace: float = END_SECONDS) -> Held | None:
    """End the process that holds ``pidfile``, and its group: SIGTERM, then after ``grace`` seconds SIGKILL. Returns
    what the file says afterwards, None where there never was one. Raises ProviderError where it will not end."""
    found = running(pidfile)
    if found is not None:
        with suppress(ProcessLookupError):
            os.kill(found.pid, signal.SIGTERM)
        if not _gone(found.who, grace):
            end(found.who)
    return held(pidfile)


def last_words(log: Path, secrets: Sequence[str] = ()) -> str:
    """The last line of ``log`` that is not empty and holds none of ``secrets``, shortened."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    shown = (line.strip() for line in reversed(lines) if line.strip() and not any(s and s in line for s in secrets))
    return next(shown, "it said nothing.")[:300]
