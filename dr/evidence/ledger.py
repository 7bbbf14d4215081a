"""The ledger: what a run intended, did and undid, appended, fsynced and hash-chained."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from dr.domain.errors import EvidenceError, ProviderError, RefusedError
from dr.domain.model import LATEST, Component
from dr.evidence.model import Entry
from dr.host import locks
from dr.host.decode import OBJECT, content, line_of
from dr.host.files import writable
from dr.ports import Clock

GENESIS = "0" * 64
HELD_SECONDS = 30.0
"""How long it is waited for whoever holds a run, or a file of its evidence."""


@dataclass(frozen=True, slots=True)
class State:
    """What the entries add up to.

    ``effects``: results of calls that stand (not undone). ``open``: calls whose intent was never undone, newest first.
    ``began``, ``intended``: wall time of a call's first and of its newest intent that stands. ``over``: why no further
    verb may run, or "".
    ``refused``: calls that were tried once, and refused or halted before anything was asked for.
    ``resumed``: wall time at which the run was last gone on with; 0: it never was.
    """

    effects: Mapping[str, Mapping[str, Any]]
    open: tuple[str, ...]
    began: Mapping[str, float]
    intended: Mapping[str, float]
    over: str
    accepted: bool
    refused: frozenset[str] = frozenset()
    resumed: float = 0.0


def fold(entries: Iterable[Entry]) -> State:
    """The present state, from the entries alone."""
    effects: dict[str, Mapping[str, Any]] = {}
    began: dict[str, float] = {}
    intended: dict[str, float] = {}
    refused: set[str] = set()
    over, accepted, resumed = "", False, 0.0
    for entry in entries:
        match entry.kind:
            case "accepted":
                accepted = True
            case "intent":
                began.setdefault(entry.call, entry.stamp.at)
                intended[entry.call] = entry.stamp.at
                refused.discard(entry.call)
            case "effect":
                effects[entry.call] = entry.data
            case "undone":
                effects.pop(entry.call, None)
                began.pop(entry.call, None)
                intended.pop(entry.call, None)
            case "failed" | "halted":
                tried_once = entry.call in began and began[entry.call] == intended[entry.call]
                if tried_once and _is_refusal(entry):
                    refused.add(entry.call)
                over = str(entry.data.get("because", entry.kind))
            case "resumed":
                over, resumed = "", entry.stamp.at
            case _:  # undoing, event: told, not counted
                pass
    return State(effects, tuple(reversed(began)), began, intended, over, accepted, frozenset(refused), resumed)


def _is_refusal(entry: Entry) -> bool:
    """Whether a call ended before anything was asked for: in a refusal, or by a halt that came so early."""
    if entry.kind == "halted":
        return entry.data.get("begun") is False
    return entry.kind == "failed" and entry.data.get("error") == RefusedError.__name__ and not entry.data.get("begun")


def _digest(prev: str, body: Mapping[str, Any]) -> str:
    return hashlib.sha256((prev + json.dumps(body, sort_keys=True)).encode()).hexdigest()


def parse(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Entries in order, as far as the chain holds: the first line that is torn or altered ends it."""
    prev, seq = GENESIS, 0
    for line in lines:
        entry = _entry(line, prev, seq)
        if entry is None:
            return
        yield entry
        prev, seq = entry.hash, seq + 1


@lru_cache(maxsize=4096)  # the whole ledger is read at every entry
def _entry(line: bytes, prev: str, seq: int) -> Entry | None:
    """The entry of a line; None where it does not follow ``prev``."""
    raw = line_of(line, OBJECT)
    if raw is None:
        return None
    try:
        claimed = raw.pop("hash")
        if raw["prev"] != prev or raw["seq"] != seq or _digest(prev, raw) != claimed:
            return None
        return msgspec.convert({**raw, "hash": claimed}, Entry)
    except (LookupError, TypeError, msgspec.ValidationError):
        return None


def check(path: Path) -> None:
    """Raises EvidenceError where the ledger at ``path`` cannot be read, or was altered: nothing may be built on it."""
    _intact(_content(path), path)


def _content(path: Path) -> bytes:
    return content(path, hint="Restore it from a copy.") or b""


