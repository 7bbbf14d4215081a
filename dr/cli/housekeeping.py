"""``dr adopt``, ``cleanup``, ``abort``, ``baseline``, ``backups``, ``doctor``."""

from __future__ import annotations

import click
import msgspec
from click.core import ParameterSource

from dr import wiring
from dr.app.cleanup import adopt as hand_over
from dr.app.cleanup import clean, clean_elsewhere, clean_orphans, unsealed
from dr.app.ending import worst
from dr.app.lock import busy
from dr.app.survey import check, recovery_points, take
from dr.cli import common
from dr.cli.streams import echo
from dr.config.load import LAB, find_target, home, present, rewritten
from dr.config.model import Settings
from dr.config.plugins import ignored, unloaded
from dr.domain.errors import DrError, EvidenceError, UsageError
from dr.domain.refs import is_run
from dr.evidence.directory import RunDirectory, find_run
from dr.report.words import moment


@click.command()
@click.argument("run")
@click.option(
    "--confirm", default="", envvar="DR_CONFIRM", metavar="ID", help="Consent: the identifier of what was restored."
)
def adopt(run: str, confirm: str) -> None:
    """At cut-over: the instance that RUN restored becomes an ordinary one, which dr never touches again."""
    for sentence in hand_over(common.begin(), run, confirm):
        echo(sentence)


@click.command()
@click.argument("run", required=False)
@click.option("--all", "everything", is_flag=True, help="Every unfinished run, and drill copies that no run owns.")
@common.target_option
@click.pass_context
def cleanup(ctx: click.Context, run: str | None, everything: bool, target: str) -> None:
    """Unwind, judge and seal what was left. What dr restore made stays.

    With --all on every target, or on the one that is named.
    """
    settings = wiring.settings()
    common.make_ready()
    progress = common.Progress(settings)
    named = ctx.get_parameter_source("target") is not ParameterSource.DEFAULT
    if run is None and named and target != LAB:  # which comes and goes
        find_target(settings, target)
    try:
        chosen = unsealed(None if everything else target) if run is None else [find_run(home(), run)]
    except UsageError:
        if not _ended_elsewhere(settings, target, str(run), progress):
            raise
        return
    lost = common.tell_unreadable() if run is None else 0
    codes = {EvidenceError.exit_code if lost else 0}
    for directory in chosen:
        try:
            outcome = clean(settings, directory, progress)
        except DrError as error:  # the others must still be finished
            click.echo(f"dr: {directory.id}: {error}", err=True)
            codes.add(error.exit_code)
            continue
        left = " ".join(outcome.leftovers) or outcome.saw or "nothing is left."
        echo(f"{directory.id}: {outcome.verdict.status}. {left}")
        codes.add(5 if outcome.leftovers else 0)
    swept = () if not everything else (target,) if named else present(settings)
    blind = {_orphans(settings, name, progress) for name in swept} - {0}
    codes |= blind
    if not chosen:
        which = "Of the runs that can be read, nothing" if lost else "Of the runs here, nothing" if blind else "Nothing"
        more = "" if everything else f" on {target}; 'dr cleanup --all' asks the provider for copies, too"
        echo(f"{which} was left unfinished{more}.")
    ctx.exit(worst(codes))


def _ended_elsewhere(settings: Settings, target: str, run: str, progress: common.Progress) -> bool:
    """End a run that another machine began, where its whole name is given; whether anything of it is there."""
    if not (is_run(run) and target in present(settings)):
        return False
    told = clean_elsewhere(settings, target, run, progress)
    for sentence in told:
        echo(sentence)
    return bool(told)


