"""What the harness itself takes of the processor in a drill of a failover, all that it starts included.

The peer is the start of Chaos Toolkit's command line, which tells how fast this machine is at such work just then. Not
counted is the lab, which stands for what is elsewhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.figures import figure, median

ROUNDS = 2
FORMER = 32.0
"""What the drill took before its paths settled together, in starts of Chaos Toolkit's command line."""

COUNTING = """
import ctypes, os, resource, subprocess, sys
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
ended = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    while True:
        os.wait()
except ChildProcessError:
    pass
spent = resource.getrusage(resource.RUSAGE_CHILDREN)
print(spent.ru_utime + spent.ru_stime)
sys.exit(ended.returncode if ended.returncode not in (1, 4) else 0)
"""
"""Runs a command and prints its processor time, with that of whatever outlived those who started it. Its verdict is
another matter: on a busy machine a drill may miss its objectives."""


def main() -> bool:
    """Print the figures; returns whether all hold."""
    home = Path(tempfile.mkdtemp(prefix="dr-bench-", dir="/tmp"))
    home.chmod(0o755)
    try:
        _run(home, "lab", "up", "--patients", "2000")
        rounds = [_round(home) for _ in range(ROUNDS + 1)][1:]  # the first compiles modules, too
    finally:
        _run(home, "lab", "down")
        shutil.rmtree(home)
    own, starts = median([drill for drill, _ in rounds]), median([drill / start for drill, start in rounds])
    print(f"a drill takes {own:.2f} s of the processor, as {starts:.1f} starts of chaos")
    return figure("the harness's processor time in db-failover / former", starts / FORMER, 0.5, "")


def _round(home: Path) -> tuple[float, float]:
    """Seconds of processor time: of the drill, and of a start of Chaos Toolkit right before and after."""
    chaos = ("-m", "chaostoolkit", "--no-version-check", "--help")
    before = [_spent(home, *chaos) for _ in range(3)]
    drill = _spent(home, "-m", "dr", "drill", "run", "db-failover", "--yes")
    return drill, median([*before, *(_spent(home, *chaos) for _ in range(3))])


def _spent(home: Path, *args: str) -> float:
    command = [sys.executable, "-c", COUNTING, sys.executable, *args]
    return float(subprocess.run(command, check=True, env=_env(home), capture_output=True, text=True).stdout)


def _run(home: Path, *args: str) -> None:
    subprocess.run([sys.executable, "-m", "dr", *args], check=True, env=_env(home), capture_output=True)


def _env(home: Path) -> dict[str, str]:
    """Modules are compiled once, whatever this machine's user has set: else that is most of what is measured."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "DR_HOME": str(home), "PYTHONPYCACHEPREFIX": str(home / "compiled")}
