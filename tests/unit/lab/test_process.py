"""What is left of a server that was killed."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dr.lab.servers.process import unshare

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
