"""Locks: closed to others, tried with a limit, and naming who holds them."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dr.app import lock
from dr.domain.errors import ProviderError, RefusedError
from dr.domain.model import Observation
from dr.evidence import directory, ledger
from dr.evidence.directory import RunDirectory
from dr.host import locks
from tests.virtual import VirtualClock

HOLDS = """
import sys
from pathlib import Path
from dr.domain.errors import RefusedError
from dr.host import locks
with locks.holding(Path(sys.argv[1]), "a command", 0.0, RefusedError):
    locks.note("run 20261128-183720-bdcd")
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(path: Path) -> Iterator[int]:
    """Another process holds ``path``. Yields its pid."""
    argv = [sys.executable, "-c", HOLDS, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield holder.pid
        holder.communicate()


@contextmanager
def flocked(path: Path) -> Iterator[None]:
    """Somebody holds ``path`` who does not say so."""
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def hold(path: Path, seconds: float = 0.0) -> None:
    with locks.holding(path, "a test", seconds, lambda holder: RefusedError(f"Held by {holder}.")):
        pass


def test_a_target_that_is_held_is_refused_with_its_holders_pid_run_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DR_HOME", str(tmp_path))
    (tmp_path / "locks").mkdir()
    with held(tmp_path / "locks" / "lab.lock") as pid:
        said = rf"'lab': process {pid} \(run 20261128-183720-bdcd, since \d{{4}}-\d\d-\d\d [\d:]+ UTC\)\. .*'dr abort'"
        with pytest.raises(RefusedError, match=said), lock.locked("lab"):
            pass
    with lock.locked("lab"):
        pass


def test_a_lock_is_closed_to_others_and_so_is_one_that_was_there_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DR_HOME", str(tmp_path))
    before = os.umask(0)
    try:
        with lock.locked("new"):
            pass
        path = tmp_path / "locks" / "lab.lock"
        path.touch(0o666)
        path.parent.chmod(0o777)
        with lock.locked("lab"):
            pass
    finally:
        os.umask(before)
    assert (mode(path.parent), mode(path), mode(path.with_name("new.lock"))) == (0o700, 0o600, 0o600)


def test_what_a_run_locks_is_closed_to_others(tmp_path: Path) -> None:
    run, clock = RunDirectory(tmp_path), VirtualClock()
    for name in ("lock", "ledger.jsonl", "observations.jsonl"):
        (tmp_path / name).touch(0o666)
        (tmp_path / name).chmod(0o666)
    with run.exclusive():
        run.ledger(clock).append("accepted")
        run.observe([Observation("seen", "restored", 1)], 1.0)
    assert [mode(tmp_path / name) for name in ("lock", "ledger.jsonl", "observations.jsonl")] == [0o600] * 3


def test_no_link_is_followed_to_a_lock(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("kept")
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RefusedError, match="cannot be opened"):
        hold(tmp_path / "lock")
    assert (tmp_path / "elsewhere").read_text() == "kept"


def test_whoever_is_waited_for_is_said_and_then_given_up(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with held(tmp_path / "lock") as pid, pytest.raises(RefusedError, match=rf"Held by process {pid} "):
        hold(tmp_path / "lock", seconds=1.3)
    assert f"lock is held by process {pid} (run 20261128-183720-bdcd" in capfd.readouterr().err


def test_a_holder_that_does_not_say_who_it_is_is_not_taken_for_an_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text('{"who": "1:1", "since": 1.0, "what": "run of before"}')
    with flocked(path), pytest.raises(RefusedError, match="a process that does not say which it is"):
        hold(path)


def test_evidence_that_somebody_holds_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "HELD_SECONDS", 0.1)
    monkeypatch.setattr(directory, "HELD_SECONDS", 0.1)
    run = RunDirectory(tmp_path)
    written = run.ledger(VirtualClock())
    written.append("accepted")
    with flocked(tmp_path / "ledger.jsonl"), pytest.raises(ProviderError, match=r"ledger.jsonl is held by another"):
        written.append("event")
    run.observe([Observation("seen", "restored", 1)], 1.0)
    with flocked(tmp_path / "observations.jsonl"), pytest.raises(ProviderError, match=r"observations.jsonl is held"):
        run.observe([Observation("seen", "restored", 2)], 1.0)
    said = r"still held by process \d+ \(run .*end it"
    with held(tmp_path / "lock"), pytest.raises(RefusedError, match=said), run.exclusive():
        pass
    assert len(written.entries()) == 1
