"""Which calls a restoration comes down to."""

from dataclasses import replace
from typing import Any

import botocore.session
import pytest

from dr.app.restore import cautions
from dr.config.model import Login
from dr.domain.errors import RefusedError, UsageError
from dr.domain.model import Call, Effect, Facts, Grant, Plan, Purpose, Request, RunIdentity, Verb
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.rds.naming import instance
from dr.drivers.rds.restore import propose
from dr.drivers.rds.settings import ASKED, RESTORE
from tests.unit.drivers.rds.support import NOW, SOURCE, description, facts, run, snapshot, target, window

NIGHT = snapshot("night", NOW - 20_000, SnapshotType="automated")
REACH = window(NOW - 1e6, NOW - 120)
LATEST = Verb("restore", {"to": {"snapshot": "latest"}})


def planned(
    given: Facts | None = None, who: RunIdentity | None = None, verb: Verb = LATEST, **changes: Any
) -> tuple[Call, ...]:
    """The calls of ``verb``, and on call of the verb ``configure`` that belongs to it."""
    seen, of = given or facts(NIGHT, REACH), who or run()
    verbs = [verb] if of.purpose is Purpose.DRILL or verb.name != "restore" else [verb, replace(verb, name="configure")]
    return tuple(call for one in verbs for call in propose("prod", target(**changes), 14_400.0, one, seen, of))


def copy(name: str, **tags: str) -> dict[str, Any]:
    return description(name, TagList=[{"Key": f"dr:{key}", "Value": value} for key, value in tags.items()])


def test_an_on_call_restore_passes_everything_that_rds_does_not_inherit() -> None:
    restore, configure = planned(who=run(Purpose.RESTORE))
    assert restore.args["parameters"] == {
        "DBInstanceIdentifier": restore.args["identifier"],
        "DBSnapshotIdentifier": "night",
        "DBInstanceClass": "db.r6g.large",
        "DBSubnetGroupName": "private",
        "VpcSecurityGroupIds": ["sg-app"],
        "DBParameterGroupName": "readmission15",
        "OptionGroupName": "default:postgres-15",
        "MultiAZ": True,
        "DeletionProtection": True,
        "EnableIAMDatabaseAuthentication": True,
        "EnableCloudwatchLogsExports": ["postgresql", "upgrade"],
        "CopyTagsToSnapshot": True,
        "StorageType": "io1",
        "Iops": 3000,
        "BackupRetentionPeriod": 30,
        "PreferredBackupWindow": "02:00-02:30",
    }
    assert configure.args["parameters"] == {
        "PreferredMaintenanceWindow": "sun:04:00-sun:04:30",
        "MonitoringInterval": 60,
        "MonitoringRoleArn": "arn:aws:iam::123456789012:role/monitoring",
        "EnablePerformanceInsights": True,
        "PerformanceInsightsRetentionPeriod": 7,
    }
    assert configure.args["roles"] == [{"RoleArn": "arn:aws:iam::123456789012:role/s3", "FeatureName": "s3Import"}]


@pytest.mark.parametrize(("since", "warned"), [(None, False), (-60.0, True), (60.0, False)])
def test_a_recovery_point_after_the_disaster_is_warned_of_before_anything_is_made(since: Any, warned: bool) -> None:
    calls = planned(who=replace(run(Purpose.RESTORE), request="it fits"))
    point = calls[0].args["recovery_point"]
    asked = Request("prod", (), Purpose.RESTORE, since=None if since is None else point + since)
    told = cautions(Plan(asked, run(Purpose.RESTORE), calls, ()))
    assert bool(told) is warned
    assert all("the damage may be in it" in sentence for sentence in told)


def test_an_on_call_restore_has_the_sources_tags_no_expiry_and_no_undo() -> None:
    restore = planned(who=run(Purpose.RESTORE))[0]
    assert restore.args["tags"] == {
        "env": "prod",
        "dr:run": "20261123-070000-ab12",
        "dr:purpose": "restore",
        "dr:target": "prod",
        "dr:source": SOURCE,
        "dr:request": "d1",
    }
    assert restore.undo is None


