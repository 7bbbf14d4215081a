"""The command line: ``dr``. Each family of commands is a file of its own, imported when it is called."""

from __future__ import annotations

import errno
import gc
import importlib
import os
import signal
import sys
import traceback
from contextlib import suppress
from functools import cache
from pathlib import Path

import click

from dr import __version__
from dr.cli.streams import Enduring, apart, endure
from dr.config.place import OTHERS
from dr.domain.errors import DEFECTS, DrError, RefusedError
from dr.host.signals import Interrupted, handling, interrupt

COMMANDS = {
    "restore": ("dr.cli.on_call", "Restore the database and prove it."),
    "failover": ("dr.cli.on_call", "Fail the database over, or promote a replica."),
    "drill": ("dr.cli.drill", "List, show and run recovery drills."),
    "verify": ("dr.cli.evidence", "Repeat a run's verdict from its evidence, offline."),
    "report": ("dr.cli.evidence", "Print or write a run's report."),
    "history": ("dr.cli.evidence", "List the runs and how they came out."),
    "adopt": ("dr.cli.housekeeping", "Hand a restored instance over: take the run's tags off."),
    "cleanup": ("dr.cli.housekeeping", "Finish killed runs and undo what they left."),
    "abort": ("dr.cli.housekeeping", "Stop a run that is under way."),
    "baseline": ("dr.cli.housekeeping", "Record what the source holds, beside its nightly backup."),
    "backups": ("dr.cli.housekeeping", "List what could be restored."),
    "doctor": ("dr.cli.housekeeping", "Check that a target is there and answers as configured."),
    "lab": ("dr.cli.lab", "The embedded environment: a whole platform on loopback."),
}


@cache
def _command(name: str) -> click.Command:
    return apart(getattr(importlib.import_module(COMMANDS[name][0]), name))


class LazyGroup(click.Group):
    """A group whose commands are imported when called, and whose help needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _command(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])


@click.group(cls=LazyGroup)
@click.version_option(__version__, package_name="dr")
def cli() -> None:
    """Restore, break and measure: disaster recovery that never says "recovered" without proof.

    Exit codes: 0 all demands met, 1 a demand missed, 2 usage, 3 refused, 4 inconclusive, 5 failed, 129, 130 or 143
    interrupted.
    """


INTERRUPTED = (129, 130, 143)


def _delivered(code: int, out: Enduring) -> int:
    """The exit code once stdout is written: a result that nobody got is never 0 or 1, and never hides an interrupt."""
    out.flush()
    if out.lost is None or code in INTERRUPTED:
        return code
    if isinstance(out.lost, BrokenPipeError):
        return 141
    click.echo(f"dr: stdout could not be written: {out.lost.strerror}. 'dr report' prints a run's result.", err=True)
    return 5


def _interrupted(by: BaseException | None) -> int:
    """The exit code of a command that was interrupted; which signal that was is said."""
    if not isinstance(by, Interrupted):
        return 130
    click.echo(f"dr: {by}", err=True)
    return by.code


def noted(error: BaseException) -> str:
    """Append the trace of a defect to a file that its user alone can read. Returns where it is, in a sentence."""
    from dr.config.load import home

    try:
        path = home() / "defects.log"
    except DrError as failed:
        return f"Its trace could not be written: {failed}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
            traceback.print_exception(error, file=file)
    except OSError as failed:
        return f"Its trace could not be written to {path}: {failed.strerror}."
    return f"The trace is in {path}."


FULL = (errno.ENOSPC, errno.EDQUOT)
"""What a disk without room says; of which file, it does not say."""


def _defect(error: BaseException) -> int:
    """The exit code, once it is said that the harness failed, and where its trace is; or that DR_HOME's disk did: what
    a command needs of it is looked at before it begins, and this is what came up later."""
    from dr.config.load import home

    what, code = f"the harness itself failed ({type(error).__name__}).", DrError.exit_code
    hint = "See to access and space, or set DR_HOME to another place."
    with suppress(DrError, TypeError):
        if isinstance(error, OSError) and error.errno in FULL:
            what = f"A file cannot be written: {error.strerror}. {hint}"
        elif isinstance(error, OSError) and Path(os.fsdecode(error.filename)).is_relative_to(home()):
            what = f"{os.fsdecode(error.filename)} cannot be used: {error.strerror}. {hint}"
            code = RefusedError.exit_code
    click.echo(f"dr: {what} {noted(error)}", err=True)
    return code


def main() -> None:
    """Run the command line and exit. Nothing a user does shows a traceback."""
    gc.set_threshold(20_000, 50, 50)  # most of what a short command makes are its imports, of which nothing is garbage
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored, nobody is told how a child ended
    out = endure()
    given = os.umask(OTHERS)  # what dr writes, and whatever it starts, is its user's alone
    try:
        with handling(interrupt):
            code = cli.main(standalone_mode=False, obj=given)
    except DrError as error:
        click.echo(f"dr: {error}", err=True)
        code = error.exit_code
    except click.exceptions.Abort as aborted:
        code = _interrupted(aborted.__cause__)
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.ClickException as wrong:
        wrong.show()
        code = 2
    except KeyboardInterrupt as ended:
        code = _interrupted(ended)
    except DEFECTS as error:  # a defect of dr's own: a person at 3 a.m. gets a sentence, the trace goes to a file
        code = _defect(error)
    gc.freeze()  # what is still there goes with the process: nobody need look through it
    sys.exit(_delivered(code if isinstance(code, int) else 0, out))
