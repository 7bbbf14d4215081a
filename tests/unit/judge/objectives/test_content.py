"""Data and definitions judged by looks: what is proven decides, and what nobody can know is counted."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from dr.domain.looks import (
    BEFORE,
    DAMAGED,
    LATER,
    POINT,
    UNREADABLE,
    UNSURE,
    Baseline,
    Look,
    Part,
    Row,
    Sum,
    TableLook,
    TableRows,
    Version,
    packed_rows,
    packed_sums,
)
from dr.domain.model import Demand, Finding, Status
from dr.evidence.model import Evidence
from dr.judge import findings
from dr.judge.objectives import content
from dr.judge.objectives.content import Table, tables
from tests.unit.judge.objectives.test_equality import KNOWN, holding, judged, seen

METHOD = "hash-15/1"


def part(*sums: tuple[int, int]) -> Part:
    return Part(sum(rows for rows, _ in sums), packed_sums(Sum(*one) for one in sums))


NONE = Part()


def table(before: Part = NONE, point: Part = NONE, later: Part = NONE, **more: Any) -> TableLook:
    return TableLook(METHOD, 1, {BEFORE: before, POINT: point, LATER: later}, **more)


A, B = table(part((3, 77))), table(part((2, 88)), part((1, 5)))
OBJECTS = {"table public.a": Version("1", 5), "index public.a_pkey": Version("2", 5)}
COPY = Look(130.0, 15, "30:30:", {BEFORE: "10:10:", POINT: "20:20:"}, OBJECTS, {"public.a": A, "public.b": B})
AFTER = replace(COPY, at=140.0)
FIRST = Look(100.0, 15, "10:10:", {BEFORE: "10:10:"}, OBJECTS, {"public.a": A, "public.b": table(part((2, 88)))})
BASELINE = Baseline("b", "t", "db", "db-1", FIRST)


def with_tables(look: Look, **changed: TableLook | None) -> Look:
    named = {**look.tables, **{f"public.{name}": one for name, one in changed.items()}}
    return replace(look, tables={name: one for name, one in named.items() if one is not None})


Rows = tuple[Mapping[str, TableRows], Mapping[str, TableRows]]


def held(copy: Look, before: Baseline | None = BASELINE, after: Look | str = AFTER, rows: Rows = ({}, {})) -> Evidence:
    return holding(
        seen("baseline", None if before is None else msgspec.to_builtins(before), "source"),
        seen("look", msgspec.to_builtins(copy)),
        seen("look", {"because": after} if isinstance(after, str) else msgspec.to_builtins(after), "source"),
        seen("rows", msgspec.to_builtins(rows[0])),
        seen("rows", msgspec.to_builtins(rows[1]), "source"),
    )


def compared(
    objective: str = "data",
    copy: Look = COPY,
    before: Baseline | None = BASELINE,
    after: Look | str = AFTER,
    rows: Rows = ({}, {}),
    limit: float | None = 0.05,
) -> Finding:
    evidence = held(copy, before, after, rows)
    return findings.judged(KNOWN[objective].judge, evidence, Demand(objective, "restored", limit, "share"))


def test_an_equal_copy_is_met_and_says_what_was_proven() -> None:
    found = compared()
    assert (found.status, found.because, found.measured) == (Status.MET, "6 rows proven.", 0.0)
    assert (
        compared("schema").because == "2 objects proven. Passwords, and options that look like one, are not compared."
    )


def test_either_look_at_the_source_alone_may_prove_it() -> None:
    gone = compared(after="it does not answer.", copy=with_tables(COPY, b=table(part((2, 88)))))
    assert gone.status is Status.MET
    assert gone.because == "5 rows proven. No look at the source afterwards: it does not answer."
    first = compared(before=None)
    assert first.status is Status.MET
    told = "No look before the recovery point: no baseline was taken before it."
    assert first.because == f"6 rows proven. {told}"


@pytest.mark.parametrize("objective", ["schema", "data"])
def test_no_look_at_the_source_at_all_is_inconclusive(objective: str) -> None:
    found = compared(objective, before=None, after="it is gone")
    assert found.status is Status.INCONCLUSIVE
    before, after = "no baseline was taken before it", "it is gone"
    looks = f"No look before the recovery point: {before}. No look at the source afterwards: {after}."
    assert found.because == f"The {objective} cannot be compared. {looks}"


@pytest.mark.parametrize("objective", ["schema", "data"])
def test_a_copy_that_was_not_looked_at_is_inconclusive_with_the_reason(objective: str) -> None:
    for looks, why in (([], "the copy was not read"), ([seen("look", {"because": "it is gone."})], "it is gone")):
        found = judged(objective, *looks)
        assert found.status is Status.INCONCLUSIVE
        assert found.because == f"The {objective} cannot be compared: {why}."


def test_a_source_that_nobody_looked_at_is_told_apart_from_one_that_could_not_be_looked_at() -> None:
    copy = seen("look", msgspec.to_builtins(with_tables(COPY, b=table(part((2, 88))))))
    taken = seen("baseline", msgspec.to_builtins(BASELINE), "source")
    assert (
        judged("data", taken, copy).because == "5 rows proven. No look at the source afterwards: it was not looked at."
    )
    untaken = seen("baseline", {"because": "DR_HOME cannot be read."}, "source")
    after = seen("look", msgspec.to_builtins(AFTER), "source")
    told = "No look before the recovery point: DR_HOME cannot be read."
    assert judged("data", untaken, copy, after).because.endswith(told)


def test_rows_that_changed_afterwards_are_proven_by_the_look_before() -> None:
    found = compared(after=with_tables(AFTER, a=table(part((1, 7)))))
    assert (
        found.because == "6 rows proven, 2 of them by the look before alone, since the source changed them afterwards."
    )


def test_an_altered_row_is_missed_and_counted() -> None:
    copy = with_tables(COPY, a=table(part((3, 78))))
    by_sums = compared(copy=copy)
    assert by_sums.status is Status.MISSED
    told = "3 rows among which some are altered, missing or too many, by their sums"
    nobody = "3 (50.00%) changed on both sides of the recovery point, and nobody can know them"
    assert by_sums.because == f"public.a: {told}. 3 rows proven; {nobody}."
    one = [Row(n, 10 + n) for n in range(3)]
    mine = {"public.a": TableRows((0,), {BEFORE: packed_rows([*one[:2], Row(2, 99)])})}
    theirs = {"public.a": TableRows((0,), {BEFORE: packed_rows(one)})}
    assert "public.a: 1 row altered." in compared(copy=copy, rows=(mine, theirs)).because
    assert compared(copy=copy, rows=(mine, {})).because == by_sums.because
    lost = {"public.a": TableRows((0,), {BEFORE: packed_rows(one[:2])})}
    fewer = with_tables(COPY, a=table(part((2, 21))))
    assert "public.a: 1 row missing." in compared(copy=fewer, rows=(lost, theirs)).because
    both = {"public.a": TableRows((0,), {BEFORE: packed_rows([one[0], Row(2, 99)])})}
    altered = with_tables(COPY, a=table(part((2, 109))))
    assert "public.a: 1 row altered, 1 row missing." in compared(copy=altered, rows=(both, theirs)).because


def test_a_table_that_lost_all_its_rows_is_missed_by_its_sums_too() -> None:
    empty = with_tables(COPY, a=table())
    for before in (BASELINE, None):
        found = compared(copy=empty, before=before)
        assert found.status is Status.MISSED
        assert found.because.startswith("public.a: 3 rows among which some are altered, missing or too many")


def test_rows_of_the_look_before_that_the_copy_lacks_are_not_known_where_the_source_is_gone() -> None:
    gone = with_tables(COPY, a=table(), b=table(part((2, 88))))
    found = compared(copy=gone, after="it is gone", limit=0.5)
    assert (found.status, found.measured) == (Status.INCONCLUSIVE, 0.6)
    assert "Too much is unknown: 2 rows proven; 3 (60.00%) changed on both sides" in found.because
    updated = with_tables(gone, a=table(part((1, 20)), part((2, 57))))
    assert compared(copy=updated, after="it is gone").measured == 0.6


def test_rows_that_were_not_read_on_both_sides_prove_nothing() -> None:
    """Of the copy alone, or of the source alone, as where its reading was broken off."""
    copy = with_tables(COPY, a=table(part((3, 78))))
    looks = (
        seen("baseline", msgspec.to_builtins(BASELINE), "source"),
        seen("look", msgspec.to_builtins(copy)),
        seen("look", msgspec.to_builtins(AFTER), "source"),
    )
    rows = msgspec.to_builtins({"public.a": TableRows((0,), {BEFORE: packed_rows([Row(0, 78)])})})
    for path in ("restored", "source"):
        for other in ({"because": "it broke off"}, None):
            where = {"restored": "source", "source": "restored"}[path]
            found = judged("data", *looks, seen("rows", rows, path), seen("rows", other, where))
            assert found.status is Status.MISSED
            assert "by their sums" in found.because


@pytest.mark.parametrize("copy", [table(part((3, 77)), later=part((1, 4))), replace(A, touched=1)])
def test_what_was_written_on_the_copy_itself_is_missed(copy: TableLook) -> None:
    found = compared(copy=with_tables(COPY, a=copy))
    assert found.status is Status.MISSED
    assert "public.a: 1 row written, altered or deleted on the copy itself" in found.because


ALL_CHANGED = with_tables(AFTER, a=table(later=part((3, 99))))
"""The source once all that the copy may have held in a table has changed."""


@pytest.mark.parametrize("renamed", [OBJECTS, {**OBJECTS, "table public.a": Version("1", 25)}])
def test_a_table_that_was_truncated_on_the_copy_is_missed_although_all_its_rows_changed_on_the_source(
    renamed: Mapping[str, Version],
) -> None:
    """Also where its definition's writer no longer tells that it bore its name before."""
    copy = replace(with_tables(COPY, a=table(filed=20, uncounted=True)), objects=renamed)
    found = compared(copy=copy, after=ALL_CHANGED)
    assert found.status is Status.MISSED
    assert "public.a: 3 rows emptied on the copy itself, after its recovery." in found.because