def test_a_drills_copy_stands_apart_and_is_undone() -> None:
    restore = planned(restored={"VpcSecurityGroupIds": ["sg-drill"], "DBInstanceClass": "db.t4g.small"})[0]
    parameters, tags = restore.args["parameters"], restore.args["tags"]
    assert parameters["VpcSecurityGroupIds"] == ["sg-drill"]
    assert parameters["DBInstanceClass"] == "db.t4g.small"
    assert parameters["PubliclyAccessible"] is False
    assert (parameters["BackupRetentionPeriod"], parameters["DeletionProtection"], parameters["MultiAZ"]) == (
        0,
        False,
        False,
    )
    assert not any(key for key in tags if not key.startswith("dr:"))
    assert tags["dr:expires"] == "2025-10-10T08:53:20Z"
    assert restore.undo is not None
    assert restore.undo.args == {"identifier": restore.args["identifier"], "run": "20261123-070000-ab12"}
    assert restore.undo.touches == restore.makes == (instance(restore.args["identifier"]),)


@pytest.mark.parametrize("groups", [[], ["sg-app"], ["sg-drill", "sg-app"]])
def test_a_drills_copy_that_whoever_reaches_the_source_would_reach_is_refused(groups: list[str]) -> None:
    own: dict[str, object] = {"VpcSecurityGroupIds": groups} if groups else {}
    with pytest.raises(RefusedError, match="whoever reaches the one would reach the other") as caught:
        planned(restored=own)
    assert "'restored: {VpcSecurityGroupIds: [...]}'" in caught.value.hint
    assert planned(restored=own, grants=(Grant.DISPOSABLE,))
    assert planned(restored=own, who=run(Purpose.RESTORE))


def test_the_name_is_the_sources_with_the_runs_end_and_always_valid() -> None:
    assert planned()[0].args["identifier"] == "readmission-db-restored-20261123-070000-ab12"
    long = "a" * 60
    given = facts(snapshot("night", NOW, source=long), instances=(description(long),))
    name = planned(given, run(name="2026.11.23T07:00:00__ab12--"), instance=long)[0].args["identifier"]
    assert len(name) <= 63
    assert "--" not in name
    assert not name.endswith("-")


def test_the_same_facts_give_the_same_calls() -> None:
    assert planned() == planned()


@pytest.mark.parametrize("name", ["1db", "db--x", "db-", "a" * 64, "db_x", "dä"])
def test_an_impossible_name_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be an instance's name"):
        planned(verb=Verb("restore", {"to": {"snapshot": "latest"}, "as_name": name}))


def test_a_name_that_is_taken_is_refused_even_in_another_case() -> None:
    with pytest.raises(RefusedError, match="exists already"):
        planned(verb=Verb("restore", {"to": {"snapshot": "latest"}, "as_name": "Readmission-DB"}))


def test_an_on_call_restoration_of_the_same_request_is_continued_under_its_name() -> None:
    begun = copy("half-way", run="other", purpose="restore", source=SOURCE, request="d1")
    given = facts(NIGHT, instances=(description(), begun))
    assert planned(given, run(Purpose.RESTORE))[0].args["identifier"] == "half-way"


def test_a_sealed_restoration_is_over_and_hinders_nothing() -> None:
    over = copy("over", run="other", purpose="restore", source=SOURCE, request="d1", sealed="met")
    given = facts(NIGHT, instances=(description(), over))
    assert planned(given, run(Purpose.RESTORE))[0].args["identifier"] != "over"


def test_a_second_restoration_of_the_same_source_is_refused_naming_the_first() -> None:
    first = copy("first", run="r1", purpose="restore", source=SOURCE, request="d0")
    with pytest.raises(RefusedError, match=r"first \(available\) of run r1.*--resume r1"):
        planned(facts(NIGHT, instances=(description(), first)), run(Purpose.RESTORE))


@pytest.mark.parametrize("status", ["insufficient-capacity", "failed", "incompatible-network", "deleting"])
def test_a_restoration_that_failed_for_good_is_not_under_way(status: str) -> None:
    failed = copy("first", run="r1", purpose="restore", source=SOURCE, request="d0") | {"DBInstanceStatus": status}
    restore = planned(facts(NIGHT, instances=(description(), failed)), run(Purpose.RESTORE))[0]
    assert restore.args["identifier"] != "first"


def test_another_drills_copy_hinders_until_it_has_expired() -> None:
    fresh = copy("left", run="r1", purpose="drill", source=SOURCE, request="d1", expires="2999-01-01T00:00:00Z")
    with pytest.raises(RefusedError, match="'dr cleanup r1 --target prod' removes it"):
        planned(facts(NIGHT, instances=(description(), fresh)))
    stale = copy("left", run="r1", purpose="drill", source=SOURCE, request="d1", expires="2020-01-01T00:00:00Z")
    assert planned(facts(NIGHT, instances=(description(), stale)))


