"""What an effect tells is held to what its call was planned to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dr.domain.errors import ProviderError
from dr.domain.model import Call, Component, Effect, Progress
from dr.engine.perform import perform
from dr.engine.told import misfit, stated
from tests.unit.engine.test_perform import Scripted, engine_in
from tests.virtual import call, thing

COPY, LIVE = thing("copy"), thing("live")
RESTORE = call("copy", restoration=True)
LOOK = call("look", effect=Effect.READS, makes=(), undo=None)
PLAN = (RESTORE, LOOK)


def told(of: Call, **progress: Any) -> str:
    return misfit(of, Progress(True, **progress), stated(PLAN, of))


@pytest.mark.parametrize("of", PLAN)
@pytest.mark.parametrize(("ref", "fits"), [(COPY, True), (thing("t", COPY), True), (LIVE, False), (thing("x"), False)])
def test_a_component_is_what_the_plan_makes_or_a_part_of_it(of: Call, ref: Any, fits: bool) -> None:
    said = told(of, components=(Component("database", ref),))
    assert said == ("" if fits else f"tells of {ref}, which its plan does not name")


def test_what_a_call_that_changes_something_names_as_its_result_is_what_it_was_planned_to() -> None:
    assert told(RESTORE, result={"identifier": "copy"}) == ""
    assert "acted on 'live', which its plan does not name" in told(RESTORE, result={"identifier": "live"})
    assert told(LOOK, result={"identifier": "live"}) == "", "what only reads may choose; who acts on that is held to it"


@pytest.mark.parametrize("at", ["soon", -5.0, 1e300, float("nan")])
def test_a_milestone_is_a_wall_time(at: Any) -> None:
    assert "as the time of available, which is no wall time" in told(RESTORE, milestones={"available": at})
    assert told(RESTORE, milestones={"available": 1.0, "promoted": None}) == ""


def test_what_cannot_be_written_down_is_no_result() -> None:
    assert told(RESTORE, result={"of": object()}) == "tells a result that cannot be written down"
    assert told(RESTORE, components=("x",)) == "tells str as a component"


def test_what_does_not_fit_is_no_effect_and_is_undone(tmp_path: Any) -> None:
    class Lying(Scripted):
        def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
            return Progress(True, {"identifier": "live"})

    engine = engine_in(tmp_path / "run", Lying())
    engine.ledger.append("accepted")
    with pytest.raises(ProviderError, match="copy: the provider scripted tells that it acted on 'live'"):
        perform(engine, [RESTORE])
    state = engine.ledger.state()
    assert (dict(state.effects), state.open) == ({}, ("copy",))
