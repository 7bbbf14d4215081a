"""What stands in the place of "${CALL.KEY}" in what a call touches."""

from __future__ import annotations

from dataclasses import replace

from dr.domain.model import Effect
from dr.domain.refs import result_of
from dr.engine.references import acted_on, named
from tests.virtual import call, thing

X = thing("x")


def test_what_a_call_touches_is_named_by_what_the_earlier_call_makes_or_else_touches() -> None:
    promote = call("promote", effect=Effect.TAKES_OVER, touches=(thing("one"), thing("two")), makes=())
    after = call("after", effect=Effect.CHANGES, touches=(*map(result_of, ("promote", "copy")), X), makes=())
    *_, found = named([call("copy"), promote, after])
    assert found.touches == (thing("one"), thing("two"), thing("copy"), X)


def test_what_a_call_makes_and_undoes_within_another_calls_result_stands_within_what_that_makes() -> None:
    rows = replace(thing("rows"), within=result_of("copy"))
    undo = call("uproot", effect=Effect.CHANGES, touches=(rows,), makes=(), undo=None)
    plant = call("plant", touches=(result_of("copy"),), makes=(rows,), undo=undo)
    _, found = named([call("copy"), plant])
    there = replace(thing("rows"), within=thing("copy"))
    assert (found.touches, found.makes) == ((thing("copy"),), (there,))
    assert found.undo is not None
    assert found.undo.touches == (there,)


def test_what_refers_to_no_earlier_call_or_to_no_name_names_nothing() -> None:
    for touched in ("${later.identifier}", "${copy.host}", "${it.identifier}", "x-${copy.identifier}"):
        it = call("it", effect=Effect.CHANGES, touches=(thing(touched),), makes=())
        _, found, _ = named([call("copy"), it, call("later")])
        assert found.touches == (thing(touched),)


def test_a_name_is_what_stands_under_identifier_or_where_another_calls_identifier_was_referred_to() -> None:
    planned = {"identifier": "a", "n": 1, "of": {"identifier": "b"}, "source": "${x.identifier}", "host": "${x.host}"}
    assert acted_on(planned, planned) == {"a", "b"}
    assert acted_on(planned, {**planned, "source": "c", "host": "d"}) == {"a", "b", "c"}
    assert acted_on({}, {"undone": {"certain": True}}) == frozenset()