@pytest.mark.parametrize(
    ("copy", "before"),
    [
        (table(filed=19, uncounted=True), A),
        (table(filed=0, uncounted=True), A),
        (table(part((3, 77)), filed=20), A),
        (table(point=part((1, 5)), filed=20, uncounted=True), A),
        (table(filed=20), table()),
    ],
    ids=["by the source", "nobody knows", "vacuumed full", "not emptied", "empty all the while"],
)
def test_a_table_that_was_not_emptied_on_the_copy_is_not_missed(copy: TableLook, before: TableLook) -> None:
    baseline = replace(BASELINE, look=with_tables(BASELINE.look, a=before))
    assert compared(copy=with_tables(COPY, a=copy), before=baseline, after=ALL_CHANGED, limit=0.5).status is Status.MET


@pytest.mark.parametrize(
    ("copy", "before"),
    [(table(filed=20), A), (table(filed=20, uncounted=True), table()), (table(filed=20, uncounted=True), None)],
    ids=["or vacuumed full", "held none before", "not looked at before"],
)
def test_a_table_that_may_have_been_emptied_on_the_copy_is_inconclusive(
    copy: TableLook, before: TableLook | None
) -> None:
    baseline = replace(BASELINE, look=with_tables(BASELINE.look, a=before))
    found = compared(copy=with_tables(COPY, a=copy), before=baseline, after=ALL_CHANGED)
    assert found.status is Status.INCONCLUSIVE
    told = "public.a: it may have been emptied on the copy itself, after its recovery: whether it held rows at"
    assert found.because.startswith(told)