def test_what_a_killed_drill_left_hinders_no_restore_on_call() -> None:
    fresh = copy("left", run="r1", purpose="drill", source=SOURCE, request="d1", expires="2999-01-01T00:00:00Z")
    assert planned(facts(NIGHT, instances=(description(), fresh)), run(Purpose.RESTORE))


def test_a_restoration_of_another_source_hinders_nothing() -> None:
    other = copy("elsewhere", run="r1", purpose="restore", source="other-db", request="d0")
    assert planned(facts(NIGHT, instances=(description(), other)))


def test_a_source_that_is_gone_is_rebuilt_from_its_profile() -> None:
    given = facts(NIGHT, instances=(), profile=description())
    assert planned(given, run(Purpose.RESTORE)) == planned(facts(NIGHT), run(Purpose.RESTORE))


def test_what_neither_source_nor_profile_knows_is_asked_for_by_name() -> None:
    with pytest.raises(RefusedError) as caught:
        planned(facts(NIGHT, instances=()), run(Purpose.RESTORE), fallback={"MultiAZ": False, "StorageType": "gp3"})
    assert "CopyTagsToSnapshot, DBParameterGroupName, DBSubnetGroupName, DeletionProtection, EnableCloudwatch" in str(
        caught.value
    )
    assert "MultiAZ" not in str(caught.value)
    assert "fallback:" in caught.value.hint


def test_answers_in_the_target_replace_what_nobody_knows() -> None:
    answers: dict[str, object] = {
        "DBSubnetGroupName": "private",
        "VpcSecurityGroupIds": ["sg-b", "sg-a"],
        "DBParameterGroupName": "readmission15",
        "OptionGroupName": "",
        "MultiAZ": False,
        "DeletionProtection": True,
        "EnableIAMDatabaseAuthentication": False,
        "EnableCloudwatchLogsExports": [],
        "CopyTagsToSnapshot": True,
        "StorageType": "gp3",
    }
    restore, configure = planned(facts(NIGHT, instances=()), run(Purpose.RESTORE), fallback=answers)
    assert restore.args["parameters"]["VpcSecurityGroupIds"] == ["sg-a", "sg-b"]
    assert restore.args["parameters"]["MultiAZ"] is False
    assert "OptionGroupName" not in restore.args["parameters"]
    assert configure.args["source"] is None


def overridden(**settings: Any) -> Verb:
    return Verb("restore", {"to": {"snapshot": "latest"}, "set": settings})


def test_the_command_line_overrides_the_source_the_fallback_and_says_why() -> None:
    verb = overridden(DBInstanceClass="db.r6g.xlarge", MonitoringInterval=0, OptionGroupName="")
    restore, configure = planned(who=run(Purpose.RESTORE), verb=verb, fallback={"DBInstanceClass": "db.t4g.small"})
    assert restore.args["parameters"]["DBInstanceClass"] == "db.r6g.xlarge"
    assert "OptionGroupName" not in restore.args["parameters"]
    assert configure.args["parameters"]["MonitoringInterval"] == 0
    assert configure.args["asked"]["DBInstanceClass"] == "db.r6g.xlarge"
    assert configure.args["because"] == "asked for on the command line"


@pytest.mark.parametrize("status", ["storage-optimization", "storage-full", "stopped", "incompatible-parameters"])
def test_a_source_is_restored_from_whatever_rds_says_of_its_status(status: str) -> None:
    usual, ill = (facts(NIGHT, REACH, instances=(description(DBInstanceStatus=s),)) for s in ("available", status))
    for to in ({"snapshot": "latest"}, {"time": "latest"}):
        verb = Verb("restore", {"to": to})
        assert planned(ill, run(Purpose.RESTORE), verb) == planned(usual, run(Purpose.RESTORE), verb)


def test_on_call_the_request_stands_in_tags_as_far_as_it_fits_whole() -> None:
    def tagged(**said: Any) -> dict[str, str]:
        kept: dict[str, str] = planned(who=replace(run(Purpose.RESTORE), **said))[0].args["tags"]
        return {key: value for key, value in kept.items() if key.startswith(("dr:request-", "dr:since"))}

    assert tagged(request="x" * 257) == {"dr:request-1": "x" * 256, "dr:request-2": "x"}
    assert len(tagged(request="x" * 2048)) == 8
    assert tagged(request="x" * 2049) == {}
    assert tagged(since=NOW) == {"dr:since": str(NOW)}
    drill = planned(who=replace(run(Purpose.DRILL), request="x"))[0].args["tags"]
    assert "dr:request-1" not in drill


