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
from dr.judge.objectives.equality import OBJECTIVES
from dr.wiring import objectives

KNOWN = objectives()
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


UNSEEN = {
    "foreign-keys": "The foreign keys were not examined.",
    "indexes": "The indexes were not examined.",
    "model": "The active model was not examined.",
    "golden": "The golden predictions were not asked of the copy.",
    "logins": "No application role was tried.",
    "configuration": "The copy's configuration was not compared with the source's.",
}


@pytest.mark.parametrize("objective", [one.name for one in OBJECTIVES])
def test_nothing_observed_is_inconclusive_with_a_reason(objective: str) -> None:
    finding = judged(objective)
    assert (finding.status, finding.because) == (Status.INCONCLUSIVE, UNSEEN[objective])


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


def test_a_key_that_holds_hides_no_orphans_of_another() -> None:
    keys = [{"name": "k1", "table": "public.a", "orphans": 0}, {"name": "k2", "table": "public.b", "orphans": 1}]
    found = judged(
        "foreign-keys", seen("foreign-keys", keys), seen("foreign-keys", [{**keys[1], "orphans": 0}], "source")
    )
    assert (found.status, found.because) == (Status.MISSED, "public.b (k2): 1 row without the row referred to.")
    assert found.unit == "foreign keys"


def test_foreign_keys_without_orphans_are_met() -> None:
    assert (
        judged("foreign-keys", seen("foreign-keys", [{"name": "k", "table": "t", "orphans": 0}])).status is Status.MET
    )


def test_a_corrupt_index_is_missed_and_a_missing_amcheck_inconclusive() -> None:
    corrupt = {"available": True, "checked": 2, "failed": [{"index": "public.i", "error": "item order invariant"}]}
    finding = judged("indexes", seen("indexes", corrupt))
    assert finding.status is Status.MISSED
    assert (finding.because, finding.unit) == ("public.i: item order invariant.", "indexes")
    absent = judged("indexes", seen("indexes", {"available": False, "because": "amcheck is not installed"}))
    assert absent.status is Status.INCONCLUSIVE
    assert "not installed" in absent.because
    assert judged("indexes", seen("indexes", {"available": True, "checked": 2, "failed": []})).status is Status.MET


def test_indexes_that_amcheck_cannot_check_are_told_and_prove_nothing() -> None:
    beside = {"invalid": ["public.torn"], "others": {"gin": 2, "gist": 1}}
    some = judged("indexes", seen("indexes", {"available": True, "checked": 2, "failed": [], **beside}))
    assert some.status is Status.MET
    left = "; it cannot check 2 of kind gin; it cannot check 1 of kind gist; invalid, and so not checked: public.torn."
    assert some.because == f"amcheck found 2 indexes whole{left}"
    none = judged("indexes", seen("indexes", {"available": True, "checked": 0, "failed": [], **beside}))
    assert none.status is Status.INCONCLUSIVE
    assert none.because == f"The database has no B-tree index that amcheck could check{left}"


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
    ("what", "said", "whole"),
    [
        ({"lost": [LOST]}, "public.words: finds 3 of 8 rows", "2 B-trees"),
        ({"failed": [{"index": "public.i", "error": "torn"}]}, "public.i: torn", "1 B-tree"),
    ],
)
def test_an_index_that_is_wrong_is_missed_by_name_unless_the_sources_is_too(
    what: dict[str, Any], said: str, whole: str
) -> None:
    broken = {**PROBED, **what}
    missed = judged("indexes", seen("indexes", broken))
    assert (missed.status, missed.because, missed.unit) == (Status.MISSED, f"{said}.", "indexes")
    theirs = judged("indexes", seen("indexes", broken), seen("indexes", broken, "source"))
    assert theirs.status is Status.MET
    found = "rows that were drawn at random were found through 5 indexes alone"
    assert theirs.because == f"amcheck found {whole} whole; {found}; as on the source, {said}."
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
    unnamed = judged("indexes", seen("indexes", {**PROBED, "available": False}))
    assert unnamed.because == "B-trees: not checked, amcheck is not available."
    assert judged("indexes", seen("indexes", {**blind, "lost": [LOST]})).status is Status.MISSED


