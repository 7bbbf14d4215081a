"""What a restored instance's own PostgreSQL log tells of its replay, where RDS lets one read it. Pure.

Source: PostgreSQL's xlogrecovery.c (14: xlog.c), whose messages are the same in versions 14 to 17.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

_DONE = re.compile(r"redo done at [0-9A-F/]+(?: system usage: .*elapsed: (?P<elapsed>[0-9.]+) s)?")
_START = re.compile(r"redo starts at [0-9A-F/]+")
_STAMP = re.compile(r"(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?)")
_ZONED = r"(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?[+-]\d\d(?::\d\d)?)"
_TO_TIME = re.compile(rf"LOG:\s+starting point-in-time recovery to {_ZONED}")
_STOP = re.compile(rf"LOG:\s+recovery stopping before (?:commit|abort) of transaction \d+, time {_ZONED}")
_LAST = re.compile(rf"LOG:\s+last completed transaction was at log time {_ZONED}")
_OVER = re.compile(r"LOG:\s+archive recovery complete")


def reached(text: str) -> dict[str, float | None] | None:
    """How far the last recovery to a time in ``text`` came; None where there was none, or it did not end.

    ``target``: the time that it was to recover to; ``replayed_to``: the newest transaction that was replayed;
    ``stopped_before``: the first one that was not; seconds since the epoch on the source's clock, None where it is not
    told. The recoveries of later restarts, which the same
    log may hold, are others.
    """
    found: dict[str, float | None] | None = None
    target, last, stop = None, None, None
    for line in text.splitlines():
        if _TO_TIME.search(line):
            target, last, stop = _at(_TO_TIME, line), None, None
        elif target is not None and _OVER.search(line):
            found, target = {"target": target, "replayed_to": last, "stopped_before": stop}, None
        elif target is not None:
            last, stop = _at(_LAST, line) or last, _at(_STOP, line) or stop
    return found


def _at(pattern: re.Pattern[str], line: str) -> float | None:
    found = pattern.search(line)
    at = datetime.fromisoformat(found.group("at")) if found else None
    return at.replace(tzinfo=at.tzinfo or UTC).timestamp() if at else None


def replay_seconds(text: str) -> float | None:
    """Seconds of the last replay in ``text``; None where there was none, or no telling. PostgreSQL 15 states the time
    that passed; earlier versions leave the difference of two lines' stamps."""
    started: float | None = None
    seconds: float | None = None
    for line in text.splitlines():
        if _START.search(line):
            started = _at(_STAMP, line)
        if done := _DONE.search(line):
            ended, elapsed = _at(_STAMP, line), done.group("elapsed")
            passed = None if started is None or ended is None else ended - started
            seconds = float(elapsed) if elapsed else passed
    return seconds