def test_the_command_line_answers_what_nobody_knows() -> None:
    known: dict[str, object] = dict.fromkeys(
        ("DBSubnetGroupName", "DBParameterGroupName", "OptionGroupName", "StorageType"), "one"
    )
    answers = known | dict.fromkeys(
        ("MultiAZ", "DeletionProtection", "EnableIAMDatabaseAuthentication", "CopyTagsToSnapshot"), False
    )
    gone = facts(NIGHT, instances=())
    lists: dict[str, object] = {"EnableCloudwatchLogsExports": [], "VpcSecurityGroupIds": ["sg-b", "sg-a"]}
    restore = planned(gone, run(Purpose.RESTORE), overridden(**answers), fallback=lists)[0]
    assert restore.args["parameters"]["DBSubnetGroupName"] == "one"
    assert restore.args["parameters"]["VpcSecurityGroupIds"] == ["sg-a", "sg-b"]
    with pytest.raises(RefusedError, match=r"what the restoration is to have as: VpcSecurityGroupIds\. Say --set"):
        planned(gone, run(Purpose.RESTORE), overridden(**answers, EnableCloudwatchLogsExports=[]))


def test_a_setting_that_rds_does_not_have_is_a_usage_error_with_those_it_has() -> None:
    with pytest.raises(UsageError, match=r"--set names no settings of RDS: Flavour\. Known: DBInstanceClass, "):
        planned(who=run(Purpose.RESTORE), verb=overridden(Flavour="sweet"))


def test_a_known_sources_settings_win_over_the_targets_on_call() -> None:
    restore = planned(who=run(Purpose.RESTORE), restored={"MultiAZ": False, "DBSubnetGroupName": "drills"})[0]
    assert restore.args["parameters"]["MultiAZ"] is True
    assert restore.args["parameters"]["DBSubnetGroupName"] == "private"


def test_a_snapshot_from_before_a_major_upgrade_needs_groups_that_fit_it() -> None:
    old = snapshot("old", NOW - 9e6, EngineVersion="14.11")
    with pytest.raises(RefusedError, match=r"version 14\.11.*DBParameterGroupName, OptionGroupName"):
        planned(facts(old), run(Purpose.RESTORE))
    fits = planned(facts(old), run(Purpose.RESTORE), fallback={"DBParameterGroupName": "pg14", "OptionGroupName": ""})
    assert fits[0].args["parameters"]["DBParameterGroupName"] == "pg14"


def test_a_misspelt_setting_of_the_target_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"no settings of RDS: DBSubnetGroup\."):
        planned(restored={"DBSubnetGroup": "x"})


FASTER: dict[str, Any] = {"Iops": 12_000, "StorageThroughput": 500}


@pytest.mark.parametrize(
    ("engine", "storage", "size", "passed"),
    [
        ("postgres", "gp2", 500, False),
        ("postgres", "gp3", 399, False),
        ("postgres", "gp3", 400, True),
        ("oracle-ee", "gp3", 199, False),
        ("oracle-ee", "gp3", 200, True),
        ("sqlserver-se", "gp3", 20, True),
    ],
)
def test_iops_are_passed_only_where_rds_takes_them(engine: str, storage: str, size: int, passed: bool) -> None:
    row = description(StorageType=storage, AllocatedStorage=size, Engine=engine, **FASTER)
    parameters = planned(facts(NIGHT, instances=(row,)))[0].args["parameters"]
    assert ("Iops" in parameters, "StorageThroughput" in parameters) == (passed, passed)


def test_a_copy_that_is_bigger_than_its_source_has_no_less_than_storage_of_its_size() -> None:
    small = facts(NIGHT, instances=(description(StorageType="gp3", Iops=3_000, StorageThroughput=125),))
    bigger = Verb("restore", {**LATEST.args, "set": {"AllocatedStorage": 500, "Iops": 13_000}})
    restore, _ = planned(small, run(Purpose.RESTORE), bigger)
    assert restore.args["parameters"]["Iops"] == 13_000
    assert "StorageThroughput" not in restore.args["parameters"]


