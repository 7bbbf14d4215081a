"""A run's directory: made before the first effect, sealed after the verdict, loaded by whoever judges or reports."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import msgspec

from dr.domain.errors import DrError, EvidenceError, RefusedError, UsageError
from dr.domain.model import Observation, Stamp
from dr.evidence import former
from dr.evidence.ledger import HELD_SECONDS, Ledger, check, take
from dr.evidence.model import Entry, Evidence, RunRecord
from dr.evidence.samples import ends_whole, load_markers, load_samples
from dr.evidence.shapes import misfit
from dr.host import locks
from dr.host.decode import content, find_json, json_of, line_of, opened, read_json, wrong
from dr.host.files import listed, writable, write_atomically
from dr.ports import Clock

RUNS = "runs"
"""Where a DR_HOME holds its runs, each under its name."""
SEALED = ("run.json", "observations.jsonl", "journal.json", "baseline.json", "verdict.json")
MEASURED = ("samples-*.jsonl", "markers-*.jsonl")
OBSERVATION = msgspec.json.Decoder(Observation)


def runs(home: Path) -> tuple[RunDirectory, ...]:
    """Every run of this DR_HOME, oldest first; a directory without a run.json was killed before it became a run.

    Raises RefusedError where they cannot be listed: then nobody knows whether there are any.
    """
    hint = "Make it a directory that you may read and enter, or set DR_HOME to another place."
    found = listed(home / RUNS, RefusedError, hint)
    return tuple(RunDirectory(path) for path in found if _may_be_there(path / "run.json"))


def _may_be_there(path: Path) -> bool:
    """Whether there is something at ``path``, or that cannot be told."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The runs of a DR_HOME that never came to their end, oldest first.

    ``runs``: each with its record. ``unreadable``: by name, what is wrong with the evidence of one that nobody can go
    on with; it hinders none of the others.
    """

    runs: tuple[tuple[RunDirectory, RunRecord], ...]
    unreadable: Mapping[str, str]


def unfinished(home: Path) -> Unfinished:
    """The runs that are not sealed. Raises RefusedError where they cannot be listed."""
    known, unreadable = [], {}
    for directory in runs(home):
        if directory.sealed():
            continue
        try:
            record = directory.record()
            check(directory.path / "ledger.jsonl")
        except EvidenceError as error:
            unreadable[directory.id] = str(error)
        else:
            known.append((directory, record))
    return Unfinished(tuple(known), unreadable)


def none_yet(home: Path) -> str:
    """That there is no run, and what to do about it."""
    return f"There is no run yet under {home / RUNS}. 'dr drill run' begins one; DR_HOME says where others lie."


def find_run(home: Path, name: str) -> RunDirectory:
    """The run called ``name``, an unambiguous part of its name, or "latest". Raises UsageError."""
    if not name:
        raise UsageError("No run was named.", "An empty name is a part of every run's: 'dr history' lists the runs.")
    known = runs(home)
    if name == "latest" and not known:
        raise UsageError(none_yet(home))
    found = known[-1:] if name == "latest" else tuple(run for run in known if name in run.path.name)
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} runs are called like {name!r}" if found else f"There is no run {name!r}"
    raise UsageError(
        f"{what} under {home / RUNS}.",
        "'dr history' lists the runs; one begun on another machine goes on when its command is typed again.",
    )


class _Sealed(msgspec.Struct):
    """The ledger's first bytes, as they were sealed."""

    length: Annotated[int, msgspec.Meta(ge=0)]
    digest: str


class _Seal(msgspec.Struct):
    """seal.json: when it was sealed, and the digests of what is there."""

    files: dict[str, str]
    ledger: _Sealed
    at: float = 0.0


