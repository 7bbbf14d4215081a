"""What several commands share: options, consent, progress, the end of a run."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import click
import msgspec

from dr import wiring
from dr.app import cleanup
from dr.app.ending import Outcome, exit_code, worst
from dr.app.lock import locked
from dr.app.prepare import Prepared, accept
from dr.app.restore import EXAMINING
from dr.app.session import Session
from dr.cli import noted
from dr.cli.streams import echo, results
from dr.config import place
from dr.config.load import home
from dr.config.model import Settings
from dr.config.objective import Limit
from dr.domain.errors import DefectError, DrError, RefusedError
from dr.domain.model import Call, Component, Verb, Verdict
from dr.domain.refs import check_name, moment
from dr.engine.guard import Consent
from dr.evidence.model import Evidence
from dr.evidence.restored import components
from dr.host.clock import SystemClock
from dr.judge.objectives.time_to_copy import LIMIT
from dr.judge.verdict import judge
from dr.report import formats, words
from dr.report.junit import junit
from dr.report.summary import connect

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


def since(text: str | None) -> float | None:
    """The time of the disaster, where it was given. Raises UsageError, and RefusedError for one that is yet to come."""
    at = moment(text, "--since") if text else None
    if at is not None and at > SystemClock().now().at:
        raise RefusedError(f"--since {text} is in the future.", "Name the time at which the disaster happened.")
    return at


def begin() -> Settings:
    """What dr.yaml says, once DR_HOME can be written and what is damaged in it is named."""
    found = wiring.settings()
    make_ready()
    tell_unreadable()
    return found


QUIET = 30.0
"""Seconds between two lines about the same waiting step where there is no terminal."""


class Progress:
    """Tells on stderr what is under way, against a limit; on a terminal a waiting step rewrites its line."""

    def __init__(self, settings: Settings, limit: Limit = LIMIT) -> None:
        self._objective = limit.of(settings.objectives)
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
    """The consent given by flags, or typed on a terminal. Without either the guard will refuse. ``cautions``: what is
    to be known before it, a sentence each, told after the plan. Where consent was given to what is refused all the
    same, the refusal stands alone."""
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
        echo(f"{call.verb:>14}  {call.driver}.{call.operation}{does}{until}{undo}", err=err)
    for verb in prepared.session.plan.request.verbs:
        for name, value in verb.args.get("set", {}).items() if verb.name == "restore" else ():
            echo(f"{'set':>14}  {name} to {json.dumps(value)}, instead of the source's", err=err)


def print_plan(prepared: Prepared, output: str, cautions: Iterable[str] = ()) -> None:
    """--plan: the calls and the demands, and what a guard would refuse. ``cautions``: beside it, a sentence each."""
    caution(cautions)
    plan, target = prepared.session.plan, prepared.session.context.target
    if output == "json":
        echo(msgspec.json.format(msgspec.json.encode(plan), indent=2).decode())
        return
    show_plan(prepared)
    for demand in plan.demands:
        limit = f" at most {words.quantity(demand.limit, demand.unit)}" if demand.limit is not None else ""
        echo(f"{'demand':>14}  {demand.objective} [{demand.path}]{limit}")
    for refusal in prepared.refusals(Consent(target.word)):
        echo(f"{'refused':>14}  {refusal}")


def make_ready() -> None:
    """See that DR_HOME can be written before anything is begun, and tell what of it others can read. Raises UsageError,
    RefusedError."""
    caution(place.make_ready(home()))


def tell_unreadable() -> int:
    """Name each unfinished run that cannot be read, and is left out. Returns how many there are."""
    sentences = cleanup.unreadable()
    caution(sentences)
    return len(sentences)


def tell_cleaned(ended: cleanup.Ended) -> None:
    """Clean up killed drills and say so. What fails here is told, and changes nothing of the command's own outcome."""
    try:
        for run, killed in ended:
            if isinstance(killed, DrError):
                caution([f"the killed drill {run.id} could not be cleaned up: {killed}"])
                continue
            how = f"it was cleaned up. {killed.saw}".rstrip()
            if killed.leftovers:
                left = " ".join(f"{sentence.rstrip('.')}." for sentence in killed.leftovers)
                how = f"it could not be cleaned up whole: {left} 'dr cleanup {run.id}' tries again."
            click.echo(f"Drill {run.id} had been killed; {how}", err=True)
    except DrError as error:
        caution([f"killed drills could not be cleaned up: {error}"])


