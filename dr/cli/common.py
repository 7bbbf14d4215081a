"""What several commands share: options, consent, progress, the end of a run."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dr.cli.defects import noted
from dr.domain.errors import DefectError, DrError
from dr.domain.model import Call
from dr.domain.names import check_name

if TYPE_CHECKING:
    from dr.app.outcome import Outcome
    from dr.app.session import Prepared, Session
    from dr.config.model import Settings
    from dr.domain.model import Component, Verb, Verdict
    from dr.engine.guard import Consent
    from dr.evidence.directory import RunDirectory
    from dr.evidence.model import Evidence

F = TypeVar("F", bound=Callable[..., Any])


def _target(_ctx: click.Context, _param: click.Parameter, name: str) -> str:
    return check_name(name, "target")


target_option = click.option(
    "--target",
    default="lab",
    envvar="DR_TARGET",
    show_default=True,
    callback=_target,
    metavar="NAME",
    help="Which target.",
)
output_option = click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    envvar="DR_OUTPUT",
    help="Print the result in this form.",
)


def run_options(command: F) -> F:
    """--plan, --yes and --confirm, which every command that changes something has."""
    for option in (
        click.option(
            "--confirm", default="", envvar="DR_CONFIRM", metavar="ID", help="Consent: the source's identifier."
        ),
        click.option("--yes", is_flag=True, envvar="DR_YES", help="Consent; on disposable targets alone."),
        click.option("--plan", "plan_only", is_flag=True, help="Print the planned calls and change nothing."),
        output_option,
        target_option,
    ):
        command = option(command)
    return command


def settings() -> Settings:
    from dr.wiring import settings

    return settings()


QUIET = 30.0
"""Seconds between two lines about the same waiting step where there is no terminal."""


class Progress:
    """Tells on stderr what is under way, against the objective; on a terminal a waiting step rewrites its line."""

    def __init__(self, objective: float) -> None:
        self._objective = objective
        self._began = self._told = time.monotonic()
        self._open = False

    def __call__(self, call: Call, note: str) -> None:
        terminal, now = sys.stderr.isatty(), time.monotonic()
        if note and not terminal and now - self._told < QUIET:
            return
        self._told = now
        passed = f"[{time.monotonic() - self._began:6.1f} of {self._objective:.0f} s]"
        line = f"{passed} {call.id}" + (f": {note}" if note else "")
        click.echo(("\r\x1b[K" if self._open else "") + line, err=True, nl=not (terminal and note))
        self._open = terminal and bool(note)


def consent(prepared: Prepared, yes: bool, confirm: str, cautions: Iterable[str] = ()) -> Consent:
    """The consent given by flags, or typed on a terminal. Without either the guard will refuse.

    ``cautions``: what is to be known before it, a sentence each, told after the plan. Where consent was given to what
    is refused all the same, the refusal stands alone.
    """
    from dr.engine.guard import Consent

    given, asks = Consent(confirm, yes), not (yes or confirm)
    typed = asks and sys.stdin.isatty() and sys.stderr.isatty()
    if typed:
        show_plan(prepared, err=True)
    if asks or not prepared.refusals(given):
        caution(cautions)
    if not typed:
        return given
    source = prepared.session.context.target.word
    return Consent(click.prompt(f"Type {source} to go on", err=True, default="", show_default=False))


def caution(sentences: Iterable[str]) -> None:
    """Beside the result, and so on stderr."""
    for sentence in sentences:
        click.echo(f"dr: {sentence}", err=True)


def show_plan(prepared: Prepared, err: bool = False) -> None:
    """The planned calls, one a line: what each makes, touches and awaits, and its undo; then what --set asked for."""
    for call in prepared.session.plan.calls:
        does = f" makes {', '.join(map(str, call.makes))}" if call.makes else ""
        does += f" touches {', '.join(map(str, call.touches))}" if call.touches else ""
        until = f" until {call.until} (at most {call.deadline:.0f} s)" if call.until else ""
        undo = f"; undone by {call.undo.operation}" if call.undo else ""
        click.echo(f"{call.verb:>14}  {call.driver}.{call.operation}{does}{until}{undo}", err=err)
    for verb in prepared.session.plan.request.verbs:
        for name, value in verb.args.get("set", {}).items() if verb.name == "restore" else ():
            click.echo(f"{'set':>14}  {name} to {json.dumps(value)}, instead of the source's", err=err)


def plan_document(prepared: Prepared) -> str:
    """The plan as JSON."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(prepared.session.plan), indent=2).decode()


