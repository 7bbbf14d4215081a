"""Whether the copy holds what is neither row nor definition: sequences, large objects, rows of unlogged tables. Pure.

A sequence may be ahead, since a server that crashed or was promoted skips some numbers, but not far beyond its source.
It may not be behind those in its column, nor behind where it stood before. What is so on the source, too, is said of
the source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple, TypeVar

from dr.config.objective import UNKNOWN, About, Objective
from dr.domain import comparing
from dr.domain.looks import DAMAGED
from dr.domain.model import Demand, Finding, Status
from dr.domain.state import CONTENTS, LARGE_OBJECTS, Sequence, State
from dr.evidence.model import Evidence
from dr.judge.findings import UnknownError, counted, finding, named, some
from dr.judge.objectives.content import UNPROVEN, Looks, looked

T = TypeVar("T")

STATISTICS_KEPT = 18
"""The version from which on an upgrade keeps the planner's statistics."""
UNREAD_CONTENTS = "what is in them was not read: let the harness's role read it, or exclude it in dr.yaml"


class Sides(NamedTuple):
    """``before`` and ``after``: of the source; None where it was not looked at. ``looks``: of which they are.
    ``upgraded``: the copy's major version where the source's is an earlier one, else 0."""

    before: State | None
    copy: State
    after: State | None
    looks: Looks
    upgraded: int = 0

    @property
    def source(self) -> tuple[State, ...]:
        return tuple(state for state in (self.before, self.after) if state is not None)


def sides(evidence: Evidence, path: str, what: str) -> Sides:
    """Raises UnknownError where ``what`` was not looked at on the copy, or at no time on the source."""
    looks = looked(evidence, path, what)
    before, copy, after = (look.state if look is not None else None for look in (looks.before, looks.copy, looks.after))
    if copy is None:
        raise UnknownError(f"{what} cannot be compared: on the copy, nothing but rows and definitions was looked at.")
    if before is None and after is None:
        raise UnknownError(f"{what} cannot be compared: at the source, nothing but rows and definitions was looked at.")
    before, after = (_shown(state, looks) if state is not None else None for state in (before, after))
    copy = replace(_shown(copy, looks), unread={**copy.unread, **looks.closed})
    earliest = min(look.major for look in (looks.before, looks.after) if look is not None)
    return Sides(before, copy, after, looks, looks.copy.major if earliest < looks.copy.major else 0)


def _shown(state: State, looks: Looks) -> State:
    """``state`` without what is of a database that is closed."""
    return replace(
        state,
        sequences=_seen(state.sequences, looks),
        large_objects=_seen(state.large_objects, looks),
        unlogged=_seen(state.unlogged, looks),
    )


def _seen(of: Mapping[str, T], looks: Looks) -> dict[str, T]:
    return {name: one for name, one in of.items() if not looks.hides(name)}


def _sequence(name: str, of: Sides) -> tuple[Status, str]:
    """What is the matter with it on the copy, or is so on the source, too, which is met; "" where nothing is."""
    here = of.copy.sequences[name]
    before, after = (state.sequences.get(name) if state is not None else None for state in (of.before, of.after))
    cuts = of.looks.cuts
    if cuts.point is not None and here.xid and not cuts.point.shows(here.xid):
        return Status.MISSED, f"gives out {here.next} next, and was altered on the copy itself, after its recovery"
    behind = ""
    if here.utmost is not None and not here.cycles and here.behind(here.utmost):
        behind = f"is behind {here.column} by {here.steps_to(here.utmost)}"
        passed = before is not None and not before.behind(here.utmost)
        theirs = any(one is not None and one.behind(one.utmost) for one in (before, after))
        never = after is not None and after.behind(here.utmost)
        if not theirs and (after is None or passed):
            return Status.MISSED, behind
        if not theirs and not never:
            return Status.INCONCLUSIVE, f"{behind}; the source may have been set right after the recovery point"
    altered = cuts.earlier is not None and not cuts.earlier.shows(here.xid)
    since = None if before is None or altered or before.step != here.step else before
    found = _moved(here, since, after) if since is not None else None
    if found is not None and found[0] is Status.MISSED and after is not None and of.looks.copy.unwritten:
        # to set one takes a transaction: it came by the log
        found = Status.INCONCLUSIVE, f"{found[1]}, where it may have been set and set back: nobody wrote to the copy"
    return found or _ahead(here, since, (before, after)) or (Status.MET, behind)


