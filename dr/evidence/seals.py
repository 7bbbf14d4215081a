"""The chain of seals, kept beside the runs: DR_HOME/seals.jsonl, a ledger with an entry for each run that was sealed.

A run's own seal shows what was altered in it since; this shows which of them was replaced whole, or taken away. So does
the digest of the seal before it, which each run.json holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dr.domain.errors import DrError, EvidenceError
from dr.evidence.directory import RunDirectory, runs
from dr.evidence.ledger import Ledger, check
from dr.ports import Clock

SHOWN = 5
"""Runs that a sentence lists: the newest."""


@dataclass(frozen=True, slots=True)
class Seals:
    """By run the digest of its seal, in the order in which they were sealed. ``broken``: why there may be more, a
    sentence, or ""."""

    noted: Mapping[str, str]
    broken: str = ""

    def of_another(self, run: RunDirectory) -> str:
        """What is wrong where ``run`` is not what was sealed under its name; "" else, and where no seal was noted."""
        if self.noted.get(run.id, found := run.seal_digest()) == found:
            return ""
        return f"seal.json is not that of the run {run.id} that was sealed here: it was replaced"

    def untold(self, run: RunDirectory, clock: Clock) -> str:
        """That nothing beside ``run`` shows it to be the one that was sealed, a sentence; "" where something does, and
        of one that was sealed before seals were noted."""
        if run.id in self.noted or not run.closed(clock):
            return ""
        why = self.broken or "it was emptied, replaced or taken away."
        return f"The seal of run {run.id} is not in the chain of seals beside the runs: {why}"


def _path(home: Path) -> Path:
    return home / "seals.jsonl"


def seal(home: Path, run: RunDirectory, clock: Clock, mark: Callable[[], None] = lambda: None) -> str:
    """Seal ``run`` and note that: in its own ledger, and beside the runs. Returns why it could not be, or "".

    ``mark``: tells others that the run is over. It comes after the ledger's last word and before the seal, so that a
    run which is killed in between is gone on with here, or is over everywhere.
    """
    files = run.digests()
    note = {"text": "Nothing is added to the evidence any more", "files": files}
    with suppress(DrError):  # a ledger that was altered takes no more, which is a problem of the evidence by itself
        run.ledger(clock).append("event", data=note)
    mark()
    run.seal(clock.now(), files)
    try:
        Ledger(_path(home), clock).append("sealed", run.id, {"seal": run.seal_digest()})
    except DrError as error:
        if isinstance(error, EvidenceError):
            error.hint = _anew(home)
        return f"That run {run.id} was sealed could not be noted: {error}"
    return ""


def _anew(home: Path) -> str:
    """What to do about a chain to which nothing can be added."""
    return f"Move {_path(home)} away, and keep it: the next run that is sealed begins a new one."


def seals(home: Path, clock: Clock) -> Seals:
    """Every seal that was noted. Of a run that was sealed by several commands the last counts."""
    path = _path(home)
    try:
        check(path)
        broken = ""
    except EvidenceError as error:
        broken = str(error)
    try:
        entries = Ledger(path, clock).entries()
    except EvidenceError:
        entries = ()
    return Seals({entry.call: str(entry.data.get("seal")) for entry in entries if entry.kind == "sealed"}, broken)


def previous(home: Path, clock: Clock) -> str:
    """The digest of the seal that was noted last, else of the newest sealed run's; "" where there is none."""
    noted = [*seals(home, clock).noted.values()] or [run.seal_digest() for run in runs(home) if run.sealed()]
    return noted[-1] if noted else ""


def gone(home: Path, known: Seals, clock: Clock) -> tuple[str, ...]:
    """What was replaced or taken away of the runs of this DR_HOME, a sentence each."""
    there = {run.id: run for run in runs(home)}
    found = [f"{known.broken} Which runs were sealed since is not known. {_anew(home)}"] if known.broken else []
    if not (known.noted or known.broken) and any(run.closed(clock) for run in there.values()):
        found.append(f"{_path(home)} notes no seal, although sealed runs are here: it was emptied, or taken away.")
    away = [run for run in known.noted if run not in there]
    more = f" and {len(away) - SHOWN} more" if len(away) > SHOWN else ""
    found += [f"Sealed here, and taken away since: {', '.join(away[-SHOWN:])}{more}."] if away else []
    found += [f"Run {run.id}: {why}." for run in there.values() if (why := known.of_another(run))]
    digests = {*known.noted.values(), *(run.seal_digest() for run in there.values())}
    for run in there.values():
        try:
            before = run.record().previous_seal
        except EvidenceError:
            continue  # of which 'dr history' tells by itself
        if before and before not in digests:
            found.append(f"The run that was sealed before {run.id} began was replaced or taken away.")
    return tuple(found)
