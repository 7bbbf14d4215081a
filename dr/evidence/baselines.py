"""Baselines on disk, outside the database they describe: DR_HOME/baselines/TARGET/SOURCE/ID.json, and a run's own.

A file holds the digest of its content, so that a torn or altered one is never compared with.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from dr.domain.errors import EvidenceError, ProviderError
from dr.domain.looks import BEFORE, UNREADABLE, Baseline, Look, Part, Sum, TableLook, packed_sums
from dr.host.decode import read_json
from dr.host.files import listed, write_atomically

KEEP = 90
"""Baselines kept of one source: a snapshot is retained for 30 days (platform.md); a few may be taken in a day."""


_HINT = "Remove this baseline; others are used."


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    digest: str
    baseline: Any


def digest(baseline: Baseline) -> str:
    """What identifies the content of ``baseline``, later looks included."""
    return _digest(msgspec.to_builtins(baseline))


def _digest(written: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(written, order="sorted")).hexdigest()


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
    document = read_json(path, _Document, hint=_HINT)
    if _digest(document.baseline) != document.digest:
        raise EvidenceError(f"The baseline {path} was altered after it was taken.", "Remove it; others are used.")
    try:
        if isinstance(document.baseline, dict) and "fingerprint" in document.baseline:
            return _of_former(msgspec.convert(document.baseline, _Former))
        return msgspec.convert(document.baseline, Baseline)
    except (msgspec.ValidationError, ValueError) as error:
        raise EvidenceError(f"{path} is not what it should be: {error}.", _HINT) from None


def covering(baselines: Iterable[Baseline], point: float) -> Baseline | None:
    """The newest baseline that was taken by ``point``: the time up to which a restoration holds commits, on the
    source's clock. The nearer its look is to that, the more of what it shows still stands there."""
    before = [baseline for baseline in baselines if baseline.look.at <= point]
    return max(before, key=lambda baseline: baseline.look.at, default=None)


def looked_after(baseline: Baseline, point: float, resolution: float) -> Look | None:
    """The first later look of ``baseline`` at a source that had passed ``point``, which may hold the commits of
    ``resolution`` more seconds: the nearer it is, the less has changed since."""
    after = [look for look in baseline.later if look.at >= point + resolution]
    return min(after, key=lambda look: look.at, default=None)


# -- baselines of a former form: one sum a table, definitions by other rules than today's, of no use


class _Table(msgspec.Struct):
    rows: int
    checksum: str
    method: str


class _Fingerprint(msgspec.Struct):
    at: float
    major: int
    snapshot: str
    tables: dict[str, _Table]


class _Former(msgspec.Struct):
    id: str
    target: str
    source: str
    resource_id: str
    fingerprint: _Fingerprint
    golden: dict[str, str] = {}
    model: dict[str, Any] = {}


def _of_former(former: _Former) -> Baseline:
    """Raises ValueError where a checksum is no number. What was found when it was repeated was no look."""
    seen = former.fingerprint
    tables = {
        name: TableLook(one.method, parts={} if one.method.startswith(UNREADABLE) else {BEFORE: _whole(one)})
        for name, one in seen.tables.items()
    }
    look = Look(seen.at, seen.major, seen.snapshot, {BEFORE: seen.snapshot}, {}, tables, recipe=0)
    return Baseline(former.id, former.target, former.source, former.resource_id, look, former.golden, former.model)


def _whole(table: _Table) -> Part:
    return Part(table.rows, packed_sums([Sum(table.rows, int(table.checksum) % (1 << 64))])) if table.rows else Part()


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
