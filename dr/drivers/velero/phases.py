"""What Velero's objects tell of their state. Pure.

By Velero 1.18's API types: a phase that is not known is no success, and no end.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

Document = Mapping[str, Any]
COMPLETED, PARTIALLY = "Completed", "PartiallyFailed"
DELETING = "Deleting"
UNDER_WAY = frozenset(
    {"", "New", "Queued", "ReadyToStart", "InProgress", "WaitingForPluginOperations"}
    | {"WaitingForPluginOperationsPartiallyFailed", "Finalizing", "FinalizingPartiallyFailed"}
)
FAILED = frozenset({"Failed", "FailedValidation"})
ENDED = FAILED | {COMPLETED, PARTIALLY}


def phase(of: Document) -> str:
    """The command line may append that it is being deleted."""
    return str((of.get("status") or {}).get("phase") or "").removesuffix(" (Deleting)")


def at(of: Document, what: str) -> float | None:
    """A time of its status, in wall seconds; None where it is not there yet."""
    return _moment((of.get("status") or {}).get(what))


def created(of: Document) -> float | None:
    """When it was asked for, in wall seconds."""
    return _moment((of.get("metadata") or {}).get("creationTimestamp"))


def _moment(told: object) -> float | None:
    try:
        return datetime.fromisoformat(str(told)).timestamp() if told else None
    except ValueError:
        return None


def why(of: Document) -> str:
    """Why it failed, as Velero tells it; "" where it does not."""
    status = of.get("status") or {}
    return "; ".join([*(status.get("validationErrors") or ()), *filter(None, [status.get("failureReason")])])


def progress(of: Document) -> str:
    """How far it is, for a person who waits. It counts items and proves nothing."""
    done = (of.get("status") or {}).get("progress") or {}
    counted = f", {done.get('itemsRestored', 0)} of {done['totalItems']} items" if done.get("totalItems") else ""
    return f"{phase(of) or 'New'}{counted}"


def unusable(backup: Document, name: str) -> str:
    """Why nothing may be restored from a backup, a sentence; "" where it may be. Velero takes one in any phase."""
    found, meta = phase(backup), backup.get("metadata") or {}
    if meta.get("deletionTimestamp") or found == DELETING:
        return f"The backup {name} is being deleted."
    if found == COMPLETED:
        return ""
    reason = why(backup)
    if found in UNDER_WAY:
        return f"The backup {name} is not complete: it is {found or 'New'}."
    return f"The backup {name} is {found}{f': {reason}' if reason else ''}."
