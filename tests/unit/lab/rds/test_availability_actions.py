"""Multi-AZ as the API shows it: conversions, failovers asked for and not, a full disk; over servers that remember."""

from __future__ import annotations

from pathlib import Path

import pytest

from dr.lab.rds.servers import Standby
from tests.unit.lab.rds.fakes import fake_lab
from tests.unit.lab.rds.test_states import NEW, Driver

ONE = {"DBInstanceIdentifier": "one"}


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    return Driver(*fake_lab(tmp_path, begin_at_once=False))


@pytest.fixture
def multi(driver: Driver) -> Driver:
    driver("CreateDBInstance", **NEW)
    driver.work()
    return driver


@pytest.fixture
def single(driver: Driver) -> Driver:
    driver("CreateDBInstance", **{**NEW, "MultiAZ": False})
    driver.work()
    return driver


def key(driver: Driver) -> str:
    return str(driver.instance()["DbiResourceId"])


def calls(driver: Driver) -> list[object]:
    return [call[0] for call in driver.servers.calls]


def watch(driver: Driver, seconds: float) -> None:
    """A look every half second, each step done before the next."""
    for _ in range(int(seconds * 2)):
        driver.lab.work.watch()
        driver.work()
        driver.clock.at += 0.5


def test_a_multi_az_instance_has_its_standby_before_it_is_available(driver: Driver) -> None:
    driver("CreateDBInstance", **NEW)
    assert "add_standby" not in calls(driver)
    driver.work()
    assert calls(driver)[:2] == ["create", "add_standby"]
    assert (driver.instance()["MultiAZ"], driver.instance()["SecondaryAvailabilityZone"]) == (True, "eu-central-1b")


def test_a_conversion_waits_for_the_window_unless_it_is_applied_immediately(single: Driver) -> None:
    single("ModifyDBInstance", **ONE, MultiAZ=True)
    single.work()
    assert single.instance()["PendingModifiedValues"] == {"MultiAZ": True}
    assert "add_standby" not in calls(single)
    shown = single("ModifyDBInstance", **ONE, MultiAZ=True, ApplyImmediately=True)["DBInstance"]
    assert (shown["MultiAZ"], shown["PendingModifiedValues"]) == (False, {"MultiAZ": True})
    single.work()
    one = single.instance()
    assert (one["MultiAZ"], one["SecondaryAvailabilityZone"]) == (True, "eu-central-1b")
    assert (one["PendingModifiedValues"], one["DBInstanceStatus"]) == ({}, "available")
    assert "Finished applying modification to convert to a Multi-AZ DB instance." in single.messages()


def test_a_pending_conversion_is_taken_back(single: Driver) -> None:
    single("ModifyDBInstance", **ONE, MultiAZ=True)
    single.work()
    single("ModifyDBInstance", **ONE, MultiAZ=False)
    single.work()
    assert single.instance()["PendingModifiedValues"] == {}


def test_a_conversion_that_fails_stays_pending(single: Driver) -> None:
    single.servers.broken = "add_standby"
    single("ModifyDBInstance", **ONE, MultiAZ=True, ApplyImmediately=True)
    single.work()
    one = single.instance()
    assert (one["MultiAZ"], one["PendingModifiedValues"]) == (False, {"MultiAZ": True})
    assert one["DBInstanceStatus"] == "available"


def test_back_to_single_az_there_is_no_secondary_zone(multi: Driver) -> None:
    multi("ModifyDBInstance", **ONE, MultiAZ=False, ApplyImmediately=True)
    multi.work()
    assert multi.instance()["MultiAZ"] is False
    assert multi.instance().get("SecondaryAvailabilityZone") is None
    assert "drop_standby" in calls(multi)
    assert "Finished applying modification to convert to a standard (Single-AZ) DB instance." in multi.messages()


def test_a_reboot_restarts_in_place_and_one_with_a_failover_swaps_the_zones(multi: Driver) -> None:
    multi("RebootDBInstance", **ONE)
    multi.work()
    assert "fail_over" not in calls(multi)
    assert multi("RebootDBInstance", **ONE, ForceFailover=True)["DBInstance"]["DBInstanceStatus"] == "rebooting"
    multi.work()
    assert multi.instance()["AvailabilityZone"] == "eu-central-1a"
    watch(multi, 3)
    assert multi.instance()["AvailabilityZone"] == "eu-central-1b"
    assert multi.instance()["SecondaryAvailabilityZone"] == "eu-central-1a"
    failovers = [e["Message"] for e in multi("DescribeEvents", EventCategories=["failover"])["Events"]]
    assert failovers == [
        "Multi-AZ instance failover started.",
        "Multi-AZ failover to standby complete - DNS propagation may take a few minutes.",
        "Multi-AZ instance failover completed.",
        "The user requested a failover of the DB instance.",
    ]


def test_a_failover_is_followed_by_a_backup_and_a_standby(multi: Driver) -> None:
    before = len(multi.snapshots())
    multi("RebootDBInstance", **ONE, ForceFailover=True)
    multi.work()
    assert len(multi.snapshots()) == before + 1
    watch(multi, 3)
    assert calls(multi)[-1] == "rejoin"
    assert multi.servers.standbys[key(multi)].synchronous


