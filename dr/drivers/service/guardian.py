"""``python -m dr.drivers.service.guardian``: runs a command that knows nothing of dr, and ends it with its owner.

A document on stdin names ``argv``, ``pidfile`` and ``owner``. The command shares the guardian's process group and dies
with the guardian (by the parent-death signal), so no kill of the session, of the guardian or of both leaves
it behind.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

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
    signal.signal(signal.SIGTERM, lambda number, _frame: told.append(number))
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
    why, code = "", 0
    while not why:
        try:
            code = child.wait(timeout=LOOK)
            why = f"the command ended with exit code {code}"
        except subprocess.TimeoutExpired:
            why = "stopped" if told else "" if alive(config["owner"]) else "its owner is gone"
    if child.returncode is None:
        os.killpg(0, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=GRACE)
    pidfile.conclude(why, code)
    os.killpg(0, signal.SIGKILL)  # to everything in this group, this process included: it never returns
    return code


if __name__ == "__main__":
    sys.exit(main())
