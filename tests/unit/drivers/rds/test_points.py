"""Which recovery point a restore takes."""

import pytest

from dr.domain.errors import RefusedError, UsageError
from dr.domain.model import Purpose, RecoveryPoint
from dr.drivers.rds.points import BEFORE_DISASTER, choose
from tests.unit.drivers.rds.support import ACCOUNT, NOW, REGION, SOURCE, description, facts, snapshot, window

NIGHT = snapshot("rds:readmission-db-night", NOW - 20_000, SnapshotType="automated")
EARLIER = snapshot("rds:readmission-db-earlier", NOW - 90_000, SnapshotType="automated")
MANUAL = snapshot("before-migration", NOW - 5_000)
REACH = window(NOW - 1e6, NOW - 120)


def test_the_latest_snapshot_of_a_drill_is_last_nights_automated_one() -> None:
    choice = choose({"snapshot": "latest"}, SOURCE, facts(EARLIER, NIGHT, MANUAL), Purpose.DRILL)
    assert (choice.point, choice.covers) == (NIGHT, NOW - 20_000)
    assert choice.parameters == {"DBSnapshotIdentifier": "rds:readmission-db-night"}


def test_the_latest_snapshot_on_call_holds_the_most_data() -> None:
    assert choose({"snapshot": "latest"}, SOURCE, facts(EARLIER, NIGHT, MANUAL), Purpose.RESTORE).point == MANUAL


def test_a_drill_without_an_automated_snapshot_takes_a_manual_one() -> None:
    assert choose({"snapshot": "latest"}, SOURCE, facts(MANUAL), Purpose.DRILL).point == MANUAL


def test_the_latest_snapshot_is_never_one_in_the_making_or_of_another_instance() -> None:
    making = snapshot("newer", NOW, status="creating")
    foreign = snapshot("foreign", NOW, source="other-db")
    assert choose({"snapshot": "latest"}, SOURCE, facts(making, foreign, NIGHT), Purpose.RESTORE).point == NIGHT


def test_no_snapshot_names_region_and_account() -> None:
    with pytest.raises(RefusedError, match=f"{SOURCE} in {REGION} .account {ACCOUNT}"):
        choose({"snapshot": "latest"}, SOURCE, facts(), Purpose.RESTORE)


def test_a_named_snapshot_is_found_in_any_case_and_by_its_arn() -> None:
    given = facts(NIGHT, MANUAL)
    assert choose({"snapshot": "BEFORE-migration"}, SOURCE, given, Purpose.RESTORE).point == MANUAL
    arn = str(MANUAL.attributes["DBSnapshotArn"])
    assert choose({"snapshot": arn}, SOURCE, given, Purpose.RESTORE).point == MANUAL


def test_a_snapshot_that_does_not_exist_is_refused() -> None:
    with pytest.raises(RefusedError, match="no snapshot 'nope'"):
        choose({"snapshot": "nope"}, SOURCE, facts(NIGHT), Purpose.RESTORE)


def test_a_clusters_snapshot_is_refused_with_what_restores_it() -> None:
    arn = f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster-snapshot:night"
    with pytest.raises(RefusedError, match="is the snapshot of a cluster, and dr restores none") as caught:
        choose({"snapshot": arn}, SOURCE, facts(NIGHT), Purpose.RESTORE)
    assert "restore-db-cluster-from-snapshot" in caught.value.hint


def test_a_snapshot_in_the_making_is_refused_with_its_progress() -> None:
    making = snapshot("half", NOW, status="creating", PercentProgress=40)
    with pytest.raises(RefusedError, match=r"half is creating \(40% done\)"):
        choose({"snapshot": "half"}, SOURCE, facts(making), Purpose.RESTORE)


def test_another_instances_snapshot_is_refused() -> None:
    foreign = snapshot("foreign", NOW - 9, source="other-db")
    with pytest.raises(RefusedError, match="one of other-db, not of readmission-db"):
        choose({"snapshot": "foreign"}, SOURCE, facts(foreign), Purpose.RESTORE)


def test_a_shared_snapshot_is_named_by_its_arn_and_refused_when_encrypted() -> None:
    arn = f"arn:aws:rds:{REGION}:999999999999:snapshot:theirs"
    shared = snapshot("theirs", NOW - 9, DBSnapshotArn=arn, SnapshotType="shared")
    assert choose({"snapshot": arn}, SOURCE, facts(shared), Purpose.RESTORE).parameters == {"DBSnapshotIdentifier": arn}
    locked = snapshot("theirs", NOW - 9, DBSnapshotArn=arn, SnapshotType="shared", Encrypted=True)
    with pytest.raises(RefusedError, match="Copy it first: aws rds copy-db-snapshot"):
        choose({"snapshot": arn}, SOURCE, facts(locked), Purpose.RESTORE)


def test_a_time_inside_the_window_is_taken_to_the_whole_second() -> None:
    choice = choose({"time": NOW - 1000.25}, SOURCE, facts(REACH), Purpose.RESTORE)
    assert (choice.point.kind, choice.covers, choice.waits) == ("window", float(int(NOW - 1000.25)), False)
    assert choice.parameters == {"SourceDBInstanceIdentifier": SOURCE}


