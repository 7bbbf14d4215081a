"""The table itself: which answer to a case is right, and what is printed of all of them."""

from __future__ import annotations

import pytest

from tests.truth.cases import ALL, CASES
from tests.truth.driver import DEMANDS
from tests.truth.evidence import DOINGS
from tests.truth.table import Case, Drill, Told, Truth, grid, wrong

SABOTAGED = Case(name="x", truth=Truth.SABOTAGED, tells="data|schema", says="wards")


def told(status: str, code: int, **said: tuple[str, str]) -> Told:
    return Told(status, said, code)


def test_a_case_is_right_where_the_demand_that_has_to_tell_it_names_what_is_wrong() -> None:
    assert wrong(SABOTAGED, told("missed", 1, data=("missed", "truth.wards: 1 row altered"))) == ""


@pytest.mark.parametrize(
    ("answer", "because"),
    [
        (told("met", 0, data=("met", "All is there.")), "met instead of missed"),
        (told("missed", 1, logins=("missed", "wards")), "does not tell it"),
        (told("missed", 1, data=("missed", "something")), "does not say 'wards'"),
        (told("missed", 0, data=("missed", "wards")), "exit 0"),
        (Told(broken="no lab"), "could not be played: no lab"),
    ],
)
def test_a_case_is_wrong_where_dr_says_something_else(answer: Told, because: str) -> None:
    assert because in wrong(SABOTAGED, answer)


def test_truth_stands_against_verdict_in_the_table() -> None:
    healthy = Case(name="y", truth=Truth.HEALTHY)
    table = grid([(SABOTAGED, told("met", 0)), (SABOTAGED, told("missed", 1)), (healthy, told("met", 0))])
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines()[1:]}
    assert rows == {
        "healthy": ["1", "0", "0", "0"],
        "sabotaged": ["1", "1", "0", "0"],
        "blinded": ["0", "0", "0", "0"],
    }


def test_every_case_can_be_played_and_twelve_that_are_quick_have_all_three_truths() -> None:
    assert len(ALL) >= 150
    for case in ALL:
        assert case.base in CASES
        assert case.drill is not Drill.VERIFIED or case.around in DOINGS, case.name
        assert case.drill in DEMANDS or case.drill in (Drill.CALLED, Drill.SINCE, Drill.VERIFIED), case.name
    quick = [case for case in ALL if case.quick]
    assert len(quick) == 12
    assert {case.truth for case in quick} == set(Truth)
