"""Histories of a source drawn at random: a copy of any moment is never called wrong, and one that was tampered with is
never called whole where the looks prove what stood there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from dr.domain import comparing
from dr.domain.comparing import Compared
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
    packed_rows,
    packed_sums,
)

KEYS, BUCKETS, METHOD = 6, 4, "hash-15/1"


@dataclass(frozen=True)
class Stored:
    """A version of a row, and the transaction that wrote it."""

    key: int
    content: int
    xid: int

    @property
    def row(self) -> Row:
        return Row(self.key, self.content * 7919 + self.key * 104_729)


State = Mapping[int, Stored]


@dataclass(frozen=True)
class History:
    """States after each transaction, in the order in which they committed; ``snapshots``: what each shows."""

    states: list[State] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Transactions write one row each, or delete it. Some commit later than others that began after them."""
    length = draw(st.integers(3, 30))
    begun = list(range(100, 100 + length))
    late = {xid: draw(st.sampled_from([0, 0, 0, 5])) for xid in begun}
    order = sorted(begun, key=lambda xid: (xid + late[xid], xid))
    history, state, done = History(), dict[int, Stored](), set[int]()
    for xid in order:
        key = draw(st.integers(0, KEYS - 1))
        if draw(st.booleans()) and draw(st.booleans()):
            state.pop(key, None)
        else:
            state = {**state, key: Stored(key, draw(st.integers(1, 4)), xid)}
        done.add(xid)
        newest = max(done) + 1
        history.states.append(dict(state))
        history.snapshots.append(Snapshot(0, newest, tuple(x for x in begun if x < newest and x not in done)))
    return history


def look(rows: Iterable[Stored], cuts: Mapping[str, Snapshot], buckets: int = BUCKETS) -> TableLook:
    split = parts_of(rows, cuts)
    return TableLook(METHOD, buckets, {name: _part([r.row for r in of], buckets) for name, of in split.items()})


def parts_of(rows: Iterable[Stored], cuts: Mapping[str, Snapshot]) -> dict[str, list[Stored]]:
    found: dict[str, list[Stored]] = {name: [] for name in (*cuts, UNSURE, LATER)}
    for row in rows:
        name = next((name for name, cut in cuts.items() if cut.shows(row.xid)), LATER)
        found[UNSURE if name in cuts and cuts[name].doubts(row.xid) else name].append(row)
    return found


def _part(rows: list[Row], buckets: int) -> Part:
    sums = [NOTHING] * buckets
    for row in rows:
        n = comparing.bucket(row, buckets)
        sums[n] = Sum(sums[n].rows + 1, (sums[n].hashes + row.content) % 2**64)
    return Part(len(rows), packed_sums(sums))


def read(rows: Iterable[Stored], cuts: Mapping[str, Snapshot], wanted: tuple[int, ...]) -> TableRows:
    split = parts_of(rows, cuts)
    kept = {name: [r.row for r in of if comparing.bucket(r.row, BUCKETS) in wanted] for name, of in split.items()}
    return TableRows(wanted, {name: packed_rows(of) for name, of in kept.items()})


@dataclass(frozen=True)
class Drill:
    """Three moments of a history."""

    history: History
    before: int
    point: int
    after: int

    @property
    def cuts(self) -> dict[str, Snapshot]:
        return {BEFORE: self.history.snapshots[self.before], POINT: self.history.snapshots[self.point]}

    def source(self, when: int) -> list[Stored]:
        return list(self.history.states[when].values())

    def compared(
        self, copy: list[Stored], *, looked_before: bool, looked_after: bool, by_rows: bool, counted: bool = True
    ) -> Compared:
        """``counted``: whether the copy's transactions tell that nobody wrote to it, as they do not of a forger."""
        cuts = self.cuts if looked_before else {POINT: self.cuts[POINT]}
        before = look(self.source(self.before), {BEFORE: self.cuts[BEFORE]}) if looked_before else None
        after = look(self.source(self.after), cuts) if looked_after else None
        here = look(copy, cuts)
        wanted = comparing.unsettled(before, here, after)
        rows = (read(copy, cuts, wanted), read(self.source(self.after), cuts, wanted))
        return comparing.table(before, here, after, rows if by_rows and looked_after else None, told=counted)


@st.composite
def drills(draw: st.DrawFn) -> Drill:
    history = draw(histories())
    moments = sorted(draw(st.lists(st.integers(0, len(history.states) - 1), min_size=3, max_size=3)))
    return Drill(history, *moments)


LOOKED = st.sampled_from([(True, True), (True, False), (False, True)])


@given(drills(), LOOKED, st.booleans(), st.booleans())
def test_a_copy_of_the_point_is_never_wrong(
    drill: Drill, looked: tuple[bool, bool], by_rows: bool, counted: bool
) -> None:
    copy = drill.source(drill.point)
    found = drill.compared(copy, looked_before=looked[0], looked_after=looked[1], by_rows=by_rows, counted=counted)
    assert found.wrong == {}
    gone = found.proven + found.unknown - len(copy)  # of the look before, where no other tells when they went
    assert 0 <= gone <= len(drill.source(drill.before))
    assert found.either <= found.proven


