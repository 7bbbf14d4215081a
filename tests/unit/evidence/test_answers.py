"""Answers as forms: what makes two of them the same."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from dr.evidence.answers import UNANSWERED, canonical, form_of, renamed, same

ANSWER = {"risk": 0.25, "interval": [0.2, 0.3], "factors": [{"factor": "age", "share": 1}], "high": True, "id": 7}


def form(answer: dict[str, Any] | None = None, tolerance: float = 0.0, **changed: Any) -> str:
    return form_of({**(answer or ANSWER), **changed}, ["id"], tolerance, {})


def test_without_a_tolerance_a_form_is_the_digest_of_all_that_is_not_volatile() -> None:
    kept = {key: value for key, value in ANSWER.items() if key != "id"}
    assert form() == form(id=8) == hashlib.sha256(canonical(kept)).hexdigest()
    assert same(form(), form(id=8)) is True
    assert same(form(), form(risk=0.2500001)) is False


@pytest.mark.parametrize(
    ("changed", "agrees"),
    [
        ({"risk": 0.2509}, True),
        ({"risk": 0.2511}, False),
        ({"interval": [0.2009, 0.2991]}, True),
        ({"interval": [0.2, 0.302]}, False),
        ({"interval": [0.3, 0.2]}, False),
        ({"interval": [0.2]}, False),
        ({"interval": [0.2, None]}, False),
        ({"high": False}, False),
        ({"high": 1}, False),
        ({"factors": [{"factor": "sex", "share": 1}]}, False),
        ({"more": 1}, False),
    ],
)
def test_with_a_tolerance_numbers_may_differ_by_it_and_nothing_else_may(changed: dict[str, Any], agrees: bool) -> None:
    assert same(form(tolerance=0.001), form(tolerance=0.001, **changed)) is agrees


def test_the_order_of_fields_is_no_difference() -> None:
    turned = dict(reversed(ANSWER.items()))
    for tolerance in (0.0, 0.001):
        assert same(form(tolerance=tolerance), form(turned, tolerance)) is True


def test_forms_of_different_tolerances_cannot_be_compared() -> None:
    assert same(form(), form(tolerance=0.001)) is None
    assert same(form(tolerance=0.01), form(tolerance=0.001)) is None


def test_no_answer_is_the_same_as_nothing() -> None:
    none = f"{UNANSWERED}: the service answered with status 404"
    assert [same(none, none), same(form(), ""), same("", ""), same(form(), none)] == [False] * 4


def test_names_are_replaced_wherever_they_are_values() -> None:
    said = {"patient": "new", "new": ["new", {"of": 9, "so": True, "not": "newer"}], "risk": 9.5}
    assert renamed(said, {"new": "old", 9: 4, 1: 0}) == {
        "patient": "old",
        "new": ["old", {"of": 4, "so": True, "not": "newer"}],
        "risk": 9.5,
    }
    assert form_of({"patient": "new"}, (), 0.0, {"new": "old"}) == form_of({"patient": "old"}, (), 0.0, {})


def test_numbers_that_are_too_large_cannot_be_compared_and_hide_no_other_difference() -> None:
    large, larger = (form(tolerance=0.001, risk=10**power) for power in (400, 401))
    assert same(large, larger) is None
    assert same(form(tolerance=0.001), large) is None
    assert same(large, form(tolerance=0.001, risk=10**400, high=False)) is False
