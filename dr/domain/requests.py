"""What a request comes to, whatever anybody made of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from dr.domain.errors import UsageError
from dr.domain.model import Request


def moment(text: str, what: str) -> float:
    """An ISO 8601 time as seconds since the epoch. Raises UsageError without a zone: nothing is guessed."""
    try:
        return zoned(datetime.fromisoformat(text), what)
    except ValueError:
        raise UsageError(f"{what} {text!r} is not a time.", "Write it as 2026-04-24T23:45:00Z.") from None


def zoned(at: datetime, what: str) -> float:
    """The same of a time that YAML has read."""
    if at.tzinfo is None:
        raise UsageError(f"{what} {at} has no zone.", "Add Z for UTC, or an offset such as +02:00.")
    return at.timestamp()


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
