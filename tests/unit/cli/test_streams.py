"""A reader that goes away and a full disk end no command, and are never taken for a result."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from dr.app.cleanup import Ended, abandon, clean_drills
from dr.app.ending import Outcome
from dr.app.signals import halting
from dr.cli.common import tell_cleaned
from dr.cli.streams import apart, echo, results
from dr.config.model import Settings
from dr.domain.model import Status, Verdict
from dr.evidence.directory import RunDirectory

SAYS = """
import click, sys
from dr.cli import cli, main
@cli.command("say")
@click.pass_context
def say(ctx):
    for n in range(3):
        click.echo("progress", err=True)
        click.echo("result")
    open(sys.argv[2], "w").write("sealed")
    ctx.exit(1)
cli.get_command = lambda ctx, name: say
say.params.append(click.Argument(["path"], expose_value=False))
main()
"""


def said(path: Path, stdout: int, stderr: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SAYS, "say", str(path)], stdout=stdout, stderr=stderr, text=True, check=False
    )


def unread() -> int:
    """A pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize(("out", "err", "code"), [("pipe", "pipe", 141), ("full", "full", 5), ("", "full", 1)])
def test_a_stream_that_cannot_be_written_ends_nothing(tmp_path: Path, out: str, err: str, code: int) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    streams = {"pipe": unread(), "full": full, "": subprocess.PIPE}
    ended = said(tmp_path / "run", streams[out], streams[err])
    assert (ended.returncode, (tmp_path / "run").read_text()) == (code, "sealed")


def test_a_full_stdout_is_said_on_stderr(tmp_path: Path) -> None:
    ended = said(tmp_path / "run", os.open("/dev/full", os.O_WRONLY), subprocess.PIPE)
    assert "stdout could not be written: No space left on device" in ended.stderr


def test_a_lost_terminal_halts_the_run_unless_it_is_ignored(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup these tests themselves ignore it
    try:
        with halting(run) as received:
            os.kill(os.getpid(), signal.SIGHUP)
        assert (received, run.halted()) == ([129], "SIGHUP was received")
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with halting(run) as received:
            os.kill(os.getpid(), signal.SIGHUP)
        assert received == []
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_could_not_be_undone_is_not_called_cleaned_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdict = Verdict("r", "lab", "d", Status.INCONCLUSIVE, (), (), None)
    run = RunDirectory(tmp_path / "r")
    tell_cleaned([(run, Outcome(run, verdict, ("restore could not be undone: busy.",)))])
    assert "could not be cleaned up whole: restore could not be undone: busy. 'dr cleanup r'" in capsys.readouterr().err


@pytest.mark.parametrize("end", [lambda: clean_drills(Settings(), "prod", lambda *_: None), lambda: abandon("prod")])
def test_runs_that_cannot_be_listed_change_nothing_of_a_commands_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], end: Callable[[], Ended]
) -> None:
    monkeypatch.setenv("DR_HOME", str(tmp_path))
    (tmp_path / "runs").touch()
    tell_cleaned(end())
    assert f"killed drills could not be cleaned up: {tmp_path}/runs cannot be listed" in capsys.readouterr().err


@pytest.mark.parametrize("fails", [False, True])
def test_while_a_command_runs_stdout_holds_its_results_alone(fails: bool) -> None:
    """Whether results are coloured, is asked of where they go. ``fails``: the command ends with an error."""
    asked = []

    @click.group()
    def every() -> None:
        """A group, whose commands are apart, too."""

    @every.command()
    def say() -> None:
        print("beside")
        asked.append((results() is not sys.stdout, results().isatty()))
        echo("result")
        echo("told", err=True)
        if fails:
            raise ValueError

    before = sys.stdout
    ended = CliRunner().invoke(apart(every), ["say"])
    assert (ended.stdout, ended.stderr) == ("result\n", "beside\ntold\n")
    assert (asked, bool(ended.exception)) == ([(True, False)], fails)
    assert results() is sys.stdout is before
