"""Times as people write them. Pure."""

from __future__ import annotations

from datetime import datetime

from dr.domain.errors import UsageError


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
