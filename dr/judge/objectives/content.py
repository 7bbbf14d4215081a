"""Whether the copy holds the rows and definitions that its source held at the recovery point: by looks, pure.

Missed where anything that is proven differs. What nobody can know is counted, and the finding is inconclusive where
that is beyond the limit ``unproven``, or where a look itself could not be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import msgspec

from dr.config.objective import UNKNOWN, About, Limit, Objective
from dr.domain import comparing
from dr.domain.comparing import Compared
from dr.domain.databases import parsed, within
from dr.domain.errors import EvidenceError
from dr.domain.looks import BEFORE, POINT, UNSURE, Baseline, Look, Snapshot, TableLook, TableRows, Version
from dr.domain.model import Demand, Finding, Status
from dr.evidence.model import Evidence
from dr.judge import former
from dr.judge.findings import UnknownError, counted, finding, named, parted, some

UNPROVEN = Limit("unproven", 0.05)
"""The share of rows, or of objects, that may have changed on both sides of the recovery point, so that nobody can know
how they stood at it."""


UNACCOUNTED = (
    "went before the recovery point, or on the copy itself, to which more transactions have written than its statistics"
    " tell of"
)
_SECRETS = "Passwords, and options that look like one, are not compared."
_ROLE = "role "
"""Begins the name of a role's definition."""


@dataclass(frozen=True)
class Looks:
    """``before`` and ``after``: None where there is none. ``missing``: why, a sentence for each."""

    before: Look | None
    copy: Look
    after: Look | None
    rows: Mapping[str, tuple[TableRows, TableRows]]
    missing: tuple[str, ...]

    @cached_property
    def closed(self) -> dict[str, str]:
        """Each database that could not be looked at on the copy, or at no time on the source, and why."""
        source = [look.unlooked for look in (self.before, self.after) if look is not None]
        nowhere = set[str]().union(*source).intersection(*source)
        found = {name: f"on the source: {source[-1][name]}" for name in nowhere}
        found |= {name: f"on the copy: {why}" for name, why in self.copy.unlooked.items()}
        return {f"database {name}": f"could not be looked at {why.rstrip('.')}" for name, why in sorted(found.items())}

    def hides(self, name: str) -> bool:
        """Whether what bears ``name`` is of a database that is ``closed``."""
        return any(f"database {name}".startswith(within(database, "")) for database in self.closed)

    def cuts_of(self, name: str) -> comparing.Cuts:
        """By which versions of what bears ``name`` are told: a look that could not see it tells nothing of it."""
        seen = self.before is not None and not self.before.hides(name)
        return self.cuts if seen else self.cuts._replace(earlier=None)

    @cached_property
    def cuts(self) -> comparing.Cuts:
        """By which their versions are told. Raises EvidenceError where one is damaged."""
        earlier = Snapshot.parse(self.before.snapshot) if self.before is not None else None
        kept, point = (
            Snapshot.parse(look.cuts[POINT]) if look is not None and POINT in look.cuts else None
            for look in (self.after, self.copy)
        )
        return comparing.Cuts(earlier, kept or point, point)


def _read(evidence: Evidence, what: str, path: str, kind: Any) -> Any:
    """An observation as ``kind``; why it was not made, where that is what it says; None where there is none."""
    seen = evidence.observed(what, path)
    if isinstance(seen, Mapping) and "because" in seen:
        return str(seen["because"]).rstrip(".")
    try:
        return None if seen is None else msgspec.convert(seen, kind)
    except msgspec.ValidationError as error:
        raise UnknownError(f"What was observed as {what} of the {path} cannot be read: {error}.") from None


def looked(evidence: Evidence, path: str, what: str) -> Looks:
    """Raises UnknownError where ``what`` cannot be compared."""
    copy = _read(evidence, "look", path, Look)
    if not isinstance(copy, Look):
        raise UnknownError(f"{what} cannot be compared: {copy or 'the copy was not read'}.")
    before, after = _read(evidence, "baseline", "source", Baseline), _read(evidence, "look", "source", Look)
    missing = []
    if not isinstance(before, Baseline):
        missing.append(f"No look before the recovery point: {before or 'no baseline was taken before it'}.")
    if not isinstance(after, Look):
        missing.append(f"No look at the source afterwards: {after or 'it was not looked at'}.")
    if len(missing) > 1:
        raise UnknownError(f"{what} cannot be compared. {' '.join(missing)}")
    earlier = before.look if isinstance(before, Baseline) else None
    for look, when in ((earlier, "before the recovery point"), (after, "afterwards")):
        unseen = look.unlooked.items() if isinstance(look, Look) else ()
        missing += [f"No look at database {name} of the source {when}: {why.rstrip('.')}." for name, why in unseen]
    mine, theirs = (_read(evidence, "rows", where, dict[str, TableRows]) for where in (path, "source"))
    rows = (
        {name: (mine[name], theirs[name]) for name in {*mine} & {*theirs}}
        if isinstance(mine, dict) and isinstance(theirs, dict)
        else {}
    )
    return Looks(
        earlier,
        copy,
        after if isinstance(after, Look) else None,
        rows,
        tuple(missing),
    )


