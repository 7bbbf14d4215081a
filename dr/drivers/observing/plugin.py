"""Looking around a disaster as a plugin."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from dr.config.plugins import Plugin, VerbSpec, later
from dr.drivers.postgres.plugin import harness


class Look(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``paths``: those of writes, whose rows are read. ``primary``: what is the primary afterwards."""

    when: Literal["before", "after"]
    paths: tuple[Annotated[str, msgspec.Meta(min_length=1)], ...] = ()
    primary: Literal["source", "promoted"] = "source"


PLUGIN = Plugin(
    "observing",
    later("dr.drivers.observing.provider", "ObservingProvider"),
    (VerbSpec("observe", "Look at what a failover changes, before it and after it.", Look, needs=harness),),
    reads=("database", "postgres"),
)
