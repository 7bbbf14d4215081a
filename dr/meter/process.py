"""A meter's process, whatever it measures; and the prober's work.

It holds its pid file, ends when its owner is gone or SIGTERM comes, and notes there why it ended, in room that a full
disk cannot take from it.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from dr.domain.errors import DrError
from dr.evidence.samples import samples_file
from dr.host.children import PidFile, alive
from dr.meter.bearer import authorization
from dr.meter.golden import Golden
from dr.meter.http import endpoint, request
from dr.meter.loop import Journal, record
from dr.meter.probe import Prober, Settings

LOOK = 1.0
"""Seconds between two looks whether the owner lives."""
Work = Callable[[dict[str, Any], Callable[[], str]], str]
"""Measures by its configuration until the second tells why to end, which it returns."""


def until_told(owner: str) -> Callable[[], str]:
    """A function that says why to end: SIGTERM or SIGINT came, or the owner is gone; "" to go on."""
    told: list[int] = []

    def note(signum: int, _frame: FrameType | None) -> None:
        told.append(signum)

    signal.signal(signal.SIGTERM, note)
    signal.signal(signal.SIGINT, note)

    looked = [0.0]

    def why() -> str:
        if told:
            return "stopped"
        if (now := time.monotonic()) - looked[0] < LOOK:
            return ""
        looked[0] = now
        return "" if alive(owner) else "its owner is gone"

    return why


def probe(config: dict[str, Any], ended: Callable[[], str]) -> str:
    """The ``Work`` of a path's prober."""
    to = endpoint(config["url"])
    shown = authorization(config.get("token", ""))
    requests = [request(to, body, shown) for body in config["bodies"]]
    out = Journal(samples_file(Path(config["run"]), config["path"]))
    golden = [Golden(**one) if one else None for one in config.get("golden") or [None]]
    prober = Prober(Settings(to, requests, config["fields"], config["timeout"], golden=golden), out.write)
    return record(prober, out, config, ended, [to.host])


def run(work: Work, config: dict[str, Any]) -> int:
    """Do ``work`` until told otherwise. Returns the exit code; the pid file and stderr say why. No secret stands in
    ``config``."""
    ended = until_told(config["owner"])
    try:
        pidfile = PidFile(Path(config["pidfile"]), config["owner"])
    except DrError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    try:
        pidfile.conclude(work(config, ended))
    except DrError as error:
        pidfile.conclude(str(error), error.exit_code)
        with contextlib.suppress(OSError):  # the log may lie on the very disk that is full
            sys.stderr.write(f"{error}\n")
            sys.stderr.flush()
        return error.exit_code
    return 0
