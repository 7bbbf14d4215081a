"""Equality judged from observations: what is not proven is never met, and a difference is never inconclusive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dr.domain.looks import DAMAGED
from dr.domain.model import (
    Demand,
    Finding,
    Observation,
    Plan,
    Purpose,
    Request,
    RunIdentity,
    Stamp,
    Status,
)
from dr.evidence.model import Evidence, RunRecord
from dr.judge import findings
from dr.judge.objectives import registry
from dr.judge.objectives.equality import OBJECTIVES

KNOWN = registry()
BASELINE = {"golden": {"p1": "aa", "p2": "bb"}}
MODEL = {"active": 1, "version": "2.3.0", "digest": "d", "artifact_digest": "d", "source": None}


def holding(*observations: Observation) -> Evidence:
    request = Request("t", (), Purpose.DRILL)
    record = RunRecord(Plan(request, RunIdentity("r", "t", Purpose.DRILL, ""), (), ()), Stamp(0, 0, ""), "", {}, 1.0)
    return Evidence(record, (), observations)


def judged(objective: str, *observations: Observation) -> Finding:
    return findings.judged(KNOWN[objective].judge, holding(*observations), Demand(objective, "restored"))


def seen(what: str, value: Any, path: str = "restored") -> Observation:
    return Observation(what, path, value)


def golden(answers: Mapping[str, str], baseline: Mapping[str, Any] = BASELINE) -> Finding:
    return judged("golden", seen("baseline", baseline, "source"), seen("golden", answers))


@pytest.mark.parametrize("objective", [one.name for one in OBJECTIVES])
def test_nothing_observed_is_inconclusive_with_a_reason(objective: str) -> None:
    finding = judged(objective)
    assert finding.status is Status.INCONCLUSIVE
    assert finding.because.endswith(".")
    assert len(finding.because) > 20


def test_orphans_are_missed_even_beside_a_key_that_could_not_be_read() -> None:
    keys = [
        {"name": "k1", "table": "public.a", "orphans": None, "because": "permission denied"},
        {"name": "k2", "table": "public.b", "orphans": 4},
    ]
    both = judged(
        "foreign-keys", seen("foreign-keys", keys), seen("foreign-keys", [{**keys[1], "orphans": 0}], "source")
    )
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


PROBED = {"available": True, "checked": 2, "failed": [], "invalid": [], "probed": 5, "lost": [], "unprobed": {}}
LOST = {"index": "public.words", "kind": "gin", "rows": 8, "found": 3}
OLD_COLLATION = ["public.german", "1.0", "2.0"]


def test_indexes_that_were_checked_and_gone_through_are_met_and_say_what_was_left_out() -> None:
    met = judged("indexes", seen("indexes", PROBED))
    assert met.status is Status.MET
    assert met.because == (
        "amcheck found 2 B-trees whole; rows that were drawn at random were found through 5 indexes alone."
    )
    left = judged(
        "indexes", seen("indexes", {**PROBED, "unprobed": {"public.a": "took long"}, "invalid": ["public.b"]})
    )
    assert left.status is Status.MET
    assert "not gone through: public.a (took long); invalid, and so not checked: public.b." in left.because


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"lost": [LOST]}, "public.words: finds 3 of 8 rows"),
        ({"failed": [{"index": "public.i", "error": "torn"}]}, "public.i: torn"),
    ],
)
def test_an_index_that_is_wrong_is_missed_by_name_unless_the_sources_is_too(what: dict[str, Any], said: str) -> None:
    broken = {**PROBED, **what}
    missed = judged("indexes", seen("indexes", broken))
    assert (missed.status, missed.because) == (Status.MISSED, f"{said}.")
    theirs = judged("indexes", seen("indexes", broken), seen("indexes", broken, "source"))
    assert theirs.status is Status.MET
    assert f"as on the source, {said}" in theirs.because
    assert judged("indexes", seen("indexes", broken), seen("indexes", PROBED, "source")).status is Status.MISSED


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"unchecked": {"public.i": "canceling statement due to lock timeout"}}, "not checked, canceling"),
        ({"unprobed": {"public.i": f"{DAMAGED}invalid page"}}, "not gone through, damaged: invalid page"),
    ],
)
def test_an_index_that_could_not_be_checked_or_is_damaged_where_no_row_was_drawn_is_inconclusive(
    what: dict[str, Any], said: str
) -> None:
    found = judged("indexes", seen("indexes", {**PROBED, **what}))
    assert found.status is Status.INCONCLUSIVE
    assert f"public.i: {said}" in found.because


def test_indexes_of_a_collation_of_another_version_are_inconclusive_unless_the_sources_are_too() -> None:
    outdated = {**PROBED, "collations": [OLD_COLLATION]}
    found = judged("indexes", seen("indexes", outdated))
    assert found.status is Status.INCONCLUSIVE
    said = "collation public.german: indexes were built with version 1.0, and this server has 2.0: REINDEX them"
    assert found.because == f"{said}."
    theirs = judged("indexes", seen("indexes", outdated), seen("indexes", outdated, "source"))
    assert theirs.status is Status.MET
    assert f"as on the source, {said}" in theirs.because


def test_without_amcheck_indexes_are_inconclusive_unless_one_does_not_find_its_rows() -> None:
    blind = {**PROBED, "available": False, "because": "no amcheck"}
    found = judged("indexes", seen("indexes", blind))
    assert (found.status, found.because) == (Status.INCONCLUSIVE, "B-trees: not checked, no amcheck.")
    assert judged("indexes", seen("indexes", {**blind, "lost": [LOST]})).status is Status.MISSED


def test_orphans_that_the_source_has_too_are_said_of_the_source() -> None:
    key = {"name": "k", "table": "public.a", "orphans": 4}
    here = seen("foreign-keys", [key])
    met = judged("foreign-keys", here, seen("foreign-keys", [key], "source"))
    assert met.status is Status.MET
    assert met.because == "0 foreign keys hold. As on the source, public.a (k): 4 rows without the row referred to."
    fewer = judged("foreign-keys", here, seen("foreign-keys", [{**key, "orphans": 1}], "source"))
    assert fewer.status is Status.INCONCLUSIVE
    none = judged("foreign-keys", here, seen("foreign-keys", [{**key, "orphans": 0}], "source"))
    assert none.status is Status.MISSED


def active(version: str, xid: int = 5) -> dict[str, Any]:
    return {"active": 1, "version": version, "digest": version, "artifact_digest": version, "xid": xid}


@pytest.mark.parametrize(
    ("copy", "before", "after", "status", "said"),
    [
        (active("1"), active("1"), active("1"), Status.MET, "1, and its artifact"),
        (active("1"), active("1"), active("2", 30), Status.MET, "1, and its artifact"),
        (active("2", 15), active("1"), active("2", 15), Status.MET, "2, and its artifact"),
        (active("1"), active("1"), active("2", 15), Status.MISSED, "on the source it was 1 before and 2 afterwards"),
        (active("9", 99), active("1"), active("1"), Status.MISSED, "on the source it was 1"),
        (active("9", 99), active("1"), None, Status.MISSED, "made so on the copy itself"),
        (active("2", 15), active("1"), None, Status.INCONCLUSIVE, "nobody can know"),
        (active("1"), None, None, Status.MET, "1, and its artifact"),
        ({**active("1"), "active": 0}, active("1"), active("1"), Status.MISSED, "0 model versions are active"),
    ],
)
def test_the_active_model_is_that_of_the_recovery_point(
    copy: dict[str, Any], before: Any, after: Any, status: Status, said: str
) -> None:
    """The look before saw what was committed below transaction 10, the copy what was below 20."""
    looks = (
        seen(
            "baseline", {"id": "b", "target": "t", "source": "s", "resource_id": "r", "look": look("10:10:")}, "source"
        ),
        seen("look", {**look("40:40:"), "cuts": {"before": "10:10:", "point": "20:20:"}}),
    )
    found = judged("model", *looks, seen("model", {**copy, "source": before, "after": after}))
    assert (found.status, said in found.because) == (status, True), found.because


def look(snapshot: str) -> dict[str, Any]:
    return {"at": 1.0, "major": 15, "snapshot": snapshot, "cuts": {}, "objects": {}, "tables": {}}


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
    assert golden({"p1": "aa", "p2": "bb"}).status is Status.MET
    other = golden({"p1": "aa", "p2": "xx"})
    assert other.status is Status.MISSED
    assert "p2: another prediction" in other.because
    assert "p2: not answered" in golden({"p1": "aa"}).because
    assert "p2: not answered" in golden({"p1": "aa", "p2": "no answer: it hung up"}).because


@pytest.mark.parametrize(
    ("copy", "before", "answer", "status"),
    [
        (active("1"), active("1"), "xx", Status.MISSED),
        (active("2"), active("1"), "xx", Status.INCONCLUSIVE),
        ({**active("1"), "digest": "2"}, active("1"), "xx", Status.INCONCLUSIVE),
        (active("2"), active("1"), "bb", Status.MET),
        (active("2"), active("1"), "no answer: it hung up", Status.MISSED),
        ({**active("2"), "active": 0}, active("1"), "xx", Status.MISSED),
        (active("2"), {**active("1"), "active": 2}, "xx", Status.MISSED),
        (active("2"), None, "xx", Status.MISSED),
    ],
)
def test_the_golden_predictions_of_another_model_than_the_copys_prove_nothing(
    copy: dict[str, Any], before: dict[str, Any] | None, answer: str, status: Status
) -> None:
    models = seen("model", {**copy, "source": before, "after": copy})
    found = judged("golden", seen("baseline", BASELINE, "source"), seen("golden", {"p1": "aa", "p2": answer}), models)
    assert found.status is status
    assert ("p2: another prediction, and the look at the source asked model version 1" in found.because) is (
        status is Status.INCONCLUSIVE
    )


def test_a_baseline_without_golden_predictions_is_inconclusive() -> None:
    assert golden({"p1": "aa"}, {"golden": {}}).status is Status.INCONCLUSIVE


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
    found = golden({"p1": "aa", "p2": "bb"})
    assert (found.because, found.unit) == ("All 2 golden predictions are the source's.", "predictions")
