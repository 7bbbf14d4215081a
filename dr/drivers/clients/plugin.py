"""What leads clients as a plugin."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from dr.config.context import Context
from dr.config.needs import Check, bundle, login
from dr.config.plugins import Plugin, VerbSpec, later
from dr.domain.model import Facts, Purpose, Request
from dr.drivers.clients.config import ClientsConfig
from dr.drivers.sections import Sections, pooler_of, secret_of, sections


def _needs(target: Sections, _args: object) -> Iterable[Check]:
    pooler = pooler_of(target)
    if pooler is not None:
        yield login(pooler.admin)
        yield from bundle("postgres.ca", target.postgres.ca)
        yield from bundle("clients.pooler.ca", pooler.ca)


_make = later("dr.drivers.clients.provider", "MovingProvider")


def _checks(context: Context, _facts: Facts) -> Iterable[Check]:
    target = sections(context.target)
    if pooler_of(target) is not None or secret_of(target) is not None:
        yield "where clients are led", partial(_make(context).look, Request(context.name, (), Purpose.RESTORE))


PLUGIN = Plugin(
    "clients",
    _make,
    (VerbSpec("move", "Lead clients to what was promoted.", needs=_needs),),
    section=ClientsConfig,
    reads=("rds", "postgres"),
    checks=_checks,
)
