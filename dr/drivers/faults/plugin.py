"""Faults as a plugin."""

from __future__ import annotations

import msgspec

from dr.config.context import Context
from dr.config.plugins import Plugin, VerbSpec
from dr.drivers.faults.config import FaultsConfig
from dr.drivers.faults.kinds import KINDS
from dr.ports import Provider


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``of``: the replica that it hits, ``seconds``: its lag, ``share``: of the queries that are made slow."""

    kind: str
    instance: str | None = None
    of: str | None = None
    seconds: float | None = None
    share: float | None = None


class Remedy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``kind``: the fault's."""

    kind: str
    instance: str | None = None
    of: str | None = None


def _make(context: Context) -> Provider:
    from dr.drivers.faults.provider import FaultsProvider

    return FaultsProvider(context)


PLUGIN = Plugin(
    "faults",
    _make,
    (
        VerbSpec("disaster", "Put a fault into the target.", Fault, kinds=frozenset(KINDS)),
        VerbSpec("remedy", "Take a fault out, as soon as the provider shows it.", Remedy, kinds=frozenset(KINDS)),
    ),
    section=FaultsConfig,
    reads=("rds",),
)
