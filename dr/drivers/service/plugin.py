"""The prediction service as a plugin."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import msgspec

from dr.config.context import Context
from dr.config.model import Target
from dr.config.needs import Check, login, program
from dr.config.plugins import Plugin, VerbSpec, later
from dr.domain.model import Facts
from dr.drivers.measuring.paths import Path
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.plugin import Examination, harness
from dr.drivers.service.config import ServiceConfig
from dr.meter.bearer import authorization


class Asking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``path``: one of the ways to the service (service.ways)."""

    path: Path


def token(service: ServiceConfig) -> Iterable[Check]:
    """The token that is sent with each request for a prediction, where there is one."""
    if service.token:
        yield f"secret {service.token}", partial(authorization, service.token)


def _serving(target: Target, _args: object) -> Iterable[Check]:
    service = target.section(ServiceConfig)
    if service is None:
        return
    yield from harness(target)
    yield from (login(role) for role in target.of(PostgresConfig).roles if role.user == service.login)
    yield from token(service)
    if service.command:
        yield program("service.command", service.command[0])


def _asking(target: Target, _args: object) -> Iterable[Check]:
    service = target.section(ServiceConfig)
    if service is not None:
        yield from (*harness(target), *token(service))


def _checks(context: Context, _facts: Facts) -> Iterable[Check]:
    from dr.drivers.service.checks import service_checks

    return service_checks(context.target.of(ServiceConfig), context.target.grants)


PLUGIN = Plugin(
    "service",
    later("dr.drivers.service.provider", "ServingProvider"),
    (
        VerbSpec("serve", "Put the prediction service on the copy.", Examination, role="database", needs=_serving),
        VerbSpec(
            *("ask", "Ask for the golden predictions on a way to the service.", Asking),
            paths=lambda args, _: (str(args["path"]),) if "path" in args else (),
            needs=_asking,
        ),
    ),
    section=ServiceConfig,
    reads=("database", "postgres", "service"),
    checks=_checks,
)
