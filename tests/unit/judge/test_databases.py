"""Several databases in one look: names say which they are of, and what is of one is had again from them."""

from __future__ import annotations

from dataclasses import replace

from dr.domain.databases import joined, part_of
from dr.domain.looks import Version
from dr.domain.state import Sequence, State
from tests.unit.judge.objectives.test_content import COPY

OTHER = replace(
    COPY,
    objects={"table public.bills": Version("1", 5)},
    tables={"public.bills": COPY.tables["public.a"]},
    left_out={"public.large": "dr.yaml excludes it"},
    state=State({"public.s": Sequence(1, True)}, {"7": Version("a", 5)}, True, {"public.u": 3}, {"fsync": "off"}),
)
MAIN = replace(COPY, state=State(contents=True, settings={"fsync": "on"}, databases=("billing", "postgres")))


def test_what_another_database_holds_bears_its_name() -> None:
    both = joined(MAIN, "billing", OTHER)
    assert set(both.tables) == {"public.a", "public.b", "billing: public.bills"}
    assert both.objects["billing: table public.bills"] == Version("1", 5)
    assert both.left_out == {"billing: public.large": "dr.yaml excludes it"}
    assert both.state is not None
    assert set(both.state.sequences) == {"billing: public.s"}
    assert set(both.state.large_objects) == {"billing: 7"}
    assert both.state.unlogged == {"billing: public.u": 3}
    assert (both.state.settings, both.state.databases) == ({"fsync": "on"}, ("postgres",))
    assert (both.snapshot, both.cuts, both.at) == (MAIN.snapshot, MAIN.cuts, MAIN.at)


def test_the_part_of_a_database_is_what_was_joined() -> None:
    part = part_of(joined(MAIN, "billing", OTHER), "billing")
    assert (part.tables, part.objects, part.left_out) == (OTHER.tables, OTHER.objects, OTHER.left_out)
    assert part_of(MAIN, "billing").tables == {}


def test_contents_are_known_where_they_are_in_every_database() -> None:
    assert OTHER.state is not None
    blind = replace(OTHER, state=replace(OTHER.state, contents=False))
    for other, contents in ((OTHER, True), (blind, False), (replace(OTHER, state=None), True)):
        both = joined(MAIN, "billing", other)
        assert both.state is not None
        assert both.state.contents is contents
    assert joined(replace(MAIN, state=None), "billing", OTHER).state is None
