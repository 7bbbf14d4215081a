"""Baselines on disk, outside the database they describe: DR_HOME/baselines/TARGET/SOURCE/ID.json, and a run's own.

A file holds the digest of its content, so that a torn or altered one is never compared with.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import msgspec

from dr.domain.errors import EvidenceError, ProviderError
from dr.domain.model import Baseline
from dr.host.decode import read_json
from dr.host.files import listed, write_atomically

KEEP = 90
"""Baselines kept of one source: a snapshot is retained for 30 days (platform.md); a few may be taken in a day."""


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    digest: str
    baseline: Baseline


def digest(baseline: Baseline) -> str:
    """What identifies the content of ``baseline``, repeats included."""
    return hashlib.sha256(msgspec.json.encode(baseline, order="sorted")).hexdigest()


def write_baseline(path: Path, baseline: Baseline) -> str:
    """Put ``baseline`` at ``path``, whole or not at all, and return its digest. Raises ProviderError."""
    found = digest(baseline)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, msgspec.json.encode(_Document(found, baseline)))
    except OSError as error:
        raise ProviderError(f"The baseline cannot be written to {path}: {error.strerror}.", "Free the disk.") from None
    return found


def read_baseline(path: Path) -> Baseline:
    """The baseline at ``path``. Raises EvidenceError where it is unreadable, torn or altered."""
    document = read_json(path, _Document, hint="Remove this baseline; others are used.")
    if digest(document.baseline) != document.digest:
        raise EvidenceError(f"The baseline {path} was altered after it was taken.", "Remove it; others are used.")
    return document.baseline


def covering(baselines: Iterable[Baseline], point: float, resolution: float) -> Baseline | None:
    """The newest baseline that was taken by ``point`` and repeated after it, with just the first such repeat.

    ``point``: the time up to which the restoration holds commits, on the source's clock; it may hold those of
    ``resolution`` more seconds. A baseline is proven for all states between its own and a repeat's.
    """
    for baseline in sorted(baselines, key=lambda b: b.fingerprint.at, reverse=True):
        after = [r for r in baseline.repeats if r.at >= point + resolution]
        if baseline.fingerprint.at <= point and after:
            return replace(baseline, repeats=(min(after, key=lambda r: r.at),))
    return None


class BaselineStore:
    """The baselines of one target."""

    def __init__(self, home: Path, target: str) -> None:
        self._directory = home / "baselines" / _file_name(target)

    def save(self, baseline: Baseline) -> Path:
        """Write ``baseline``, replacing an earlier state of it, and prune what is beyond ``KEEP``."""
        path = self._source(baseline.source) / f"{_file_name(baseline.id)}.json"
        write_baseline(path, baseline)
        for old in self._files(baseline.source)[:-KEEP]:
            old.unlink(missing_ok=True)
        return path

    def load(self, source: str) -> tuple[tuple[Baseline, ...], tuple[str, ...]]:
        """The baselines of ``source``, oldest first, and a sentence for each file that is not one any more."""
        found, problems = [], []
        try:
            paths = self._files(source)
        except EvidenceError as error:
            return (), (str(error),)
        for path in paths:
            try:
                found.append(read_baseline(path))
            except EvidenceError as error:
                problems.append(str(error))
        return tuple(found), tuple(problems)

    def forget(self) -> None:
        """Remove all of a target that is gone."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def _files(self, source: str) -> list[Path]:
        return [path for path in listed(self._source(source)) if path.suffix == ".json" and path.name[0] != "."]

    def _source(self, source: str) -> Path:
        return self._directory / _file_name(source)


def _file_name(text: str) -> str:
    """``text`` as one path component that is never "." or ".."."""
    return quote(text, safe="").replace(".", "%2E")
