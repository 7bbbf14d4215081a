"""dr killed after every entry of the ledger, and told to stop at every call, of every drill, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from dr.app import drill
from dr.app.ending import Outcome
from dr.domain.model import Call, Status
from dr.evidence.directory import RunDirectory, runs
from dr.evidence.ledger import Ledger
from tests.attack.figures import FIGURES
from tests.attack.rehearsal import Killed, Theatre

T = TypeVar("T")
DRILLS = [*sorted(drill.known()), str(Path(__file__).parent / "node-drained.yaml")]
"""All that there are, and the gentle form of a lost node."""
each_drill = pytest.mark.parametrize("name", DRILLS, ids=[Path(name).stem for name in DRILLS])
SNAPSHOT, BACKUP, INTO = {"snapshot": "latest"}, {"backup": "latest"}, "rehearsal"
HEARD_SECONDS = 2.0
WHOLE_EACH = 5
"""After so many attacks, and after the last, an undisturbed drill must be met; each attacked one has to begin."""
pytestmark = pytest.mark.timeout(1200)
"""Many drills each, on a machine that has more to do."""


class Axe:
    """Kills after the ledger's entry number ``after``, counted from where the axe is made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.after, self.count = -1, 0
        append = Ledger.append

        def struck(ledger: Ledger, *args: Any, **more: Any) -> Any:
            entry = append(ledger, *args, **more)
            self.count += 1
            if self.count == self.after:
                raise Killed
            return entry

        monkeypatch.setattr(Ledger, "append", struck)

    def at(self, number: int) -> None:
        self.after, self.count = number, 0


def newest(theatre: Theatre) -> RunDirectory:
    return runs(theatre.directory)[-1]


def killed(
    axe: Axe, number: int, theatre: Theatre, command: Callable[[], object], what: str
) -> tuple[RunDirectory, str]:
    """``command``, killed after entry ``number`` of its ledger: its run, and ``what`` was done to it, in words."""
    axe.at(number)
    with pytest.raises(Killed):
        command()
    axe.at(-1)
    FIGURES.tried["kills"] += 1
    begun = newest(theatre)
    last = begun.ledger(theatre.clock).entries()[-1]
    return begun, f"{what} killed after entry {number}, {last.kind} {last.call or last.data.get('text', '')}"


def last_of_a_few(attacks: Sequence[T]) -> Iterator[tuple[T, bool]]:
    """Each attack, and whether an undisturbed drill is to follow it."""
    for number, attack in enumerate(attacks, 1):
        yield attack, number % WHOLE_EACH == 0 or number == len(attacks)


def aftermath(theatre: Theatre, what: str, whole: bool) -> Iterator[str]:
    """What clean-up makes of it. ``whole``: all of the drill's evidence was there, so that it may be met."""
    outcomes = theatre.clean()
    for outcome in outcomes:
        status = outcome.verdict.status
        FIGURES.verdicts[status.value] += 1
        if status is not Status.INCONCLUSIVE and not (whole and status is Status.MET):
            FIGURES.false.append(what)
            yield f"{what}: it is {status}"
    yield from remains(theatre, what)


def remains(theatre: Theatre, what: str) -> Iterator[str]:
    for orphan in theatre.orphans():
        FIGURES.orphans.append(f"{what}: {orphan}")
        yield f"{what}: {orphan} is left"


def undisturbed(theatre: Theatre, name: str, what: str) -> Iterator[str]:
    """A drill with the attacked ones before it, which are forgotten then."""
    after = theatre.rehearse(name).verdict
    theatre.forget()
    if after.status is not Status.MET:
        yield f"{what}: the drill after it is {after.status}"


