"""Undoing what RDS does not list, or not yet, though it is there: through the engine, in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dr.app import cleanup
from dr.domain.errors import HaltedError
from dr.domain.model import Call, Facts, Plan, Purpose, Request, RunIdentity, Verb
from dr.drivers.rds.instances import APART_SECONDS
from dr.drivers.rds.provider import RdsProvider
from dr.drivers.rds.restore import UNLISTED_SECONDS, deletion
from dr.engine.perform import Engine, perform, unwind
from dr.evidence.directory import RunDirectory
from dr.evidence.model import RunRecord
from tests.unit.drivers.rds.support import (
    NOW,
    SOURCE,
    FakeRds,
    LateRds,
    VirtualClock,
    context,
    description,
    facts,
    run,
    snapshot,
)

NIGHT = snapshot("night", NOW - 20_000, SnapshotType="automated")
SEEN: Facts = facts(NIGHT, instances=(description(),))
RESTORE = Verb("restore", {"to": {"snapshot": "latest"}})
PROMOTE = Verb("promote", {"copy": True})
KILLED_AFTER = 5.0
"""Seconds from the intent to the clean-up."""


class Stage:
    """A drill of ``verb`` that was killed, and the engine of the clean-up after it."""

    def __init__(self, home: Path, verb: Verb, call: str) -> None:
        self.clock = VirtualClock()
        self.fake = LateRds(self.clock)
        self.provider = RdsProvider(context(home, self.clock), self.fake)  # type: ignore[arg-type]
        self.calls = self.provider.propose(verb, SEEN, run())
        (self.call,) = [one for one in self.calls if one.id == call]
        self.name = str(self.call.args["identifier"])
        self.notes: list[str] = []
        directory = RunDirectory(home / "run")
        directory.path.mkdir()
        ledger = directory.ledger(self.clock)
        ledger.append("accepted")
        self.engine = Engine(directory, ledger, {"rds": self.provider}, self.clock, self.tell, lambda: "")

    def tell(self, _call: Call, note: str) -> None:
        self.notes.append(note)

    def killed(self, *kinds: str) -> None:
        """After these entries of the call; the clean-up comes a little later."""
        for kind in kinds:
            self.engine.ledger.append(kind, self.call.id)
        self.clock.at += KILLED_AFTER

    def make(self, listed_after: float) -> None:
        """RDS accepted it, and lists it ``listed_after`` seconds from the start."""
        tags = [{"Key": "dr:run", "Value": run().id}, {"Key": "dr:purpose", "Value": "drill"}]
        self.fake.rows[self.name] = description(self.name, TagList=tags, DeletionProtection=False)
        self.fake.hidden[self.name] = NOW + listed_after

    def unwind(self) -> float:
        """Seconds that it took; nothing is left open."""
        began = self.clock.at
        assert unwind(self.engine, self.calls) == ()
        assert self.engine.ledger.state().open == ()
        return self.clock.at - began


@pytest.fixture(params=[(RESTORE, "restore"), (PROMOTE, "restore"), (PROMOTE, "replicate")], ids=str)
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Stage:
    return Stage(tmp_path, *request.param)


def test_a_copy_that_is_known_only_after_the_kill_is_waited_for_and_deleted(stage: Stage) -> None:
    stage.killed("intent")
    stage.make(listed_after=150.0)
    stage.fake.deaf = True
    assert 145.0 <= stage.unwind() < 155.0
    assert list(stage.fake.rows) == [SOURCE]
    assert any(f"{stage.name}: not listed, though RDS may list it yet for 17" in note for note in stage.notes)


@pytest.mark.parametrize("kinds", [("intent",), ("intent", "effect")])
def test_a_copy_that_is_not_listed_is_deleted_by_its_identifier(stage: Stage, kinds: tuple[str, ...]) -> None:
    stage.killed(*kinds)
    stage.make(listed_after=150.0)
    assert stage.unwind() < 10.0
    assert list(stage.fake.rows) == [SOURCE]


@pytest.mark.parametrize("empty", [1, 2, 3])
def test_an_empty_list_is_no_proof_that_a_copy_is_gone(stage: Stage, empty: int) -> None:
    stage.killed("intent", "effect")
    stage.make(listed_after=0.0)
    stage.fake.empty = empty
    assert stage.unwind() < 10.0
    assert list(stage.fake.rows) == [SOURCE]


@pytest.mark.parametrize("deletes", [False, True])
def test_one_answer_that_there_is_no_copy_is_no_proof(stage: Stage, deletes: bool) -> None:
    stage.killed("intent", "effect")
    stage.make(listed_after=0.0)
    stage.fake.fail["DescribeDBInstances"] = ["DBInstanceNotFound"]
    stage.fake.fail["DeleteDBInstance"] = ["DBInstanceNotFound"] if deletes else []
    assert stage.unwind() < 10.0
    assert list(stage.fake.rows) == [SOURCE]


def test_two_answers_that_there_is_no_copy_count_only_apart_and_in_a_row(stage: Stage) -> None:
    stage.killed("intent", "effect")
    stage.make(listed_after=0.0)
    assert stage.call.undo is not None
    undone = {**stage.call.undo.args, "undone": {"certain": True}}
    stage.fake.fail["DescribeDBInstances"] = ["DBInstanceNotFound"]
    stage.fake.fail["DeleteDBInstance"] = ["DBInstanceNotFound"]
    result = stage.provider.apply(stage.call.undo, undone)
    assert "is asked once more" in stage.provider.poll(stage.call.undo, result).note
    stage.clock.at += APART_SECONDS
    stage.fake.rows[stage.name]["DBInstanceStatus"] = "deleting"
    assert "deleting" in stage.provider.poll(stage.call.undo, result).note
    del stage.fake.rows[stage.name]
    assert not stage.provider.poll(stage.call.undo, result).done, "counted from an answer before it was seen again"
    stage.clock.at += APART_SECONDS
    assert stage.provider.poll(stage.call.undo, result).done


def test_what_shows_no_tag_is_deleted_only_where_its_name_is_the_runs_own(tmp_path: Path) -> None:
    stage = Stage(tmp_path, RESTORE, "restore")
    stage.fake.rows["billing-db"] = description("billing-db", DeletionProtection=False)
    stage.fake.hidden["billing-db"] = NOW + 1e9
    call = deletion("billing-db", run().id)
    result = stage.provider.apply(call, call.args)
    stage.provider.poll(call, result)
    assert "billing-db" in stage.fake.rows
    assert stage.fake.made("DeleteDBInstance") == []


def test_another_drills_copy_of_such_a_name_is_not_deleted(stage: Stage) -> None:
    stage.killed("intent", "effect")
    stage.fake.rows[stage.name] = description(stage.name, DeletionProtection=False)
    (left,) = unwind(stage.engine, stage.calls)
    assert "is not a drill's copy of run" in left
    assert stage.name in stage.fake.rows


def test_a_copy_that_rds_never_made_is_believed_gone_once_it_would_be_known(stage: Stage) -> None:
    stage.killed("intent")
    assert UNLISTED_SECONDS - KILLED_AFTER <= stage.unwind() < UNLISTED_SECONDS + 5.0


def test_it_is_the_newest_intent_that_counts(stage: Stage) -> None:
    stage.killed("intent")
    stage.clock.at += 1_000.0
    stage.killed("intent")
    assert UNLISTED_SECONDS - KILLED_AFTER <= stage.unwind() < UNLISTED_SECONDS + 5.0


@pytest.mark.parametrize("listed", [True, False])
def test_what_took_effect_is_gone_after_two_answers_apart(stage: Stage, listed: bool) -> None:
    stage.killed("intent", "effect")
    if listed:
        stage.make(listed_after=0.0)
    assert APART_SECONDS <= stage.unwind() < APART_SECONDS + 1.0
    assert list(stage.fake.rows) == [SOURCE]


def test_what_was_listed_is_gone_once_rds_knows_none_of_that_name(stage: Stage) -> None:
    stage.killed("intent")
    stage.make(listed_after=0.0)
    assert APART_SECONDS <= stage.unwind() < APART_SECONDS + 1.0


@pytest.mark.parametrize(
    ("error", "attempts", "begun", "waits"),
    [
        ("RefusedError", 1, {}, False),
        ("RefusedError", 2, {}, True),
        ("RefusedError", 1, {"begun": True}, True),
        ("ProviderError", 1, {}, True),
    ],
)
def test_only_what_was_refused_when_it_was_tried_once_needs_no_waiting(
    stage: Stage, error: str, attempts: int, begun: dict[str, bool], waits: bool
) -> None:
    for _ in range(attempts):
        stage.killed("intent")
    stage.engine.ledger.append("failed", stage.call.id, {"because": "No.", "error": error, **begun})
    assert (stage.unwind() > 100.0) is waits


@pytest.mark.parametrize(("strikes", "waits"), [((), False), (("RestoreDBInstanceFromDBSnapshot",), True)])
def test_what_was_halted_before_it_was_asked_for_needs_no_waiting(
    tmp_path: Path, strikes: tuple[str, ...], waits: bool
) -> None:
    """A halt while the driver only looks; ``strikes``: what had failed before, and may have been accepted."""
    stage = Stage(tmp_path, RESTORE, "restore")
    stage.fake.fail = {operation: ["InternalFailure"] for operation in strikes}
    looks = [None, _halted] if strikes else [_halted]
    stage.fake.looks = list(looks)
    with pytest.raises(HaltedError):
        perform(stage.engine, [stage.call])
    assert (stage.unwind() > 100.0) is waits


def _halted() -> None:
    raise HaltedError("The run was stopped: SIGINT was received.")


def test_a_refusal_of_one_attempt_says_nothing_of_a_later_one(stage: Stage) -> None:
    stage.killed("intent")
    stage.engine.ledger.append("failed", stage.call.id, {"because": "No.", "error": "RefusedError"})
    stage.engine.ledger.append("resumed")
    stage.killed("intent")
    assert stage.unwind() > 100.0


def test_what_was_never_asked_for_is_not_looked_for(stage: Stage) -> None:
    assert stage.unwind() == 0.0
    assert stage.fake.calls == []


# -- what was listed later still


def test_cleaning_all_finds_the_copy_of_a_run_that_is_over_and_spares_what_a_run_still_owns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DR_HOME", str(tmp_path))
    here = context(tmp_path, clock := VirtualClock())
    undone = ("intent", "undoing", "undone")
    copies = {
        "over": _copy_of(_made(tmp_path, "over", clock, undone, sealed=True)),
        "kept": _copy_of(_made(tmp_path, "kept", clock, ("intent", "effect"), sealed=True)),
        "unfinished": _copy_of(_made(tmp_path, "unfinished", clock, undone, sealed=False)),
        "elsewhere": _copy_of("of another home"),
    }
    fake = FakeRds(description(), *copies.values())
    provider = RdsProvider(here, fake)  # type: ignore[arg-type]
    monkeypatch.setattr(cleanup, "context_of", lambda *_: here)
    monkeypatch.setattr(cleanup, "drivers", lambda *_: {"rds": provider})
    swept = cleanup.clean_orphans(here.settings, "prod", lambda _call, _note: None)
    assert (swept.gone, swept.left) == (("copy-over, a drill copy that no run here owns, was deleted.",), ())
    assert [sentence.split(" ")[0] for sentence in swept.stands] == ["copy-kept", "copy-unfinished", "copy-of"]
    assert set(fake.rows) == {SOURCE, "copy-kept", "copy-unfinished", "copy-of another home"}


def _made(home: Path, name: str, clock: VirtualClock, kinds: tuple[str, ...], *, sealed: bool) -> str:
    directory = RunDirectory(home / "runs" / name)
    who = RunIdentity(name, "prod", Purpose.DRILL, "d1")
    plan = Plan(Request("prod", (RESTORE,), Purpose.DRILL), who, (), ())
    directory.create(RunRecord(plan, clock.now(), "", {}, 1.0))
    directory.ledger(clock).append("accepted")
    for kind in kinds:
        directory.ledger(clock).append(kind, "restore")
    if sealed:
        directory.seal(clock.now(), directory.digests())
    return name


def _copy_of(run: str) -> dict[str, Any]:
    """A run's copy whose expiry lies in the future."""
    owned = {"dr:run": run, "dr:purpose": "drill", "dr:source": SOURCE, "dr:expires": "2999-01-01T00:00:00Z"}
    tags = [{"Key": key, "Value": value} for key, value in owned.items()]
    return description(f"copy-{run}", TagList=tags, DeletionProtection=False)