class Table(NamedTuple):
    """One table of source and copy: rows there at the recovery point, as far as that is known, and here; None where
    there is no table. ``because``: what is the matter, as the end of a sentence; "" where they agree."""

    name: str
    there: int | None
    here: int | None
    status: Status
    because: str
    found: Compared = Compared()


def tables(evidence: Evidence, path: str) -> tuple[Table | former.Table, ...]:
    """Every table of source or copy compared. Raises UnknownError where there is nothing to compare.

    It alone decides whether two agree: the finding ``data`` and every report rest on it.
    """
    if former.is_form_of(evidence):
        return former.tables(evidence, path)
    return _data(evidence, path)[1]


@lru_cache(maxsize=1)
def _data(evidence: Evidence, path: str) -> tuple[Looks, tuple[Table, ...]]:
    """The looks, and their tables. Of large ones that takes long, and a report asks again for what was judged last."""
    looks = looked(evidence, path, "The data")
    return looks, _tables(looks)


def _tables(looks: Looks) -> tuple[Table, ...]:
    sides = [look.tables for look in (looks.before, looks.copy, looks.after) if look is not None]
    names = {name for side in sides for name in side if not looks.hides(name)}
    closed = (Table(name, None, None, Status.INCONCLUSIVE, why) for name, why in looks.closed.items())
    return (*(_table(name, looks) for name in sorted(names)), *closed)


def _table(name: str, looks: Looks) -> Table:
    before, after = (look.tables.get(name) if look is not None else None for look in (looks.before, looks.after))
    found = _compared(name, looks, before, after)
    if found.status is Status.MISSED and any(renamed := _renamed(name, looks)):
        found = _compared(name, looks, None if renamed[0] else before, None if renamed[1] else after)
    found = _by_login(found, looks) if found.status is Status.MISSED else found
    found = _filed(found, before, looks) if found.status is Status.MET else found
    copy = looks.copy.tables.get(name)
    if found.status is Status.MET and copy is not None and copy.short and not (after is not None and after.short):
        return found._replace(status=Status.INCONCLUSIVE, because="its file lacks pages that were written to it")
    return found


def _by_login(found: Table, looks: Looks) -> Table:
    """``found``, which is missed, unless it may have been written by what each session on the copy sets off: dr's own
    make such rows, and nothing tells these from a hand's."""
    database, _ = parsed(found.name)
    triggers = looks.copy.on_login.get(database, ())
    if comparing.BY_HAND not in found.found.wrong or not triggers:
        return found
    told = f"as {some(triggers)} may do at each login, dr's own among them: ALTER ROLE ... SET event_triggers = off"
    return found._replace(status=Status.INCONCLUSIVE, because=f"{found.because}, {told} keeps the harness's role out")


def _filed(found: Table, before: TableLook | None, looks: Looks) -> Table:
    """``found``, unless somebody filed the table on the copy itself, after its recovery, and it holds nothing that came
    by the log: that agrees with a source whose rows have all changed since. A VACUUM FULL files an empty table, too."""
    copy, point = looks.copy.tables.get(found.name), looks.cuts.point
    if copy is None or not copy.filed or point is None or point.shows(copy.filed):
        return found
    held = before.rows if before is not None else 0
    if found.found.proven or _stood(copy) + _rows_in(copy, UNSURE) or not (held or copy.uncounted):
        return found
    told = "emptied on the copy itself, after its recovery"
    if held and copy.uncounted:
        return found._replace(status=Status.MISSED, because=f"{counted(held, 'row')} {told}")
    because = f"it may have been {told}: whether it held rows at the recovery point is not known"
    return found._replace(status=Status.INCONCLUSIVE, because=because)


