"""The system's clock: the only place that reads the time. Made by ``dr.wiring`` and the meter's processes."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

from dr.domain.model import Stamp


@cache
def boot_identity() -> str:
    """An identity that changes with every boot: monotonic stamps compare only within one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class SystemClock:
    """Wall and monotonic time of this machine."""

    def now(self) -> Stamp:
        return Stamp(time.time(), time.monotonic_ns(), boot_identity())

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))
