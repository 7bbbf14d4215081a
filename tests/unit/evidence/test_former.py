"""Runs that were recorded before a call stated its effect: they are read, unwound and gone on with as they were.

The records beside this file are those of dr as it was then.
"""

from __future__ import annotations

import copy
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dr.app.terms import terms
from dr.config.plugins import offer
from dr.domain.errors import EvidenceError
from dr.domain.model import Call, Effect, Plan, Progress, Verb
from dr.domain.refs import Ref
from dr.drivers.measuring.paths import markers
from dr.drivers.rds.naming import instance
from dr.drivers.service.asking import predictions
from dr.engine.guard import Consent, guard
from dr.engine.perform import Engine, unwind
from dr.evidence.directory import RunDirectory
from dr.evidence.former import present
from dr.host.children import process
from tests.unit.engine.test_failover_plans import FACTS, whole
from tests.virtual import Scripted, VirtualClock

FORMER = Path(__file__).parent / "former"
RECORDED = ("pitr-drill", "promotion-drill", "promotion-on-call", "restore-on-call")
SOURCE = "source-db"
REPLICAS = (instance("replica-1"), instance("replica-2"))


def recorded(name: str, directory: Path) -> RunDirectory:
    (directory / name).mkdir()
    shutil.copy(FORMER / f"{name}.json", directory / name / "run.json")
    return RunDirectory(directory / name)


def told(plan: Plan) -> dict[str, tuple[Effect, tuple[Ref, ...], tuple[Ref, ...]]]:
    """Every call that changes anything: what it does, to what, and what it makes."""
    return {call.id: (call.effect, call.touches, call.makes) for call in plan.calls if call.effect is not Effect.READS}


def test_the_booleans_of_a_call_become_its_effect(tmp_path: Path) -> None:
    calls = told(recorded("promotion-drill", tmp_path).record().plan)
    assert list(calls) == ["instance-lost", "promote", "move-pooler", "rebuild-replica-1", "rebuild-replica-2"]
    assert calls["instance-lost"] == (Effect.FAULT, (instance(SOURCE),), ())
    assert calls["promote"] == (Effect.TAKES_OVER, REPLICAS, ())
    assert calls["move-pooler"] == (Effect.TAKES_OVER, (Ref("clients", "PgBouncer entry", "readmission"),), ())
    assert calls["rebuild-replica-1"] == (Effect.MAKES, REPLICAS, (instance("replica-1-20261124-033333-cf4e"),))


def test_what_was_touched_first_was_made_and_what_was_touched_again_is_changed(tmp_path: Path) -> None:
    calls = told(recorded("pitr-drill", tmp_path).record().plan)
    assert list(calls) == ["plant-victims", "vanish", "restore", "configure"]
    (table,), (copy,) = calls["plant-victims"][2], calls["restore"][2]
    assert calls["vanish"] == (Effect.FAULT, (table,), ())
    assert copy == instance(copy.name)
    assert copy.name.startswith("source-db-restored-")
    assert calls["configure"] == (Effect.CHANGES, (copy,), ())


def test_names_of_things_become_references(tmp_path: Path) -> None:
    source = instance("readmission-db")
    drill = archived("pitr-drill", tmp_path / "pitr")
    calls = told(drill)
    (copy,) = calls["restore"][2]
    written, predicted = markers(source, "source"), predictions(source)
    assert copy == instance(copy.name)
    assert calls["marker-table"] == (Effect.MAKES, (), (written,))
    assert calls["mark-source"] == (Effect.MAKES, (written,), (process("mark-source"),))
    assert calls["measure-source"] == (Effect.MAKES, (), (process("measure-source"), predicted))
    assert calls["vanish"][1] == calls["plant-victims"][2]
    assert [(one.provider, one.kind, one.within) for one in calls["vanish"][1]] == [("postgres", "table", source)]
    assert calls["serve"] == (Effect.MAKES, (copy,), (process("serve"),))
    move = next(
        call for call in archived("promotion-on-call", tmp_path / "promotion").calls if call.id == "move-pooler"
    )
    assert (move.driver, move.touches) == ("clients", (Ref("clients", "PgBouncer entry", "readmission"),))
    undos = [call.undo for call in drill.calls if call.id == "serve"]
    assert [(undo.driver, undo.touches) for undo in undos if undo] == [("service", (process("serve"),))]


