"""Runs a command that knows nothing of dr, in a process beside it, and ends it with its owner.

The command shares the guardian's process group and dies with the guardian (by the parent-death signal), so no kill of
the session, of the guardian or of both leaves it behind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from dr.domain.errors import DrError
from dr.host.children import PidFile, alive, die_with_parent

PIDFILE = "serve.pid"
"""Of a run: whoever holds it guards the run's service, and leads its group."""
LOOK = 0.25
"""Seconds between two looks at the owner."""
GRACE = 3.0
"""Seconds between SIGTERM and SIGKILL; less than ``children.stop`` waits."""


def keep(argv: Sequence[str], env: Mapping[str, str], pidfile: Path, owner: str) -> int:
    """Run a command until it ends, the owner is gone or SIGTERM comes. Returns the exit code; only to be called in a
    process that leads a group of its own, which is killed in the end.

    ``env`` is added to this process's environment: secrets go there and never into ``argv``.
    """
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: told.append(number))
    try:
        held = PidFile(pidfile, owner)
    except DrError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    try:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, env={**os.environ, **env}, preexec_fn=die_with_parent()
        )
    except OSError as error:
        held.conclude(f"{argv[0]} cannot be started: {error.strerror}", 5)
        return 5
    why, code = "", 0
    while not why:
        try:
            code = child.wait(timeout=LOOK)
            why = f"the command ended with exit code {code}"
        except subprocess.TimeoutExpired:
            why = "stopped" if told else "" if alive(owner) else "its owner is gone"
    if child.returncode is None:
        os.killpg(0, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=GRACE)
    held.conclude(why, code)
    os.killpg(0, signal.SIGKILL)  # to everything in this group, this process included: it never returns
    return code