def test_orphans_that_the_source_has_too_are_said_of_the_source() -> None:
    key = {"name": "k", "table": "public.a", "orphans": 4}
    here = seen("foreign-keys", [key])
    met = judged("foreign-keys", here, seen("foreign-keys", [key], "source"))
    assert met.status is Status.MET
    assert met.because == "0 foreign keys hold. As on the source, public.a (k): 4 rows without the row referred to."
    fewer = judged("foreign-keys", here, seen("foreign-keys", [{**key, "orphans": 1}], "source"))
    assert fewer.status is Status.INCONCLUSIVE
    told = "4 rows without the row referred to, and 1 on the source by now: how many there were is not known"
    assert fewer.because == f"public.a (k): {told}."
    none = judged("foreign-keys", here, seen("foreign-keys", [{**key, "orphans": 0}], "source"))
    assert none.status is Status.MISSED


def active(version: str, xid: int = 5) -> dict[str, Any]:
    return {"active": 1, "version": version, "digest": version, "artifact_digest": version, "xid": xid}


ONE = "Exactly one model version is active, {}, and its artifact is the one it names."
OTHER = "Model version {} is active, on the source it was {}."
NOT_KNOWN = (
    "Model version {} is active; the source's was {}, so that nobody can know which it was at the recovery point."
)


@pytest.mark.parametrize(
    ("copy", "before", "after", "status", "because"),
    [
        (active("1"), active("1"), active("1"), Status.MET, ONE.format(1)),
        (active("1"), active("1"), active("2", 30), Status.MET, ONE.format(1)),
        (active("1"), active("1"), active("2", 0), Status.MET, ONE.format(1)),
        (active("1"), active("1"), {"active": 0}, Status.MET, ONE.format(1)),
        (active("2", 15), active("1"), active("2", 15), Status.MET, ONE.format(2)),
        (active("2", 15), {"active": 2}, active("2", 15), Status.MET, ONE.format(2)),
        (active("1"), active("1"), active("2", 15), Status.MISSED, OTHER.format(1, "1 before and 2 afterwards")),
        (active("9", 15), active("1"), active("1"), Status.MISSED, OTHER.format(9, "1 before and 1 afterwards")),
        (active("9", 99), None, active("1"), Status.MISSED, OTHER.format(9, "1 afterwards")),
        (active("9"), active("1"), None, Status.MISSED, OTHER.format(9, "1 before")),
        (
            active("9", 99),
            active("1"),
            None,
            Status.MISSED,
            "Model version 9 is active, made so on the copy itself, after its recovery.",
        ),
        (active("2", 15), active("1"), None, Status.INCONCLUSIVE, NOT_KNOWN.format(2, "1 before")),
        (
            active("3", 15),
            active("1"),
            active("2", 30),
            Status.INCONCLUSIVE,
            NOT_KNOWN.format(3, "1 before and 2 afterwards"),
        ),
        (active("1"), None, None, Status.MET, ONE.format(1)),
        (active("1"), {"active": 0}, {"active": 2}, Status.MET, ONE.format(1)),
        (
            {**active("1"), "active": 0},
            active("1"),
            active("1"),
            Status.MISSED,
            "0 model versions are active instead of exactly one.",
        ),
    ],
)
def test_the_active_model_is_that_of_the_recovery_point(
    copy: dict[str, Any], before: Any, after: Any, status: Status, because: str
) -> None:
    """The look before saw what was committed below transaction 10, the copy what was below 20."""
    assert model(copy, before, after) == (status, because)


def test_a_model_whose_writer_is_not_noted_is_known_by_the_looks_alone() -> None:
    unwritten = {key: value for key, value in active("1").items() if key != "xid"}
    other = {key: value for key, value in active("2").items() if key != "xid"}
    assert model(unwritten, unwritten, other) == (Status.MET, ONE.format(1))
    assert model(unwritten, other, other) == (Status.MISSED, OTHER.format(1, "2 before and 2 afterwards"))
    assert model(unwritten, other, None) == (Status.INCONCLUSIVE, NOT_KNOWN.format(1, "2 before"))


