"""The rules for data and definitions of runs whose source was summed once, and once again later. Pure.

Such runs repeat their verdicts to the word; ``dr.judge.objectives.content`` has the rules of today.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from dr.domain.looks import UNREADABLE
from dr.domain.model import Demand, Finding, Status
from dr.evidence.model import Evidence
from dr.judge.findings import UnknownError, baseline_of, by_name, counted, parted


def is_form_of(evidence: Evidence) -> bool:
    """Whether a run's copy was read in the former way."""
    return any(seen.what == "fingerprint" for seen in evidence.observations)


@dataclass(frozen=True, slots=True)
class TableSum:
    """A table's rows under one filter, and their checksum. ``total``: all rows, those beyond the filter included."""

    rows: int
    checksum: str
    method: str
    total: int = 0


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A database under one recorded snapshot. ``schema``: object name to digest. ``tables``: name to sum."""

    at: float
    major: int
    snapshot: str
    schema: Mapping[str, str]
    tables: Mapping[str, TableSum]


@dataclass(frozen=True, slots=True)
class Repeat:
    """What had ``changed`` on the source later, by name; ``totals``: every table's rows then, without the filter."""

    at: float
    changed: tuple[str, ...]
    totals: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Baseline:
    fingerprint: Fingerprint
    repeats: tuple[Repeat, ...] = ()


class _Pair(NamedTuple):
    """``changed``: what the baseline's repeats found changed on the source, of which nothing is proven. ``totals``: how
    many rows each table of the source held at the last repeat, after the recovery point."""

    source: Fingerprint
    copy: Fingerprint
    changed: frozenset[str]
    totals: Mapping[str, int]


def _pair(evidence: Evidence, path: str, what: str) -> _Pair:
    """Baseline and copy. Raises UnknownError where ``what`` cannot be compared."""
    recorded, observed = baseline_of(evidence, what), evidence.observed("fingerprint", path)
    if observed is None:
        raise UnknownError(f"{what} cannot be compared: the copy's content was not read.")
    try:
        baseline, copy = msgspec.convert(recorded, Baseline), msgspec.convert(observed, Fingerprint)
    except msgspec.ValidationError as error:
        raise UnknownError(f"{what} cannot be compared: what was recorded of them cannot be read ({error}).") from None
    if not baseline.repeats:
        why = "the baseline was not repeated after the recovery point, so it proves nothing of it"
        raise UnknownError(f"{what} cannot be compared: {why}.")
    if copy.snapshot != baseline.fingerprint.snapshot:
        raise UnknownError(f"{what} cannot be compared: the copy was read under another snapshot than the baseline's.")
    changed = frozenset(name for repeat in baseline.repeats for name in repeat.changed)
    return _Pair(baseline.fingerprint, copy, changed, baseline.repeats[-1].totals)


def schema(evidence: Evidence, demand: Demand) -> Finding:
    pair = _pair(evidence, demand.path, "The schema")
    there, here = pair.source, pair.copy
    if there.major != here.major:
        raise UnknownError(f"The copy runs version {here.major}, the source {there.major}: definitions do not compare.")
    differing = sorted(n for n in {*there.schema, *here.schema} if there.schema.get(n) != here.schema.get(n))
    changed = dict.fromkeys(
        sorted(pair.changed & {*there.schema, *here.schema}), "changed on the source after the baseline"
    )
    wrong = {
        name: "missing"
        if name not in here.schema
        else "defined differently"
        if name in there.schema
        else "not in the source"
        for name in differing
        if name not in changed
    }
    return by_name(demand, wrong, changed, f"All {len(there.schema)} objects are defined as in the source.", "object")


class Table(NamedTuple):
    """One table of source and copy under the baseline's filter: rows there and here, None where there is no table.

    ``later``: rows of the copy beyond the filter, which are only counted. ``status``: met where the sums agree, missed
    where the copy's differ from the source's, inconclusive where they prove nothing. ``because``: what is the matter,
    as the end of a sentence; "" where they agree.
    """

    name: str
    there: int | None
    here: int | None
    later: int
    status: Status
    because: str


def tables(evidence: Evidence, path: str) -> tuple[Table, ...]:
    """Every table of source or copy compared. Raises UnknownError where there is nothing to compare.

    It alone decides whether two sums agree: the finding ``data`` and every report rest on it.
    """
    pair, compared = _pair(evidence, path, "The data"), []
    for name in sorted({*pair.source.tables, *pair.copy.tables}):
        there, here = pair.source.tables.get(name), pair.copy.tables.get(name)
        later = here.total - here.rows if there and here else 0
        rows = (there.rows if there else None, here.rows if here else None)
        compared.append(Table(name, *rows, later, *_compared(name, there, here, pair)))
    return tuple(compared)


def _compared(name: str, there: TableSum | None, here: TableSum | None, pair: _Pair) -> tuple[Status, str]:
    unread = [
        f"{table.method} on the {where}"
        for table, where in ((there, "source"), (here, "copy"))
        if table is not None and table.method.startswith(UNREADABLE)
    ]
    if name in pair.changed:
        return Status.INCONCLUSIVE, "its rows changed on the source after the baseline"
    if here is None:
        return Status.MISSED, f"missing, with {counted(pair.source.tables[name].rows, 'row')}"
    if unread:
        return Status.INCONCLUSIVE, unread[0]
    if there is None:
        # Every row of a table made after the baseline is beyond its filter; one with rows under it is not the source's.
        return (Status.MISSED, "not in the source") if here.rows else (Status.MET, "")
    if there.method == here.method and there.rows != here.rows:
        return Status.MISSED, f"{counted(here.rows, 'row')} instead of {there.rows}"
    if there.method == here.method and there.checksum != here.checksum:
        return Status.MISSED, f"altered among its {counted(there.rows, 'row')}"
    beyond = here.total - pair.totals.get(name, here.total)
    if beyond > 0:  # rows beyond the filter are not beyond count
        return Status.MISSED, f"{counted(beyond, 'row')} more than the source held later"
    if there.method != here.method:
        return Status.INCONCLUSIVE, f"summed as {there.method} on the source and as {here.method} on the copy"
    return Status.MET, ""


def data(evidence: Evidence, demand: Demand) -> Finding:
    compared = tables(evidence, demand.path)
    sources = [table for table in compared if table.there is not None]
    if not sources:
        raise UnknownError("The source holds no table that could be compared.")
    wrong, unproven = parted(compared)
    rows, later = sum(table.there or 0 for table in sources), sum(table.later for table in sources)
    met = f"{counted(len(sources), 'table')} hold the source's {counted(rows, 'row')}"
    met += f"; {later} later {'one' if later == 1 else 'ones'} only counted." if later > 0 else "."
    return by_name(demand, wrong, unproven, met, "table")
