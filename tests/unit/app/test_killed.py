"""Drills that were killed or interrupted: whatever was measured by then, they are never met, and they say so."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from dr import wiring
from dr.app import cleanup, drill
from dr.app.ending import exit_code, finish
from dr.app.session import Session, attach
from dr.app.signals import CODES, halting
from dr.config.model import Settings
from dr.domain.model import Demand, Observation, Plan, Purpose, Request, RunIdentity, Status, Verb
from dr.evidence.directory import RunDirectory
from dr.evidence.model import RunRecord
from dr.judge.verdict import judge
from dr.wiring import objectives
from tests.unit.drivers.rds.support import target
from tests.unit.recoveries import JOURNAL
from tests.virtual import Scripted, VirtualClock, call

SETTINGS = Settings(targets={"prod": target()})
CALLS = tuple(call(name) for name in ("take", "restore", "examine"))
LOGGED_IN = Observation("logins", "restored", [{"user": "app", "ok": True, "because": ""}])
STEADY = Observation("steady", "source", {"p95": 0.1, "errors": 0, "probes": 100, "in_slo": True})
STARTED = {"text": "Chaos Toolkit started", "pid": 1}
ENDED = {"text": "Chaos Toolkit ended", "exit": 0}


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    clock = VirtualClock()
    monkeypatch.setenv("DR_HOME", str(tmp_path))
    for module in ("session", "cleanup"):
        monkeypatch.setattr(f"dr.app.{module}.SystemClock", lambda: clock)
    monkeypatch.setattr(wiring, "drivers", lambda *_: {"scripted": Scripted(), "rds": Scripted()})
    return clock


@pytest.fixture
def session(clock: VirtualClock, tmp_path: Path) -> Session:
    return begun(clock, tmp_path)


def begun(clock: VirtualClock, home: Path, purpose: Purpose = Purpose.DRILL) -> Session:
    """A run that was accepted, and has done nothing yet."""
    request = Request("prod", (Verb("restore"),), purpose, drill="d" if purpose is Purpose.DRILL else None)
    plan = Plan(request, RunIdentity("run", "prod", purpose, ""), CALLS, (Demand("logins", "restored"),))
    directory = RunDirectory(home / "runs" / "run")
    digest = directory.create(RunRecord(plan, clock.now(), "", {}, 1.0))
    directory.ledger(clock).append("accepted", data={"run.json": digest})
    return attach(SETTINGS, directory, lambda _call, _note: None)


def measured(session: Session) -> None:
    """All that was planned is done, with what it shows; nobody has looked at the source again."""
    directory, clock = session.directory, session.context.clock
    directory.observe([STEADY], clock.now().at)
    session.do(0)
    directory.observe([LOGGED_IN], clock.now().at)


def looked_once_more(session: Session) -> None:
    session.directory.observe([STEADY], session.context.clock.now().at)
    (session.directory.path / "journal.json").write_bytes(msgspec.json.encode(JOURNAL))


def whole(session: Session) -> Session:
    """A drill that came to its end by itself, and is not judged yet."""
    session.engine.ledger.append("event", data=STARTED)
    measured(session)
    looked_once_more(session)
    session.unwind(keep=False)
    session.engine.ledger.append("event", data=ENDED)
    return session


def found(outcome_or_session: Session) -> tuple[Status, str]:
    verdict = judge(outcome_or_session.directory.load(outcome_or_session.context.clock), objectives())
    return verdict.status, " ".join(f.because for f in verdict.findings if f.objective == "completed")


def test_a_drill_that_ended_by_itself_is_met(session: Session) -> None:
    assert finish(whole(session)).verdict.status is Status.MET
    assert session.directory.sealed()
    assert found(session) == (Status.MET, "")


def test_a_drill_whose_hypothesis_could_not_be_looked_at_says_why(session: Session) -> None:
    for note in (STARTED, {"text": "", "unlooked": "The service wants a token."}, ENDED):
        session.engine.ledger.append("event", data=note)
    status, because = found(session)
    assert status is Status.INCONCLUSIVE
    assert because.endswith("the first 'take'. The source was not looked at: The service wants a token.")


def cuts(session: Session) -> Iterator[int]:
    """The ledger's lengths after each of its entries."""
    length = 0
    for line in (session.directory.path / "ledger.jsonl").read_bytes().splitlines(keepends=True):
        length += len(line)
        yield length


