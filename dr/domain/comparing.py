"""Whether a copy holds what its source held at the recovery point, by looks at the source before it and after. Pure.

What the look afterwards shows in the copy's own snapshot stood at the recovery point as it is, and must stand in the
copy. What has changed on the source since can be proven by the look before alone. What changed on both sides of the
point nobody can know; that it came by the log and not by a hand shows by the transaction that wrote it. A frozen row
keeps the 32-bit number of its transaction, and after 2^32 more may bear that of one of the copy's own: what the source
holds, too, is no hand's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from dr.domain.errors import EvidenceError
from dr.domain.looks import (
    BEFORE,
    LATER,
    NOTHING,
    POINT,
    UNSURE,
    Part,
    Row,
    Snapshot,
    Sum,
    TableLook,
    TableRows,
    Version,
    packed_sums,
)

BY_HAND = "written, altered or deleted on the copy itself, after its recovery"
BY_SUMS = "among which some are altered, missing or too many, by their sums"
ALTERED, MISSING, NEVER_HAD = "altered", "missing", "that the source never had"
_PARTS = (BEFORE, POINT, UNSURE)


@dataclass(frozen=True, slots=True)
class Compared:
    """What became of one table's rows, or of the objects.

    ``proven``: so many stand as the source had them. ``either``: of these, so many that the source changed afterwards:
    the look before alone proves them. ``unknown``: so many that nobody can know. ``wrong``: what is not as it was, the
    end of a sentence, to how many are so.
    """

    proven: int = 0
    either: int = 0
    unknown: int = 0
    wrong: Mapping[str, int] = field(default_factory=dict)


class _Bucket(NamedTuple):
    """One bucket of one part: what the look before, the copy and the look afterwards have; None: it was not looked.
    ``sure``: whether it is known that what is there afterwards stood at the recovery point."""

    before: Sum | None
    copy: Sum
    after: Sum | None
    sure: bool = True

    @property
    def proven(self) -> bool:
        return self.copy in (self.before, self.after) or not (self.copy.rows or self.before or self.after)

    @property
    def too_many(self) -> bool:
        """Rows only go from what a fixed snapshot shows: the copy has as many as before, or more, and not the same."""
        return not self.proven and self.before is not None and self.copy.rows >= self.before.rows

    @property
    def broken(self) -> bool:
        """No history of the source leads to such a copy."""
        too_few = self.sure and self.after is not None and self.copy.rows <= self.after.rows
        return self.too_many or (too_few and not self.proven)

    @property
    def disputed(self) -> int:
        """How many rows it is about where it differs: a copy that lacks them all holds none."""
        return max(self.copy.rows, self.after.rows if self.after is not None else 0)


def comparable(copy: TableLook, other: TableLook | None) -> TableLook | None:
    """``other`` where the two are summed alike, else None."""
    return other if other is not None and (other.method, other.buckets) == (copy.method, copy.buckets) else None


def unsettled(before: TableLook | None, copy: TableLook, after: TableLook | None) -> tuple[int, ...]:
    """The buckets of which sums alone prove nothing, or that they differ: their rows decide."""
    before, after = comparable(copy, before), comparable(copy, after)
    copy = _come_round(before, copy, after)
    parts = (_buckets(part, before, copy, after) for part in _PARTS)
    return tuple(sorted({n for buckets in parts for n, one in enumerate(buckets) if not one.proven}))


def _buckets(part: str, before: TableLook | None, copy: TableLook, after: TableLook | None) -> Iterator[_Bucket]:
    """Of one part. A look afterwards that was stored before the copy's snapshot was known has no part POINT: all that
    was later then stands for it, and proves only where the two agree."""
    if part not in copy.parts:
        return
    known = after is not None and part in after.parts
    there = before.sums(BEFORE) if before is not None and part == BEFORE else None
    kept = after.sums(part) if after is not None and known else None
    stored = after.sums(LATER) if after is not None and part == POINT and not known else None
    for n, here in enumerate(copy.sums(part)):
        agreed = here if stored is not None and stored[n] == here else None
        yield _Bucket(there[n] if there else None, here, kept[n] if kept else agreed, part != UNSURE)


def _come_round(before: TableLook | None, copy: TableLook, after: TableLook | None) -> TableLook:
    """``copy`` with those buckets of LATER in the part in which the source has them, by their sums."""
    if LATER not in copy.parts or not copy.parts[LATER].rows:
        return copy
    later, moved = copy.sums(LATER), dict[str, list[Sum]]()
    for part in _PARTS:
        for n, one in enumerate(_buckets(part, before, copy, after)):
            both = Sum(one.copy.rows + later[n].rows, (one.copy.hashes + later[n].hashes) % (1 << 64))
            if not one.proven and both in (one.before, one.after):
                moved.setdefault(part, copy.sums(part))[n], later[n] = both, NOTHING
    sums = {**moved, LATER: later}
    parts = {part: Part(sum(one.rows for one in of), packed_sums(of)) for part, of in sums.items()}
    return replace(copy, parts={**copy.parts, **parts})


def table(
    before: TableLook | None,
    copy: TableLook,
    after: TableLook | None,
    rows: tuple[TableRows, TableRows] | None = None,
    *,
    told: bool = True,
) -> Compared:
    """``copy`` against the looks at the source. ``rows``: of the unsettled buckets, on the copy and afterwards on the
    source, where they were read. ``told``: had rows been deleted on the copy since its recovery, that would be told.
    Raises EvidenceError where sums are damaged."""
    before, after = comparable(copy, before), comparable(copy, after)
    copy = _come_round(before, copy, after)
    written = copy.parts[LATER].rows if LATER in copy.parts else 0
    buckets = {part: [*_buckets(part, before, copy, after)] for part in _PARTS}
    found, wrong = Compared(), Counter[str]()
    for part in _PARTS:
        for n, one in enumerate(buckets[part]):
            read = rows is not None and n in rows[0].read and n in rows[1].read
            if one.proven or not read:
                found = _added(found, one)
                wrong[BY_SUMS] += one.disputed if one.broken else 0
    if rows is not None:
        found, more = _by_rows(found, buckets, copy, rows)
        wrong.update(more)
    wrong[BY_HAND] = max(written + wrong[BY_HAND], copy.touched or 0)
    unknown = found.unknown + _gone(buckets, _rows(after, copy.buckets), untold=LATER in copy.parts and not told)
    return Compared(found.proven, found.either, unknown, {what: count for what, count in wrong.items() if count})


def went(before: TableLook | None, copy: TableLook, after: TableLook | None) -> int:
    """So many rows of the look before the copy lacks, of which its own statistics alone tell that they went before the
    recovery point: the source has changed them since. Raises as ``table``."""
    before, after = comparable(copy, before), comparable(copy, after)
    copy = _come_round(before, copy, after)
    buckets = {part: [*_buckets(part, before, copy, after)] for part in _PARTS}
    return _gone(buckets, _rows(after, copy.buckets), untold=LATER in copy.parts)


def _gone(buckets: Mapping[str, Sequence[_Bucket]], there: Sequence[int], *, untold: bool) -> int:
    """For so many rows of the look before none of the copy can stand, and nothing tells when they went, or they may
    never have gone: ``there``, so many rows does the source hold afterwards in each bucket.
    ``untold``: none tells either whether they went on the copy itself, where the source has changed them since."""
    newer = [[one.copy.rows for one in buckets[part]] for part in (POINT, UNSURE) if buckets[part]]
    unknown = 0
    for n, one in enumerate(buckets[BEFORE]):
        if one.before is None:
            continue
        here = one.copy.rows + sum(rows[n] for rows in newer)
        gone = max(0, one.before.rows - here)
        told = one.after is not None and not (untold and one.after.rows < one.before.rows)
        unknown += min(gone, max(0, there[n] - here)) if told else gone
    return unknown


def _rows(look: TableLook | None, buckets: int) -> list[int]:
    """Of each bucket, whatever cut shows them; none where there is no look."""
    parts = [look.sums(part) for part in look.parts] if look is not None else []
    return [sum(part[n].rows for part in parts) for n in range(buckets)]


def _added(found: Compared, one: _Bucket) -> Compared:
    """``found`` and a bucket that is proven, or of which only sums are known."""
    if not one.proven:
        return Compared(found.proven, found.either, found.unknown + (one.copy.rows if one.sure else one.disputed))
    changed = one.copy.rows - one.after.rows if one.after is not None else 0
    return Compared(found.proven + one.copy.rows, found.either + max(0, changed), found.unknown)


def _by_rows(
    found: Compared, buckets: Mapping[str, Sequence[_Bucket]], copy: TableLook, rows: tuple[TableRows, TableRows]
) -> tuple[Compared, Counter[str]]:
    """``found`` and the buckets whose rows were read. A row that stands on the source since before the point must stand
    in the copy, unless that is unsure, which nobody can know; any other is wrong where its bucket is, and else nobody
    can know. BY_HAND: less by what is LATER in the copy and stands on the source."""
    here, there = rows
    if any(not 0 <= n < copy.buckets for n in (*here.read, *there.read)):
        raise EvidenceError(f"The rows that were read are damaged: they are of none of {copy.buckets} buckets.")
    wrong, proven, unknown = Counter[str](), 0, 0
    parts = {part: (here.rows(part), there.rows(part)) for part in _PARTS}
    identities = {row.identity for mine, _ in parts.values() for row in mine}
    later, rewritten = _later(buckets, copy, here)
    for part in _PARTS:
        if not buckets[part]:
            continue
        undecided = {n for n in {*here.read} & {*there.read} if not buckets[part][n].proven}
        mine, theirs = (Counter(r for r in of if bucket(r, copy.buckets) in undecided) for of in parts[part])
        back = (theirs - mine) & later
        mine, later, wrong[BY_HAND] = mine + back, later - back, wrong[BY_HAND] - back.total()
        gone, more = theirs - mine - rewritten, mine - theirs
        proven += (mine & theirs).total()
        if part == UNSURE:
            unknown += more.total() + sum(count for row, count in gone.items() if row.identity not in identities)
            continue
        altered = {row.identity for row in gone if row.identity in identities}
        wrong[ALTERED] += len(altered)
        wrong[MISSING] += sum(count for row, count in gone.items() if row.identity not in identities)
        for row, count in more.items():
            if row.identity in altered:
                continue
            if buckets[part][bucket(row, copy.buckets)].too_many:
                wrong[NEVER_HAD] += count
            else:
                unknown += count
    return Compared(found.proven + proven, found.either, found.unknown + unknown), wrong


def _later(
    buckets: Mapping[str, Sequence[_Bucket]], copy: TableLook, here: TableRows
) -> tuple[Counter[Row], Counter[Row]]:
    """The rows that are still LATER in the copy, and those by which a bucket is that of the look before: the source may
    have written such a row again as it was, so that it stands for the newer one, too."""
    left = [one.rows for one in copy.sums(LATER)]
    by_before = {n for n, one in enumerate(buckets[BEFORE]) if one.proven and one.copy != one.after}
    rows = [(row, bucket(row, copy.buckets)) for row in here.rows(LATER)]
    return (
        Counter(row for row, n in rows if left[n]),
        Counter(row for row, n in rows if not left[n] and n in by_before),
    )


def bucket(row: Row, buckets: int) -> int:
    """Which of ``buckets``, a power of two, a row falls into."""
    return row.identity & (buckets - 1)


# -- definitions


class Cuts(NamedTuple):
    """What was committed at three moments; None where nothing tells. ``earlier``: at the look before. ``kept``: at the
    recovery point for certain. ``point``: on the copy before anybody but its provider can have written there."""

    earlier: Snapshot | None
    kept: Snapshot | None
    point: Snapshot | None


def definition(
    versions: tuple[Version | None, Version | None, Version | None], cuts: Cuts, held: Container[str] = ()
) -> Compared:
    """One object, or anything else that has ``versions``: before, in the copy, and afterwards; None where it was not
    there. ``held``: the identities of all that the copy has, under whatever name."""
    before, copy, after = versions
    earlier, point = cuts.earlier, cuts.point
    stood = after is not None and _stood(before, after, cuts)
    if copy is None:
        if (stood and after is not None and after.xid) or _lasted(before, after, held):
            return _wrong(MISSING)
        may_have = after is not None and cuts.kept is not None and cuts.kept.doubts(after.xid)
        return Compared(unknown=1) if before is not None or may_have else Compared(proven=1)
    same = [other is not None and other.digest == copy.digest for other in (before, after)]
    if stood:
        return Compared(proven=1) if same[1] else _wrong("defined differently")
    if any(same):
        return Compared(proven=1, either=1)
    if point is not None and not point.shows(copy.xid):
        return _wrong("defined on the copy itself, after its recovery")
    if copy.xid and earlier is not None and earlier.shows(copy.xid):
        return _wrong("defined differently" if before is not None else "not in the source")
    return Compared(unknown=1)


def _stood(before: Version | None, after: Version, cuts: Cuts) -> bool:
    """Whether ``after`` stood at the recovery point. What has no writer noted did where it is as before."""
    if not after.xid:
        return before is not None and before.digest == after.digest
    return any(cut is not None and cut.proves(after.xid) for cut in (cuts.kept, cuts.earlier))


def _lasted(before: Version | None, after: Version | None, held: Container[str]) -> bool:
    """Whether it was there from the look before to the one afterwards, as one and the same, and is not ``held``."""
    kept = before.identity if before is not None else ""
    return bool(kept) and after is not None and after.identity == kept and kept not in held


def _wrong(what: str) -> Compared:
    return Compared(wrong={what: 1})
