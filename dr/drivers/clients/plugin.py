"""What leads clients as a plugin."""

from __future__ import annotations

from collections.abc import Iterable

from dr.config.context import Context
from dr.config.model import Target
from dr.config.needs import Need, bundle, login
from dr.config.plugins import Plugin, VerbSpec
from dr.ports import Provider


def _needs(target: Target, _args: object) -> Iterable[Need]:
    if target.pooler is not None:
        yield login(target.pooler.admin)
        yield from bundle("database.ca", target.database.ca)
        yield from bundle("pooler.ca", target.pooler.ca)


def _make(context: Context) -> Provider:
    from dr.drivers.clients.provider import MovingProvider

    return MovingProvider(context)


PLUGIN = Plugin("clients", _make, (VerbSpec("move", "Lead clients to what was promoted.", needs=_needs),))
