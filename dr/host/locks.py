"""Locks between processes: files that their user alone can open, and that say who holds them.

Whoever can open a file can hold a lock on it, and so keep everybody else waiting: hence 0600, also of one that was
there before.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from dr.domain.errors import DrError, RefusedError
from dr.host.children import alive, identity
from dr.host.signals import say

TELL_SECONDS = 1.0
"""After so long it is said who is waited for."""
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.1
"""Seconds between two tries."""

_held: list[int] = []
"""Of the locks that this process holds and that say so: their open files."""


def opened(path: Path) -> int:
    """``path`` to read and write, made where it is not there, and closed to every other user. Raises OSError."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if os.fstat(file).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        with suppress(PermissionError):  # another user's own, who let this one in
            os.fchmod(file, 0o600)
    return file


def directory(path: Path) -> None:
    """Make ``path``, or close it to every other user where it is there. Raises OSError."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        path.chmod(0o700)


def taken(file: int, seconds: float, waiting: Callable[[], None] = lambda: None) -> bool:
    """Lock an open file, trying for ``seconds``. Returns whether it was possible. ``waiting``: called once, after a
    second in vain."""
    began, pause, told = time.monotonic(), FIRST_PAUSE, False
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        waited = time.monotonic() - began
        if waited > seconds:
            return False
        if waited > TELL_SECONDS and not told:
            told = True
            waiting()
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


@contextmanager
def holding(path: Path, what: str, seconds: float, refusal: Callable[[str], DrError]) -> Iterator[None]:
    """Hold the lock ``path``, trying for ``seconds``; ``what`` it is held for stands in it. Raises ``refusal`` of who
    holds it, in words, and RefusedError where it cannot be opened."""
    while (file := _locked(path, seconds, refusal)) is None:
        pass
    _write(file, what)
    _held.append(file)
    try:
        yield
    finally:
        _held.remove(file)
        os.ftruncate(file, 0)
        os.close(file)


def _locked(path: Path, seconds: float, refusal: Callable[[str], DrError]) -> int | None:
    """The open file; None where its directory was removed meanwhile: a lock on a file that is gone is worth nothing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = opened(path)
    except OSError as error:
        raise RefusedError(f"{path} cannot be opened: {error.strerror}.", "See whose it is.") from None
    if not taken(file, seconds, lambda: say(f"{path.name} is held by {holder(path)}; it is waited for.")):
        os.close(file)
        raise refusal(holder(path))
    with suppress(FileNotFoundError):
        if path.stat().st_ino == os.fstat(file).st_ino:
            return file
    os.close(file)
    return None


def note(what: str) -> None:
    """What all locks of this process are held for, once that is known."""
    for file in _held:
        _write(file, what)


def _write(file: int, what: str) -> None:
    held = {"who": identity(os.getpid()), "since": time.time(), "what": what}
    with suppress(OSError):  # a full disk keeps nobody from holding it: only its name is then not known
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(held).encode(), 0)


def holder(path: Path) -> str:
    """Who holds the lock ``path``, in words."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        held = json.loads(path.read_bytes())
        who, at = str(held["who"]), datetime.fromtimestamp(float(held["since"]), UTC)
        if alive(who):  # else what stands there is of an earlier one
            return f"process {who.partition(':')[0]} ({held['what']}, since {at:%Y-%m-%d %H:%M:%S} UTC)"
    return "a process that does not say which it is"
