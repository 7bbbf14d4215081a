"""A restore by ``dr`` against a shell script, and the lab's own against copying the same bytes.

Called by: ``python -m bench``. The script makes the very calls that ``dr restore --no-verify`` plans (identity, what
there is to restore, the restore with the same settings, polls until available) with the stock ``aws`` command line.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from bench.figures import figure, median, seconds
from dr.config.model import Target
from dr.drivers.rds_client import RdsClient

ROUNDS = 3
PATIENTS = 20_000
PAUSE = 0.1
"""Seconds between two polls of the script: what ``dr`` begins with."""
SHARE, FLOOR = 0.02, 0.2
COPIES = 1.5

SCRIPT = f"""set -eu
aws sts get-caller-identity > /dev/null
aws rds describe-db-instances > /dev/null
aws rds describe-db-snapshots --db-instance-identifier "$SOURCE" > /dev/null
aws rds restore-db-instance-from-db-snapshot --cli-input-json "file://$INPUT" > /dev/null
until [ "$(aws rds describe-db-instances --db-instance-identifier "$COPY" \\
    --query 'DBInstances[0].DBInstanceStatus' --output text)" = available ]; do
  sleep {PAUSE}
done
"""


class Bench:
    """A lab of its own, with a client of its API."""

    def __init__(self, home: Path) -> None:
        self.home = home
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DR_"))}
        self.env = {**kept, "DR_HOME": str(home), "AWS_PAGER": ""}
        self.dr("lab", "up", "--patients", str(PATIENTS))
        lab = home / "lab"
        self.target = msgspec.convert(yaml.safe_load((lab / "target.yaml").read_text()), Target)
        self.client = RdsClient(self.target)
        credentials = self.target.credentials
        self.aws_env = {
            **self.env,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{self.env.get('PATH', '')}",
            "AWS_ENDPOINT_URL": self.target.endpoint,
            "AWS_DEFAULT_REGION": self.target.region,
            "AWS_SHARED_CREDENTIALS_FILE": credentials.file,
            "AWS_PROFILE": credentials.profile,
            "SOURCE": self.target.instance,
        }
        named = {"DBInstanceIdentifier": self.target.instance}
        self.snapshot = str(self.client.pages("DescribeDBSnapshots", "DBSnapshots", named)[0]["DBSnapshotIdentifier"])

    def dr(self, *args: str) -> str:
        command = [sys.executable, "-m", "dr", *args]
        return subprocess.run(command, check=True, env=self.env, capture_output=True, text=True).stdout

    def restore(self) -> float:
        """Seconds of ``dr restore``; what it made is removed afterwards."""
        taken = seconds(lambda: self.dr("restore", "--snapshot", self.snapshot, "--yes", "--no-verify"))
        self.remove_copies()
        return taken

    def script(self, parameters: Mapping[str, Any]) -> float:
        """Seconds of the shell script with the same settings."""
        given = self.home / "input.json"
        given.write_text(
            json.dumps({**parameters, "DBInstanceIdentifier": "by-script", "DBSnapshotIdentifier": self.snapshot})
        )
        env = {**self.aws_env, "INPUT": str(given), "COPY": "by-script"}
        taken = seconds(lambda: subprocess.run(["sh", "-c", SCRIPT], check=True, env=env))
        self.remove_copies()
        return taken

    def planned(self) -> dict[str, Any]:
        """The settings that ``dr restore`` passes, as its last run recorded them."""
        self.restore()
        newest = sorted((self.home / "runs").glob("*/run.json"))[-1]
        calls = json.loads(newest.read_text())["plan"]["calls"]
        args = next(call["args"] for call in calls if call["id"] == "restore")
        tags = [{"Key": key, "Value": value} for key, value in args["tags"].items()]
        return {**args["parameters"], "Tags": tags}

    def restore_by_lab(self) -> float:
        """Seconds from asking for a throw-away copy to its being available."""
        taken = seconds(lambda: self.make("bare"))
        self.remove_copies()
        return taken

    def start(self) -> float:
        """Seconds a server of these bytes takes to start."""
        self.make("started")
        named = {"DBInstanceIdentifier": "started"}
        self.client.call("StopDBInstance", named)
        self.wait("started", "stopped")
        began = time.perf_counter()
        self.client.call("StartDBInstance", named)
        self.wait("started")
        taken = time.perf_counter() - began
        self.remove_copies()
        return taken

    def make(self, identifier: str) -> None:
        """Restore the snapshot without backups of its own, and wait until it is available."""
        asked = {"DBInstanceIdentifier": identifier, "DBSnapshotIdentifier": self.snapshot, "BackupRetentionPeriod": 0}
        self.client.call("RestoreDBInstanceFromDBSnapshot", asked)
        self.wait(identifier)

    def copy(self) -> float:
        """Seconds of ``cp -a`` and sync of the snapshot's own bytes."""
        backup = min((self.home / "lab" / "backups").iterdir(), key=lambda path: path.stat().st_mtime)
        copied = self.home / "copied"
        work = f'cp -a "{backup}" "{copied}" && sync "{copied}" $(find "{copied}" -type f)'
        taken = seconds(lambda: subprocess.run(["sh", "-c", work], check=True))
        shutil.rmtree(copied)
        return taken

    def wait(self, identifier: str, status: str = "available") -> None:
        named = {"DBInstanceIdentifier": identifier}
        while (self.client.call("DescribeDBInstances", named) or {})["DBInstances"][0]["DBInstanceStatus"] != status:
            time.sleep(0.02)

    def remove_copies(self) -> None:
        """Delete every instance but the source."""
        for row in self._others():
            named = {"DBInstanceIdentifier": row["DBInstanceIdentifier"]}
            if row.get("DeletionProtection"):
                self.client.call("ModifyDBInstance", {**named, "DeletionProtection": False, "ApplyImmediately": True})
                self.wait(row["DBInstanceIdentifier"])
            self.client.call("DeleteDBInstance", {**named, "SkipFinalSnapshot": True, "DeleteAutomatedBackups": True})
        while self._others():
            time.sleep(0.05)

    def _others(self) -> list[dict[str, Any]]:
        rows = self.client.pages("DescribeDBInstances", "DBInstances", {})
        return [row for row in rows if row["DBInstanceIdentifier"] != self.target.instance]


