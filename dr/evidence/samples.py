"""Probes and writes on disk: the formats of samples-PATH.jsonl and markers-PATH.jsonl, written and read here alone.

Each start of a meter appends a header, its lines and, when it ends by itself, a footer ``{"end", "last", ...}``. A
start that follows another in the same file is a further segment: its numbers go on, and where the machine was booted
in between, its monotonic times are moved onto the first header's clock by way of wall time. A line torn by a kill is
left out. A write stands as indeterminate from before it is sent, so that a kill leaves no write unaccounted for; the
newest line of a number and attempt holds.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from dr.domain.model import Stamp
from dr.evidence.model import Marker, Markers, Sample, Samples, Timed
from dr.host.decode import OBJECT, line_of, opened, wrong

ACKNOWLEDGED, FAILED, INDETERMINATE = "acknowledged", "failed", "indeterminate"
OWN_REFUSAL = "pooler-full-own"
"""The word for a refusal of the pooler's that the meter's own connections may have brought about: it says nothing."""
TIMEOUT = "timeout"
"""The error of what had no answer in time, of a sample and of a marker."""
TAIL = 65_536
"""Bytes read from the end of a file to learn how far it is."""
AGE = 7 * 86_400 * 10**9
"""Nanoseconds within which all of a segment was measured: a run takes hours, and may be gone on with at any time."""
AHEAD = 100_000
"""How far a number may lie beyond twice the lines before it: a meter leaves none out."""
LONGEST = 65_536
"""Bytes of a line: a meter's are some hundred. One that is longer is read in pieces, none of which is a line."""


class Header(msgspec.Struct, omit_defaults=True):
    """A segment's first line; with the database clock's ``offset`` and ``uncertainty``, in seconds, for markers."""

    path: str
    rate: Annotated[float, msgspec.Meta(ge=1e-9, le=1e6)]
    timeout: Annotated[float, msgspec.Meta(gt=0.0, le=1e6)]
    stamp: Stamp
    offset: Annotated[float, msgspec.Meta(ge=-1e11, le=1e11)] = 0.0
    uncertainty: Annotated[float, msgspec.Meta(ge=-1e11, le=1e11)] = 0.0


SAMPLE, MARKER = msgspec.json.Decoder(Sample), msgspec.json.Decoder(Marker)
TIMED, HEADER = msgspec.json.Decoder(Timed), msgspec.json.Decoder(Header)
Line = TypeVar("Line", bound=Timed)


def samples_file(run: Path, path: str) -> Path:
    return run / f"samples-{path}.jsonl"


def markers_file(run: Path, path: str) -> Path:
    return run / f"markers-{path}.jsonl"


def header(
    path: str, rate: float, timeout: float, stamp: Stamp, offset: float = 0.0, uncertainty: float = 0.0
) -> bytes:
    """A ``Header`` as a line."""
    return msgspec.json.encode(Header(path, rate, timeout, stamp, offset, uncertainty)) + b"\n"


_GOLDEN = {True: b', "golden": true', False: b', "golden": false', None: b""}