@each_drill
def test_a_drill_killed_after_any_entry_of_its_ledger_is_cleaned_up_and_not_met(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theatre, axe = Theatre(tmp_path, monkeypatch), Axe(monkeypatch)
    wrong: list[str] = []
    axe.at(-1)
    assert theatre.rehearse(name).verdict.status is Status.MET
    for number, followed in last_of_a_few(range(1, axe.count + 1)):
        begun, what = killed(axe, number, theatre, partial(theatre.rehearse, name), name)
        wrong += aftermath(theatre, what, (begun.path / "journal.json").exists())
        wrong += undisturbed(theatre, name, what) if followed else ()
    assert not wrong, "\n".join(wrong)


@each_drill
def test_a_drill_killed_between_any_request_and_its_answer_is_cleaned_up_and_not_met(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theatre = Theatre(tmp_path, monkeypatch)
    wrong: list[str] = []
    tap = theatre.tap()
    assert theatre.rehearse(name).verdict.status is Status.MET
    changing = [n for n, asked in enumerate(tap.asked) if not asked.startswith(("Describe", "Get", "Download"))]
    for number, followed in last_of_a_few(changing):
        theatre.tap(kill_at=number)
        with pytest.raises(Killed):
            theatre.rehearse(name)
        theatre.tap()
        FIGURES.tried["kills"] += 1
        what = f"{name} killed between {tap.asked[number]} and its answer"
        wrong += aftermath(theatre, what, (newest(theatre).path / "journal.json").exists())
        wrong += undisturbed(theatre, name, what) if followed else ()
    assert not wrong, "\n".join(wrong)


def test_a_restore_killed_after_any_entry_of_its_ledger_is_finished_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theatre, axe = Theatre(tmp_path, monkeypatch), Axe(monkeypatch)
    wrong: list[str] = []
    axe.at(-1)
    assert theatre.restore(**SNAPSHOT).verdict.status is Status.MET
    for number in range(1, axe.count + 1):
        for name in theatre.restorations():
            theatre.remove(name)
        begun, what = killed(axe, number, theatre, partial(theatre.restore, **SNAPSHOT), "a restore")
        wrong += resumption(theatre, begun, what)
        theatre.forget()
    assert not wrong, "\n".join(wrong)


def resumption(theatre: Theatre, begun: RunDirectory, what: str) -> Iterator[str]:
    """The same command again: one restoration, by the run that asked for it, and nothing else is left. A run that was
    sealed is over, and its restoration is its user's."""
    if begun.sealed():
        theatre.remove(theatre.restorations()[0])
    reached = not begun.sealed() and any(entry.kind == "intent" for entry in begun.ledger(theatre.clock).entries())
    outcome = theatre.restore(**SNAPSHOT)
    yield from finished(outcome, what)
    if reached and outcome.run.id != begun.id:
        yield f"{what}: another run began"
    if len(theatre.restorations()) != 1:
        yield f"{what}: {theatre.restorations()} stand"
    if theatre.things:
        yield f"{what}: {sorted(theatre.things)} is left"


def finished(outcome: Outcome, what: str) -> Iterator[str]:
    FIGURES.verdicts[outcome.verdict.status.value] += 1
    if outcome.verdict.status is not Status.MET:
        FIGURES.false.append(what)
        yield f"{what}: it is {outcome.verdict.status}"


def test_a_namespaces_restore_killed_after_any_entry_is_finished_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theatre, axe = Theatre(tmp_path, monkeypatch), Axe(monkeypatch)
    wrong: list[str] = []
    theatre.lose()
    axe.at(-1)
    assert theatre.restore(**BACKUP).verdict.status is Status.MET
    theatre.cluster.drop(*theatre.velero.restores())
    for number in range(1, axe.count + 1):
        theatre.lose()
        begun, what = killed(axe, number, theatre, partial(theatre.restore, **BACKUP), "a namespace's restore")
        if not begun.sealed():
            wrong += finished(theatre.restore(**BACKUP), what)
        records = theatre.velero.restores()
        wrong += [] if len(records) == 1 else [f"{what}: {records} are Velero's restores"]
        theatre.cluster.drop(*records)
        wrong += remains(theatre, what)
        theatre.forget()
    assert not wrong, "\n".join(wrong)


def test_a_copy_killed_after_any_entry_is_finished_by_the_same_command_and_touches_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theatre, axe = Theatre(tmp_path, monkeypatch), Axe(monkeypatch)
    wrong: list[str] = []

    def remove() -> None:
        made = [path for path in theatre.cluster.found if f"/namespaces/{INTO}" in path or "/configmaps/dr-" in path]
        theatre.cluster.drop(*made, *theatre.velero.restores())

    axe.at(-1)
    assert theatre.restore(into=INTO, **BACKUP).verdict.status is Status.MET
    remove()
    for number in range(1, axe.count + 1):
        begun, what = killed(axe, number, theatre, partial(theatre.restore, into=INTO, **BACKUP), "a copy")
        if not begun.sealed():
            wrong += finished(theatre.restore(into=INTO, **BACKUP), what)
        there = [path for path in theatre.cluster.found if path == f"/api/v1/namespaces/{INTO}"]
        records = theatre.velero.restores()
        wrong += [] if (len(there), len(records)) == (1, 1) else [f"{what}: {there} and {records} are there"]
        remove()
        wrong += remains(theatre, what)
        theatre.forget()
    assert not wrong, "\n".join(wrong)


class Signal:
    """Halts the run, as SIGTERM does, when ``call`` is told of: at its beginning, or at its first poll."""

    def __init__(self, theatre: Theatre, call: str, at: str) -> None:
        self._theatre, self._call, self._at = theatre, call, at
        self.sent: float | None = None

    def __call__(self, call: Call, note: str) -> None:
        if self.sent is None and call.id == self._call and bool(note) == (self._at == "poll"):
            self.sent = self._theatre.clock.at
            newest(self._theatre).halt("SIGTERM was received")


@pytest.mark.parametrize("at", ["begin", "poll"])
@each_drill
def test_a_drill_told_to_stop_at_any_call_stops_at_once_and_leaves_nothing(
    name: str, at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theatre = Theatre(tmp_path, monkeypatch)
    wrong: list[str] = []
    calls = [call.id for call in theatre.rehearse(name).run.record().plan.calls]
    for call, followed in last_of_a_few(calls):
        signal, what = Signal(theatre, call, at), f"{name} told to stop at the {at} of {call}"
        outcome = theatre.rehearse(name, signal)
        if signal.sent is None:
            continue  # a call that is done at its first poll tells of none
        FIGURES.tried["signals"] += 1
        FIGURES.verdicts[outcome.verdict.status.value] += 1
        entries = outcome.run.ledger(theatre.clock).entries()
        # After the last call there is nothing to be halted: then unwinding begins.
        heard = [e.stamp.at for e in entries if e.kind in ("halted", "undoing") and e.stamp.at >= signal.sent]
        if heard:
            FIGURES.deaf = max(FIGURES.deaf, heard[0] - signal.sent)
        if not heard or heard[0] - signal.sent > HEARD_SECONDS:
            wrong.append(f"{what}: heard after {[t - signal.sent for t in heard]} s")
        if outcome.verdict.status is not Status.INCONCLUSIVE:
            FIGURES.false.append(what)
            wrong.append(f"{what}: it is {outcome.verdict.status}")
        wrong += remains(theatre, what)
        wrong += undisturbed(theatre, name, what) if followed else ()
    assert not wrong, "\n".join(wrong)
