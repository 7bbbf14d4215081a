"""``dr drill``: list, show, run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from dr.app import drill as drills
from dr.app.cleanup import clean_drills
from dr.app.drill import Experiment, ForeignError, known, read
from dr.app.ending import Outcome, worst
from dr.app.lock import locked
from dr.app.prepare import accept, prepare
from dr.app.session import Session
from dr.cli import common
from dr.cli.streams import echo
from dr.config.model import Settings
from dr.domain.errors import DrError, HaltedError, UsageError
from dr.report.junit import Refused, junit

Ran = list[tuple[Session, Outcome]]


@click.group()
def drill() -> None:
    """Recovery drills: Chaos Toolkit experiments that end with a verdict."""


@drill.command("list")
@common.output_option
def list_drills(output: str) -> None:
    """List the drills."""
    experiments = []
    for name in known():
        try:
            experiments.append(read(name))
        except UsageError as error:  # one that cannot be read hides none of the others
            click.echo(f"dr: {error}", err=True)
    if output == "json":
        echo(common.dumps([{"name": e.name, "title": e.title, "path": str(e.path)} for e in experiments]))
        return
    for experiment in experiments:
        echo(f"{experiment.name:<24} {experiment.title}")


@drill.command()
@click.argument("name")
@common.output_option
def show(name: str, output: str) -> None:
    """Show what a drill does and what it demands."""
    e = read(name)
    drills.check(e)
    if output == "json":
        verbs = [{"name": verb.name, "args": dict(verb.args)} for verb in e.verbs]
        echo(common.dumps({"name": e.name, "title": e.title, "verbs": verbs, "demands": dict(e.demands)}))
        return
    echo(f"{e.name}: {e.title}\n{e.description}\nRunbook: {e.runbook}\nExperiment: {e.path}\n")
    for verb in e.verbs:
        echo(f"  {verb.name} {', '.join(f'{key}={value}' for key, value in verb.args.items())}".rstrip())
    of = {name: paths if isinstance(paths, str) else ", ".join(paths) for name, paths in e.demands.items()}
    echo(f"\nDemands: {', '.join(f'{objective} [{paths}]' for objective, paths in of.items())}")


@drill.command("run")
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--all", "everything", is_flag=True, help="Every drill.")
@click.option("--keep", is_flag=True, help="Keep what was restored. Faults are undone all the same.")
@click.option("--junit", "xml", type=click.Path(path_type=Path, dir_okay=False), help="Also write JUnit XML here.")
@common.run_options
@click.pass_context
def run_drills(
    ctx: click.Context, /, names: tuple[str, ...], everything: bool, xml: Path | None, **options: Any
) -> None:
    """Run drills, one after another, and judge them."""
    wanted = tuple(_ours(known())) if everything else names
    if not wanted:
        raise UsageError("No drill was named.", "Give names, or --all; 'dr drill list' lists them.")
    xml = None if options["plan_only"] else xml
    if xml is not None:
        _check_writable(xml, ctx.obj)
    settings = common.begin()
    experiments = drills.read_all(wanted, settings, options["target"])
    ran: Ran = []
    refused: list[Refused] = []
    codes: set[int] = set()
    for experiment in experiments:
        try:
            codes.add(_run(settings, experiment, options, ran))
        except HaltedError:
            raise
        except DrError as error:  # what a guard or a driver refuses is told, and the next drill may run
            click.echo(f"dr: {experiment.name}: {error}", err=True)
            refused.append(Refused(experiment.name, options["target"], str(error)))
            codes.add(error.exit_code)
        if codes & {129, 130, 143}:
            break
    if options["output"] == "json" and not options["plan_only"]:
        _print_json(ran, refused)
    if xml is not None:
        judged = [(outcome.load(session.context.clock), outcome.verdict) for session, outcome in ran]
        xml.write_text(junit(judged, refused))
    ctx.exit(worst(codes))


def _ours(names: Iterable[str]) -> Iterator[str]:
    """Those of ``names`` that are drills; of the others, which --all does not mean, it says so."""
    for name in names:
        try:
            read(name)
        except ForeignError as error:
            click.echo(f"dr: skipped: {error}", err=True)
            continue
        except UsageError:  # a drill with a mistake: it is told with all others
            pass
        yield name


def _run(settings: Settings, experiment: Experiment, options: dict[str, Any], ran: Ran) -> int:
    """Run one drill; returns its exit code."""
    progress = common.Progress(settings)
    with locked(options["target"]):
        if not options["plan_only"]:
            common.tell_cleaned(clean_drills(settings, options["target"], progress))
        wanted = drills.request(experiment, options["target"], options["keep"])
        prepared = prepare(settings, wanted, experiment.demands, progress)
        if options["plan_only"]:
            common.print_plan(prepared, options["output"])
            return 0
        session = accept(prepared, common.consent(prepared, options["yes"], options["confirm"]))
        click.echo(f"Run {session.directory.id}: {experiment.title}", err=True)
        outcome = drills.run(session, experiment)
    ran.append((session, outcome))
    return common.conclude(session, outcome, options["output"])


def _print_json(ran: Ran, refused: list[Refused]) -> None:
    """One document whatever the number of drills: the verdict of one, or a list."""
    documents: list[dict[str, Any] | None] = [outcome.run.verdict_document() for _, outcome in ran]
    documents += [{"drill": one.drill, "target": one.target, "refused": one.because} for one in refused]
    echo(common.dumps(documents[0] if len(documents) == 1 else documents))


def _check_writable(path: Path, umask: int | None) -> None:
    """Before a drill begins, and not after it. ``umask``: the user's own, which a file of theirs is made with. Raises
    UsageError."""
    try:
        new = not path.exists()
        path.touch()
        if new and umask is not None:
            path.chmod(0o666 & ~umask)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", "Name another file for --junit.") from None
