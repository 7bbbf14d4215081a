"""However a restore on call ends once its copy is there: the verdict is inconclusive, and how to connect is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dr.app import ending, restore
from dr.app.ending import Outcome
from dr.app.prepare import accept, prepare
from dr.app.restore import run
from dr.app.session import Session
from dr.cli import common
from dr.config.load import home
from dr.domain.errors import DrError, EvidenceError, HaltedError, ProviderError, RefusedError
from dr.domain.model import Call, Component, Effect, Facts, Purpose, Request, RunIdentity, Status, Verb
from dr.domain.refs import Ref, result_of
from dr.drivers.velero.naming import namespace
from dr.engine.guard import Consent
from dr.evidence.directory import RunDirectory
from dr.evidence.ledger import Ledger
from dr.report import formats
from tests.unit.drivers.rds.support import SOURCE
from tests.unit.machines import SETTINGS, Machines, tell
from tests.virtual import Scripted, call, thing

NIGHT = {"to": {"snapshot": "night"}}
VERBS = (
    Verb("restore", NIGHT),
    Verb("examine"),
    Verb("serve"),
    Verb("measure", {"path": "restored"}),
    Verb("configure", NIGHT),
)
FAULTS = (
    RecursionError("maximum recursion depth exceeded"),
    MemoryError(),
    OSError(28, "No space left on device"),
    KeyError("column"),
    ProviderError("The copy went away."),
    RefusedError("The database refused reading the tables."),
    EvidenceError("The baseline is damaged."),
)


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    return Machines(tmp_path, monkeypatch)


def begun(
    machines: Machines,
    monkeypatch: pytest.MonkeyPatch,
    fails: Mapping[str, Exception] | None = None,
    verbs: tuple[Verb, ...] = VERBS,
) -> Session:
    """A restore on call whose parts ``fails`` break: a verb's name to what it raises."""
    drivers = machines._drivers

    def broken(*args: Any) -> Mapping[str, Any]:
        return {**drivers(*args), "scripted": Scripted(fails=fails)}

    monkeypatch.setenv("DR_SECRET", "secret")
    monkeypatch.setattr("dr.wiring.drivers", broken)
    asked = dict.fromkeys(("exposure", "data", "latency"), "restored")
    prepared = prepare(SETTINGS, Request("prod", verbs, Purpose.RESTORE), asked, tell)
    return accept(prepared, Consent(SOURCE))