@pytest.mark.parametrize(("rows", "status"), [(1, Status.MET), (9, Status.INCONCLUSIVE)])
def test_what_nobody_can_know_is_counted_and_limited(rows: int, status: Status) -> None:
    came_and_went = table(point=part((rows, 3)))
    found = compared(copy=with_tables(COPY, c=came_and_went), limit=0.2)
    assert found.status is status
    assert f"{rows} ({rows / (6 + rows):.2%}) changed on both sides of the recovery point" in found.because
    assert compared(copy=with_tables(COPY, c=came_and_went), limit=None).status is Status.INCONCLUSIVE
    assert found.measured == rows / (6 + rows)


def test_as_much_as_the_limit_may_be_unknown_and_more_is_told_to_be_too_much() -> None:
    copy = with_tables(COPY, c=table(point=part((6, 3))))
    told = "6 (50.00%) changed on both sides of the recovery point, and nobody can know them"
    assert compared(copy=copy, limit=0.5).because == f"6 rows proven; {told}."
    assert compared(copy=copy, limit=0.49).because == f"Too much is unknown: 6 rows proven; {told}."


def test_where_nothing_was_proven_nothing_is_met() -> None:
    looks = [replace(look, tables={"public.a": table()}) for look in (COPY, FIRST, AFTER)]
    found = compared(copy=looks[0], before=replace(BASELINE, look=looks[1]), after=looks[2])
    told = "Neither side holds anything that proves it: 0 rows proven."
    assert (found.status, found.because) == (Status.INCONCLUSIVE, told)
    unknown = replace(looks[0], tables={"public.a": table(point=part((1, 3)))})
    assert compared(copy=unknown, before=replace(BASELINE, look=looks[1]), after=looks[2], limit=1.0).measured == 1.0


def test_a_source_without_tables_is_inconclusive() -> None:
    looks = [replace(look, tables={}) for look in (COPY, FIRST, AFTER)]
    found = compared(copy=looks[0], before=replace(BASELINE, look=looks[1]), after=looks[2])
    assert found.status is Status.INCONCLUSIVE
    assert found.because == "The source holds no table that could be compared."


def test_a_missing_table_is_missed_where_it_stands_on_the_source_and_else_counted() -> None:
    copy = with_tables(COPY, b=None)
    assert compared(copy=copy).because == "public.b: missing, with 3 rows. 3 rows proven."
    dropped = compared(copy=copy, after=with_tables(AFTER, b=None), limit=0.5)
    assert dropped.status is Status.MET
    assert dropped.because == (
        "3 rows proven; 2 (40.00%) changed on both sides of the recovery point, and nobody can know them."
    )
    unknown = compared(copy=copy, after="it is gone")
    assert unknown.status is Status.INCONCLUSIVE
    told = "missing, with 2 rows; whether it was dropped before the recovery point is not known"
    assert unknown.because == f"public.b: {told}. 3 rows proven. No look at the source afterwards: it is gone."
    empty = replace(BASELINE, look=with_tables(FIRST, b=table()))
    assert compared(copy=copy, before=empty, after="it is gone").status is Status.MET
    later = with_tables(AFTER, c=table(later=part((4, 4))))
    assert compared(after=later).because == "6 rows proven."


def test_a_table_of_which_nobody_looked_whether_it_was_committed_by_then_is_not_proven_to_be_missing() -> None:
    there = with_tables(AFTER, c=replace(A, parts={UNSURE: part((3, 77))}))
    found = compared(after=there)
    assert found.status is Status.INCONCLUSIVE
    assert "public.c: missing, with 3 rows that may have been committed after the recovery point" in found.because
    some_sure = with_tables(AFTER, c=replace(A, parts={UNSURE: part((3, 77)), POINT: part((1, 7))}))
    assert compared(after=some_sure).status is Status.MISSED