class RunDirectory:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def id(self) -> str:
        return self.path.name

    def create(self, record: RunRecord) -> str:
        """Make the directory and write run.json: from here on the run exists. Returns the file's digest.

        Raises RefusedError where it cannot be written: nothing was changed then.
        """
        document = msgspec.json.format(msgspec.json.encode(record), indent=2)
        with self._writing("run.json"):
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(self.path / "run.json", document)
        return _digest(document)

    def record(self) -> RunRecord:
        """run.json. Raises EvidenceError where it cannot be read."""
        return self._recorded()[0]

    def _recorded(self) -> tuple[RunRecord, bool]:
        """run.json, and whether an earlier version wrote it."""
        path = self.path / "run.json"
        stands = read_json(path, dict[str, Any])
        earlier = former.present(stands)
        now = stands if earlier is None else earlier
        record = json_of(msgspec.json.encode(now), RunRecord, str(path))
        if self.path.parent.name == RUNS and (run := record.plan.run.id) != self.id:
            hint = "Put each run back under its own name."
            raise EvidenceError(f"{path} is that of the run {run!r}, and not of {self.id}.", hint)
        return record, earlier is not None

    def readable(self) -> bool:
        """Whether run.json can be read; 'dr history' names the runs where it cannot."""
        try:
            self.record()
        except EvidenceError:
            return False
        return True

    def record_digest(self) -> str:
        """The digest of run.json, which its acceptance in the ledger names."""
        return _digest_of(self.path / "run.json")

    def ledger(self, clock: Clock) -> Ledger:
        return Ledger(self.path / "ledger.jsonl", clock)

    def note_asleep(self, clock: Clock, seconds: float) -> None:
        """The ledger tells that nothing was done in the last ``seconds``, since this process had been stopped."""
        data = {"text": f"dr itself had been stopped for {seconds:.1f} s", "asleep": round(seconds, 3)}
        with suppress(DrError):  # a ledger that takes no more ends the run at its next step, and says why
            self.ledger(clock).append("event", data=data)

    def entries(self, clock: Clock, length: int | None = None) -> tuple[Entry, ...]:
        """The ledger's entries (of its first ``length`` bytes), in their present form. Raises EvidenceError."""
        return self._entries(clock, *self._recorded(), length)

    def _entries(self, clock: Clock, record: RunRecord, earlier: bool, length: int | None) -> tuple[Entry, ...]:
        found = self.ledger(clock).entries(length)
        return former.told(record.plan, found) if earlier else found

    def observe(self, observations: Iterable[Observation], at: float, call: str = "") -> None:
        """Append what ``call`` saw, stamped ``at`` where it bears no time of its own; on disk when this returns."""
        stamped = (replace(one, at=one.at or at, call=call) for one in observations)
        lines = [msgspec.json.encode(writable(msgspec.to_builtins(one))) for one in stamped]
        if not lines:
            return
        path = self.path / "observations.jsonl"
        with open(locks.opened(path), "r+b") as file:
            take(file.fileno(), path)
            file.seek(0, os.SEEK_END)
            if not ends_whole(path):
                file.write(b"\n")  # a line torn by a kill stays a line of its own, which loading leaves out
            file.write(b"\n".join(lines) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def halt(self, because: str) -> None:
        """Tell the run to stop; every poll looks. Raises RefusedError where it cannot be told."""
        with self._writing("halt"):
            try:
                write_atomically(self.path / "halt", because.encode())
            except OSError:
                (self.path / "halt").touch()  # an empty one, for which a full disk may still have room, is one, too

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RefusedError(
                f"{self.path / name} cannot be written: {error.strerror}.",
                "Make DR_HOME writable, with space left, or set it to another place.",
            ) from None

    def halted(self) -> str:
        """Why the run was told to stop, or ""."""
        try:
            found = content(self.path / "halt")
        except EvidenceError as error:  # whoever put it there wants the run to stop, whatever it says
            return str(error)
        return "" if found is None else found.decode(errors="replace") or "told to stop"

    def resume(self) -> None:
        """Take the halt away."""
        (self.path / "halt").unlink(missing_ok=True)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the run: whoever performs or unwinds waits here for whoever still does.

        Raises RefusedError where that takes too long; it names who does.
        """

        def refusal(holder: str) -> RefusedError:
            return RefusedError(
                f"Run {self.id} is still held by {holder}, after {HELD_SECONDS:.0f} s.",
                "See what that process waits for, or end it, then repeat the command.",
            )

        with locks.holding(self.path / "lock", f"run {self.id}", HELD_SECONDS, refusal):
            yield

    def sealed(self) -> bool:
        """Whether it has a seal. Of one that cannot be entered that is not known: it counts as unfinished."""
        try:
            (self.path / "seal.json").lstat()
        except OSError:
            return False
        return True

    def write_verdict(self, document: Mapping[str, Any]) -> None:
        """Write verdict.json; a verdict before the seal may be replaced by a later one."""
        write_atomically(self.path / "verdict.json", json.dumps(writable(document), indent=2).encode())

    def verdict_document(self) -> dict[str, Any] | None:
        """verdict.json as it stands, or None before there is one; a torn one says it is unreadable."""
        try:
            document = find_json(self.path / "verdict.json", dict[str, Any])
        except EvidenceError:
            return {"verdict": "unreadable"}
        return document if document is None or isinstance(document.get("verdict"), str) else {"verdict": "unreadable"}

    def seal(self, at: Stamp, files: dict[str, str]) -> None:
        """Fix what is there: ``files``, the ``digests``, and the ledger's length and head. Later entries are
        clean-up's."""
        ledger = _content(self.path / "ledger.jsonl")
        seal = _Seal(files, _Sealed(len(ledger), _digest(ledger)), at.at)
        write_atomically(self.path / "seal.json", msgspec.json.format(msgspec.json.encode(seal)))

    def digests(self) -> dict[str, str]:
        """Of every file that is sealed beside the ledger, by name."""
        named = [self.path / name for name in SEALED]
        named += [path for pattern in MEASURED for path in self._measured(pattern)]
        return {path.name: _digest_of(path) for path in named if path.exists()}

    def seal_digest(self) -> str:
        """The digest of its seal, "" without one."""
        return _digest_of(self.path / "seal.json") if self.sealed() else ""

    def load(self, clock: Clock) -> Evidence:
        """All evidence, with what is wrong with it in ``problems``. Raises EvidenceError without a run.json."""
        record, earlier = self._recorded()
        digests = cache(self.digests)  # of files that may be large, once, and where anybody asks
        problems = list(self._broken(digests))
        try:
            check(self.path / "ledger.jsonl")
        except EvidenceError as error:
            problems.append(f"ledger.jsonl: its chain of hashes is broken: {str(error).removesuffix('.')}")
        try:  # what clean-up appended later is no evidence
            entries = self._entries(clock, record, earlier, self._sealed_length())
        except EvidenceError as error:
            entries = ()
            problems.append(str(error).removesuffix("."))
        problems += self._unlike(entries, digests)
        observations = self.observations(problems)
        problems += _unobserved(entries, observations)
        measured = self._measured(MEASURED[0]), self._measured(MEASURED[1])
        samples = [load_samples(path, problems) for path in measured[0]]
        markers = [load_markers(path, problems) for path in measured[1]]
        accepted = next((entry.data.get("run.json") for entry in entries if entry.kind == "accepted"), None)
        if accepted != self.record_digest():
            problems.append("run.json is not what was accepted in the ledger")
        return Evidence(
            record=record,
            entries=entries,
            observations=former.observed(entries, observations) if earlier else observations,
            samples={of.path: of for of in samples if of is not None},
            markers={of.path: of for of in markers if of is not None},
            problems=tuple(problems),
            journal=self._journal(),
        )

    def _sealed_length(self) -> int | None:
        """The ledger's length when it was sealed, in bytes; None before. An unreadable seal is a problem of its own."""
        try:
            seal = find_json(self.path / "seal.json", _Seal)
        except EvidenceError:
            return None
        return None if seal is None else seal.ledger.length

    def _measured(self, pattern: str) -> list[Path]:
        return [path for path in listed(self.path) if path.match(pattern)]

    def broken_seals(self, clock: Clock) -> Iterator[str]:
        """What is not as it was sealed, a phrase each; nothing of a run that was not."""
        digests = cache(self.digests)
        yield from self._broken(digests)
        with suppress(EvidenceError):  # a ledger that cannot be read is not what was sealed
            yield from self._unlike(self.ledger(clock).entries(self._sealed_length()), digests)

    def closed(self, clock: Clock) -> bool:
        """Whether it was sealed by a version that notes each seal beside the runs: there a ledger's last word tells of
        each file."""
        try:
            entries = self.ledger(clock).entries(self._sealed_length())
        except EvidenceError:
            return False
        return self.sealed() and _files_told(entries) is not None

    def _broken(self, digests: Callable[[], Mapping[str, str]]) -> Iterator[str]:
        if not self.sealed():
            return
        try:
            seal = read_json(self.path / "seal.json", _Seal)
        except EvidenceError as error:
            yield f"seal.json was altered: {str(error).removesuffix('.')}"
            return
        files, present = seal.files, digests()
        for name in sorted({*files, *present}):
            if name not in present:
                yield f"{name} is missing since the seal"
            elif files.get(name) != present[name]:
                yield f"{name} was altered after the seal"
        if _digest(_content(self.path / "ledger.jsonl")[: seal.ledger.length]) != seal.ledger.digest:
            yield "ledger.jsonl was altered after the seal"

    def _unlike(self, entries: Sequence[Entry], digests: Callable[[], Mapping[str, str]]) -> Iterator[str]:
        """What is not as the ledger has it, whose last word tells of each file before the run is sealed, a phrase each.
        What follows it is of a run that was gone on with, since it was killed before it was sealed."""
        told = _files_told(entries)
        if told is None:
            return
        if not self.sealed():
            yield "seal.json is missing since the ledger was closed"
        if told != digests():
            yield "what was sealed is not what the ledger tells of"

    def _journal(self) -> Mapping[str, Any] | None:
        """What Chaos Toolkit wrote at its end. One that cannot be read has no status, and so proves nothing."""
        try:
            return find_json(self.path / "journal.json", dict[str, Any])
        except EvidenceError:
            return {}

    def observations(self, faults: list[str] | None = None) -> tuple[Observation, ...]:
        """All whole lines. One torn by a kill is left out: what it would have shown then counts as not observed.

        ``faults`` gets what is wrong with any other line that is none, by file and line.
        """
        lines = _content(self.path / "observations.jsonl").split(b"\n")
        found = [line_of(line, OBSERVATION) for line in lines]
        if faults is not None:
            told = (wrong(line, OBSERVATION) or misfit(one) for line, one in zip(lines, found, strict=True))
            named = ((number, why) for number, why in enumerate(told, 1) if why)
            faults.extend(
                f"observations.jsonl, line {number}, is not what it should be: {why}" for number, why in named
            )
        return tuple(one for one in found if one is not None and not misfit(one))


def _unobserved(entries: Iterable[Entry], observations: Iterable[Observation]) -> Iterator[str]:
    """Of which calls the ledger tells more observations than there are, a phrase each."""
    there = Counter(one.call for one in observations)
    for entry in entries:
        if entry.observed > there[entry.call]:
            lacking = f"{there[entry.call]} of {entry.observed} or more"
            yield f"observations.jsonl holds {lacking} observations that {entry.call} made"


def _files_told(entries: Sequence[Entry]) -> Any:
    """What a ledger's last word tells of each file; None where it tells of none."""
    return entries[-1].data.get("files") if entries else None


def _content(path: Path) -> bytes:
    """What a file holds; nothing where there is none, or it cannot be read: then it is not what was sealed."""
    try:
        with opened(path) as file:
            return file.read()
    except OSError:
        return b""


def _digest_of(path: Path) -> str:
    """The digest of a file of any size; that of nothing where there is none, or it cannot be read."""
    try:
        with opened(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return _digest(b"")


def _digest(whole: bytes) -> str:
    return hashlib.sha256(whole).hexdigest()
