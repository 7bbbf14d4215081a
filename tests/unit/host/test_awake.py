"""A process that is really stopped notices when it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from dr.host.awake import LATE, watching
from tests.support import ended, eventually

PROGRAM = """
import sys, time
from dr.host.awake import watching
with watching(lambda seconds: print(seconds, flush=True)):
    print("begun", flush=True)
    sys.stdin.readline()
"""


def test_a_process_that_was_stopped_tells_for_how_long() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n"
        time.sleep(0.5)
        os.kill(child.pid, signal.SIGSTOP)
        time.sleep(2.5)  # a real process is stopped in real time
        os.kill(child.pid, signal.SIGCONT)
        asleep = float(child.stdout.readline())
        child.stdin.close()
        ended(child)
    assert asleep >= 2.5 - LATE / 2
    assert asleep < 60.0


def test_one_that_goes_on_tells_nothing_and_ends_at_once() -> None:
    told: list[float] = []
    with watching(told.append):
        time.sleep(0.6)
    assert not [seconds for seconds in told if seconds > 30.0]


def test_what_fails_inside_ends_the_watching(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    before = threading.active_count()
    with pytest.raises(KeyError), watching(lambda _: None):
        raise KeyError
    eventually(lambda: threading.active_count() <= before)
