"""The RDS driver against the lab's endpoint, with real PostgreSQL behind it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dr.domain.errors import DrError, ProviderError, RefusedError
from dr.domain.model import Call, Purpose, Verb
from dr.drivers.aws.config import Credentials
from dr.drivers.rds.points import iso
from dr.drivers.rds.provider import RdsProvider
from dr.drivers.rds.settings import tags
from dr.lab.rds.faults import DROP
from tests.integration import rds_endpoint
from tests.integration.rds_endpoint import PASSWORD, SOURCE, Endpoint, eventually, finish, identity, perform, request

NIGHT = Verb("restore", {"to": {"snapshot": "latest"}})
LATEST = Verb("restore", {"to": {"time": "latest"}})
ON_CALL = Purpose.RESTORE


@pytest.fixture(scope="module")
def shared() -> Iterator[Endpoint]:
    with rds_endpoint.endpoint() as one:
        yield one


@pytest.fixture
def rds(shared: Endpoint) -> Iterator[Endpoint]:
    """The shared endpoint; afterwards only the source is there."""
    yield shared
    shared.remove_copies()


@dataclass(frozen=True)
class Deleted:
    """An endpoint whose source is gone, and what was planned by verb while it was there."""

    at: Endpoint
    before: list[tuple[Verb, dict[str, Any]]]


@pytest.fixture(scope="module")
def gone() -> Iterator[Deleted]:
    with rds_endpoint.endpoint() as one:
        provider = one.provider()
        night = one.client.pages("DescribeDBSnapshots", "DBSnapshots", {})[0]["SnapshotDatabaseTime"]
        eventually(lambda: one.describe(SOURCE).get("LatestRestorableTime", 0) > night)
        before = [(verb, plan(provider, verb, ON_CALL)["restore"].args["parameters"]) for verb in (NIGHT, LATEST)]
        one.remove(SOURCE)
        yield Deleted(one, before)


@pytest.fixture
def deleted(gone: Deleted) -> Iterator[Deleted]:
    """The endpoint without its source; afterwards nothing else is there."""
    yield gone
    gone.at.remove_copies()


def plan(
    provider: RdsProvider, verb: Verb = NIGHT, purpose: Purpose = Purpose.DRILL, run: str = "r1"
) -> dict[str, Call]:
    """The calls of ``verb`` by their ids, and on call of the verb ``configure`` that belongs to it."""
    facts = provider.look(request(verb, purpose))
    verbs = [verb, replace(verb, name="configure")] if purpose is ON_CALL else [verb]
    return {call.id: call for one in verbs for call in provider.propose(one, facts, identity(run, purpose))}


def test_a_drill_restores_last_nights_snapshot_apart_from_its_source_and_leaves_nothing(rds: Endpoint) -> None:
    with rds.source() as source:
        source.execute("create table if not exists later (id int)")
    provider = rds.provider()
    calls = plan(provider)
    restored = perform(provider, calls["restore"])
    configured = perform(provider, calls["configure"])
    with rds.connect(restored.result["host"], restored.result["port"]) as copy:
        assert copy.execute("select to_regclass('later')").fetchone() == (None,), "the snapshot is older"
    row = rds.describe(restored.result["identifier"])
    assert tags(row)["dr:run"] == "r1"
    assert "env" not in tags(row)
    assert (row["BackupRetentionPeriod"], row["DeletionProtection"]) == (0, False)
    assert [group["VpcSecurityGroupId"] for group in row["VpcSecurityGroups"]] == ["sg-0drill0000000000a"]
    unexpected = [item for item in configured.observations[0].value if not item["expected"]]
    assert unexpected == []
    assert calls["restore"].undo is not None
    perform(provider, calls["restore"].undo)
    assert list(rds.rows()) == [SOURCE]


def test_an_on_call_restore_is_configured_as_its_source(rds: Endpoint) -> None:
    provider = rds.provider()
    calls = plan(provider, purpose=ON_CALL)
    restored = perform(provider, calls["restore"])
    configured = perform(provider, calls["configure"])
    assert [item for item in configured.observations[0].value if not item["expected"]] == []
    row, source = rds.describe(restored.result["identifier"]), rds.describe(SOURCE)
    for name in ("PreferredMaintenanceWindow", "BackupRetentionPeriod", "DeletionProtection", "DBSubnetGroup"):
        assert row[name] == source[name]
    assert tags(row)["env"] == "prod"
    assert row["DbiResourceId"] != source["DbiResourceId"]


def test_a_point_in_time_restore_holds_its_second_and_no_more(rds: Endpoint) -> None:
    with rds.source() as source:
        source.execute("create table if not exists moments (at timestamptz)")
        for _ in range(25):
            source.execute("insert into moments values (clock_timestamp())")
            time.sleep(0.1)
        row = source.execute("select extract(epoch from min(at))::float8 from moments").fetchone()
    assert row is not None
    second = math.floor(row[0]) + 1
    provider = rds.provider()
    calls = plan(provider, Verb("restore", {"to": {"time": second}}))
    if "await-restorable" in calls:
        perform(provider, calls["await-restorable"])
    restored = perform(provider, calls["restore"])
    assert (restored.result["kind"], restored.result["recovery_point"]) == ("time", float(second))
    with rds.source() as source, rds.connect(restored.result["host"], restored.result["port"]) as copy:
        counted = "select count(*) from moments where at <= to_timestamp(%s)"
        expected = source.execute(counted, (second,)).fetchone()
        assert copy.execute("select count(*) from moments").fetchone() == expected
    assert restored.result["replay_seconds"] >= 0


def test_the_latest_restorable_time_holds_all_up_to_the_point_it_names(rds: Endpoint) -> None:
    with rds.source() as source:
        source.execute("create table if not exists latest (at timestamptz)")
        source.execute("insert into latest values (clock_timestamp())")
        row = source.execute("select extract(epoch from max(at))::float8 from latest").fetchone()
    assert row is not None
    eventually(lambda: rds.describe(SOURCE)["LatestRestorableTime"] > row[0] + 1)
    provider = rds.provider()
    restored = perform(provider, plan(provider, LATEST)["restore"])
    assert restored.result["recovery_point"] >= row[0]
    with rds.connect(restored.result["host"], restored.result["port"]) as copy:
        assert copy.execute("select count(*) from latest").fetchone() == (1,)


@pytest.mark.parametrize("number", [0, 1], ids=["the night's snapshot", "the latest time"])
def test_a_source_that_was_deleted_is_restored_from_its_profile(deleted: Deleted, number: int) -> None:
    provider, (verb, before) = deleted.at.provider(), deleted.before[number]
    calls = plan(provider, verb, ON_CALL)
    after = calls["restore"].args["parameters"]
    named = ("SourceDBInstanceIdentifier", "SourceDBInstanceAutomatedBackupsArn")
    assert {k: v for k, v in after.items() if k not in named} == {k: v for k, v in before.items() if k not in named}
    restored = perform(provider, calls["restore"])
    configured = perform(provider, calls["configure"])
    assert [item for item in configured.observations[0].value if not item["expected"]] == []
    with deleted.at.connect(restored.result["host"], restored.result["port"]) as copy:
        assert copy.execute("select 1").fetchone() == (1,)


def test_a_deleted_source_without_a_profile_asks_for_what_nobody_knows(deleted: Deleted) -> None:
    with pytest.raises(RefusedError, match=r"no profile .*CopyTagsToSnapshot, DBParameterGroupName, .*fallback:"):
        plan(deleted.at.provider("elsewhere"), purpose=ON_CALL)


def test_a_create_whose_answer_was_lost_makes_one_instance(rds: Endpoint) -> None:
    provider = rds.provider()
    calls = plan(provider)
    rds.fail(DROP, action="RestoreDBInstanceFromDBSnapshot")
    restored = perform(provider, calls["restore"])
    assert sorted(rds.rows()) == sorted([SOURCE, restored.result["identifier"]])


def test_throttling_that_outlasts_the_client_is_waited_out(rds: Endpoint) -> None:
    provider = rds.provider()
    calls = plan(provider)
    rds.fail("Throttling", calls=4, action="RestoreDBInstanceFromDBSnapshot")
    assert perform(provider, calls["restore"]).done


def test_a_restore_is_resumed_by_a_driver_that_knows_nothing_of_the_first(rds: Endpoint) -> None:
    rds.faults.delay_restores(1.0)
    first = rds.provider()
    calls = plan(first, purpose=ON_CALL)
    first.apply(calls["restore"], calls["restore"].args)
    second = rds.provider()
    again = plan(second, purpose=ON_CALL, run="r2")
    assert again["restore"].args["identifier"] == calls["restore"].args["identifier"]
    assert perform(second, again["restore"]).result["recovery_point"] == calls["restore"].args["recovery_point"]
    assert len(rds.rows()) == 2


def test_a_second_restore_of_the_source_under_way_is_refused(rds: Endpoint) -> None:
    rds.faults.delay_restores(1.0)
    first = rds.provider()
    call = plan(first, purpose=ON_CALL)["restore"]
    first.apply(call, call.args)
    with pytest.raises(RefusedError, match=r"not finished: readmission-db-restored-r1 \(creating\) of run r1"):
        plan(rds.provider(), purpose=Purpose.DRILL, run="r2")


def test_undo_waits_for_a_copy_that_is_still_being_created(rds: Endpoint) -> None:
    rds.faults.delay_restores(1.0)
    provider = rds.provider()
    call = plan(provider)["restore"]
    provider.apply(call, call.args)
    assert call.undo is not None
    perform(provider, call.undo)
    assert list(rds.rows()) == [SOURCE]


def test_undo_refuses_what_somebody_else_made_under_the_name(rds: Endpoint) -> None:
    provider = rds.provider()
    call = plan(provider)["restore"]
    parameters = {**call.args["parameters"], "Tags": [{"Key": "env", "Value": "prod"}]}
    rds.client.call(call.operation, parameters)
    with pytest.raises(RefusedError, match="somebody else made it"):
        provider.apply(call, call.args)
    assert call.undo is not None
    with pytest.raises(RefusedError, match="not a drill's copy"):
        provider.apply(call.undo, call.undo.args)
    assert call.args["identifier"] in rds.rows()


def test_a_failed_restore_ends_with_the_state_and_is_undone(rds: Endpoint) -> None:
    provider = rds.provider()
    call = plan(provider)["restore"]
    restored = perform(provider, call)
    with rds.store.changing() as state:
        state.instances[restored.result["identifier"]].forced = "storage-full"
    with pytest.raises(ProviderError, match="is storage-full"):
        finish(provider, call, restored.result)
    assert call.undo is not None
    perform(provider, call.undo)
    assert list(rds.rows()) == [SOURCE]


def test_the_master_secret_is_set_anew_and_the_old_one_no_longer_works(rds: Endpoint) -> None:
    verb = Verb("restore", {"to": {"snapshot": "latest"}, "reset_master": True})
    provider = rds.provider()
    calls = plan(provider, verb)
    restored = perform(provider, calls["restore"])
    rds.password_file.write_text("second-master-password\n")
    try:
        configured = perform(provider, calls["configure"])
        host, port = restored.result["host"], restored.result["port"]
        with rds.connect(host, port, "second-master-password") as copy:
            assert copy.execute("select 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError), rds.connect(host, port, PASSWORD):
            pass
        assert "second-master-password" not in repr((calls, restored, configured))
    finally:
        rds.password_file.write_text(PASSWORD + "\n")


def test_adopting_leaves_an_ordinary_instance(rds: Endpoint) -> None:
    provider = rds.provider()
    restored = perform(provider, plan(provider, purpose=ON_CALL)["restore"]).result["identifier"]
    provider.seal_tag(restored, "r1", "met")
    assert tags(rds.describe(restored))["dr:sealed"] == "met"
    provider.adopt(restored, "r1")
    assert tags(rds.describe(restored)) == {"env": "prod"}


def test_an_expired_copy_is_removed_by_a_machine_that_never_knew_its_run(rds: Endpoint) -> None:
    first = rds.provider()
    perform(first, plan(first)["restore"])
    other = rds.provider()
    nobody = frozenset[str]()
    assert other.orphans(time.time(), nobody, nobody) == ()
    (call,) = other.orphans(time.time() + 90_000, nobody, nobody)
    perform(other, call)
    assert list(rds.rows()) == [SOURCE]


def begin(provider: RdsProvider, verb: Verb) -> None:
    call = plan(provider, verb)["restore"]
    provider.apply(call, call.args)


def refusal(rds: Endpoint, verb: Verb = NIGHT, **changes: object) -> str:
    """The sentence that ends a restore with these settings of the target; nothing may be made."""
    before = list(rds.rows())
    provider = rds.provider(**changes)
    with pytest.raises(DrError) as caught:
        begin(provider, verb)
    assert list(rds.rows()) == before
    assert isinstance(caught.value, RefusedError)
    assert caught.value.hint
    return str(caught.value)


def test_wrong_credentials_account_and_region_are_refused_in_a_sentence(rds: Endpoint, tmp_path: Path) -> None:
    wrong = tmp_path / "credentials"
    wrong.write_text("[lab]\naws_access_key_id = AKIAWRONG\naws_secret_access_key = wrong-secret-key\n")
    assert "does not accept the credentials" in refusal(rds, credentials=Credentials(str(wrong), "lab"))
    wrong.write_text(f"[lab]\naws_access_key_id = {rds.account.access_key}\naws_secret_access_key = wrong-secret-key\n")
    sentence = refusal(rds, credentials=Credentials(str(wrong), "lab"))
    assert "SignatureDoesNotMatch" in sentence
    assert "wrong-secret-key" not in sentence
    assert f"belong to account {rds.account.id}, not to 999999999999" in refusal(rds, account="999999999999")
    assert "valid region" in refusal(rds, region="us-east-1")


def test_expired_and_denied_credentials_are_refused_in_a_sentence(rds: Endpoint) -> None:
    rds.fail("ExpiredToken", action="GetCallerIdentity")
    assert "have expired" in refusal(rds)
    rds.fail("AccessDenied", action="RestoreDBInstanceFromDBSnapshot")
    assert "may not do this" in refusal(rds)


def test_what_rds_refuses_is_told_with_what_to_do(rds: Endpoint) -> None:
    with rds.store.changing() as state:
        quota, state.quota = state.quota, 1
    try:
        assert "quota of instances" in refusal(rds)
    finally:
        with rds.store.changing() as state:
            state.quota = quota
    missing_group = {"DBSubnetGroupName": "nowhere", "VpcSecurityGroupIds": ["sg-0drill0000000000a"]}
    assert "no such subnet group" in refusal(rds, restored=missing_group)
    two_networks = {"DBSubnetGroupName": "default", "VpcSecurityGroupIds": ["sg-0drill0000000000a"]}
    assert "do not go together" in refusal(rds, restored=two_networks)


def test_wrong_recovery_points_are_refused_in_a_sentence(rds: Endpoint) -> None:
    now = time.time()
    assert "no snapshot 'nope'" in refusal(rds, Verb("restore", {"to": {"snapshot": "nope"}}))
    assert "in the future" in refusal(rds, Verb("restore", {"to": {"time": now + 600}}))
    assert f"{iso(now - 90_000)} cannot be restored" in refusal(rds, Verb("restore", {"to": {"time": now - 90_000}}))
    assert "no available snapshot of other-db" in refusal(rds, instance="other-db")


def test_a_snapshot_in_the_making_is_refused(rds: Endpoint) -> None:
    rds.faults.delay_backups(120.0)
    named = {"DBSnapshotIdentifier": "half", "DBInstanceIdentifier": SOURCE}
    try:
        rds.client.call("CreateDBSnapshot", named)
        assert "half is creating" in refusal(rds, Verb("restore", {"to": {"snapshot": "half"}}))
    finally:
        rds.faults.delay_backups(0.0)
        eventually(
            lambda: rds.client.call("DeleteDBSnapshot", {"DBSnapshotIdentifier": "half"}, ("InvalidDBSnapshotState",))
        )
        eventually(lambda: rds.describe(SOURCE)["DBInstanceStatus"] == "available")


def test_an_endpoint_that_is_gone_is_named_and_a_poll_leaves_it_to_the_deadline(rds: Endpoint) -> None:
    provider = rds.provider()
    call = plan(provider)["restore"]
    result = provider.apply(call, call.args)
    nowhere = "http://127.0.0.1:1"
    progress = rds.provider(endpoint=nowhere).poll(call, result)
    assert not progress.done
    assert nowhere in progress.note
    with pytest.raises(ProviderError, match=nowhere):
        rds.provider(endpoint=nowhere).confirm_identity()
    finish(provider, call, result)
