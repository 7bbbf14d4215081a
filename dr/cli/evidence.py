"""``dr verify``, ``dr report``, ``dr history``: reading what runs left behind."""

from __future__ import annotations

from dataclasses import replace

import click

from dr.app.lock import busy
from dr.cli import common
from dr.cli.streams import echo
from dr.config.load import home
from dr.domain.errors import EvidenceError
from dr.domain.model import Verdict
from dr.evidence.directory import RunDirectory, find_run, none_yet, runs
from dr.evidence.model import Evidence
from dr.evidence.seals import Seals, gone, seals
from dr.host.clock import SystemClock
from dr.judge.verdict import exit_code, judge
from dr.wiring import objectives


@click.command()
@click.argument("run", default="latest")
@common.output_option
@click.pass_context
def verify(ctx: click.Context, run: str, output: str) -> None:
    """Judge RUN again from its evidence alone, and say whether that is the verdict it was given."""
    known = seals(home(), SystemClock())
    directory, evidence, verdict = _judged(run, known)
    echo(common.rendered(output, evidence, verdict))
    common.caution(f"{problem}." for problem in (*evidence.problems, evidence.unsealed) if problem)
    common.caution(filter(None, [known.untold(directory, SystemClock())]))
    recorded = directory.verdict_document() or {}
    given = recorded.get("verdict")
    if given is None:
        click.echo("dr: the run has no verdict of its own yet that this one could be compared with.", err=True)
    elif given != str(verdict.status):
        click.echo(f"dr: the run was given {given}, its evidence says {verdict.status}.", err=True)
    ctx.exit(exit_code(verdict))


@click.command()
@click.argument("run", default="latest")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "html", "markdown", "json", "junit"]),
    default="text",
    help="Print it in this form.",
)
def report(run: str, form: str) -> None:
    """Print RUN's report; html is one self-contained page."""
    _, evidence, verdict = _judged(run, seals(home(), SystemClock()))
    echo(common.rendered(form, evidence, verdict))


@click.command()
@common.output_option
def history(output: str) -> None:
    """List the runs, newest last."""
    rows, known = [], seals(home(), SystemClock())
    common.caution(gone(home(), known, SystemClock()))
    for directory in runs(home()):
        try:
            plan = directory.record().plan
        except EvidenceError as error:
            click.echo(f"dr: run {directory.id}: {error}", err=True)
            rows.append({"run": directory.id, "what": "", "target": "", "verdict": "unreadable"})
            continue
        document = directory.verdict_document() or {}
        came_out = document.get("verdict", "unfinished") if directory.sealed() else "unfinished"
        if any(directory.broken_seals(SystemClock())) or known.of_another(directory):
            came_out = "altered"
        if document.get("verified") is False and came_out == "met":
            came_out = "not verified"
        what = plan.request.drill or plan.what
        rows.append({"run": directory.id, "what": what, "target": plan.request.target, "verdict": came_out})
    if output == "json":
        echo(common.dumps(rows))
        return
    if not rows:
        common.caution([none_yet(home())])
    for row in rows:
        echo(f"{row['run']}  {row['what']:<24} {row['target']:<12} {row['verdict']}")


def _judged(run: str, known: Seals) -> tuple[RunDirectory, Evidence, Verdict]:
    """A run's directory, evidence and verdict, judged anew. A run without a seal proves nothing: that is a problem."""
    directory = find_run(home(), run)
    evidence = directory.load(SystemClock())
    if replaced := known.of_another(directory):
        evidence = replace(evidence, problems=(replaced, *evidence.problems))
    if not directory.sealed():
        why = "it is still under way" if busy(directory) else "it never came to its end"
        evidence = replace(evidence, unsealed=f"the run is not sealed: {why}")
    return directory, evidence, judge(evidence, objectives())