@pytest.mark.parametrize("journal", [True, False])
@pytest.mark.parametrize("swept", ["cleanup", "the lab taken down"])
def test_a_drill_killed_after_any_entry_is_never_met_and_says_so(
    session: Session, tmp_path: Path, journal: bool, swept: str
) -> None:
    """With the journal of Chaos Toolkit, and before it was written; then the clean-up, then whoever verifies it."""
    path = whole(session).directory.path
    kept = tmp_path / "kept"
    shutil.copytree(path, kept)
    for length in cuts(session):
        shutil.rmtree(path)
        shutil.copytree(kept, path)
        ledger = (path / "ledger.jsonl").read_bytes()
        (path / "ledger.jsonl").write_bytes(ledger[:length])
        if not journal:
            (path / "journal.json").unlink()
        if length < len(ledger):
            assert found(session)[0] is Status.INCONCLUSIVE
        if swept == "cleanup":
            cleanup.clean(SETTINGS, session.directory, lambda _call, _note: None)
        else:
            list(cleanup.abandon("prod"))
        assert session.directory.sealed()
        status, because = found(session)
        assert (status, "The drill was killed" in because) == (Status.INCONCLUSIVE, True), because


def test_a_drill_whose_own_session_had_judged_it_was_not_killed(session: Session) -> None:
    """What could not be undone kept it open: another command finishes it, and its verdict stands."""
    whole(session)
    session.directory.write_verdict({"verdict": "met"})
    cleanup.clean(SETTINGS, session.directory, lambda _call, _note: None)
    assert found(session) == (Status.MET, "")


def test_a_restore_on_call_has_no_journal_and_needs_none(clock: VirtualClock, tmp_path: Path) -> None:
    session = begun(clock, tmp_path, Purpose.RESTORE)
    session.do(0)
    session.directory.observe([LOGGED_IN], clock.now().at)
    cleanup.clean(SETTINGS, session.directory, lambda _call, _note: None)
    assert found(session) == (Status.MET, "")


@pytest.mark.parametrize(("looks", "status"), [(1, Status.MET), (0, Status.INCONCLUSIVE)])
def test_a_bare_chaos_run_is_met_by_its_own_rollbacks_and_a_second_look(
    session: Session, looks: int, status: Status
) -> None:
    measured(session)
    for _ in range(looks):
        session.directory.observe([STEADY], session.context.clock.now().at)
    assert found(session)[0] is Status.INCONCLUSIVE, "it never came to its rollbacks"
    session.engine.ledger.append("event", data={"text": "Chaos Toolkit came to its rollbacks", "rollbacks": True})
    assert finish(session).verdict.status is status


# -- interrupted


def ends(session: Session, monkeypatch: pytest.MonkeyPatch, script: str) -> tuple[int, Status, str]:
    """The exit code, the verdict and why, of a drill whose Chaos Toolkit is a shell's ``script``."""
    measured(session)
    looked_once_more(session)
    monkeypatch.setattr("dr.app.drill._chaos_toolkit", lambda *_: os.execv("/bin/sh", ["sh", "-c", script]))  # noqa: S606
    nothing = drill.Experiment("d", Path("d.yaml"), "", "", "", (), {}, ())
    return (exit_code(drill.run(session, nothing)), *found(session))


