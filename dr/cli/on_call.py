"""What an engineer on call types: ``dr restore`` and ``dr failover``."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from dr.app import failover as failing_over
from dr.app import restore as order
from dr.app.ending import Outcome
from dr.app.prepare import Prepared, prepare
from dr.app.session import Session
from dr.cli import common
from dr.config.load import find_target
from dr.config.model import Settings
from dr.domain import refs
from dr.domain.errors import EvidenceError, UsageError
from dr.host.decode import json_of
from dr.judge.objectives import outage
from dr.report.words import moment

ASKED = (
    *("snapshot", "latest_snapshot", "to_time", "latest", "backup", "namespaces", "into", "database"),
    *("as_name", "given", "reset_master_secret", "provider"),
)
"""The options that say what is asked for, beside --verify."""

NAMES = {
    "snapshot": "Name one: 'dr backups' lists them.",
    "to_time": "Say when, as in 2026-11-30T02:00:00Z.",
    "backup": "Name one, or say latest: 'dr backups' lists them.",
    "namespaces": "Name one, or leave it out: then all are restored that the target names.",
}
"""Options that name something, and what to say."""


@click.command()
@click.option("--snapshot", metavar="ID", help="Restore this snapshot.")
@click.option("--latest-snapshot", is_flag=True, help="Restore the newest snapshot of the source.")
@click.option(
    "--to-time", metavar="T", help="Restore to this second (ISO 8601 with a zone). Waits until it is restorable."
)
@click.option("--latest", is_flag=True, help="Restore to the latest restorable time.")
@click.option("--backup", metavar="NAME", help="Restore namespaces from this backup of a cluster; latest: the newest.")
@click.option(
    "--namespace",
    "namespaces",
    multiple=True,
    metavar="NS",
    help="Restore this namespace of the backup, and not all that the target names. May be repeated.",
)
@click.option(
    "--into",
    metavar="NS",
    help="Copy the namespace into this new one, beside production, touching nothing.",
)
@click.option("--database", metavar="HOST:PORT", help="With --into: where the copy finds a database of its own.")
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
def restore(ctx: click.Context, /, target: str, **options: Any) -> None:
    """Restore a copy of the database, examine it, serve from it, and say whether that is a recovery.

    The source is not touched. The restored instance stays until you adopt or delete it. RTO and RPO are held to the
    limits in dr.yaml. With --backup, restore namespaces of a cluster that are lost, and compare them with the backup;
    with --into, copy one beside production.
    """
    prepared = _prepare(common.begin(), target, options)
    told = (*order.earlier_runs(prepared), *order.cautions(prepared.session.plan))

    def run(session: Session) -> Outcome:
        return order.run(session, before=partial(common.tell_so_far, session))

    common.go_through(ctx, prepared, told, _what(prepared), run, options)


def _prepare(settings: Settings, target: str, options: dict[str, Any]) -> Prepared:
    progress, since = common.Progress(settings), common.since(options["since"])
    _check_named(options)
    if options["resume"] is not None:  # a run goes on with what it was asked for
        if any(options[name] for name in ASKED) or not options["verify"]:
            raise UsageError("--resume goes on with what its run was asked for.", "Give no other option than --since.")
        return order.resumed(settings, target, options["resume"], since, progress)
    to, given = _recovery_point(options), _settings(options["given"])  # what was mistyped is told before anything else
    _check_copy(options, to)
    of = find_target(settings, target)
    wanted = order.request(
        target,
        of,
        to,
        since=since,
        as_name=options["as_name"],
        reset_master=options["reset_master_secret"],
        verify=options["verify"],
        settings=given,
        provider=options["provider"],
        namespaces=options["namespaces"],
        into=options["into"] or "",
        database=options["database"] or "",
    )
    return prepare(settings, wanted, order.asked(wanted, of), progress)


def _check_copy(options: dict[str, Any], to: dict[str, Any]) -> None:
    """Raises UsageError for --into and --database where they do not belong, or say nothing: a name that was left empty
    must not become a restore in place."""
    for option in ("into", "database"):
        if options[option] is None:
            continue
        if not options[option].strip():
            raise UsageError(f"--{option} says nothing.", f"Give it a value, or leave --{option} out.")
        if "backup" not in to:
            raise UsageError(f"--{option} is about a cluster's backup.", "Say it with --backup NAME.")
    if options["database"] is not None and options["into"] is None:
        raise UsageError("--database is the database of a copy.", "Say --into NAMESPACE, too.")


def _check_named(options: dict[str, Any]) -> None:
    """Raises UsageError for an option that was given without a name, as a variable that is not set does."""
    for name, say in NAMES.items():
        given = options[name] if isinstance(options[name], tuple) else (options[name],)
        if any(one is not None and not one.strip() for one in given):
            flag = "--" + name.removesuffix("s").replace("_", "-")
            raise UsageError(f"{flag} names nothing.", say)


def _settings(given: tuple[str, ...]) -> dict[str, Any]:
    """What --set says: JSON where a value is that, else text. Raises UsageError."""
    chosen: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text!r} gives no value.", "Say it as --set NAME=VALUE.")
        try:
            chosen[name] = json_of(value.encode("utf-8", "replace"), object, name)
        except EvidenceError:
            chosen[name] = value
    return chosen


def _recovery_point(options: dict[str, Any]) -> dict[str, Any]:
    """What ``to`` says. Exactly one of the five must be given. Raises UsageError."""
    to_time = options["to_time"] and {"time": refs.moment(options["to_time"], "--to-time")}
    could = (
        options["snapshot"] and {"snapshot": options["snapshot"]},
        options["latest_snapshot"] and {"snapshot": "latest"},
        to_time,
        options["latest"] and {"time": "latest"},
        options["backup"] and {"backup": options["backup"]},
    )
    given = [point for point in could if point]
    if len(given) != 1:
        raise UsageError(
            f"{len(given) or 'No'} recovery points were named.",
            "Give one of --snapshot ID, --latest-snapshot, --to-time T, --latest, --backup NAME ('dr backups' lists"
            " them).",
        )
    return given[0]


def _what(prepared: Prepared) -> str:
    """The request in words; from where a run goes on was told before consent."""
    if prepared.goes_on:
        return "an unfinished restore goes on"
    request = prepared.session.plan.request
    to = request.verbs[0].args["to"]
    if "backup" in to:
        point = "the newest backup" if to["backup"] == "latest" else f"backup {to['backup']}"
    elif "snapshot" in to:
        point = "the newest snapshot" if to["snapshot"] == "latest" else str(to["snapshot"])
    else:
        point = "the latest restorable time" if to["time"] == "latest" else moment(float(to["time"]))
    return f"restoring from {point}"


@click.command()
@click.option("--promote", metavar="REPLICA", help="Promote this read replica; best: the one that has received most.")
@click.option(
    "--since", metavar="T", help="When the disaster happened: time counts from then. Else from this command's start."
)
@common.run_options
@click.pass_context
def failover(ctx: click.Context, /, target: str, promote: str | None, since: str | None, **options: Any) -> None:
    """Let the standby take over, or with --promote a read replica, and say whether the service is well after that.

    It is done to the source itself. A promotion cannot be undone. The old source and its replicas are left alone.
    """
    if promote is not None and not promote.strip():
        raise UsageError("--promote names no replica.", "Name one, or say --promote best.")
    at, settings = common.since(since), common.begin()
    progress = common.Progress(settings, outage.PROMOTION if promote else outage.FAILOVER)
    wanted = failing_over.request(target, find_target(settings, target), promote or "", at)
    prepared = prepare(settings, wanted, failing_over.asked(wanted), progress)
    past = () if prepared.closes is None else (prepared.closes.over,)
    told = (*past, *failing_over.cautions(wanted, prepared.facts), *order.fitted(prepared.session.plan))
    what = f"promoting {promote}" if promote else f"failing {failing_over.source(prepared.facts)} over"
    begun = what if prepared.began is not None else f"an unfinished failover goes on, {what}"
    common.go_through(ctx, prepared, told, begun, failing_over.run, options)