def test_a_failover_cannot_be_forced_where_it_has_no_meaning(single: Driver) -> None:
    assert single.refused("RebootDBInstance", **ONE, ForceFailover=True) == "InvalidParameterCombination"
    single("RebootDBInstance", **ONE)
    assert single.refused("RebootDBInstance", **ONE) == "InvalidDBInstanceState"


def test_a_failover_to_an_unfit_standby_is_abandoned(multi: Driver) -> None:
    multi.servers.standbys[key(multi)] = Standby(streaming=True, synchronous=False, silent=0.0)
    multi("RebootDBInstance", **ONE, ForceFailover=True)
    multi.work()
    assert "fail_over" not in calls(multi)
    assert multi.instance()["DBInstanceStatus"] == "available"
    assert multi.messages()[-1].startswith("Abandoning user requested failover")


@pytest.mark.parametrize(
    ("condition", "seconds", "because"),
    [("gone", 5, "unreachable due to loss of network"), ("hung", 10, "busy and unresponsive")],
)
def test_a_lost_primary_is_failed_over_from(multi: Driver, condition: str, seconds: float, because: str) -> None:
    multi.servers.conditions[key(multi)] = condition  # type: ignore[assignment]
    watch(multi, seconds)
    assert calls(multi).count("fail_over") == 1
    assert any(because in message for message in multi.messages())
    assert multi.instance()["DBInstanceStatus"] == "available"


def test_a_lost_single_az_primary_is_not_promoted_from_nothing(single: Driver) -> None:
    single.servers.conditions[key(single)] = "gone"
    watch(single, 20)
    assert "fail_over" not in calls(single)


def test_an_engine_that_crashed_is_started_in_place(multi: Driver) -> None:
    multi.servers.up.clear()
    watch(multi, 2)
    assert "fail_over" not in calls(multi)
    assert multi.messages()[-3:] == [
        "Recovery of the DB instance has started.",
        "DB instance restarted",
        "Recovery of the DB instance is complete.",
    ]


def test_the_loss_of_the_standby_is_said_and_writes_go_on(multi: Driver) -> None:
    multi.servers.standbys[key(multi)] = Standby(streaming=False, synchronous=True, silent=9.0)
    watch(multi, 1)
    assert "degrade" in calls(multi)
    assert "The Multi-AZ standby is lost; the DB instance goes on without it." in multi.messages()
    watch(multi, 8)
    assert "The Multi-AZ standby is synchronous again." in multi.messages()


def test_a_failover_that_breaks_off_is_tried_again(multi: Driver) -> None:
    multi.servers.conditions[key(multi)] = "gone"
    multi.servers.broken = "fail_over"
    watch(multi, 5)
    assert "Multi-AZ instance failover completed." not in multi.messages()
    multi.servers.broken = ""
    watch(multi, 2)
    assert "Multi-AZ instance failover completed." in multi.messages()
    assert "Recovered from partial failover." in multi.messages()
    assert multi.messages().count("Multi-AZ instance failover started.") == 1


def test_what_is_deleted_meanwhile_is_not_failed_over(multi: Driver) -> None:
    multi("ModifyDBInstance", **ONE, DeletionProtection=False)
    multi.work()
    multi.servers.conditions[key(multi)] = "gone"
    for _ in range(10):
        multi.lab.work.watch()
        multi.clock.at += 0.5
    multi("DeleteDBInstance", **ONE, SkipFinalSnapshot=True)
    multi.work()
    assert "fail_over" not in calls(multi)
    assert multi.refused("DescribeDBInstances", **ONE) == "DBInstanceNotFound"


def test_a_full_disk_is_said_once_and_more_storage_is_the_way_out(single: Driver) -> None:
    single.servers.conditions[key(single)] = "full"
    watch(single, 3)
    assert single.instance()["DBInstanceStatus"] == "storage-full"
    assert sum(message.startswith("Allocated storage has been exhausted") for message in single.messages()) == 1
    assert single.refused("RebootDBInstance", **ONE) == "InvalidDBInstanceState"
    single("ModifyDBInstance", **ONE, AllocatedStorage=21, ApplyImmediately=True)
    assert single.instance()["DBInstanceStatus"] == "modifying"
    single.work()
    assert ("enlarge", key(single)) in single.servers.calls
    single.servers.conditions.clear()
    watch(single, 1)
    assert single.instance()["DBInstanceStatus"] == "available"
    assert single.instance()["AllocatedStorage"] == 22
    assert "Finished applying modification to allocated storage." in single.messages()


def test_an_engine_that_does_not_start_again_is_failed_over_from(multi: Driver) -> None:
    multi.servers.up.clear()
    multi.servers.broken = "start"
    watch(multi, 3)
    assert calls(multi).count("start") == 3
    assert "The primary host of the RDS Multi-AZ instance is unhealthy." in multi.messages()
    assert multi.instance()["DBInstanceStatus"] == "available"
