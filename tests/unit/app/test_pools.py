"""What a drill may leave taken is looked at wherever a provider knows of such a thing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dr.app import pools
from dr.app.session import Session
from dr.config.plugins import Plugin
from dr.domain.errors import ProviderError
from dr.domain.model import Plan, Purpose, Request, RunIdentity
from tests.integration.meters import context
from tests.virtual import VirtualClock

POOL = {"database": "d", "user": "u", "waiting": 0, "cancels": 0, "busy": 0}
OTHER = {**POOL, "database": "e"}


def failing(_context: object) -> None:
    raise ProviderError("The console does not answer.")


def looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *held: Any) -> list[Any]:
    """What is recorded before a drill and after it, where providers hold these."""
    found = {
        str(n): Plugin(str(n), held=one if callable(one) else lambda _, one=one: one) for n, one in enumerate(held)
    }
    monkeypatch.setattr(pools, "plugins", lambda: found)
    planned = Plan(Request("lab", (), Purpose.DRILL), RunIdentity("r1", "lab", Purpose.DRILL, ""), (), ())
    session = Session(replace(context(tmp_path), clock=VirtualClock()), planned, {}, lambda _call, _note: None)
    pools.look_before(session)
    pools.look_after(session)
    return [one.value for one in session.directory.observations()]


def test_the_pools_of_all_providers_are_looked_at_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [POOL, OTHER]
    assert looked(tmp_path, monkeypatch, [POOL], None, [OTHER]) == [
        {"when": "before", "pools": both},
        {"when": "after", "pools": both},
    ]


def test_a_target_without_pools_is_told_as_such_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert looked(tmp_path, monkeypatch, None) == [{"when": "before", "because": pools.NOBODY}]


def broken(_context: object) -> None:
    raise ValueError("a password, perhaps")


@pytest.mark.parametrize(
    ("held", "because"),
    [(failing, "The console does not answer."), (broken, "The provider 0 failed in held (ValueError).")],
)
def test_pools_that_cannot_be_looked_at_are_told_with_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: Any, because: str
) -> None:
    why = {"because": because}
    assert looked(tmp_path, monkeypatch, held) == [{"when": "before", **why}, {"when": "after", **why}]
