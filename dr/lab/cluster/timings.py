"""How long a cluster waits for a node that fell silent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds; by default as production has them. ``grace``: after which a node whose Lease is not renewed is not
    ready. ``toleration``: for which a pod that says nothing else stays on such a node."""

    grace: float = 40.0
    toleration: int = 300


USUAL = Timings()
