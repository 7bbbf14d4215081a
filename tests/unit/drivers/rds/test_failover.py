"""A failover to the standby: what is planned, what RDS's events tell of it, and what is done about lost answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dr.domain.errors import DeadlineError, FailedError, RefusedError
from dr.domain.model import Call, Effect, Facts, Purpose, Request, Verb
from dr.drivers.rds.failover import course, propose
from dr.drivers.rds.naming import instance
from dr.drivers.rds.provider import RdsProvider
from dr.drivers.rds.takeover import LATE_EVENT_SECONDS
from dr.engine.perform import Engine, perform
from dr.evidence.directory import RunDirectory
from tests.unit.drivers.rds.support import (
    NOW,
    SOURCE,
    FakeRds,
    FakeServers,
    VirtualClock,
    context,
    description,
    facts,
    run,
)

STARTED = "Multi-AZ instance failover started."
STANDBY = "Multi-AZ failover to standby complete - DNS propagation may take a few minutes."
COMPLETED = "Multi-AZ instance failover completed."
ABANDONED = "Abandoning user requested failover since a failover recently occurred on the database instance."
FORCED, AWAITED = Verb("failover"), Verb("await_failover")


def planned(
    verb: Verb = FORCED, events: tuple[tuple[float, str], ...] = (), purpose: Purpose = Purpose.DRILL, **row: Any
) -> Call:
    seen = facts(instances=(description(**{"AvailabilityZone": "eu-central-1a", **row}),))
    told = [{"Date": at, "Message": message} for at, message in events]
    return propose(SOURCE, 120.0, verb, replace(seen, extra={"events": told}), run(purpose))[0]


# -- planning


def test_a_forced_failover_is_a_drills_disaster_and_on_call_its_remedy() -> None:
    call = planned()
    assert (call.id, call.operation, call.phase, call.touches) == (
        "failover",
        "RebootDBInstance",
        "disaster",
        (instance(SOURCE),),
    )
    assert call.effect is Effect.TAKES_OVER
    assert call.undo is None
    assert call.deadline == 600.0
    assert planned(purpose=Purpose.RESTORE).phase == "failover"


def test_awaiting_the_providers_own_failover_touches_nothing() -> None:
    call = planned(AWAITED)
    assert (call.id, call.operation, call.phase, call.touches) == ("failover", "DescribeEvents", "failover", ())
    assert call.effect is Effect.READS
    assert planned(Verb("failover", {"kind": "automatic"})).operation == "DescribeEvents"


@pytest.mark.parametrize("verb", [FORCED, AWAITED])
def test_a_single_az_instance_is_refused(verb: Verb) -> None:
    with pytest.raises(RefusedError, match=r"readmission-db is Single-AZ: it has no standby.*--promote"):
        planned(verb, MultiAZ=False)


@pytest.mark.parametrize(
    "status", ["backing-up", "modifying", "rebooting", "storage-full", "stopped", "storage-optimization"]
)
def test_an_instance_in_any_state_but_available_is_refused(status: str) -> None:
    with pytest.raises(RefusedError, match=f"readmission-db is {status}, not available"):
        planned(DBInstanceStatus=status)


def test_a_failover_that_is_under_way_is_refused_and_one_that_ended_is_not() -> None:
    with pytest.raises(RefusedError, match="is under way since 2025-10-09T08:52:50Z"):
        planned(events=((NOW - 30, STARTED),), DBInstanceStatus="rebooting")
    assert planned(events=((NOW - 30, STARTED), (NOW - 5, STANDBY)))
    assert planned(events=((NOW - 30, STARTED), (NOW - 5, "Recovered from partial failover.")))
    assert planned(events=((NOW - 30, STARTED), (NOW - 5, ABANDONED)))
    with pytest.raises(RefusedError, match="is under way"):
        planned(events=((NOW - 40, "Recovered from partial failover."), (NOW - 30, STARTED)))
    assert planned(events=((NOW - 1000, STARTED),)), "RDS does not promise every event"


def test_an_unknown_instance_is_refused() -> None:
    with pytest.raises(
        RefusedError, match=r"There is no instance readmission-db in eu-central-1 \(account 123456789012\)"
    ):
        propose(SOURCE, 120.0, FORCED, facts(instances=()), run())


# -- what the events tell


def rows(*told: tuple[float, str]) -> list[dict[str, Any]]:
    return [{"Date": at, "Message": message} for at, message in told]


def test_events_are_known_by_their_messages_whatever_their_order() -> None:
    found = course(rows((3.0, COMPLETED), (2.0, STANDBY), (1.0, STARTED), (2.5, "DB instance restarted")), 0.0)
    assert (found.started, found.completed, found.abandoned) == (1.0, 2.0, "")
    assert [event["event"] for event in found.events] == ["RDS-EVENT-0013", "RDS-EVENT-0015", "", "RDS-EVENT-0049"]


def test_an_earlier_failover_and_one_before_the_newest_start_end_nothing() -> None:
    found = course(rows((1.0, STARTED), (2.0, COMPLETED), (3.0, STARTED)), 0.0)
    assert (found.started, found.completed) == (3.0, None)
    assert course(rows((1.0, STARTED), (2.0, COMPLETED)), 2.0, [[2.0, COMPLETED]]).events == ()
    assert (
        course(rows((2.0, "DB instance created"), (2.0, STARTED)), 2.0, [[2.0, "DB instance created"]]).started == 2.0
    )
    assert course(rows((2.0, COMPLETED)), 0.0).completed == 2.0, "a start that RDS never told of"


def test_a_recovery_in_place_is_no_failover() -> None:
    found = course(rows((1.0, "Multi-AZ instance activation started."), (2.0, "Recovered from partial failover.")), 0.0)
    assert (found.started, found.completed, found.abandoned) == (None, None, "")
    assert [event["event"] for event in found.events] == ["RDS-EVENT-0050", "RDS-EVENT-0065"]


# -- doing


class Stage:
    def __init__(self, home: Path, verb: Verb = FORCED, purpose: Purpose = Purpose.DRILL) -> None:
        self.clock = VirtualClock()
        self.fake = FakeRds(description(AvailabilityZone="eu-central-1a"))
        self.provider = RdsProvider(context(home, self.clock), self.fake, FakeServers())  # type: ignore[arg-type]
        seen = self.provider.look(Request("prod", (verb,), purpose))
        self.call = self.provider.propose(verb, seen, run(purpose))[0]
        self.result: dict[str, Any] = {}

    def apply(self) -> dict[str, Any]:
        self.result = dict(self.provider.apply(self.call, self.call.args))
        return self.result

    def become(self, **changes: Any) -> None:
        self.fake.rows[SOURCE].update(changes)

    def tells(self, *messages: str) -> None:
        for message in messages:
            self.clock.at += 1.0
            self.fake.tells(self.clock.at, message)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_a_forced_failover_is_over_once_rds_says_so_and_it_is_available(stage: Stage) -> None:
    begun = stage.apply()
    assert begun["at"] == NOW
    assert stage.fake.made("RebootDBInstance") == [{"DBInstanceIdentifier": SOURCE, "ForceFailover": True}]
    first = stage.provider.poll(stage.call, begun)
    assert not first.done
    assert "tells of no failover yet" in first.note
    stage.tells(STARTED, STANDBY)
    stage.become(AvailabilityZone="eu-central-1b")
    assert not stage.provider.poll(stage.call, begun).done, "it is rebooting still"
    stage.become(DBInstanceStatus="available")
    stage.tells(COMPLETED)
    done = stage.provider.poll(stage.call, begun)
    assert done.done
    assert done.result["promoted_at"] == NOW + 2
    (seen,) = done.observations
    assert (seen.what, seen.path) == ("failover", "source")
    assert seen.value["server"] == f"{SOURCE} in eu-central-1b"
    assert seen.value["promoted_at"] == NOW + 2
    assert [event["at"] for event in seen.value["events"]] == [NOW + 1, NOW + 2, NOW + 3]


def test_available_alone_is_no_failover(stage: Stage) -> None:
    begun = stage.apply()
    stage.become(DBInstanceStatus="available")
    stage.clock.at += 500
    assert not stage.provider.poll(stage.call, begun).done


def test_one_that_rds_abandoned_is_told_and_neither_awaited_nor_an_error(stage: Stage) -> None:
    begun = stage.apply()
    stage.become(DBInstanceStatus="available")
    stage.tells(ABANDONED)
    done = stage.provider.poll(stage.call, begun)
    assert done.done
    assert done.result["abandoned"] == ABANDONED
    assert done.result["promoted_at"] is None
    (event,) = done.observations[0].value["events"]
    assert event == {"at": NOW + 1, "message": ABANDONED, "event": "RDS-EVENT-0034", "abandons": True}


def test_a_recovery_in_place_ends_the_wait_and_is_no_failover(stage: Stage) -> None:
    begun = stage.apply()
    stage.tells(STARTED, "Recovered from partial failover.")
    assert not stage.provider.poll(stage.call, begun).done, "it is rebooting still"
    stage.become(DBInstanceStatus="available")
    with pytest.raises(FailedError, match=r"brought readmission-db back where it was .*: nothing failed over"):
        stage.provider.poll(stage.call, begun)


def test_zones_that_changed_are_believed_once_no_event_comes(stage: Stage) -> None:
    begun = stage.apply()
    stage.become(DBInstanceStatus="available", AvailabilityZone="eu-central-1b")
    assert not stage.provider.poll(stage.call, begun).done
    stage.clock.at += LATE_EVENT_SECONDS
    done = stage.provider.poll(stage.call, begun)
    assert done.done
    assert done.result["promoted_at"] is None, "nobody told when"


def test_a_lost_answer_is_no_second_failover(stage: Stage) -> None:
    stage.fake.fail["RebootDBInstance"] = ["!InternalFailure"]
    begun = stage.apply()
    assert len(stage.fake.made("RebootDBInstance")) == 1
    assert begun["at"] == NOW, "when it was asked for, not when that was known"


def test_after_a_kill_the_events_tell_that_it_was_taken_up(stage: Stage, tmp_path: Path) -> None:
    stage.apply()
    stage.tells(STARTED)
    anew = RdsProvider(context(tmp_path, stage.clock), stage.fake, FakeServers())  # type: ignore[arg-type]
    stage.clock.at += 100
    again = anew.apply(stage.call, stage.call.args)
    assert again["at"] == NOW + 1
    assert len(stage.fake.made("RebootDBInstance")) == 1


def test_one_that_never_reached_rds_is_asked_for_again(stage: Stage) -> None:
    stage.fake.fail["RebootDBInstance"] = ["ServiceUnavailable", "ServiceUnavailable"]
    stage.apply()
    assert len(stage.fake.made("RebootDBInstance")) == 3


def test_a_state_that_changed_since_the_plan_is_a_refusal_and_nothing_is_asked_for(stage: Stage) -> None:
    stage.become(DBInstanceStatus="backing-up")
    with pytest.raises(RefusedError, match="does not take a failover of readmission-db up: it is backing-up"):
        stage.apply()
    assert not stage.fake.made("RebootDBInstance")
    stage.become(DBInstanceStatus="available", MultiAZ=False)
    with pytest.raises(RefusedError, match="Single-AZ by now"):
        stage.apply()


def test_an_event_that_rds_knew_when_it_was_planned_is_not_this_runs(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.fake.tells(NOW - 30, STARTED)
    stage.fake.tells(NOW - 20, COMPLETED)
    call = stage.provider.propose(FORCED, stage.provider.look(Request("prod", (FORCED,), Purpose.DRILL)), run())[0]
    begun = stage.provider.apply(call, call.args)
    stage.become(DBInstanceStatus="available")
    assert not stage.provider.poll(call, begun).done
    stage.fake.tells(NOW - 9, STARTED)  # RDS's clock is behind this one
    stage.fake.tells(NOW - 1, COMPLETED)
    assert stage.provider.poll(call, begun).done


@pytest.mark.parametrize("status", ["storage-full", "failed", "incompatible-network", "stopped"])
def test_a_state_that_leads_nowhere_ends_the_wait(stage: Stage, status: str) -> None:
    begun = stage.apply()
    stage.become(DBInstanceStatus=status)
    with pytest.raises(FailedError, match=f"readmission-db is {status}"):
        stage.provider.poll(stage.call, begun)


def test_credentials_that_are_lost_in_the_middle_are_a_sentence(stage: Stage) -> None:
    begun = stage.apply()
    stage.fake.fail["DescribeDBInstances"] = ["ExpiredToken"]
    with pytest.raises(RefusedError, match="The credentials have expired"):
        stage.provider.poll(stage.call, begun)


def test_a_failure_to_ask_that_may_pass_is_noted(stage: Stage) -> None:
    begun = stage.apply()
    stage.fake.fail["DescribeEvents"] = ["Throttling"]
    assert "limits the rate" in stage.provider.poll(stage.call, begun).note


def test_an_awaited_failover_that_never_comes_fails_at_its_deadline_with_what_was_seen(tmp_path: Path) -> None:
    stage = Stage(tmp_path, AWAITED)
    directory = RunDirectory(tmp_path / "run")
    directory.path.mkdir(parents=True)
    ledger = directory.ledger(stage.clock)
    ledger.append("accepted")
    engine = Engine(directory, ledger, {"rds": stage.provider}, stage.clock, lambda _c, _n: None, lambda: "")
    stage.fake.tells(NOW + 1, "Multi-AZ instance activation started.")
    with pytest.raises(
        DeadlineError, match=r"did not reach failed over and available within 600 s.*activation started"
    ):
        perform(engine, [stage.call])
    assert not stage.fake.made("RebootDBInstance")
    seen = (directory.path / "observations.jsonl").read_text().splitlines()
    assert len(seen) == 1, "told when it was seen, and once"
    assert "RDS-EVENT-0050" in seen[0]


def test_events_are_asked_for_from_a_time_that_rdss_own_clock_has_reached(stage: Stage) -> None:
    stage.provider.poll(stage.call, stage.apply())
    assert stage.fake.made("DescribeEvents")[-1]["StartTime"] == "2025-10-09T08:51:20Z"  # 60 s, and 60 s for the clocks


def test_facts_of_other_verbs_ask_for_no_events(stage: Stage) -> None:
    before = len(stage.fake.made("DescribeEvents"))
    stage.fake.listings["DBSnapshots"] = []
    seen: Facts = stage.provider.look(
        Request("prod", (Verb("restore", {"to": {"snapshot": "latest"}}),), Purpose.DRILL)
    )
    assert "events" not in seen.extra
    assert len(stage.fake.made("DescribeEvents")) == before
