"""What was examined in several databases of a server, put together: names say in which, and no silence is a proof."""

from __future__ import annotations

from typing import Any

import pytest

from dr.domain.databases import parsed, within
from dr.domain.model import Finding, Status
from dr.drivers.postgres.others import joined_indexes, joined_keys
from tests.unit.judge.objectives.test_equality import LOST, PROBED, judged, seen

CLOSED = "Logging in was refused: permission denied."
FEW: dict[str, Any] = {**PROBED, "checked": 1, "probed": 2, "unchecked": {}}


@pytest.mark.parametrize("database", ["", "billing", "my.own", "a: b"])
@pytest.mark.parametrize("name", ["public.t", '"odd: one".t', 'public."a: b.c"', '"q""x".".y"'])
def test_a_tables_name_says_its_database(database: str, name: str) -> None:
    assert parsed(within(database, name)) == (database, name)


def keys(there: dict[str, Any]) -> Finding:
    main = {"name": "k", "table": "public.a", "orphans": 0}
    return judged("foreign-keys", seen("foreign-keys", joined_keys({"": [main], **there})))


def test_foreign_keys_of_another_database_count_as_those_of_the_main_one() -> None:
    key = {"name": "k", "table": "billing: public.a", "orphans": 0}
    assert (keys({"billing": [key]}).status, keys({"billing": [key]}).because) == (Status.MET, "2 foreign keys hold.")
    orphans = keys({"billing": [{**key, "orphans": 2}]})
    assert orphans.status is Status.INCONCLUSIVE
    assert "billing: public.a (k): 2 rows without" in orphans.because


def test_foreign_keys_of_a_database_that_could_not_be_asked_are_inconclusive() -> None:
    found = keys({"billing": CLOSED})
    assert found.status is Status.INCONCLUSIVE
    assert found.because == "database billing: not examined, Logging in was refused: permission denied."


def indexes(there: dict[str, Any], main: dict[str, Any] = PROBED) -> Finding:
    return judged("indexes", seen("indexes", joined_indexes({"": main, **there})))


def test_indexes_of_another_database_are_counted_with_the_main_ones() -> None:
    assert joined_indexes({"": PROBED}) is PROBED
    found = indexes({"billing": {**FEW, "unprobed": {"billing: public.i": "took long"}}})
    assert found.status is Status.MET
    assert found.because == (
        "amcheck found 3 B-trees whole; rows that were drawn at random were found through 7 indexes alone;"
        " not gone through: billing: public.i (took long)."
    )


@pytest.mark.parametrize(
    ("there", "status", "said"),
    [
        (CLOSED, Status.INCONCLUSIVE, "database billing: not checked, Logging in"),
        (
            {**FEW, "available": False, "because": "no amcheck"},
            Status.INCONCLUSIVE,
            "B-trees: not checked, no amcheck",
        ),
        ({**FEW, "unchecked": {"billing: public.i": "a lock"}}, Status.INCONCLUSIVE, "public.i: not checked, a lock"),
        ({**FEW, "lost": [{**LOST, "index": "billing: i"}]}, Status.MISSED, "billing: i: finds 3 of 8 rows"),
        ({**FEW, "failed": [{"index": "billing: i", "error": "torn"}]}, Status.MISSED, "billing: i: torn"),
        ({**FEW, "collations": [["billing: c", "1", "2"]]}, Status.INCONCLUSIVE, "collation billing: c: indexes were"),
    ],
)
def test_what_is_the_matter_with_indexes_of_another_database_is_told(there: Any, status: Status, said: str) -> None:
    found = indexes({"billing": there})
    assert found.status is status
    assert said in found.because


def test_an_index_that_is_wrong_on_the_source_too_is_said_of_the_source_whatever_its_database() -> None:
    wrong = {**FEW, "lost": [{**LOST, "index": "billing: i"}]}
    here, there = joined_indexes({"": PROBED, "billing": wrong}), joined_indexes({"billing": wrong})
    found = judged("indexes", seen("indexes", here), seen("indexes", there, "source"))
    assert found.status is Status.MET
    assert "as on the source, billing: i: finds 3 of 8 rows" in found.because


def test_without_amcheck_in_the_main_database_another_one_does_not_stand_for_it() -> None:
    blind = {**PROBED, "available": False, "because": "no amcheck"}
    assert indexes({"billing": FEW}, blind).status is Status.INCONCLUSIVE
