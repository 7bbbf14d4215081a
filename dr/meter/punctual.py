"""What a meter asks of the system to be on time; each request may be refused, and lateness is measured anyway."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import socket
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
"""The system call's number; the C library has no function for it."""
TURN = 100_000
"""Nanoseconds: the shortest turn that Linux gives."""
PRIORITY = -10
"""A meter goes before all else on its machine: else it measures its own waiting for the processor."""


def be_punctual(hosts: Iterable[str]) -> None:
    """Ask for exact wake-ups, and, where none of the measured ``hosts`` is this machine, for a core and a priority.
    Beside what it measures a meter takes its turn like everybody, if a short one: whatever it went before would be
    slower by that, and the slowness be called the target's."""
    with contextlib.suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1")
    if any(is_here(host) for host in hosts):
        _take_short_turns()
    else:
        _go_first()
    gc.collect()
    gc.freeze()
    gc.disable()  # nothing the prober makes is cyclic for long: a probe and its connection part when it is over


def _take_short_turns() -> None:
    """Ask for turns of the shortest length, which come sooner: not one moment more of the processor than others get.
    Linux 6.12 and newer heed it (sched_setattr(2): sched_runtime of SCHED_OTHER); older ones take it and do nothing."""
    call = SCHED_SETATTR.get(os.uname().machine)
    if sys.platform == "linux" and call is not None:
        nice = os.getpriority(os.PRIO_PROCESS, 0)
        wanted = struct.pack("IIQiIQQQ", 48, os.SCHED_OTHER, 0, nice, 0, TURN, 0, 0)  # its own size comes first
        ctypes.CDLL(None).syscall(ctypes.c_long(call), 0, wanted, 0)


def _go_first() -> None:
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def is_here(host: str) -> bool:
    """Whether ``host`` is this machine: a Unix socket's directory, or a name of an address that can be bound here."""
    if host.startswith("/"):
        return True
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)
    except OSError:
        return False  # then nothing is measured there, either
    return any(_binds(family, address) for family, _, _, _, address in found)


def _binds(family: int, address: tuple[object, ...]) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as tried:
            tried.bind(address)
    except OSError:
        return False
    return True
