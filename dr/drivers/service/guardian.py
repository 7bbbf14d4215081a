"""``python -m dr.drivers.service.guardian``: runs a command that knows nothing of dr, and ends it with its owner.

A document on stdin names ``argv``, ``pidfile`` and ``owner``. The command shares the guardian's process group and dies
with the guardian (by the parent-death signal, on Linux), so no kill of the session, of the guardian or of both leaves
it behind.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from dr.domain.errors import DrError
from dr.host.children import PidFile, alive, die_with_parent

LOOK = 0.25
"""Seconds between two looks at the owner."""
GRACE = 3.0
"""Seconds between SIGTERM and SIGKILL; less than ``process.stop`` waits."""


def main() -> int:
    """Run the command until it ends, the owner is gone or SIGTERM comes. Returns the exit code."""
    told: list[int] = []
    if os.getpgid(0) != os.getpid():
        os.setpgid(0, 0)  # the group that is killed at the end must be the guardian's own

    def note(signum: int, _frame: FrameType | None) -> None:
        told.append(signum)

    signal.signal(signal.SIGTERM, note)
    config = json.load(sys.stdin)
    try:
        pidfile = PidFile(Path(config["pidfile"]), str(config["owner"]))
    except DrError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    try:
        child = subprocess.Popen(config["argv"], stdin=subprocess.DEVNULL, preexec_fn=die_with_parent())
    except OSError as error:
        pidfile.conclude(f"{config['argv'][0]} cannot be started: {error.strerror}", 5)
        return 5
    while True:
        try:
            code: int = child.wait(timeout=LOOK)
        except subprocess.TimeoutExpired:
            if not told and alive(config["owner"]):
                continue
            why = "stopped" if told else "its owner is gone"
            return _end(child, pidfile, why)
        pidfile.conclude(f"the command ended with exit code {code}", code)
        _signal_group(signal.SIGKILL)
        return code


def _end(child: subprocess.Popen[bytes], pidfile: PidFile, why: str) -> int:
    _signal_group(signal.SIGTERM)
    until = time.monotonic() + GRACE
    while child.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    pidfile.conclude(why)
    _signal_group(signal.SIGKILL)
    return 0


def _signal_group(signum: int) -> None:
    """To everything in this group, this process included: with SIGKILL this never returns."""
    os.killpg(os.getpgid(0), signum)


if __name__ == "__main__":
    sys.exit(main())
