"""What is asked of a copy: golden requests, under names of the run's own where those were planted."""

from __future__ import annotations

import uuid
from contextlib import nullcontext
from typing import Any

import msgspec
import pytest

from dr.config.model import Login
from dr.drivers.service.asking import name_of
from dr.drivers.service.config import Planting, Rows, ServiceConfig
from dr.drivers.service.variants import planted_names, variants

LOGIN = Login("admin", "env:A")
ID = str(uuid.UUID(int=7))
PLANTING = Planting(LOGIN, (Rows("p", {"id": "SYN-1"}), Rows("a", {"p": "SYN-1", "n": 12, "u": ID})))
REQUESTS = ({"admission": 12, "of": {"patient": "SYN-1"}, "top": 3}, {"admission": 99})


def service(**parts: Any) -> ServiceConfig:
    return ServiceConfig("http://s", ("serve",), "app", REQUESTS, **{"planted": PLANTING, "stored": False, **parts})


def test_each_run_has_names_of_its_own_of_the_same_kind_and_the_same_ones_again() -> None:
    names = planted_names(PLANTING, "run-1")
    assert names == planted_names(PLANTING, "run-1")
    assert [*names] == ["SYN-1", 12, ID]
    text, number, unique = names.values()
    assert isinstance(text, str)
    assert (text[:6], len(text)) == ("SYN-1-", 14)
    assert isinstance(number, int)
    assert 2**30 <= number < 2**31
    assert str(uuid.UUID(str(unique))) == unique
    assert not {*names.values()} & {*planted_names(PLANTING, "run-2").values()}


def test_planted_requests_are_asked_in_the_place_of_golden_ones_and_answers_are_told_by_golden_names() -> None:
    names = planted_names(PLANTING, "run-1")
    (one,) = variants(service(), "run-1", planted=True)
    assert one.request == {"admission": names[12], "of": {"patient": names["SYN-1"]}, "top": 3}
    assert one.golden == name_of(REQUESTS[0])
    assert one.names == {new: old for old, new in names.items()}


@pytest.mark.parametrize(("planted", "parts"), [(False, {}), (True, {"planted": None})])
def test_without_anything_planted_the_golden_requests_are_asked(planted: bool, parts: dict[str, Any]) -> None:
    found = variants(service(**parts), "run-1", planted)
    assert [(one.request, one.golden, one.names) for one in found] == [(r, name_of(r), {}) for r in REQUESTS]


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"planted": Planting(LOGIN, (Rows("p", {"id": "SYN-2"}),))}, "stands in one of service.requests"),
        ({"stored": True, "planted": None}, r"table, column\), or false"),
        ({"stored": None}, r"table, column\), or false"),
    ],
)
def test_what_names_nothing_that_is_asked_is_refused(parts: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        service(**parts)


def test_stored_may_say_that_nothing_is_stored() -> None:
    written = msgspec.to_builtins(service(stored=False))
    assert msgspec.convert(written, ServiceConfig).stored is False
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**written, "planted": {"login": {"user": "a", "secret": "env:A"}, "rows": []}}, ServiceConfig)


@pytest.mark.parametrize(
    ("keys", "request_", "taken"),
    [
        ({"id": 7}, {"patient": 7, "age": 70}, True),
        ({"id": 7}, {"patient": 7, "age": 7}, False),
        ({"id": 7}, {"patient": 7, "codes": [1, 7]}, False),
        ({"id": 7}, {"patient": 7, "history": {"age": 7.0}}, False),
        ({"id": 7, "visit": 7}, {"patient": 7, "visit": 7}, True),
        ({"id": 1}, {"patient": 1, "smokes": True}, True),
        ({"id": "a"}, {"patient": "a", "also": "a"}, False),
    ],
)
def test_a_key_that_is_another_value_of_its_request_too_is_refused(
    keys: dict[str, Any], request_: dict[str, Any], taken: bool
) -> None:
    planting = Planting(LOGIN, (Rows("p", keys),))
    with nullcontext() if taken else pytest.raises(ValueError, match="stands in a request more often than in a row"):
        ServiceConfig("http://s", ("serve",), "app", (request_,), planted=planting, stored=False)
