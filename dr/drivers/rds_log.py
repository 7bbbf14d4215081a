"""How long a restored instance replayed, from its own PostgreSQL log, where RDS lets one read it. Pure.

Called by: ``dr.drivers.rds``, with the text of the log.
"""

from __future__ import annotations

import re
from datetime import datetime

_DONE = re.compile(r"redo done at [0-9A-F/]+(?: system usage: .*elapsed: (?P<elapsed>[0-9.]+) s)?")
_START = re.compile(r"redo starts at [0-9A-F/]+")
_STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?")


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
