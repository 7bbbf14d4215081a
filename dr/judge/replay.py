"""How far a copy was replayed, as its own log has it, against the second that was asked for. Pure.

Both stand on the source's clock, so that no offset comes in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dr.domain.model import Status
from dr.evidence.model import Evidence


@dataclass(frozen=True, slots=True)
class Replay:
    """``status``: met where the log proves that the copy holds its second and no more, missed where it proves that it
    holds less or more, inconclusive where it does not tell. ``because``: one sentence."""

    status: Status
    because: str


def replay_of(evidence: Evidence, path: str) -> Replay | None:
    """What the log proves; None where no point in time was restored, or which one is not known."""
    seen = evidence.observed("recovery-point", path)
    if seen is None or seen.get("kind") != "time" or seen.get("covers") is None:
        return None
    last, stop = seen.get("replayed_to"), seen.get("stopped_before")
    if last is None and stop is None:
        return Replay(Status.INCONCLUSIVE, _unread(seen))
    asked, width = float(seen["covers"]), float(seen.get("resolution") or 0.0)
    if last is not None and last > asked + width:
        return Replay(Status.MISSED, f"By its own log the copy holds what was written {_apart(last, asked)}.")
    if stop is not None and stop <= asked - width:
        return Replay(Status.MISSED, f"By its own log the copy left out what was written {_apart(stop, asked)}.")
    if stop is not None:
        return Replay(Status.MET, f"By its own log the first transaction left out is one {_apart(stop, asked)}.")
    newest = f"By its own log the newest transaction in the copy is one {_apart(last, asked)}"
    if last >= asked - width:
        return Replay(Status.MET, f"{newest}.")
    return Replay(Status.INCONCLUSIVE, f"{newest}, and whether there were later ones it does not tell.")


def _unread(seen: Mapping[str, Any]) -> str:
    """Where nothing but the request says how far the copy reaches, that is said."""
    why = str(seen.get("replay_note") or "its log was not read").rstrip(".")
    return f"This rests on the second that was asked for; how far the copy was replayed is not known ({why})."


def _apart(at: float, asked: float) -> str:
    side = "after" if at > asked else "before"
    return f"{abs(at - asked):.1f} s {side} the second that was asked for"
