"""What to do about an instance whose server or standby is in trouble: RDS's own part in a failover. Pure.

It does the step and looks again; a step that was not done, or did not help, is told again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from dr.lab.rds.servers import Condition, Standby

GONE_AFTER = 3.0
"""Seconds until a lost host is believed lost: RDS notices within some seconds."""
HUNG_AFTER = 8.0
"""The same for one that stands still: longer, since a server under load is slow to answer."""
SILENT = 3.0
"""Seconds without a word from a standby that speaks every second: COMMITs wait for it and must not for much longer."""
AWAY = 1.5
"""Seconds for which a standby may not stream: a restarted one is back by then."""
RETRY = 5.0
"""Seconds between two attempts to have a standby again."""
REPLACE_AFTER = 60.0
"""Seconds until the host that a failover left behind is given up, and a standby is made on another."""
STARTS = 3
"""Starts in place that fail before the server is given up."""


class Step(StrEnum):
    """What is to be done.

    RESTART: start the server where it is. FAIL_OVER: to the standby. DEGRADE: go on without the standby.
    REJOIN: the fenced server becomes the standby (``Servers.rejoin``). REBUILD: have a standby again
    (``Servers.add_standby``). STORAGE_FULL: nothing but to say so. GIVE_UP: the instance has failed.
    """

    NOTHING = "nothing"
    RESTART = "restart"
    FAIL_OVER = "fail over"
    DEGRADE = "degrade"
    REJOIN = "rejoin"
    REBUILD = "rebuild"
    STORAGE_FULL = "storage full"
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at an instance saw.

    ``at``: monotonic seconds. ``multi_az``: it is to have a standby. ``busy``: a failover, a start or the making of a
    standby is under way. ``failed_starts``: starts in place that failed since it last ran.
    """

    at: float
    condition: Condition
    standby: Standby | None = None
    multi_az: bool = False
    busy: bool = False
    failed_starts: int = 0


@dataclass(frozen=True, slots=True)
class History:
    """What looks before it leave behind. Times are monotonic seconds; None: not now, or never."""

    condition: Condition = "running"
    since: float | None = None
    """When ``condition`` was seen first."""
    away: float | None = None
    """Since when the standby does not stream."""
    without: float | None = None
    """Since when there is no synchronous standby though there should be."""
    tried: float | None = None
    """When REJOIN or REBUILD was told last."""


def decide(history: History, look: Look) -> tuple[History, Step]:
    """What to do now, and what to remember."""
    history = _remembered(history, look)
    step = Step.NOTHING if look.busy else _step(history, look)
    if step in (Step.REJOIN, Step.REBUILD):
        history = replace(history, tried=look.at)
    return history, step


def _remembered(before: History, look: Look) -> History:
    """Busy looks count, too: what went wrong meanwhile went wrong then."""
    since = before.since if before.since is not None and before.condition == look.condition else look.at
    standby = look.standby
    is_away = look.condition == "running" and standby is not None and not standby.streaming
    is_without = look.multi_az and not (standby and standby.synchronous)
    return replace(
        before,
        condition=look.condition,
        since=since,
        away=_first(before.away, look.at, is_away),
        without=_first(before.without, look.at, is_without),
        tried=before.tried if is_without else None,
    )


def _first(before: float | None, now: float, holds: bool) -> float | None:
    return (now if before is None else before) if holds else None


def _step(history: History, look: Look) -> Step:
    """A full disk never fails over: the standby's is as full. A dead engine is started where it is: that is quicker."""
    lasted = look.at - (history.since if history.since is not None else look.at)
    can_fail_over = look.multi_az and look.standby is not None and look.standby.synchronous
    match look.condition:
        case "full":
            return Step.STORAGE_FULL
        case "dead" if look.failed_starts < STARTS:
            return Step.RESTART
        case "dead":
            return Step.FAIL_OVER if can_fail_over else Step.GIVE_UP
        case "gone" | "hung":
            limit = GONE_AFTER if look.condition == "gone" else HUNG_AFTER
            return Step.FAIL_OVER if can_fail_over and lasted >= limit else Step.NOTHING
    return _about_standby(history, look) if look.multi_az else Step.NOTHING


def _about_standby(history: History, look: Look) -> Step:
    """Only for a primary that runs: one that is about to be failed over from must not forget its standby."""
    standby = look.standby
    if standby is not None and standby.synchronous:
        is_away = history.away is not None and look.at - history.away >= AWAY
        return Step.DEGRADE if is_away or standby.silent >= SILENT else Step.NOTHING
    if history.tried is not None and look.at - history.tried < RETRY:
        return Step.NOTHING
    waited = look.at - (history.without if history.without is not None else look.at)
    return Step.REJOIN if standby is None and waited < REPLACE_AFTER else Step.REBUILD
