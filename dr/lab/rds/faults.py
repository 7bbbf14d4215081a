"""What tests put in the API's way. Not reachable through the API: ``dr.lab.control`` alone speaks to it."""

from __future__ import annotations

import threading
from dataclasses import dataclass

DROP = "dropped-connection"
"""Instead of an error code: the call takes effect, and its answer is lost."""


@dataclass(frozen=True, slots=True)
class Failing:
    """The next ``calls`` calls of ``action`` ("" is any) fail with ``code``."""

    code: str
    calls: int
    action: str = ""


class Faults:
    """What is armed. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failing: Failing | None = None
        self._restore_delay = 0.0
        self._backup_delay = 0.0

    def fail(self, failing: Failing) -> None:
        """Arm ``failing``, in place of what was armed; without calls, nothing is."""
        with self._lock:
            self._failing = failing if failing.calls > 0 else None

    def delay_restores(self, seconds: float) -> None:
        with self._lock:
            self._restore_delay = seconds

    def delay_backups(self, seconds: float) -> None:
        with self._lock:
            self._backup_delay = seconds

    def take_failure(self, action: str) -> str:
        """The code this call fails with, "" for none; counts it."""
        with self._lock:
            armed = self._failing
            if armed is None or armed.action not in ("", action):
                return ""
            self._failing = Failing(armed.code, armed.calls - 1, armed.action) if armed.calls > 1 else None
            return armed.code

    def take_delay(self) -> float:
        """Seconds a restore takes longer."""
        with self._lock:
            return self._restore_delay

    def take_backup_delay(self) -> float:
        """Seconds a backup takes longer."""
        with self._lock:
            return self._backup_delay
