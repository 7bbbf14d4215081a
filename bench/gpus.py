"""How soon a lost GPU node is noticed, and a model as redundant as before, in a lab whose cluster waits for short.

What it is held to is what Kubernetes itself waits for: the node's grace, the pods' toleration, and what a model takes
to load its artifact and warm up, which the run itself shows. Without the cluster's programs nothing is measured.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.figures import figure, median, seconds
from dr.lab.cluster.binaries import CONTROL_PLANE, WITHOUT, find

ROUNDS = 3
GRACE, TOLERATION = 8, 2
WAITS = ("--node-grace", str(GRACE), "--node-toleration", str(TOLERATION))


def main() -> bool:
    """Print the figures; returns whether all hold."""
    if find().lacking(*CONTROL_PLANE):
        print(WITHOUT, flush=True)
        return True
    home = Path(tempfile.mkdtemp(prefix="dr-bench-", dir="/tmp"))
    home.chmod(0o755)
    environment = {**os.environ, "DR_HOME": str(home), "DR_LAB_WITHOUT": ""}

    def dr(*words: str, check: bool = True) -> None:
        subprocess.run([sys.executable, "-m", "dr", *words], check=check, env=environment, capture_output=True)

    try:
        dr("lab", "up", "--single", "--patients", "2000", *WAITS)
        drills = [seconds(lambda: dr("drill", "run", "gpu-node-loss", "--yes", check=False)) for _ in range(ROUNDS)]
        seen = [_seen(run) for run in sorted((home / "runs").glob("*-*"))]
    finally:
        dr("lab", "down")
        shutil.rmtree(home)
    return all(
        [
            figure("nobody is led to a lost node's pods", median([one["dropped"] for one in seen]), GRACE + 2, "s"),
            figure("redundancy, beside grace, toleration and loading", median([one["beside"] for one in seen]), 3, "s"),
            figure("the longest time between two looks", max(one["blind"] for one in seen), 1, "s"),
            figure("the drill of a lost GPU node", median(drills), 60, "s"),
        ]
    )


def _seen(run: Path) -> dict[str, float]:
    """Seconds from the loss, as the run's own evidence has them."""
    entries = map(json.loads, (run / "ledger.jsonl").read_text().splitlines())
    struck = next(one["milestones"]["disaster"] for one in entries if "disaster" in one.get("milestones", {}))
    told = map(json.loads, (run / "observations.jsonl").read_text().splitlines())
    value: dict[str, Any] = [one["value"] for one in told if one["what"] == "redundancy"][-1]
    at = {name: span[1] - struck for name, span in value["steps"].items()}
    loading = at["warm"] - at["started"]
    spans = [*value["steps"].values(), value["restored"]]
    return {
        "dropped": at["endpoint-dropped"],
        "beside": value["restored"][1] - struck - GRACE - TOLERATION - loading,
        "blind": max(high - max(low, struck) for low, high in spans if low >= struck),
    }