def _ahead(
    here: Sequence, since: Sequence | None, source: tuple[Sequence | None, Sequence | None]
) -> tuple[Status, str] | None:
    """What is the matter where it has given out more numbers than its ``source`` by now; None where nothing is.
    ``since``: where it stood before, if it was not altered afterwards."""
    after = source[1]
    alike = after is not None and (after.xid, after.step) == (here.xid, here.step) and not here.cycles
    set_back = after is not None and since is not None and after.steps_from(since) < 0
    beyond = after is not None and alike and not set_back and here.steps_from(after) > here.ahead
    if here.exhausted and not any(one is not None and one.exhausted for one in source):
        return Status.MISSED if beyond else Status.INCONCLUSIVE, "is exhausted, and on the source it is not"
    if after is None or not beyond:
        return None
    told = f"gives out {here.next} next, far beyond {after.next} on the source afterwards"
    return Status.INCONCLUSIVE, f"{told}, where it may have been set and set back"


def _moved(here: Sequence, before: Sequence, after: Sequence | None) -> tuple[Status, str] | None:
    """What is the matter with where it stands, since it stood where ``before`` does; None where nothing is."""
    steps, idle = here.steps_from(before), after is not None and after.next == before.next
    if idle and not 0 <= steps <= here.ahead:
        return Status.MISSED, f"gives out {here.next} next, on the source it is {before.next} before and afterwards"
    if steps >= 0 or here.cycles or (after is not None and after.steps_from(before) < 0):
        return None
    told = f"gives out {here.next} next, behind {before.next} on the source before"
    if after is None:
        return Status.MISSED, told
    return Status.INCONCLUSIVE, f"{told}, where it may have been set back and used since"


def _large_objects(of: Sides) -> tuple[dict[str, str], Counter[str]]:
    """What is wrong, by name, and how many are proven and not known."""
    wrong, counts = {}, Counter[str]()
    for oid in sorted({oid for state in (of.copy, *of.source) for oid in state.large_objects}):
        there, here, kept = (
            s.large_objects.get(oid) if s is not None else None for s in (of.before, of.copy, of.after)
        )
        found = comparing.definition((there, here, kept), of.looks.cuts_of(oid))
        # on the source, too: before the recovery point or after it
        gone = (
            here is kept is None
            and of.after is not None
            and of.looks.after is not None
            and not of.looks.after.hides(oid)
        )
        counts.update({"proven": found.proven, "gone" if gone else "unknown": found.unknown})
        for what in found.wrong:
            wrong[f"large object {oid}"] = what.replace("defined", "written")
    return wrong, counts


def _unlogged(of: Sides) -> tuple[dict[str, str], list[str]]:
    """Tables that a physical copy empties, so that a row in one was written on the copy: what is wrong, by name, and
    what else is to be known of them."""
    wrong, notes = {}, []
    for name, here in of.copy.unlogged.items():
        held = [state.unlogged[name] for state in of.source if name in state.unlogged]
        if not any(held):
            continue
        empty = f"empty but for {counted(here, 'row')} of the copy's own" if here else "empty"
        told = f"{empty}, since it is unlogged: {counted(max(held), 'row')} on the source"
        if name in of.copy.expendable:
            notes.append(f"{name} is expendable and {told}")
        elif all(held):
            wrong[name] = f"{told}; what nobody misses may be called expendable in dr.yaml"
        else:
            notes.append(f"{name} is {told}, either before the recovery point or after it")
    return wrong, notes


def _restarted(of: Sides) -> tuple[dict[str, str], list[str]]:
    """Unlogged sequences, which a physical copy sets to their start: as ``_unlogged``."""
    wrong, notes = {}, []
    for name, here in of.copy.sequences.items():
        there = [state.sequences[name] for state in of.source if here.unlogged and name in state.sequences]
        beyond = [one.next for one in there if one.next != here.next and (here.cycles or here.steps_from(one) < 0)]
        if not beyond:
            continue
        told = f"was set to its start, since it is unlogged: {beyond[-1]} is next on the source"
        if any(name == one or here.column.startswith(f"{one}.") for one in of.copy.expendable):
            notes.append(f"{name} is expendable and {told}")
        elif len(beyond) == len(there):
            wrong[name] = f"{told}; its table, or it, may be called expendable in dr.yaml"
        else:
            notes.append(f"{name} {told}, either before the recovery point or after it")
    return wrong, notes


