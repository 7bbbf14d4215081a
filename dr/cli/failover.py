"""``dr failover``."""

from __future__ import annotations

from typing import Any

import click

from dr.app import failover as order
from dr.app.restore import fitted
from dr.app.session import prepare
from dr.cli import common
from dr.config.load import find_target
from dr.domain.errors import UsageError
from dr.judge.objectives import outage


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
    wanted = order.request(target, find_target(settings, target), promote or "", at)
    prepared = prepare(settings, wanted, order.asked(wanted), progress)
    past = () if prepared.closes is None else (prepared.closes.over,)
    told = (*past, *order.cautions(wanted, prepared.facts), *fitted(prepared.session.plan))
    what = f"promoting {promote}" if promote else f"failing {order.source(prepared.facts)} over"
    begun = what if prepared.began is not None else f"an unfinished failover goes on, {what}"
    common.go_through(ctx, prepared, told, begun, order.run, options)