def sample_line(
    n: int, due: int, sent: int, done: int, status: int, error: str, late: int, golden: bool | None = None
) -> bytes:
    """One probe. ``error`` is a word of the prober's own, so that it needs no escaping."""
    return b'{"n": %d, "due": %d, "sent": %d, "done": %d, "status": %d, "error": "%b", "late": %d%b}\n' % (
        n,
        due,
        sent,
        done,
        status,
        error.encode(),
        late,
        _GOLDEN[golden],
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


def load_samples(path: Path, faults: list[str] | None = None) -> Samples | None:
    """A path's probes, by number, or None where there is no file or no whole header in it.

    ``faults`` gets what is wrong with its lines.
    """
    return samples_of(_whole(path, SAMPLE, faults))


def load_markers(path: Path, faults: list[str] | None = None) -> Markers | None:
    """Every write of a path, by number and attempt; else as ``load_samples``."""
    return markers_of(_whole(path, MARKER, faults))


def _whole(path: Path, shape: msgspec.json.Decoder[Line], faults: list[str] | None) -> Growing[Line]:
    file = Growing(path, shape)
    file.more()
    if faults is not None:
        faults.extend(file.faults)
    return file


def samples_of(file: Growing[Sample], last: float = math.inf) -> Samples | None:
    """What was read of ``file`` up to number ``last``; None before its header was."""
    if (head := file.header) is None:
        return None
    return Samples(head.path, head.rate, head.timeout, head.stamp, file.lines(last), _processor(file.path))


def markers_of(file: Growing[Marker], last: float = math.inf) -> Markers | None:
    """As ``samples_of``."""
    if (head := file.header) is None:
        return None
    measured = head.path, head.rate, head.timeout, head.stamp
    return Markers(*measured, head.offset, head.uncertainty, file.lines(last), _processor(file.path))


class Growing(Generic[Line]):
    """A meter's file that may still be written: every reading goes on where the one before it ended.

    ``header``: the first one, on whose stamp's clock all times are; None before it was read. ``faults``: what is wrong
    with lines that are none of a meter's, by file and line; a torn one is none of them.
    """

    def __init__(self, path: Path, shape: msgspec.json.Decoder[Line]) -> None:
        self.path, self._shape = path, shape
        self._at = self._shift = 0
        self._newest: dict[tuple[int, int], Line] = {}
        self._lines = self._began = 0
        self.faults: list[str] = []
        self.header: Header | None = None

    def lines(self, last: float = math.inf) -> tuple[Line, ...]:
        """The newest line of every number up to ``last`` and of every attempt, in their order."""
        return tuple(line for _, line in sorted(self._newest.items(), key=itemgetter(0)) if line.n <= last)

    def more(self) -> list[Line]:
        """What was added: whole lines, beyond the first header. Read one at a time: files may be large."""
        added: list[Line] = []
        with suppress(OSError), opened(self.path) as file:  # what cannot be read was not measured
            file.seek(self._at)
            for line in iter(partial(file.readline, LONGEST), b""):
                if not line.endswith(b"\n") and len(line) < LONGEST:
                    break  # torn, or not whole yet
                self._at += len(line)
                self._take(line, added)
        self._newest.update(((line.n, getattr(line, "attempt", 0)), line) for line in added)
        return added

    def _take(self, line: bytes, added: list[Line]) -> None:
        """Whatever is neither a header nor of the shape counts as not measured, which never helps a verdict."""
        self._lines += line.endswith(b"\n")
        if not line.endswith(b"\n"):
            return
        found = line_of(line, self._shape) if self.header is not None else None
        if found is not None and (far := self._far(found, len(added))):
            self._blame(far)
        elif found is not None:
            added.append(_moved(found, self._shift) if self._shift else found)
        elif (head := line_of(line, HEADER)) is not None:
            self._begin(head)
        elif "end" not in (told := line_of(line, OBJECT) or {}) and (
            why := wrong(line, HEADER if "stamp" in told else self._shape)
        ):
            self._blame(why)

    def _blame(self, why: str) -> None:
        self.faults.append(f"{self.path.name}, line {self._lines}, is not what a meter writes: {why}")

    def _far(self, line: Line, added: int) -> str:
        """Why a line lies too far from the others to be a meter's; "" where it does not."""
        if line.n > 2 * (len(self._newest) + added) + AHEAD:
            return f"it is number {line.n}, and almost none came before it"
        self._began = self._began or line.due
        far = any(abs(at - self._began) > AGE for at in (line.due, line.sent, line.done) if at)
        return "it is of another time than the first of its meter" if far else ""

    def _begin(self, header: Header) -> None:
        self.header = self.header or header
        first, own = self.header.stamp, header.stamp
        aside = first.mono_ns + round((own.at - first.at) * 1e9) - own.mono_ns
        self._shift, self._began = 0 if own.boot == first.boot else aside, 0


def _moved(line: Line, shift: int) -> Line:
    """With its times on the first clock; 0 stays "never"."""
    times = {name: getattr(line, name) for name in ("due", "sent", "done")}
    return replace(line, **{name: at + shift for name, at in times.items() if at})


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
            file.seek(max(0, file.seek(0, 2) - TAIL))
            tail = file.read().splitlines(keepends=True)
    except OSError:
        return None
    whole = (line_of(line, OBJECT) for line in reversed(tail) if line.endswith(b"\n"))
    return next((found for found in whole if found is not None and has in found), None)


def next_number(path: Path) -> int:
    """The number that a further segment begins with: one past the greatest so far."""
    return max((line.n for line in Growing(path, TIMED).more()), default=-1) + 1


def ends_whole(path: Path) -> bool:
    """Whether the file ends with a whole line (or does not exist), so that a line can be appended as it is."""
    if not path.exists() or not path.stat().st_size:
        return True
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"
