"""Equality judged from observations: what is not proven is never met, and a difference is never inconclusive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from dr.domain.model import (
    Baseline,
    Demand,
    Finding,
    Fingerprint,
    Observation,
    Plan,
    Purpose,
    Repeat,
    Request,
    RunIdentity,
    Stamp,
    Status,
    TableSum,
)
from dr.evidence.model import Evidence, RunRecord
from dr.judge import findings
from dr.judge.objectives import registry
from dr.judge.objectives.equality import OBJECTIVES, Table, tables

KNOWN = registry()
METHOD = "hash-15/1"
SOURCE = Fingerprint(
    at=100.0,
    major=15,
    snapshot="10:10:",
    schema={"table public.a": "1", "index public.a_pkey": "2"},
    tables={"public.a": TableSum(3, "77", METHOD), "public.b": TableSum(2, "88", METHOD)},
)
BASELINE = Baseline("b", "t", "db", "db-1", SOURCE, {"p1": "aa", "p2": "bb"}, {}, (Repeat(120.0, ()),))
MODEL = {"active": 1, "version": "2.3.0", "digest": "d", "artifact_digest": "d", "source": None}


def holding(*observations: Observation) -> Evidence:
    request = Request("t", (), Purpose.DRILL)
    record = RunRecord(Plan(request, RunIdentity("r", "t", Purpose.DRILL, ""), (), ()), Stamp(0, 0, ""), "", {}, 1.0)
    return Evidence(record, (), observations)


def judged(objective: str, *observations: Observation) -> Finding:
    return findings.judged(KNOWN[objective].judge, holding(*observations), Demand(objective, "restored"))


def seen(what: str, value: Any, path: str = "restored") -> Observation:
    return Observation(what, path, value)


def compared(
    objective: str, copy: Fingerprint, baseline: Baseline | None = BASELINE, golden: Mapping[str, str] | None = None
) -> Finding:
    return judged(
        objective,
        seen("baseline", None if baseline is None else msgspec.to_builtins(baseline), "source"),
        seen("fingerprint", msgspec.to_builtins(copy)),
        *([seen("golden", golden)] if golden is not None else []),
    )


def with_tables(**tables: TableSum) -> Fingerprint:
    return replace(SOURCE, tables={f"public.{name}": table for name, table in tables.items()})


A, B = SOURCE.tables["public.a"], SOURCE.tables["public.b"]


@pytest.mark.parametrize("objective", [one.name for one in OBJECTIVES])
def test_nothing_observed_is_inconclusive_with_a_reason(objective: str) -> None:
    finding = judged(objective)
    assert finding.status is Status.INCONCLUSIVE
    assert finding.because.endswith(".")
    assert len(finding.because) > 20


@pytest.mark.parametrize("objective", ["schema", "data"])
def test_an_equal_copy_is_met(objective: str) -> None:
    assert compared(objective, SOURCE).status is Status.MET


@pytest.mark.parametrize("objective", ["schema", "data", "golden"])
def test_no_covering_baseline_is_inconclusive(objective: str) -> None:
    finding = compared(objective, SOURCE, None, {"p1": "aa"})
    assert finding.status is Status.INCONCLUSIVE
    assert "no baseline covers the recovery point" in finding.because


@pytest.mark.parametrize("objective", ["schema", "data"])
def test_a_baseline_that_was_never_repeated_proves_nothing(objective: str) -> None:
    finding = compared(objective, SOURCE, replace(BASELINE, repeats=()))
    assert finding.status is Status.INCONCLUSIVE
    assert "not repeated" in finding.because


def test_a_copy_read_under_another_snapshot_is_inconclusive() -> None:
    assert compared("data", replace(SOURCE, snapshot="11:11:")).status is Status.INCONCLUSIVE


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
    assert "public.a" in equal.because
    assert "public.b" not in equal.because
    broken = compared("data", with_tables(a=A, b=replace(B, rows=1)), changed)
    assert broken.status is Status.MISSED
    assert "1 table could not be judged" in broken.because


def test_sums_of_different_methods_do_not_compare() -> None:
    finding = compared("data", with_tables(a=replace(A, method="md5/1", checksum="0"), b=B))
    assert finding.status is Status.INCONCLUSIVE
    assert "hash-15/1" in finding.because


@pytest.mark.parametrize("where", ["source", "copy"])
def test_an_unreadable_table_is_inconclusive_with_its_reason(where: str) -> None:
    unreadable = with_tables(a=TableSum(0, "", "unreadable: permission denied for table a"), b=B)
    pair = (SOURCE, replace(BASELINE, fingerprint=unreadable)) if where == "source" else (unreadable, BASELINE)
    finding = compared("data", *pair)
    assert finding.status is Status.INCONCLUSIVE
    assert "permission denied" in finding.because


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


def test_definitions_of_another_major_version_do_not_compare() -> None:
    assert compared("schema", replace(SOURCE, major=16)).status is Status.INCONCLUSIVE


def test_orphans_are_missed_even_beside_a_key_that_could_not_be_read() -> None:
    keys = [
        {"name": "k1", "table": "public.a", "orphans": None, "because": "permission denied"},
        {"name": "k2", "table": "public.b", "orphans": 4},
    ]
    both = judged("foreign-keys", seen("foreign-keys", keys))
    assert both.status is Status.MISSED
    assert "public.b (k2): 4 rows" in both.because
    unread = judged("foreign-keys", seen("foreign-keys", keys[:1]))
    assert unread.status is Status.INCONCLUSIVE
    assert "permission denied" in unread.because


def test_foreign_keys_without_orphans_are_met() -> None:
    assert (
        judged("foreign-keys", seen("foreign-keys", [{"name": "k", "table": "t", "orphans": 0}])).status is Status.MET
    )


def test_a_corrupt_index_is_missed_and_a_missing_amcheck_inconclusive() -> None:
    corrupt = {"available": True, "checked": 2, "failed": [{"index": "public.i", "error": "item order invariant"}]}
    finding = judged("indexes", seen("indexes", corrupt))
    assert finding.status is Status.MISSED
    assert "public.i: item order invariant" in finding.because
    absent = judged("indexes", seen("indexes", {"available": False, "because": "amcheck is not installed"}))
    assert absent.status is Status.INCONCLUSIVE
    assert "not installed" in absent.because
    assert judged("indexes", seen("indexes", {"available": True, "checked": 2, "failed": []})).status is Status.MET


def test_indexes_that_amcheck_cannot_check_are_told_and_prove_nothing() -> None:
    beside = {"invalid": ["public.torn"], "others": {"gin": 2, "gist": 1}}
    some = judged("indexes", seen("indexes", {"available": True, "checked": 2, "failed": [], **beside}))
    assert some.status is Status.MET
    for words in ("2 indexes whole", "2 of kind gin", "1 of kind gist", "not checked: public.torn"):
        assert words in some.because
    none = judged("indexes", seen("indexes", {"available": True, "checked": 0, "failed": [], **beside}))
    assert none.status is Status.INCONCLUSIVE
    assert "2 of kind gin" in none.because


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, Status.MET),
        ({"source": {"active": 1, "version": "2.3.0", "digest": "d"}}, Status.MET),
        ({"active": 0}, Status.MISSED),
        ({"active": 2}, Status.MISSED),
        ({"artifact_digest": "e"}, Status.MISSED),
        ({"source": {"active": 1, "version": "2.2.0", "digest": "c"}}, Status.MISSED),
        ({"active": None, "because": "there is no table"}, Status.INCONCLUSIVE),
        ({"artifact_digest": None, "because": "no such file"}, Status.INCONCLUSIVE),
        ({"digest": None}, Status.INCONCLUSIVE),
    ],
)
def test_exactly_one_active_model_whose_artifact_is_the_one_it_names(changes: dict[str, Any], status: Status) -> None:
    assert judged("model", seen("model", {**MODEL, **changes})).status is status


def test_every_golden_prediction_must_be_the_sources() -> None:
    assert compared("golden", SOURCE, golden={"p1": "aa", "p2": "bb"}).status is Status.MET
    other = compared("golden", SOURCE, golden={"p1": "aa", "p2": "xx"})
    assert other.status is Status.MISSED
    assert "p2: another prediction" in other.because
    assert "p2: not answered" in compared("golden", SOURCE, golden={"p1": "aa"}).because


def test_a_baseline_without_golden_predictions_is_inconclusive() -> None:
    assert compared("golden", SOURCE, replace(BASELINE, golden={}), {"p1": "aa"}).status is Status.INCONCLUSIVE


def test_a_stale_password_is_missed_with_the_role() -> None:
    roles = [{"user": "app", "ok": True, "because": ""}, {"user": "batch", "ok": False, "because": "Refused: stale."}]
    finding = judged("logins", seen("logins", roles))
    assert finding.status is Status.MISSED
    assert "batch: cannot log in (Refused: stale)" in finding.because
    assert judged("logins", seen("logins", roles[:1])).status is Status.MET
    assert judged("logins", seen("logins", [])).status is Status.INCONCLUSIVE


def test_an_unexpected_difference_of_configuration_is_missed_and_expected_ones_are_listed() -> None:
    expected = {"name": "MultiAZ", "source": True, "restored": False, "expected": True, "because": "a drill's copy"}
    wrong = {"name": "StorageType", "source": "io1", "restored": "gp3", "expected": False, "because": ""}
    assert "MultiAZ" in judged("configuration", seen("configuration", [expected])).because
    assert judged("configuration", seen("configuration", [])).status is Status.MET
    finding = judged("configuration", seen("configuration", [expected, wrong]))
    assert finding.status is Status.MISSED
    assert finding.because == "StorageType: gp3 instead of io1."


def test_a_configuration_with_nothing_to_compare_it_with_is_inconclusive() -> None:
    finding = judged("configuration", seen("configuration", {"because": "no profile is there"}))
    assert finding.status is Status.INCONCLUSIVE
    assert finding.because == "The copy's configuration was not compared: no profile is there."


def test_the_newest_observation_counts() -> None:
    stale, good = [{"user": "a", "ok": False, "because": "x"}], [{"user": "a", "ok": True, "because": ""}]
    assert judged("logins", seen("logins", stale), seen("logins", good)).status is Status.MET


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
    assert "1 row more" in found.because


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


@pytest.mark.parametrize(
    ("objective", "value", "because"),
    [
        ("foreign-keys", [], "The database has no foreign key."),
        ("foreign-keys", [{"name": "k", "table": "t", "orphans": 0}], "1 foreign key hold."),
        ("foreign-keys", [{"name": "k", "table": "t", "orphans": None}], "t (k): not examined, without a reason."),
        ("indexes", {"available": False}, "The indexes were not examined: amcheck is not available."),
        ("model", {**MODEL, "active": None}, "The active model is not known: it could not be read."),
        ("configuration", [], "It is the source's."),
        (
            "configuration",
            [{"name": name, "source": 1, "restored": 2, "expected": True, "because": ""} for name in "ab"],
            "It differs only as expected: a, b.",
        ),
        (
            "configuration",
            [{"name": "a", "source": 1, "restored": 2, "expected": False, "because": "ask for it"}],
            "a: 2 instead of 1, ask for it.",
        ),
        (
            "configuration",
            [{"name": "a", "source": 1, "restored": 2, "expected": False, "because": "nobody asked for it"}],
            "a: 2 instead of 1.",
        ),
    ],
)
def test_a_sentence_tells_what_was_seen(objective: str, value: Any, because: str) -> None:
    assert judged(objective, seen(objective, value)).because == because


def test_golden_predictions_are_counted_as_such() -> None:
    found = compared("golden", SOURCE, golden={"p1": "aa", "p2": "bb"})
    assert (found.because, found.unit) == ("All 2 golden predictions are the source's.", "predictions")
