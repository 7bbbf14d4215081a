"""A failover is called a failover, and no restore, while it is done, gone on with and looked at."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from dr.cli import cli
from dr.evidence.directory import runs
from tests.unit.app.test_failover_command import ONE, SETTINGS, TWO, Night, lost, night, night_home, promoting
from tests.unit.drivers.rds.support import SOURCE
from tests.unit.drivers.rds.test_failover import ABANDONED

__all__ = ["night"]
INSTEAD = (
    "restore instead: 'dr restore'",
    "or restore: 'dr restore'",
    "a restore takes one with --set NAME=VALUE, or for a drill under 'restored:' of the target in dr.yaml",
)
"""What is told of restores, and of no failover: the way that is left, and what a remedy is for either."""
FORMS = ("text", "html", "markdown", "json", "junit")


def stopped(night: Night) -> None:
    night.fake.then = lambda _row: runs(night_home(night))[-1].halt("somebody said so")


def abandoned(night: Night) -> None:
    def give_up(row: dict[str, Any]) -> None:
        row["DBInstanceStatus"] = "available"
        night.fake.tells(night.clock.at, ABANDONED)

    night.fake.then = give_up


def never(night: Night) -> None:
    night.fake.then = lambda row: row.update(DBInstanceStatus="available")


def expired(night: Night) -> None:
    night.fake.then = lost(night)


def done(_night: Night) -> None:
    """It goes as it should."""


def refused(night: Night) -> None:
    night.fake.fail.update({name: ["AccessDenied"] for name in ("PromoteReadReplica", "RebootDBInstance")})


def stuck(night: Night) -> None:
    promoting(night)
    promoted = night.fake.then

    def fail(row: dict[str, Any]) -> None:
        promoted(row)
        if row["DBInstanceIdentifier"] not in (SOURCE, ONE, TWO):
            row["DBInstanceStatus"] = "insufficient-capacity"

    night.fake.then = fail


ENDS = (done, stopped, abandoned, never, expired, refused, promoting, stuck)


def told(*words: str) -> str:
    """What a command prints."""
    return CliRunner().invoke(cli, list(words)).output


@pytest.fixture
def printed(night: Night, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Everything that is said of a run from its beginning to its clean-up, by command."""
    monkeypatch.setattr("dr.wiring.settings", lambda: SETTINGS)
    monkeypatch.setattr("dr.app.session.children.alive", lambda _owner: True)  # asked ten times a virtual second
    monkeypatch.setattr("dr.cli.common.Progress", lambda *_: lambda _call, note: said.append(note))
    said: list[str] = []

    def everything(end: Callable[[Night], None], promote: str) -> list[str]:
        end(night)
        again = ("failover", "--target", "pooled", *(("--promote", promote) if promote else ()))
        said.append(told(*again, "--plan"))
        said.append(told(*again, "--confirm", SOURCE))
        run = runs(night_home(night))[-1].id
        said.extend(told("report", run, "--format", form) for form in FORMS)
        said.extend(told(command, run) for command in ("verify", "abort", "adopt"))
        said.append(told(*again, "--plan", "--since", "2020-01-01T00:00:00Z"))
        said.append(told("restore", "--resume", run, "--plan"))
        said.extend((told("history"), told("history", "--output", "json")))
        night.fake.fail.clear()
        said.append(told(*again, "--confirm", SOURCE))
        night.clock.sleep(86_400.0)
        said.append(told(*again, "--plan"))
        said.append(told(*again, "--confirm", SOURCE))
        said.extend((told("cleanup", run), told("cleanup", "--all"), told("report", run)))
        return said

    return everything


@pytest.mark.parametrize(
    ("end", "promote"), [(end, how) for end in ENDS for how in ("", "best") if how or end not in (promoting, stuck)]
)
def test_no_sentence_of_a_failover_calls_it_a_restore(
    printed: Callable[..., list[str]], end: Callable[[Night], None], promote: str
) -> None:
    sentences = printed(end, promote)
    assert any("failover on pooled" in sentence for sentence in sentences)
    for sentence in sentences:
        shown = " ".join(html.unescape(sentence).split())
        bare = re.sub("|".join(INSTEAD), "", shown, flags=re.IGNORECASE)
        bare = re.sub(r'"restored": null,?|"restor[a-z]+":', "", bare)
        assert not re.search(r"(?i)restor|fail[-]over", bare), bare
