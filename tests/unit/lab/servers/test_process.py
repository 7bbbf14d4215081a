"""Processes that are made to stand still, and what is left of a server that was killed."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from dr.lab.servers.process import Process, resume_tree, suspend_tree, unshare

LIBC = ctypes.CDLL(None)
KEY, NEW_ALONE = 0x64720000 + os.getpid() % 0x10000, 0o3600


@pytest.fixture
def segment() -> Iterator[int]:
    made = LIBC.shmget(KEY, 56, NEW_ALONE)
    assert made >= 0
    yield made
    LIBC.shmctl(made, 0, None)


@pytest.mark.parametrize("named", [True, False])
def test_the_memory_that_a_killed_server_names_is_removed_and_no_other(
    segment: int, tmp_path: Path, named: bool
) -> None:
    lock = tmp_path / "postmaster.pid"
    lock.write_text(f"1\n{tmp_path}\n1\n5432\n{tmp_path}\n\n  {KEY} {segment if named else segment + 1}\nready\n")
    unshare(lock)
    assert (LIBC.shmget(KEY, 0, 0) == segment) is not named


@pytest.mark.parametrize("text", ["", "1\n", "1\n\n1\n5432\n\n\n\nstarting\n"])
def test_a_server_that_names_none_left_none(segment: int, tmp_path: Path, text: str) -> None:
    unshare(tmp_path / "not there")
    (tmp_path / "postmaster.pid").write_text(text)
    unshare(tmp_path / "postmaster.pid")
    assert LIBC.shmget(KEY, 0, 0) == segment


@contextmanager
def busy() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as child:
        try:
            yield child.pid
        finally:
            child.kill()


def test_a_process_that_hardly_gets_a_processor_stands_still_once_it_was_suspended() -> None:
    """A signal is taken when its process runs, not when it is sent."""
    core = {min(os.sched_getaffinity(0))}
    with ExitStack() as stack:
        starved, other = stack.enter_context(busy()), stack.enter_context(busy())
        for pid in (starved, other):
            os.sched_setaffinity(pid, core)
        os.sched_setscheduler(starved, os.SCHED_IDLE, os.sched_param(0))
        for _ in range(3):
            suspend_tree(Process(starved))
            assert psutil.Process(starved).status() == psutil.STATUS_STOPPED
            resume_tree(Process(starved))