def _read(known: bytes) -> tuple[tuple[Entry, ...], int]:
    """The entries, and the bytes they take: what follows is torn or altered."""
    lines = known.splitlines(keepends=True)
    whole = [line for line in lines if line.endswith(b"\n")]
    entries = tuple(parse(whole))
    return entries, sum(len(line) for line in whole[: len(entries)])


def _intact(known: bytes, path: Path) -> tuple[tuple[Entry, ...], int]:
    """As ``_read``. Raises EvidenceError where a whole line does not belong to the chain."""
    entries, good = _read(known)
    if good < known.rfind(b"\n") + 1:
        raise EvidenceError(f"{path} was altered after entry {len(entries)}, in line {len(entries) + 1}.")
    return entries, good


def take(file: int, path: Path) -> None:
    """Lock the open ``file`` of evidence at ``path``, which nobody holds for longer than it takes to write an entry.

    Raises ProviderError that names who holds its run.
    """
    if not locks.taken(file, HELD_SECONDS):
        raise ProviderError(
            f"{path} is held by another process for {HELD_SECONDS:.0f} s. Its run is held by"
            f" {locks.holder(path.with_name('lock'))}.",
            "End whatever holds it, then repeat the command.",
        )


class Ledger:
    """One run's ledger file. Several processes may append; a lock orders them."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def append(
        self,
        kind: str,
        call: str = "",
        data: Mapping[str, Any] | None = None,
        milestones: Mapping[str, float] | None = None,
        components: Iterable[Component] = (),
        observed: int = 0,
    ) -> Entry:
        """Add an entry and return it once it is on disk. A torn last line, left by a kill, is cut off first.

        Raises EvidenceError where the ledger was altered: nothing may be built on it.
        """
        with self._locked() as file:
            entries, good = _intact(os.pread(file, os.fstat(file).st_size, 0), self._path)
            prev = entries[-1].hash if entries else GENESIS
            stamp, plain = self._clock.now(), writable(dict(data or {}))
            came = {
                name: at
                for name, at in (milestones or {}).items()
                if isinstance(at, int | float) and 0.0 <= at <= LATEST
            }
            parts = writable(msgspec.to_builtins(tuple(components)))
            told = {"milestones": came, "components": parts, "observed": observed}
            body = {
                "seq": len(entries),
                "stamp": msgspec.to_builtins(stamp),
                "kind": kind,
                "call": call,
                "data": plain,
                "prev": prev,
                **{name: value for name, value in told.items() if value},
            }
            digest = _digest(prev, body)
            os.ftruncate(file, good)
            line = (json.dumps({**body, "hash": digest}) + "\n").encode()
            entry = msgspec.convert({**body, "hash": digest}, Entry)  # what cannot be read again is not written
            self._write(file, line, good)
        return entry

    def _write(self, file: int, line: bytes, at: int) -> None:
        """Whole and on disk, or not at all: an intent that is torn would be forgotten."""
        try:
            written = os.pwrite(file, line, at)
            os.fsync(file)
        except OSError as error:
            raise ProviderError(
                f"{self._path} cannot be written: {error.strerror}.", "Free space on its disk."
            ) from None
        if written < len(line):
            raise ProviderError(f"{self._path} cannot be written: the disk is full.", "Free space on it.")

    def entries(self, length: int | None = None) -> tuple[Entry, ...]:
        """All entries (of the first ``length`` bytes) up to the first that is torn or altered; none without a file.

        Raises EvidenceError where it cannot be read: what was done, and is to be undone, is not known then.
        """
        return _read(_content(self._path)[:length])[0]

    def intact(self) -> bool:
        """Whether every whole line belongs to the chain."""
        try:
            check(self._path)
        except EvidenceError:
            return False
        return True

    def state(self) -> State:
        return fold(self.entries())

    @contextmanager
    def _locked(self) -> Iterator[int]:
        try:
            file = locks.opened(self._path)
        except OSError as error:
            raise EvidenceError(f"{self._path} cannot be opened: {error.strerror}.", "Start a new run.") from None
        try:
            take(file, self._path)
            yield file
        finally:
            os.close(file)
