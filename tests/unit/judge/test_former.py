"""The rules of former runs, by observations in their form: what is not proven is never met."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from dr.domain.model import Demand, Finding, Status
from dr.judge import findings
from dr.judge.former import Baseline, Fingerprint, Repeat, Table, TableSum
from dr.judge.objectives.content import tables
from tests.unit.judge.objectives.test_equality import KNOWN, holding, judged, seen

METHOD = "hash-15/1"
SOURCE = Fingerprint(
    at=100.0,
    major=15,
    snapshot="10:10:",
    schema={"table public.a": "1", "index public.a_pkey": "2"},
    tables={"public.a": TableSum(3, "77", METHOD), "public.b": TableSum(2, "88", METHOD)},
)
BASELINE = Baseline(SOURCE, (Repeat(120.0, ()),))


def compared(objective: str, copy: Fingerprint, baseline: Baseline | None = BASELINE) -> Finding:
    return judged(
        objective,
        seen("baseline", None if baseline is None else msgspec.to_builtins(baseline), "source"),
        seen("fingerprint", msgspec.to_builtins(copy)),
    )


def with_tables(**tables: TableSum) -> Fingerprint:
    return replace(SOURCE, tables={f"public.{name}": table for name, table in tables.items()})


A, B = SOURCE.tables["public.a"], SOURCE.tables["public.b"]


@pytest.mark.parametrize("objective", ["schema", "data"])
def test_an_equal_copy_is_met(objective: str) -> None:
    finding = compared(objective, SOURCE)
    told = {
        "schema": "All 2 objects are defined as in the source.",
        "data": "2 tables hold the source's 5 rows.",
    }
    assert (finding.status, finding.because) == (Status.MET, told[objective])


@pytest.mark.parametrize("objective", ["schema", "data"])
def test_no_covering_baseline_is_inconclusive(objective: str) -> None:
    finding = compared(objective, SOURCE, None)
    assert finding.status is Status.INCONCLUSIVE
    assert finding.because == f"The {objective} cannot be compared: no baseline covers the recovery point."


@pytest.mark.parametrize("objective", ["schema", "data"])
def test_a_baseline_that_was_never_repeated_proves_nothing(objective: str) -> None:
    finding = compared(objective, SOURCE, replace(BASELINE, repeats=()))
    assert finding.status is Status.INCONCLUSIVE
    why = "the baseline was not repeated after the recovery point, so it proves nothing of it"
    assert finding.because == f"The {objective} cannot be compared: {why}."


def test_a_copy_read_under_another_snapshot_is_inconclusive() -> None:
    finding = compared("data", replace(SOURCE, snapshot="11:11:"))
    assert finding.status is Status.INCONCLUSIVE
    assert (
        finding.because == "The data cannot be compared: the copy was read under another snapshot than the baseline's."
    )


def test_a_copy_that_was_not_read_is_inconclusive_whatever_was_read_beside_it() -> None:
    baseline = seen("baseline", msgspec.to_builtins(BASELINE), "source")
    finding = judged("data", baseline, seen("fingerprint", msgspec.to_builtins(SOURCE), "another"))
    assert finding.status is Status.INCONCLUSIVE
    assert finding.because == "The data cannot be compared: the copy's content was not read."


def test_a_source_without_tables_is_inconclusive() -> None:
    bare = replace(SOURCE, tables={})
    finding = compared("data", SOURCE, replace(BASELINE, fingerprint=bare))
    assert finding.status is Status.INCONCLUSIVE
    assert finding.because == "The source holds no table that could be compared."


def test_an_altered_table_is_missed_and_named() -> None:
    finding = compared("data", with_tables(a=replace(A, checksum="78"), b=B))
    assert finding.status is Status.MISSED
    assert finding.because == "public.a: altered among its 3 rows."
    assert (finding.measured, finding.unit) == (1.0, "tables")


def test_a_missing_table_is_missed_and_named() -> None:
    finding = compared("data", with_tables(a=A))
    assert finding.status is Status.MISSED
    assert "public.b: missing, with 2 rows" in finding.because


def test_a_table_of_rows_that_the_source_never_had_is_missed() -> None:
    finding = compared("data", with_tables(a=A, b=B, c=TableSum(1, "5", METHOD)))
    assert finding.status is Status.MISSED
    assert "public.c: not in the source" in finding.because


def test_an_empty_table_made_after_the_baseline_is_no_difference() -> None:
    assert compared("data", with_tables(a=A, b=B, c=TableSum(0, "0", METHOD))).status is Status.MET


def test_other_row_counts_are_missed() -> None:
    finding = compared("data", with_tables(a=A, b=TableSum(1, "9", METHOD)))
    assert "public.b: 1 row instead of 2" in finding.because


def test_a_table_that_changed_on_the_source_is_inconclusive_while_the_others_are_judged() -> None:
    changed = replace(BASELINE, repeats=(Repeat(120.0, ("public.a",)),))
    equal = compared("data", SOURCE, changed)
    assert equal.status is Status.INCONCLUSIVE
    assert equal.because == "public.a: its rows changed on the source after the baseline."
    broken = compared("data", with_tables(a=A, b=replace(B, rows=1)), changed)
    assert broken.status is Status.MISSED
    assert "1 table could not be judged" in broken.because


def test_sums_of_different_methods_do_not_compare() -> None:
    finding = compared("data", with_tables(a=replace(A, method="md5/1", checksum="0"), b=B))
    assert finding.status is Status.INCONCLUSIVE
    assert finding.because == "public.a: summed as hash-15/1 on the source and as md5/1 on the copy."


@pytest.mark.parametrize("where", ["source", "copy"])
def test_an_unreadable_table_is_inconclusive_with_its_reason(where: str) -> None:
    unreadable = with_tables(a=TableSum(0, "", "unreadable: permission denied for table a"), b=B)
    pair = (SOURCE, replace(BASELINE, fingerprint=unreadable)) if where == "source" else (unreadable, BASELINE)
    finding = compared("data", *pair)
    assert finding.status is Status.INCONCLUSIVE
    assert finding.because == f"public.a: unreadable: permission denied for table a on the {where}."


def test_a_table_that_could_not_be_read_is_no_table_of_no_rows() -> None:
    """Neither on the source, which then seems to have held none later, nor on the copy, where it may hold any."""
    unread = TableSum(0, "", "unreadable: permission denied for table a")
    baseline = replace(BASELINE, fingerprint=with_tables(a=unread, b=B), repeats=(Repeat(120.0, (), {"public.a": 0}),))
    assert compared("data", with_tables(a=replace(A, total=3), b=B), baseline).status is Status.INCONCLUSIVE
    assert compared("data", with_tables(a=A, b=B, c=unread)).status is Status.INCONCLUSIVE


@pytest.mark.parametrize("what", ["baseline", "fingerprint"])
def test_what_was_recorded_and_cannot_be_read_is_inconclusive(what: str) -> None:
    good = {"baseline": msgspec.to_builtins(BASELINE), "fingerprint": msgspec.to_builtins(SOURCE)}
    for broken in ({}, [1], "x", {**good[what], "tables": 7, "fingerprint": 7}):
        told = {**good, what: broken}
        found = judged("data", seen("baseline", told["baseline"], "source"), seen("fingerprint", told["fingerprint"]))
        assert found.status is Status.INCONCLUSIVE
        assert found.because.startswith("The data cannot be compared: what was recorded of ")
        assert "cannot be read" in found.because


def test_only_the_first_few_offenders_are_named() -> None:
    many = replace(SOURCE, tables={f"public.t{n}": A for n in range(9)})
    finding = compared("data", replace(SOURCE, tables={}), replace(BASELINE, fingerprint=many))
    assert finding.because.count("missing") == 3
    assert "and 6 more" in finding.because
    assert finding.measured == 9.0
    three = replace(SOURCE, tables={f"public.t{n}": A for n in range(3)})
    few = compared("data", replace(SOURCE, tables={}), replace(BASELINE, fingerprint=three))
    assert (few.because.count("missing"), "more" in few.because) == (3, False)


def test_a_dropped_index_and_an_added_object_are_missed() -> None:
    copy = replace(SOURCE, schema={"table public.a": "1", "view public.v": "3"})
    finding = compared("schema", copy)
    assert finding.status is Status.MISSED
    assert "index public.a_pkey: missing" in finding.because
    assert "view public.v: not in the source" in finding.because


def test_an_object_that_changed_on_the_source_is_inconclusive() -> None:
    copy = replace(SOURCE, schema={"table public.a": "1"})
    finding = compared("schema", copy, replace(BASELINE, repeats=(Repeat(120.0, ("index public.a_pkey",)),)))
    assert finding.status is Status.INCONCLUSIVE
    assert finding.because == "index public.a_pkey: changed on the source after the baseline."
    beside = compared(
        "schema",
        replace(copy, schema={"table public.a": "9"}),
        replace(BASELINE, repeats=(Repeat(120.0, ("index public.a_pkey", "public.a")),)),
    )
    assert beside.because == "table public.a: defined differently; 1 object could not be judged."


def test_definitions_of_another_major_version_do_not_compare() -> None:
    finding = compared("schema", replace(SOURCE, major=16))
    assert finding.status is Status.INCONCLUSIVE
    assert finding.because == "The copy runs version 16, the source 15: definitions do not compare."


def test_a_copy_with_more_rows_than_its_source_held_later_is_missed() -> None:
    """Rows written after the baseline are beyond its filter: only their count can tell that some are too many."""
    later = replace(BASELINE, repeats=(Repeat(120.0, (), {"public.a": 5, "public.b": 2}),))
    held = {"public.b": TableSum(2, "88", METHOD, 2)}
    fits = replace(SOURCE, tables={**held, "public.a": TableSum(3, "77", METHOD, 5)})
    assert compared("data", fits, later).status is Status.MET
    assert "; 2 later ones only counted." in compared("data", fits, later).because
    assert compared("data", SOURCE).because.endswith("2 tables hold the source's 5 rows.")
    same = replace(SOURCE, tables={name: replace(table, total=table.rows) for name, table in SOURCE.tables.items()})
    assert compared("data", same).because.endswith("2 tables hold the source's 5 rows.")
    assert compared("data", same).measured == 0.0
    surplus = replace(SOURCE, tables={**held, "public.a": TableSum(3, "77", METHOD, 6)})
    found = compared("data", surplus, later)
    assert found.status is Status.MISSED
    assert found.because == "public.a: 1 row more than the source held later."


def test_a_finding_carries_its_demand_and_how_many_differ() -> None:
    asked = Demand("schema", "restored", 7.0)
    altered = replace(SOURCE, schema={"table public.a": "9"})
    found = holding(
        seen("baseline", msgspec.to_builtins(BASELINE), "source"), seen("fingerprint", msgspec.to_builtins(altered))
    )
    told = findings.judged(KNOWN["schema"].judge, found, asked)
    assert (told.objective, told.path, told.limit, told.measured, told.unit) == (
        "schema",
        "restored",
        7.0,
        2,
        "objects",
    )
    assert told.because == "index public.a_pkey: missing, table public.a: defined differently."


def test_every_table_is_told_of_by_its_rows_there_and_here() -> None:
    copy = replace(SOURCE, tables={"public.a": TableSum(3, "77", METHOD, 5), "public.c": TableSum(0, "", METHOD, 2)})
    both = seen("baseline", msgspec.to_builtins(BASELINE), "source"), seen("fingerprint", msgspec.to_builtins(copy))
    assert tables(holding(*both), "restored") == (
        Table("public.a", 3, 3, 2, Status.MET, ""),
        Table("public.b", 2, None, 0, Status.MISSED, "missing, with 2 rows"),
        Table("public.c", None, 0, 0, Status.MET, ""),
    )


def test_a_table_without_rows_is_one_without_rows() -> None:
    empty = TableSum(0, "", METHOD, 0)
    source = with_tables(a=A, b=empty)
    assert (
        compared("data", source, replace(BASELINE, fingerprint=source)).because == "2 tables hold the source's 3 rows."
    )
    copy = with_tables(a=replace(A, total=4), b=empty)
    told = compared("data", copy, replace(BASELINE, fingerprint=source)).because
    assert told == "2 tables hold the source's 3 rows; 1 later one only counted."
