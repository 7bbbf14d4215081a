"""An answer under load is the golden one, whatever came before it."""

from __future__ import annotations

from dr.evidence.answers import form_of
from dr.meter.golden import Golden

SAID = {"prediction_id": 1, "risk": 0.5, "patient": "planted", "sure": True}


def golden(tolerance: float = 0.0) -> Golden:
    form = form_of({"risk": 0.5, "patient": "golden", "sure": True}, (), tolerance, {})
    return Golden(form, ["prediction_id"], tolerance, {"planted": "golden"})


def test_an_answer_is_golden_where_it_says_the_same_but_for_names_and_what_is_volatile() -> None:
    one = golden()
    for n in range(3):
        assert one.is_in({**SAID, "prediction_id": n})
        assert one.is_in(dict(reversed(SAID.items())))
        assert one.is_in({**SAID, "risk": 0.4}) is False
        assert one.is_in({**SAID, "sure": 1}) is False
        assert one.is_in({**SAID, "patient": "another"}) is False
    assert one.is_in(SAID)


def test_a_number_is_held_against_the_golden_one_and_not_against_the_last() -> None:
    one = golden(tolerance=0.01)
    drifting = [one.is_in({**SAID, "risk": 0.5 + n * 0.006}) for n in range(4)]
    assert drifting == [True, True, False, False]


def test_an_answer_that_cannot_be_compared_is_not_called_wrong() -> None:
    form = form_of({"risk": 0.5}, (), 0.1, {})
    assert Golden(form, (), 0.2, {}).is_in({"risk": 0.5}) is None
    assert Golden(form, (), 0.1, {}).is_in({"risk": 0.5}) is True
