"""``dr failover`` from request to verdict, against an RDS in memory and in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dr import wiring
from dr.app.ending import Outcome, exit_code
from dr.app.failover import asked, cautions, request, run
from dr.app.prepare import Prepared, accept, prepare
from dr.cli import cli
from dr.cli.common import rendered
from dr.config.context import Context
from dr.config.model import Login, Settings
from dr.domain.errors import (
    DeadlineError,
    DrError,
    HaltedError,
    HiddenStandbyError,
    ProviderError,
    RefusedError,
    UnreachableError,
)
from dr.domain.model import Call, Facts, Grant, Status
from dr.drivers.clients.config import PoolerConfig
from dr.drivers.clients.provider import MovingProvider
from dr.drivers.postgres.servers import Standing
from dr.drivers.rds.provider import RdsProvider
from dr.drivers.service.config import ServiceConfig
from dr.engine.guard import Consent
from dr.evidence.directory import runs
from dr.ports import Provider
from tests.unit.drivers.clients.test_moving import NEW, OLD, FakeLead
from tests.unit.drivers.rds.support import (
    SOURCE,
    FakeRds,
    FakeServers,
    VirtualClock,
    description,
    facts,
    replica,
    target,
)
from tests.unit.drivers.rds.test_failover import ABANDONED, COMPLETED, STARTED

ONE, TWO = f"{SOURCE}-replica-1", f"{SOURCE}-replica-2"
POOLER = PoolerConfig("127.0.0.1", 1, "readmission", Login("admin", "env:X"), "/none")
SETTINGS = Settings(targets={"prod": target(), "pooled": target(pooler=POOLER)})
PRIMARY, UNKNOWN = Standing(False, None, None, None), Status.INCONCLUSIVE
SILENT = UnreachableError("The database cannot be reached: timeout expired.", transient=True)
LOST = Facts(0.0)
"""The provider shows no source any more."""


def tell(_call: Call, _note: str) -> None:
    """Nobody listens."""


class Account(FakeRds):
    """It does what it accepts while somebody sleeps: ``then`` says how."""

    def __init__(self, clock: VirtualClock, *rows: dict[str, Any]) -> None:
        super().__init__(*rows)
        self.clock, self.then = clock, self.fail_over

    def passes(self) -> None:
        for row in list(self.rows.values()):
            if row["DBInstanceStatus"] in ("rebooting", "modifying", "creating"):
                self.then(row)

    def fail_over(self, row: dict[str, Any]) -> None:
        if row["DBInstanceStatus"] == "rebooting":
            self.tells(self.clock.at, STARTED)
            self.tells(self.clock.at + 1, COMPLETED)
        if row.pop("ReadReplicaSourceDBInstanceIdentifier", None) and row["DBInstanceStatus"] == "modifying":
            snapshot = {"DBSnapshotIdentifier": "first", "Status": "available", "SnapshotCreateTime": self.clock.at}
            self.listings["DBSnapshots"] = [snapshot]
        row["DBInstanceStatus"] = "available"


class Night:
    """Somebody on call, and what the account holds."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DR_SECRET", "s")
        monkeypatch.setenv("X", "x")
        self.clock = VirtualClock()
        self.fake = Account(self.clock, description(), replica(ONE), replica(TWO))
        self.servers, self.lead = FakeServers(), FakeLead()
        self.servers.standings.update({ONE: Standing(True, 9, 9, 1.0), TWO: Standing(True, 5, 5, 1.0)})
        sleep = self.clock.sleep

        def slept(seconds: float) -> None:
            sleep(seconds)
            self.fake.passes()

        monkeypatch.setattr(self.clock, "sleep", slept)
        for module in ("prepare", "session"):
            monkeypatch.setattr(f"dr.app.{module}.SystemClock", lambda: self.clock)
        monkeypatch.setattr(wiring, "drivers", self._drivers)
        monkeypatch.setenv("DR_HOME", str(home))

    def _drivers(self, context: Context, _verbs: Collection[str]) -> Mapping[str, Provider]:
        rds = RdsProvider(context, self.fake, self.servers)  # type: ignore[arg-type]
        return {"rds": rds, "clients": MovingProvider(context, {"pooler": self.lead})}

    def prepare(self, promote: str = "", name: str = "prod") -> Prepared:
        wanted = request(name, SETTINGS.targets[name], promote, None)
        return prepare(SETTINGS, wanted, asked(wanted), tell)

    def go(self, promote: str = "", name: str = "prod") -> Outcome:
        return run(accept(self.prepare(promote, name), Consent(SOURCE)))


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Night:
    return Night(tmp_path, monkeypatch)


def effect(outcome: Outcome, call: str) -> Mapping[str, Any]:
    return dict(outcome.run.ledger(VirtualClock()).state().effects[call])


