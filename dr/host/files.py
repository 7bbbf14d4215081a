"""Writing a file whole or not at all."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dr.domain.errors import DrError, EvidenceError
from dr.host.decode import DEPTH

WRAPPED = 8
"""Levels that a line of evidence has around what it is given."""


def writable(value: Any, levels: int = DEPTH - WRAPPED) -> Any:
    """``value`` so that it is JSON and can be read back: what others answered stands in the evidence as it came. JSON
    has no number without end, which becomes null, as does what is nested too deep; half a surrogate becomes "?"."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {writable(key): writable(part, levels - 1) for key, part in value.items()} if levels else None
        case list() | tuple():
            return [writable(part, levels - 1) for part in value] if levels else None
        case _:
            return value


def listed(directory: Path, error: type[DrError] = EvidenceError, hint: str = "") -> list[Path]:
    """What is in ``directory``, by name; nothing where there is none. Raises ``error`` where it cannot be listed. A
    glob takes a directory that may not be read for an empty one."""
    try:
        return sorted(directory / name for name in os.listdir(directory))
    except FileNotFoundError:
        return []
    except OSError as failed:
        raise error(f"{directory} cannot be listed: {failed.strerror}.", hint) from None


def write_atomically(path: Path, content: bytes, like: os.stat_result | None = None) -> None:
    """Replace ``path`` so that a reader, or a kill, sees the old content or the new, whole. Its owner and mode are
    those of ``like``; else it is its user's alone. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)  # of a killed process with this one's number
    try:
        # Whatever the umask of whoever runs dr is. Made anew: where others may write the directory, what stands there
        # may be theirs, or a link to another file.
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            if like is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(like.st_mode))
                if (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(file.fileno(), like.st_uid, like.st_gid)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
