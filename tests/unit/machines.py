"""Machines that share one RDS in memory and nothing else, in virtual time: each has a DR_HOME of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from dr import wiring
from dr.app.ending import finish
from dr.app.prepare import Prepared, accept, prepare
from dr.app.restore import asked, request, resumed
from dr.config.context import Context
from dr.config.model import Settings
from dr.domain.model import Call, Request
from dr.drivers.rds.provider import RdsProvider
from dr.engine.guard import Consent
from dr.engine.perform import perform
from dr.ports import Provider
from tests.unit.drivers.rds.support import SOURCE, FakeRds, FakeServers, VirtualClock, context, description, target
from tests.unit.drivers.rds.test_provider import SNAPSHOT
from tests.virtual import Scripted

SETTINGS = Settings(targets={"prod": target()})
NIGHT: dict[str, Any] = {"snapshot": "night"}


def tell(_call: Call, _note: str) -> None:
    """Nobody listens."""


def wanted(to: Mapping[str, Any] = NIGHT, since: float | None = None, **options: Any) -> Request:
    said: dict[str, Any] = {"as_name": "", "reset_master": False, "verify": False, "settings": None} | options
    return request("prod", target(), to, since=since, **said)


class Machines:
    """Machines that share one RDS and nothing else."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fake = FakeRds(description())
        self.fake.listings["DBSnapshots"] = [SNAPSHOT]
        self.fake.creates_as = "available"
        self.clock = VirtualClock()
        self._path, self._monkeypatch, self._count = path, monkeypatch, 0
        for module in ("prepare", "session"):
            monkeypatch.setattr(f"dr.app.{module}.SystemClock", lambda: self.clock)
        monkeypatch.setattr(wiring, "drivers", self._drivers)
        monkeypatch.setattr("dr.app.restore.drivers", self._drivers)
        monkeypatch.setattr("dr.app.cleanup.drivers", self._drivers)
        monkeypatch.setattr("dr.wiring.settings", lambda: SETTINGS)
        self.another()

    def another(self) -> None:
        """From here on another machine is the one that acts."""
        self._count += 1
        self.back_to(self._count)

    def back_to(self, number: int) -> None:
        """From here on machine ``number`` acts, from 1 on."""
        self._monkeypatch.setenv("DR_HOME", str(self._path / str(number)))

    def _drivers(self, _context: Context, _verbs: Collection[str]) -> Mapping[str, Provider]:
        here = context(self._path / str(self._count), self.clock)
        rds = RdsProvider(here, self.fake, FakeServers())  # type: ignore[arg-type]
        others = ("postgres", "measuring", "service", "scripted")  # the last does what those propose
        return {"rds": rds, **{name: Scripted() for name in others}}

    def begin(self, asked_for: Request) -> Prepared:
        """Begin a restore and be killed once RDS has accepted it."""
        begun = prepare(SETTINGS, asked_for, asked(asked_for), tell)
        call = next(call for call in begun.session.plan.calls if call.restoration)
        begun.session.providers["rds"].apply(call, call.args)
        return begun

    def begin_here(self, asked_for: Request) -> Prepared:
        """Begin a restore that leaves a run directory, and be killed once the restoration is there."""
        begun = prepare(SETTINGS, asked_for, asked(asked_for), tell)
        session = accept(begun, Consent(SOURCE))
        perform(session.engine, [call for call in session.plan.calls if call.restoration])
        return begun

    def finish(self, run: str) -> str:
        """Go on with ``run`` to its end. Returns its restoration."""
        session = accept(resumed(SETTINGS, "prod", run, None, tell), Consent(SOURCE))
        for position in range(len(session.plan.request.verbs)):
            session.do(position)
        finish(session)
        return session.restorations()[0].name

    def tags(self, identifier: str) -> dict[str, str]:
        return {tag["Key"]: tag["Value"] for tag in self.fake.rows[identifier]["TagList"]}

    def retag(self, identifier: str, tags: Mapping[str, str]) -> None:
        """Somebody else alters the tags of an instance."""
        self.fake.rows[identifier]["TagList"] = [{"Key": key, "Value": value} for key, value in tags.items()]

    def changes(self) -> list[str]:
        """What has changed anything at RDS so far."""
        return [name for name, _ in self.fake.calls if not name.startswith(("Describe", "Download"))]


def again(asked_for: Request) -> Prepared:
    """The same command once more."""
    return prepare(SETTINGS, asked_for, asked(asked_for), tell)