def test_a_definition_of_which_nobody_looked_is_not_proven_to_be_missing() -> None:
    there = replace(AFTER, cuts={**AFTER.cuts, POINT: "20:20::12-18"}, objects={**OBJECTS, "view v": Version("3", 15)})
    found = compared("schema", after=there, limit=0.5)
    assert found.status is Status.MET
    assert "1 (33.33%) changed on both sides" in found.because
    sure = replace(there, cuts=AFTER.cuts)
    assert compared("schema", after=sure, limit=0.5).status is Status.MISSED


def test_what_was_readable_on_the_source_and_is_not_on_the_copy_is_missed() -> None:
    torn = TableLook(f"{UNREADABLE}{DAMAGED}invalid page in block 3")
    found = compared(copy=with_tables(COPY, a=torn))
    assert found.status is Status.MISSED
    assert "public.a: cannot be read on the copy: damaged: invalid page in block 3" in found.because
    both = compared(
        copy=with_tables(COPY, a=torn),
        before=replace(BASELINE, look=with_tables(FIRST, a=torn)),
        after=with_tables(AFTER, a=torn),
    )
    assert both.status is Status.INCONCLUSIVE
    there = compared(before=None, after=with_tables(AFTER, a=torn))
    assert "cannot be read on the source: damaged: invalid page" in there.because
    locked = compared(copy=with_tables(COPY, a=TableLook(f"{UNREADABLE}canceling statement due to lock timeout")))
    assert locked.status is Status.INCONCLUSIVE


def test_a_table_that_got_its_name_after_the_point_is_no_loss() -> None:
    """Renamed, moved to another schema, or in another one's place: it stood in the copy by the name it had then."""

    def named(look: Look, name: str, xid: int, **tables: TableLook | None) -> Look:
        return replace(with_tables(look, **tables), objects={**look.objects, f"table public.{name}": Version("1", xid)})

    moved = named(AFTER, "c", 25, b=None, c=B)
    assert compared(after=moved, limit=0.5).because == (
        "5 rows proven; 1 (16.67%) changed on both sides of the recovery point, and nobody can know them."
    )
    long_there = named(AFTER, "c", 15, b=None, c=B)
    assert "public.c: missing, with 3 rows" in compared(after=long_there, limit=0.5).because
    swapped = named(named(AFTER, "a", 25, a=B), "b", 25, b=A)
    assert compared(before=None, after=swapped, limit=0.5).status is Status.INCONCLUSIVE
    same_names = named(named(AFTER, "a", 15, a=B), "b", 15, b=A)
    assert compared(before=None, after=same_names, limit=0.5).status is Status.MISSED
    assert [one.name for one in tables(held(COPY, None, swapped), "restored")] == ["public.a", "public.b"]
    read = [{"public.a": TableRows((0,), {BEFORE: packed_rows(rows)})} for rows in ([Row(0, 70)], [Row(1, 71)])]
    looks = [with_tables(look, c=A) for look in (COPY, swapped)]
    assert compared(copy=looks[0], before=None, after=looks[1], rows=(read[0], read[1]), limit=0.9).status is Status.MET
    forged = with_tables(COPY, a=table(part((3, 78))))
    assert compared(copy=forged, after=swapped, limit=0.9).status is Status.MISSED
    copy, after = (named(named(look, "a", 15, a=B), "b", 15, b=A) for look in (COPY, AFTER))
    forged = with_tables(copy, a=table(part((2, 89)), part((1, 5))))
    assert compared(copy=forged, after=after, limit=0.9).status is Status.MISSED
    assert compared(copy=copy, after=after).status is Status.MET
    assert compared(copy=copy, after="it is gone", limit=0.5).status is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    ("name", "defined"),
    [
        ("db 2: public.c", "db 2: table public.c"),
        ('public."c: d"', 'table public."c: d"'),
        ('db 2: public."c: d"', 'db 2: table public."c: d"'),
        ("public.m", "materialized view public.m"),
    ],
)
def test_a_table_that_got_its_name_after_the_point_is_no_loss_in_whatever_database(name: str, defined: str) -> None:
    """A quoted name may hold what stands between a database and a name, too."""
    objects = {**AFTER.objects, defined: Version("1", 25)}
    assert compared(after=replace(AFTER, objects=objects, tables={**AFTER.tables, name: B})).status is Status.MET


IN_DB2 = {"db2: public.d": A}


def with_db2(look: Look) -> Look:
    objects = {**look.objects, "db2: table public.d": Version("1", 5)}
    return replace(look, tables={**look.tables, **IN_DB2}, objects=objects)


