"""What a database held when it was looked at: sums, never rows. Pure.

A look is one repeatable-read snapshot. It splits each table's rows into parts, by which snapshots they are visible in,
and each part into buckets of the rows' identities, so that what differs is found without keeping what is there.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dr.domain.errors import EvidenceError
from dr.domain.state import State
from dr.domain.state import Version as Version

BEFORE = "before"
"""The part of a table that is visible in the snapshot of the look before the recovery point."""
POINT = "point"
"""The part that is visible in the copy's own snapshot, taken right after its recovery, and in no earlier cut."""
UNSURE = "unsure"
"""The part that is visible in the copy's own snapshot by its number alone: nobody looked whether the transactions that
wrote it had ended by then, so that on the source it may be later. It proves only where copy and source agree."""
LATER = "later"
"""The part that is visible in none of a look's cuts: on the source it was written after the recovery point, on the copy
after its recovery."""
UNREADABLE = "unreadable: "
"""Begins the method of a table that could not be summed; the reason follows."""
DAMAGED = "damaged: "
"""Begins such a reason where the server found the data themselves to be damaged."""

MOST_BUCKETS = 1 << 17
_MOST_BYTES = 1 << 26
"""Of a table's sums or rows, unpacked: more than any look ever takes."""
_SUM = struct.Struct("<IQ")
_ROW = struct.Struct("<QQ")


class Snapshot(NamedTuple):
    """A snapshot: transactions below ``xmax`` that are not in ``running`` are visible in it. 64-bit xids.

    ``unsure``: of those from the first to before the second, nobody looked whether they had ended; both 0: of none.
    """

    xmin: int
    xmax: int
    running: tuple[int, ...]
    unsure: tuple[int, int] = (0, 0)

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """From "xmin:xmax:xip,xip", and ":first-end" of what is unsure. Raises EvidenceError on anything else."""
        try:
            low, high, running, *unsure = text.split(":")
            first, end = map(int, unsure[0].split("-")) if unsure else (0, 0)
            if len(unsure) > 1:
                raise ValueError
            return cls(int(low), int(high), tuple(int(x) for x in running.split(",") if x), (first, end))
        except ValueError:
            raise EvidenceError(f"{text!r} is not a snapshot.", "The baseline is damaged: take a new one.") from None

    def __str__(self) -> str:
        unsure = f":{self.unsure[0]}-{self.unsure[1]}" if any(self.unsure) else ""
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, self.running))}{unsure}"

    def below(self, xid: int) -> Snapshot:
        """It without transaction ``xid`` and all later ones."""
        xmax = min(self.xmax, xid)
        running = tuple(one for one in self.running if one < xmax)
        unsure = (self.unsure[0], min(self.unsure[1], xmax))
        return Snapshot(min(self.xmin, xmax), xmax, running, unsure if unsure[0] < unsure[1] else (0, 0))

    def shows(self, xid: int) -> bool:
        """Whether what transaction ``xid`` wrote, and committed, is visible in it, where that is unsure as well."""
        return xid < self.xmax and xid not in self.running

    def doubts(self, xid: int) -> bool:
        """Whether it shows ``xid``, and that is unsure."""
        return self.unsure[0] <= xid < self.unsure[1] and self.shows(xid)

    def proves(self, xid: int) -> bool:
        """Whether it shows ``xid`` for sure."""
        return self.shows(xid) and not self.doubts(xid)


class Sum(NamedTuple):
    """Rows of one bucket, and the sum of their hashes modulo 2^64."""

    rows: int
    hashes: int


NOTHING = Sum(0, 0)