def test_another_model_at_the_source_cannot_be_known_without_a_look_at_the_copy() -> None:
    value = {**active("1"), "source": active("1"), "after": active("1")}
    found = judged("model", seen("model", value))
    assert found.status is Status.INCONCLUSIVE
    assert found.because == "The active model cannot be compared: the copy was not read."


def model(copy: dict[str, Any], before: Any, after: Any) -> tuple[Status, str]:
    looks = (
        seen(
            "baseline", {"id": "b", "target": "t", "source": "s", "resource_id": "r", "look": look("10:10:")}, "source"
        ),
        seen("look", {**look("40:40:"), "cuts": {"before": "10:10:", "point": "20:20:"}}),
    )
    found = judged("model", *looks, seen("model", {**copy, "source": before, "after": after}))
    return found.status, found.because


def look(snapshot: str) -> dict[str, Any]:
    return {"at": 1.0, "major": 15, "snapshot": snapshot, "cuts": {}, "objects": {}, "tables": {}}


@pytest.mark.parametrize(
    ("changes", "status", "because"),
    [
        ({}, Status.MET, ONE.format("2.3.0")),
        ({"source": {"active": 1, "version": "2.3.0", "digest": "d"}}, Status.MET, ONE.format("2.3.0")),
        ({"source": {"active": 2, "version": None, "digest": None}}, Status.MET, ONE.format("2.3.0")),
        ({"active": 2}, Status.MISSED, "2 model versions are active instead of exactly one."),
        (
            {"artifact_digest": "e"},
            Status.MISSED,
            "The artifact of model version 2.3.0 is not the one its row digests.",
        ),
        (
            {"source": {"active": 1, "version": "2.2.0", "digest": "c"}},
            Status.MISSED,
            "Model version 2.3.0 is active, on the source it was 2.2.0.",
        ),
        (
            {"source": {"active": 1, "version": "2.3.0", "digest": "c"}},
            Status.MISSED,
            "Model version 2.3.0 is active, on the source it was 2.3.0.",
        ),
        (
            {"active": None, "because": "there is no table"},
            Status.INCONCLUSIVE,
            "The active model is not known: there is no table.",
        ),
        (
            {"artifact_digest": None, "because": "no such file"},
            Status.INCONCLUSIVE,
            "The artifact of model version 2.3.0 was not digested: no such file.",
        ),
        ({"digest": None}, Status.INCONCLUSIVE, "Model version 2.3.0 names no digest of its artifact."),
    ],
)
def test_exactly_one_active_model_whose_artifact_is_the_one_it_names(
    changes: dict[str, Any], status: Status, because: str
) -> None:
    found = judged("model", seen("model", {**MODEL, **changes}))
    assert (found.status, found.because) == (status, because)


def test_every_golden_prediction_must_be_the_sources() -> None:
    assert golden({"p1": "aa", "p2": "bb"}).status is Status.MET
    other = golden({"p1": "aa", "p2": "xx"})
    assert (other.status, other.because) == (Status.MISSED, "p2: another prediction.")
    assert golden({}, {"golden": {"p2": "bb", "p1": "aa"}}).because == "p1: not answered, p2: not answered."
    assert golden({"p1": "aa", "p2": "no answer: it hung up"}).because == "p2: not answered."


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
    told = "p2: another prediction, and the look at the source asked model version 1."
    assert (found.because == told) is (status is Status.INCONCLUSIVE)
    strict = {"golden": {"p1": "d 0.1 [1.0]", "p2": "bb"}}
    lenient = seen("golden", {"p1": "d 0.5 [1.0]", "p2": answer})
    both = judged("golden", seen("baseline", strict, "source"), lenient, models)
    assert ("p1: asked with another tolerance" in both.because) is (both.status is Status.INCONCLUSIVE)


