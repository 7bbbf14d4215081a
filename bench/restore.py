"""A restore by ``dr`` against a script of the same calls, and the lab's own against copying the same bytes.

The script repeats the very calls of one ``dr restore --no-verify``, written down beforehand, and polls as often. It is
one process that keeps its clients, as a shell script cannot: the stock ``aws`` command line starts anew for every call,
which would be a peer that is easily beaten.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from bench.figures import figure, median, seconds
from dr.config.model import Target
from dr.drivers.rds.client import RdsClient
from dr.engine.perform import FIRST_PAUSE, SHARE

ROUNDS = 5
PATIENTS = 20_000
MOST_MORE, FLOOR = 0.02, 0.2
COPIES = 1.5

COPY, POLL = "by-script", "DescribeDBInstances"

RECORD = """
import json, sys
from dr.drivers.rds.client import RdsClient
calls, plain = [], RdsClient._call
def noting(client, service, operation, parameters, absent):
    calls.append([service, operation, dict(parameters)])
    return plain(client, service, operation, parameters, absent)
RdsClient._call = noting
out, sys.argv = sys.argv[1], ["dr", *sys.argv[2:]]
from dr.cli import main
try:
    main()
finally:
    with open(out, "w") as file:
        json.dump(calls, file)
"""
"""Runs ``dr`` and writes down the calls that it makes of AWS."""

SCRIPT = f"""
import json, sys, time
import boto3, botocore
from botocore.exceptions import ClientError
clients, restored = {{}}, False
with open(sys.argv[1]) as file:
    calls = json.load(file)
def call(service, operation, parameters):
    if service not in clients:
        clients[service] = boto3.client(service)
    try:
        return getattr(clients[service], botocore.xform_name(operation))(**parameters)
    except ClientError as error:  # as when it was written down: to ask for what is not there yet
        print(error, file=sys.stderr)
for service, operation, parameters in calls:
    if operation == "{POLL}" and restored:
        began = time.time()
        while call(service, operation, parameters)["DBInstances"][0]["DBInstanceStatus"] != "available":
            time.sleep(max({FIRST_PAUSE}, {SHARE} * (time.time() - began)))
    else:
        call(service, operation, parameters)
    restored = operation.startswith(("Restore", "Modify"))
"""
"""Repeats those calls, with nothing in between but the waiting."""


class Bench:
    """A lab of its own, with a client of its API."""

    def __init__(self, home: Path) -> None:
        self.home = home
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DR_"))}
        kept["DR_LAB_WITHOUT"] = "kubernetes"
        self.env = {**kept, "DR_HOME": str(home)}
        self.dr("lab", "up", "--single", "--patients", str(PATIENTS))
        lab = home / "lab"
        self.target = msgspec.convert(yaml.safe_load((lab / "target.yaml").read_text()), Target)
        self.client = RdsClient(self.target)
        credentials = self.target.rds.credentials
        self.aws_env = {
            **self.env,
            "AWS_ENDPOINT_URL": self.target.rds.endpoint,
            "AWS_DEFAULT_REGION": self.target.rds.region,
            "AWS_SHARED_CREDENTIALS_FILE": credentials.file,
            "AWS_PROFILE": credentials.profile,
        }
        named = {"DBInstanceIdentifier": self.target.rds.instance}
        self.snapshot = str(self.client.pages("DescribeDBSnapshots", "DBSnapshots", named)[0]["DBSnapshotIdentifier"])
        self.restoring = ("restore", "--snapshot", self.snapshot, "--yes", "--no-verify")

    def dr(self, *args: str) -> str:
        command = [sys.executable, "-m", "dr", *args]
        return subprocess.run(command, check=True, env=self.env, capture_output=True, text=True).stdout

    def restore(self) -> float:
        """Seconds of ``dr restore``; what it made is removed afterwards."""
        taken = seconds(lambda: self.dr(*self.restoring))
        self.remove_copies()
        return taken

    def script(self, calls: Path) -> float:
        """Seconds of a script that makes ``calls``."""
        command = [sys.executable, "-c", SCRIPT, str(calls)]
        taken = seconds(lambda: subprocess.run(command, check=True, env=self.aws_env, stderr=subprocess.DEVNULL))
        self.remove_copies()
        return taken

    def recorded(self) -> Path:
        """The calls of one ``dr restore``, for a copy of the script's own, its polls between two others as one."""
        path = self.home / "calls.json"
        command = [sys.executable, "-c", RECORD, str(path), *self.restoring]
        subprocess.run(command, check=False, env=self.env, capture_output=True)
        made: list[list[Any]] = json.loads(path.read_text())
        copy = next(call[2]["DBInstanceIdentifier"] for call in made if call[1].startswith("Restore"))
        calls = [call for before, call in zip([None, *made], made, strict=False) if call[1] != POLL or call != before]
        path.write_text(json.dumps(calls).replace(copy, COPY))
        self.remove_copies()
        return path

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
        return [row for row in rows if row["DBInstanceIdentifier"] != self.target.rds.instance]


def main() -> bool:
    """Print the figures; returns whether all hold."""
    home = Path(tempfile.mkdtemp(prefix="dr-bench-", dir="/tmp"))
    home.chmod(0o755)
    try:
        bench = Bench(home)
        return all([_against_script(bench), _against_copy(bench)])
    finally:
        env = {**os.environ, "DR_HOME": str(home)}
        subprocess.run([sys.executable, "-m", "dr", "lab", "down"], check=False, env=env, stdout=subprocess.DEVNULL)
        shutil.rmtree(home)


def _taken(rounds: int, *works: Callable[[], float]) -> list[list[float]]:
    """As ``bench.figures.alternating``, for works that clean up after themselves and so take their own time."""
    return [list(row) for row in zip(*[[work() for work in works] for _ in range(rounds)], strict=True)]


def _against_script(bench: Bench) -> bool:
    calls = bench.recorded()
    ours, script = _taken(ROUNDS, bench.restore, lambda: bench.script(calls))
    print(
        f"dr restore --no-verify {median(ours):.3f} s, a script of its {len(json.loads(calls.read_text()))} calls"
        f" {median(script):.3f} s"
    )
    limit = max(MOST_MORE * median(script), FLOOR)
    return figure("dr restore --no-verify beyond a script of its calls", median(ours) - median(script), limit, "s")


def _against_copy(bench: Bench) -> bool:
    restored, copied, started = _taken(ROUNDS, bench.restore_by_lab, bench.copy, bench.start)
    over = median(restored) - median(started)
    return figure("lab's snapshot restore without server start / cp -a, sync", over / median(copied), COPIES, "")
