"""``dr restore``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dr.cli import common

if TYPE_CHECKING:
    from dr.app.session import Prepared
    from dr.config.model import Settings


@click.command(short_help="Restore the database and prove it.")
@click.option("--snapshot", metavar="ID", help="Restore this snapshot.")
@click.option("--latest-snapshot", is_flag=True, help="Restore the newest snapshot of the source.")
@click.option(
    "--to-time", metavar="T", help="Restore to this second (ISO 8601 with a zone). Waits until it is restorable."
)
@click.option("--latest", is_flag=True, help="Restore to the latest restorable time.")
@click.option(
    "--since", metavar="T", help="When the disaster happened: the RTO counts from then. Else from this command's start."
)
@click.option("--as", "as_name", default="", metavar="NAME", help="Name the restored instance.")
@click.option(
    "--reset-master-secret", is_flag=True, help="Set the copy's master password to the target's master secret."
)
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    help="Give the copy this setting, not the source's. VALUE is JSON or text.",
)
@click.option(
    "--verify/--no-verify", default=True, help="Examine the copy and put the service on it (the default), or do not."
)
@click.option("--provider", default="", metavar="NAME", help="Who restores, where several could.")
@click.option("--resume", metavar="RUN", help="Go on with an interrupted restore, also another machine's.")
@common.run_options
@click.pass_context
def restore(
    ctx: click.Context, /, target: str, output: str, plan_only: bool, yes: bool, confirm: str, **options: Any
) -> None:
    """Restore a copy of the database, examine it, serve from it, and say whether that is a recovery.

    The source is not touched. The restored instance stays until you adopt or delete it. RTO and RPO are held to the
    limits in dr.yaml.
    """
    from functools import partial

    from dr.app.cleanup import clean_drills
    from dr.app.restore import cautions, earlier_runs, run
    from dr.app.session import accept, locked

    settings = common.settings()
    common.make_ready()
    common.tell_unreadable()
    prepared = _prepare(settings, target, options)
    told = (*earlier_runs(prepared), *cautions(prepared.session.plan))
    if plan_only:
        common.print_plan(prepared, output, told)
        return
    agreed = common.consent(prepared, yes, confirm, told)
    with locked(prepared.session.context.name):
        session = accept(prepared, agreed)
        click.echo(f"Run {session.directory.id} on {session.context.name}: {_what(prepared)}", err=True)
        outcome = run(session, before=partial(common.tell_so_far, session))
        code = common.conclude(session, outcome, output)
        if output == "json":
            common.print_document(outcome)
        common.tell_cleaned(clean_drills(settings, session.context.name, session.tell))
    ctx.exit(code)


def _prepare(settings: Settings, target: str, options: dict[str, Any]) -> Prepared:
    from dr.app import restore as order
    from dr.app.session import prepare
    from dr.config.load import find_target
    from dr.judge.objectives import time_to_copy

    progress = common.Progress(time_to_copy.LIMIT.of(settings.objectives))
    since = _since(options["since"])
    if options["resume"] is not None:
        _check_alone(options)
        return order.resumed(settings, target, options["resume"], since, progress)
    of = find_target(settings, target)
    wanted = order.request(
        target,
        of,
        _recovery_point(options),
        since=since,
        as_name=options["as_name"],
        reset_master=options["reset_master_secret"],
        verify=options["verify"],
        settings=_settings(options["given"]),
        provider=options["provider"],
    )
    return prepare(settings, wanted, order.asked(wanted, of), progress)


def _since(text: str | None) -> float | None:
    """The time of the disaster, where it was given. Raises UsageError, and RefusedError for one that is yet to come."""
    from dr.domain.errors import RefusedError
    from dr.host.clock import SystemClock

    at = common.moment(text, "--since") if text else None
    if at is not None and at > SystemClock().now().at:
        raise RefusedError(f"--since {text} is in the future.", "Name the time at which the disaster happened.")
    return at


def _check_alone(options: dict[str, Any]) -> None:
    """A run goes on with what it was asked for. Raises UsageError where --resume is told more than its --since."""
    from dr.domain.errors import UsageError

    flags = ("snapshot", "latest_snapshot", "to_time", "latest", "as_name", "given", "reset_master_secret", "provider")
    if any(options[name] for name in flags) or not options["verify"]:
        raise UsageError("--resume goes on with what its run was asked for.", "Give no other option than --since.")


def _settings(given: tuple[str, ...]) -> dict[str, Any]:
    """What --set says: JSON where a value is that, else text. Raises UsageError."""
    from dr.domain.errors import EvidenceError, UsageError
    from dr.host.decode import json_of

    chosen: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text!r} gives no value.", "Say it as --set DBInstanceClass=db.r6g.large.")
        try:
            chosen[name] = json_of(value.encode("utf-8", "replace"), object, name)
        except EvidenceError:
            chosen[name] = value
    return chosen


def _recovery_point(options: dict[str, Any]) -> dict[str, Any]:
    """What ``to`` says. Exactly one of the four must be given. Raises UsageError."""
    from dr.domain.errors import UsageError

    to_time = options["to_time"]
    given: list[dict[str, Any]] = []
    if options["snapshot"]:
        given.append({"snapshot": options["snapshot"]})
    if options["latest_snapshot"]:
        given.append({"snapshot": "latest"})
    if to_time:
        given.append({"time": common.moment(to_time, "--to-time")})
    if options["latest"]:
        given.append({"time": "latest"})
    if len(given) != 1:
        raise UsageError(
            f"{len(given) or 'No'} recovery points were named.",
            "Give one of --snapshot ID, --latest-snapshot, --to-time T, --latest ('dr backups' lists what there is).",
        )
    return given[0]


def _what(prepared: Prepared) -> str:
    """The request in words; from where a run goes on was told before consent."""
    if prepared.goes_on:
        return "an unfinished restore goes on"
    request = prepared.session.plan.request
    to = request.verbs[0].args["to"]
    if "snapshot" in to:
        point = "the newest snapshot" if to["snapshot"] == "latest" else str(to["snapshot"])
    else:
        from dr.report.words import moment

        point = "the latest restorable time" if to["time"] == "latest" else moment(float(to["time"]))
    return f"restoring from {point}"
