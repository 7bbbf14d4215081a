"""A run that restores a database and a namespace, by drivers of which the judge and the report know nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dr.domain.errors import FailedError
from dr.domain.model import (
    Call,
    Component,
    Demand,
    Effect,
    Observation,
    Plan,
    Progress,
    Purpose,
    Request,
    RunIdentity,
    Status,
    Verdict,
)
from dr.domain.refs import Endpoint, Ref
from dr.engine.perform import Engine, perform, unwind
from dr.evidence.directory import RunDirectory
from dr.evidence.model import Evidence, RunRecord
from dr.judge.verdict import exit_code, judge
from dr.report.formats import as_json, text
from dr.report.page import html, markdown
from dr.wiring import objectives
from tests.virtual import Scripted, VirtualClock, call

DATABASE = Component(
    "database",
    Ref("sqlite", "file", "clinic-1"),
    Endpoint("db.example.test", 1234),
    connect="sqlite3 clinic-1",
    cut_over=("Point the clinic at clinic-1.",),
    origin="copy monday",
    note="It is read-only until then.",
)
NAMESPACE = Component(
    "namespace",
    Ref("kubernetes", "namespace", "clinic-2"),
    connect="kubectl -n clinic-2 get all",
    cut_over=("Let the ingress lead to clinic-2.",),
    origin="backup nightly-7",
)
DEMANDS = (Demand("exposure", "restored", 600.0, "s"),)


class Played(Scripted):
    """Restores what a call is named after, and examines what is asked for."""

    def __init__(self, clock: VirtualClock, examined: tuple[Component, ...], **more: Any) -> None:
        super().__init__(**more)
        self._clock = clock
        self._examined = examined
        self._age = 60.0

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        now = self._clock.at = self._clock.at + 5.0
        match call.id:
            case "lose":
                return Progress(True, milestones={"disaster": now})
            case "look":
                told = tuple(Component(of.role, of.ref) for of in self._examined)
                return Progress(True, milestones={"correct": now, "examined": now}, components=told)
            case _:
                of = DATABASE if call.id == "a-database" else NAMESPACE
                covers = {"kind": "snapshot", "identifier": "x", "covers": now - self._age, "resolution": 1.0}
                self._age += 60.0
                seen = (Observation("recovery-point", "restored", covers),)
                return Progress(True, observations=seen, milestones={"available": now}, components=(of,))


def run(
    path: Path, *examined: Component, purpose: Purpose = Purpose.RESTORE, fails: str = ""
) -> tuple[Evidence, Verdict]:
    """What the evidence of the run holds, and how it is judged. ``fails``: the call that the provider fails."""
    makes = {"restoration": True, "promises": ("available",)}
    calls = (
        call("lose", effect=Effect.FAULT, phase="disaster", makes=(), undo=None),
        call("a-database", makes=(DATABASE.ref,), **makes),
        call("a-namespace", makes=(NAMESPACE.ref,), **makes),
        call("look", effect=Effect.READS, phase="verify", makes=(), undo=None),
    )
    clock = VirtualClock()
    driver = Played(clock, examined, fails={fails: FailedError("It gave up.")} if fails else {})
    plan = Plan(Request("lab", (), purpose), RunIdentity("20261123-070000-7f3a", "lab", purpose, ""), calls, DEMANDS)
    directory = RunDirectory(path)
    digest = directory.create(RunRecord(plan, clock.now(), "", {}, 1.0))
    ledger = directory.ledger(clock)
    ledger.append("accepted", data={"run.json": digest})
    engine = Engine(directory, ledger, {"scripted": driver}, clock, lambda _call, _note: None, lambda: "")
    if fails:
        with pytest.raises(FailedError):
            perform(engine, calls)
    else:
        perform(engine, calls)
    unwind(engine, calls, keep=purpose is Purpose.RESTORE)
    evidence = directory.load(clock)
    return evidence, judge(evidence, objectives())


def words(said: str) -> str:
    return " ".join(said.split())


def test_a_run_of_two_components_is_judged_and_reported_whole(tmp_path: Path) -> None:
    evidence, verdict = run(tmp_path, DATABASE, NAMESPACE)
    assert verdict.status is Status.MET, verdict.findings
    assert verdict.restored == (DATABASE, NAMESPACE)
    said = words(text(evidence, verdict))
    assert "Restored clinic-1 from copy monday, clinic-2 from backup nightly-7" in said
    assert "Back to 2023-11-14 22:12:30 UTC (clinic-1), 2023-11-14 22:11:35 UTC (clinic-2), exposure 1 min 50 s" in said
    assert "database clinic-1: sqlite3 clinic-1 It is read-only until then." in said
    assert "namespace clinic-2: kubectl -n clinic-2 get all" in said
    steps = [*DATABASE.cut_over, *NAMESPACE.cut_over]
    hands = "Hand them over, so that dr never touches them again:"
    steps += [f"{hands} dr adopt {verdict.run} --confirm clinic-1"]
    assert [said.index(f"{n}. {step}") for n, step in enumerate(steps, 1)]
    for form in (markdown, html):
        for of in verdict.restored:
            assert of.connect in form(evidence, verdict)
    document = json.loads(as_json(evidence, verdict))
    assert document["verified"] is True
    assert [(of["role"], of["identifier"], of["host"]) for of in document["restored"]] == [
        ("database", "clinic-1", "db.example.test"),
        ("namespace", "clinic-2", None),
    ]


def test_what_nobody_examined_keeps_the_whole_from_being_verified(tmp_path: Path) -> None:
    evidence, verdict = run(tmp_path, DATABASE)
    assert (verdict.status, exit_code(verdict)) == (Status.INCONCLUSIVE, 4)
    said = words(text(evidence, verdict))
    assert "Not verified, since nobody has read it: namespace clinic-2." in said
    assert "No examination named namespace clinic-2: that is not verified." in said
    assert "database clinic-1: that is" not in said
    assert json.loads(as_json(evidence, verdict))["verified"] is False


def test_an_examination_that_names_none_vouches_for_none(tmp_path: Path) -> None:
    evidence, verdict = run(tmp_path)
    assert "No examination named database clinic-1, namespace clinic-2" in words(text(evidence, verdict))
    assert json.loads(as_json(evidence, verdict))["verified"] is False


def test_of_a_drill_nothing_stands_and_nobody_is_told_how_to_connect(tmp_path: Path) -> None:
    evidence, verdict = run(tmp_path, DATABASE, NAMESPACE, purpose=Purpose.DRILL)
    assert verdict.restored == (DATABASE, NAMESPACE)
    assert DATABASE.connect not in text(evidence, verdict)


def test_a_component_that_the_provider_failed_misses_the_time_to_a_copy(tmp_path: Path) -> None:
    evidence, _ = run(tmp_path, fails="a-namespace")
    demands = (Demand("time-to-copy", "restored", 60.0, "s"),)
    record = replace(evidence.record, plan=replace(evidence.record.plan, demands=demands))
    verdict = judge(replace(evidence, record=record), objectives())
    assert verdict.restored == (DATABASE,)
    assert {finding.objective: finding.status for finding in verdict.findings} == {
        "completed": Status.MISSED,
        "time-to-copy": Status.MISSED,
    }