def print_plan(prepared: Prepared, output: str, cautions: Iterable[str] = ()) -> None:
    """--plan: the calls and the demands, and what a guard would refuse. ``cautions``: beside it, a sentence each."""
    from dr.engine.guard import Consent

    caution(cautions)
    if output == "json":
        click.echo(plan_document(prepared))
        return
    show_plan(prepared)
    for demand in prepared.session.plan.demands:
        limit = f" at most {demand.limit:g} {demand.unit}" if demand.limit is not None else ""
        click.echo(f"{'demand':>14}  {demand.objective} [{demand.path}]{limit}")
    target = prepared.session.context.target
    for refusal in prepared.refusals(Consent(target.word)):
        click.echo(f"{'refused':>14}  {refusal}")


def make_ready() -> None:
    """See that DR_HOME can be written before anything is begun, and tell what of it others can read.

    Raises UsageError, RefusedError.
    """
    from dr.config.load import home
    from dr.config.place import make_ready as ready

    for sentence in ready(home()):
        click.echo(f"dr: {sentence}", err=True)


def tell_unreadable() -> int:
    """Name each unfinished run that cannot be read, and is left out. Returns how many there are."""
    from dr.app.cleanup import unreadable

    sentences = unreadable()
    for sentence in sentences:
        click.echo(f"dr: {sentence}", err=True)
    return len(sentences)


def tell_cleaned(ended: Iterable[tuple[RunDirectory, Outcome | DrError]]) -> None:
    """Clean up killed drills and say so. What fails here is told, and changes nothing of the command's own outcome."""
    try:
        for run, killed in ended:
            if isinstance(killed, DrError):
                click.echo(f"dr: the killed drill {run.id} could not be cleaned up: {killed}", err=True)
            else:
                click.echo(f"Drill {run.id} had been killed; {_cleaned(killed)}", err=True)
    except DrError as error:
        click.echo(f"dr: killed drills could not be cleaned up: {error}", err=True)


def _cleaned(killed: Outcome) -> str:
    if not killed.leftovers:
        return f"it was cleaned up. {killed.saw}".rstrip()
    left = " ".join(f"{sentence.rstrip('.')}." for sentence in killed.leftovers)
    return f"it could not be cleaned up whole: {left} 'dr cleanup {killed.run.id}' tries again."


def conclude(session: Session, outcome: Outcome, output: str) -> int:
    """Print the report (a JSON document is ``print_document``'s), the error and what was left; return the exit code.

    A report that cannot be printed costs nobody what is in the verdict, nor how the restoration is reached.
    """
    from dr.app.outcome import exit_code, worst

    code = exit_code(outcome)
    try:
        evidence = outcome.load(session.context.clock)
        if output == "text":
            click.echo(rendered(output, evidence, outcome.verdict), nl=False)
            click.echo(f"  Evidence  {outcome.run.path}")
        if evidence.samples:  # nobody waits at night for a page without a measurement; 'dr report' draws it on request
            _write_page(outcome, evidence, output)
    except Exception as error:
        _in_short(outcome, error)
        code = worst({code, 5})
    if outcome.error is not None:
        click.echo(f"dr: {_told(outcome.error)}", err=True)
    for sentence in outcome.leftovers:
        click.echo(f"dr: left behind: {sentence}", err=True)
    if outcome.saw and not outcome.leftovers and output != "text":  # the report says it
        click.echo(f"dr: {outcome.saw}", err=True)
    return code


