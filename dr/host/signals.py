"""The signals that ask a process to end, what an exit by one of them is, and what is told at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

CODES = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143}


class Interrupted(KeyboardInterrupt):
    """A signal that ends what the main thread does at once, as Ctrl-C does. ``code``: the process's exit code."""

    def __init__(self, number: signal.Signals, said: str = "") -> None:
        super().__init__(said or f"{number.name} was received.")
        self.code = CODES[number]


@contextmanager
def handling(handle: Callable[[signal.Signals], None], pass_on: bool = False) -> Iterator[None]:
    """Inside, ``handle`` is called with each of those signals that is not ignored: under nohup SIGHUP is. ``pass_on``:
    whoever had listened before hears it, too. Python gives signals to its main thread alone: in another nothing
    changes."""
    before: dict[signal.Signals, Any] = {}

    def handler(number: int, frame: FrameType | None) -> None:
        which = signal.Signals(number)
        handle(which)
        if pass_on and callable(before[which]):
            before[which](number, frame)

    heard = [number for number in CODES if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    if threading.current_thread() is threading.main_thread():
        before |= {number: signal.getsignal(number) for number in heard}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def interrupt(number: signal.Signals) -> None:
    """Where no run is under way a signal ends the command at once. Raises Interrupted."""
    raise Interrupted(number)


def say(sentence: str) -> None:
    """To stderr, past its buffer: what cannot wait until a command ends, also where a signal interrupts a writer."""
    with suppress(OSError):  # nobody reads it
        os.write(2, f"dr: {sentence}\n".encode())
