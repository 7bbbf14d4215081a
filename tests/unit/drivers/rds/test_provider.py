"""What the driver does, against an RDS in memory and in virtual time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dr.app.cleanup import remove_orphans
from dr.app.terms import terms
from dr.domain.errors import FailedError, HaltedError, ProviderError, RefusedError, UsageError
from dr.domain.model import Call, Plan, Purpose, RecoveryPoint, Request, RunIdentity, Verb
from dr.drivers.rds import look as rds_look
from dr.drivers.rds.config import RdsConfig
from dr.drivers.rds.instances import APART_SECONDS
from dr.drivers.rds.provider import SETTLED_SECONDS, RdsProvider
from dr.drivers.rds.restore import LISTED_SECONDS, deletion
from dr.drivers.rds.settings import tags
from dr.engine.guard import Consent, guard
from dr.engine.perform import carry_out
from dr.evidence import profiles
from tests.unit.drivers.rds.support import (
    ACCOUNT,
    NOW,
    REGION,
    SOURCE,
    FakeRds,
    FakeServers,
    VirtualClock,
    context,
    description,
    resource,
    run,
    snapshot,
    target,
)

SNAPSHOT = {
    "DBSnapshotIdentifier": "night",
    "DBInstanceIdentifier": SOURCE,
    "Status": "available",
    "SnapshotType": "automated",
    "SnapshotDatabaseTime": NOW - 9000,
    "SnapshotCreateTime": NOW - 8000,
    "EngineVersion": "15.8",
}
TO_NIGHT = Verb("restore", {"to": {"snapshot": "night"}})
TO_LATEST = Verb("restore", {"to": {"time": "latest"}})


@pytest.mark.parametrize(
    ("name", "value", "type_"),
    [
        ("VpcSecurityGroupIds", "sg-x", "list"),
        ("MultiAZ", "maybe", "boolean"),
        ("MonitoringInterval", "60 s", "integer"),
    ],
)
def test_a_setting_of_another_type_is_a_usage_error_before_anything_begins(
    tmp_path: Path, name: str, value: str, type_: str
) -> None:
    stage = Stage(tmp_path)
    verb = Verb("restore", {"to": {"snapshot": "night"}, "set": {name: value}})
    seen = stage.provider.look(Request("prod", (verb,), Purpose.RESTORE))
    with pytest.raises(UsageError, match=f"{name} is of type {type_} in RDS"):
        stage.provider.propose(verb, seen, run(Purpose.RESTORE))


def test_a_setting_of_a_drills_copy_is_checked_for_its_type_and_says_where_it_stands(tmp_path: Path) -> None:
    own = {"VpcSecurityGroupIds": "sg-x"}
    drill = context(tmp_path, VirtualClock(), restored=own)
    provider = RdsProvider(drill, Stage(tmp_path).fake)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is of type list") as caught:
        provider.propose(TO_NIGHT, provider.look(Request("prod", (TO_NIGHT,), Purpose.DRILL)), run())
    assert "'VpcSecurityGroupIds: [\"a\", \"b\"]' under the target's 'restored' in dr.yaml" in caught.value.hint


class Stage:
    """A provider over a fake, with a restoration planned."""

    def __init__(self, home: Path, verb: Verb = TO_NIGHT, who: RunIdentity | None = None) -> None:
        self.clock = VirtualClock()
        self.fake = FakeRds(description())
        self.fake.listings["DBSnapshots"] = [SNAPSHOT]
        self.servers = FakeServers()
        self.provider = RdsProvider(context(home, self.clock), self.fake, self.servers)  # type: ignore[arg-type]
        self.request = Request("prod", (verb,), (who or run()).purpose)
        seen, of = self.provider.look(self.request), who or run()
        verbs = [verb] if of.purpose is Purpose.DRILL else [verb, replace(verb, name="configure")]
        self.calls = {call.id: call for one in verbs for call in self.provider.propose(one, seen, of)}
        self.restore = self.calls["restore"]
        self.name = str(self.restore.args["identifier"])

    def apply(self, call: Call | None = None) -> dict[str, Any]:
        call = call or self.restore
        return dict(self.provider.apply(call, call.args))

    def become(self, **changes: Any) -> None:
        self.fake.rows[self.name].update(changes)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_looking_stores_the_sources_profile_and_reads_it_once_the_source_is_gone(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stored = profiles.load(tmp_path, "prod")
    assert stored is not None
    assert stored["source"]["DBSubnetGroup"]["DBSubnetGroupName"] == "private"
    del stage.fake.rows[SOURCE]
    gone = stage.provider.look(stage.request)
    assert gone.extra["profile"] == stored["source"]
    assert [p.covers for p in gone.points if p.kind == "snapshot"] == [NOW - 9000]


def test_a_profile_of_another_account_or_instance_is_not_used(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stored = profiles.load(tmp_path, "prod") or {}
    del stage.fake.rows[SOURCE]
    for key in ("account", "region", "instance"):
        profiles.store(tmp_path, "prod", {**stored, key: "other"})
        assert stage.provider.look(stage.request).extra["profile"] is None


def test_a_window_reaches_to_the_latest_restorable_time_and_retained_ones_stand_beside_it(stage: Stage) -> None:
    stage.fake.listings["DBInstanceAutomatedBackups"] = [
        {"DbiResourceId": "db-SOURCE", "RestoreWindow": {"EarliestTime": NOW - 5e5, "LatestTime": NOW - 400}},
        {"DbiResourceId": "db-OLD", "RestoreWindow": {"EarliestTime": NOW - 2e6, "LatestTime": NOW - 1e6}},
    ]
    windows = [p for p in stage.provider.look(stage.request).points if p.kind == "window"]
    assert [(p.status, p.earliest, p.covers) for p in windows] == [
        ("active", NOW - 5e5, NOW - 120),
        ("retained", NOW - 2e6, NOW - 1e6),
    ]


def test_of_a_snapshot_without_a_database_time_another_time_stands_in(stage: Stage) -> None:
    row = {**SNAPSHOT, "OriginalSnapshotCreateTime": NOW - 8500}
    del row["SnapshotDatabaseTime"]
    stage.fake.listings["DBSnapshots"] = [row]
    point = stage.provider.look(stage.request).points[0]
    assert point.covers == NOW - 8500


def test_another_sources_named_snapshot_is_looked_up_as_rds_wants_it(stage: Stage) -> None:
    for named, extra in (
        ("rds:x-1", {"SnapshotType": "automated"}),
        ("arn:aws:rds:r:1:snapshot:x", {"IncludeShared": True}),
        ("x", {}),
    ):
        stage.provider.look(replace(stage.request, verbs=(Verb("restore", {"to": {"snapshot": named}}),)))
        assert stage.fake.made("DescribeDBSnapshots")[-1] == {"DBSnapshotIdentifier": named, **extra}


def test_an_endpoint_of_another_region_is_refused(stage: Stage) -> None:
    stage.fake.rows[SOURCE]["DBInstanceArn"] = f"arn:aws:rds:us-east-1:{ACCOUNT}:db:{SOURCE}"
    with pytest.raises(RefusedError, match="serves region us-east-1"):
        stage.provider.look(stage.request)


def test_credentials_of_another_account_are_refused_before_anything_changes(stage: Stage) -> None:
    stage.fake.owner = "999999999999"
    stage.clock.sleep(60)
    with pytest.raises(RefusedError, match="belong to account 999999999999, not to 123456789012"):
        stage.apply()
    assert stage.name not in stage.fake.rows


@pytest.mark.parametrize("there", [True, False])
def test_the_guard_compares_what_sts_and_the_arns_said_and_not_the_pins_with_themselves(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """The driver's own comparisons are made blind, so that the guard's is the one that is left."""
    if not there:
        stage.fake.rows.clear()
    elsewhere = target(account="999999999999", region="us-east-1")
    monkeypatch.setattr(stage.provider, "_rds", elsewhere.of(RdsConfig))
    monkeypatch.setattr(rds_look, "instances", lambda *_: tuple(resource(row) for row in stage.fake.rows.values()))
    seen = stage.provider.look(stage.request)
    refusals = guard(Plan(stage.request, run(), (), ()), terms(elsewhere), seen, Consent())
    shown = (
        REGION if there else "Nothing shows that the region of rds is us-east-1"
    )  # what the client is set to is no observation
    assert [ACCOUNT in refusals[0], shown in refusals[1]] == [True, True]


def test_an_applied_restore_becomes_a_result_once_available(stage: Stage) -> None:
    result = stage.apply()
    waiting = stage.provider.poll(stage.restore, result)
    assert not waiting.done
    assert "creating" in waiting.note
    stage.clock.sleep(30)
    stage.become(DBInstanceStatus="available")
    done = stage.provider.poll(stage.restore, result)
    assert done.done
    assert done.result["identifier"] == stage.name
    assert (done.result["host"], done.result["port"]) == (f"{stage.name}.example.com", 5432)
    assert done.milestones["available"] == NOW + 30
    assert (done.result["kind"], done.result["recovery_point"], done.result["resolution"]) == (
        "snapshot",
        NOW - 9000,
        1.0,
    )
    assert done.observations[0].what == "recovery-point"
    assert done.observations[0].value["covers"] == NOW - 9000


def test_what_a_copy_holds_by_the_log_is_in_the_result_and_keeps_nobody_waiting_where_it_does_not_say(
    stage: Stage,
) -> None:
    result = stage.apply()
    stage.become(DBInstanceStatus="available")
    held = {"held": "10:10:", "sure": 10, "counted": "", "fresh": False}
    assert stage.provider.poll(stage.restore, result).result["point"] == held
    for error in (ProviderError("It does not answer.", transient=True), RefusedError("It takes no login.")):
        stage.servers.held = error
        done = stage.provider.poll(stage.restore, result)
        assert (done.done, done.result["point"]) == (True, None)


def test_available_without_an_endpoint_is_not_done(stage: Stage) -> None:
    result = stage.apply()
    stage.become(DBInstanceStatus="available", Endpoint=None)
    assert not stage.provider.poll(stage.restore, result).done


SERVING = (
    "backing-up",
    "configuring-enhanced-monitoring",
    "configuring-log-exports",
    "maintenance",
    "modifying",
    "storage-config-upgrade",
    "storage-optimization",
)


@pytest.mark.parametrize("status", SERVING)
def test_a_copy_whose_database_answers_is_available_whatever_rds_does_with_it(stage: Stage, status: str) -> None:
    result = stage.apply()
    stage.become(DBInstanceStatus=status)
    stage.servers.answering = False
    assert stage.provider.poll(stage.restore, result).done == (status == "storage-optimization")
    stage.clock.sleep(7)
    stage.servers.answering = True
    done = stage.provider.poll(stage.restore, result)
    assert done.done
    assert (done.milestones["available"], done.result["status"]) == (NOW + 7, status)


@pytest.mark.parametrize("status", ["creating", "rebooting", "upgrading", "renaming", "starting"])
def test_an_answer_from_a_copy_that_is_not_there_yet_counts_for_nothing(stage: Stage, status: str) -> None:
    result = stage.apply()
    stage.become(DBInstanceStatus=status)
    assert not stage.provider.poll(stage.restore, result).done


def test_what_rds_refuses_while_it_backs_the_copy_up_is_asked_again_until_it_takes_it(stage: Stage) -> None:
    stage.fake.fail["ModifyDBInstance"] = ["InvalidDBInstanceState"] * 2
    call, result = configured(stage, DBInstanceStatus="backing-up", MonitoringInterval=0)
    for _ in range(50):
        assert not stage.provider.poll(call, result).done
        stage.clock.sleep(100)
    assert len(stage.fake.made("ModifyDBInstance")) == 1
    stage.become(DBInstanceStatus="available")
    assert not stage.provider.poll(call, result).done  # refused once more: it had just begun something else
    assert not stage.provider.poll(call, result).done
    assert len(stage.fake.made("ModifyDBInstance")) == 3
    stage.become(MonitoringInterval=60)
    done = stage.provider.poll(call, result)
    assert done.done
    assert done.result["changed"] == ["MonitoringInterval"]


def test_a_copy_that_lacks_nothing_is_not_waited_for_while_it_is_backed_up(stage: Stage) -> None:
    call, result = configured(stage, DBInstanceStatus="backing-up")
    assert stage.provider.poll(call, result).done


def test_applied_twice_makes_one_instance(stage: Stage) -> None:
    assert stage.apply()["recovery_point"] == stage.apply()["recovery_point"]
    assert len(stage.fake.made("RestoreDBInstanceFromDBSnapshot")) == 1


def test_a_create_whose_answer_was_lost_is_recognised_as_our_own(stage: Stage) -> None:
    stage.fake.fail["RestoreDBInstanceFromDBSnapshot"] = ["!InternalFailure"]
    assert stage.apply()["identifier"] == stage.name
    assert len(stage.fake.made("RestoreDBInstanceFromDBSnapshot")) == 1


def test_our_own_create_behind_already_exists_is_continued(stage: Stage) -> None:
    stage.apply()
    stage.fake.fail["DescribeDBInstances"] = ["DBInstanceNotFound"]
    assert stage.apply()["identifier"] == stage.name


def test_a_create_that_is_accepted_but_not_listed_yet_is_waited_for(stage: Stage) -> None:
    stage.apply()
    stage.fake.fail["DescribeDBInstances"] = ["DBInstanceNotFound"] * 3
    assert stage.apply()["identifier"] == stage.name


def test_somebody_elses_instance_of_the_name_is_refused_and_left_alone(stage: Stage) -> None:
    stage.fake.rows[stage.name] = description(stage.name)
    with pytest.raises(RefusedError, match="somebody else made it"):
        stage.apply()
    stage.fake.fail["DescribeDBInstances"] = ["DBInstanceNotFound"]
    with pytest.raises(RefusedError, match="somebody else made it"):
        stage.apply()


def test_a_passing_failure_is_repeated_with_growing_pauses_and_a_lasting_one_is_not(stage: Stage) -> None:
    stage.fake.fail["RestoreDBInstanceFromDBSnapshot"] = ["Throttling", "Throttling"]
    assert stage.apply()["identifier"] == stage.name
    assert sum(stage.clock.slept) == 0.5 + 1.0
    del stage.fake.rows[stage.name]
    stage.fake.fail["RestoreDBInstanceFromDBSnapshot"] = ["InstanceQuotaExceeded"]
    with pytest.raises(RefusedError, match="quota of instances"):
        stage.apply()
    stage.fake.fail["RestoreDBInstanceFromDBSnapshot"] = ["SomethingNovel"]
    with pytest.raises(ProviderError, match="SomethingNovel"):
        stage.apply()
    assert sum(stage.clock.slept) == 0.5 + 1.0


def test_the_same_command_on_another_machine_takes_the_restoration_over(tmp_path: Path) -> None:
    first = Stage(tmp_path, who=run(Purpose.RESTORE, "first"))
    first.apply()
    second = run(Purpose.RESTORE, "second")
    again = first.provider.propose(TO_NIGHT, first.provider.look(first.request), second)
    assert first.provider.apply(again[0], again[0].args)["identifier"] == first.name
    assert tags(first.fake.rows[first.name])["dr:run"] == "second"
    assert len(first.fake.made("RestoreDBInstanceFromDBSnapshot")) == 1


@pytest.mark.parametrize(("operation", "begun"), [("DescribeDBInstances", False), ("AddTagsToResource", True)])
def test_taking_a_restoration_over_has_begun_once_it_is_tagged_and_not_while_it_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, begun: bool
) -> None:
    first = Stage(tmp_path, who=run(Purpose.RESTORE, "first"))
    first.apply()
    again = first.provider.propose(TO_NIGHT, first.provider.look(first.request), run(Purpose.RESTORE, "second"))
    ask = first.fake.call

    def halting(asked: str, *args: Any, **more: Any) -> Any:
        if asked == operation:
            raise HaltedError("The run was stopped.")
        return ask(asked, *args, **more)

    monkeypatch.setattr(first.fake, "call", halting)
    with pytest.raises(HaltedError) as halted:
        first.provider.apply(again[0], again[0].args)
    assert halted.value.begun is begun


def test_the_latest_time_is_what_was_restorable_when_it_was_asked_for(tmp_path: Path) -> None:
    stage = Stage(tmp_path, TO_LATEST)
    result = stage.apply()
    made = stage.fake.made("RestoreDBInstanceToPointInTime")[0]
    assert made["UseLatestRestorableTime"] is True
    assert "RestoreTime" not in made
    assert (result["recovery_point"], result["resolution"]) == (NOW - 120, 1.0)


def test_a_resumed_latest_restore_admits_how_much_later_it_may_reach(tmp_path: Path) -> None:
    stage = Stage(tmp_path, TO_LATEST)
    stage.apply()
    stage.become(InstanceCreateTime=NOW + 5)
    stage.fake.rows[SOURCE]["LatestRestorableTime"] = NOW + 3600
    result = stage.apply()
    assert (result["recovery_point"], result["resolution"]) == (NOW - 120, 125.0)


def test_a_time_is_passed_in_utc_to_the_second(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Verb("restore", {"to": {"time": "before-disaster"}}))
    result = stage.provider.apply(stage.restore, {**stage.restore.args, "recovery_point": "1759999000"})
    assert stage.fake.made("RestoreDBInstanceToPointInTime")[0]["RestoreTime"] == "2025-10-09T08:36:40Z"
    assert result["recovery_point"] == 1_759_999_000.0


def test_waiting_for_a_time_ends_when_the_logs_reach_beyond_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Verb("restore", {"to": {"time": "before-disaster"}}))
    call = stage.calls["await-restorable"]
    result = stage.provider.apply(call, {**call.args, "time": NOW})
    stage.fake.rows[SOURCE]["LatestRestorableTime"] = NOW
    waiting = stage.provider.poll(call, result)
    assert not waiting.done
    assert "not restorable yet" in waiting.note
    stage.fake.rows[SOURCE]["LatestRestorableTime"] = NOW + 1
    assert stage.provider.poll(call, result).done


FAILED = (
    "failed",
    "storage-full",
    "incompatible-network",
    "incompatible-parameters",
    "incompatible-restore",
    "stopped",
)


@pytest.mark.parametrize("status", FAILED)
def test_a_failed_state_ends_with_its_remedy(stage: Stage, status: str) -> None:
    result = stage.apply()
    stage.become(DBInstanceStatus=status)
    with pytest.raises(FailedError, match=f"{stage.name} is {status}") as caught:
        stage.provider.poll(stage.restore, result)
    assert caught.value.code == status
    assert caught.value.hint


def test_an_unknown_state_is_named_and_waited_for(stage: Stage) -> None:
    result = stage.apply()
    stage.become(DBInstanceStatus="entangled")
    progress = stage.provider.poll(stage.restore, result)
    assert not progress.done
    assert "entangled, a status that is not known here" in progress.note


def test_an_instance_that_vanishes_while_it_is_restored_is_a_failure_after_a_grace(stage: Stage) -> None:
    result = stage.apply()
    del stage.fake.rows[stage.name]
    assert "not listed yet" in stage.provider.poll(stage.restore, result).note
    stage.clock.sleep(LISTED_SECONDS + 1)
    with pytest.raises(FailedError, match="is gone"):
        stage.provider.poll(stage.restore, result)


def test_a_poll_that_cannot_ask_says_so_and_leaves_it_to_the_deadline(stage: Stage) -> None:
    result = stage.apply()
    stage.fake.fail["DescribeDBInstances"] = ["Throttling"]
    progress = stage.provider.poll(stage.restore, result)
    assert not progress.done
    assert "limits the rate" in progress.note


def test_the_replay_is_read_from_the_log_and_a_log_that_is_denied_is_noted(tmp_path: Path) -> None:
    stage = Stage(tmp_path, TO_LATEST)
    result = stage.apply()
    stage.become(DBInstanceStatus="available")
    stage.fake.fail["DescribeDBLogFiles"] = ["AccessDenied"]
    denied = stage.provider.poll(stage.restore, result)
    assert "may not do this" in denied.observations[0].value["replay_note"]
    stage.fake.listings["DescribeDBLogFiles"] = [{"LogFileName": "error/postgresql.log", "LastWritten": 1}]
    text = "\n".join(
        (
            "LOG:  starting point-in-time recovery to 2025-10-09 08:51:20+00",
            "LOG:  recovery stopping before commit of transaction 7, time 2025-10-09 08:51:21+00",
            "LOG:  redo done at 0/3 system usage: CPU: user: 0.0 s, system: 0.0 s, elapsed: 2.50 s",
            "LOG:  archive recovery complete",
        )
    )
    stage.fake._do = lambda operation, parameters: (  # type: ignore[method-assign]
        {"LogFileData": text}
        if operation == "DownloadDBLogFilePortion"
        else {"DBInstances": [stage.fake.rows[parameters["DBInstanceIdentifier"].lower()]]}
    )
    told = stage.provider.poll(stage.restore, result)
    assert told.result["replay_seconds"] == 2.5
    assert (told.observations[0].value["replayed_to"], told.observations[0].value["stopped_before"]) == (
        None,
        NOW - 119,
    )


def configured(stage: Stage, **changes: Any) -> tuple[Call, dict[str, Any]]:
    stage.apply()
    stage.become(
        **{"DBInstanceStatus": "available", "BackupRetentionPeriod": 0, "DeletionProtection": False, **changes}
    )
    stage.become(MultiAZ=False, VpcSecurityGroups=[{"VpcSecurityGroupId": "sg-drill", "Status": "active"}])
    return stage.calls["configure"], stage.apply(stage.calls["configure"])


def test_configure_sets_what_a_restore_does_not_take_and_nothing_that_is_there(stage: Stage) -> None:
    configured(stage, MonitoringInterval=0, AssociatedRoles=[])
    assert stage.fake.made("ModifyDBInstance") == [
        {"DBInstanceIdentifier": stage.name, "MonitoringInterval": 60, "ApplyImmediately": True}
    ]
    role = {"RoleArn": "arn:aws:iam::123456789012:role/s3", "FeatureName": "s3Import"}
    assert stage.fake.made("AddRoleToDBInstance") == [{"DBInstanceIdentifier": stage.name, **role}]


def test_configure_changes_nothing_where_nothing_is_missing(stage: Stage) -> None:
    call, result = configured(stage)
    assert stage.fake.made("ModifyDBInstance") == []
    done = stage.provider.poll(call, result)
    assert done.done
    assert [row["name"] for row in done.observations[0].value] == [
        "BackupRetentionPeriod",
        "DeletionProtection",
        "MultiAZ",
        "Tags",
        "VpcSecurityGroups",
    ]
    assert all(row["expected"] for row in done.observations[0].value)


def test_nothing_to_compare_a_configuration_with_says_so(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    call, result = configured(stage)
    done = stage.provider.poll(replace(call, args={**call.args, "source": None}), result)
    assert done.done
    assert done.observations[0].value == {"because": "neither the source nor a profile of it is there to compare with"}


def test_configure_waits_for_pending_values_and_for_a_change_to_show(stage: Stage) -> None:
    call, result = configured(stage, MonitoringInterval=0, PendingModifiedValues={"MasterUserPassword": "****"})
    assert "waiting for MasterUserPassword" in stage.provider.poll(call, result).note
    stage.become(PendingModifiedValues={})
    assert "waiting for MonitoringInterval" in stage.provider.poll(call, result).note
    stage.clock.sleep(SETTLED_SECONDS)
    done = stage.provider.poll(call, result)
    assert done.done
    unexpected = [row for row in done.observations[0].value if not row["expected"]]
    assert [row["name"] for row in unexpected] == ["MonitoringInterval"]


def test_the_master_password_goes_to_rds_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_SECRET", "hunter2secret")
    stage = Stage(tmp_path, Verb("restore", {"to": {"snapshot": "night"}, "reset_master": True}))
    call, result = configured(stage)
    assert stage.fake.made("ModifyDBInstance")[0]["MasterUserPassword"] == "hunter2secret"
    assert result["changed"] == ["MasterUserPassword"]
    assert "hunter2secret" not in repr((call, result, stage.provider.poll(call, result)))


def test_undo_deletes_the_copy_without_a_final_snapshot_and_waits_until_it_is_gone(stage: Stage) -> None:
    stage.apply()
    undo = stage.restore.undo
    assert undo is not None
    result = stage.apply(undo)  # still creating: RDS refuses
    assert not stage.provider.poll(undo, result).done
    stage.become(DBInstanceStatus="available", DeletionProtection=True)
    assert not stage.provider.poll(undo, result).done
    assert stage.fake.made("ModifyDBInstance")[-1]["DeletionProtection"] is False
    deleted = stage.fake.made("DeleteDBInstance")[-1]
    assert deleted == {"DBInstanceIdentifier": stage.name, "SkipFinalSnapshot": True, "DeleteAutomatedBackups": True}
    assert not stage.provider.poll(undo, result).done, "one answer that there is none"
    stage.clock.sleep(APART_SECONDS)
    assert stage.provider.poll(undo, result).done
    result = stage.apply(undo)
    stage.clock.sleep(APART_SECONDS)
    assert stage.provider.poll(undo, result).done, "undone twice"
    assert list(stage.fake.rows) == [SOURCE]


@pytest.mark.parametrize("purpose", ["restore", None])
def test_undo_never_deletes_what_is_not_a_drills_copy_of_this_run(stage: Stage, purpose: str | None) -> None:
    stage.apply()
    stage.become(DBInstanceStatus="available")
    with pytest.raises(RefusedError, match="not a drill's copy of run other"):
        stage.apply(deletion(stage.name, "other"))
    kept = [{"Key": "dr:run", "Value": run().id}] + ([{"Key": "dr:purpose", "Value": purpose}] if purpose else [])
    stage.become(TagList=kept)
    assert stage.restore.undo is not None
    with pytest.raises(RefusedError, match="not a drill's copy"):
        stage.apply(stage.restore.undo)
    with pytest.raises(RefusedError, match="not a drill's copy"):
        stage.apply(deletion(SOURCE, run().id))
    assert set(stage.fake.rows) == {SOURCE, stage.name}


def test_adopting_takes_the_harnesss_tags_off_and_leaves_the_others(tmp_path: Path) -> None:
    stage = Stage(tmp_path, who=run(Purpose.RESTORE))
    stage.apply()
    with pytest.raises(RefusedError, match="not of run other"):
        stage.provider.adopt(stage.name, "other")
    stage.provider.adopt(stage.name, run().id)
    assert tags(stage.fake.rows[stage.name]) == {"env": "prod"}


def test_a_sealed_restoration_says_so(stage: Stage) -> None:
    stage.apply()
    stage.provider.seal_tag(stage.name, run().id, "met")
    assert tags(stage.fake.rows[stage.name])["dr:sealed"] == "met"
    with pytest.raises(RefusedError, match="no instance nowhere"):
        stage.provider.seal_tag("nowhere", run().id, "met")
    with pytest.raises(RefusedError, match="not of run other"):
        stage.provider.seal_tag(stage.name, "other", "met")


def test_drills_copies_past_their_expiry_are_deleted_unless_their_run_is_under_way(stage: Stage) -> None:
    stage.apply()
    stage.become(DBInstanceStatus="available")
    tomorrow = NOW + 90_000
    nobody = frozenset[str]()
    assert stage.provider.orphans(NOW, nobody, nobody) == ()
    assert stage.provider.orphans(tomorrow, frozenset({run().id}), nobody) == ()
    (call,) = stage.provider.orphans(tomorrow, frozenset({"another"}), nobody)
    carry_out(stage.provider, call, call.args, stage.clock, lambda _call, _note: None)
    assert list(stage.fake.rows) == [SOURCE]


def test_an_expired_copy_that_stays_is_told_after_its_deadline_and_does_not_keep_the_others(stage: Stage) -> None:
    owned = {"dr:run": "gone", "dr:purpose": "drill", "dr:source": SOURCE, "dr:expires": "2020-01-01T00:00:00Z"}
    told = [{"Key": key, "Value": value} for key, value in owned.items()]
    stage.fake.rows["a-stuck"] = description("a-stuck", TagList=told, DBInstanceStatus="creating")
    stage.fake.rows["b-free"] = description("b-free", TagList=told)
    nobody = frozenset[str]()
    swept = remove_orphans(stage.provider, stage.clock, nobody, nobody, lambda _call, _note: None)
    assert [sentence.split(",")[0] for sentence in swept.gone] == ["b-free"]
    assert "a-stuck, a drill copy that no run here owns" in swept.left[0]
    assert "did not reach gone within 3600 s" in swept.left[0]
    assert swept.stands == ()
    assert set(stage.fake.rows) == {SOURCE, "a-stuck"}
    assert stage.clock.at - NOW < 4000


def test_what_an_on_call_restore_made_never_expires(tmp_path: Path) -> None:
    stage = Stage(tmp_path, who=run(Purpose.RESTORE))
    stage.apply()
    assert stage.provider.orphans(NOW + 1e9, frozenset(), frozenset({run().id})) == ()


def test_the_region_of_a_source_that_is_gone_is_that_of_its_snapshots() -> None:
    points = (snapshot("night", NOW - 1.0, DBSnapshotArn=f"arn:aws:rds:eu-west-3:{ACCOUNT}:snapshot:night"),)
    assert rds_look.region((), points) == "eu-west-3"
    source = {"DBInstanceArn": f"arn:aws:rds:eu-central-1:{ACCOUNT}:db:gone"}
    replicated = f"arn:aws:rds:eu-west-3:{ACCOUNT}:auto-backup:ab-1"
    backup = {**source, "DBInstanceAutomatedBackupsArn": replicated}
    elsewhere = RecoveryPoint("window", replicated, SOURCE, "retained", 1.0, attributes=backup)
    assert rds_look.region((), (elsewhere,)) == "eu-west-3", "where the backup is, and not where its source was"
    assert rds_look.region((resource(description()),), points) == REGION
    assert rds_look.region((), ()) == ""
