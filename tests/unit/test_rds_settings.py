"""What an instance is set to, and what differs afterwards."""

from typing import Any

from dr.drivers.rds_settings import comparable, differences, missing
from tests.unit.rds_support import description

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


def test_a_parameter_group_that_waits_for_a_reboot_is_a_difference() -> None:
    groups = [{"DBParameterGroupName": "readmission15", "ParameterApplyStatus": "pending-reboot"}]
    assert list(differing(DBParameterGroups=groups)) == ["ParameterApplyStatus"]


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
