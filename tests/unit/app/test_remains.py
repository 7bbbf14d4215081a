"""What a run leaves at RDS is asked for once more, by its tag, when it ends and when it is cleaned up; and is said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dr.app.cleanup import clean, clean_orphans
from dr.app.ending import NOTHING, exit_code, finish
from dr.app.lock import locked
from dr.app.prepare import Prepared, accept, prepare
from dr.app.session import Session
from dr.cli import cli
from dr.domain.errors import RefusedError, UsageError
from dr.domain.model import Purpose, Request, Verb
from dr.engine.guard import Consent
from dr.evidence.directory import RunDirectory
from tests.unit.drivers.rds.support import SOURCE, description
from tests.unit.machines import NIGHT, SETTINGS, Machines, tell

RESTORE = (Verb("restore", {"to": NIGHT}),)


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    return Machines(tmp_path, monkeypatch)


def planned(*, keep: bool = False) -> Prepared:
    return prepare(SETTINGS, Request("prod", RESTORE, Purpose.DRILL, "a-drill", keep=keep), {}, tell)


def drilled(*, keep: bool = False) -> Session:
    """A drill whose copy is there."""
    session = accept(planned(keep=keep), Consent(SOURCE))
    session.do(0)
    return session


def late(machines: Machines, session: Session, name: str = "late") -> None:
    """RDS lists a copy of the run's that nobody knows of."""
    tags = next(dict(call.args["tags"]) for call in session.plan.calls if call.restoration)
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    machines.fake.rows[name] = description(name, TagList=listed, DeletionProtection=False)


def seen(directory: RunDirectory, machines: Machines) -> Any:
    """What the ledger holds of the last look."""
    entries = directory.ledger(machines.clock).entries()
    return [entry.data["remains"] for entry in entries if "remains" in entry.data][-1]


def cleanup(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["cleanup", *arguments], catch_exceptions=False)


def test_a_drill_that_left_nothing_says_that_it_was_looked_for(machines: Machines) -> None:
    session = drilled()
    ended = finish(session)
    assert (ended.saw, ended.leftovers, ended.stands) == (NOTHING, (), ())
    assert seen(session.directory, machines) == []
    assert session.directory.sealed()
    assert set(machines.fake.rows) == {SOURCE}


def test_what_bears_the_runs_tag_under_another_name_is_deleted_too(machines: Machines) -> None:
    session = drilled()
    late(machines, session, "renamed")
    assert finish(session).saw == NOTHING
    assert set(machines.fake.rows) == {SOURCE}


def test_a_drill_whose_copy_stays_does_not_end_well_and_says_what_to_do(machines: Machines) -> None:
    session = drilled()
    late(machines, session, "stuck")
    machines.fake.rows["stuck"]["DBInstanceStatus"] = "creating"
    ended = finish(session)
    run = session.directory.id
    (left,) = ended.leftovers
    told = f"stuck stays at the provider, where it is being made (creating): 'dr cleanup {run}' tries again"
    told += " to remove it."
    assert told in left
    assert seen(session.directory, machines) == [{"identifier": "stuck", "status": "creating"}]
    assert exit_code(ended) != 0
    assert not session.directory.sealed()
    machines.fake.rows["stuck"]["DBInstanceStatus"] = "available"
    assert NOTHING in cleanup(run).output
    assert set(machines.fake.rows) == {SOURCE}
    assert session.directory.sealed()


