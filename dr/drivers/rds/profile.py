"""What a target's source was when it was last seen. Quick to import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr.config.context import Context
from dr.drivers.rds.config import RdsConfig
from dr.evidence import profiles


def pins(context: Context) -> dict[str, str]:
    """What tells a target's source from every other."""
    rds = context.target.of(RdsConfig)
    return {**rds.pins(), "instance": rds.instance}


def last_seen(context: Context) -> Mapping[str, Any] | None:
    """The stored description of this very source: a target may have been pointed elsewhere since. Raises
    EvidenceError."""
    stored = profiles.load(context.home, context.name) or {}
    described: Mapping[str, Any] | None = stored.get("source")
    return described if pins(context).items() <= stored.items() else None