@pytest.mark.parametrize("objective", ["schema", "data"])
def test_a_database_that_could_not_be_looked_at_is_inconclusive_and_hides_no_other(objective: str) -> None:
    before = replace(BASELINE, look=with_db2(FIRST))
    closed = replace(COPY, unlooked={"db2": "the right to connect is lacking."})
    told = "database db2: could not be looked at on the copy: the right to connect is lacking."
    found = compared(objective, closed, before, with_db2(AFTER))
    assert found.status is Status.INCONCLUSIVE
    assert told in found.because
    assert found.because.startswith(f"{told} ")
    wrong = replace(with_tables(closed, b=None), objects={})
    lost = compared(objective, wrong, before, with_db2(AFTER)).because
    noun = {"schema": "object", "data": "table"}[objective]
    assert f"; 1 {noun} could not be judged. " in lost
    assert compared(objective, wrong, before, with_db2(AFTER)).status is Status.MISSED
    there = replace(AFTER, unlooked={"db2": "it is gone."})
    found = compared(objective, with_db2(COPY), before, there)
    assert found.status is Status.MET
    assert " No look at database db2 of the source afterwards: it is gone." in found.because
    assert "gone.." not in found.because
    lacking = compared(objective, COPY, before, there)
    assert lacking.status is Status.INCONCLUSIVE
    assert "whether it was dropped before the recovery point is not known" in lacking.because
    assert compared(objective, COPY, before, with_db2(AFTER)).status is Status.MISSED


@pytest.mark.parametrize("objective", ["schema", "data"])
def test_a_database_that_was_looked_at_at_no_time_on_the_source_is_inconclusive(objective: str) -> None:
    before = replace(BASELINE, look=replace(FIRST, unlooked={"db2": "it refused."}))
    copy = replace(with_db2(COPY), tables={**COPY.tables, "db2: public.d": table(part((5, 5)))})
    nowhere = replace(AFTER, unlooked={"db2": "it is closed."})
    for after in (nowhere, "the source is gone"):
        found = compared(objective, copy, before, after)
        why = "it refused" if isinstance(after, str) else "it is closed"
        assert found.status is Status.INCONCLUSIVE
        assert found.because.startswith(f"database db2: could not be looked at on the source: {why}. ")
    assert " No look at database db2 of the source before the recovery point: it refused." in found.because
    met = compared(objective, with_db2(COPY), before, with_db2(AFTER))
    assert met.status is Status.MET
    assert met.because.endswith("No look at database db2 of the source before the recovery point: it refused.") is (
        objective == "data"
    )
    assert compared(objective, COPY, before, with_db2(AFTER)).status is Status.MISSED


def test_a_look_that_could_not_see_a_database_does_not_tell_that_the_source_never_had_what_is_in_it() -> None:
    before = replace(BASELINE, look=replace(FIRST, unlooked={"db2": "it refused."}))
    changed = with_db2(AFTER)
    changed = replace(changed, objects={**changed.objects, "db2: table public.d": Version("2", 25)})
    assert compared("schema", with_db2(COPY), before, changed, limit=0.5).status is Status.MET
    assert compared("schema", with_db2(COPY), BASELINE, changed, limit=0.5).status is Status.MISSED


def test_rows_of_the_copys_own_are_not_known_where_each_login_may_write_them() -> None:
    written = with_tables(COPY, b=table(part((2, 88)), part((1, 5)), part((1, 9))))
    assert compared(copy=written).status is Status.MISSED
    greeted = replace(written, on_login={"": ("greet",)})
    found = compared(copy=greeted)
    told = "public.b: 1 row written, altered or deleted on the copy itself, after its recovery, as greet may do at each"
    assert (found.status, found.because.startswith(told)) == (Status.INCONCLUSIVE, True)
    assert compared(copy=replace(written, on_login={"": (), "db2": ("greet",)})).status is Status.MISSED
    assert compared(copy=replace(COPY, on_login={"": ("greet",)})).status is Status.MET
    assert compared(copy=with_tables(greeted, b=None)).status is Status.MISSED


def test_what_the_copy_lacks_and_the_source_only_altered_is_missed_unless_it_has_another_name_there() -> None:
    name = "trigger touch on public.a"
    kept = Version("9", 5, "oid 7")
    before = replace(BASELINE, look=replace(FIRST, objects={**OBJECTS, name: kept}))
    after = replace(AFTER, objects={**OBJECTS, name: replace(kept, digest="8", xid=35)})
    found = compared("schema", COPY, before, after, limit=0.5)
    assert (found.status, found.because.startswith(f"{name}: missing. ")) == (Status.MISSED, True)
    renamed = replace(COPY, objects={**OBJECTS, "trigger touched on public.a": replace(kept, xid=15)})
    assert compared("schema", renamed, before, after, limit=0.5).status is Status.MET


def test_rows_of_a_table_that_is_gone_are_not_known_where_those_of_now_are_all_later() -> None:
    later = with_tables(AFTER, b=table(later=part((4, 9))))
    found = compared(copy=with_tables(COPY, b=None), after=later, limit=0.5)
    assert (found.status, "2 (40.00%)" in found.because) == (Status.MET, True)


