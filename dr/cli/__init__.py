"""The command line: ``dr``. Each family of commands is a file of its own, imported when it is called."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from contextlib import suppress
from pathlib import Path

import click

from dr import __version__
from dr.cli.defects import noted
from dr.cli.streams import Enduring, endure
from dr.config.place import OTHERS
from dr.domain.errors import DrError, RefusedError
from dr.host.signals import Interrupted, handling, interrupt

COMMANDS = {
    "restore": ("dr.cli.restore", "Restore the database and prove it."),
    "failover": ("dr.cli.failover", "Fail the database over, or promote a replica."),
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
    "lab": ("dr.cli.lab", "The embedded environment: real PostgreSQL behind an RDS endpoint."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when called, and whose help needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = getattr(module, cmd_name)
        return command

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


FULL = (errno.ENOSPC, errno.EDQUOT)
"""What a disk without room says; of which file, it does not say."""


def _on_disk(error: OSError) -> int:
    """The exit code, once it is said that DR_HOME's disk, and not dr, is at fault; of any other error it is a defect.

    What a command needs of DR_HOME is looked at before it begins: this is what came up later.
    """
    from dr.config.load import home

    hint = "See to access and space, or set DR_HOME to another place."
    with suppress(DrError, TypeError):
        if error.errno in FULL:
            click.echo(f"dr: A file cannot be written: {error.strerror}. {hint} {noted(error)}", err=True)
            return DrError.exit_code
        if error.filename is not None and Path(os.fsdecode(error.filename)).is_relative_to(home()):
            what = os.fsdecode(error.filename)
            click.echo(f"dr: {what} cannot be used: {error.strerror}. {hint} {noted(error)}", err=True)
            return RefusedError.exit_code
    click.echo(f"dr: the harness itself failed ({type(error).__name__}). {noted(error)}", err=True)
    return DrError.exit_code


def main() -> None:
    """Run the command line and exit. Nothing a user does shows a traceback."""
    out = endure()
    given = os.umask(OTHERS)  # what dr writes, and whatever it starts, is its user's alone
    try:
        with handling(interrupt):
            code = cli.main(standalone_mode=False, obj=given)
    except DrError as error:
        click.echo(f"dr: {error}", err=True)
        code = error.exit_code
    except click.exceptions.Abort as ended:
        code = _interrupted(ended.__cause__)
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.ClickException as wrong:
        wrong.show()
        code = 2
    except KeyboardInterrupt as ended:
        code = _interrupted(ended)
    except OSError as error:
        code = _on_disk(error)
    except Exception as error:  # a defect of dr's own: a person at 3 a.m. gets a sentence, the trace goes to a file
        click.echo(f"dr: the harness itself failed ({type(error).__name__}). {noted(error)}", err=True)
        code = 5
    sys.exit(_delivered(code if isinstance(code, int) else 0, out))