def archived(name: str, directory: Path) -> Plan:
    """The plan of a run that was recorded once calls stated their effect."""
    with tarfile.open(FORMER / f"{name}.tar.xz") as archive:
        archive.extractall(directory, filter="data")
    return RunDirectory(directory).record().plan


def test_an_instances_name_is_folded_where_a_call_acts_on_it_too() -> None:
    call = {"id": "a", "driver": "rds", "operation": "modify", "effect": "changes", "touches": ["Copy"]}
    call["args"] = {"identifier": "Copy"}
    now = present({"plan": {"calls": [call], "request": {"verbs": []}}})
    assert now is not None
    assert now["plan"]["calls"][0]["args"] == {"identifier": "copy"}
    assert now["plan"]["calls"][0]["touches"] == [instance("Copy")]


class Undoing(Scripted):
    """Notes what is undone."""

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        self.log.append(call.id)
        return args

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        return Progress(True)


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("keep", [False, True])
def test_all_that_was_open_is_undone_newest_first(name: str, keep: bool, tmp_path: Path) -> None:
    directory, driver, clock = recorded(name, tmp_path), Undoing(), VirtualClock()
    calls, ledger = directory.record().plan.calls, directory.ledger(clock)
    ledger.append("accepted")
    for call in calls:
        ledger.append("intent", call.id)
        ledger.append("effect", call.id, {"identifier": "replica-1", "host": "h", "port": 1})
    drivers = {call.driver: driver for call in calls}
    engine = Engine(directory, ledger, drivers, clock, lambda _call, _note: None, lambda: "")
    assert unwind(engine, calls, keep) == ()
    undone = [call.undo.id for call in reversed(calls) if call.undo and not (keep and call.id == "restore")]
    assert driver.log == undone
    assert bool(undone) or name == "promotion-on-call"


@pytest.mark.parametrize("name", ["promotion-on-call", "restore-on-call"])
def test_a_run_on_call_goes_on(name: str, tmp_path: Path) -> None:
    plan, target = recorded(name, tmp_path).record().plan, whole(tmp_path).target
    assert guard(plan, terms(target), FACTS, Consent(SOURCE)) == ()


def test_a_record_of_today_is_read_as_it_stands(tmp_path: Path) -> None:
    record = recorded("promotion-on-call", tmp_path).record()
    (tmp_path / "again").mkdir()
    again = RunDirectory(tmp_path / "again")
    again.create(record)
    assert again.record() == record


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"plan": 1}', '{"plan": {"calls": [1]}}', '{"plan": {"calls": [{}]}}']
)
def test_a_record_of_another_shape_cannot_be_read(content: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(EvidenceError, match="is not what it should be"):
        RunDirectory(tmp_path).record()


def test_reading_leaves_what_was_read_as_it_is() -> None:
    undo = {"id": "b", "driver": "d", "touches": ["x"]}
    call = {"id": "a", "driver": "d", "operation": "o", "touches": ["x"], "args": {}, "undo": {**undo}}
    record = {"plan": {"calls": [call], "request": {"verbs": [{"name": "v", "args": {"a": 1}}]}}}
    before = copy.deepcopy(record)
    now = present(record)
    assert now is not None
    assert now["plan"]["calls"][0]["undo"]["effect"] == Effect.CHANGES.value
    assert record == before


@pytest.mark.parametrize(
    ("former", "now"),
    [
        (("measure", {"path": "restored", "seconds": 12.0}), ("measure", {"path": "restored"})),
        (("settle", {"path": "writes", "seconds": 5, "patience": 9}), ("settle", {"paths": ["writes"]})),
        (("examine", {"of": "promoted"}), ("examine", {"of": "promoted"})),
    ],
)
def test_a_verb_is_spelled_as_it_is_now_so_that_its_run_can_go_on(
    former: tuple[str, Any], now: tuple[str, Any]
) -> None:
    verb = {"name": former[0], "args": former[1]}
    settle = {"id": "settle-x", "driver": "measuring", "operation": "settle"}
    settle["args"] = {"path": "x", "url": "http://x", "seconds": 12.0}
    read = present({"plan": {"calls": [settle], "request": {"verbs": [verb]}}})
    assert read is not None
    (spelled,) = read["plan"]["request"]["verbs"]
    assert (spelled["name"], spelled["args"]) == now
    offer(Verb(*now))[1].arguments(Verb(*now))
    assert read["plan"]["calls"][0]["args"] == {"paths": {"x": "http://x"}, "seconds": 12.0}