@pytest.mark.parametrize(
    ("taken", "counted", "touched", "unknown"),
    [(0, 0, None, 0), (3, 3, 0, 0), (3, 9, None, 2), (None, 0, 0, 0), (None, 0, None, 2)],
)
def test_rows_that_went_by_then_are_known_where_nobody_wrote_to_the_copy_or_its_statistics_tell_of_whoever_did(
    taken: int | None, counted: int, touched: int | None, unknown: int
) -> None:
    drained = replace(
        with_tables(COPY, b=table(touched=touched), a=replace(A, touched=0)), taken=taken, counted=counted
    )
    found = compared(copy=drained, after=with_tables(AFTER, b=table()), limit=0.9)
    assert found.status is Status.MET
    assert (f"; {unknown} (" in found.because) is bool(unknown)


def test_a_table_whose_file_lacks_pages_is_named_though_its_rows_agree() -> None:
    short = with_tables(COPY, b=replace(COPY.tables["public.b"], short=True))
    found = compared(copy=short)
    told = "public.b: its file lacks pages that were written to it. "
    assert (found.status, found.because.startswith(told)) == (Status.INCONCLUSIVE, True)
    both = with_tables(AFTER, b=replace(AFTER.tables["public.b"], short=True))
    assert (
        compared(copy=short, after=both).status is Status.MET
    )  # what the catalog says of it was brought from elsewhere
    wrong = with_tables(short, b=replace(table(part((2, 89)), part((1, 5))), short=True))
    assert compared(copy=wrong).status is Status.MISSED


def test_rows_that_went_are_named_where_somebody_wrote_to_the_copy_and_let_nothing_count() -> None:
    drained = replace(with_tables(COPY, b=table(touched=0), a=replace(A, touched=0)), taken=3, counted=2)
    found = compared(copy=drained, after=with_tables(AFTER, b=table()), limit=0.9)
    told = f"public.b: 2 rows of the look before {content.UNACCOUNTED}. "
    assert (found.status, found.because.startswith(told)) == (Status.INCONCLUSIVE, True)
    changed = with_tables(AFTER, b=table(later=part((2, 99))))
    found = compared(copy=drained, after=changed, limit=0.9)
    assert (found.status, found.because.startswith(told)) == (Status.INCONCLUSIVE, True)
    assert compared(copy=replace(drained, counted=3), after=changed, limit=0.9).status is Status.MET
    whole = replace(COPY, tables={name: replace(one, touched=0) for name, one in COPY.tables.items()}, taken=3)
    assert compared(copy=whole).status is Status.MET


def test_what_bears_no_writer_and_no_identity_and_is_missing_may_have_gone_on_the_copy() -> None:
    name = "comment on publication news"
    both = {**OBJECTS, name: Version("9", 0)}
    before, after = replace(BASELINE, look=replace(FIRST, objects=both)), replace(AFTER, objects=both)
    found = compared("schema", COPY, before, after, limit=0.5)
    told = f"{name}: missing, and on the source before and afterwards; whether it went there is not known. "
    assert (found.status, found.because.startswith(told)) == (Status.INCONCLUSIVE, True)
    assert compared("schema", replace(COPY, taken=0), before, after, limit=0.5).status is Status.MET


def test_sums_of_other_methods_do_not_compare() -> None:
    found = compared(copy=with_tables(COPY, a=replace(A, method="md5/1")))
    assert found.status is Status.INCONCLUSIVE
    assert "summed as hash-15/1 on the source and as md5/1 on the copy" in found.because


@pytest.mark.parametrize("bucket", [-1, 1, 1 << 40])
def test_rows_of_a_bucket_that_is_not_there_are_inconclusive(bucket: int) -> None:
    rows = {"public.a": TableRows((0, bucket), {BEFORE: packed_rows([Row(0, 10)])})}
    found = compared(copy=with_tables(COPY, a=table(part((3, 78)))), rows=(rows, rows))
    assert found.status is Status.INCONCLUSIVE
    assert "public.a: its sums cannot be read: The rows that were read are damaged" in found.because


@pytest.mark.parametrize("buckets", [0, -4, 3, 1 << 40])
def test_a_number_of_buckets_that_no_look_takes_is_inconclusive(buckets: int) -> None:
    forged = replace(A, buckets=buckets)
    looks = [with_tables(look, a=forged) for look in (FIRST, COPY, AFTER)]
    found = compared(copy=looks[1], before=replace(BASELINE, look=looks[0]), after=looks[2])
    assert found.status is Status.INCONCLUSIVE
    assert "buckets are not what a look takes" in found.because


def test_sums_that_unpack_to_more_than_a_look_takes_are_inconclusive() -> None:
    found = compared(copy=with_tables(COPY, a=table(Part(3, zlib.compress(bytes(1 << 27))))))
    assert found.status is Status.INCONCLUSIVE
    assert "they do not end where they should" in found.because


@pytest.mark.parametrize(
    "sums", [b"x", packed_sums([Sum(1, 1)]) + b"y", packed_sums([]), packed_sums([Sum(3, 77)])[:9]]
)
def test_damaged_sums_are_inconclusive(sums: bytes) -> None:
    found = compared(copy=with_tables(COPY, a=table(Part(3, sums))))
    assert found.status is not Status.MET


def test_damaged_sums_are_told_by_name() -> None:
    found = compared(copy=with_tables(COPY, a=table(Part(3, b"x"))))
    assert found.because.startswith("public.a: its sums cannot be read: A table's sums are damaged")


