from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dr.cli.on_call import _settings as set_options
from dr.domain.errors import UsageError
from tests import forked
from tests.support import BUSY


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DR_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("DR_TARGET", "DR_CONFIG", "DR_RUN", "DR_YES", "DR_CONFIRM"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def dr(*args: str) -> subprocess.CompletedProcess[str]:
    return forked.dr(args, os.environ, Path.cwd(), timeout=60.0 * BUSY)


def typed(*args: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, as a shell begins it."""
    return subprocess.run([sys.executable, "-m", "dr", *args], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("nonsense",), 2, "nonsense"),
        (("restore", "--nonsense"), 2, "--nonsense"),
        (("restore", "--snapshot", "x"), 3, "'dr lab up'"),
        (("restore", "--snapshot", "x", "--target", "prod"), 2, "no target 'prod'"),
        (("restore", "--resume", "zzz"), 2, "no run 'zzz'"),
        (("restore", "--resume", "zzz", "--latest"), 2, "Give no other option than --since"),
        (("restore", "--resume", "zzz", "--provider", "rds"), 2, "Give no other option than --since"),
        (("restore", "--resume", "zzz", "--no-verify"), 2, "Give no other option than --since"),
        (("restore", "--latest", "--since", "9999-12-31T23:59:59-14:00"), 3, "is in the future"),
        (("restore",), 2, "No recovery points were named"),
        (("restore", "--backup", ""), 2, "--backup names nothing. Name one, or say latest: 'dr backups' lists them."),
        (
            ("restore", "--backup", "latest", "--namespace", " "),
            2,
            "--namespace names nothing. Name one, or",
        ),
        (("restore", "--snapshot", ""), 2, "--snapshot names nothing. Name one: 'dr backups' lists them."),
        (("restore", "--latest", "--snapshot", "x"), 2, "2 recovery points were named"),
        (("restore", "--to-time", "yesterday"), 2, "--to-time"),
        (("restore", "--backup", "x", "--into", ""), 2, "--into says nothing"),
        (("restore", "--latest", "--into", "x"), 2, "--into is about a cluster's backup"),
        (("restore", "--backup", "x", "--database", "h:1"), 2, "--database is the database of a copy"),
        (("restore", "--resume", "zzz", "--into", "x"), 2, "Give no other option than --since"),
        (("restore", "--latest", "--set", "foo"), 2, "--set 'foo' gives no value"),
        (("failover", "--since", "9999-12-31T23:59:59Z"), 3, "is in the future"),
        (("drill", "run"), 2, "No drill was named"),
        (("drill", "show", "zzz"), 2, "no drill 'zzz'"),
        (("failover", "--promote", ""), 2, "--promote names no replica"),
        (("verify", "zzz"), 2, "no run 'zzz'"),
        (("verify", ""), 2, "No run was named"),
        (("report", ""), 2, "No run was named"),
        (("cleanup", ""), 2, "No run was named"),
        (("abort", ""), 2, "No run was named"),
        (("restore", "--resume", ""), 2, "No run was named"),
        (("report", "zzz"), 2, "no run 'zzz'"),
        (("report",), 2, "There is no run yet under "),
        (("verify", "latest"), 2, "'dr drill run' begins one; DR_HOME says where others lie."),
        (("adopt", "zzz"), 2, "no run 'zzz'"),
        (("cleanup", "zzz"), 2, "no run 'zzz'"),
        (("cleanup", "--all", "--target", "lab"), 3, "that no run owns were not looked for on lab"),
        (("baseline",), 3, "'dr lab up'"),
        (("backups",), 3, "'dr lab up'"),
    ],
)
def test_a_mistake_ends_in_a_sentence_and_its_exit_code(
    home: Path, args: tuple[str, ...], code: int, words: str
) -> None:
    ended = dr(*args)
    assert ended.returncode == code
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_process_of_its_own_ends_as_its_commands_do(home: Path) -> None:
    for args in (("verify", "zzz"), ("history", "--output", "json")):
        alone, forked = typed(*args), dr(*args)
        assert (alone.returncode, alone.stdout, alone.stderr) == (forked.returncode, forked.stdout, forked.stderr)


def test_cleaning_up_all_of_nothing_is_no_mistake(home: Path) -> None:
    ended = dr("cleanup", "--all")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "Nothing was left unfinished.\n", "")


def test_cleaning_up_runs_says_that_copies_were_not_asked_for(home: Path) -> None:
    ended = dr("cleanup")
    assert ended.returncode == 0
    assert "'dr cleanup --all' asks the provider for copies, too." in ended.stdout


def test_a_setting_is_json_where_it_is_that_and_text_otherwise() -> None:
    given = ("A=db.r6g.large", "B=true", 'C=["x"]', "D=", "E=k=v", "F=null")
    assert set_options(given) == {"A": "db.r6g.large", "B": True, "C": ["x"], "D": "", "E": "k=v", "F": None}
    with pytest.raises(UsageError, match="'A' gives no value"):
        set_options(("A",))


def test_a_broken_configuration_is_named_and_nothing_is_done(home: Path) -> None:
    (home / "dr.yaml").write_text("targets: 3")
    ended = dr("restore", "--latest")
    assert ended.returncode == 2
    assert "dr.yaml, line 1, is not valid: targets: Expected" in ended.stderr
    assert not (home / "runs").exists()


@pytest.mark.parametrize("words", [("history",), ("lab", "status"), ("verify", "latest")])
def test_no_command_takes_a_file_for_its_home(
    home: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    (home / "file").touch()
    monkeypatch.setenv("DR_HOME", str(home / "file"))
    ended = dr(*words)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "which is a file" in ended.stderr


def test_help_names_every_command_and_imports_no_heavy_library(home: Path) -> None:
    code = "import sys; sys.argv=['dr','--help']; from dr.cli import main\ntry: main()\nexcept SystemExit: pass\n"
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            code + "print(sorted({'boto3','psycopg','chaoslib','moto','jinja2'} & set(sys.modules)))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.splitlines()[-1] == "[]"
    for command in ("restore", "drill", "verify", "report", "history", "adopt", "cleanup", "abort", "baseline", "lab"):
        assert f"  {command} " in ended.stdout


def test_an_empty_history_is_no_error(home: Path) -> None:
    ended = dr("history", "--output", "json")
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "[]", "")
    said = dr("history")
    assert (said.returncode, said.stdout) == (0, "")
    assert f"There is no run yet under {home / 'runs'}." in said.stderr


def test_nothing_to_clean_or_abort_is_no_error(home: Path) -> None:
    assert dr("cleanup").returncode == 0
    assert dr("abort").returncode == 0
