"""A target that two providers restore: a run asks one of them, and says which where that is not clear."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import dr.drivers
from dr import wiring
from dr.app import survey
from dr.app.restore import request
from dr.config import plugins
from dr.config.context import Context
from dr.config.model import Settings
from dr.domain.errors import ProviderError, RefusedError, UsageError
from dr.domain.model import Facts, RecoveryPoint, Request, Verb
from tests.contract.example import EXAMPLE
from tests.integration.meters import context
from tests.virtual import Scripted, VirtualClock

KV = {"id": "store-1", "file": "/none/store.json", "backups": "/none"}


@pytest.fixture(autouse=True)
def _kv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The provider that is one folder is on the plugins' path."""
    shutil.copytree(Path(EXAMPLE) / "kv", tmp_path / "plugins" / "kv")
    (tmp_path / "plugins" / "kv" / "__init__.py").touch()
    monkeypatch.setattr(dr.drivers, "__path__", [*dr.drivers.__path__, str(tmp_path / "plugins")])
    _unload()
    yield
    _unload()


def _unload() -> None:
    """Nothing of it is left in this process."""
    for name in [name for name in sys.modules if name.startswith("dr.drivers.kv")]:
        del sys.modules[name]
    vars(dr.drivers).pop("kv", None)
    plugins._found.cache_clear()
    plugins.target_type.cache_clear()


def target(tmp_path: Path, *sections: str) -> Any:
    """The target of the meters' tests with a store beside it, as far as it is to have these ``sections``."""
    written = msgspec.to_builtins(context(tmp_path).target)
    whole = {**{name: part for name, part in written.items() if part}, "kv": KV}
    return msgspec.convert({name: whole[name] for name in sections}, plugins.target_type())


def verbs(of: Any, provider: str = "") -> list[tuple[str, str]]:
    """The verbs of a restore, each with the provider that it names."""
    asked = request("both", of, {"snapshot": "latest"}, **SAID, provider=provider)
    return [(verb.name, verb.args.get("provider", "")) for verb in asked.verbs]


SAID: dict[str, Any] = {"since": None, "as_name": "", "reset_master": False, "verify": True}
DATABASE, STORE = ("rds", "postgres", "service"), ("kv",)
SERVED = [("serve", ""), ("measure", ""), ("settle", "")]


def test_one_that_can_is_not_named(tmp_path: Path) -> None:
    whole = [("restore", ""), ("examine", ""), *SERVED, ("configure", "")]
    assert verbs(target(tmp_path, *DATABASE)) == verbs(target(tmp_path, *DATABASE), "rds") == whole
    assert verbs(target(tmp_path, *STORE)) == [("restore", ""), ("examine", "")]


def test_of_two_it_is_said_who_and_each_verb_is_done_for_that_one(tmp_path: Path) -> None:
    both = target(tmp_path, *DATABASE, *STORE)
    assert verbs(both, "kv") == [("restore", "kv"), ("examine", "kv")]
    assert verbs(both, "rds") == [("restore", "rds"), ("examine", "postgres"), *SERVED, ("configure", "")]


def test_where_it_is_not_said_the_choices_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not clear: kv, rds can\. Say --provider kv or --provider rds\."):
        verbs(target(tmp_path, *DATABASE, *STORE))
    with pytest.raises(UsageError, match=r"'velero' does not restore target both\. Say --provider kv\."):
        verbs(target(tmp_path, *STORE), "velero")
    with pytest.raises(RefusedError, match="Nothing restores target both"):
        verbs(target(tmp_path))


def test_one_that_cannot_be_loaded_and_is_asked_for_says_why(tmp_path: Path) -> None:
    both = target(tmp_path, *DATABASE, *STORE)
    (tmp_path / "plugins" / "kv" / "plugin.py").write_text("import nonesuch\n")
    _unload()
    with pytest.raises(UsageError, match=r"^The provider kv cannot be loaded from .*nonesuch"):
        verbs(both, "kv")
    assert verbs(both)[0] == ("restore", ""), "the other one is clear then"


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        (Verb("restore", {"to": {"time": "latest"}, "provider": "rds"}), {"rds"}),
        (Verb("restore", {"to": {"snapshot": "nightly"}, "provider": "kv"}), {"kv"}),
        (Verb("measure", {"path": "source"}), {"rds", "measuring"}),
        (None, {"rds", "kv"}),
    ],
)
def test_who_restores_and_has_no_part_in_a_run_is_not_asked(tmp_path: Path, asked: Verb | None, made: set[str]) -> None:
    both = target(tmp_path, *DATABASE, *STORE)
    of = Context("both", both, Settings(), tmp_path, tmp_path / "run", VirtualClock(), "")
    assert {*wiring.drivers(of, () if asked is None else (asked,))} == made


def test_what_one_could_restore_is_listed_although_the_other_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent(Scripted):
        def look(self, request: Request) -> Facts:
            raise ProviderError("The store does not answer.")

    class Kept(Scripted):
        def look(self, request: Request) -> Facts:
            return Facts(0.0, points=(POINT,))

    monkeypatch.setenv("DR_HOME", str(tmp_path))
    monkeypatch.setattr(survey, "drivers", lambda *_: {"kv": Silent(), "rds": Kept()})
    points, (failed,) = survey.recovery_points(Settings({"both": target(tmp_path, *DATABASE, *STORE)}), "both")
    assert (points, str(failed)) == ([POINT], "The store does not answer.")


POINT = RecoveryPoint("snapshot", "nightly", "db", "available", 1.0)
