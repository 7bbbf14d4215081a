"""Which replica is promoted and why, what a promotion comes down to, and what is done of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dr.app.restore import fitted
from dr.app.terms import terms
from dr.config.model import Target
from dr.domain.errors import DrError, ProviderError, RefusedError, UnreachableError
from dr.domain.model import Call, Effect, Facts, Grant, Plan, Purpose, Request, RunIdentity, Verb
from dr.drivers.postgres.servers import Standing
from dr.drivers.rds.instances import GONE_SECONDS
from dr.drivers.rds.naming import instance
from dr.drivers.rds.promotion import Answer, choose, lsn, propose
from dr.drivers.rds.provider import RdsProvider
from dr.drivers.rds.restore import LISTED_SECONDS, bears
from dr.drivers.rds.takeover import ASK_AGAIN_SECONDS
from dr.engine.guard import Consent, guard
from dr.engine.references import fill
from dr.engine.references import named as with_names
from tests.unit.drivers.rds.support import (
    NOW,
    SOURCE,
    FakeRds,
    FakeServers,
    VirtualClock,
    context,
    description,
    facts,
    replica,
    run,
    snapshot,
)
from tests.unit.drivers.rds.support import target as a_target

ONE, TWO = f"{SOURCE}-replica-1", f"{SOURCE}-replica-2"
LAB: dict[str, Any] = {"endpoint": "http://127.0.0.1:9", "grants": (Grant.DISPOSABLE,)}
BEST, ON_CALL = Verb("promote"), run(Purpose.RESTORE)
NIGHT = snapshot("night", NOW - 20_000, SnapshotType="automated")
SILENT = ProviderError("The database cannot be reached: timeout expired.", transient=True)


def named(name: str) -> Verb:
    return Verb("promote", {"replica": name})


def known(*rows: dict[str, Any]) -> Facts:
    return facts(NIGHT, instances=rows or (description(), replica(ONE), replica(TWO)))


def planned(
    verb: Verb = BEST, who: RunIdentity = ON_CALL, seen: Facts | None = None, target: Target | None = None
) -> tuple[Call, ...]:
    return propose("prod", target or a_target(), 600.0, verb, seen or known(), who)


def following(received: int, replayed: int | None = None, behind: float = 1.0) -> Standing:
    return Standing(True, received, received if replayed is None else replayed, behind)


# -- choosing


def test_the_replica_that_has_received_most_is_chosen_and_the_reason_given() -> None:
    chosen = choose([Answer(ONE, 0x16B3748), Answer(TWO, 0x1_0000_0000)])
    assert chosen.identifier == TWO
    assert chosen.because == f"{TWO} has received 1/0, {ONE} 0/16B3748"
    assert choose([Answer(TWO, 5), Answer(ONE, 5)]).identifier == ONE, "equal ones: always the same"


def test_a_replica_that_cannot_be_asked_loses_and_none_that_can_is_none() -> None:
    chosen = choose([Answer(ONE, None, "timeout expired."), Answer(TWO, 7)])
    assert chosen.identifier == TWO
    assert chosen.because == f"{TWO} has received 0/7; {ONE} could not be asked (timeout expired)"
    assert choose([Answer(ONE, None, "timeout expired.")]).identifier == ""
    assert choose([Answer(ONE, None, "refused"), Answer(TWO, 7)], named=ONE).identifier == ""


def test_a_named_replica_is_taken_and_what_that_costs_is_told() -> None:
    chosen = choose([Answer(ONE, 10), Answer(TWO, 25)], named=ONE)
    assert chosen.identifier == ONE
    assert chosen.because.startswith(f"it was named, though {TWO} has 15 bytes more: ")


def test_a_log_sequence_number_is_written_as_postgresql_writes_it() -> None:
    assert lsn(0xAB_00C0FFEE) == "AB/C0FFEE"


def test_a_replica_that_rds_does_not_promote_is_compared_and_named() -> None:
    chosen = choose([Answer(ONE, 7), Answer(TWO, 7, barred="modifying")])
    assert chosen.identifier == ONE
    assert chosen.because == f"{ONE} has received 0/7, {TWO} 0/7 (it is modifying)"
    only = choose([Answer(ONE, None, "refused"), Answer(TWO, 7, barred="modifying")])
    assert only.identifier == ""
    assert f"{TWO} has received 0/7 (it is modifying), but RDS does not promote it so" in only.because


def test_where_a_replica_that_rds_does_not_promote_has_received_more_the_best_is_none() -> None:
    answers = [Answer(ONE, 10), Answer(TWO, 25, barred="modifying")]
    best = choose(answers)
    assert best.identifier == ""
    assert f"{TWO} has received 15 bytes more than {ONE}, and RDS does not promote it while it is mod" in best.because
    assert best.hint == f"Wait until {TWO} is available, or give them up: --promote {ONE}."
    assert choose(answers, named=ONE).identifier == ONE


# -- planning


def test_a_promotion_on_call_asks_both_replicas_and_keeps_the_sources_backups() -> None:
    ask, promote = planned()
    assert [place["identifier"] for place in ask.args["replicas"]] == [ONE, TWO]
    assert (ask.effect, ask.touches) == (Effect.READS, ())
    assert promote.id == "promote"
    assert promote.args["identifier"] == "${choose-replica.identifier}"
    assert promote.args["parameters"] == {"BackupRetentionPeriod": 30, "PreferredBackupWindow": "02:00-02:30"}
    assert promote.touches == (instance(ONE), instance(TWO))
    assert (promote.effect, promote.undo, promote.deadline) == (Effect.TAKES_OVER, None, 2400.0)
    assert promote.args["old"] == {"host": f"{SOURCE}.example.com", "port": 5432, "resource_id": "db-SOURCE"}


def test_a_named_replica_alone_is_touched_and_the_others_are_asked_to_compare() -> None:
    ask, promote = planned(named(TWO))
    assert promote.touches == (instance(TWO),)
    assert ask.args["named"] == TWO
    assert [place["identifier"] for place in ask.args["replicas"]] == [TWO, ONE]


@pytest.mark.parametrize(
    ("verb", "rows", "words"),
    [
        (named("nobody"), (), "There is no instance nobody in eu-central-1"),
        (named(SOURCE), (), f"{SOURCE} is no read replica, so it cannot take the place of {SOURCE}. Replicas of"),
        (
            named("far"),
            (description(), description("other"), replica("far", "other")),
            f"far is a replica of other, so it cannot take the place of {SOURCE}. Replicas of {SOURCE}: none",
        ),
        (named(ONE), (description(), replica(ONE, DBInstanceStatus="creating")), f"{ONE} is creating"),
        (BEST, (description(),), f"{SOURCE} has no read replica"),
        (BEST, (description("other"),), f"There is no instance {SOURCE}"),
        (BEST, (description(), replica(ONE, DBInstanceStatus="storage-full")), f"{ONE} is storage-full"),
    ],
)
def test_what_cannot_be_promoted_is_refused_in_one_sentence(
    verb: Verb, rows: tuple[dict[str, Any], ...], words: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        planned(verb, seen=known(*rows))
    assert words in str(caught.value)


def test_a_replica_that_is_backed_up_is_waited_for_and_one_that_failed_is_left_out() -> None:
    rows = (description(), replica(ONE, DBInstanceStatus="backing-up"), replica(TWO, DBInstanceStatus="failed"))
    ask, promote = planned(seen=known(*rows))
    assert promote.touches == (instance(ONE),)
    assert [(place["identifier"], place.get("barred")) for place in ask.args["replicas"]] == [
        (ONE, None),
        (TWO, "failed"),
    ]


def test_a_source_that_is_gone_leaves_its_replicas() -> None:
    assert planned(seen=known(replica(ONE)))[1].args["parameters"] == {"BackupRetentionPeriod": 1}


# -- whose it is


def refusals(calls: tuple[Call, ...], target: Target, who: RunIdentity) -> tuple[str, ...]:
    plan = Plan(Request("prod", (), who.purpose), who, calls, ())
    return guard(plan, terms(target), known(), Consent(SOURCE))


def test_on_call_the_real_replica_is_promoted_with_consent_by_identifier() -> None:
    calls = planned()
    assert refusals(calls, a_target(), ON_CALL) == ()
    plan = Plan(Request("prod", (), Purpose.RESTORE), ON_CALL, calls, ())
    assert "--yes is for disposable" in guard(plan, terms(a_target()), known(), Consent(yes=True))[0]


def test_a_drill_promotes_a_replica_of_a_copy_of_its_own_and_never_the_real_one() -> None:
    calls = planned(Verb("promote", {"copy": True}), run())
    restore, configure, replicate, ask, promote = calls
    copy, made = restore.args["identifier"], f"{SOURCE}-replica-{run().id}"
    assert restore.args["parameters"]["BackupRetentionPeriod"] == 1, "RDS replicates only what it backs up"
    assert (configure.id, replicate.args["source"]) == ("configure", copy)
    assert replicate.makes == promote.touches == (instance(made),)
    assert replicate.touches == restore.makes == (instance(copy),)
    assert [place["identifier"] for place in ask.args["replicas"]] == [made]
    assert promote.phase == "disaster"
    assert {*map(instance, (ONE, TWO, SOURCE))}.isdisjoint(
        ref for call in calls for ref in (*call.touches, *call.makes)
    )
    assert replicate.args["tags"]["dr:run"] == run().id
    assert replicate.undo is not None
    assert replicate.undo.touches == replicate.makes
    assert restore.undo is not None
    assert refusals(calls, a_target(), run()) == ()


@pytest.mark.parametrize("length", [1, 27, 28, 33, 40, 63])
def test_whatever_a_drill_makes_bears_its_runs_name_however_long_the_sources_is(length: int) -> None:
    source = "readmission-production-eu-central-1-postgresql-fifteen-standby0"[:length].rstrip("-")
    seen = facts(snapshot("night", NOW - 60.0, source=source), instances=(description(source),))
    calls = propose("prod", a_target(instance=source), 60.0, Verb("promote", {"copy": True}), seen, run())
    made = [ref.name for call in calls for ref in call.makes]
    assert len({*made}) == 2
    assert all(len(name) <= 63 and bears(name, run().id) for name in made)


def test_a_drill_on_a_disposable_target_promotes_its_own_replica() -> None:
    lab = a_target(**LAB)
    calls = planned(who=run(), target=lab)
    assert [call.id for call in calls] == ["choose-replica", "promote"]
    assert "old" not in calls[1].args, "it lost the old source by itself"
    assert refusals(calls, lab, run()) == ()


def test_a_plan_that_would_promote_a_real_replica_in_a_drill_is_refused() -> None:
    refused = refusals(planned(), a_target(), run())
    assert refused == tuple(
        f"promote would take over instance {name}, a replica of the source, which is not disposable."
        for name in (ONE, TWO)
    )


def test_on_call_replicas_are_made_of_what_was_promoted_and_not_before() -> None:
    promotion, rebuilding = planned(), planned(Verb("rebuild"))
    assert refusals(with_names((*promotion, *rebuilding)), a_target(), ON_CALL) == ()
    early = [replace(call, touches=(instance(ONE),)) for call in rebuilding if call.touches]
    assert (
        f"would build on instance {ONE}, a replica of the source"
        in refusals((*early, *promotion), a_target(), ON_CALL)[0]
    )


def test_a_promotion_that_goes_on_is_not_refused_for_what_it_has_done() -> None:
    calls = with_names((*planned(), *planned(Verb("rebuild"))))
    plan = Plan(Request("prod", (), Purpose.RESTORE), ON_CALL, calls, ())
    after = known(description(), description(ONE), replica(TWO))
    assert guard(plan, terms(a_target()), after, Consent(SOURCE), frozenset({"choose-replica", "promote"})) == ()
    anew = guard(plan, terms(a_target()), after, Consent(SOURCE))
    assert f"promote would take over instance {ONE}, which this run did not make" in anew[0]


# -- rebuilding


def test_every_replica_is_rebuilt_under_a_new_name_with_its_own_settings_and_none_is_deleted() -> None:
    backup, one, two = planned(Verb("rebuild"))
    assert backup.args["identifier"] == "${promote.identifier}"
    assert one.args["identifier"] == f"{ONE}-{run().id}"
    assert one.args["instead_of"] == ONE
    assert one.args["source"] == "${promote.identifier}"
    parameters = one.args["parameters"]
    assert (parameters["DBParameterGroupName"], parameters["MultiAZ"]) == ("readmission15", False)
    assert "DBSubnetGroupName" not in parameters, "RDS refuses one in the same region"
    assert "BackupRetentionPeriod" not in parameters
    assert one.args["tags"] == {"env": "prod", "dr:run": run().id, "dr:target": "prod"}
    assert one.undo is None
    assert two.makes == (instance(f"{TWO}-{run().id}"),)


def test_of_an_old_replica_a_new_one_has_what_rds_takes_and_what_does_not_fit_is_named() -> None:
    tags = [{"Key": f"cost:{n:02}", "Value": "v"} for n in range(49)]
    old = replica(ONE, StorageType="gp3", Iops=3_000, StorageThroughput=125, TagList=tags)
    _, one = planned(Verb("rebuild"), seen=known(description(), old))
    assert one.args["parameters"]["StorageType"] == "gp3"
    assert not {"Iops", "StorageThroughput"} & set(one.args["parameters"]), "RDS takes none for gp3 below 400 GiB"
    assert len(one.args["tags"]) <= 50
    assert {"dr:run", "dr:target"} <= set(one.args["tags"])
    missing = {tag["Key"] for tag in tags} - set(one.args["tags"])
    (sentence,) = fitted(Plan(Request("prod", (), Purpose.RESTORE), ON_CALL, (one,), ()))
    assert missing
    assert sentence.startswith(f"Tags of {ONE}-{run().id}: a resource bears 50 tags")
    assert sentence.endswith(f"left out were {', '.join(sorted(missing))}.")


def test_what_a_drill_rebuilds_is_undone() -> None:
    one = planned(Verb("rebuild"), run(), target=a_target(**LAB))[1]
    assert one.undo is not None
    assert one.undo.operation == "DeleteDBInstance"
    assert one.args["tags"]["dr:purpose"] == "drill"
    assert "dr:expires" in one.args["tags"]


def test_a_name_does_not_grow_with_every_rebuilding() -> None:
    again = replica(f"{ONE}-20261101-010101-beef")
    assert planned(Verb("rebuild"), seen=known(description(), again))[1].makes == (instance(f"{ONE}-{run().id}"),)


def test_a_drill_on_a_copy_rebuilds_no_real_replica() -> None:
    assert [call.id for call in planned(Verb("rebuild", {"copy": True}), run())] == ["first-backup"]


@pytest.mark.parametrize("verb", ["promote", "rebuild", "lag"])
def test_a_drill_of_the_real_one_is_refused_where_it_may_not_be_broken_and_the_other_drill_named(verb: str) -> None:
    with pytest.raises(RefusedError, match="'dr drill run db-replica-promotion-copy'"):
        planned(Verb(verb), run())


# -- doing


class Stage:
    def __init__(self, home: Path, **standings: Standing | DrError) -> None:
        self.clock = VirtualClock()
        self.fake = FakeRds(description(), replica(ONE), replica(TWO))
        told: dict[str, Any] = {ONE: following(10), TWO: following(25), **standings}
        self.servers = FakeServers()
        self.servers.standings.update(told)
        self.provider = RdsProvider(context(home, self.clock), self.fake, self.servers)  # type: ignore[arg-type]
        self.seen = self.provider.look(Request("prod", (BEST,), Purpose.RESTORE))
        self.effects: dict[str, Any] = {}

    def calls(self, verb: Verb = BEST) -> dict[str, Call]:
        return {call.id: call for call in self.provider.propose(verb, self.seen, ON_CALL)}

    def begin(self, call: Call) -> dict[str, Any]:
        return dict(self.provider.apply(call, fill(call.args, self.effects)))

    def choose(self, verb: Verb = BEST) -> dict[str, Any]:
        call = self.calls(verb)["choose-replica"]
        done = self.provider.poll(call, self.begin(call))
        assert done.done
        self.effects["choose-replica"] = done.result
        return dict(done.result)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_replicas_are_asked_and_the_choice_is_observed(stage: Stage) -> None:
    call = stage.calls()["choose-replica"]
    done = stage.provider.poll(call, stage.begin(call))
    assert done.result["identifier"] == TWO
    assert done.result["received"] == {ONE: 10, TWO: 25}
    (seen,) = done.observations
    assert (seen.what, seen.value["chosen"], seen.value["because"]) == ("replica-choice", TWO, done.result["because"])


def test_a_replica_that_takes_writes_already_is_none(stage: Stage) -> None:
    stage.servers.standings[TWO] = Standing(False, None, None, None)
    assert "it takes writes, so it is no replica any more" in stage.choose()["because"]
    assert stage.effects["choose-replica"]["identifier"] == ONE


def test_where_no_replica_answers_it_is_refused_after_a_while(stage: Stage) -> None:
    stage.servers.standings.update({ONE: SILENT, TWO: SILENT})
    call = stage.calls()["choose-replica"]
    begun = stage.begin(call)
    assert not stage.provider.poll(call, begun).done
    stage.clock.at += ASK_AGAIN_SECONDS
    with pytest.raises(RefusedError, match=rf"No replica of {SOURCE} can be promoted: {ONE} could not be asked"):
        stage.provider.poll(call, begun)


def test_a_replica_that_is_modified_and_has_received_more_keeps_the_best_from_being_promoted(stage: Stage) -> None:
    stage.fake.rows[TWO]["DBInstanceStatus"] = "modifying"
    stage.seen = stage.provider.look(Request("prod", (BEST,), Purpose.RESTORE))
    call = stage.calls()["choose-replica"]
    begun = stage.begin(call)
    assert "15 bytes more" in stage.provider.poll(call, begun).note
    stage.clock.at += ASK_AGAIN_SECONDS
    with pytest.raises(RefusedError, match=rf"{TWO} has received 15 bytes more .* --promote {ONE}\."):
        stage.provider.poll(call, begun)
    assert stage.choose(named(ONE))["identifier"] == ONE


def test_a_replica_without_an_endpoint_is_not_looked_for_on_this_machine(stage: Stage) -> None:
    stage.fake.rows[TWO].update({"DBInstanceStatus": "creating", "Endpoint": {}})
    stage.seen = stage.provider.look(Request("prod", (BEST,), Purpose.RESTORE))
    assert f"{TWO} could not be asked (it has no endpoint)" in stage.choose()["because"]


def test_those_that_cannot_be_promoted_are_asked_first_as_the_source_may_still_write(stage: Stage) -> None:
    stage.fake.rows[ONE]["DBInstanceStatus"] = "modifying"
    stage.seen = stage.provider.look(Request("prod", (BEST,), Purpose.RESTORE))
    assert list(stage.choose()["received"]) == [ONE, TWO]
    stage.fake.rows[ONE]["DBInstanceStatus"], stage.fake.rows[TWO]["DBInstanceStatus"] = "available", "modifying"
    stage.servers.standings[ONE] = following(30)
    stage.seen = stage.provider.look(Request("prod", (BEST,), Purpose.RESTORE))
    assert list(stage.choose()["received"]) == [TWO, ONE]


def test_a_promotion_is_done_once_it_takes_writes_and_is_no_replica(stage: Stage) -> None:
    stage.choose()
    call = stage.calls()["promote"]
    begun = stage.begin(call)
    assert stage.fake.made("PromoteReadReplica") == [
        {"DBInstanceIdentifier": TWO, "BackupRetentionPeriod": 30, "PreferredBackupWindow": "02:00-02:30"}
    ]
    row = stage.fake.rows[TWO]
    stage.clock.at += 5
    assert "still a replica of readmission-db" in stage.provider.poll(call, begun).note
    del row["ReadReplicaSourceDBInstanceIdentifier"]
    row["DBInstanceStatus"] = "backing-up"
    stage.servers.standings[TWO] = following(25, 20)
    assert "5 bytes are to be replayed" in stage.provider.poll(call, begun).note
    stage.servers.standings[TWO] = Standing(False, 25, 25, None)
    stage.clock.at += 1
    done = stage.provider.poll(call, begun)
    assert done.done
    assert (done.result["identifier"], done.result["host"]) == (TWO, f"{TWO}.example.com")
    assert done.result["promoted_at"] == NOW + 6
    assert done.result["at"] == NOW
    assert done.milestones == {"promoted": NOW + 6, "available": NOW + 6}
    seen, replaced = done.observations
    assert (replaced.what, replaced.value["server"]) == ("replaced", SOURCE)
    assert (seen.what, seen.value["server"]) == ("failover", TWO)
    assert (seen.value["promoted_at"], seen.value["promotion_started_at"]) == (NOW + 6, NOW)
    assert "has received" in seen.value["because"]


def test_the_moment_of_promotion_is_when_it_took_writes_and_not_when_rds_said_so(stage: Stage) -> None:
    stage.choose()
    call = stage.calls()["promote"]
    begun = stage.begin(call)
    stage.servers.standings[TWO] = Standing(False, None, None, None)
    stage.clock.at += 3
    assert not stage.provider.poll(call, begun).done
    stage.clock.at += 60
    del stage.fake.rows[TWO]["ReadReplicaSourceDBInstanceIdentifier"]
    stage.fake.rows[TWO]["DBInstanceStatus"] = "available"
    assert stage.provider.poll(call, begun).result["promoted_at"] == NOW + 3


def test_a_replica_that_is_being_backed_up_is_promoted_afterwards(stage: Stage) -> None:
    stage.choose()
    stage.fake.rows[TWO]["DBInstanceStatus"] = "backing-up"
    call = stage.calls()["promote"]
    begun = stage.begin(call)
    assert not stage.fake.made("PromoteReadReplica")
    assert "backing-up" in stage.provider.poll(call, begun).note
    stage.fake.rows[TWO]["DBInstanceStatus"] = "available"
    stage.provider.poll(call, begun)
    assert len(stage.fake.made("PromoteReadReplica")) == 1


@pytest.mark.parametrize("lost", ["!InternalFailure", "ServiceUnavailable"])
def test_a_promotion_whose_answer_was_lost_is_asked_for_until_it_is_taken_up(stage: Stage, lost: str) -> None:
    stage.choose()
    stage.fake.fail["PromoteReadReplica"] = [lost]
    assert stage.begin(stage.calls()["promote"])["at"] == NOW
    assert stage.fake.rows[TWO]["DBInstanceStatus"] == "modifying"


def test_a_promotion_that_is_done_already_is_found(stage: Stage) -> None:
    stage.choose()
    del stage.fake.rows[TWO]["ReadReplicaSourceDBInstanceIdentifier"]
    stage.servers.standings[TWO] = Standing(False, None, None, None)
    call = stage.calls()["promote"]
    assert stage.provider.poll(call, stage.begin(call)).done
    assert not stage.fake.made("PromoteReadReplica")


def test_a_login_that_the_promoted_server_refuses_ends_the_wait(stage: Stage) -> None:
    stage.choose()
    call = stage.calls()["promote"]
    begun = stage.begin(call)
    del stage.fake.rows[TWO]["ReadReplicaSourceDBInstanceIdentifier"]
    stage.servers.standings[TWO] = SILENT
    assert "cannot be reached" in stage.provider.poll(call, begun).note
    stage.servers.standings[TWO] = RefusedError("Logging in was refused.")
    with pytest.raises(RefusedError, match="Logging in was refused"):
        stage.provider.poll(call, begun)


def test_a_promoted_server_that_starts_is_waited_for_and_one_that_nothing_reaches_was_not_seen(stage: Stage) -> None:
    stage.choose()
    call = stage.calls()["promote"]
    begun = stage.begin(call)
    del stage.fake.rows[TWO]["ReadReplicaSourceDBInstanceIdentifier"]
    for said, blind in (
        (ProviderError("FATAL: the database system is not yet accepting connections."), False),
        (UnreachableError("The connection was refused.", transient=True), True),
    ):
        stage.servers.standings[TWO] = said
        seen = stage.provider.poll(call, begun)
        assert (seen.done, seen.blind, str(said) in seen.note) == (False, blind, True)


def promoted(stage: Stage) -> None:
    stage.effects["promote"] = {"identifier": TWO, "backups": []}


def backup(name: str, at: float, status: str = "available") -> dict[str, Any]:
    return {"DBSnapshotIdentifier": name, "Status": status, "SnapshotCreateTime": at}


def promote(stage: Stage) -> None:
    """To the end."""
    call = stage.calls()["promote"]
    begun = stage.begin(call)
    stage.fake.rows[TWO].pop("ReadReplicaSourceDBInstanceIdentifier", None)
    stage.fake.rows[TWO]["DBInstanceStatus"] = "available"
    stage.servers.standings[TWO] = Standing(False, None, None, None)
    stage.effects["promote"] = stage.provider.poll(call, begun).result


def test_a_first_backup_is_none_that_was_there_when_the_promotion_was_asked_for(stage: Stage) -> None:
    stage.choose()
    nightly, fresh = backup("nightly", NOW - 1), backup("first", NOW + 9, "creating")
    stage.fake.listings["DBSnapshots"] = [backup("old", NOW - 5000), nightly]
    promote(stage)
    assert stage.effects["promote"]["backups"] == ["old", "nightly"]
    call = stage.calls(Verb("rebuild"))["first-backup"]
    begun = stage.begin(call)
    stage.fake.listings["DBSnapshots"] += [fresh]
    assert "no backup since its promotion" in stage.provider.poll(call, begun).note
    fresh["Status"] = "available"
    assert stage.provider.poll(call, begun).result["snapshot"] == "first"


def test_a_backup_that_was_under_way_when_the_promotion_had_to_wait_is_not_its_first(stage: Stage) -> None:
    stage.choose()
    call, row = stage.calls()["promote"], stage.fake.rows[TWO]
    row["DBInstanceStatus"] = "backing-up"
    begun = stage.begin(call)
    stage.fake.listings["DBSnapshots"] = [backup("nightly", NOW + 1)]
    row["DBInstanceStatus"] = "available"
    stage.provider.poll(call, begun)
    assert len(stage.fake.made("PromoteReadReplica")) == 1
    del row["ReadReplicaSourceDBInstanceIdentifier"]
    row["DBInstanceStatus"] = "available"
    stage.servers.standings[TWO] = Standing(False, None, None, None)
    assert stage.provider.poll(call, begun).result["backups"] == ["nightly"]


def test_of_a_promotion_that_was_done_already_the_backups_of_before_its_planning_are_none(stage: Stage) -> None:
    stage.choose()
    del stage.fake.rows[TWO]["ReadReplicaSourceDBInstanceIdentifier"]
    stage.fake.listings["DBSnapshots"] = [
        backup("nightly", NOW - 1),
        backup("first", NOW + 9),
        backup("begun", 0, "creating"),
    ]
    promote(stage)
    assert stage.effects["promote"]["backups"] == ["nightly"]


def test_a_replica_is_rebuilt_and_the_one_that_was_promoted_is_not(stage: Stage) -> None:
    promoted(stage)
    calls = stage.calls(Verb("rebuild"))
    own = calls[f"rebuild-{TWO}"]
    assert stage.provider.poll(own, stage.begin(own)).result == {"skipped": True, "instead_of": TWO}
    other = calls[f"rebuild-{ONE}"]
    begun = stage.begin(other)
    (made,) = stage.fake.made("CreateDBInstanceReadReplica")
    assert (made["DBInstanceIdentifier"], made["SourceDBInstanceIdentifier"]) == (f"{ONE}-{run().id}", TWO)
    row = stage.fake.rows[f"{ONE}-{run().id}"]
    assert "creating" in stage.provider.poll(other, begun).note
    row["DBInstanceStatus"] = "available"
    row["StatusInfos"] = [{"StatusType": "read replication", "Normal": False, "Status": "error"}]
    assert "replication: error" in stage.provider.poll(other, begun).note
    row["StatusInfos"][0]["Normal"] = True
    assert stage.provider.poll(other, begun).result["host"] == f"{ONE}-{run().id}.example.com"
    stage.begin(other)
    assert len(stage.fake.made("CreateDBInstanceReadReplica")) == 1, "repeated, it is found"


def test_a_rebuilt_replicas_name_that_somebody_else_took_is_refused(stage: Stage) -> None:
    promoted(stage)
    stage.fake.rows[f"{ONE}-{run().id}"] = replica(f"{ONE}-{run().id}")
    with pytest.raises(RefusedError, match="exists already, and this run did not make it"):
        stage.begin(stage.calls(Verb("rebuild"))[f"rebuild-{ONE}"])


def test_a_replica_that_vanishes_while_it_is_made_ends_the_wait(stage: Stage) -> None:
    promoted(stage)
    call = stage.calls(Verb("rebuild"))[f"rebuild-{ONE}"]
    begun = stage.begin(call)
    del stage.fake.rows[f"{ONE}-{run().id}"]
    stage.clock.at += LISTED_SECONDS + 1
    assert "not listed yet" in stage.provider.poll(call, begun).note  # once is no proof
    stage.clock.at += GONE_SECONDS
    with pytest.raises(ProviderError, match="is gone while it was made"):
        stage.provider.poll(call, begun)


# -- lag


def lags(stage: Stage) -> dict[str, Any]:
    call = stage.calls(Verb("lag"))["lag"]
    done = stage.provider.poll(call, stage.begin(call))
    assert done.done
    return {one.path: one.value for one in done.observations}


def test_a_replica_that_has_everything_lags_by_nothing_however_idle_its_source(stage: Stage) -> None:
    stage.servers.log = 25
    stage.servers.standings.update({ONE: following(20, 15, behind=7.0), TWO: following(25, behind=900.0)})
    stage.fake.lags[ONE] = 6.0
    found = lags(stage)
    assert list(found) == [TWO, ONE], "the greatest lag last"
    assert (found[TWO]["seconds"], found[TWO]["bytes"]) == (0.0, 0)
    assert (found[ONE]["seconds"], found[ONE]["bytes"], found[ONE]["cloudwatch"]) == (7.0, 5, 6.0)


def test_cloudwatch_tells_of_a_replica_that_cannot_be_asked_unless_it_does_not_replicate(stage: Stage) -> None:
    stage.servers.standings.update({ONE: SILENT, TWO: SILENT})
    stage.fake.lags.update({ONE: 4.0, TWO: -1.0})
    found = lags(stage)
    assert found[ONE]["seconds"] == 4.0
    assert TWO not in found, "what is not known is not observed"


def test_a_metric_that_may_not_be_read_takes_nothing_from_the_lag(stage: Stage) -> None:
    stage.fake.fail["GetMetricData"] = ["AccessDenied", "AccessDenied"]
    assert lags(stage)[ONE]["seconds"] == 1.0
