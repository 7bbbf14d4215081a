"""SIGINT, SIGTERM and SIGHUP (a lost terminal) as a halt of the run, so that it unwinds instead of dying."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dr.domain.errors import DrError
from dr.evidence.directory import RunDirectory
from dr.host.signals import CODES, Interrupted, handling, say

ONE = 2.0
"""Seconds within which several signals are one: a terminal that is lost sends some itself, and its shell others."""


def code_of(because: str) -> int:
    """The exit code of a run that was halted ``because``: that of the signal that it names, else SIGINT's."""
    return next((code for number, code in CODES.items() if number.name in because), CODES[signal.SIGINT])


@contextmanager
def halting(directory: RunDirectory, by: str = "", pass_on: bool = False) -> Iterator[list[int]]:
    """While inside, a signal halts ``directory``'s run. Yields a list that receives the exit code of each signal.

    To dr itself a later one ends the unwinding, too: Interrupted is raised, wherever the main thread is; so it is where
    the halt cannot be written. ``by``: who else than dr received it, and does no more than halt. ``pass_on``: whoever
    had listened before hears it, too.
    """
    received: list[int] = []
    halted_at = 0.0

    def halt(number: signal.Signals) -> None:
        nonlocal halted_at
        halted_at = halted_at or time.monotonic()
        again = time.monotonic() - halted_at > ONE
        received.append(CODES[number])
        if not by and again:
            left = f"what run {directory.id} has not undone yet is left, and 'dr cleanup {directory.id}' undoes it"
            raise Interrupted(number, f"{number.name} was received again: {left}.")
        if not by and len(received) == 1:
            ends = f"A second signal leaves that to 'dr cleanup {directory.id}'."
            say(f"{number.name} was received: run {directory.id} stops and unwinds. {ends}")
        try:
            directory.halt(f"{number.name} was received{by and f' by {by}'}")
        except (OSError, DrError) as error:
            raise Interrupted(number, f"{number.name} was received, and could not be noted: {error}") from None

    with handling(halt, pass_on):
        yield received