def _kept(drill: Drill) -> list[Stored]:
    """Rows that stand from the point to the look afterwards."""
    now = drill.history.states[drill.after]
    return [row for key, row in drill.history.states[drill.point].items() if now.get(key) == row]


def _lost(row: Stored) -> list[Stored]:
    return []


def _altered_beneath(row: Stored) -> list[Stored]:
    return [replace(row, content=row.content + 10)]


def _altered_by_hand(row: Stored) -> list[Stored]:
    return [Stored(row.key, row.content + 10, 10_000)]


def _doubled_beneath(row: Stored) -> list[Stored]:
    return [row, row]


ACTS = st.sampled_from([_lost, _altered_beneath, _altered_by_hand, _doubled_beneath])


@given(drills(), ACTS, st.data(), st.booleans())
def test_what_stands_on_the_source_since_the_point_must_stand_in_the_copy(
    drill: Drill, act: Callable[[Stored], list[Stored]], data: st.DataObject, looked_before: bool
) -> None:
    if not (kept := _kept(drill)):
        return
    chosen = data.draw(st.sampled_from(kept))
    copy = [more for row in drill.source(drill.point) for more in (act(row) if row == chosen else [row])]
    found = drill.compared(copy, looked_before=looked_before, looked_after=True, by_rows=True)
    if act is _doubled_beneath:  # a second one beside rows that have changed since is one that nobody can know
        assert found.wrong or found.unknown
    else:
        assert found.wrong


@given(drills(), LOOKED, st.booleans())
def test_a_copy_that_lost_all_rows_is_never_whole(drill: Drill, looked: tuple[bool, bool], by_rows: bool) -> None:
    found = drill.compared([], looked_before=looked[0], looked_after=looked[1], by_rows=by_rows)
    if looked[1]:
        assert bool(found.wrong) is bool(_kept(drill))
    else:
        assert (found.proven, found.unknown) == (0, len(drill.source(drill.before)))


def _numbered_like_a_hand(copy: list[Stored], chosen: list[Stored]) -> list[Stored]:
    """``copy`` where rows are frozen whose transactions' numbers have come round to those of its own."""
    return [replace(row, xid=10_000) if row in chosen else row for row in copy]


@given(drills(), st.data(), st.booleans())
def test_a_frozen_row_with_the_number_of_one_of_the_copys_own_transactions_is_no_hand(
    drill: Drill, data: st.DataObject, looked_before: bool
) -> None:
    if not (kept := _kept(drill)):
        return
    chosen = data.draw(st.lists(st.sampled_from(kept), min_size=1, unique=True))
    point = drill.source(drill.point)
    found = drill.compared(
        _numbered_like_a_hand(point, chosen), looked_before=looked_before, looked_after=True, by_rows=True
    )
    assert found.wrong == {}
    assert 0 <= found.proven + found.unknown - len(point) <= len(drill.source(drill.before))
    assert found.proven >= len(kept)
    act = data.draw(ACTS.filter(lambda act: act is not _doubled_beneath))
    copy = [more for row in point for more in (act(row) if row == chosen[0] else [row])]
    tampered = drill.compared(
        _numbered_like_a_hand(copy, chosen[1:]), looked_before=looked_before, looked_after=True, by_rows=True
    )
    assert tampered.wrong


@given(drills(), st.data(), st.booleans())
def test_a_frozen_row_is_no_hand_by_its_buckets_sum_alone(
    drill: Drill, data: st.DataObject, looked_after: bool
) -> None:
    still = replace(drill, before=drill.point, after=drill.point)
    copy = still.source(still.point)
    chosen = data.draw(st.lists(st.sampled_from(copy), unique=True)) if copy else []
    found = still.compared(
        _numbered_like_a_hand(copy, chosen), looked_before=True, looked_after=looked_after, by_rows=False
    )
    assert (found.proven, found.unknown, found.wrong) == (len(copy), 0, {})


@given(drills(), st.integers(0, KEYS - 1), LOOKED)
def test_a_row_that_a_hand_wrote_on_the_copy_is_wrong(drill: Drill, key: int, looked: tuple[bool, bool]) -> None:
    copy = [row for row in drill.source(drill.point) if row.key != key] + [Stored(key, 99, 10_000)]
    found = drill.compared(copy, looked_before=looked[0], looked_after=looked[1], by_rows=True)
    assert comparing.BY_HAND in found.wrong


def _unlooked(drill: Drill, since: int, until: int) -> Drill:
    """``drill`` where nobody looked which transactions from ``since`` to before ``until`` were open at the point."""
    point = drill.history.snapshots[drill.point]
    running = tuple(xid for xid in point.running if not since <= xid < until)
    cuts = [*drill.history.snapshots]
    cuts[drill.point] = point._replace(running=running, unsure=(since, until))
    return replace(drill, history=replace(drill.history, snapshots=cuts))