def test_storage_is_fitted_to_the_recovery_point_and_not_to_a_source_that_has_grown() -> None:
    row = description(StorageType="gp3", AllocatedStorage=500, **FASTER)
    small = facts(snapshot("night", NOW - 20_000, AllocatedStorage=100), instances=(row,))
    restore, configure = planned(small, run(Purpose.RESTORE))
    assert not {"Iops", "StorageThroughput"} & set(restore.args["parameters"])
    assert configure.args["fitted"]["Iops"] == [None, "RDS takes Iops for gp3 from 400 GiB on, and the copy has 100"]
    bigger = Verb("restore", {**LATEST.args, "set": {"AllocatedStorage": 400}})
    assert planned(small, run(Purpose.RESTORE), bigger)[0].args["parameters"]["Iops"] == 12_000


def test_what_gp3_has_of_its_own_in_source_and_copy_is_no_news() -> None:
    baseline = description(StorageType="gp3", AllocatedStorage=100, Iops=3_000, StorageThroughput=125)
    calls = planned(facts(NIGHT, instances=(baseline,)), replace(run(Purpose.RESTORE), request="it fits"))
    assert not {"Iops", "StorageThroughput"} & set(calls[0].args["parameters"])
    assert cautions(Plan(Request("prod", (), Purpose.RESTORE), run(Purpose.RESTORE), calls, ())) == ()