def go_through(
    ctx: click.Context,
    prepared: Prepared,
    cautions: tuple[str, ...],
    what: str,
    run: Callable[[Session], Outcome],
    options: Mapping[str, Any],
) -> None:
    """A run on call from its plan to its report, as ``options`` agree to it; then the drills that were killed on its
    target are cleaned up, which is no reason to wait before. Exits the command."""
    output, name = options["output"], prepared.session.context.name
    if options["plan_only"]:
        print_plan(prepared, output, cautions)
        return
    agreed = consent(prepared, options["yes"], options["confirm"], cautions)
    with locked(name):
        session = accept(prepared, agreed)
        click.echo(f"Run {session.directory.id} on {name}: {what}", err=True)
        outcome = run(session)
        code = conclude(session, outcome, output)
        if output == "json":
            print_document(outcome)
        tell_cleaned(cleanup.clean_drills(session.context.settings, name, session.tell))
    ctx.exit(code)


def print_document(outcome: Outcome) -> None:
    """The verdict as JSON: verdict.json, or where it could not be judged, what is known all the same."""
    echo(dumps(outcome.run.verdict_document() if outcome.judged else formats.outline(outcome.verdict)))


def conclude(session: Session, outcome: Outcome, output: str) -> int:
    """Print the report, the error and what was left; return the exit code. A JSON document is for the caller to print.
    A report that cannot be printed costs nobody what is in the verdict, nor how the restoration is reached."""
    code = exit_code(outcome)
    try:
        evidence = outcome.load(session.context.clock)
        if output == "text":
            echo(rendered(output, evidence, outcome.verdict), nl=False)
            echo(f"  Evidence  {outcome.run.path}")
        if evidence.samples:  # nobody waits at night for a page without a measurement; 'dr report' draws it on request
            _write_page(outcome, evidence, output)
    except Exception as error:
        _in_short(outcome, error)
        code = worst({code, 5})
    if outcome.error is not None:
        caution([_told(outcome.error)])
    caution(f"left behind: {sentence}" for sentence in outcome.leftovers)
    if outcome.saw and not outcome.leftovers and output != "text":  # the report says it
        caution([outcome.saw])
    return code


def _in_short(outcome: Outcome, error: Exception) -> None:
    """What a person needs of a report that cannot be printed."""
    verdict, why = outcome.verdict, error if isinstance(error, DrError) else DefectError(error)
    because = f" {verdict.findings[0].because}" if verdict.findings else ""
    caution([f"The report could not be printed: {_told(why)}"])
    caution([f"{verdict.status.upper()}, run {verdict.run}.{because}"])
    caution(f"{component.ref.name}: {_reached(component)}" for component in verdict.restored)


def tell_so_far(session: Session, verb: Verb) -> None:
    """What is known before ``verb`` of a restore on call: how the restoration is reached, as soon as it is, and what
    was found in it, before the provider puts its last settings in, which may take hours."""
    clock, verbs = session.context.clock, session.plan.request.verbs
    if verb is verbs[1]:
        yet = ", and is not examined yet" if verb.name in EXAMINING else ""
        made = components(session.directory.entries(clock))
        caution(f"{component.ref.name} {_there(component)}{yet}: {_reached(component)}" for component in made)
    elif verb is verbs[-1]:
        demanded = {demand.objective for demand in session.plan.demands} - {"configuration"}
        findings = judge(session.directory.load(clock), wiring.objectives()).findings
        found = [f"{one.objective} {one.status}" for one in findings if one.objective in demanded]
        caution([f"Found so far: {', '.join(found)}."])


def _there(component: Component) -> str:
    """What is known of a component once it is restored: that a server answers, or that it stands."""
    return "answers" if component.endpoint else "stands"


def _reached(component: Component) -> str:
    return f"{connect(component)} {component.note}".rstrip()


def _told(error: DrError) -> str:
    return f"{error} {noted(error.cause)}" if isinstance(error, DefectError) else str(error)


def _write_page(outcome: Outcome, evidence: Evidence, output: str) -> None:
    page = outcome.run.path / "report.html"
    try:
        page.write_text(rendered("html", evidence, outcome.verdict))
        echo(f"  Report    {page}", err=output != "text")
    except Exception as error:  # a page that cannot be drawn must not cost anybody the verdict
        click.echo(f"dr: the page {page} could not be written ({type(error).__name__}).", err=True)


def rendered(form: str, evidence: Evidence, verdict: Verdict) -> str:
    """A report in one of its forms."""
    if form == "text":
        width = shutil.get_terminal_size((100, 40)).columns
        return formats.text(evidence, verdict, width, formats.style_for(results(), os.environ))
    if form in ("html", "markdown"):
        from dr.report import page  # its templates are slow to compile

        return page.html(evidence, verdict) if form == "html" else page.markdown(evidence, verdict)
    if form == "junit":
        return junit([(evidence, verdict)])
    return formats.as_json(evidence, verdict)


def dumps(value: Any) -> str:
    return json.dumps(value, indent=2)