def _in_short(outcome: Outcome, error: Exception) -> None:
    """What a person needs of a report that cannot be printed."""
    verdict = outcome.verdict
    why = error if isinstance(error, DrError) else DefectError(error)
    click.echo(f"dr: The report could not be printed: {_told(why)}", err=True)
    because = f" {verdict.findings[0].because}" if verdict.findings else ""
    click.echo(f"dr: {verdict.status.upper()}, run {verdict.run}.{because}", err=True)
    for component in verdict.restored:
        click.echo(f"dr: {component.ref.name}: {_reached(component)}", err=True)


def tell_so_far(session: Session, verb: Verb) -> None:
    """What is known before ``verb`` of a restore on call: how the restoration is reached, as soon as it is, and what
    was found in it, before the provider puts its last settings in, which may take hours."""
    from dr.evidence.restored import components
    from dr.judge.verdict import judge
    from dr.wiring import objectives

    if verb is session.plan.request.verbs[1]:
        yet = ", and is not examined yet" if verb.name == "examine" else ""
        for component in components(session.directory.entries(session.context.clock)):
            click.echo(f"dr: {component.ref.name} answers{yet}: {_reached(component)}", err=True)
    elif verb is session.plan.request.verbs[-1]:
        demanded = {demand.objective for demand in session.plan.demands}
        findings = judge(session.directory.load(session.context.clock), objectives()).findings
        found = [f"{one.objective} {one.status}" for one in findings if one.objective in demanded - {"configuration"}]
        click.echo(f"dr: Found so far: {', '.join(found)}.", err=True)


def _reached(component: Component) -> str:
    from dr.report.summary import connect

    return f"{connect(component)} {component.note}".rstrip()


def _told(error: DrError) -> str:
    return f"{error} {noted(error.cause)}" if isinstance(error, DefectError) else str(error)


def print_document(outcome: Outcome) -> None:
    """The verdict as JSON: verdict.json, or where it could not be judged, what is known all the same."""
    from dr.report.formats import outline

    click.echo(dumps(outcome.run.verdict_document() if outcome.judged else outline(outcome.verdict)))


def _write_page(outcome: Outcome, evidence: Evidence, output: str) -> None:
    page = outcome.run.path / "report.html"
    try:
        page.write_text(rendered("html", evidence, outcome.verdict))
        click.echo(f"  Report    {page}", err=output != "text")
    except Exception as error:  # a page that cannot be drawn must not cost anybody the verdict
        click.echo(f"dr: the page {page} could not be written ({type(error).__name__}).", err=True)


def rendered(form: str, evidence: Evidence, verdict: Verdict) -> str:
    """A report in one of its forms."""
    from dr.report import formats

    if form == "text":
        width = shutil.get_terminal_size((100, 40)).columns
        return formats.text(evidence, verdict, width, formats.style_for(sys.stdout, os.environ))
    if form == "html":
        from dr.report import page  # its templates are slow to compile

        return page.html(evidence, verdict)
    if form == "markdown":
        return formats.markdown(evidence, verdict)
    if form == "junit":
        from dr.report import junit

        return junit.junit([(evidence, verdict)])
    return formats.as_json(evidence, verdict)


def moment(text: str, what: str) -> float:
    """An ISO 8601 time as seconds since the epoch. Raises UsageError without a zone: nothing is guessed."""
    from datetime import datetime

    from dr.domain.errors import UsageError

    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{what} {text!r} is not a time.", "Write it as 2026-04-24T23:45:00Z.") from None
    if at.tzinfo is None:
        raise UsageError(f"{what} {text!r} has no zone.", "Add Z for UTC, or an offset such as +02:00.")
    return at.timestamp()


def dumps(value: Any) -> str:
    return json.dumps(value, indent=2)