def replaced(outcome: Outcome) -> Mapping[str, Any]:
    """What was seen of the source that a promotion replaced."""
    seen = outcome.run.load(VirtualClock()).latest("replaced")
    return {} if seen is None else dict(seen.value)


def test_what_is_asked_for_and_what_is_measured_of_it() -> None:
    service = ServiceConfig("http://127.0.0.1:1", ("x",), "api", ({},))
    measured = target(pooler=POOLER, service=service, grants=(Grant.MARKERS,))
    wanted = request("prod", measured, "best", None)
    assert [verb.name for verb in wanted.verbs] == ["promote", "move", "measure", "settle", "rebuild"]
    assert asked(wanted) == {"latency": "source", "errors": "source", "split-brain": "source"}
    assert cautions(wanted, LOST) == ()
    standby = request("prod", measured, "", None)
    assert [verb.name for verb in standby.verbs] == ["failover", "measure", "settle"]
    assert asked(standby) == {"latency": "source", "errors": "source"}
    bare = request("prod", target(service=service), ONE, None)
    assert [(verb.name, verb.args) for verb in bare.verbs] == [("promote", {"replica": ONE}), ("rebuild", {})]
    assert [sentence.split(" ")[1] for sentence in cautions(bare, LOST)] == ["target", "service"]
    assert asked(bare) == asked(wanted), "that nobody measures the service is no proof of it"


def test_a_source_that_still_runs_is_named_before_a_promotion_and_what_to_do_instead() -> None:
    wanted = request("prod", target(pooler=POOLER), "best", None)
    shown = facts(instances=(description(SOURCE.upper()), replica(ONE)))
    (runs, _) = cautions(wanted, shown)
    assert f"shows {SOURCE} as available" in runs
    assert "a promotion makes two primaries" in runs
    assert "Fail over instead, by 'dr failover', or keep clients away from it first." in runs
    failing = facts(instances=(description(DBInstanceStatus="storage-full"), replica(ONE)))
    assert len(cautions(wanted, failing)) == 1
    assert len(cautions(request("prod", target(), "", None), shown)) == 1, "the standby is the way then"


def test_a_failover_on_call_is_done_to_the_source_itself(night: Night) -> None:
    outcome = night.go()
    assert effect(outcome, "failover")["promoted_at"] is not None
    assert outcome.error is None
    assert outcome.verdict.status is Status.INCONCLUSIVE, "nobody measured the service"
    assert outcome.run.sealed()
    assert exit_code(outcome) == 4


def test_one_that_rds_abandoned_is_missed_and_no_error(night: Night) -> None:
    def give_up(row: dict[str, Any]) -> None:
        row["DBInstanceStatus"] = "available"
        night.fake.tells(night.clock.at, ABANDONED)

    night.fake.then = give_up
    outcome = night.go()
    assert (outcome.error, outcome.verdict.status, exit_code(outcome)) == (None, Status.MISSED, 1)
    assert [f.objective for f in outcome.verdict.findings] == ["failover"]


def test_one_that_never_comes_is_missed_at_its_deadline(night: Night) -> None:
    night.fake.then = lambda row: row.update(DBInstanceStatus="available")
    outcome = night.go()
    assert isinstance(outcome.error, DeadlineError)
    assert (outcome.verdict.status, exit_code(outcome)) == (Status.MISSED, 1)
    night.fake.then = night.fake.fail_over
    again = night.go()
    assert again.run.id != outcome.run.id, "its time is over: the same command plans anew"
    assert again.error is None


def promoting(night: Night) -> None:
    """Let the first replica take writes once it is promoted."""
    promoted = night.fake.then

    def promote(row: dict[str, Any]) -> None:
        promoted(row)
        if row["DBInstanceIdentifier"] == ONE:
            night.servers.standings[ONE] = PRIMARY

    night.fake.then = promote


@pytest.mark.parametrize(
    ("old", "status", "code"),
    [
        (PRIMARY, Status.MISSED, 1),
        (Standing(True, 9, 9, 1.0), Status.MET, 4),
        (HiddenStandbyError("It is not accepting connections."), Status.MET, 4),
        (SILENT, UNKNOWN, 4),
        (ProviderError("The database took too long: asking how far it is."), UNKNOWN, 4),
        (ProviderError("Terminated by an administrator's command.", transient=True), UNKNOWN, 4),
        (ProviderError("It cannot be reached: FATAL:  sorry, too many clients already.", transient=True), UNKNOWN, 4),
        (RefusedError("Logging in was refused."), UNKNOWN, 4),
    ],
    ids=["primary", "recovering", "hidden", "silent", "too long", "ended", "no room", "login refused"],
)
def test_after_a_promotion_the_old_source_is_asked_whether_it_still_is_a_primary(
    night: Night, old: Standing | DrError, status: Status, code: int
) -> None:
    promoting(night)
    night.servers.standings[SOURCE] = old
    outcome = night.go("best", "pooled")
    found = next(f for f in outcome.verdict.findings if f.objective == "split-brain")
    assert (found.path, found.status) == ("source", status), found.because
    assert outcome.error is None
    assert exit_code(outcome) == code, "nobody measured the service"
    if status is Status.MISSED:
        assert found.because == f"{SOURCE} still answers as a primary: writes may go to both."