def _compared(name: str, looks: Looks, before: TableLook | None, after: TableLook | None) -> Table:
    copy, source = looks.copy.tables.get(name), after or before
    there = None if source is None else (_stood(after) + _rows_in(after, UNSURE) if after is not None else source.rows)
    readable = [one for one in (before, after) if one is not None and not one.unreadable]
    if copy is None:
        return _gone(name, there, before, after, looked=looks.after is not None and not looks.after.hides(name))
    if copy.unreadable:
        status = Status.MISSED if readable and copy.damaged else Status.INCONCLUSIVE
        return Table(name, there, None, status, f"cannot be read on the copy: {copy.unreadable}")
    if source is not None and not any(comparing.comparable(copy, one) for one in readable):
        why = f"summed as {source.method} on the source and as {copy.method} on the copy"
        if not readable:
            why = f"cannot be read on the source: {source.unreadable}"
        return Table(name, there, copy.rows, Status.INCONCLUSIVE, why)
    try:
        rows = looks.rows.get(name) if after is not None else None
        told = looks.copy.unwritten or (copy.touched is not None and looks.copy.accounted)
        found = comparing.table(before, copy, after, rows, told=told)
        gone = 0 if looks.copy.accounted else comparing.went(before, copy, after)
    except (EvidenceError, IndexError) as error:
        return Table(name, there, copy.rows, Status.INCONCLUSIVE, f"its sums cannot be read: {error}")
    because = ", ".join(f"{counted(count, 'row')} {what}" for what, count in found.wrong.items())
    if gone and not because:
        because = f"{counted(gone, 'row')} of the look before {UNACCOUNTED}"
        return Table(name, there, copy.rows, Status.INCONCLUSIVE, because, found)
    return Table(name, there, copy.rows, Status.MISSED if because else Status.MET, because, found)


def _renamed(name: str, looks: Looks) -> tuple[bool, bool]:
    """Whether another table than in the copy may have been called ``name`` at the look before, and afterwards: what
    defines it was written between that look and the recovery point, or after this. A digest holds no name."""
    copy, after, cuts = _defined(name, looks.copy), _defined(name, looks.after), looks.cuts
    return _newer(copy, cuts.earlier), _newer(after, cuts.kept)


def _newer(one: Version | None, cut: Snapshot | None) -> bool:
    return one is not None and cut is not None and not cut.proves(one.xid)


def _defined(name: str, look: Look | None) -> Version | None:
    """The version of the table ``name``; None where it is not known."""
    database, own = parsed(name)
    names = (within(database, f"{kind} {own}") for kind in ("table", "materialized view"))
    return next((look.objects[one] for one in names if look is not None and one in look.objects), None)


def _stood(table: TableLook) -> int:
    """Rows that stand since before the recovery point."""
    return sum(_rows_in(table, part) for part in (BEFORE, POINT))


def _rows_in(table: TableLook, part: str) -> int:
    return table.parts[part].rows if part in table.parts else 0


def _gone(name: str, there: int | None, before: TableLook | None, after: TableLook | None, *, looked: bool) -> Table:
    """A table that the copy lacks."""
    if after is not None:
        stood, unsure = _stood(after), _rows_in(after, UNSURE)
        if unsure and not stood:
            because = f"missing, with {counted(unsure, 'row')} that may have been committed after the recovery point"
            return Table(name, there, None, Status.INCONCLUSIVE, because)
        if stood:
            return Table(name, there, None, Status.MISSED, f"missing, with {counted(stood, 'row')}")
        return Table(name, there, None, Status.MET, "", Compared(unknown=before.rows if before is not None else 0))
    rows = before.rows if before is not None else 0
    if looked or not rows:  # dropped on the source: before the recovery point, or after it
        return Table(name, there, None, Status.MET, "", Compared(unknown=rows))
    because = f"missing, with {counted(rows, 'row')}; whether it was dropped before the recovery point is not known"
    return Table(name, there, None, Status.INCONCLUSIVE, because)


