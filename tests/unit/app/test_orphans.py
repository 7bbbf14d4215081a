"""A drill's Chaos Toolkit without its session: it ends by itself, or the next command ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dr.app.drill import ENDED, STARTED, end_orphan
from dr.evidence.directory import RunDirectory
from dr.host.children import alive, identity
from tests.support import ended, eventually
from tests.virtual import VirtualClock

SESSION = """
import subprocess, sys
from dr.host.children import die_with_parent
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], preexec_fn=die_with_parent(),
                         start_new_session=True, stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
child.wait()
"""


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a group of its own, with another one in it."""
    tells = "os.write(1, b'%d\\n' % os.getpid())"  # one write each: two processes share the pipe
    argv = [sys.executable, "-c", f"import os, time; os.fork(); {tells}; time.sleep(600)"]
    with subprocess.Popen(argv, start_new_session=True, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_child_ends_at_once_with_a_session_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", SESSION], stdout=subprocess.PIPE) as session:
        assert session.stdout is not None
        child = identity(int(session.stdout.readline()))
        assert alive(child)
        session.kill()
    assert eventually(lambda: not alive(child))


def run_of(tmp_path: Path, *events: dict[str, object]) -> RunDirectory:
    directory = RunDirectory(tmp_path)
    for event in events:
        directory.ledger(VirtualClock()).append("event", data=event)
    return directory


def test_an_orphan_is_ended_with_all_that_it_started_and_that_is_said(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    assert sleeper.stdout is not None
    both = [identity(int(sleeper.stdout.readline())) for _ in range(2)]
    directory = run_of(tmp_path, {"text": STARTED, "pid": sleeper.pid, "who": identity(sleeper.pid)})
    end_orphan(directory, VirtualClock())
    assert eventually(lambda: not any(alive(who) for who in both))
    assert ended(sleeper) == -signal.SIGKILL
    assert f"Chaos Toolkit of run {directory.id} still ran without its session, as process {sleeper.pid}" in (
        capfd.readouterr().err
    )
    assert directory.ledger(VirtualClock()).entries()[-1].data["text"] == "An orphaned Chaos Toolkit was ended"
    end_orphan(directory, VirtualClock())
    assert len(directory.ledger(VirtualClock()).entries()) == 2


@pytest.mark.parametrize("of", ["another process of its pid", "an earlier form", "one that ended"])
def test_no_other_process_is_ended(tmp_path: Path, sleeper: subprocess.Popen[bytes], of: str) -> None:
    who = {"another process of its pid": f"{sleeper.pid}:1", "an earlier form": ""}.get(of, identity(sleeper.pid))
    started = {"text": STARTED, "pid": sleeper.pid, **({"who": who} if who else {})}
    over = [{"text": ENDED, "exit": 0}] if of == "one that ended" else []
    end_orphan(run_of(tmp_path, started, *over), VirtualClock())
    os.kill(sleeper.pid, 0)
    assert sleeper.poll() is None