def test_rows_of_the_drill_that_vanished_and_are_not_back_are_missed() -> None:
    """No look at the source afterwards shows them: it lost them after the recovery point."""
    for present, status in ((200, Status.MET), (199, Status.MISSED)):
        looks = {"look": COPY, "victims": {"expected": 200, "present": present}}
        evidence = holding(
            seen("look", msgspec.to_builtins(AFTER), "source"),
            *(seen(what, msgspec.to_builtins(value)) for what, value in looks.items()),
        )
        found = findings.judged(KNOWN["data"].judge, evidence, Demand("data", "restored", 0.05))
        assert found.status is status
        assert ("the drill's own rows: 199 of 200 that vanished are back" in found.because) is (present == 199)


def test_tables_that_were_left_out_are_named() -> None:
    found = compared(copy=replace(COPY, left_out={"public.log": "excluded by dr.yaml"}))
    assert found.status is Status.MET
    left = "Not compared: public.log (excluded by dr.yaml)."
    assert found.because == f"6 rows proven. {left}"
    alone = compared(copy=replace(COPY, left_out={"public.log": "excluded by dr.yaml"}), before=None)
    assert alone.because.endswith(f"no baseline was taken before it. {left}")


def test_a_damaged_observation_is_inconclusive() -> None:
    evidence = holding(seen("baseline", {"look": 7}, "source"), seen("look", msgspec.to_builtins(COPY)))
    found = findings.judged(KNOWN["data"].judge, evidence, Demand("data", "restored", 0.05))
    assert found.status is Status.INCONCLUSIVE
    assert found.because.startswith("What was observed as baseline of the source cannot be read: ")
    assert found.because.endswith(".")


@pytest.mark.parametrize(
    ("name", "copy", "told"),
    [
        ("index public.a_pkey", None, "index public.a_pkey: missing"),
        ("index public.a_pkey", Version("9", 5), "index public.a_pkey: defined differently"),
        ("view public.v", Version("9", 25), "view public.v: defined on the copy itself, after its recovery"),
        ("view public.v", Version("9", 5), "view public.v: not in the source"),
    ],
)
def test_a_definition_that_is_not_as_it_was_is_missed(name: str, copy: Version | None, told: str) -> None:
    objects = {key: one for key, one in {**OBJECTS, name: copy}.items() if one is not None}
    found = compared("schema", replace(COPY, objects=objects))
    assert found.status is Status.MISSED
    assert told in found.because


def test_a_definition_that_changed_since_is_either_or_unknown() -> None:
    """A trigger off and on, a work table that came and went, an index that was dropped after the point."""
    changed = replace(AFTER, objects={**OBJECTS, "index public.a_pkey": Version("2", 26)})
    off = replace(COPY, objects={**OBJECTS, "index public.a_pkey": Version("9", 15)})
    assert compared("schema", off, after=changed, limit=0.5).status is Status.MET
    assert compared("schema", off, after=changed, limit=0.4).status is Status.INCONCLUSIVE
    went = replace(COPY, objects={**OBJECTS, "table public.work": Version("3", 15)})
    assert compared("schema", went, limit=0.5).status is Status.MET
    dropped = replace(AFTER, objects={"table public.a": OBJECTS["table public.a"]})
    assert compared("schema", after=dropped).status is Status.MET
    lost = replace(COPY, objects=dropped.objects)
    assert compared("schema", lost, after=dropped, limit=0.5).status is Status.MET
    unknown = compared("schema", lost, after="it is gone")
    assert unknown.status is Status.INCONCLUSIVE
    told = "index public.a_pkey: missing; whether it was dropped before the recovery point is not known"
    assert unknown.because.startswith(f"{told}. 1 object proven, 1 of them by the look before alone")
    assert unknown.measured == 0.5


def test_what_stood_at_the_point_is_told_by_the_cut_of_the_look_that_shows_it() -> None:
    """The source's look was taken when less was known to be committed, or nothing."""
    view = {**OBJECTS, "view public.v": Version("3", 17)}
    assert compared("schema", after=replace(AFTER, objects=view)).status is Status.MISSED
    sooner = replace(AFTER, objects=view, cuts={**AFTER.cuts, POINT: "15:15:"})
    assert compared("schema", after=sooner).because.startswith("3 objects proven. ")
    stored = replace(AFTER, cuts={BEFORE: "10:10:"})
    assert compared("schema", after=stored).because.startswith("2 objects proven. ")


def test_definitions_of_another_major_version_do_not_compare() -> None:
    found = compared("schema", replace(COPY, major=16))
    assert found.status is Status.INCONCLUSIVE
    assert found.because == "The copy runs version 16, the source 15: definitions do not compare."
    former = replace(BASELINE, look=replace(FIRST, major=14))
    assert compared("schema", before=former).status is Status.MET


def test_definitions_that_were_digested_by_other_rules_do_not_compare() -> None:
    former = replace(BASELINE, look=replace(FIRST, objects={}, recipe=0))
    alone = compared("schema", before=former, after="it is gone")
    assert alone.status is Status.INCONCLUSIVE
    why = "the looks at the source digest definitions by other rules"
    assert alone.because == f"The schema cannot be compared: {why}."
    assert compared(before=former, after="it is gone", limit=0.5).status is Status.MET
    assert (
        compared("schema", before=former).because
        == "2 objects proven. Passwords, and options that look like one, are not compared."
    )
    dropped = replace(AFTER, objects={"table public.a": OBJECTS["table public.a"]})
    assert compared("schema", before=former, after=dropped, limit=0.5).status is Status.MET