@pytest.mark.parametrize(
    ("kind", "size", "iops", "then"),
    [
        ("io1", 100, 30_000, 5_000),
        ("io1", 100, 3_000, 3_000),
        ("io2", 100, 30_000, 30_000),
        ("io2", 20, 30_000, 20_000),
    ],
)
def test_provisioned_iops_are_cut_to_what_the_size_bears(kind: str, size: int, iops: int, then: int) -> None:
    row = description(StorageType=kind, AllocatedStorage=1_000, Iops=iops)
    small = facts(snapshot("night", NOW - 20_000, AllocatedStorage=size), instances=(row,))
    assert planned(small)[0].args["parameters"]["Iops"] == then


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"StorageType": "gp3", "Iops": 12_000}, "Iops cannot be set: RDS takes Iops for gp3 from 400 GiB on"),
        ({"StorageType": "gp2", "Iops": 3_000}, "RDS takes no Iops for gp2"),
        ({"StorageType": "io1", "Iops": ""}, "StorageType io1 needs Iops"),
        ({"StorageThroughput": 500}, "RDS takes no StorageThroughput for io1"),
        ({"AllocatedStorage": 50}, "AllocatedStorage 50 is less than the 100 GiB of the recovery point"),
    ],
)
def test_storage_that_cannot_be_had_is_told_before_anything_begins(said: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        planned(verb=Verb("restore", {**LATEST.args, "set": said}), who=run(Purpose.RESTORE))


def test_another_kind_of_storage_takes_nothing_of_the_sources() -> None:
    said = Verb("restore", {**LATEST.args, "set": {"StorageType": "gp3"}})
    assert not {"Iops", "StorageThroughput"} & set(planned(who=run(Purpose.RESTORE), verb=said)[0].args["parameters"])


@pytest.mark.parametrize(
    ("count", "to", "since", "said", "left"),
    [
        (38, {"snapshot": "latest"}, None, "", 0),
        (42, {"time": "latest"}, None, "", 0),
        (43, {"time": "latest"}, None, "", 1),
        (42, {"time": "latest"}, 7.0, "", 1),
        (41, {"snapshot": "latest"}, 7.0, "x", 1),
        (47, {"snapshot": "latest"}, None, "", 5),
        (50, {"snapshot": "latest"}, 7.0, "x", 10),
        (50, {"snapshot": "latest"}, None, "x" * 2048, 16),
    ],
)
@pytest.mark.parametrize("gone", [False, True])
def test_the_harnesss_tags_go_first_and_what_did_not_fit_is_named(
    count: int, to: dict[str, Any], since: float | None, said: str, left: int, gone: bool
) -> None:
    tags = [{"Key": f"cost:{n:02}", "Value": "v"} for n in range(count)]
    row = description(TagList=[*tags, {"Key": "aws:x", "Value": "y"}])
    seen = facts(NIGHT, REACH, instances=() if gone else (row,), profile=row)
    verb = Verb("restore", {"to": {"snapshot": "night"} if gone else to})
    restore, configure = planned(seen, replace(run(Purpose.RESTORE), since=since, request=said), verb)
    passed = set(restore.args["tags"])
    assert {"dr:run", "dr:purpose", "dr:target", "dr:source", "dr:request"} <= passed
    assert len(passed | {"dr:point", "dr:point-id", "dr:sealed"}) <= 50
    missing = sorted({tag["Key"] for tag in tags} - passed)
    assert len(missing) == left
    if left:
        kept, because = configure.args["fitted"]["Tags"]
        assert set(kept) == {key for key in passed if not key.startswith("dr:")}
        assert because.endswith(f"left out were {', '.join(missing)}")
    else:
        assert "Tags" not in configure.args["fitted"]


EVERYTHING: dict[str, Any] = {
    "Port": 5433,
    "ManageMasterUserPassword": True,
    "MasterUserSecretKmsKeyId": "alias/master",
    "AllocatedStorage": 200,
    "Domain": "d-1",
}


def test_what_is_asked_for_is_passed_whatever_the_call_takes_and_else_is_left_to_rds() -> None:
    assert not set(EVERYTHING) & set(planned(who=run(Purpose.RESTORE))[0].args["parameters"])
    restore, configure = planned(who=run(Purpose.RESTORE), verb=Verb("restore", {**LATEST.args, "set": EVERYTHING}))
    assert {name: restore.args["parameters"].get(name) for name in EVERYTHING} == EVERYTHING
    assert configure.args["asked"]["Port"] == 5433
    zone = {"MultiAZ": False, "AvailabilityZone": "eu-central-1b"}
    placed = planned(who=run(Purpose.RESTORE), verb=Verb("restore", {**LATEST.args, "set": zone}))[0].args["parameters"]
    assert (placed["AvailabilityZone"], placed["MultiAZ"]) == ("eu-central-1b", False)


def test_every_setting_that_is_passed_is_one_of_rdss_own_model() -> None:
    model = botocore.session.get_session().get_service_model("rds")
    for operation in ("RestoreDBInstanceFromDBSnapshot", "RestoreDBInstanceToPointInTime"):
        members = set(model.operation_model(operation).input_shape.members)
        assert {*RESTORE, *ASKED} <= members
        names = {"Tags", "TagSpecifications", "Engine", "AdditionalStorageVolumes", "UseDefaultProcessorFeatures"}
        named = {name for name in members if name.endswith(("Identifier", "Arn", "ResourceId"))} - {*RESTORE, *ASKED}
        times = {"RestoreTime", "UseLatestRestorableTime", "MaxAllocatedStorage", "TdeCredentialPassword"}
        assert members - {*RESTORE, *ASKED} - names - named - times == set()


def test_a_time_waits_restores_and_configures() -> None:
    calls = planned(verb=Verb("restore", {"to": {"time": "before-disaster"}}))
    assert [call.id for call in calls] == ["await-restorable", "restore", "configure"]
    assert [call.restoration for call in calls] == [False, True, False]
    assert [call.effect for call in calls] == [Effect.READS, Effect.MAKES, Effect.CHANGES]
    assert calls[0].args["time"] == calls[1].args["recovery_point"] == "${vanish.recovery_point}"
    assert calls[1].args["parameters"]["TargetDBInstanceIdentifier"] == calls[1].args["identifier"]
    assert "RestoreTime" not in calls[1].args["parameters"]


def test_a_time_that_is_restorable_already_does_not_wait() -> None:
    calls = planned(verb=Verb("restore", {"to": {"time": NOW - 3600}}))
    assert [call.id for call in calls] == ["restore", "configure"]


def test_the_master_secret_is_a_reference() -> None:
    verb = Verb("restore", {"to": {"snapshot": "latest"}, "reset_master": True})
    assert planned(verb=verb)[1].args["master_secret"] == "env:MASTER_SECRET"
    database = PostgresConfig("readmission", Login("dr", "env:DR_SECRET"))
    with pytest.raises(RefusedError, match=r"no postgres\.master"):
        planned(verb=verb, database=database)
    with pytest.raises(RefusedError, match="master user is admin"):
        planned(facts(NIGHT, instances=(description(MasterUsername="admin"),)), verb=verb)


def test_another_verb_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        planned(verb=Verb("dance"))


def test_what_rds_sets_afterwards_is_a_verb_of_its_own_on_call_and_part_of_a_drills_restore() -> None:
    def ids(purpose: Purpose, verb: Verb) -> list[str]:
        seen = facts(NIGHT, REACH)
        return [call.id for call in propose("prod", target(), 14_400.0, verb, seen, run(purpose))]

    assert ids(Purpose.RESTORE, LATEST) == ["restore"]
    assert ids(Purpose.RESTORE, replace(LATEST, name="configure")) == ["configure"]
    assert ids(Purpose.DRILL, LATEST) == ["restore", "configure"]