@pytest.mark.parametrize("shown", ["deleting", "stopped", "failed", "gone"])
def test_a_source_that_does_not_answer_is_no_primary_where_rds_shows_that_it_does_not_run(
    night: Night, shown: str
) -> None:
    promoting(night)
    night.fake.rows[SOURCE]["DBInstanceStatus"] = shown
    if shown == "gone":
        meanwhile = night.fake.then

        def delete(row: dict[str, Any]) -> None:
            meanwhile(row)
            night.fake.rows.pop(SOURCE, None)

        night.fake.then = delete
    outcome = night.go("best", "pooled")
    found = next(f for f in outcome.verdict.findings if f.objective == "split-brain")
    assert found.status is Status.MET, found.because
    assert found.because.endswith("shows it no more." if shown == "gone" else f"shows it as {shown}.")


@pytest.mark.parametrize("shown", ["available", "stopping", "storage-full", "renamed"])
def test_one_that_does_not_answer_and_may_go_on_is_to_be_fenced(night: Night, shown: str) -> None:
    promoting(night)
    meanwhile = night.fake.then

    def change(row: dict[str, Any]) -> None:
        meanwhile(row)
        if shown == "renamed" and SOURCE in night.fake.rows:
            old = night.fake.rows.pop(SOURCE)
            night.fake.rows["aside"] = {**old, "DBInstanceIdentifier": "aside"}

    if shown != "renamed":
        night.fake.rows[SOURCE]["DBInstanceStatus"] = shown
    night.fake.then = change
    outcome = night.go("best", "pooled")
    found = next(f for f in outcome.verdict.findings if f.objective == "split-brain")
    assert (found.status, exit_code(outcome)) == (UNKNOWN, 4)
    assert f"its provider shows it as {'available' if shown == 'renamed' else shown}: it may go on" in found.because
    assert "Keep clients away from it" in found.because


def test_a_source_that_is_gone_and_was_never_seen_cannot_be_asked(night: Night) -> None:
    promoting(night)
    del night.fake.rows[SOURCE]
    outcome = night.go("best", "pooled")
    assert replaced(outcome)["answer"] == ""
    found = next(f for f in outcome.verdict.findings if f.objective == "split-brain")
    assert (found.status, "is not known" in found.because) == (Status.INCONCLUSIVE, True)


def test_a_promotion_moves_clients_backs_up_and_rebuilds_the_other_replica(night: Night) -> None:
    promoting(night)
    outcome = night.go("best", "pooled")
    assert outcome.error is None
    assert replaced(outcome)["answer"] == "unreachable"
    assert str(night.lead.at) == f"{ONE}.example.com:5432"
    assert effect(outcome, "promote")["because"] == f"{ONE} has received 0/9, {TWO} 0/5"
    assert effect(outcome, f"rebuild-{ONE}")["skipped"]
    assert effect(outcome, f"rebuild-{TWO}")["source"] == ONE
    assert outcome.run.sealed()
    assert not night.fake.made("DeleteDBInstance")
    said = " ".join(rendered("text", outcome.run.load(night.clock), outcome.verdict).split())
    assert f"Primary {ONE}, which listens at {ONE}.example.com:5432, because {ONE} has received 0/9" in said
    assert "failover on pooled" in said
    assert f"{ONE} took over" in said


def test_a_replica_that_never_catches_up_is_missed_and_its_clients_stay_where_they_are(night: Night) -> None:
    night.servers.standings[ONE] = Standing(True, 9, 4, 100.0)
    outcome = night.go(ONE, "pooled")
    assert isinstance(outcome.error, DeadlineError)
    assert "it still recovers, 5 bytes are to be replayed" in str(outcome.error)
    assert (night.lead.at, exit_code(outcome)) == (OLD, 1)


def lost(night: Night) -> Callable[[dict[str, Any]], None]:
    def expire(row: dict[str, Any]) -> None:
        night.fake.fail_over(row)
        night.fake.fail.update({"DescribeDBInstances": ["ExpiredToken"]})

    return expire


