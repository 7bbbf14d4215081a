"""dr adopt hands over all that a run restored."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from dr.app.cleanup import adopt
from dr.app.earlier import ended_elsewhere
from dr.app.session import Session
from dr.domain.errors import DrError, RefusedError
from dr.domain.model import Component, Facts, Resource
from dr.domain.refs import Ref
from dr.drivers.rds.naming import instance
from tests.unit.drivers.rds.support import SOURCE
from tests.unit.machines import SETTINGS, Machines, wanted


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    return Machines(tmp_path, monkeypatch)


def two(machines: Machines) -> tuple[Session, list[str]]:
    """A restore of two databases, each tagged by its run; and their names."""
    session = machines.begin_here(wanted()).session
    (first,) = set(machines.fake.rows) - {SOURCE}
    second = f"{first}-too"
    machines.fake.rows[second] = {**copy.deepcopy(machines.fake.rows[first]), "DBInstanceIdentifier": second}
    machines.fake.rows[second]["DBInstanceArn"] = machines.fake.rows[first]["DBInstanceArn"] + "-too"
    session.engine.ledger.append("effect", "examine", components=(Component("database", instance(second)),))
    return session, [first, second]


def tagged(machines: Machines, names: list[str]) -> list[str]:
    return [name for name in names if "dr:run" in machines.tags(name)]


@pytest.mark.parametrize("confirmed", [0, 1])
def test_all_that_a_run_restored_is_adopted_by_the_name_of_any(machines: Machines, confirmed: int) -> None:
    session, names = two(machines)
    with pytest.raises(RefusedError, match=f"Say --confirm {names[0]} to take the run's tags off {', '.join(names)}"):
        list(adopt(SETTINGS, session.directory.id, SOURCE))
    assert tagged(machines, names) == names
    told = list(adopt(SETTINGS, session.directory.id, names[confirmed]))
    assert [sentence.split()[0] for sentence in told] == names
    assert tagged(machines, names) == []


def test_a_part_of_what_was_restored_is_neither_adopted_nor_consent(machines: Machines) -> None:
    session, names = two(machines)
    part = Component("configuration", Ref("rds", "settings", "etc", instance(names[0])))
    session.engine.ledger.append("effect", "look", components=(part,))
    with pytest.raises(RefusedError, match=f"Say --confirm {names[0]}"):
        list(adopt(SETTINGS, session.directory.id, "etc"))
    assert tagged(machines, names) == names
    assert [sentence.split()[0] for sentence in adopt(SETTINGS, session.directory.id, names[0])] == names
    assert tagged(machines, names) == []


def test_what_cannot_be_adopted_keeps_nothing_else_and_is_adopted_by_the_next_command(machines: Machines) -> None:
    session, names = two(machines)
    machines.fake.fail["RemoveTagsFromResource"] = ["AccessDenied"]
    adopting = adopt(SETTINGS, session.directory.id, names[0])
    assert names[1] in next(adopting)
    with pytest.raises(DrError):
        next(adopting)
    assert tagged(machines, names) == names[:1]
    assert [sentence.split()[0] for sentence in adopt(SETTINGS, session.directory.id, names[0])] == names[:1]
    assert tagged(machines, names) == []


def test_a_run_of_which_another_machine_adopted_any_part_does_not_go_on() -> None:
    parts = (instance("one"), instance("two"))
    facts = Facts(0.0, resources=(Resource(parts[0], "available", {"dr:run": "r"}), Resource(parts[1], "available")))
    assert ended_elsewhere("r", parts, facts).startswith("two is no longer run r's: it was adopted elsewhere")
