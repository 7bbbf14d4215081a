"""SIGINT, SIGTERM and SIGHUP (a lost terminal) as a halt of the run, so that it unwinds instead of dying.

Called by: ``dr.app``.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from dr.evidence.directory import RunDirectory

CODES = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143}


@contextmanager
def halting(directory: RunDirectory) -> Iterator[list[int]]:
    """While inside, a signal halts ``directory``'s run. Yields a list that receives the exit code of each signal."""
    received: list[int] = []

    def halt(number: int, _frame: FrameType | None) -> None:
        received.append(CODES[signal.Signals(number)])
        directory.halt(f"{signal.Signals(number).name} was received")

    heard = [number for number in CODES if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, halt) for number in heard}  # nohup stays nohup
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
