"""A signal is heard while a provider drips: before there is a run, in one, and while one unwinds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.dripping import dripping

HEARD = 2.0
"""Seconds within which dr is to have heard."""
BUSY = 15.0
"""What a machine with other work adds to them; the endpoint would drip for ever."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 100000\r\n\r\n<Describe"


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    path = tmp_path / "credentials"
    path.write_text("[default]\naws_access_key_id = OWN\naws_secret_access_key = own-secret\n")
    return path


def ended(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> float:
    """Seconds from the signal to the end."""
    began = time.monotonic()
    process.send_signal(number)
    process.wait(HEARD + 4 * BUSY)
    return time.monotonic() - began


@pytest.mark.parametrize("command", [["backups"], ["restore", "--latest", "--plan"], ["doctor"]])
def test_a_command_that_waits_for_an_answer_ends_by_sigterm(
    tmp_path: Path, credentials: Path, command: list[str]
) -> None:
    with dripping(b" ", every=0.2, first=HEAD) as port:
        target = {
            "account": "123456789012",
            "region": "eu-central-1",
            "instance": "db",
            "endpoint": f"http://127.0.0.1:{port}",
            "credentials": {"file": str(credentials)},
            "database": {"name": "clinic", "harness": {"user": "dr", "secret": "env:X"}},
        }
        (tmp_path / "dr.yaml").write_text(yaml.safe_dump({"targets": {"slow": target}}))
        env = {**os.environ, "DR_HOME": str(tmp_path / "home"), "DR_CONFIG": str(tmp_path / "dr.yaml")}
        argv = [sys.executable, "-m", "dr", *command, "--target", "slow"]
        process = subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, text=True)
        time.sleep(3.0)  # it asks by then, or has not yet begun to: it is to end in either case
        assert process.poll() is None
        assert ended(process) < HEARD + BUSY
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode in (143, -signal.SIGTERM)
    assert "Traceback" not in said


def begun(tmp_path: Path, credentials: Path, port: int, when: str) -> subprocess.Popen[str]:
    """A run whose call ``when`` asks what drips, and does so now."""
    (tmp_path / "run").mkdir()
    argv = [sys.executable, "-m", "tests.integration.halted_run", str(tmp_path / "run")]
    argv += [f"http://127.0.0.1:{port}", str(credentials), when]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "asking\n"
    return process


def test_a_run_is_halted_while_its_provider_drips_and_unwinds(tmp_path: Path, credentials: Path) -> None:
    with dripping(b" ", every=0.2, first=HEAD) as port:
        process = begun(tmp_path, credentials, port, "b")
        assert ended(process) < HEARD + BUSY
    out, err = process.communicate()
    assert out == "halted\n"
    assert process.returncode == 143
    assert "SIGTERM was received: run run stops and unwinds" in err


def test_an_unwinding_that_drips_is_said_to_go_on_and_ended_by_a_second_signal(
    tmp_path: Path, credentials: Path
) -> None:
    with dripping(b" ", every=0.2, first=HEAD) as port:
        process = begun(tmp_path, credentials, port, "remove")
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert "SIGTERM was received: run run stops and unwinds" in process.stderr.readline()
        time.sleep(2.5)
        assert process.poll() is None
        assert ended(process) < HEARD + BUSY
        said = process.stderr.read()
    assert process.returncode == 143
    assert "SIGTERM was received again: what run run has not undone yet is left, and 'dr cleanup run'" in said
    assert "Traceback" not in said
