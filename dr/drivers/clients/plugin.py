"""What leads clients as a plugin."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from dr.config.context import Context
from dr.config.model import Target
from dr.config.needs import Check, bundle, login
from dr.config.plugins import Plugin, VerbSpec, later
from dr.domain.model import Facts, Purpose, Request
from dr.drivers.clients.config import ClientsConfig, pooler_of, secret_of
from dr.drivers.postgres.config import PostgresConfig


def _needs(target: Target, _args: object) -> Iterable[Check]:
    pooler = pooler_of(target)
    if pooler is not None:
        yield login(pooler.admin)
        yield from bundle("postgres.ca", target.of(PostgresConfig).ca)
        yield from bundle("clients.pooler.ca", pooler.ca)


_make = later("dr.drivers.clients.provider", "MovingProvider")


def _leads(target: Target, _args: object = None) -> bool:
    """Whether it names what leads its clients."""
    return pooler_of(target) is not None or secret_of(target) is not None


def _held(context: Context) -> list[dict[str, Any]] | None:
    if pooler_of(context.target) is None:
        return None
    from dr.drivers.clients.pgbouncer_console import held

    return held(context.target)


def _checks(context: Context, _facts: Facts) -> Iterable[Check]:
    if _leads(context.target):
        yield "where clients are led", partial(_make(context).look, Request(context.name, (), Purpose.RESTORE))


PLUGIN = Plugin(
    "clients",
    _make,
    (VerbSpec("move", "Lead clients to what was promoted.", needs=_needs, concerns=_leads),),
    section=ClientsConfig,
    reads=("database", "postgres"),
    checks=_checks,
    held=_held,
)
