"""How soon the command line answers, the lab is up and a drill is over."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.figures import alternating, figure, median, seconds

ROUNDS, DRILLS = 9, 3


def main() -> bool:
    """Print the figures; returns whether all hold."""
    held = [*_help(), *_lab()]
    return all(held)


def _help() -> list[bool]:
    ours, chaos = alternating(
        ROUNDS,
        lambda: _run("-m", "dr", "--help"),
        lambda: _run("-m", "chaostoolkit", "--no-version-check", "--help"),
    )
    ratios = [own / peer for own, peer in zip(ours, chaos, strict=True)]
    return [
        figure("dr --help", median(ours) * 1000, 200, "ms"),
        figure("dr --help / chaos --help", median(ratios), 0.5, ""),
    ]


def _lab() -> list[bool]:
    rounds = [_drill() for _ in range(DRILLS)]
    return [
        figure("dr lab up, 2,000 patients", median([up for up, _ in rounds]), 10, "s"),
        figure(
            "make drill without its set-up (lab up, snapshot drill)", median([sum(both) for both in rounds]), 60, "s"
        ),
    ]


def _drill() -> tuple[float, float]:
    """Seconds to a lab, and of the snapshot drill in it."""
    home = Path(tempfile.mkdtemp(prefix="dr-bench-", dir="/tmp"))
    home.chmod(0o755)
    try:
        up = seconds(lambda: _run("-m", "dr", "lab", "up", "--patients", "2000", home=home))
        return up, seconds(lambda: _run("-m", "dr", "drill", "run", "rds-snapshot-restore", "--yes", home=home))
    finally:
        _run("-m", "dr", "lab", "down", home=home)
        shutil.rmtree(home)


def _run(*args: str, home: Path | None = None) -> None:
    env = {**os.environ, **({"DR_HOME": str(home)} if home else {})}
    subprocess.run([sys.executable, *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
