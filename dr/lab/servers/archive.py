"""What an archive of WAL truly covers, read from the archive itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from dr.domain.errors import ProviderError
from dr.lab.servers.binaries import Binaries
from dr.lab.servers.settings import SEGMENT_BYTES

_PER_FILE_ID = 0x1_0000_0000 // SEGMENT_BYTES
_COMMIT = re.compile(r"desc: COMMIT(?:_PREPARED \d+:)? (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC")
_NAME = re.compile(r"[0-9A-F]{24}")
_HISTORY = re.compile(r"[0-9A-F]{8}\.history")


def position(lsn: str) -> int:
    """A place in the WAL as a number, from PostgreSQL's "X/Y"."""
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


def segment_name(timeline: int, place: int) -> str:
    """The name of the segment file that holds ``place``."""
    number = place // SEGMENT_BYTES
    return f"{timeline:08X}{number // _PER_FILE_ID:08X}{number % _PER_FILE_ID:08X}"


def next_segment(name: str) -> str:
    """The name of the segment after ``name``."""
    number = int(name[8:16], 16) * _PER_FILE_ID + int(name[16:24], 16) + 1
    return segment_name(int(name[:8], 16), number * SEGMENT_BYTES)


def unbroken(names: set[str], first: str, later: Sequence[tuple[int, int]] = ()) -> list[str]:
    """The segments from ``first`` on without a hole: what recovery can replay. Pure.

    ``later``: timelines and the places where they begin, in order, as recovery follows them. A segment in which one
    begins is the new timeline's: the old one's goes on with what no server has any more.
    """
    found = []
    name = _followed(first, later)
    while name in names:
        found.append(name)
        name = _followed(next_segment(name), later)
    return found


def _followed(name: str, later: Sequence[tuple[int, int]]) -> str:
    for timeline, begins in later:
        if timeline > int(name[:8], 16) and name[8:] >= segment_name(timeline, begins)[8:]:
            name = f"{timeline:08X}{name[8:]}"
    return name


def history(text: str, timeline: int) -> list[tuple[int, int]]:
    """Timelines and the places where they begin, from the text of ``timeline``'s history file. Pure."""
    lines = [line.split("\t") for line in text.splitlines() if line[:1].isdigit()]
    ends = [(int(words[0]), position(words[1])) for words in lines if len(words) > 1]
    return [(to, end) for (_, end), (to, _) in zip(ends, [*ends[1:], (timeline, 0)], strict=True)]


def latest_history(archive: Path) -> list[tuple[int, int]]:
    """The newest timeline's history in an archive, which recovery follows."""
    try:
        newest = max(path for path in archive.iterdir() if _HISTORY.fullmatch(path.name))
        return history(newest.read_text(), int(newest.name[:8], 16))
    except (OSError, ValueError):
        return []


def hand_over(data: Path, archive: Path, timeline: int, own: Callable[[Path], None]) -> None:
    """Have a promoted server archive what its dead primary finished and did not; the archive has no hole then.

    A standby holds for archived what it received. ``timeline``: the one that the server began. ``own``: gives a file
    to the server's account.
    """
    wal = data / "pg_wal"
    begins = dict(history((wal / f"{timeline:08X}.history").read_text(), timeline))[timeline]
    kept = segments(archive)
    for name in segments(wal):
        # What was there once and was trimmed is not wanted again.
        newest = max((one for one in kept if one[:8] == name[:8]), default="")
        if int(name[:8], 16) >= timeline or name[8:] >= segment_name(timeline, begins)[8:] or name <= newest:
            continue
        _offer(wal, name, own)
        _status(wal, name, "done").unlink(missing_ok=True)


def complete(data: Path, present: str, own: Callable[[Path], None]) -> None:
    """Have a server that crashed archive what it had finished right before, and not noted to be finished.

    PostgreSQL itself looks for such a segment only when it is to be removed, and the archive has a hole until then.
    ``present``: the segment that the server writes now. ``own``: as above.
    """
    wal = data / "pg_wal"
    for name in segments(wal):
        noted = any(_status(wal, name, word).exists() for word in ("ready", "done"))
        if name[:8] == present[:8] and name < present and not noted:
            _offer(wal, name, own)


def _offer(wal: Path, name: str, own: Callable[[Path], None]) -> None:
    ready = _status(wal, name, "ready")
    ready.touch()
    own(ready)


def _status(wal: Path, name: str, word: str) -> Path:
    return wal / "archive_status" / f"{name}.{word}"


def segments(archive: Path) -> set[str]:
    """Names of the whole segments in an archive; an archive that cannot be read covers nothing."""
    try:
        return {path.name for path in archive.iterdir() if _NAME.fullmatch(path.name)}
    except OSError:
        return set()


def trim(archive: Path, first: str | None) -> None:
    """Remove the segments before ``first``, of whatever timeline; None: all. Raises ProviderError."""
    try:
        for path in archive.iterdir():
            name = path.name
            if _NAME.match(name) and (first is None or name[8:24] < first[8:24]):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise ProviderError(f"The archive {archive} cannot be trimmed: {error.strerror}.") from None


def commit_times(binaries: Binaries, directory: Path, arguments: list[str]) -> list[float]:
    """Commit times (epoch seconds) in a stretch of WAL that pg_waldump's ``arguments`` name.

    A record that goes on in a segment which is not there is not counted: pg_waldump stops before it.
    """
    answer = binaries.run("pg_waldump", ["--path", str(directory), "--rmgr", "Transaction", *arguments])
    return [
        datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp() for match in _COMMIT.finditer(answer.stdout)
    ]


class Coverage:
    """How far an archive reaches. Remembers what it read, since a finished segment never changes."""

    def __init__(self, binaries: Binaries, archive: Path) -> None:
        self._binaries = binaries
        self._archive = archive
        self._newest: dict[str, float | None] = {}

    def until(self, first: str) -> float | None:
        """The newest commit that recovery reaches from segment ``first`` on; None where it reaches none.

        A target time at or before it, and after the base backup, can be restored.
        """
        for name in reversed(unbroken(segments(self._archive), first, latest_history(self._archive))):
            if name not in self._newest:
                try:
                    times = commit_times(self._binaries, self._archive, [name])
                except ProviderError:
                    return None
                self._newest[name] = max(times, default=None)
            newest = self._newest[name]
            if newest is not None:
                return newest
        return None
