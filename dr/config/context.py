"""What every driver is made with. Made by ``dr.wiring``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dr.config.model import Settings, Target
from dr.ports import Clock


@dataclass(frozen=True)
class Context:
    """A target and where this run's state goes. ``run``: the run directory; it may not exist yet while the run is
    planned. ``owner``: "PID:STARTTIME" of the session's process; processes a driver starts end when it is gone."""

    name: str
    target: Target
    settings: Settings
    home: Path
    run: Path
    clock: Clock
    owner: str
