"""An objective is one module of the folder, or one that a provider brings: nothing else names it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from dr import wiring
from dr.app import restore
from dr.config.objective import About, Limit, Objective
from dr.config.plugins import Plugin, VerbSpec
from dr.domain.errors import UsageError
from dr.domain.model import Demand, Finding, Observation, Purpose, Request, Status, Verb, Verdict
from dr.engine.plan import demands
from dr.evidence.model import Evidence
from dr.judge import objectives
from dr.judge.findings import UnknownError, finding
from dr.judge.verdict import judge
from tests.unit.recoveries import drill

MODULE = """
from dr.config.objective import About, Limit, Objective
from dr.judge.findings import UnknownError, finding, within


def staleness(evidence, demand):
    age = evidence.observed("age", demand.path)
    if age is None:
        raise UnknownError("How old the newest row is was not observed.")
    return finding(demand, within(age, age, demand.limit), f"The newest row is {age} s old.", age, (age, age))


OBJECTIVES = (
    Objective("staleness", About.CONTENT, staleness, "s", (Limit("staleness-max", 30.0),), on_call="examine"),
)
"""
RESTORE = Verb("restore", {"to": {"snapshot": "latest"}})
ASKED = {"staleness": "restored"}


@pytest.fixture
def _one_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "objectives").mkdir()
    (tmp_path / "objectives" / "staleness.py").write_text(MODULE)
    monkeypatch.setattr(objectives, "__path__", [*objectives.__path__, str(tmp_path / "objectives")])
    objectives._own.cache_clear()
    yield
    objectives._own.cache_clear()
    sys.modules.pop("dr.judge.objectives.staleness", None)


def frozen(tmp_path: Path, stated: str = "") -> tuple[Demand, ...]:
    """The demand of the module's objective, with the limits that dr.yaml has ``stated``."""
    (tmp_path / "dr.yaml").write_text(f"objectives: {{{stated}}}")
    limits = wiring.settings(tmp_path / "dr.yaml").objectives
    return demands(Request("lab", (RESTORE,), Purpose.DRILL), ASKED, limits, wiring.objectives(), {})


def judged(asked: tuple[Demand, ...], age: float | None) -> Verdict:
    """A drill whose demands are the time to its copy and ``asked``, and whose copy's newest row is ``age`` old."""
    of = drill()
    timed = tuple(demand for demand in of.record.plan.demands if demand.objective == "time-to-copy")
    plan = replace(of.record.plan, demands=(*timed, *asked))
    seen = () if age is None else (Observation("age", "restored", age),)
    run = replace(of, record=replace(of.record, plan=plan), observations=(*of.observations, *seen))
    known = wiring.objectives()
    always = replace(known["time-to-copy"], judge=lambda _, demand: finding(demand, Status.MET, "In time.", 1.0))
    return judge(run, {**known, "time-to-copy": always})


@pytest.mark.usefixtures("_one_module")
def test_a_module_is_all_that_it_takes_to_demand_limit_and_judge_an_objective(tmp_path: Path) -> None:
    assert frozen(tmp_path) == (Demand("staleness", "restored", 30.0, "s"),)
    asked = frozen(tmp_path, "staleness-max: 5.0")
    assert asked == (Demand("staleness", "restored", 5.0, "s"),)
    for age, status in ((4.0, Status.MET), (6.0, Status.MISSED), (None, Status.INCONCLUSIVE)):
        found = {one.objective: one for one in judged(asked, age).findings}
        assert (found["staleness"].status, found["staleness"].measured) == (status, age)
        assert found["time-to-copy"].status is status, "a copy is verified where all that is said of its content is met"


@pytest.mark.usefixtures("_one_module")
def test_a_restore_on_call_demands_it_where_its_verb_is_planned() -> None:
    on_call = Request("lab", (RESTORE, Verb("examine")), Purpose.RESTORE)
    assert restore.asked(on_call)["staleness"] == "restored"
    assert "staleness" not in restore.asked(replace(on_call, verbs=(RESTORE,)))


