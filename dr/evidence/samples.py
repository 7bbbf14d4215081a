"""Probes and writes on disk: the formats of samples-PATH.jsonl and markers-PATH.jsonl, written and read here alone.

Each start of a meter appends a header, its lines and, when it ends by itself, a footer ``{"end", "last", ...}``. A
start that follows another in the same file is a further segment: its numbers go on, and where the machine was booted
in between, its monotonic times are moved onto the first header's clock by way of wall time. A line torn by a kill is
left out. A write stands as indeterminate from before it is sent, so that a kill leaves no write unaccounted for; the
newest line of a number and attempt holds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from dr.domain.model import Stamp
from dr.evidence.model import Marker, Markers, Sample, Samples
from dr.host.decode import OBJECT, line_of, opened

ACKNOWLEDGED, FAILED, INDETERMINATE = "acknowledged", "failed", "indeterminate"
OWN_REFUSAL = "pooler-full-own"
"""The word for a refusal of the pooler's that the meter's own connections may have brought about: it says nothing."""
TIMEOUT = "timeout"
"""The error of what had no answer in time, of a sample and of a marker."""
TAIL = 65_536
"""Bytes read from the end of a file to learn how far it is."""
SAMPLE, MARKER = msgspec.json.Decoder(Sample), msgspec.json.Decoder(Marker)
LONGEST = 65_536
"""Bytes of a line: a meter's are some hundred. One that is longer is read in pieces, none of which is a line."""

Line = TypeVar("Line", Sample, Marker)
Read = TypeVar("Read")


def samples_file(run: Path, path: str) -> Path:
    return run / f"samples-{path}.jsonl"


def markers_file(run: Path, path: str) -> Path:
    return run / f"markers-{path}.jsonl"


def header(
    path: str, rate: float, timeout: float, stamp: Stamp, offset: float | None = None, uncertainty: float | None = None
) -> bytes:
    """A segment's first line; with the database clock's ``offset`` and ``uncertainty``, in seconds, for markers."""
    document: dict[str, Any] = {"path": path, "rate": rate, "timeout": timeout}
    if offset is not None:
        document |= {"offset": offset, "uncertainty": uncertainty}
    document["stamp"] = {"at": stamp.at, "mono_ns": stamp.mono_ns, "boot": stamp.boot}
    return json.dumps(document).encode() + b"\n"


def sample_line(n: int, due: int, sent: int, done: int, status: int, error: str, late: int) -> bytes:
    """One probe. ``error`` is a word of the prober's own, so that it needs no escaping."""
    return b'{"n": %d, "due": %d, "sent": %d, "done": %d, "status": %d, "error": "%b", "late": %d}\n' % (
        n,
        due,
        sent,
        done,
        status,
        error.encode(),
        late,
    )


def marker_line(
    n: int, due: int, sent: int, done: int, outcome: str, attempt: int = 0, error: str = "", late: int = 0
) -> bytes:
    """One write, or its being attempted: then ``done`` is 0 and the outcome indeterminate. ``error``: a word."""
    return (
        b'{"n": %d, "attempt": %d, "due": %d, "sent": %d, "done": %d, "outcome": "%b", "error": "%b", "late": %d}\n'
        % (n, attempt, due, sent, done, outcome.encode(), error.encode(), late)
    )


def footer(why: str, last: int, **own: object) -> bytes:
    """A segment's last line: why the meter ended, the last number it took up, and what it says of itself."""
    return json.dumps({"end": why, "last": last, **own}).encode() + b"\n"


def load_samples(path: Path) -> Samples | None:
    """A path's probes, by number, or None where there is no file or no whole header in it."""
    file = growing_samples(path)
    samples, first = _newest_of(file.more()), file.header
    if first is None:
        return None
    named = str(first["path"]), float(first["rate"]), float(first["timeout"])
    return Samples(*named, file.start, samples, _processor(path))


def load_markers(path: Path) -> Markers | None:
    """Every write of a path, by number and attempt, or None where there is no file or no whole header in it."""
    file = growing_markers(path)
    markers, first = _newest_of(file.more()), file.header
    if first is None:
        return None
    offset, uncertainty = float(first.get("offset", 0.0)), float(first.get("uncertainty", 0.0))
    return Markers(
        *(str(first["path"]), float(first["rate"]), float(first["timeout"]), file.start),
        *(offset, uncertainty, markers, _processor(path)),
    )