def told(session: Session, outcome: Outcome, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code, and everything that a person sees."""
    code = common.conclude(session, outcome, "text")
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    return code, printed.out + printed.err


def reached(session: Session) -> str:
    restored = session.engine.ledger.state().effects["restore"]
    return f"host={restored['host']} port={restored['port']}"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("verb", ["examine", "serve", "measure"])
def test_what_fails_once_the_copy_is_there_costs_nobody_how_to_connect(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str, fault: Exception
) -> None:
    restoring = begun(machines, monkeypatch, {verb: fault})
    outcome = run(restoring)
    assert outcome.verdict.status is Status.INCONCLUSIVE
    code, printed = told(restoring, outcome, capsys)
    assert code == (5 if not isinstance(fault, DrError) else max(4, fault.exit_code))
    assert reached(restoring) in printed
    assert f"dr adopt {outcome.run.id} --confirm" in printed
    assert f"The call '{verb}' failed" in printed
    document = outcome.run.verdict_document() or {}
    assert (document["verdict"], document["restored"][0]["port"]) == ("inconclusive", 5432)


def test_how_to_connect_is_told_before_the_copy_is_examined(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    restoring = begun(machines, monkeypatch, {"examine": KeyError()})
    told_at: dict[str, str] = {}

    def before(verb: Verb) -> None:
        common.tell_so_far(restoring, verb)
        told_at[verb.name] = capsys.readouterr().err
        assert verb.name not in restoring.engine.ledger.state().intended

    run(restoring, before=before)
    assert reached(restoring) in told_at["examine"]
    assert "is not examined yet" in told_at["examine"]
    assert "Found so far: exposure met, data inconclusive, latency inconclusive." in told_at["configure"]


def test_what_has_no_endpoint_stands_and_does_not_answer(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A namespace, which is compared and not examined."""
    restoring = begun(machines, monkeypatch)
    small = Component("namespace", namespace("small"), connect="kubectl get all")
    monkeypatch.setattr(common, "components", lambda _entries: (small,))
    compare = replace(restoring.plan.request, verbs=(VERBS[0], Verb("compare"), VERBS[-1]))
    session = replace(restoring, plan=replace(restoring.plan, request=compare))
    common.tell_so_far(session, compare.verbs[1])
    assert capsys.readouterr().err == "dr: small stands, and is not examined yet: kubectl get all\n"


def test_what_nobody_examines_is_not_said_to_be_examined_yet(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --no-verify."""
    restoring = begun(machines, monkeypatch, verbs=(VERBS[0], VERBS[-1]))
    run(restoring, before=lambda verb: common.tell_so_far(restoring, verb))
    said = capsys.readouterr().err
    assert f"answers: psql '{reached(restoring)}" in said
    assert "examined" not in said


def test_nothing_is_served_or_probed_any_more_while_rds_puts_the_last_settings_in(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    restoring = begun(machines, monkeypatch)
    open_then: list[tuple[str, ...]] = []
    run(restoring, before=lambda _: open_then.append(restoring.engine.ledger.state().open))
    assert "serve" in open_then[-2]
    assert not {"measure", "serve"} & set(open_then[-1])


def test_a_copy_is_configured_though_it_could_not_be_examined(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    restoring = begun(machines, monkeypatch, {"examine": ProviderError("The copy went away.")})
    outcome = run(restoring)
    state = restoring.engine.ledger.state()
    assert {"configure"} == {"serve", "measure", "configure"} & set(state.effects)
    assert "The copy went away." in str(outcome.error)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("backing-up", "backing-up, its first backup; --set BackupRetentionPeriod=0"),
        ("maintenance", "maintenance, its own"),
    ],
)
def test_what_rds_still_did_with_the_copy_is_told(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: str, words: str
) -> None:
    machines.fake.creates_as = status
    restoring = begun(machines, monkeypatch)
    outcome = run(restoring)
    _, printed = told(restoring, outcome, capsys)
    assert words in " ".join(printed.split())
    assert "Took" in printed


def broken(*_: Any, **__: Any) -> Any:
    raise KeyError("no such thing")


def full(*_: Any, **__: Any) -> Any:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("fault", [broken, full])
@pytest.mark.parametrize(
    "broken_part",
    [
        (ending, "judge"),
        (ending, "document"),
        (RunDirectory, "load"),
        (RunDirectory, "write_verdict"),
        (RunDirectory, "seal"),
        (formats, "text"),
    ],
    ids=lambda part: f"{part[0].__name__}.{part[1]}",
)
@pytest.mark.parametrize("output", ["text", "json"])
def test_what_fails_in_judging_or_telling_costs_nobody_how_to_connect(
    machines: Machines,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    broken_part: tuple[Any, str],
    fault: Callable[..., Any],
    output: str,
) -> None:
    restoring = begun(machines, monkeypatch)
    monkeypatch.setattr(*broken_part, fault)
    outcome = run(restoring)
    code = common.conclude(restoring, outcome, output)
    seen = capsys.readouterr()
    if broken_part[0] is not formats or output == "text":
        assert code == 5
    assert "Traceback" not in seen.err
    if output == "text":
        assert reached(restoring) in seen.out + seen.err
    else:
        common.print_document(outcome)
        restored = json.loads(capsys.readouterr().out)["restored"][0]
        assert f"host={restored['host']} port={restored['port']}" == reached(restoring)


def test_a_ledger_that_cannot_be_written_any_more_costs_nobody_how_to_connect(
    tmp_path: Path, machines: Machines, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    restoring = begun(machines, monkeypatch)
    with monkeypatch.context() as disk:
        outcome = run(restoring, before=lambda _: disk.setattr(Ledger, "append", full))
    code, printed = told(restoring, outcome, capsys)
    assert code == 5
    assert reached(restoring) in printed
    assert f"The trace is in {home()}/defects.log." in printed
    assert home().is_relative_to(tmp_path)


def test_a_refusal_before_anything_was_made_is_still_raised(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    restoring = begun(machines, monkeypatch)
    monkeypatch.setattr(restore, "_begun", lambda _: False)
    monkeypatch.setattr(Session, "do", lambda *_: (_ for _ in ()).throw(RefusedError("No such group.")))
    with pytest.raises(RefusedError, match="No such group"):
        run(restoring)


class Planting(Scripted):
    """What ``serve`` makes stands ``within`` something, and cannot be taken out of it."""

    def __init__(self, within: Ref | None) -> None:
        super().__init__(fails={"undo-serve": RefusedError("There is no predictionz.")})
        self.within = within

    def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
        if verb.name != "serve":
            return super().propose(verb, facts, run)
        made = thing("rows", self.within)
        undo = Call(*("undo-serve", "serve", "unwind", "scripted", "remove", {"what": "rows"}), effect=Effect.CHANGES)
        return (call("serve", makes=(made,), undo=replace(undo, touches=(made,))),)


def planted(machines: Machines, monkeypatch: pytest.MonkeyPatch, within: Ref | None) -> Session:
    planting = Planting(within)
    for module in ("tests.unit.machines", __name__):
        monkeypatch.setattr(f"{module}.Scripted", lambda **_: planting)
    return begun(machines, monkeypatch)


@pytest.mark.parametrize(("within", "sealed"), [(result_of("restore"), True), (None, False)])
def test_what_cannot_be_taken_out_of_a_copy_that_stays_is_told_and_keeps_nobody_from_the_next_restore(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, within: Ref | None, sealed: bool
) -> None:
    session = planted(machines, monkeypatch, within)
    outcome = run(session)
    assert outcome.leftovers == ("serve could not be undone: There is no predictionz.",)
    assert ending.exit_code(outcome) == 5
    assert session.directory.sealed() is sealed
    assert ("dr:sealed" in machines.tags(session.restorations()[0].name)) is sealed


def test_what_cannot_be_taken_out_of_a_copy_does_not_end_a_restore_that_is_gone_on_with(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = planted(machines, monkeypatch, result_of("restore"))
    session.do(0)
    session.do(2)
    outcome = ending.finish(session)
    assert outcome.leftovers
    assert not session.directory.sealed()
    assert ending.finish(session, ends=True).leftovers
    assert session.directory.sealed()


@pytest.mark.parametrize("interrupted", ["settle", "configure"])
def test_a_copy_that_was_measured_to_the_end_is_not_served_and_probed_again(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, interrupted: str
) -> None:
    settle = Verb("settle", {"paths": ["restored"]})
    session = begun(machines, monkeypatch, verbs=(*VERBS[:-1], settle, VERBS[-1]))

    def stop(verb: Verb) -> None:
        if verb.name == interrupted:
            raise HaltedError("The run was stopped.")

    assert isinstance(run(session, before=stop).error, HaltedError)
    assert not {"serve", "measure"} & set(session.engine.ledger.state().open)
    session.engine.ledger.append("resumed")
    outcome = run(session)
    assert outcome.error is None
    intended = [entry.call for entry in session.engine.ledger.entries() if entry.kind == "intent"]
    times = 1 if interrupted == "configure" else 2
    assert [intended.count(name) for name in ("serve", "measure", "settle", "configure")] == [times, times, 1, 1]
    assert session.directory.sealed()