def test_where_nobody_could_look_nothing_is_said_to_be_gone(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = drilled()
    with monkeypatch.context() as broken:
        broken.setattr(machines.fake, "pages", _denied)
        ended = finish(session)
    assert NOTHING not in ended.saw
    assert "The provider could not be asked what stands" in ended.leftovers[0]
    assert seen(session.directory, machines) is None
    assert exit_code(ended) != 0
    assert not session.directory.sealed()
    assert clean(SETTINGS, session.directory, tell).saw == NOTHING
    assert session.directory.sealed()


def _denied(*_: Any, **__: Any) -> Any:
    raise RefusedError("The credentials have expired.", "Sign in again.")


def test_what_keep_spared_is_named_as_kept_and_goes_with_the_runs_clean_up(machines: Machines) -> None:
    session = drilled(keep=True)
    ended = finish(session)
    (copy,) = set(machines.fake.rows) - {SOURCE}
    assert ended.leftovers == ()
    assert f"{copy} stays at the provider, where it is available, as --keep asked" in ended.saw
    assert (ended.stands, session.directory.sealed()) == ((copy,), True)
    swept = clean_orphans(SETTINGS, "prod", tell)
    assert swept.gone == ()
    assert copy in swept.stands[0]
    assert clean(SETTINGS, session.directory, tell).saw == NOTHING
    assert set(machines.fake.rows) == {SOURCE}


# -- a sealed run owns nothing


def ended(machines: Machines) -> Session:
    """A drill that is over, all of whose calls took effect, and whose copy RDS lists once more after that."""
    session = drilled()
    assert finish(session).saw == NOTHING
    late(machines, session)
    return session


def test_cleaning_all_deletes_what_a_sealed_run_left_though_calls_without_an_undo_stay_open(machines: Machines) -> None:
    session = ended(machines)
    assert session.engine.ledger.state().open, "else this proves nothing"
    told = cleanup("--all", "--target", "prod").output
    assert "late, a drill copy that no run here owns, was deleted." in told
    assert "The provider lists no drill's copy on prod." in told
    assert set(machines.fake.rows) == {SOURCE}


def test_cleaning_all_looks_on_every_target_and_not_on_the_default_one_alone(machines: Machines) -> None:
    ended(machines)
    assert "late, a drill copy that no run here owns, was deleted." in cleanup("--all").output
    assert set(machines.fake.rows) == {SOURCE}


@pytest.mark.parametrize("more", [[], ["--all"]])
def test_nothing_is_said_to_be_left_on_a_target_that_there_is_not(machines: Machines, more: list[str]) -> None:
    with pytest.raises(UsageError, match=r"There is no target 'prd'\. Known targets: lab, prod\."):
        cleanup("--target", "prd", *more)


def test_cleaning_a_sealed_run_deletes_what_bears_its_tag(machines: Machines) -> None:
    session = ended(machines)
    assert NOTHING in cleanup(session.directory.id).output
    assert set(machines.fake.rows) == {SOURCE}


@pytest.mark.parametrize("elsewhere", [False, True])
def test_what_the_refusal_of_the_next_drill_advises_works(machines: Machines, elsewhere: bool) -> None:
    ended(machines)
    if elsewhere:
        machines.another()
    with pytest.raises(RefusedError) as refused:
        planned()
    (advice,) = re.findall(r"'dr cleanup ([^']*)' removes it", str(refused.value))
    done = cleanup(*advice.split())
    assert done.exit_code == 0
    assert set(machines.fake.rows) == {SOURCE}
    assert finish(drilled()).saw == NOTHING


def test_ending_a_restore_that_another_machine_began_leaves_what_it_made(machines: Machines) -> None:
    run = machines.begin_here(_on_call()).session.directory.id
    (copy,) = set(machines.fake.rows) - {SOURCE}
    machines.another()
    with pytest.raises(RefusedError, match=f"'dr cleanup {run} --target prod' ends its run"):
        planned()
    assert f"{copy} stays" in cleanup(run, "--target", "prod").output
    assert machines.tags(copy)["dr:sealed"] == "abandoned"
    assert planned().session.plan.calls


def _on_call() -> Request:
    return Request("prod", RESTORE, Purpose.RESTORE)


def test_a_run_that_is_nowhere_is_no_run(machines: Machines) -> None:
    nowhere = CliRunner().invoke(cli, ["cleanup", "20260101-000000-ab12", "--target", "prod"])
    assert "There is no run" in str(nowhere.exception)


@pytest.mark.parametrize("damage", ["unfinished", "unreadable"])
def test_an_expired_copy_is_deleted_whatever_run_directories_there_are(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    session = drilled()
    if damage == "unreadable":
        (session.directory.path / "run.json").write_bytes(b"\xff\xfe")
    machines.clock.at += 90_000
    assert len(clean_orphans(SETTINGS, "prod", tell).gone) == 1
    assert set(machines.fake.rows) == {SOURCE}


def test_not_even_an_expired_copy_is_deleted_under_a_run_that_is_under_way(machines: Machines) -> None:
    drilled()
    machines.clock.at += 90_000
    with locked("prod"), pytest.raises(RefusedError, match="under way"):
        clean_orphans(SETTINGS, "prod", tell)
    assert len(machines.fake.rows) == 2
