"""A store of keys and values, a JSON file, as a plugin."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from dr.drivers.kv.judge import keys

from dr.config.context import Context
from dr.config.model import Section
from dr.config.objective import About, Objective
from dr.config.plugins import Plugin, VerbSpec
from dr.domain.model import Purpose
from dr.ports import Provider


class KvConfig(Section, frozen=True, forbid_unknown_fields=True):
    """The store, pinned by its own id."""

    id: str
    file: str
    backups: str
    """A directory: NAME.json each."""

    def pins(self) -> Mapping[str, str]:
        return {"id": self.id}

    def endpoints(self) -> tuple[str, ...]:
        return (f"file://localhost{self.file}",)

    def consents(self) -> str:
        return self.id


class Backup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A backup's name; "latest": the newest."""

    snapshot: str


class Restoration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As the command line says it: ``dr restore --snapshot NAME`` or ``--latest-snapshot``."""

    to: Backup


def _restored(_args: Mapping[str, Any], _purpose: Purpose) -> Collection[str]:
    return ("restored",)


def _make(context: Context) -> Provider:
    from dr.drivers.kv.provider import KvProvider

    return KvProvider(context)


PLUGIN = Plugin(
    "kv",
    _make,
    (
        VerbSpec("restore", "Copy a backup to a store of its own.", Restoration, paths=_restored),
        VerbSpec("examine", "Compare the copy's keys with the store's.", role="store"),
    ),
    objectives=(Objective("keys", About.CONTENT, keys, on_call="examine", role="store"),),
    section=KvConfig,
    reads=("kv",),
    restores=("snapshot",),
)
