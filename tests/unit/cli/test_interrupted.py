"""What an interrupted restore leaves is said once and truly: its name, its state, how to go on, how to be rid of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from dr.app.cleanup import adopt
from dr.app.ending import Outcome, finish
from dr.app.prepare import accept, prepare
from dr.app.restore import asked, resumed, run
from dr.app.session import Session
from dr.cli import cli, common
from dr.domain.errors import RefusedError
from dr.domain.model import Call
from dr.drivers.rds.restore import UNLISTED_SECONDS
from dr.engine.guard import Consent
from dr.evidence.directory import RunDirectory
from tests.unit.drivers.rds.support import SOURCE
from tests.unit.machines import SETTINGS, Machines, tell, wanted

UNTRUE = ("undoes what it made", "left alone", "nothing restored", "Restored nothing", "nothing is left")


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    made = Machines(tmp_path, monkeypatch)
    made.fake.creates_as = "creating"
    return made


def begun(how: Callable[[Session, str], None] = lambda _session, _note: None) -> Session:
    """A restore on call; ``how`` is told what a person is told of what it waits for."""
    sessions: list[Session] = []

    def follow(_call: Call, note: str) -> None:
        if sessions and "creating" in note:
            how(sessions[0], note)

    request = wanted()
    sessions.append(accept(prepare(SETTINGS, request, asked(request), follow), Consent(SOURCE)))
    return sessions[0]


def copy_of(machines: Machines) -> str:
    (copy,) = set(machines.fake.rows) - {SOURCE}
    return copy


def told(session: Session, outcome: Outcome, output: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Everything that a person is told, as one line."""
    common.conclude(session, outcome, output)
    printed = capsys.readouterr()
    return " ".join((printed.out + " " + printed.err).split())


@pytest.mark.parametrize("output", ["text", "json"])
@pytest.mark.parametrize("why", ["SIGINT was received", "SIGTERM was received", "dr abort was called", "the deadline"])
def test_whatever_ends_a_restore_says_what_is_being_made_and_how_to_go_on(
    machines: Machines, capsys: pytest.CaptureFixture[str], why: str, output: str
) -> None:
    session = begun(lambda session, _note: None if why == "the deadline" else session.directory.halt(why))
    outcome = run(session)
    name, copy = session.directory.id, copy_of(machines)
    said = told(session, outcome, output, capsys)
    assert said.count(f"{copy} stays at the provider, where it is being made (creating)") == 1
    assert f"dr restore --resume {name} # goes on with it dr cleanup" in said
    assert f"aws rds delete-db-instance --region eu-central-1 --db-instance-identifier {copy}" in said
    assert [untrue for untrue in UNTRUE if untrue in said] == []
    if output == "text":
        assert f"Restored {copy}, unfinished: the provider calls it creating" in said
        assert f"{copy} unfinished" in said.split("Whole report")[0][-200:]
    document = outcome.run.verdict_document() or {}
    assert document["remains"] == [{"identifier": copy, "status": "creating"}]
    assert document["restored"] == []
    assert not session.directory.sealed()


def test_what_was_halted_is_gone_on_with_as_it_was_told(machines: Machines) -> None:
    session = begun(lambda session, _note: session.directory.halt("SIGINT was received"))
    run(session)
    copy = copy_of(machines)
    machines.fake.rows[copy]["DBInstanceStatus"] = "available"
    resumed_session = accept(resumed(SETTINGS, "prod", session.directory.id, None, tell), Consent(SOURCE))
    outcome = run(resumed_session)
    assert [of.ref.name for of in outcome.verdict.restored] == [copy]
    assert session.directory.sealed()
    assert "--resume" not in outcome.saw


def test_a_restoration_that_leads_nowhere_is_not_advised_to_be_gone_on_with(machines: Machines) -> None:
    session = begun(lambda *_: machines.fake.rows[copy_of(machines)].update(DBInstanceStatus="incompatible-restore"))
    outcome = run(session)
    assert f"{copy_of(machines)} stays at the provider, where it is incompatible-restore" in outcome.saw
    assert "--resume" not in outcome.saw
    assert f"\n  dr cleanup {session.directory.id}  # ends the run and leaves it\n" in outcome.saw


def test_protection_is_taken_off_first_where_a_person_deletes_it(machines: Machines) -> None:
    session = begun(lambda session, _note: session.directory.halt("SIGINT was received"))
    assert machines.fake.rows[SOURCE]["DeletionProtection"] is True
    outcome = run(session)
    first, second = [line for line in outcome.saw.split("\n") if line.startswith("  aws rds ")]
    assert "modify-db-instance" in first
    assert first.endswith(" --no-deletion-protection --apply-immediately  # takes its protection off")
    assert "delete-db-instance" in second


def test_cleaning_an_unfinished_restore_says_what_stays_and_how_to_take_it(machines: Machines) -> None:
    session = begun(lambda session, _note: session.directory.halt("SIGINT was received"))
    run(session)
    name, copy = session.directory.id, copy_of(machines)
    cleaned = CliRunner().invoke(cli, ["cleanup", name], catch_exceptions=False)
    assert f"{copy} stays at the provider, where it is being made (creating)" in cleaned.output
    assert f"  dr adopt {name} --confirm {copy}  # hands it over" in cleaned.output
    assert "--resume" not in cleaned.output
    assert [untrue for untrue in UNTRUE if untrue in cleaned.output] == []
    assert session.directory.sealed()
    assert "is handed over" in next(adopt(SETTINGS, name, copy))


