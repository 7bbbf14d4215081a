"""Who a process is: its pid and its start, never its pid alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dr.domain.errors import ProviderError, RefusedError
from dr.host import children, locks
from dr.host.signals import handling
from tests.support import BUSY


def test_this_process_is_alive_and_one_with_its_pid_but_another_start_is_not() -> None:
    own = children.identity(os.getpid())
    assert children.alive(own)
    assert not children.alive(f"{own}1")
    assert not children.alive(str(os.getpid()))
    assert not children.alive("")


def test_a_zombie_counts_as_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    who = children.identity(child.pid)
    until = time.monotonic() + 10 * BUSY
    while children.alive(who):  # it is not reaped meanwhile
        assert time.monotonic() < until
        time.sleep(0.01)
    child.wait()
    with pytest.raises(ProviderError):
        children.identity(child.pid)


def test_a_group_stands_still_while_one_of_it_is_stopped() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        assert not children.stands_still(child.pid)
        child.send_signal(signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        assert children.stands_still(child.pid)
        assert not children.stands_still(os.getpgid(0))
        child.send_signal(signal.SIGCONT)
        os.waitpid(child.pid, os.WCONTINUED)
        assert not children.stands_still(child.pid)
    finally:
        child.kill()
        child.wait()


def test_a_process_with_a_pid_that_was_used_again_is_not_stopped(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    pidfile = tmp_path / "x.pid"
    pidfile.write_text(f'{{"who": "{stranger.pid}:1", "owner": "1:1"}}')
    children.stop(pidfile, grace=0.1)
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_held_pid_file_is_refused_to_a_second_holder(tmp_path: Path) -> None:
    first = children.PidFile(tmp_path / "x.pid", "1:1")
    with pytest.raises(RefusedError):
        children.PidFile(tmp_path / "x.pid", "1:1")
    first.conclude("stopped", 3)
    held = children.held(tmp_path / "x.pid")
    assert held is not None
    assert (held.who, held.ended, held.code) == (children.identity(os.getpid()), "stopped", 3)


def test_noting_the_end_takes_no_more_room_on_the_disk(tmp_path: Path) -> None:
    pidfile = children.PidFile(tmp_path / "x.pid", "1:1")
    before = (tmp_path / "x.pid").stat().st_size
    pidfile.conclude("é" * 10_000)
    assert (tmp_path / "x.pid").stat().st_size == before
    assert children.held(tmp_path / "x.pid") is not None


@pytest.mark.parametrize("content", [None, "", "{", '{"who": "1:1"}', "[]"])
def test_an_unreadable_pid_file_names_nobody(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "x.pid").write_text(content)
    assert children.held(tmp_path / "x.pid") is None
    assert children.stop(tmp_path / "x.pid") is None


def test_last_words_are_the_last_line_that_holds_no_secret(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert children.last_words(log) == "it said nothing."
    log.write_text("first\nreason\npassword is hush\n\n")
    assert children.last_words(log, ["hush"]) == "reason"


def test_a_process_that_ends_at_once_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    def work() -> int:
        print("no such luck")
        return 1

    with pytest.raises(ProviderError, match="no such luck"):
        children.begin(work, tmp_path / "x.pid", tmp_path / "x.log")


def test_a_fork_ends_with_what_its_work_returns_and_says_it_in_its_log(tmp_path: Path) -> None:
    def work() -> int:
        print("said")
        raise ValueError("odd")

    assert children.Fork(lambda: 7, tmp_path / "log").wait() == 7
    assert children.Fork(work, tmp_path / "log").wait() == 1
    said = (tmp_path / "log").read_text()
    assert said.startswith("said\n")
    assert said.endswith("ValueError: odd\n")


def test_a_fork_holds_no_lock_and_no_file_of_whoever_made_it(tmp_path: Path) -> None:
    with locks.holding(tmp_path / "lock", "a test", 0.0, RefusedError), (tmp_path / "own").open("w") as own:

        def work() -> int:
            os.write(own.fileno(), b"theirs")
            time.sleep(60)
            return 0

        child = children.Fork(work, tmp_path / "log")
    try:
        with locks.holding(tmp_path / "lock", "another", 5.0, RefusedError):
            assert (tmp_path / "own").read_text() == ""
    finally:
        child.kill()
    assert child.wait() == -signal.SIGKILL


def test_what_a_fork_starts_has_no_input_and_no_closed_one(tmp_path: Path) -> None:
    assert children.Fork(lambda: subprocess.run(["cat"], check=False).returncode, tmp_path / "log").wait() == 0
    assert (tmp_path / "log").read_text() == ""


def test_a_signal_while_a_fork_is_made_is_its_makers_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard, fork = [], os.fork

    def late() -> int:
        child = fork()
        os.kill(os.getpid(), signal.SIGTERM)
        return child

    def work() -> int:
        (tmp_path / "begun").touch()
        return 0

    monkeypatch.setattr(os, "fork", late)
    with handling(lambda _: heard.append(os.getpid())):
        child = children.Fork(work, tmp_path / "log")
    assert child.wait() == -signal.SIGTERM
    assert not (tmp_path / "begun").exists()
    assert heard == [os.getpid()]


def test_a_fork_leads_a_session_and_a_signal_ends_it_as_if_nobody_had_listened(tmp_path: Path) -> None:
    def work() -> int:
        (tmp_path / "session").write_text(str(os.getsid(0)))
        time.sleep(60)
        return 0

    with handling(lambda _: None):
        child = children.Fork(work, tmp_path / "log")
    while not (tmp_path / "session").exists() or not (tmp_path / "session").read_text():
        time.sleep(0.01)
    assert (tmp_path / "session").read_text() == str(child.pid)
    os.kill(child.pid, signal.SIGTERM)
    assert child.wait() == -signal.SIGTERM
