"""What tests of every suite share: waiting, and directories that a server's account can enter.

Called by: tests/labs.py, tests/lab_servers.py, tests/servers.py, tests/contract and tests/integration.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def eventually(
    condition: Callable[[], object], seconds: float = 60.0, why: Callable[[], str] = lambda: "it did not happen in time"
) -> Any:
    """Wait until ``condition`` holds and return what it gave. Fails after ``seconds``, with what ``why`` says."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, why()
        time.sleep(0.05)
    return found


@contextmanager
def open_directory(prefix: str) -> Iterator[Path]:
    """A new directory that every account may enter, with a short path; gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)