def test_a_role_of_neither_look_is_inconclusive_where_its_writer_cannot_be_read() -> None:
    """However many other objects are proven."""
    for xid, status in ((0, Status.INCONCLUSIVE), (15, Status.MET)):
        found = compared("schema", replace(COPY, objects={**OBJECTS, "role forged": Version("3", xid)}), limit=0.5)
        assert found.status is status
        assert ("role forged: in neither look at the source" in found.because) is (xid == 0)
    known = replace(AFTER, objects={**OBJECTS, "role forged": Version("3", 0)})
    copy = replace(COPY, objects=known.objects)
    assert "in neither look" not in compared("schema", copy, after=known, limit=0.5).because


def test_a_report_does_not_compare_again_what_was_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = held(COPY)
    assert KNOWN["data"].judge(evidence, Demand("data", "restored", 0.05)).status is Status.MET
    monkeypatch.setattr(content, "_tables", None)
    assert [one.name for one in tables(evidence, "restored")] == ["public.a", "public.b"]


def test_every_table_is_told_of_by_its_rows_there_and_here() -> None:
    def of(copy: Look, after: Look | str) -> list[Table]:
        return [one for one in tables(held(copy, after=after), "restored") if isinstance(one, Table)]

    assert [one[:5] for one in of(with_tables(COPY, b=None), AFTER)] == [
        ("public.a", 3, 3, Status.MET, ""),
        ("public.b", 3, None, Status.MISSED, "missing, with 3 rows"),
    ]
    torn = with_tables(COPY, a=TableLook(f"{UNREADABLE}no right"), b=table(part((2, 88)), later=part((1, 9))))
    since = with_tables(AFTER, b=table(part((2, 88)), later=part((5, 9))))
    new = with_tables(torn, c=table(part((1, 5))), d=table(Part(3, b"x")), e=replace(A, method="md5/1"))
    told = [one[:4] for one in of(new, with_tables(since, d=A, e=A))]
    assert told == [
        ("public.a", 3, None, Status.INCONCLUSIVE),
        ("public.b", 2, 3, Status.MISSED),
        ("public.c", None, 1, Status.MET),
        ("public.d", 3, 3, Status.INCONCLUSIVE),
        ("public.e", 3, 3, Status.INCONCLUSIVE),
    ]
    lacking, made = with_tables(COPY, b=None), table(later=part((4, 4)))
    assert [one[:5] for one in of(lacking, with_tables(AFTER, b=None, c=made))] == [
        ("public.a", 3, 3, Status.MET, ""),
        ("public.b", 2, None, Status.MET, ""),
        ("public.c", 0, None, Status.MET, ""),
    ]
    assert [one[:4] for one in of(lacking, "it is gone")][1] == ("public.b", 2, None, Status.INCONCLUSIVE)


def test_orphans_that_the_source_may_have_had_are_inconclusive() -> None:
    key = {"name": "k", "table": "public.a", "orphans": 4}
    here, gone_by_now = seen("foreign-keys", [key]), seen("foreign-keys", [{**key, "orphans": 0}], "source")
    unasked = judged("foreign-keys", here)
    assert unasked.status is Status.INCONCLUSIVE
    assert "public.a (k): 4 rows without the row referred to, and the source could not be asked" in unasked.because
    torn = seen("look", msgspec.to_builtins(with_tables(COPY, b=None)))
    looks = [seen("look", msgspec.to_builtins(one), path) for one, path in ((COPY, "restored"), (AFTER, "source"))]
    proven = judged("foreign-keys", here, gone_by_now, *looks)
    assert proven.status is Status.MET
    told = "As on the source, public.a (k): 4 rows without the row referred to, mended there since."
    assert proven.because == f"0 foreign keys hold. {told}"
    since = with_tables(AFTER, b=table(part((2, 88)), later=part((1, 6))))
    unknown = seen("look", msgspec.to_builtins(since), "source")
    assert judged("foreign-keys", here, gone_by_now, looks[0], unknown).status is Status.INCONCLUSIVE
    assert judged("foreign-keys", here, gone_by_now, torn, looks[1]).status is Status.MISSED


def test_orphans_are_held_against_the_tables_of_their_own_database() -> None:
    key = {"name": "k", "table": "db2: public.d", "orphans": 4}
    here, gone_by_now = seen("foreign-keys", [key]), seen("foreign-keys", [{**key, "orphans": 0}], "source")
    after = seen("look", msgspec.to_builtins(with_db2(AFTER)), "source")
    for copy, status in (
        (with_tables(with_db2(COPY), b=None), Status.MET),
        (replace(with_db2(COPY), tables=COPY.tables), Status.MISSED),
    ):
        assert (
            judged("foreign-keys", here, gone_by_now, seen("look", msgspec.to_builtins(copy)), after).status is status
        )
