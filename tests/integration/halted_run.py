"""A run whose call or operation ``WHEN`` asks ``ENDPOINT``, under dr's own command line.

``python -m tests.integration.halted_run WHERE ENDPOINT CREDENTIALS WHEN``
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from dr.app.signals import halting
from dr.cli import cli, main
from dr.config.model import Login
from dr.domain.errors import HaltedError
from dr.domain.model import Call
from dr.drivers.aws.config import Credentials
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.rds.client import RdsClient
from dr.engine.perform import Engine, perform, unwind
from dr.evidence.directory import RunDirectory
from dr.host.clock import SystemClock
from tests.targets import target_of
from tests.virtual import Scripted, call


class Driver(Scripted):
    def __init__(self, client: RdsClient, when: str) -> None:
        super().__init__()
        self._client = client
        self._when = when

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._when in (call.id, call.operation):
            os.write(1, b"asking\n")
            self._client.call("DescribeDBInstances", {})
        return super().apply(call, args)


@cli.command("halted", hidden=True)
@click.argument("where", type=Path)
@click.argument("endpoint")
@click.argument("credentials")
@click.argument("when")
@click.pass_context
def halted(ctx: click.Context, where: Path, endpoint: str, credentials: str, when: str) -> None:
    clock = SystemClock()
    database = PostgresConfig("clinic", Login("dr", "env:X"))
    pins = {"account": "123456789012", "region": "eu-central-1", "instance": "db"}
    target = target_of(**pins, database=database, endpoint=endpoint, credentials=Credentials(credentials))
    directory = RunDirectory(where)
    ledger = directory.ledger(clock)
    ledger.append("accepted")
    driver = Driver(RdsClient(target, clock), when)
    engine = Engine(directory, ledger, {"scripted": driver}, clock, lambda _call, _note: None, lambda: "")
    with halting(directory) as received:
        try:
            perform(engine, [call("a"), call("b")])
        except HaltedError:
            os.write(1, b"halted\n")
        unwind(engine, [call("a"), call("b")])
    ctx.exit(received[0])


if __name__ == "__main__":
    cli.get_command = lambda *_: halted  # type: ignore[method-assign]
    sys.argv.insert(1, "halted")
    main()
