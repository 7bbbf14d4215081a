"""Undoing what RDS accepted to make and does not list yet, through the engine, in virtual time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dr.app import cleanup
from dr.domain.model import Call, Facts, Plan, Purpose, Request, RunIdentity, Verb
from dr.drivers.rds import RdsProvider
from dr.drivers.rds_restore import LISTED_SECONDS
from dr.engine.perform import Engine, unwind
from dr.evidence.directory import RunDirectory
from dr.evidence.model import RunRecord
from tests.unit.rds_support import (
    NOW,
    SOURCE,
    FakeRds,
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


class LateRds(FakeRds):
    """Lists what ``hidden`` names only from then on."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(description())
        self.clock = clock
        self.hidden: dict[str, float] = {}

    def call(
        self, operation: str, parameters: Mapping[str, Any], absent: tuple[str, ...] = ()
    ) -> dict[str, Any] | None:
        name = str(parameters.get("DBInstanceIdentifier"))
        if operation == "DescribeDBInstances" and self.clock.at < self.hidden.get(name, 0.0):
            return None
        return super().call(operation, parameters, absent)


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


def test_a_copy_that_is_listed_only_after_the_kill_is_waited_for_and_deleted(stage: Stage) -> None:
    stage.killed("intent")
    stage.make(listed_after=70.0)
    assert 65.0 <= stage.unwind() < 70.0
    assert list(stage.fake.rows) == [SOURCE]
    assert any(f"{stage.name}: not listed, though RDS may list it yet for 11" in note for note in stage.notes)


def test_a_copy_that_rds_never_made_is_believed_gone_once_it_would_be_listed(stage: Stage) -> None:
    stage.killed("intent")
    assert LISTED_SECONDS - KILLED_AFTER <= stage.unwind() < LISTED_SECONDS


def test_it_is_the_newest_intent_that_counts(stage: Stage) -> None:
    stage.killed("intent")
    stage.clock.at += 1_000.0
    stage.killed("intent")
    assert LISTED_SECONDS - KILLED_AFTER <= stage.unwind() < LISTED_SECONDS


@pytest.mark.parametrize("listed", [True, False])
def test_what_took_effect_is_gone_as_soon_as_it_is_not_listed(stage: Stage, listed: bool) -> None:
    stage.killed("intent", "effect")
    if listed:
        stage.make(listed_after=0.0)
    assert stage.unwind() < 1.0
    assert list(stage.fake.rows) == [SOURCE]


def test_what_was_listed_is_gone_as_soon_as_it_is_not_listed_any_more(stage: Stage) -> None:
    stage.killed("intent")
    stage.make(listed_after=0.0)
    assert stage.unwind() < 1.0


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
    monkeypatch.setattr(cleanup, "drivers", lambda *_: {})
    monkeypatch.setattr(cleanup, "restorer", lambda _: provider)
    gone, left = cleanup.clean_orphans(here.settings, "prod", lambda _call, _note: None)
    assert (gone, left) == (["copy-over, a drill copy that no run here owns, was deleted."], [])
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
        directory.seal(clock.now())
    return name


def _copy_of(run: str) -> dict[str, Any]:
    """A run's copy whose expiry lies in the future."""
    owned = {"dr:run": run, "dr:purpose": "drill", "dr:source": SOURCE, "dr:expires": "2999-01-01T00:00:00Z"}
    tags = [{"Key": key, "Value": value} for key, value in owned.items()]
    return description(f"copy-{run}", TagList=tags, DeletionProtection=False)
