"""The provider that is one folder (tests/example/kv) in this process: found as those of DR_PLUGINS are."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

import dr.drivers
from dr.config.context import Context
from dr.config.model import Settings, Target
from dr.config.plugins import Plugin
from dr.domain.model import Purpose, Request, RunIdentity, Verb
from dr.ports import Clock

EXAMPLE = str(Path(__file__).parents[1] / "example")
RESTORE = Verb("restore", {"to": {"snapshot": "nightly"}})
REQUEST = Request("store", (RESTORE,), Purpose.DRILL)
RUN = RunIdentity("20261130-033333-cf4e", "store", Purpose.DRILL, "kv-restore")


@contextmanager
def plugin() -> Iterator[Plugin]:
    """Its plugin, while its folder is on the plugins' path; afterwards nothing of it is left in this process."""
    dr.drivers.__path__.append(EXAMPLE)
    try:
        yield importlib.import_module("dr.drivers.kv.plugin").PLUGIN
    finally:
        dr.drivers.__path__.remove(EXAMPLE)
        for name in [name for name in sys.modules if name.startswith("dr.drivers.kv")]:
            del sys.modules[name]
        vars(dr.drivers).pop("kv", None)


@dataclass(frozen=True)
class Store:
    """A store with one backup in a directory, and the provider of a target with no other section."""

    of: Plugin
    at: Path
    clock: Clock

    def fill(self) -> None:
        (self.at / "backups").mkdir()
        for name in ("store.json", "backups/nightly.json"):
            (self.at / name).write_text(json.dumps({"id": "store-1", "keys": {"a": 1}}))

    def provider(self) -> Any:
        """As the plugin makes it."""
        assert self.of.section is not None
        assert self.of.make is not None
        kv = self.of.section(id="store-1", file=str(self.at / "store.json"), backups=str(self.at / "backups"))
        made = msgspec.defstruct("Target", [("kv", self.of.section)], bases=(Target,), kw_only=True, frozen=True)
        return self.of.make(Context("store", made(kv=kv), Settings(), self.at, self.at / "run", self.clock, ""))

    def copies(self) -> set[str]:
        return {one.name for one in self.at.glob("copy-*")}