def test_a_refusal_after_a_lost_answer_does_not_end_the_run_as_if_nothing_was_made(machines: Machines) -> None:
    session = begun()
    machines.fake.fail["RestoreDBInstanceFromDBSnapshot"] = ["!InternalFailure"]
    machines.fake.fail["DescribeDBInstances"] = ["DBInstanceNotFound", "AccessDenied"]
    outcome = run(session)
    assert copy_of(machines) in outcome.saw
    assert not session.directory.sealed()


def test_where_rds_cannot_be_asked_it_is_not_said_that_nothing_stands(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise RefusedError("The credentials have expired.", "Sign in again.")

    session = begun(lambda session, _note: session.directory.halt("SIGINT was received"))
    monkeypatch.setattr(machines.fake, "pages", denied)
    outcome = run(session)
    assert "The provider could not be asked what stands of run" in outcome.saw
    assert outcome.leftovers == ()
    assert (outcome.run.verdict_document() or {})["remains"] is None


# -- killed between asking and the answer


def killed(machines: Machines, *, accepted: bool = True) -> RunDirectory:
    """A restore that died once it had asked, and RDS had ``accepted``."""
    session = begun()
    call = next(call for call in session.plan.calls if call.restoration)
    session.engine.ledger.append("intent", call.id, {"args": dict(call.args)})
    if accepted:
        session.providers["rds"].apply(call, call.args)
    return session.directory


def test_the_report_of_a_killed_restore_does_not_say_that_nothing_was_made(machines: Machines) -> None:
    directory = killed(machines)
    said = CliRunner().invoke(cli, ["report", directory.id], catch_exceptions=False).output
    line = " ".join(said.split())
    assert f"Restored {copy_of(machines)}, unfinished: it was asked for" in line
    assert f"dr restore --resume {directory.id} # goes on with it dr cleanup" in line
    assert [untrue for untrue in UNTRUE if untrue in line] == []


def test_adopting_takes_what_the_ledger_only_intended(machines: Machines) -> None:
    directory = killed(machines)
    copy = copy_of(machines)
    with pytest.raises(RefusedError, match=f"Say --confirm {copy}"):
        next(adopt(SETTINGS, directory.id, ""))
    (told,) = adopt(SETTINGS, directory.id, copy)
    assert told == f"{copy} is handed over: it bears no tag of the run any more. dr will not touch it again."
    assert not [key for key in machines.tags(copy) if key.startswith("dr:")]
    with pytest.raises(RefusedError, match=f"{copy} is no longer run {directory.id}'s"):
        resumed(SETTINGS, "prod", directory.id, None, tell)


def test_adopting_what_rds_does_not_list_says_so(machines: Machines) -> None:
    directory = killed(machines, accepted=False)
    with pytest.raises(RefusedError, match="was asked for, and may be listed later"):
        next(adopt(SETTINGS, directory.id, "whatever"))


def test_resuming_takes_what_the_ledger_only_intended(machines: Machines) -> None:
    directory = killed(machines)
    copy = copy_of(machines)
    machines.fake.rows[copy]["DBInstanceStatus"] = "available"
    outcome = run(accept(resumed(SETTINGS, "prod", directory.id, None, tell), Consent(SOURCE)))
    assert [of.ref.name for of in outcome.verdict.restored] == [copy]
    assert copy_of(machines) == copy


def test_aborting_a_restore_that_was_killed_says_how_it_goes_on(machines: Machines) -> None:
    directory = killed(machines)
    said = CliRunner().invoke(cli, ["abort", directory.id], catch_exceptions=False).output
    assert f"'dr restore --resume {directory.id}' goes on" in said
    assert f"'dr cleanup {directory.id}' finishes it, and leaves what it made" in said


# -- interrupted, and the same command typed again


def test_the_same_command_waits_for_what_it_asked_for_and_makes_no_second_one(machines: Machines) -> None:
    directory = killed(machines)
    copy = copy_of(machines)
    machines.fake.rows[copy]["DBInstanceStatus"] = "available"
    machines.fake.late, listed = {copy}, machines.clock.at + 150.0
    machines.clock.on_sleep = lambda: machines.fake.late.clear() if machines.clock.at > listed else None
    goes_on = prepare(SETTINGS, wanted(), asked(wanted()), tell)
    assert goes_on.session.directory.id == directory.id
    outcome = run(accept(goes_on, Consent(SOURCE)))
    assert [of.ref.name for of in outcome.verdict.restored] == [copy]
    assert copy_of(machines) == copy, "the only one"


def test_what_would_be_listed_by_now_is_planned_anew(machines: Machines) -> None:
    directory = killed(machines, accepted=False)
    machines.clock.sleep(UNLISTED_SECONDS + 1.0)
    assert prepare(SETTINGS, wanted(), asked(wanted()), tell).session.directory.id != directory.id


def test_what_was_surely_refused_is_not_said_to_come(machines: Machines) -> None:
    directory = killed(machines, accepted=False)
    ledger = directory.ledger(machines.clock)
    ledger.append("failed", "restore", {"because": "The quota is used up.", "error": "RefusedError"})
    assert finish(resumed(SETTINGS, "prod", directory.id, None, tell).session).saw == (
        "The provider was asked to make nothing; the same command begins anew."
    )
    with pytest.raises(RefusedError, match="has no restoration to adopt"):
        next(adopt(SETTINGS, directory.id, "whatever"))
    assert prepare(SETTINGS, wanted(), asked(wanted()), tell).session.directory.id != directory.id
