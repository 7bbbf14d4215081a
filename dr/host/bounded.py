"""Asking what may never answer: a deadline for the whole of an answer, and what is done about an odd one.

A client library's own time-outs are for each piece of an answer, and neither resolving a name nor opening TLS is
always among them. So the asking is done by a thread of its own, which is given up once its time has passed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

from dr.domain.errors import HaltedError, ProviderError, RefusedError
from dr.host.hearing import heed, pause
from dr.ports import Clock

T = TypeVar("T")

SLICE = 0.2
"""Seconds that are waited before it is looked whether to stop."""
GRACE = 1.0
"""Seconds that an answer may still take once this process was told to stop: what is given up may have been done, and
whoever undoes it has to wait for it to show."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
"""Seconds before something is asked for again; each pause is twice the one before."""
NO_ANSWER = "NoAnswer"
"""The ``code`` of an answer that did not come in time."""
HINT = "See whether something between here and there answers in its place, or slowly, such as a proxy."


class _Asking(threading.Thread):
    """``given_up``: nobody waits for it any more."""

    given_up = False


def given_up() -> bool:
    """Whether nobody waits any more for what the present thread asks: then it is to send nothing."""
    current = threading.current_thread()
    return isinstance(current, _Asking) and current.given_up


def within(clock: Clock, seconds: float, what: str, step: Callable[[], T]) -> T:
    """What ``step`` returns or raises, where that is known within ``seconds``. ``what``: whose answer it is, in words.
    Raises ProviderError, which may pass, where it is not; and HaltedError where this process is told to stop. What was
    given up goes on in a thread that dies with the process: what it asked for may still be done."""
    outcome: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

    def ask() -> None:
        try:
            outcome.put((step(), None))
        except BaseException as error:  # whoever waits raises it
            outcome.put((None, error))

    began = clock.now().mono_ns
    asking = _Asking(target=ask, name=what, daemon=True)
    asking.start()
    try:
        while _since(clock, began) < seconds:
            with suppress(Empty):
                value, error = outcome.get(timeout=SLICE)
                if _since(clock, began) < seconds:
                    if error is not None:
                        raise error
                    return value  # type: ignore[return-value]  # without an error it is the step's own
            heed(GRACE)
        raise ProviderError(f"{what} was not answered within {seconds:g} s.", HINT, code=NO_ANSWER, transient=True)
    except BaseException:
        asking.given_up = True
        raise


def persistently(clock: Clock, patience: Callable[[ProviderError], float], step: Callable[[], T]) -> T:
    """What ``step`` returns, repeated after growing pauses for as long, in seconds, as ``patience`` has with its error.

    That is counted from the first failure: how slowly it came, as on a busy machine, says nothing of the next answer.
    Raises the last error of ``step``; HaltedError as ``within``. A refusal of what was asked for again is a
    ProviderError that may pass: what was asked for before may have been accepted, and only its answer was lost.
    """
    failed: int | None = None
    wait = FIRST_PAUSE
    while True:
        try:
            return step()
        except ProviderError as error:
            failed = clock.now().mono_ns if failed is None else failed
            if _since(clock, failed) + wait > patience(error):
                raise
        except HaltedError as halted:
            halted.begun = halted.begun or failed is not None
            raise
        except RefusedError as error:
            if failed is None:
                raise
            raise ProviderError(str(error.args[0]), error.hint, transient=True) from None
        pause(clock, wait)
        wait = min(2 * wait, LONGEST_PAUSE)


def _since(clock: Clock, began: int) -> float:
    return (clock.now().mono_ns - began) / 1e9
