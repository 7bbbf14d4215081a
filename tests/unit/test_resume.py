"""An unfinished restore is found again: by its run's name and by its request, on a machine that never heard of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from dr import wiring
from dr.app.restore import asked, request, resumed
from dr.app.session import Prepared, prepare
from dr.config.context import Context
from dr.config.model import Settings
from dr.domain.errors import RefusedError, UsageError
from dr.domain.model import Call, Request
from dr.drivers.rds import RdsProvider
from dr.ports import Provider
from tests.unit.rds_support import NOW, SOURCE, FakeRds, VirtualClock, context, description, target
from tests.unit.test_rds_provider import SNAPSHOT
from tests.virtual import Scripted

SETTINGS = Settings(targets={"prod": target()})
NIGHT: dict[str, Any] = {"snapshot": "night"}


def tell(_call: Call, _note: str) -> None:
    """Nobody listens."""


def wanted(to: Mapping[str, Any] = NIGHT, since: float | None = None, **options: Any) -> Request:
    said: dict[str, Any] = {"as_name": "", "reset_master": False, "verify": False, "settings": None} | options
    return request("prod", target(), to, 12.0, since=since, **said)


class Machines:
    """Machines that share one RDS and nothing else."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fake = FakeRds(description())
        self.fake.listings["DBSnapshots"] = [SNAPSHOT]
        self._path, self._monkeypatch, self._count = path, monkeypatch, 0
        monkeypatch.setattr(wiring, "drivers", self._drivers)
        monkeypatch.setattr("dr.app.restore.drivers", self._drivers)
        self.another()

    def another(self) -> None:
        """From here on another machine is the one that acts."""
        self._count += 1
        self._monkeypatch.setenv("DR_HOME", str(self._path / str(self._count)))

    def _drivers(self, _context: Context, _verbs: Collection[str]) -> Mapping[str, Provider]:
        rds = RdsProvider(context(self._path / str(self._count), VirtualClock()), self.fake)  # type: ignore[arg-type]
        return {"rds": rds, "postgres": Scripted(), "measuring": Scripted(), "serving": Scripted()}

    def begin(self, asked_for: Request) -> Prepared:
        """Begin a restore and be killed once RDS has accepted it."""
        begun = prepare(SETTINGS, asked_for, asked(asked_for), tell)
        call = next(call for call in begun.session.plan.calls if call.restoration)
        begun.session.providers["rds"].apply(call, call.args)
        return begun


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    return Machines(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "asked_for",
    [
        wanted(),
        wanted({"snapshot": "latest"}, since=NOW - 600.5),
        wanted({"time": "latest"}, as_name="tonight", reset_master=True),
        wanted({"time": NOW - 3600}, settings={"DBInstanceClass": "db.r6g.xlarge", "MultiAZ": False}),
        wanted(verify=True),
    ],
)
def test_a_run_goes_on_by_its_name_with_the_very_same_request(machines: Machines, asked_for: Request) -> None:
    begun = machines.begin(asked_for).session
    machines.another()
    found = resumed(SETTINGS, "prod", begun.directory.id, None, tell).session
    assert found.directory.id == begun.directory.id
    assert found.plan.request == begun.plan.request
    assert [call.touches for call in found.plan.calls] == [call.touches for call in begun.plan.calls]


def test_the_same_command_keeps_the_time_of_the_disaster_and_another_is_refused(machines: Machines) -> None:
    begun = machines.begin(wanted(since=NOW - 600))
    machines.another()
    again = prepare(SETTINGS, wanted(), asked(wanted()), tell)
    assert (again.session.directory.id, again.session.plan.request.since) == (begun.session.directory.id, NOW - 600)
    for act in (
        lambda: prepare(SETTINGS, wanted(since=NOW - 60), asked(wanted()), tell),
        lambda: resumed(SETTINGS, "prod", begun.session.directory.id, NOW - 60, tell),
    ):
        with pytest.raises(RefusedError, match="not begun with this --since"):
            act()


def test_a_request_that_the_tags_do_not_tell_is_to_be_typed_again(machines: Machines) -> None:
    run = machines.begin(wanted(settings={"DBSubnetGroupName": "x" * 255})).session.directory.id
    machines.another()
    with pytest.raises(RefusedError, match="'dr restore --target prod --snapshot night'"):
        resumed(SETTINGS, "prod", run, None, tell)


def test_a_run_that_has_ended_and_one_that_never_was_are_told_apart(machines: Machines) -> None:
    begun = machines.begin(wanted()).session
    begun.restorer.seal_tag(str(begun.plan.calls[0].args["identifier"]), begun.directory.id, "met")
    machines.another()
    with pytest.raises(RefusedError, match="come to its end"):
        resumed(SETTINGS, "prod", begun.directory.id, None, tell)
    with pytest.raises(UsageError, match="no run 'nonesuch'"):
        resumed(SETTINGS, "prod", "nonesuch", None, tell)


def test_a_restoration_that_failed_for_good_is_not_gone_on_with_but_restored_anew_beside(machines: Machines) -> None:
    begun = machines.begin(wanted()).session
    failed = str(begun.plan.calls[0].args["identifier"])
    machines.fake.rows[failed]["DBInstanceStatus"] = "insufficient-capacity"
    machines.another()
    for act in (
        lambda: prepare(SETTINGS, wanted(), asked(wanted()), tell),
        lambda: resumed(SETTINGS, "prod", begun.directory.id, None, tell),
    ):
        with pytest.raises(RefusedError, match=f"{failed}, the restoration of run .* is insufficient-capacity"):
            act()
    other = wanted(settings={"DBInstanceClass": "db.r6g.xlarge"})
    anew = machines.begin(other).session
    assert anew.directory.id != begun.directory.id
    assert set(machines.fake.rows) == {SOURCE, failed, str(anew.plan.calls[0].args["identifier"])}