@pytest.mark.parametrize("ago", [120, 60, 0])
def test_a_time_that_has_passed_but_is_not_restorable_yet_waits(ago: int) -> None:
    assert choose({"time": NOW - ago}, SOURCE, facts(REACH), Purpose.RESTORE).waits


def test_a_time_in_the_future_is_refused() -> None:
    with pytest.raises(RefusedError, match="in the future"):
        choose({"time": NOW + 1}, SOURCE, facts(REACH), Purpose.RESTORE)


@pytest.mark.parametrize("to", [253_402_351_199.0, -62_135_600_400.0, 1e300, float("nan"), float("inf")])
def test_a_time_that_no_calendar_has_is_a_usage_error(to: float) -> None:
    with pytest.raises(UsageError, match="is no time that could be restored"):
        choose({"time": to}, SOURCE, facts(REACH), Purpose.RESTORE)


def test_a_time_before_the_window_is_refused_with_the_window() -> None:
    with pytest.raises(RefusedError, match="reach from 2025-09-27T19:06:40Z to 2025-10-09T08:51:20Z"):
        choose({"time": NOW - 2e6}, SOURCE, facts(REACH), Purpose.RESTORE)


def test_a_source_without_automated_backups_has_no_time_to_restore() -> None:
    with pytest.raises(RefusedError, match="no automated backups"):
        choose({"time": "latest"}, SOURCE, facts(NIGHT), Purpose.RESTORE)


def test_a_window_that_ends_before_it_begins_is_none() -> None:
    with pytest.raises(RefusedError, match="no automated backups"):
        choose({"time": "latest"}, SOURCE, facts(window(NOW - 100, NOW - 120)), Purpose.RESTORE)


def test_the_latest_time_of_a_live_source_is_fixed_when_applied() -> None:
    choice = choose({"time": "latest"}, SOURCE, facts(REACH), Purpose.RESTORE)
    assert choice.covers is None
    assert choice.parameters == {"SourceDBInstanceIdentifier": SOURCE, "UseLatestRestorableTime": True}


def test_a_source_that_is_gone_is_restored_from_what_is_retained_and_never_waited_for() -> None:
    arn = f"arn:aws:rds:{REGION}:{ACCOUNT}:auto-backup:ab-1"
    retained = window(NOW - 1e6, NOW - 500, "retained", DBInstanceAutomatedBackupsArn=arn)
    given = facts(retained, instances=())
    choice = choose({"time": "latest"}, SOURCE, given, Purpose.RESTORE)
    assert choice.parameters == {"SourceDBInstanceAutomatedBackupsArn": arn, "UseLatestRestorableTime": True}
    assert choice.covers == NOW - 500
    with pytest.raises(RefusedError, match="cannot be restored"):
        choose({"time": NOW - 400}, SOURCE, given, Purpose.RESTORE)


def test_retained_backups_without_an_arn_are_named_by_the_resource_id() -> None:
    given = facts(window(NOW - 1e6, NOW - 500, "retained"), instances=())
    assert choose({"time": NOW - 600}, SOURCE, given, Purpose.RESTORE).parameters == {
        "SourceDbiResourceId": "db-SOURCE"
    }


def test_before_the_disaster_is_filled_from_the_ledger_and_waits() -> None:
    choice = choose({"time": "before-disaster"}, SOURCE, facts(REACH), Purpose.DRILL)
    assert (choice.covers, choice.waits) == (BEFORE_DISASTER, True)


@pytest.mark.parametrize(
    "to", [None, {}, {"snapshot": "a", "time": 1}, {"time": "yesterday"}, {"time": True}, "latest"]
)
def test_a_malformed_wish_is_a_usage_error(to: object) -> None:
    with pytest.raises(UsageError):
        choose(to, SOURCE, facts(REACH, NIGHT), Purpose.DRILL)


@pytest.mark.parametrize(
    ("asked", "points", "words"),
    [
        ({"snapshot": "latest"}, (REACH,), "Restore a time: --latest"),
        ({"time": "latest"}, (NIGHT,), "Restore a snapshot: --latest-snapshot"),
        ({"snapshot": "latest"}, (), "neither a snapshot nor an automated backup"),
        ({"time": "latest"}, (), "neither a snapshot nor an automated backup"),
    ],
)
def test_nobody_is_sent_from_what_is_not_there_to_what_is_not_there_either(
    asked: dict[str, str], points: tuple[RecoveryPoint, ...], words: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        choose(asked, SOURCE, facts(*points), Purpose.RESTORE)
    assert words in refused.value.hint
    assert ("--latest" in refused.value.hint) == bool(points)


@pytest.mark.parametrize("asked", [{"snapshot": "latest"}, {"time": "latest"}])
def test_a_clusters_member_is_told_that_its_backups_are_the_clusters(asked: dict[str, str]) -> None:
    member = facts(instances=(description(DBClusterIdentifier="aurora-1"),))
    with pytest.raises(RefusedError, match="member of the cluster aurora-1"):
        choose(asked, SOURCE, member, Purpose.RESTORE)