def test_a_golden_prediction_that_was_asked_with_another_tolerance_is_inconclusive_and_one_not_answered_missed() -> (
    None
):
    told = golden({"p1": "d 0.5 [1.0]"}, {"golden": {"p1": "d 0.1 [1.0]"}})
    assert (told.status, told.because) == (Status.INCONCLUSIVE, "p1: asked with another tolerance.")
    silent = golden({}, {"golden": {"p1": "d 0.1 [1.0]"}})
    assert (silent.status, silent.because) == (Status.MISSED, "p1: not answered.")


def test_golden_predictions_that_rest_on_what_the_source_changed_since_prove_nothing_where_they_differ() -> None:
    outdated = {**BASELINE, "outdated": ["public.admissions"]}
    found = golden({"p1": "aa", "p2": "xx"}, outdated)
    told = "p2: another prediction, and the source has changed since it was asked: public.admissions."
    assert (found.status, found.because) == (Status.INCONCLUSIVE, told)
    assert golden({"p1": "aa", "p2": "bb"}, outdated).status is Status.MET
    assert golden({"p1": "aa"}, outdated).status is Status.MISSED


def test_golden_requests_that_a_stopped_service_did_not_answer_prove_nothing() -> None:
    def of(answers: Mapping[str, str]) -> Finding:
        stopped = seen("asked", {"stood": 29.0})
        return judged("golden", seen("baseline", BASELINE, "source"), seen("golden", answers), stopped)

    told = "the service's process was stopped for about 29.0 s while it was asked"
    silent = of({"p1": "aa", "p2": "no answer: within 10 s"})
    assert (silent.status, silent.because) == (Status.INCONCLUSIVE, f"p2: not answered, service: {told}.")
    assert of({"p1": "aa", "p2": "bb"}).because == f"service: {told}."
    assert of({"p1": "xx"}).status is Status.MISSED


def test_without_golden_predictions_of_the_source_they_are_inconclusive() -> None:
    for baseline in ({"golden": {}}, {}):
        found = golden({"p1": "aa"}, baseline)
        assert found.status is Status.INCONCLUSIVE
        assert found.because == "The baseline holds no golden predictions of the source."
    unlooked = judged("golden", seen("golden", {"p1": "aa"}))
    assert unlooked.because == "The golden predictions cannot be compared: no baseline was looked for."


def test_a_stale_password_is_missed_with_the_role() -> None:
    roles = [{"user": "app", "ok": True, "because": ""}, {"user": "batch", "ok": False, "because": "Refused: stale."}]
    finding = judged("logins", seen("logins", roles))
    assert (finding.status, finding.unit) == (Status.MISSED, "roles")
    assert finding.because == "batch: cannot log in (Refused: stale)."
    met = judged("logins", seen("logins", roles[:1]))
    assert (met.status, met.because) == (Status.MET, "1 role logged in with the secret the service uses.")
    none = judged("logins", seen("logins", []))
    assert none.status is Status.INCONCLUSIVE
    assert none.because == "The target names no application role to try."


def test_a_role_that_was_not_answered_is_inconclusive_and_hides_no_other() -> None:
    silent = {"user": "app", "ok": None, "because": "It cannot be reached."}
    found = judged("logins", seen("logins", [silent]))
    assert (found.status, found.because) == (Status.INCONCLUSIVE, "app: was not answered (It cannot be reached).")
    stale = {"user": "batch", "ok": False, "because": "Refused: stale."}
    assert judged("logins", seen("logins", [silent, stale])).status is Status.MISSED


def test_an_unexpected_difference_of_configuration_is_missed_and_expected_ones_are_listed() -> None:
    expected = {"name": "MultiAZ", "source": True, "restored": False, "expected": True, "because": "a drill's copy"}
    wrong = {"name": "StorageType", "source": "io1", "restored": "gp3", "expected": False, "because": ""}
    assert "MultiAZ" in judged("configuration", seen("configuration", [expected])).because
    assert judged("configuration", seen("configuration", [])).status is Status.MET
    finding = judged("configuration", seen("configuration", [expected, wrong]))
    assert finding.status is Status.MISSED
    assert (finding.because, finding.unit) == ("StorageType: gp3 instead of io1.", "settings")


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
