"""What an instance is set to, and what differs afterwards."""

from typing import Any

import pytest

from dr.drivers.rds.settings import comparable, differences, missing
from tests.unit.drivers.rds.support import description

SOURCE = comparable(description())


def differing(
    asked: dict[str, object] | None = None, same_host: bool = False, **changes: object
) -> dict[str, tuple[bool, str]]:
    rows = differences(SOURCE, comparable(description("copy", **changes)), asked or {}, "it is a copy", same_host)
    return {row["name"]: (row["expected"], row["because"]) for row in rows}


def test_identity_is_no_setting() -> None:
    other: dict[str, Any] = {"DBInstanceArn": "x", "DbiResourceId": "y", "InstanceCreateTime": 1.0}
    assert differing(DBInstanceStatus="backing-up", **other) == {}


def test_a_setting_that_nobody_asked_for_is_unexpected() -> None:
    groups = [{"VpcSecurityGroupId": "sg-default", "Status": "active"}]
    assert differing(VpcSecurityGroups=groups) == {"VpcSecurityGroups": (False, "nobody asked for it")}


def test_what_was_asked_for_is_expected_and_gives_its_reason() -> None:
    assert differing({"MultiAZ": False}, MultiAZ=False) == {"MultiAZ": (True, "it is a copy")}


def test_what_comes_and_goes_with_a_setting_that_was_asked_for_is_expected() -> None:
    off: dict[str, Any] = {"PerformanceInsightsEnabled": False, "PerformanceInsightsRetentionPeriod": None}
    changed = differing({"PerformanceInsightsEnabled": False}, **off)
    assert changed["PerformanceInsightsRetentionPeriod"] == (True, "it is a copy")
    assert differing(**off)["PerformanceInsightsRetentionPeriod"] == (False, "nobody asked for it")


def test_what_was_asked_for_and_did_not_come_is_unexpected() -> None:
    assert differing({"MultiAZ": False}) == {"MultiAZ": (False, "asked for False")}


def test_what_was_left_to_rds_is_expected_whatever_it_took() -> None:
    groups = [{"OptionGroupName": "default:postgres-15-rds", "Status": "in-sync"}]
    changed = differing({"OptionGroupMemberships": ""}, OptionGroupMemberships=groups)
    assert changed == {"OptionGroupMemberships": (True, "it is a copy")}


def test_what_the_recovery_point_decides_is_expected() -> None:
    assert differing(AllocatedStorage=50)["AllocatedStorage"][0]
    assert differing(EngineVersion="15.7")["EngineVersion"][0]


def test_a_port_differs_by_necessity_on_one_host_only() -> None:
    endpoint = {"Address": "127.0.0.1", "Port": 6000}
    assert differing(Endpoint=endpoint)["Port"] == (False, "nobody asked for it")
    assert differing(Endpoint=endpoint, same_host=True)["Port"] == (True, "both listen on one host")


def test_read_replicas_are_a_difference_that_every_restore_makes() -> None:
    source = comparable(description(ReadReplicaDBInstanceIdentifiers=["two", "one"]))
    (found,) = differences(source, comparable(description("copy")), {}, "it is a copy", False)
    assert (found["name"], found["source"], found["restored"]) == ("ReadReplicas", ["one", "two"], None)
    assert (found["expected"], "RDS restores none" in found["because"]) == (True, True)


WAITING = [{"DBParameterGroupName": "readmission15", "ParameterApplyStatus": "pending-reboot"}]


def test_a_copy_that_waits_for_a_reboot_is_told_to_be_rebooted_whatever_its_source_does() -> None:
    for source in (SOURCE, comparable(description(DBParameterGroups=WAITING))):
        (found,) = differences(source, comparable(description("copy", DBParameterGroups=WAITING)), {}, "", False)
        assert (found["name"], found["expected"]) == ("ParameterApplyStatus", False)
        assert "reboot it" in found["because"]


MEMBERSHIP = {"Domain": "d-1", "FQDN": "corp.example.com", "Status": "joined"}


@pytest.mark.parametrize(
    "state",
    [
        {"DBParameterGroups": WAITING},
        {"ActivityStreamStatus": "started", "ActivityStreamMode": "async", "ActivityStreamKmsKeyId": "k"},
        {"IsStorageConfigUpgradeAvailable": True},
        {"UpgradeRolloutOrder": "second"},
        {"OptionGroupMemberships": [{"OptionGroupName": "default:postgres-15", "Status": "pending-apply"}]},
        {"VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-app", "Status": "adding"}]},
        {"DBInstanceStatus": "storage-optimization", "PercentProgress": "7", "StorageVolumeStatus": "INITIALIZING"},
        {"AssociatedRoles": [{**description()["AssociatedRoles"][0], "Status": "PENDING"}]},
        {"MasterUserSecret": {"SecretArn": "a", "SecretStatus": "rotating", "KmsKeyId": "k"}},
    ],
    ids=lambda state: next(iter(state)),
)
def test_a_state_of_the_source_is_no_setting(state: dict[str, Any]) -> None:
    assert differences(comparable(description(**state)), comparable(description("copy")), {}, "", False) == []


def test_a_directory_that_is_still_being_joined_is_no_difference_and_another_one_is() -> None:
    source = comparable(description(DomainMemberships=[MEMBERSHIP]))
    joining = comparable(description("copy", DomainMemberships=[{**MEMBERSHIP, "Status": "joining"}]))
    assert differences(source, joining, {}, "", False) == []
    assert {one["name"] for one in differences(source, SOURCE, {}, "", False)} >= {"Domain", "DomainMemberships"}


def test_a_managed_secret_that_was_asked_for_and_did_not_come_is_told() -> None:
    asked: dict[str, object] = {"ManageMasterUserPassword": True}
    assert differing(asked) == {"ManageMasterUserPassword": (False, "asked for True")}
    assert differing(asked, MasterUserSecret={"SecretArn": "a", "KmsKeyId": "k"})["ManageMasterUserPassword"][0]


def test_what_was_fitted_is_expected_as_it_was_fitted_and_not_otherwise() -> None:
    fitted = {"Iops": (None, "too small"), "Tags": ({"env": "prod"}, "no room")}
    source = comparable(description(TagList=[{"Key": k, "Value": "prod"} for k in ("env", "team")]))

    def found(**changes: Any) -> dict[str, tuple[bool, str]]:
        rows = differences(source, comparable(description("copy", **changes)), {}, "", False, fitted)
        return {row["name"]: (row["expected"], row["because"]) for row in rows}

    assert found(Iops=1_000) == {"Iops": (True, "too small"), "Tags": (True, "no room")}
    assert found(TagList=[])["Tags"] == (False, "nobody asked for it")


def test_the_harnesss_own_tags_and_awss_are_no_difference_and_others_are() -> None:
    same = [{"Key": "env", "Value": "prod"}, {"Key": "dr:run", "Value": "r"}]
    assert differing(TagList=same) == {}
    assert list(differing(TagList=[])) == ["Tags"]


def test_order_and_case_and_what_is_left_out_make_no_difference() -> None:
    assert differing(EnabledCloudwatchLogsExports=["postgresql", "upgrade"]) == {}
    assert differing(PreferredMaintenanceWindow="Sun:04:00-Sun:04:30") == {}
    assert differing(MultiTenant=False) == {}


def test_only_what_an_instance_lacks_is_modified() -> None:
    wanted = {"MonitoringInterval": 60, "PreferredMaintenanceWindow": "mon:01:00-mon:01:30"}
    assert missing(wanted, SOURCE) == {"PreferredMaintenanceWindow": "mon:01:00-mon:01:30"}
