from __future__ import annotations

import pytest

from dr.config.model import Login
from dr.config.plugins import Plugin, VerbSpec, verbs
from dr.domain.errors import UsageError
from dr.domain.model import Demand, Facts, Purpose, Request, RunIdentity, Verb
from dr.drivers.postgres.config import PostgresConfig
from dr.engine.plan import demands, plan
from dr.wiring import objectives
from tests.targets import target_of
from tests.virtual import Scripted

FACTS = Facts(0.0)
RUN = RunIdentity("run", "lab", Purpose.DRILL, "digest")
KNOWN = objectives()
POSTGRES = target_of(database=PostgresConfig("readmission", Login("dr_harness", "env:HARNESS")))


def request(*verbs: Verb) -> Request:
    return Request("lab", verbs, Purpose.DRILL)


def test_calls_stand_in_the_order_of_their_verbs_and_bear_their_places() -> None:
    driver = Scripted()
    made = plan(request(Verb("a"), Verb("b")), RUN, FACTS, driver.propose, ())
    assert [(c.id, c.verb) for c in made.calls] == [("a", "1-a"), ("b", "2-b")]


def test_planning_changes_nothing_and_gives_the_same_plan_twice() -> None:
    driver = Scripted()
    first, second = (plan(request(Verb("a")), RUN, FACTS, driver.propose, ()) for _ in range(2))
    assert first == second
    assert driver.log == []


def test_two_verbs_that_come_down_to_the_same_call_are_refused() -> None:
    with pytest.raises(UsageError, match="holds a twice"):
        plan(request(Verb("a"), Verb("a")), RUN, FACTS, Scripted().propose, ())


@pytest.mark.parametrize(
    ("to", "limit"), [({"snapshot": "latest"}, 93_600.0), ({"time": "latest"}, 600.0), ({"time": 1.0}, 600.0)]
)
def test_a_snapshots_exposure_is_not_a_point_in_time_restores(to: dict[str, object], limit: float) -> None:
    wanted = request(Verb("restore", {"to": to}))
    assert demands(wanted, {"exposure": "restored"}, {}, KNOWN, {}) == (Demand("exposure", "restored", limit, "s"),)


@pytest.mark.parametrize(("verb", "limit"), [("failover", 120.0), ("promote", 600.0)])
def test_a_promotion_may_take_longer_than_a_failover(verb: str, limit: float) -> None:
    asked = demands(request(Verb("measure", {"path": "writes"}), Verb(verb)), {"outage": "writes"}, {}, KNOWN, {})
    assert asked == (Demand("outage", "writes", limit, "s"),)


def test_an_objective_of_several_paths_is_a_demand_of_each() -> None:
    measured = [Verb("measure", {"path": path}) for path in ("writes", "reads", "source")]
    asked = demands(request(*measured), {"outage": ["writes", "reads"], "unaided": "source"}, {}, KNOWN, {})
    assert [(d.objective, d.path) for d in asked] == [("outage", "writes"), ("outage", "reads"), ("unaided", "source")]


def test_indexes_are_asked_unless_the_look_says_that_the_target_does_without() -> None:
    asked = {"schema": "restored", "indexes": "restored"}
    both = ["schema", "indexes"]
    for extra, names in (({"amcheck": False}, ["schema"]), ({"amcheck": True}, both), ({}, both)):
        found = demands(request(Verb("restore")), asked, {}, KNOWN, extra)
        assert [d.objective for d in found] == names


def test_a_path_that_no_verb_measures_is_refused_with_those_there_are() -> None:
    wanted = request(Verb("restore"), Verb("measure", {"path": "source"}))
    assert demands(wanted, {"data": "restored", "latency": "source"}, {}, KNOWN, {"amcheck": True})
    with pytest.raises(UsageError, match=r"latency \[restred\].*Paths there are: restored, source"):
        demands(wanted, {"data": "restored", "latency": "restred"}, {}, KNOWN, {"amcheck": True})
    with pytest.raises(UsageError, match="Nothing is restored or measured"):
        demands(request(Verb("serve")), {"data": "restored"}, {}, KNOWN, {"amcheck": True})


def test_of_a_promotion_on_call_the_old_source_is_seen_though_nobody_measures_it() -> None:
    verbs, asked = (Verb("promote"), Verb("rebuild")), {"split-brain": "source"}
    assert demands(Request("lab", verbs, Purpose.RESTORE), asked, {}, KNOWN, {}) == (Demand("split-brain", "source"),)
    with pytest.raises(UsageError, match="Nothing is restored or measured"):
        demands(request(*verbs), asked, {}, KNOWN, {})


def test_an_unknown_objective_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"no objective speed"):
        demands(request(), {"speed": "restored"}, {}, KNOWN, {"amcheck": True})


@pytest.mark.parametrize(
    ("args", "time"),
    [
        ({"to": {"time": "latest"}}, True),
        ({"to": {"snapshot": "latest"}}, False),
        ({}, False),
        ({"to": None}, False),
        ({"to": 5}, False),
        ({"to": "time"}, False),
    ],
)
def test_a_restore_to_nothing_that_can_be_read_is_left_to_its_driver_to_refuse(
    args: dict[str, object], time: bool
) -> None:
    assert request(Verb("restore", args)).restores_a_time() is time


def test_who_does_a_verb_to_other_targets_is_not_asked_what_it_measures_of_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(_args: object, _purpose: Purpose) -> tuple[str, ...]:
        raise AssertionError

    another = Plugin("another", lambda _: Scripted(), (VerbSpec("examine", "", paths=fails),), reads=("another",))
    offered = {**verbs(), "examine": ((another, another.verbs[0]), *verbs()["examine"])}
    for module in ("dr.config.plugins", "dr.engine.plan"):
        monkeypatch.setattr(f"{module}.verbs", lambda: offered)
    wanted = request(Verb("restore", {"to": {"snapshot": "latest"}}), Verb("examine"))
    assert demands(wanted, {"data": "restored"}, {}, KNOWN, {}, POSTGRES)
