"""A damaged run is named and left out: it stops no command that can do without it, and is exit code 4 elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dr.cli import cli
from dr.domain.errors import DrError
from dr.domain.model import Observation, Purpose
from dr.evidence.directory import RunDirectory
from dr.evidence.samples import header, marker_line, sample_line
from tests.unit.evidence.test_directory import CLOCK, RECORD, record_of

GOOD, BAD = "20261123-091500-aaaa", "20261123-101500-bbbb"
BRACKETS = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"


def written(home: Path, name: str) -> RunDirectory:
    run = RunDirectory(home / "runs" / name)
    digest = run.create(record_of(name))
    ledger = run.ledger(CLOCK)
    ledger.append("accepted", data={"run.json": digest})
    ledger.append("event", data={"text": "one"})
    ledger.append("event", data={"text": "two"})
    run.observe([Observation("model", "restored", {"active": 1})], 1.0)
    for meter, line in (
        ("samples", sample_line(0, 1, 2, 3, 200, "", 0)),
        ("markers", marker_line(0, 1, 2, 3, "failed")),
    ):
        (run.path / f"{meter}-source.jsonl").write_bytes(header("source", 1.0, 1.0, CLOCK.now()) + line)
    (run.path / "journal.json").write_text('{"status": "completed"}')
    (run.path / "baseline.json").write_text('{"a": 1}')
    run.write_verdict({"verdict": "met"})
    return run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return healthy(tmp_path, monkeypatch)


def healthy(at: Path, patch: pytest.MonkeyPatch) -> Path:
    """A home with a run that was sealed."""
    for name in ("DR_TARGET", "DR_CONFIG", "DR_RUN", "DR_YES", "DR_CONFIRM"):
        patch.delenv(name, raising=False)
    patch.setenv("DR_HOME", str(at / "home"))
    patch.chdir(at)
    good = written(at / "home", GOOD)
    good.seal(CLOCK.now(), good.digests())
    return at / "home"


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "no utf-8": lambda path: path.write_bytes(path.read_bytes().replace(b'"', b'"\xff', 3)),
    "a directory": directory,
    "a pipe": pipe,
    "brackets": lambda path: path.write_bytes(BRACKETS + BRACKETS),
    "empty objects": lambda path: path.write_bytes(b"{}\n{}\n"),
    "a list": lambda path: path.write_bytes(b"[]\n"),
    "no number": lambda path: path.write_bytes(b'{"a": NaN}\n{"a": 1e999}\n'),
    "a surrogate": lambda path: path.write_bytes(b'{"a": "\\ud800"}\n{"a": "\\ud800"}\n'),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2].replace(b"\n", b" ") + b"\n"),
}


def dr(*args: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr. Whatever is no error of dr's own is raised."""
    ended = CliRunner().invoke(cli, args, standalone_mode=False)
    if isinstance(ended.exception, DrError):
        return ended.exception.exit_code, ended.stdout, f"{ended.stderr}dr: {ended.exception}\n"
    if ended.exception is not None:
        raise ended.exception
    return int(ended.return_value or 0), ended.stdout, ended.stderr


COMMANDS = (
    ("restore", "--latest", "--yes"),
    ("restore", "--resume", GOOD),
    ("failover", "--yes"),
    ("drill", "run", "rds-pitr", "--yes"),
    ("drill", "list"),
    ("verify", GOOD),
    ("report", GOOD),
    ("history",),
    ("history", "--output", "json"),
    ("adopt", GOOD),
    ("cleanup",),
    ("cleanup", "--all"),
    ("cleanup", GOOD),
    ("abort",),
    ("abort", "--all"),
    ("abort", GOOD),
    ("baseline",),
    ("backups",),
    ("doctor",),
    ("lab", "down"),
    ("lab", "status"),
)
UNCERTAIN = {("cleanup",), ("cleanup", "--all"), ("abort",), ("abort", "--all")}
"""They speak of every run there is, and one that cannot be read may be among those."""
ALONE = {"verify", "report", "cleanup", "abort"}
ELSEWHERE = {"drill list", "backups", "lab status", *(f"{what} {GOOD}" for what in ALONE)}
"""They have nothing to do with other runs."""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], int]:
    """The exit code of each command where no other run is there."""
    with pytest.MonkeyPatch.context() as patch:
        healthy(tmp_path_factory.mktemp("healthy"), patch)
        return {command: dr(*command)[0] for command in COMMANDS if command not in UNCERTAIN}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("file", ["run.json", "ledger.jsonl"])
def test_an_unfinished_run_that_cannot_be_read_is_named_once_and_stops_no_command(
    file: str, damage: str, home: Path, before: dict[tuple[str, ...], int]
) -> None:
    path = written(home, BAD).path / file
    DAMAGE[damage](path)
    for command in COMMANDS:
        code, out, err = dr(*command)
        assert code == (4 if command in UNCERTAIN else before[command]), (command, err)
        named = err.count(f"un {BAD}")
        if "history" in command and file == "ledger.jsonl":
            assert f"{BAD}  restore" in out or f'"{BAD}"' in out
        elif " ".join(command) not in ELSEWHERE and command != ("restore", "--resume", GOOD):
            assert named == 1, (command, err)
            assert str(path) in err
        assert "Nothing was left" not in out
        assert "No run is under way" not in out


def test_what_to_do_about_an_unreadable_run_can_be_done(home: Path) -> None:
    DAMAGE["half"](written(home, BAD).path / "run.json")
    _, _, err = dr("cleanup")
    assert f"move {home / 'runs' / BAD} away. Then 'dr cleanup {BAD} --target NAME' removes" in err


def test_a_run_without_a_verdict_is_compared_with_none(home: Path) -> None:
    (written(home, BAD).path / "verdict.json").unlink()
    code, _, err = dr("verify", BAD)
    assert code == 4
    assert "None" not in err
    assert "the run has no verdict of its own yet" in err


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("command", ["verify", "report", "adopt", "cleanup", "abort"])
def test_a_run_that_is_named_and_cannot_be_read_is_an_evidence_error(command: str, damage: str, home: Path) -> None:
    path = written(home, BAD).path / "run.json"
    DAMAGE[damage](path)
    code, _, err = dr(command, BAD)
    assert code == 4
    assert "run.json" in err


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    "file",
    [
        *("ledger.jsonl", "observations.jsonl", "samples-source.jsonl", "markers-source.jsonl"),
        *("journal.json", "baseline.json", "verdict.json", "seal.json"),
    ],
)
def test_a_sealed_run_that_was_damaged_is_inconclusive_and_its_file_named(file: str, damage: str, home: Path) -> None:
    DAMAGE[damage](home / "runs" / GOOD / file)
    code, _, err = dr("verify", GOOD)
    assert code == 4
    assert f"dr: {file} was altered" in err
    assert dr("report", GOOD)[0] == 0
    assert dr("history")[0] == 0
    assert dr("cleanup")[0] == 0


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_halt_is_one_whatever_it_says(damage: str, home: Path) -> None:
    run = RunDirectory(home / "runs" / GOOD)
    run.halt('"because"')
    DAMAGE[damage](run.path / "halt")
    assert run.halted()


def test_the_purpose_of_the_runs_here_is_one_that_every_command_takes() -> None:
    assert RECORD.plan.request.purpose is Purpose.RESTORE