class Growing(Generic[Read]):
    """A meter's file that may still be written: every reading goes on where the one before it ended.

    ``header``: the first one, None before it was read. ``start``: its stamp, on whose clock all times are.
    """

    def __init__(
        self, path: Path, make: Callable[[dict[str, Any], int], Read], plain: msgspec.json.Decoder[Read] | None = None
    ) -> None:
        """``make``: what becomes of a line, given the nanoseconds by which its times are moved. ``plain``: the same of
        a line whose times are not, and several times as fast: there are a hundred lines a second."""
        self._path, self._make, self._plain = path, make, plain
        self._at = self._shift = 0
        self.header: dict[str, Any] | None = None
        self.start = Stamp(0.0, 0, "")

    def more(self) -> list[Read]:
        """What was added: whole lines, beyond the first header. Read one at a time: files may be large."""
        added: list[Read] = []
        with suppress(OSError), opened(self._path) as file:  # what cannot be read was not measured
            file.seek(self._at)
            for line in iter(partial(file.readline, LONGEST), b""):
                if not line.endswith(b"\n") and len(line) < LONGEST:
                    break  # torn, or not whole yet
                self._at += len(line)
                self._take(line, added)
        return added

    def skip(self) -> None:
        """Pass over all but the newest lines, those in the last ``TAIL`` bytes, and the first header."""
        with suppress(OSError), opened(self._path) as file:
            while self.header is None and (line := file.readline(LONGEST)).endswith(b"\n"):
                self._at += len(line)
                self._take(line, [])
            late = file.seek(0, 2) - TAIL
            if late > self._at:
                file.seek(late)
                file.readline(LONGEST)  # the rest of one that begins before
                self._at = file.tell()

    def _take(self, line: bytes, added: list[Read]) -> None:
        if self._plain is not None and self.header is not None and not self._shift and line.endswith(b"\n"):
            try:
                added.append(self._plain.decode(line))
            except (ValueError, RecursionError):
                pass  # it is none of the plain ones: a header, a footer, or torn
            else:
                return
        found = _parsed(line)
        if found is None:
            return
        if _heads(found):
            self._begin(found)
        elif "due" in found and self.header is not None:
            with suppress(KeyError, TypeError, ValueError):
                added.append(self._make(found, self._shift))
            # A line that is no probe counts as not measured, which never helps a verdict.

    def _begin(self, header: dict[str, Any]) -> None:
        own = _stamp(header["stamp"])
        if self.header is None:
            self.header, self.start = header, own
        aside = self.start.mono_ns + round((own.at - self.start.at) * 1e9) - own.mono_ns
        self._shift = 0 if own.boot == self.start.boot else aside


def growing_samples(path: Path) -> Growing[Sample]:
    """The probes in the file at ``path``."""
    return Growing(path, _sample, SAMPLE)


def growing_markers(path: Path) -> Growing[Marker]:
    """The writes in the file at ``path``; one that was begun and is over is there twice."""
    return Growing(path, _marker, MARKER)


def _newest_of(lines: Iterable[Line]) -> tuple[Line, ...]:
    """The newest line of every number and attempt, in their order."""
    newest = {_key(line): line for line in lines}
    return tuple(newest[key] for key in sorted(newest))


def _key(line: Sample | Marker) -> tuple[int, int]:
    return (line.n, line.attempt if isinstance(line, Marker) else 0)


def last_line(path: Path) -> dict[str, Any] | None:
    """The newest whole line that is a probe or a write, or None. Reads the end of the file alone."""
    return _newest(path, "due")


def _processor(path: Path) -> float | None:
    """What the newest footer says of the meter's share of a processor."""
    found = (_newest(path, "end") or {}).get("processor")
    return float(found) if isinstance(found, int | float) else None


def _newest(path: Path, has: str) -> dict[str, Any] | None:
    try:
        with opened(path) as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL))
            tail = file.read().splitlines(keepends=True)
    except OSError:
        return None
    return next((found for line in reversed(tail) if (found := _parsed(line)) is not None and has in found), None)


def next_number(path: Path) -> int:
    """The number that a further segment begins with: one past the greatest so far."""
    return max(Growing(path, lambda line, _: int(line["n"])).more(), default=-1) + 1


def ends_whole(path: Path) -> bool:
    """Whether the file ends with a whole line (or does not exist), so that a line can be appended as it is."""
    if not path.exists() or not path.stat().st_size:
        return True
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The line's object, or None where it is torn or none."""
    return line_of(line, OBJECT) if line.endswith(b"\n") else None


def _heads(line: dict[str, Any]) -> bool:
    """Whether a line is a header whose numbers are numbers; any other is none, and what follows it is not measured."""
    try:
        _stamp(line["stamp"])
        for name in ("rate", "timeout", "offset", "uncertainty"):
            float(line.get(name, 0.0))
    except (KeyError, TypeError, ValueError):
        return False
    return {"path", "rate", "timeout"} <= line.keys()


def _stamp(found: dict[str, Any]) -> Stamp:
    return Stamp(float(found["at"]), int(found["mono_ns"]), str(found["boot"]))


def _at(value: Any, shift: int) -> int:
    """A time on the first clock; 0 stays "never"."""
    return int(value) + shift if value else 0


def _sample(line: dict[str, Any], shift: int) -> Sample:
    return Sample(
        n=int(line["n"]),
        due=_at(line["due"], shift),
        sent=_at(line["sent"], shift),
        done=_at(line["done"], shift),
        status=int(line["status"]),
        error=str(line["error"]),
        late=int(line["late"]),
    )


def _marker(line: dict[str, Any], shift: int) -> Marker:
    return Marker(
        n=int(line["n"]),
        due=_at(line["due"], shift),
        sent=_at(line["sent"], shift),
        done=_at(line["done"], shift),
        outcome=str(line["outcome"]),
        attempt=int(line.get("attempt", 0)),
        error=str(line.get("error", "")),
        late=int(line.get("late", 0)),
    )