def test_credentials_lost_in_the_middle_end_the_run_and_the_same_command_goes_on_without_a_second_failover(
    night: Night,
) -> None:
    night.fake.then = lost(night)
    outcome = night.go()
    assert isinstance(outcome.error, RefusedError)
    assert "The credentials have expired" in str(outcome.error)
    assert outcome.verdict.status is Status.INCONCLUSIVE
    assert exit_code(outcome) == 4
    again = night.go()
    assert again.run.id == outcome.run.id
    assert again.run.sealed()
    assert len(night.fake.made("RebootDBInstance")) == 1


@pytest.mark.parametrize("has_effect", [False, True])
def test_the_same_command_on_another_day_fails_over_anew_and_closes_the_run_that_nobody_finished(
    night: Night, has_effect: bool
) -> None:
    night.fake.then = lost(night)
    first = night.go()
    if has_effect:
        first.run.ledger(night.clock).append("effect", "failover", {})
    assert not first.run.sealed()
    night.clock.sleep(86_400.0)
    night.fake.then = night.fake.fail_over
    ready = night.prepare()
    assert ready.closes is not None
    assert f"Run {first.run.id}, which failed over at 2025-" in ready.closes.over
    assert not first.run.sealed(), "to look is to change nothing"
    again = run(accept(ready, Consent(SOURCE)))
    assert again.run.id != first.run.id
    assert len(night.fake.made("RebootDBInstance")) == 2
    assert first.run.sealed()
    assert any(
        "was never finished. A new one begins." in str(entry.data) for entry in first.run.ledger(night.clock).entries()
    )


def test_a_promotion_that_rds_refuses_leaves_nothing_to_go_on_with(night: Night) -> None:
    night.fake.fail["PromoteReadReplica"] = ["AccessDenied"]
    with pytest.raises(RefusedError, match="The credentials may not do this"):
        night.go("best")
    assert runs(night_home(night))[-1].sealed()
    assert night.lead.at == OLD


def test_a_halt_is_heard_and_told(night: Night) -> None:
    def halt(_row: dict[str, Any]) -> None:
        (runs(Path(str(night_home(night))))[-1]).halt("somebody said so")

    night.fake.then = halt
    outcome = night.go()
    assert isinstance(outcome.error, HaltedError)
    assert "The failover was stopped before its end: somebody said so. The same command" in str(outcome.error)
    assert exit_code(outcome) == 130
    said = " ".join(rendered("text", outcome.run.load(night.clock), outcome.verdict).split())
    assert "taken over, though one was asked to: it may still do so" in said
    assert "INCONCLUSIVE a server was asked to take over" in said


def night_home(_night: Night) -> Path:
    from dr.config.load import home

    return home()


@pytest.mark.parametrize(
    ("promote", "change", "words"),
    [
        ("", lambda fake: fake.rows.clear(), "There is no instance readmission-db"),
        ("", lambda fake: fake.rows[SOURCE].update(MultiAZ=False), "is Single-AZ"),
        ("", lambda fake: fake.tells(VirtualClock().at - 9, STARTED), "is under way since"),
        ("", lambda fake: fake.rows[SOURCE].update(DBInstanceStatus="modifying"), "is modifying, not available"),
        ("nobody", lambda fake: fake.rows.pop(TWO), "There is no instance nobody"),
        (TWO, lambda fake: fake.rows[TWO].update(ReadReplicaSourceDBInstanceIdentifier="x"), "is a replica of x"),
    ],
)
def test_bad_input_is_refused_in_planning_and_nothing_is_begun(
    night: Night, promote: str, change: Callable[[FakeRds], None], words: str
) -> None:
    change(night.fake)
    with pytest.raises(RefusedError, match=words) as caught:
        night.prepare(promote)
    assert caught.value.exit_code == 3
    assert not {"RebootDBInstance", "PromoteReadReplica"} & {name for name, _ in night.fake.calls}


def test_without_consent_nothing_is_changed(night: Night) -> None:
    with pytest.raises(RefusedError, match="--yes is for disposable targets"):
        accept(night.prepare(), Consent(yes=True))
    assert not night.fake.made("RebootDBInstance")


def test_the_command_prints_its_plan_and_what_is_to_be_known(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dr.wiring.settings", lambda: SETTINGS)
    shown = CliRunner().invoke(cli, ["failover", "--promote", "best", "--target", "prod", "--plan"])
    assert shown.exit_code == 0, shown.output
    assert f"rds.PromoteReadReplica touches instance {ONE}, instance {TWO} until promoted" in shown.output
    assert "lead clients to the promoted replica yourself" in shown.output
    assert f"dr: The provider shows {SOURCE} as available" in shown.stderr
    assert "refused" not in shown.output.replace("RDS refused", "")
    assert NEW != OLD
