"""What tests of every suite share: waiting, asking over HTTP, and directories that a server's account can enter."""

from __future__ import annotations

import os
import shutil
import socketserver
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psutil

BUSY = 4.0
"""How many times longer things may take on a machine that has others to serve."""
SHARE = float(os.environ.get("DR_TEST_EXAMPLES", "1"))


def many(examples: int) -> int:
    """So many examples of a property, or the share of them that DR_TEST_EXAMPLES asks for: a quick check wants few."""
    return max(10, round(examples * SHARE))


def eventually(
    condition: Callable[[], object], seconds: float = 60.0, why: Callable[[], str] = lambda: "it did not happen in time"
) -> Any:
    """Wait until ``condition`` holds and return what it gave. Fails with what ``why`` says after ``seconds``, which is
    for a machine that has nothing else to do."""
    asked = time.monotonic()
    until = asked + BUSY * seconds
    while not (found := condition()):
        now = time.monotonic()
        assert now < until, why()
        time.sleep(min(1.0, max(0.05, 3.0 * (now - asked))))  # asking takes a quarter of a processor at the most
        asked = time.monotonic()
    return found


def ended(process: subprocess.Popen[Any], seconds: float = 30.0) -> int:
    """The exit code of a process that has to end within ``seconds``, as ``eventually`` counts them."""
    return process.wait(BUSY * seconds)


@cache
def roomy() -> str:
    """Where directories of servers are made: in memory, where that has room for those of several labs. A server is a
    thousand files, and to make them on a disk takes more of a processor than all that is asked of it."""
    memory = "/dev/shm"
    if not os.access(memory, os.W_OK | os.X_OK) or os.statvfs(memory).f_flag & os.ST_NOEXEC:
        return "/tmp"
    free = min(shutil.disk_usage(memory).free, psutil.virtual_memory().available)
    return memory if free > 8 << 30 else "/tmp"


@contextmanager
def open_directory(prefix: str) -> Iterator[Path]:
    """A new directory that every account may enter, with a short path; gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=roomy()))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def status_of(url: str) -> int:
    """The status that a URL answers with; 0: none."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    """``server`` answers until the end of the block, in a thread."""
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
