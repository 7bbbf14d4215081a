"""How the lab's daemon is told from a later process with its pid."""

from __future__ import annotations

import os

import psutil
import pytest

from dr.lab import presence


def test_a_process_stays_itself_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    started = presence.start(psutil.Process())
    assert presence.process(os.getpid(), started) is not None
    created, booted = psutil.Process.create_time, psutil.boot_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda one: created(one) + 3600)
    monkeypatch.setattr(psutil, "boot_time", lambda: booted() + 3600)
    assert presence.process(os.getpid(), started) is not None


def test_a_pid_that_was_given_anew_is_another_process() -> None:
    started = presence.start(psutil.Process())
    assert presence.process(os.getpid(), started - 1) is None