UNLOOKED = st.tuples(st.integers(100, 130), st.integers(100, 130)).filter(lambda ends: ends[0] < ends[1])


@given(drills(), UNLOOKED, LOOKED, st.booleans())
def test_what_was_open_at_the_point_and_not_looked_at_is_never_wrong(
    drill: Drill, ends: tuple[int, int], looked: tuple[bool, bool], by_rows: bool
) -> None:
    if drill.before == drill.point:
        return
    copy = drill.source(drill.point)
    found = _unlooked(drill, *ends).compared(copy, looked_before=looked[0], looked_after=looked[1], by_rows=by_rows)
    assert found.wrong == {}
    assert found.proven <= len(copy) <= found.proven + found.unknown


@given(drills(), UNLOOKED, ACTS.filter(lambda act: act is not _doubled_beneath), st.data(), st.booleans())
def test_beside_what_was_not_looked_at_all_else_must_stand_in_the_copy(
    drill: Drill,
    ends: tuple[int, int],
    act: Callable[[Stored], list[Stored]],
    data: st.DataObject,
    looked_before: bool,
) -> None:
    if not (kept := _kept(drill)) or drill.before == drill.point:
        return
    chosen = data.draw(st.sampled_from(kept))
    copy = [more for row in drill.source(drill.point) for more in (act(row) if row == chosen else [row])]
    found = _unlooked(drill, *ends).compared(copy, looked_before=looked_before, looked_after=True, by_rows=True)
    if ends[0] <= chosen.xid < ends[1] and act is not _altered_by_hand:
        assert found.wrong or found.unknown
    else:
        assert found.wrong


@given(drills(), UNLOOKED, st.integers(0, KEYS - 1), LOOKED)
def test_a_definition_of_the_point_is_never_wrong_where_nobody_looked_what_was_open(
    drill: Drill, ends: tuple[int, int], key: int, looked: tuple[bool, bool]
) -> None:
    if drill.before == drill.point:
        return
    before, copy, after = (_version(drill.history.states[n].get(key)) for n in (drill.before, drill.point, drill.after))
    there = (before if looked[0] else None, copy, after if looked[1] else None)
    cuts = _told(_unlooked(drill, *ends), looked_before=looked[0])
    found = comparing.definition(there, cuts)
    assert found.wrong == {}
    if copy is None and after is not None and looked[1]:
        assert found.unknown >= (cuts.kept is not None and cuts.kept.doubts(after.xid))


@given(drills(), st.data())
def test_where_nothing_changes_every_row_is_proven(drill: Drill, data: st.DataObject) -> None:
    still = replace(drill, before=drill.point, after=drill.point)
    copy = still.source(still.point)
    found = still.compared(copy, looked_before=True, looked_after=data.draw(st.booleans()), by_rows=False)
    assert (found.proven, found.unknown, found.wrong) == (len(copy), 0, {})


def _told(drill: Drill, *, looked_before: bool) -> comparing.Cuts:
    return comparing.Cuts(drill.cuts[BEFORE] if looked_before else None, drill.cuts[POINT], drill.cuts[POINT])


def _version(row: Stored | None) -> Version | None:
    return None if row is None else Version(str(row.content), row.xid)


@given(drills(), st.integers(0, KEYS - 1), LOOKED)
def test_a_definition_of_the_point_is_never_wrong(drill: Drill, key: int, looked: tuple[bool, bool]) -> None:
    states = (drill.history.states[n].get(key) for n in (drill.before, drill.point, drill.after))
    before, copy, after = map(_version, states)
    there = (before if looked[0] else None, copy, after if looked[1] else None)
    found = comparing.definition(there, _told(drill, looked_before=looked[0]))
    assert found.wrong == {}


@given(drills(), st.integers(0, KEYS - 1), st.sampled_from(["lost", "altered", "by hand"]))
def test_a_definition_that_stands_since_the_point_must_stand_in_the_copy(drill: Drill, key: int, act: str) -> None:
    before, point, after = (drill.history.states[n].get(key) for n in (drill.before, drill.point, drill.after))
    if point is None or point != after:
        return
    copy = {"lost": None, "altered": Version("bad", point.xid), "by hand": Version("bad", 10_000)}[act]
    found = comparing.definition((_version(before), copy, _version(after)), _told(drill, looked_before=True))
    assert found.wrong


def test_unknown_rows_are_those_that_changed_on_both_sides() -> None:
    states: list[State] = [{1: Stored(1, n, 100 + n)} for n in (1, 2, 3)]
    history = History(states, [Snapshot(0, 101 + n, ()) for n in (1, 2, 3)])
    found = Drill(history, 0, 1, 2).compared(
        list(states[1].values()), looked_before=True, looked_after=True, by_rows=True
    )
    assert (found.proven, found.unknown, found.wrong) == (0, 1, {})
    assert Counter(found.wrong) == Counter()
