"""SIGINT, SIGTERM and SIGHUP (a lost terminal) as a halt of the run, so that it unwinds instead of dying.

Called by: ``dr.app``, and ``dr.activities`` in Chaos Toolkit's own process.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from dr.evidence.directory import RunDirectory

CODES = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143}


def code_of(because: str) -> int:
    """The exit code of a run that was halted ``because``: that of the signal that it names, else SIGINT's."""
    return next((code for number, code in CODES.items() if number.name in because), CODES[signal.SIGINT])


@contextmanager
def halting(directory: RunDirectory, by: str = "", pass_on: bool = False) -> Iterator[list[int]]:
    """While inside, a signal halts ``directory``'s run. Yields a list that receives the exit code of each signal.

    ``by``: who else than dr itself received it. ``pass_on``: whoever had listened before hears it, too. Python gives
    signals to its main thread alone: in another nothing changes.
    """
    received: list[int] = []
    before: dict[signal.Signals, Any] = {}

    def halt(number: int, frame: FrameType | None) -> None:
        received.append(CODES[signal.Signals(number)])
        directory.halt(f"{signal.Signals(number).name} was received{by and f' by {by}'}")
        earlier = before[signal.Signals(number)]
        if pass_on and callable(earlier):
            earlier(number, frame)

    heard = [number for number in CODES if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    if threading.current_thread() is threading.main_thread():
        before |= {number: signal.getsignal(number) for number in heard}  # nohup stays nohup
    for number in before:
        signal.signal(number, halt)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
