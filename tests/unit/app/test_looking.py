"""What several drivers see, as one; and who states an identity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dr.config.plugins import plugins
from dr.domain.errors import RefusedError
from dr.domain.model import Facts, Own, Purpose, Request, Resource
from dr.domain.refs import Ref
from dr.wiring import merged
from tests.integration.meters import context

DATABASE, LEAD = Ref("p", "instance", "db"), Ref("q", "entry", "db")
KNOWN = {"p": {"account": "123456789012"}}
SEEN = Facts(1.0, KNOWN, own={DATABASE: Own.SOURCE}, extra={"a": 1})
OTHER = Facts(2.0, resources=(Resource(LEAD, "available"),), own={LEAD: Own.LEADS}, extra={"b": 2})


def test_what_several_saw_is_told_as_one() -> None:
    whole = merged({"q": OTHER, "p": SEEN, "r": Facts(3.0)})
    assert (whole.at, whole.identity, whole.own) == (2.0, KNOWN, {DATABASE: Own.SOURCE, LEAD: Own.LEADS})
    assert (whole.resources, whole.extra) == (OTHER.resources, {"a": 1, "b": 2})
    assert whole.find(LEAD) == OTHER.resources[0]
    assert (whole.find(DATABASE), merged({"q": OTHER}).identity) == (None, {})


def test_what_two_call_by_one_name_is_neithers() -> None:
    with pytest.raises(RefusedError, match="The provider q tells of 'a', of which another one tells, too"):
        merged({"p": SEEN, "q": replace(OTHER, extra={"a": 2})})


def test_nobody_is_believed_of_anothers_identity() -> None:
    lying = replace(OTHER, identity={"p": {"account": "999999999999"}})
    assert merged({"p": SEEN, "q": lying}).identity == KNOWN
    assert merged({"q": lying}).identity == {}


def test_a_provider_calls_only_its_own_the_targets() -> None:
    billing = Ref("p", "instance", "billing")
    inside = {Ref("q", "entry", "db", of): Own.LEADS for of in (Ref("q", "host", "h"), DATABASE)}
    assert merged({"q": replace(OTHER, own=inside), "p": SEEN}).own == {**inside, DATABASE: Own.SOURCE}
    for lying in (
        replace(OTHER, own={DATABASE: Own.SOURCE}),
        replace(OTHER, own={billing: Own.REPLICA}),
        replace(OTHER, own={Ref("q", "entry", "db", billing): Own.LEADS}),
        replace(OTHER, own={Ref("q", "row", "1", Ref("q", "entry", "db", billing)): Own.LEADS}),
        replace(OTHER, resources=(Resource(billing, "available", {"dr:run": "run"}),)),
    ):
        with pytest.raises(RefusedError, match=r"The provider q tells of .* it belongs to p"):
            merged({"q": lying, "p": SEEN})


def test_a_driver_that_observes_no_account_states_none(tmp_path: Path) -> None:
    here = context(tmp_path)
    others = {name: one.make for name, one in plugins().items() if one.make and not one.lacks(here.target)}
    del others["rds"]
    assert len(others) == 6
    for name, make in others.items():
        seen = make(here).look(Request("lab", (), Purpose.DRILL))
        assert seen.identity == {}, name
