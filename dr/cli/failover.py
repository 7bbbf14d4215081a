"""``dr failover``."""

from __future__ import annotations

import click

from dr.cli import common


@click.command(short_help="Fail the database over, or promote a replica.")
@click.option("--promote", metavar="REPLICA", help="Promote this read replica; best: the one that has received most.")
@click.option(
    "--since", metavar="T", help="When the disaster happened: time counts from then. Else from this command's start."
)
@common.run_options
@click.pass_context
def failover(
    ctx: click.Context,
    /,
    target: str,
    output: str,
    plan_only: bool,
    yes: bool,
    confirm: str,
    promote: str | None,
    since: str | None,
) -> None:
    """Let the standby take over, or with --promote a read replica, and say whether the service is well after that.

    It is done to the source itself. A promotion cannot be undone. The old source and its replicas are left alone.
    """
    from dr.app import failover as order
    from dr.app.restore import fitted
    from dr.app.session import accept, locked, prepare
    from dr.config.load import find_target
    from dr.domain.errors import UsageError
    from dr.judge.objectives import outage

    if promote is not None and not promote.strip():
        raise UsageError("--promote names no replica.", "Name one, or say --promote best.")
    settings = common.settings()
    common.make_ready()
    common.tell_unreadable()
    limit = outage.PROMOTION if promote else outage.FAILOVER
    progress = common.Progress(limit.of(settings.objectives))
    at = common.moment(since, "--since") if since else None
    wanted = order.request(target, find_target(settings, target), promote or "", at)
    prepared = prepare(settings, wanted, order.asked(wanted), progress)
    past = () if prepared.closes is None else (prepared.closes.over,)
    told = (*past, *order.cautions(wanted, prepared.facts), *fitted(prepared.session.plan))
    if plan_only:
        common.print_plan(prepared, output, told)
        return
    agreed = common.consent(prepared, yes, confirm, told)
    with locked(prepared.session.context.name):
        session = accept(prepared, agreed)
        what = f"promoting {promote}" if promote else f"failing {order.source(prepared.facts)} over"
        begun = what if prepared.began is not None else f"an unfinished failover goes on, {what}"
        click.echo(f"Run {session.directory.id} on {session.context.name}: {begun}", err=True)
        outcome = order.run(session)
        code = common.conclude(session, outcome, output)
        if output == "json":
            common.print_document(outcome)
    ctx.exit(code)