def main() -> bool:
    """Print the figures; returns whether all hold."""
    home = Path(tempfile.mkdtemp(prefix="dr-bench-", dir="/tmp"))
    home.chmod(0o755)
    try:
        bench = Bench(home)
        return all([*_against_script(bench), _against_copy(bench)])
    finally:
        env = {**os.environ, "DR_HOME": str(home)}
        subprocess.run([sys.executable, "-m", "dr", "lab", "down"], check=False, env=env, stdout=subprocess.DEVNULL)
        shutil.rmtree(home)


def _taken(rounds: int, *works: Callable[[], float]) -> list[list[float]]:
    """As ``bench.figures.alternating``, for works that clean up after themselves and so take their own time."""
    return [list(row) for row in zip(*[[work() for work in works] for _ in range(rounds)], strict=True)]


def _against_script(bench: Bench) -> list[bool]:
    parameters = bench.planned()
    ours, script = _taken(ROUNDS, bench.restore, lambda: bench.script(parameters))
    limit = max(SHARE * median(script), FLOOR)
    return [
        figure("dr restore --no-verify beyond the shell script", median(ours) - median(script), limit, "s"),
    ]


def _against_copy(bench: Bench) -> bool:
    restored, copied, started = _taken(ROUNDS, bench.restore_by_lab, bench.copy, bench.start)
    over = median(restored) - median(started)
    return figure("lab's snapshot restore without server start / cp -a, sync", over / median(copied), COPIES, "")