def _orphans(settings: Settings, target: str, progress: common.Progress) -> int:
    """Delete drill copies that no run will; say which are gone, and what stands after that. Returns the exit code."""
    try:
        swept = clean_orphans(settings, target, progress)
    except DrError as error:
        click.echo(f"dr: drill copies that no run owns were not looked for on {target}: {error}", err=True)
        return error.exit_code
    for sentence in (*swept.gone, *swept.stands):
        echo(sentence)
    common.caution(f"left behind: {sentence}" for sentence in swept.left)
    if not swept.stands and not swept.left:
        echo(f"The provider lists no drill's copy on {target}.")
    return 5 if swept.left else 0


@click.command()
@click.argument("run", required=False)
@click.option("--all", "everything", is_flag=True, help="Every run that is under way.")
@click.pass_context
def abort(ctx: click.Context, run: str | None, everything: bool) -> None:
    """Tell a run to stop: it unwinds, judges and seals itself. What is no longer running, 'dr cleanup' finishes."""
    chosen = unsealed() if run is None else [find_run(home(), run)]
    lost = common.tell_unreadable() if run is None else 0
    if run is None and not everything and len(chosen) > 1:
        raise UsageError(f"{len(chosen)} runs are under way.", "Name one, or say --all.")
    for directory in chosen:
        if directory.sealed():
            echo(f"{directory.id} has already ended.")
            continue
        directory.halt("dr abort was called")
        if not directory.readable():
            click.echo(f"dr: {directory.id}: whether it runs is not known: its run.json is unreadable.", err=True)
            lost += 1
        echo(f"{directory.id} was told to stop.{'' if busy(directory) else _ended(directory)}")
    if not chosen:
        echo("Of the runs that can be read, none is under way." if lost else "No run is under way.")
    ctx.exit(EvidenceError.exit_code if lost else 0)


def _ended(directory: RunDirectory) -> str:
    """How a run comes to its end that nothing runs of any more. One that cannot be read is told by 'dr cleanup'."""
    ends = f"'dr cleanup {directory.id}' finishes it"
    if directory.readable():
        what = directory.record().plan.what
        if what == "restore":
            ends = f"'dr restore --resume {directory.id}' goes on; {ends}, and leaves what it made"
        elif what == "failover":
            ends = f"the same 'dr failover' command goes on; {ends}, and leaves what it made"
    return f" If nothing of it runs any more, {ends}."


@click.command()
@common.target_option
def baseline(target: str) -> None:
    """Record sums of every table and the service's answers, so that last night's snapshot can be compared.

    Run it before and after the nightly backup: a baseline judges a snapshot that lies between two of them.
    """
    common.make_ready()
    common.tell_unreadable()
    echo(take(target))


@click.command()
@common.target_option
@common.output_option
@click.pass_context
def backups(ctx: click.Context, target: str, output: str) -> None:
    """List snapshots and restore windows of the source, newest last."""
    common.make_ready()
    points, failed = recovery_points(wiring.settings(), target)
    common.caution(map(str, failed))
    if output == "json":
        echo(msgspec.json.encode(points).decode())
    for point in points if output == "text" else ():
        since = f"{moment(point.earliest)} to " if point.earliest is not None else ""
        covers = moment(point.covers) if point.covers is not None else "not known"
        echo(f"{point.kind:<9} {point.identifier:<48} {point.status:<10} {since}{covers}")
    ctx.exit(failed[0].exit_code if failed else 0)


@click.command()
@common.target_option
@click.pass_context
def doctor(ctx: click.Context, target: str) -> None:
    """Check identity, source, secrets, logins, service and what else a target names; change nothing.

    Exits with 3 where anything is wrong.
    """
    code, settings = 0, common.begin()
    common.caution(why for why in unloaded().values() if why not in ignored())  # those every command tells
    common.caution(why for name, why in settings.unusable.items() if name != target)
    for name, problem in check(settings, target):
        echo(f"{'ok' if not problem else 'wrong':<6} {name}" + (f": {problem}" if problem else ""))
        code = 3 if problem else code
    if instead := rewritten(target):
        echo(f"dr: Target {target} is written in a former form, which is still read. Write it as:\n\n{instead}")
    ctx.exit(code)
