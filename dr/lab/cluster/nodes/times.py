"""Times as Kubernetes writes them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(at: float, *, micro: bool = False) -> str:
    """Epoch seconds, in whole seconds, or with microseconds as a Lease has them."""
    moment = datetime.fromtimestamp(at, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")


def epoch(text: str) -> float:
    """Back to epoch seconds. Raises ValueError."""
    return datetime.fromisoformat(text).timestamp()
