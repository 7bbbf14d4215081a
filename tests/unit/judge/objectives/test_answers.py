"""Whether the service works on the copy alone, and answers right under load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dr.domain.model import Demand, Finding, Status
from dr.evidence.answers import form_of
from dr.evidence.model import Evidence
from dr.judge.findings import judged
from dr.judge.objectives import answers
from tests.unit.recovery import evidence, sample, samples

GOLDEN = {"p1": "aa", "p2": "bb"}
SILENT = "no answer: /predict was not answered within 10 s."
GONE = "no answer: the service answered request p1 with status 404."


def find(objective: str, seen: Evidence) -> Finding:
    judge = next(one.judge for one in answers.OBJECTIVES if one.name == objective)
    return judged(judge, seen, Demand(objective, "restored"))


def planted(said: dict[str, str], golden: dict[str, str] | None = None, because: str = "") -> Finding:
    seen = {"golden": GOLDEN if golden is None else golden, "planted": {"answers": said, "because": because}}
    return find("planted", evidence(observed=seen))


def test_what_is_planted_is_met_where_it_gets_the_golden_answers() -> None:
    found = planted(GOLDEN)
    assert (found.status, found.because, found.measured) == (
        Status.MET,
        "All 2 requests for what only the copy holds are answered as what that is equal to.",
        0.0,
    )


@pytest.mark.parametrize(
    ("said", "golden", "told"),
    [
        ({**GOLDEN, "p2": "cc"}, GOLDEN, ""),
        ({**GOLDEN, "p1": GONE}, GOLDEN, f" ({GONE.removesuffix('.')})"),
        ({"p1": "cc", "p2": GONE}, GOLDEN, f" ({GONE.removesuffix('.')})"),
        ({"p1": GONE}, {"p1": GONE}, f" ({GONE.removesuffix('.')})"),
        (GOLDEN, {"p1": "aa"}, ""),
        (GOLDEN, {}, ""),
        ({"p1": "d 0.1 [0.5]"}, {}, ""),
    ],
)
def test_what_is_planted_and_not_found_or_answered_otherwise_is_missed(
    said: dict[str, str], golden: dict[str, str], told: str
) -> None:
    found = planted(said, golden)
    wrong = sum(said[name] != golden.get(name) or said[name] == GONE for name in said)
    asked = f"{wrong} of {len(said)} requests for what only the copy holds"
    assert found.because == f"{asked} are not answered as what that is equal to{told}."
    assert (found.status, found.measured) == (Status.MISSED, float(wrong))


@pytest.mark.parametrize("said", [GOLDEN, {**GOLDEN, "p2": SILENT}])
def test_what_a_service_that_was_stopped_did_not_answer_proves_nothing(said: dict[str, str]) -> None:
    for golden in (GOLDEN, {**GOLDEN, "p2": SILENT}):
        seen = {"golden": golden, "planted": {"answers": said, "because": ""}, "asked": {"stood": 29.04}}
        found = find("planted", evidence(observed=seen))
        told = "The service's process was stopped for about 29.0 s while it was asked."
        assert (found.status, found.because) == (Status.INCONCLUSIVE, told)


def test_what_a_service_answered_otherwise_is_missed_although_it_was_stopped() -> None:
    said = {"p1": SILENT, "p2": "cc"}
    seen = {"golden": GOLDEN, "planted": {"answers": said, "because": ""}, "asked": {"stood": 29.0}}
    assert find("planted", evidence(observed=seen)).status is Status.MISSED
    assert find("planted", evidence(observed=seen | {"golden": {"p1": "aa"}})).status is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    ("pair", "status"),
    [
        (("reads", "reads"), Status.MET),
        (("waits", "waits"), Status.MET),
        (("answers", "answers"), Status.MET),
        (("", "reads"), Status.MET),
        (("waits", "answers"), Status.MET),
        (("reads", ""), Status.MET),
        (("answers", "reads"), Status.MISSED),
        (("waits", "reads"), Status.MISSED),
    ],
)
def test_a_service_that_reads_the_copy_for_what_is_planted_alone_is_missed(
    pair: tuple[str, str], status: Status
) -> None:
    seen = {"answers": GOLDEN, "because": "", "waits": {"p1": ["reads", "reads"], "p2": [*pair]}, "unwatched": ""}
    found = find("planted", evidence(observed={"golden": GOLDEN, "planted": seen}))
    assert found.status is status
    if status is Status.MISSED:
        assert found.because.startswith("For 1 of 2 golden requests the service does not read the copy, as it does for")


def test_where_nobody_saw_whether_the_copy_is_read_for_golden_requests_that_is_not_known() -> None:
    seen = {"answers": GOLDEN, "because": "", "waits": {}, "unwatched": "the lock was not to be had."}
    found = find("planted", evidence(observed={"golden": GOLDEN, "planted": seen}))
    told = "Whether the service reads the copy for golden requests, too, was not seen: the lock was not to be had."
    assert (found.status, found.because) == (Status.INCONCLUSIVE, told)


def test_where_nothing_was_planted_nothing_is_known() -> None:
    found = planted({}, because="the target does not say how (service.planted).")
    assert (found.status, found.because) == (
        Status.INCONCLUSIVE,
        "Nothing was planted in the copy: the target does not say how (service.planted).",
    )
    unasked = find("planted", evidence(observed={"golden": GOLDEN}))
    assert (unasked.status, unasked.because) == (
        Status.INCONCLUSIVE,
        "The service was not asked for what only the copy holds.",
    )


def test_what_is_planted_and_cannot_be_compared_is_not_called_wrong() -> None:
    strict, lenient = (form_of({"risk": 0.5}, (), tolerance, {}) for tolerance in (0.0, 0.1))
    found = planted({"p1": lenient, "p2": strict}, {"p1": strict, "p2": strict})
    assert found.status is Status.INCONCLUSIVE
    assert found.because == (
        "Not all of 2 requests for what only the copy holds can be compared with the golden answers: "
        "service.tolerance was changed in between, or a number is too large."
    )
    assert planted({"p1": lenient, "p2": GONE}, {"p1": strict, "p2": strict}).status is Status.MISSED


def load(count: int, golden: Callable[[int], bool | None], **observed: Any) -> Evidence:
    made = samples(count)
    held = tuple(replace(one, golden=golden(one.n)) for one in made.samples)
    return evidence(replace(made, samples=held), observed=observed)


def test_answers_are_met_where_all_are_golden_and_failed_requests_are_another_matter() -> None:
    found = find("answers", load(600, lambda _: True))
    assert (found.status, found.because, found.measured) == (
        Status.MET,
        "All 600 answers under load are the golden ones of their requests.",
        0.0,
    )
    assert find("answers", load(1, lambda _: True)).status is Status.MET
    failed = tuple(sample(n, status=500, error="status") for n in range(600, 610))
    seen = load(600, lambda _: True)
    more = replace(seen.samples["restored"], samples=(*seen.samples["restored"].samples, *failed))
    assert find("answers", replace(seen, samples={"restored": more})).status is Status.MET


@pytest.mark.parametrize("n", [0, 12, 599])
def test_one_wrong_answer_is_missed_wherever_it_comes(n: int) -> None:
    found = find("answers", load(600, lambda number: number != n))
    assert (found.status, found.measured) == (Status.MISSED, 1.0)
    assert found.because == (
        f"1 of 600 answers under load are not the golden ones of their requests, the first to request {n + 1}."
    )


def test_a_wrong_answer_after_the_path_had_settled_is_missed_too() -> None:
    seen = load(600, lambda _: True)
    late = replace(sample(600), golden=False)
    more = replace(seen.samples["restored"], samples=(*seen.samples["restored"].samples, late))
    assert find("answers", replace(seen, samples={"restored": more})).status is Status.MISSED


def test_answers_that_were_held_against_nothing_prove_nothing() -> None:
    found = find("answers", load(600, lambda n: None if n % 5 == 0 else True))
    assert (found.status, found.because) == (
        Status.INCONCLUSIVE,
        "Of the requests of 120 of 600 answers under load no golden answer was known that can be compared.",
    )


def test_answers_up_to_the_count_that_are_gone_prove_nothing_of_what_was_stored() -> None:
    found = stored(copy=600, last=609)
    assert (found.status, found.because) == (Status.INCONCLUSIVE, "10 of 610 samples are missing.")


@pytest.mark.parametrize("objective", ["answers", "stored"])
def test_samples_cut_off_before_or_within_what_settled_prove_nothing(objective: str) -> None:
    seen = load(600, lambda _: True, **counted(copy=600))
    whole = seen.samples["restored"]
    for kept in (whole.samples[1:], whole.samples[100:], whole.samples[:400], whole.samples[:-1], ()):
        cut = replace(seen, samples={"restored": replace(whole, samples=kept)})
        assert find(objective, cut).status is Status.INCONCLUSIVE


def test_without_a_good_answer_nothing_is_known_of_answers() -> None:
    bad = samples(600, change=lambda _: {"status": 404, "error": "status"})
    for objective in ("answers", "stored"):
        found = find(objective, evidence(bad, observed=counted(copy=0)))
        assert (found.status, found.because) == (Status.INCONCLUSIVE, "No request under load had a good answer.")
        for measured in (bad, None):
            unsettled = find(objective, evidence(measured, observed=counted(copy=0), settled=False))
            assert unsettled.status is Status.INCONCLUSIVE
            assert unsettled.because == "Path restored was not measured to the end."


def counted(**told: Any) -> dict[str, Any]:
    return {
        "stored": {
            "copy": None,
            "source": 0,
            "because": "",
            "silent": False,
            "first": 0,
            "last": 599,
            "before": 0,
            **told,
        }
    }


UNCOMPARED = "What stands in them was not compared, since service.stored tells no values."


def stored(**told: Any) -> Finding:
    return find("stored", load(600, lambda _: True, **counted(**told)))


def test_predictions_are_stored_where_the_copy_has_one_for_each_good_answer_and_the_source_none() -> None:
    found = stored(copy=600)
    assert (found.status, found.because, found.measured) == (
        Status.MET,
        f"The copy holds 600 predictions of this run for 600 good answers, the source none. {UNCOMPARED}",
        0.0,
    )


def test_a_request_without_a_good_answer_may_have_been_stored_once_and_not_more_often() -> None:
    made = samples(600)
    failed = replace(made, samples=(*made.samples[:-1], sample(599, status=0, error="timeout")))
    found = [find("stored", evidence(failed, observed=counted(copy=copy, before=2))) for copy in (600, 601, 602, 603)]
    assert [one.status for one in found] == [Status.MISSED, Status.MET, Status.MET, Status.MISSED]
    told = "The copy holds 603 predictions of this run for 601 good answers, and was asked no more than 602 times."
    assert (found[-1].because, found[-1].measured) == (told, 1.0)
    assert stored(copy=605, before=2, sent=5).status is Status.MET
    assert stored(copy=606, before=2, sent=5).status is Status.MISSED
    assert stored(copy=501, first=100).status is stored(copy=601).status is Status.MISSED


@pytest.mark.parametrize(
    ("told", "missing"),
    [
        ({"copy": 0}, 600.0),
        ({"copy": 599}, 1.0),
        ({"copy": 601, "before": 2}, 1.0),
        ({"copy": 499, "first": 100}, 1.0),
        ({"copy": 600, "source": 3}, 3.0),
        ({"copy": None, "source": 3, "because": "the copy does not answer."}, 3.0),
    ],
)
def test_predictions_that_the_copy_lacks_or_the_source_holds_are_missed(told: dict[str, Any], missing: float) -> None:
    found = stored(**told)
    assert (found.status, found.measured) == (Status.MISSED, missing), found.because
    held = f"The copy holds {told['copy']} predictions of this run for"
    assert found.because.startswith(held) is ("source" not in told)


def test_what_is_missed_of_the_predictions_is_told() -> None:
    assert stored(copy=599).because == "The copy holds 599 predictions of this run for 600 good answers."
    source = "The source holds 3 predictions of this run, which belong in the copy."
    assert stored(copy=600, source=3).because == source


def test_predictions_that_hold_something_else_than_the_answers_are_missed() -> None:
    found = stored(copy=600, compared=590, unlike=2)
    told = "2 of 590 predictions of this run in the copy are not what was answered."
    assert (found.status, found.because, found.measured) == (Status.MISSED, told, 2.0)
    held = stored(copy=600, compared=590, unlike=0)
    assert held.status is Status.MET
    assert held.because.endswith(", the source none. 590 of them were held against the answers.")


def test_answers_after_the_count_need_no_row_in_it() -> None:
    assert stored(copy=300, last=299).status is Status.MET
    assert stored(copy=299, last=299).status is Status.MISSED


def test_predictions_that_were_taken_away_with_what_was_planted_before_are_not_looked_for() -> None:
    assert stored(copy=500, first=100).status is Status.MET
    assert stored(copy=499, first=100).status is Status.MISSED


def test_a_source_that_does_not_answer_holds_nothing_and_one_that_refuses_to_tell_may() -> None:
    silent = stored(copy=600, source=None, silent=True, because="It cannot be reached.")
    held = "The copy holds 600 predictions of this run for 600 good answers"
    assert (silent.status, silent.because) == (Status.MET, f"{held}, the source does not answer. {UNCOMPARED}")
    refusing = stored(copy=600, source=None, because="The database refused it.")
    assert refusing.status is Status.INCONCLUSIVE
    assert refusing.because == f"{held}; what the source holds is not known: The database refused it."


def test_what_was_not_counted_is_not_known() -> None:
    found = stored(because="nothing was planted there.")
    assert (found.status, found.because) == (
        Status.INCONCLUSIVE,
        "What the service stored in the copy is not known: nothing was planted there.",
    )
    unseen = find("stored", load(600, lambda _: True))
    assert (unseen.status, unseen.because) == (
        Status.INCONCLUSIVE,
        "What the service stored was not counted: the target does not say where (service.stored).",
    )
