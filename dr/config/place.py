"""DR_HOME as a place on disk: whether this user can use it, and that nobody else can read it."""

from __future__ import annotations

import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path

from dr.domain.errors import RefusedError, UsageError

ROOM = 4096
"""Bytes that are written to see that anything can be."""
OTHERS = 0o077
OWN = ("runs", "locks", "profiles", "baselines", "lab", "defects.log")
"""What dr keeps in it."""
CROSSED = ("lab",)
"""What the account of the lab's servers has to pass through: it may be crossed by others, and not read."""
MEND = "set DR_HOME to another place."


def check_entered(path: Path) -> None:
    """Raises UsageError where DR_HOME is no directory, RefusedError where this user may not read and enter it. Without
    that nobody knows what is in it: nothing may be taken to be absent. One that is not there yet is no mistake."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise UsageError(
            f"DR_HOME is {path}, and a part of that is a file.", "Name a directory, or unset it."
        ) from None
    except OSError as error:
        raise RefusedError(f"DR_HOME, {path}, cannot be reached: {error.strerror}.", f"Mend that, or {MEND}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise UsageError(f"DR_HOME is {path}, which is a file.", "Name a directory, or unset it.")
    if not os.access(path, os.R_OK | os.X_OK):
        owner = f"the user {found.st_uid}"
        with suppress(KeyError):
            owner = pwd.getpwuid(found.st_uid).pw_name
        what = "Run 'chmod u+rwx' on it" if found.st_uid == os.geteuid() else f"Run dr as {owner}, whose it is"
        raise RefusedError(f"DR_HOME, {path}, cannot be read and entered by this user.", f"{what}, or {MEND}")


def let_through(path: Path) -> None:
    """Make the directory ``path`` and those above it, where they are not there. Nobody else may read them. root's may
    be crossed by others: the servers of a lab then run under an account of their own. Raises OSError."""
    for missing in reversed([part for part in (path, *path.parents) if not part.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
        missing.chmod(0o711 if os.geteuid() == 0 else 0o700)  # whatever the umask is


def make_ready(path: Path) -> tuple[str, ...]:
    """Make DR_HOME where it is not there, see that it can be written, and close what is open to others in it. Returns a
    sentence for each thing that others can read and this user cannot close. Raises RefusedError where nothing can be
    written: so it is said before anything is begun."""
    probe = path / f".probe.{os.getpid()}"
    try:
        let_through(path)
        with os.fdopen(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(bytes(ROOM))
            file.flush()
            os.fsync(file.fileno())
        probe.unlink()
    except OSError as error:
        with suppress(OSError):
            probe.unlink()
        raise RefusedError(
            f"Nothing can be written in DR_HOME, {path}: {error.strerror}.", f"Give it access and space, or {MEND}"
        ) from None
    return tuple(filter(None, (_close(path / name) for name in OWN)))


def _close(path: Path) -> str:
    """Take from others what they may do with ``path``. Returns why they still may, in a sentence, or ""."""
    closed = 0o066 if path.name in CROSSED else OTHERS
    try:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & closed and not path.is_symlink():
            path.chmod(mode & ~closed)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"Others can read {path}, which cannot be closed: {error.strerror}. Its owner may run 'chmod go=' on it."
    return ""