def test_a_drill_whose_child_ends_well_is_met(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ends(session, monkeypatch, "exit 0") == (0, Status.MET, "")


@pytest.mark.parametrize("number", list(CODES))
def test_a_signal_that_ends_the_child_alone_is_an_interruption(
    session: Session, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    before = signal.signal(number, signal.SIG_DFL)  # under nohup a child would ignore a hang-up
    try:
        code, status, because = ends(session, monkeypatch, f"kill -{number} $$")
    finally:
        signal.signal(number, before)
    assert (code, status) == (CODES[number], Status.INCONCLUSIVE)
    assert f"{number.name} ended Chaos Toolkit" in because


def test_a_child_that_was_killed_says_so(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    code, status, because = ends(session, monkeypatch, "kill -9 $$")
    assert (code, status) == (4, Status.INCONCLUSIVE)
    assert because == "The drill was killed: SIGKILL ended Chaos Toolkit."


@pytest.mark.parametrize(("because", "code"), [("SIGTERM was received by Chaos Toolkit", 143), ("dr abort", 130)])
def test_a_drill_that_was_told_to_stop_after_its_last_step_is_interrupted(
    session: Session, monkeypatch: pytest.MonkeyPatch, because: str, code: int
) -> None:
    """Which no step notices any more."""
    halt = session.directory.path / "halt"
    ended, status, said = ends(session, monkeypatch, f"printf '{because}' > {halt}")
    assert (ended, status) == (code, Status.INCONCLUSIVE)
    assert said.startswith(f"The run was stopped: {because}.")


def test_a_signal_is_passed_on_where_another_listens_too(tmp_path: Path) -> None:
    directory, heard = RunDirectory(tmp_path), []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: heard.append(number))
    try:
        with halting(directory, "Chaos Toolkit", pass_on=True):
            with halting(directory, "Chaos Toolkit"):
                os.kill(os.getpid(), signal.SIGTERM)
            assert (directory.halted(), heard) == ("SIGTERM was received by Chaos Toolkit", [])
            directory.resume()
            os.kill(os.getpid(), signal.SIGTERM)
            assert (directory.halted(), heard) == ("SIGTERM was received by Chaos Toolkit", [signal.SIGTERM])
    finally:
        signal.signal(signal.SIGTERM, before)


IN_CHAOS_TOOLKIT = """
    import json, os, pathlib, signal, sys, time
    from chaoslib.experiment import run_experiment
    from dr.app import activity
    from dr.domain.errors import HaltedError
    from dr.evidence.directory import RunDirectory

    class Session:
        heard = 0
        directory = RunDirectory(pathlib.Path(sys.argv[1]))
        def find(self, verb):
            return 0
        def do(self, place):
            if sys.argv[2] == "within":
                os.kill(os.getpid(), signal.SIGTERM)
                Session.heard += 1  # where nothing was raised, so that the step could end as a halted one does
            if self.directory.halted():
                raise HaltedError("The run was stopped.")

    activity._attached = lambda run: Session()
    own = {"type": "python", "module": "dr.activities", "func": "baseline"}
    other = {"type": "process", "path": "/bin/sh", "arguments": ["-c", f"kill -TERM {os.getpid()}; sleep 20"]}
    steps = [own, other, own] if sys.argv[2] == "between" else [own, own]
    method = [{"name": str(n), "type": "action", "provider": step} for n, step in enumerate(steps)]
    experiment = {"title": "t", "description": "d", "method": method, "rollbacks": []}
    journal = run_experiment(experiment, settings={"runtime": {"rollbacks": {"strategy": "always"}}})
    print(json.dumps([Session.heard, journal["status"], [step.get("status") for step in journal["run"]]]))
"""


@pytest.mark.parametrize(
    ("where", "told"),
    [("within", (2, "completed", ["failed", "failed"])), ("between", (0, "interrupted", ["succeeded"]))],
)
def test_a_signal_to_chaos_toolkit_halts_the_run_wherever_it_is(
    tmp_path: Path, where: str, told: tuple[int, str, list[str]]
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(IN_CHAOS_TOOLKIT), str(tmp_path), where],
        capture_output=True,
        text=True,
        env={**os.environ, "DR_RUN": "run"},
        timeout=60,
        check=True,
    )
    heard, status, steps = msgspec.json.decode(ran.stdout.splitlines()[-1])
    assert (heard, status, steps[: len(told[2])]) == told
    assert RunDirectory(tmp_path).halted() == "SIGTERM was received by Chaos Toolkit"


def test_a_run_that_was_recorded_with_a_journal_keeps_its_verdict(session: Session) -> None:
    """By its journal and the note of how Chaos Toolkit ended alone: nothing that newer runs note is asked of it."""
    finish(whole(session))
    evidence = session.directory.load(session.context.clock)
    earlier = replace(evidence, observations=tuple(o for o in evidence.observations if o.what != "steady"))
    assert judge(earlier, objectives()).status is Status.MET