def _judge_data(evidence: Evidence, demand: Demand) -> Finding:
    if former.is_form_of(evidence):
        return former.data(evidence, demand)
    looks, compared = _data(evidence, demand.path)
    if all(table.there is None for table in compared):
        raise UnknownError("The source holds no table that could be compared.")
    wrong, unproven = parted(compared)
    own = evidence.observed("victims", demand.path) or {"expected": 0, "present": 0}
    if own["present"] != own["expected"]:  # the source lost them after the point, so that no look afterwards tells
        wrong = {**wrong, "the drill's own rows": f"{own['present']} of {own['expected']} that vanished are back"}
    return _finding(demand, looks, [table.found for table in compared], (wrong, unproven), "row", "table")


def _judge_schema(evidence: Evidence, demand: Demand) -> Finding:
    if former.is_form_of(evidence):
        return former.schema(evidence, demand)
    looks = looked(evidence, demand.path, "The schema")
    copy = looks.copy
    before, after = (
        look if look is not None and look.recipe == copy.recipe else None for look in (looks.before, looks.after)
    )
    other = after or before
    if other is None:
        raise UnknownError("The schema cannot be compared: the looks at the source digest definitions by other rules.")
    if other.major != copy.major:
        raise UnknownError(f"The copy runs version {copy.major}, the source {other.major}: definitions do not compare.")
    looks = looks if before is not None else replace(looks, before=None)
    found, wrong, unproven = [], dict[str, str](), looks.closed
    held = {one.identity for one in copy.objects.values()}
    for name in sorted({name for look in (before, copy, after) if look is not None for name in look.objects}):
        if looks.hides(name):
            continue
        there, here, kept = (look.objects.get(name) if look is not None else None for look in (before, copy, after))
        one = comparing.definition((there, here, kept), looks.cuts_of(name), held)
        found.append(one)
        wrong.update((name, what) for what in one.wrong)
        if one.unknown and here is None and (after is None or after.hides(name)):
            unproven[name] = "missing; whether it was dropped before the recovery point is not known"
        elif one.unknown and here is None and _may_have_lasted(there, kept) and not copy.unwritten:
            unproven[name] = "missing, and on the source before and afterwards; whether it went there is not known"
        if here is not None and not here.xid and there is kept is None and name.startswith(_ROLE):
            unproven[name] = "in neither look at the source, and who made it could not be read on the copy"
    return _finding(demand, looks, found, (wrong, unproven), "object", "object", _SECRETS)


def _may_have_lasted(before: Version | None, after: Version | None) -> bool:
    """Whether it may be one and the same, for all that its versions tell."""
    return before is not None and after is not None and before.identity == after.identity == ""


def _finding(
    demand: Demand,
    looks: Looks,
    found: list[Compared],
    offenders: tuple[Mapping[str, str], Mapping[str, str]],
    noun: str,
    offender: str,
    never: str = "",
) -> Finding:
    """``found``: what is known of each ``noun``. ``offenders``: what is wrong and what could not be judged, by name, of
    each ``offender``. ``never``: what no look holds, a sentence."""
    wrong, unproven = offenders
    proven, either, unknown = (sum(getattr(one, what) for one in found) for what in ("proven", "either", "unknown"))
    share, limit = unknown / max(1, proven + unknown), demand.limit or 0.0
    counts = f"{counted(proven, noun)} proven"
    counts += f", {either} of them by the look before alone, since the source changed them afterwards" if either else ""
    counts += (
        f"; {unknown} ({share:.2%}) changed on both sides of the recovery point, and nobody can know them"
        if unknown
        else ""
    )
    more = [f"Not compared: {some([f'{name} ({why})' for name, why in sorted(looks.copy.left_out.items())])}."]
    beside = " ".join((*looks.missing, *(more if looks.copy.left_out else ()), never))
    if wrong or unproven:
        told = named(wrong or unproven)
        told += f"; {counted(len(unproven), offender)} could not be judged" if wrong and unproven else ""
        status = Status.MISSED if wrong else Status.INCONCLUSIVE
        return finding(demand, status, f"{told}. {counts}. {beside}".rstrip(), share)
    if share > limit or not proven:
        why = "Too much is unknown" if unknown else "Neither side holds anything that proves it"
        return finding(demand, Status.INCONCLUSIVE, f"{why}: {counts}. {beside}".rstrip(), share)
    return finding(demand, Status.MET, f"{counts}. {beside}".rstrip(), share)


OBJECTIVES = (
    Objective("schema", About.CONTENT, _judge_schema, UNKNOWN, (UNPROVEN,), on_call="examine", role="database"),
    Objective("data", About.CONTENT, _judge_data, UNKNOWN, (UNPROVEN,), on_call="examine", role="database"),
)