class Row(NamedTuple):
    """64-bit hashes of a row's identity and of the whole of it."""

    identity: int
    content: int


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a table under one cut. ``sums``: those of its buckets, packed; empty where no bucket holds any."""

    rows: int = 0
    sums: bytes = b""


@dataclass(frozen=True, slots=True)
class TableLook:
    """One table in one look. Two compare only where ``method`` and ``buckets`` are the same.

    ``parts``: by BEFORE, POINT, UNSURE and LATER, as far as the look has these cuts. ``touched``: rows that were
    inserted, updated or deleted since the server's recovery by its own statistics, which need not count all; None where
    these do not tell.
    ``filed``: the transaction that wrote its own row of the catalog, as whoever truncates it or writes it anew does; 0
    where nothing tells. ``uncounted``: nothing has counted its rows since its file is a new one: not by VACUUM FULL.
    ``short``: its file is shorter than the catalog, or an index of it, has it.
    """

    method: str
    buckets: int = 1
    parts: Mapping[str, Part] = field(default_factory=dict)
    touched: int | None = None
    filed: int = 0
    uncounted: bool = False
    short: bool = False

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts.values())

    @property
    def unreadable(self) -> str:
        """Why it could not be read, or ""."""
        return self.method.removeprefix(UNREADABLE) if self.method.startswith(UNREADABLE) else ""

    @property
    def damaged(self) -> bool:
        """Whether it could not be read because its data are damaged, and for no other reason."""
        return self.unreadable.startswith(DAMAGED)

    def sums(self, part: str) -> list[Sum]:
        """Of each bucket. Raises EvidenceError where they are damaged."""
        if not 1 <= self.buckets <= MOST_BUCKETS or self.buckets & (self.buckets - 1):
            raise EvidenceError(f"A table's sums are damaged: {self.buckets} buckets are not what a look takes.")
        found = self.parts.get(part, Part())
        sums = [Sum(*one) for one in _unpacked(_SUM, found.sums)] if found.sums else [NOTHING] * self.buckets
        if len(sums) != self.buckets or sum(one.rows for one in sums) != found.rows:
            raise EvidenceError("A table's sums are damaged: they do not add up.")
        return sums


@dataclass(frozen=True, slots=True)
class TableRows:
    """The rows of some buckets of one table, as hashes. ``read``: which buckets. ``parts``: a TableLook's, packed."""

    read: tuple[int, ...]
    parts: Mapping[str, bytes]

    def rows(self, part: str) -> list[Row]:
        """Raises EvidenceError where they are damaged."""
        return [Row(*one) for one in _unpacked(_ROW, self.parts.get(part, b""))]


NOWHERE = "dr.yaml names it, and no table that is compared is called so"
"""Why something is left out that is not there at all."""


@dataclass(frozen=True, slots=True)
class Look:
    """A database at one moment.

    ``at``: its server's clock: of the look before, all that it shows was committed by then; of a later one, all that
    was committed by then was looked at. ``snapshot``: its own. ``cuts``: name to snapshot, in their order.
    ``objects``: by kind and name. ``left_out``: tables that dr.yaml excludes, and why. ``state``: what is neither row
    nor definition; None: it was not looked at. ``unlooked``: other databases of the server that could not be looked
    at, and why. ``recipe``: by which objects were digested; only those of the same compare. 0: they were not.
    ``on_login``: by database, "" for the main one, event triggers that every session sets off, this look's among them.
    ``taken``: so many transactions have taken a number since the server's recovery, as whatever writes does; None: it
    is not known. ``counted``: so many rows do its statistics tell written since, in whatever database.
    """

    at: float
    major: int
    snapshot: str
    cuts: Mapping[str, str]
    objects: Mapping[str, Version]
    tables: Mapping[str, TableLook]
    left_out: Mapping[str, str] = field(default_factory=dict)
    state: State | None = None
    unlooked: Mapping[str, str] = field(default_factory=dict)
    recipe: int = 1
    on_login: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    taken: int | None = None
    counted: int = 0

    @property
    def unwritten(self) -> bool:
        """Whether nothing was written to its server since its recovery."""
        return self.taken == 0

    @property
    def accounted(self) -> bool:
        """Whether its statistics may tell of whatever wrote: one that took a number and let nothing count is none."""
        return self.taken is None or self.taken <= self.counted

    def hides(self, name: str) -> bool:
        """Whether what bears ``name`` is of a database that could not be looked at."""
        return any(name.startswith(f"{database}: ") for database in self.unlooked)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a source held before, kept outside it, and the looks that were taken at it ``later``.

    ``golden``: a synthetic request's name to the form of the answer the source's own service gave. ``outdated``: what
    these answers may rest on and the source changed from then to the look.
    """

    id: str
    target: str
    source: str
    resource_id: str
    look: Look
    golden: Mapping[str, str] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    later: tuple[Look, ...] = ()
    outdated: tuple[str, ...] = ()


def packed_sums(sums: Iterable[Sum]) -> bytes:
    return zlib.compress(b"".join(_SUM.pack(*one) for one in sums))


def packed_rows(rows: Iterable[Row]) -> bytes:
    return zlib.compress(b"".join(_ROW.pack(*one) for one in rows))


def _unpacked(shape: struct.Struct, packed: bytes) -> Iterable[tuple[int, ...]]:
    if not packed:
        return ()
    try:
        unpacking = zlib.decompressobj()
        unpacked = unpacking.decompress(packed, _MOST_BYTES)
        if not unpacking.eof or unpacking.unused_data:
            raise EvidenceError("A table's sums are damaged: they do not end where they should.")
        return shape.iter_unpack(unpacked)
    except (zlib.error, struct.error) as error:
        raise EvidenceError(f"A table's sums are damaged: {error}.") from None
