"""What a restored instance's own PostgreSQL log tells of its replay, where RDS lets one read it. Pure.

Source: PostgreSQL's xlogrecovery.c (14: xlog.c), whose messages are the same in versions 14 to 17.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

_DONE = re.compile(r"redo done at [0-9A-F/]+(?: system usage: .*elapsed: (?P<elapsed>[0-9.]+) s)?")
_START = re.compile(r"redo starts at [0-9A-F/]+")
_STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?")
_ZONED = r"(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?[+-]\d\d(?::\d\d)?)"
_TO_TIME = re.compile(rf"LOG:\s+starting point-in-time recovery to {_ZONED}")
_STOP = re.compile(rf"LOG:\s+recovery stopping before (?:commit|abort) of transaction \d+, time {_ZONED}")
_LAST = re.compile(rf"LOG:\s+last completed transaction was at log time {_ZONED}")
_OVER = re.compile(r"LOG:\s+archive recovery complete")


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a recovery to a time replayed, in seconds since the epoch on the source's clock; None: not told.

    ``last``: the newest transaction that was replayed. ``stop``: the first one that was not, and at which it stopped.
    """

    last: float | None = None
    stop: float | None = None


def reached(text: str) -> Reached | None:
    """How far the last recovery to a time in ``text`` came; None where there was none, or it did not end.

    The recoveries of later restarts, which the same log may hold, are others.
    """
    found: Reached | None = None
    under_way, last, stop = False, None, None
    for line in text.splitlines():
        if _TO_TIME.search(line):
            under_way, last, stop = True, None, None
        elif under_way and _OVER.search(line):
            under_way, found = False, Reached(last, stop)
        elif under_way:
            last, stop = _at(_LAST, line) or last, _at(_STOP, line) or stop
    return found


def _at(pattern: re.Pattern[str], line: str) -> float | None:
    found = pattern.search(line)
    return datetime.fromisoformat(found.group("at")).timestamp() if found else None


def replay_seconds(text: str) -> float | None:
    """Seconds of the last replay in ``text``; None where there was none, or no telling.

    PostgreSQL 15 states the time that passed; earlier versions leave the difference of two lines' stamps.
    """
    started: str | None = None
    seconds: float | None = None
    for line in text.splitlines():
        if _START.search(line):
            started = line
        done = _DONE.search(line)
        if done:
            elapsed = done.group("elapsed")
            seconds = float(elapsed) if elapsed else _between(started, line)
    return seconds


def _between(started: str | None, done: str) -> float | None:
    first, last = _STAMP.search(started or ""), _STAMP.search(done)
    if first is None or last is None:
        return None
    return (datetime.fromisoformat(last.group()) - datetime.fromisoformat(first.group())).total_seconds()
