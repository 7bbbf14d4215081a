"""What a request comes to, whatever anybody made of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr.domain.model import Request


def restores_a_time(request: Request) -> bool:
    """Whether the run restores a point in time, and not a snapshot."""
    return any("time" in to for to in _restored(request))


def restores_the_latest(request: Request) -> bool:
    """Whether what is restored depends on when it is asked for: the newest snapshot, or the latest restorable time."""
    return any("latest" in to.values() for to in _restored(request))


def _restored(request: Request) -> list[Mapping[str, Any]]:
    """The recovery points that a request names: {snapshot} or {time}."""
    asked = (verb.args.get("to") for verb in request.verbs if verb.name == "restore")
    return [to for to in asked if isinstance(to, Mapping)]


def promotes(request: Request) -> bool:
    """Whether the run promotes a replica, and does not only wait for a failover."""
    return any(verb.name == "promote" for verb in request.verbs)
