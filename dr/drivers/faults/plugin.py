"""Faults as a plugin: what a target says of them, and the kinds that there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from dr.config.model import Amount, Section, Target
from dr.config.plugins import Plugin, VerbSpec, later

COMMAND_SECONDS = 120.0
"""The most that putting a fault in, or taking it out, may take."""
REBUILD_SECONDS = 900.0
"""The same where taking it out rebuilds an instance from its backup."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of disaster. ``undo``: the arguments that take it out again; None: it passes by itself.

    ``first``: arguments with which the fault is put in before. ``undo_fault``: what takes it out, where it is another.
    ``on``: the argument that names what it hits. ``takes``: what may be chosen, and its default. ``shows``: the
    provider's status that tells of it, which a remedy waits for. ``phase``: "prepare" where it only sets the scene.
    """

    fault: str
    args: Mapping[str, Any]
    undo: Mapping[str, Any] | None
    first: Mapping[str, Any] | None = None
    undo_fault: str = ""
    on: str = "instance"
    takes: Mapping[str, float] = field(default_factory=dict)
    shows: str = ""
    phase: str = "disaster"
    undo_seconds: float = COMMAND_SECONDS


KINDS: Mapping[str, Kind] = {
    "host-lost": Kind("lose_host", {"lost": True}, {"lost": False}),
    "host-hung": Kind("hang", {"hung": True}, {"hung": False}),
    "engine-crash": Kind("crash", {"what": "postmaster"}, None),
    "disk-full": Kind("fill_disk", {"full": True}, {"full": False}, shows="storage-full"),
    "disk-lost": Kind("take_disk", {"taken": True}, {"taken": False}),
    "instance-lost": Kind(
        *("lose_host", {"lost": True}, {}),
        first={"lost": True, "standby": True},
        undo_fault="rebuild",
        undo_seconds=REBUILD_SECONDS,
    ),
    "network-silent": Kind("link", {"mode": "silent"}, {"mode": "pass"}),
    "network-refused": Kind("link", {"mode": "refuse"}, {"mode": "pass"}),
    "slow-queries": Kind("slow", {}, {"share": 0.0}, takes={"share": 0.5}, phase="prepare"),
    "replica-lag": Kind(
        "replication_link", {"mode": "delay"}, {"mode": "pass"}, on="of", takes={"seconds": 2.0}, phase="prepare"
    ),
}
"""instance-lost: the hosts of the standby and of the primary, for good: what undoes it rebuilds the whole."""


class FaultsConfig(Section, frozen=True, forbid_unknown_fields=True):
    """What puts faults into the target."""

    command: tuple[str, ...]
    """It is given a fault's name and its arguments, as a JSON object. The neutral value of an argument takes the fault
    back. It prints a JSON object."""


def command_of(target: Target) -> tuple[str, ...]:
    """What puts faults into the target; empty: nothing does."""
    faults = target.section(FaultsConfig)
    return faults.command if faults is not None else ()


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``of``: the replica that it hits, ``seconds``: its lag, ``share``: of the queries that are made slow."""

    kind: str
    instance: str | None = None
    of: str | None = None
    seconds: Amount | None = None
    share: Amount | None = None


class Remedy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``kind``: the fault's."""

    kind: str
    instance: str | None = None
    of: str | None = None


PLUGIN = Plugin(
    "faults",
    later("dr.drivers.faults.provider", "FaultsProvider"),
    (
        VerbSpec("disaster", "Put a fault into the target.", Fault, kinds=frozenset(KINDS), strikes=True),
        VerbSpec("remedy", "Take a fault out, as soon as the provider shows it.", Remedy, kinds=frozenset(KINDS)),
    ),
    section=FaultsConfig,
    reads=("database",),
)