@pytest.mark.usefixtures("_one_module")
@pytest.mark.parametrize(
    ("stated", "problem"),
    [
        ("staleness-max: 0", r"line 1, is not valid: objectives\.staleness-max: Expected `float` > 0"),
        ("staleness-max: soon", r"objectives\.staleness-max: Expected `float`, got `str`"),
        ("staleness: 5", "objectives: Object contains unknown field `staleness`"),
    ],
)
def test_its_limit_is_held_to_its_unit_and_its_name(tmp_path: Path, stated: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        frozen(tmp_path, stated)


def test_without_its_module_it_is_neither_known_nor_judged(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no objective staleness.*Objectives there are: acknowledged, "):
        frozen(tmp_path)
    (*_, found) = judged((Demand("staleness", "restored", 5.0, "s"),), 4.0).findings
    assert found.status is Status.INCONCLUSIVE
    assert found.because.startswith(
        "No judge knows the objective 'staleness'. Where a provider in a directory of DR_PLUG"
    )


def _not_counted(_evidence: Evidence, _demand: Demand) -> Finding:
    raise UnknownError("Not counted.")


def keys(**changed: object) -> Objective:
    """An objective that a provider brings."""
    own = Objective("keys", About.CONTENT, _not_counted, "keys", (Limit("keys-lost", 0.0),))
    return replace(own, **changed)  # type: ignore[arg-type]


def test_a_provider_brings_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brings = Plugin("kv", lambda _: None, objectives=(keys(),))  # type: ignore[arg-type,return-value]
    monkeypatch.setattr(wiring, "plugins", lambda: {"kv": brings})
    (tmp_path / "dr.yaml").write_text("objectives: {keys-lost: 3}")
    assert wiring.settings(tmp_path / "dr.yaml").objectives == {"keys-lost": 3.0}
    (asked,) = demands(
        Request("lab", (RESTORE,), Purpose.DRILL), {"keys": "restored"}, {"keys-lost": 3.0}, wiring.objectives(), {}
    )
    assert asked == Demand("keys", "restored", 3.0, "keys")


def test_one_whose_name_is_taken_hinders_no_other_and_is_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    own, taken = Plugin("kv", objectives=(keys(),)), Plugin("late", objectives=(keys(limits=()), keys(name="own")))
    monkeypatch.setattr(wiring, "plugins", lambda: {"kv": own, "late": taken})
    wiring._say_once.cache_clear()  # another test may have had it said
    assert wiring.objectives()["keys"] == keys()
    assert "own" not in wiring.objectives()
    said = capfd.readouterr().err
    assert said.count("The objectives of the provider late are left out. More than one objective") == 1


def test_on_call_what_a_provider_brings_is_demanded_of_its_own_verbs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Plugin("kv", lambda _: None, objectives=(keys(on_call="examine"),))  # type: ignore[arg-type,return-value]
    monkeypatch.setattr(wiring, "plugins", lambda: {"kv": own})
    assert "keys" not in wiring.on_call(Verb("examine")), "PostgreSQL examines"
    monkeypatch.setattr(wiring, "offer", lambda verb, _target: (own, VerbSpec(verb.name, "")))
    assert wiring.on_call(Verb("examine")) == ("keys",), "what it reads is no database"
    assert "keys" not in wiring.on_call(RESTORE)


@pytest.mark.usefixtures("_one_module")
@pytest.mark.parametrize("clash", ["staleness", "keys"])
def test_on_call_what_was_left_out_for_its_name_is_not_demanded(monkeypatch: pytest.MonkeyPatch, clash: str) -> None:
    """The name is the core's, or another provider's: that hinders no restore by whoever brought it."""
    own = Plugin("kv", objectives=(keys(),))
    brings = keys(limits=(), on_call="examine")
    late = Plugin("late", objectives=(replace(brings, name=clash), replace(brings, name="own")))
    monkeypatch.setattr(wiring, "plugins", lambda: {"kv": own, "late": late})
    monkeypatch.setattr(wiring, "offer", lambda verb, _target: (late, VerbSpec(verb.name, "", role="database")))
    core = [one.name for one in objectives.registry().values() if one.on_call == "examine"]
    assert "staleness" in core
    assert [*wiring.on_call(Verb("examine"))] == core


@pytest.mark.parametrize("taken", [{"name": "data"}, {"limits": (Limit("loss", 1.0),)}])
def test_two_of_one_name_are_refused(taken: dict[str, object]) -> None:
    with pytest.raises(
        UsageError, match=r"More than one objective, or limit of one, is called (data|loss)\. Rename one\.$"
    ):
        objectives.registry([keys(**taken)])


@pytest.mark.parametrize("one", objectives.registry().values(), ids=lambda one: one.name)
def test_an_objective_has_a_unit_where_it_has_limits_and_each_default_is_one_that_could_be_stated(
    one: Objective,
) -> None:
    assert bool(one.unit) == bool(one.limits)
    for limit in one.limits:
        assert msgspec.convert(limit.default, one.number) == limit.default
    if one.limits:
        assert one.limits[-1].when(Request("lab", (), Purpose.DRILL)), "the last one holds whatever is asked for"