def _unread(of: Sides) -> tuple[dict[str, str], dict[str, str]]:
    """What could not be read, and apart from it what the copy holds damaged and the source does not. Large objects are
    compared where all were read alike."""
    damaged = {
        name: f"cannot be read on the copy: {why}"
        for name, why in of.copy.unread.items()
        if why.startswith(DAMAGED) and any(name not in state.unread for state in of.source)
    }
    unproven = {name: why for name, why in of.copy.unread.items() if name not in damaged}
    theirs = [why for state in of.source for name, why in state.unread.items() if _of_objects((name,))]
    if len({state.contents for state in (of.copy, *of.source)}) > 1:
        theirs.append("what is in them could not be read everywhere")
    if theirs and not _of_objects((*unproven, *damaged)):
        unproven[LARGE_OBJECTS] = theirs[0]
    return unproven, damaged


def _of_objects(unread: Iterable[str]) -> bool:
    """Whether large objects are among them, of whatever database."""
    return any(name.endswith(LARGE_OBJECTS) for name in unread)


def _contents_missing(of: Sides) -> bool:
    """Whether there are large objects, and nobody read what is in them although dr.yaml does not exclude that."""
    there = any(state.large_objects for state in (of.copy, *of.source))
    return there and not of.copy.contents and CONTENTS not in of.looks.copy.left_out


def _judge_state(evidence: Evidence, demand: Demand) -> Finding:
    of = sides(evidence, demand.path, "Sequences, large objects and unlogged tables")
    unproven, damaged = _unread(of)
    found = {name: _sequence(name, of) for name, one in sorted(of.copy.sequences.items()) if not one.unlogged}
    wrong = {name: told for name, (status, told) in found.items() if status is Status.MISSED}
    unproven |= {name: told for name, (status, told) in found.items() if status is Status.INCONCLUSIVE}
    theirs = [f"{name} {told}" for name, (status, told) in found.items() if status is Status.MET and told]
    lost, counts = ({}, Counter[str]()) if _of_objects((*unproven, *damaged)) else _large_objects(of)
    (emptied, notes), (restarted, more) = _unlogged(of), _restarted(of)
    wrong, notes = wrong | lost | emptied | restarted | damaged, [*notes, *more]
    if _contents_missing(of) and not _of_objects(unproven):
        unproven[LARGE_OBJECTS] = UNREAD_CONTENTS
    share = counts["unknown"] / max(1, counts["proven"] + counts["unknown"])
    if counts["gone"]:
        notes.append(
            f"{counted(counts['gone'], 'large object')} of before, gone on the source, too, may have gone at any time"
        )
    beside = " ".join(f"{note[0].upper()}{note[1:]}." for note in (*notes, *_told(of, theirs, counts["unknown"])))
    if wrong or unproven:
        status = Status.MISSED if wrong else Status.INCONCLUSIVE
        return finding(demand, status, f"{named(wrong or unproven)}. {beside}".rstrip(), share)
    if share > (demand.limit or 0.0):
        return finding(demand, Status.INCONCLUSIVE, f"Too much is unknown. {beside}", share)
    met = f"{counted(len(of.copy.sequences), 'sequence')}, {counted(counts['proven'], 'large object')}"
    met += f" and {counted(len(of.copy.unlogged), 'unlogged table')} are as they should be."
    return finding(demand, Status.MET, f"{met} {beside}".rstrip(), share)


def _told(of: Sides, theirs: list[str], unknown: int) -> Iterator[str]:
    """What belongs beside any finding: of the source, left out, and never brought by a restore."""
    if theirs:
        yield f"as on the source, {some(theirs)}"
    if unknown:
        yield f"nobody can know {counted(unknown, 'large object')}, changed on both sides of the recovery point"
    if of.copy.large_objects and CONTENTS in of.looks.copy.left_out:
        yield "what is in the large objects was not compared, as dr.yaml says"
    if of.copy.prepared:
        yield f"transactions are prepared on the copy, and hold locks until they are ended: {some(of.copy.prepared)}"
    source = of.source[-1]
    gone = [name for name in source.slots if name not in of.copy.slots]
    if gone:
        yield f"a restore brings no replication slot, so that their readers have a gap: {some(gone)}"
    if source.subscriptions:
        yield f"a restore does not bring back where subscriptions were: {some(source.subscriptions)}"
    if of.upgraded and of.upgraded < STATISTICS_KEPT:
        yield "an upgrade brings no statistics to plan queries by: run ANALYZE before users come"
    if of.copy.databases:
        yield f"the server's other databases were not looked at: {some(of.copy.databases)}"


OBJECTIVES = (
    Objective("state", About.CONTENT, _judge_state, UNKNOWN, (UNPROVEN,), on_call="examine", role="database"),
)
