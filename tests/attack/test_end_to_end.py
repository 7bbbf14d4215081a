"""Bad answers, kills and signals from argv to verdict: dr's own processes, the lab's endpoint, a proxy between them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml

from tests.attack.answers import ATTACKS
from tests.attack.figures import FIGURES
from tests.attack.proxy import Proxy, proxied
from tests.integration.test_drills import leaves_nothing
from tests.labs import Lab, configured
from tests.support import ended, eventually

SMALL = str(Path(__file__).parent / "small.yaml")
NAMED = {attack.name: attack for attack in ATTACKS}
HEARD_SECONDS, BUSY = 2.0, 3.0
"""What dr may take to hear a signal, and how many times that on a machine with more to do than processors."""


@dataclass
class Range:
    """The shared lab with a proxy in front of its endpoint."""

    lab: Lab
    proxy: Proxy
    config: str
    said: str = ""
    """What the last drill told."""

    def drill(self) -> tuple[int, str]:
        """Run the small drill. Its exit code and its verdict, "" where there is none."""
        known = len(self.lab.runs())
        ended = self.lab.dr("drill", "run", SMALL, "--yes", DR_CONFIG=self.config)
        self.said = ended.stdout + ended.stderr
        runs = self.lab.runs()
        if len(runs) == known or not (runs[-1] / "verdict.json").exists():
            return ended.returncode, ""
        return ended.returncode, str(json.loads((runs[-1] / "verdict.json").read_text())["verdict"])


@pytest.fixture
def range_(lab: Lab, tmp_path: Path) -> Iterator[Range]:
    with proxied(lab.target.rds.endpoint) as proxy:
        target = yaml.safe_load((lab.home / "lab" / "target.yaml").read_text())
        config = configured(tmp_path, targets={"lab": {**target, "rds": {**target["rds"], "endpoint": proxy.url}}})
        yield Range(lab, proxy, config["DR_CONFIG"])


BAD = [
    ("cut-in-half", "DescribeDBSnapshots", 1),
    ("nothing-listed", "DescribeDBInstances", 3),
    ("reset-after", "RestoreDBInstanceFromDBSnapshot", 1),
    ("throttled", "GetCallerIdentity", 1),
]
"""One of each kind: a document, a listing, a connection, a refusal. Every kind, at every call: test_answers.py."""


def test_a_drill_gets_over_bad_answers_of_each_kind(range_: Range) -> None:
    undisturbed = range_.drill()
    assert undisturbed == (0, "met"), range_.said  # from here on it is known what the source has, be it listed or not
    for name, operation, times in BAD:
        range_.proxy.strike(NAMED[name], operation, times)
    code, verdict = range_.drill()
    FIGURES.tried["bad answers end to end"] += len(BAD)
    FIGURES.verdicts[verdict] += 1
    assert Counter(range_.proxy.struck) == {operation: times for _, operation, times in BAD}
    assert (code, verdict) == (0, "met"), range_.said
    leaves_nothing(range_.lab)


KILLED_AT = {
    # Before it is listed, clean-up would wait for minutes: in virtual time, test_kills.py.
    "restore": lambda lab, _run: len(lab.instances()) > 1,
    "unwinding": lambda _lab, run: any(kind == "undoing" for kind, _ in kinds(run)),
}


@pytest.mark.parametrize("at", list(KILLED_AT))
def test_a_drill_whose_processes_are_killed_is_cleaned_up_and_not_met(range_: Range, at: str) -> None:
    lab, known = range_.lab, len(range_.lab.runs())
    running = lab.begin("drill", "run", SMALL, "--yes", DR_CONFIG=range_.config)
    eventually(lambda: len(lab.runs()) > known and KILLED_AT[at](lab, lab.runs()[-1]))
    with suppress(psutil.NoSuchProcess):
        for process in [*psutil.Process(running.pid).children(recursive=True), psutil.Process(running.pid)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    ended(running)
    FIGURES.tried["kills end to end"] += 1
    run = lab.runs()[-1]
    lab.dr("cleanup", "--all", DR_CONFIG=range_.config)
    verdict = json.loads((run / "verdict.json").read_text())["verdict"]
    FIGURES.verdicts[verdict] += 1
    assert verdict == "inconclusive"
    leaves_nothing(lab)


def kinds(run: Path) -> set[tuple[str, str]]:
    """What the ledger of a run has: kinds of entries with their calls."""
    with suppress(OSError, ValueError):
        lines = (run / "ledger.jsonl").read_text().splitlines()
        return {(entry["kind"], entry["call"]) for entry in map(json.loads, lines)}
    return set()


@pytest.mark.parametrize(
    ("name", "operation"), [("dripping", "GetCallerIdentity"), ("silent-after", "RestoreDBInstanceFromDBSnapshot")]
)
def test_a_signal_is_heard_while_the_provider_takes_its_time(range_: Range, name: str, operation: str) -> None:
    lab = range_.lab
    range_.proxy.strike(NAMED[name], operation, times=1)
    running = lab.begin("drill", "run", SMALL, "--yes", DR_CONFIG=range_.config)
    eventually(lambda: range_.proxy.struck)
    time.sleep(1.0)  # the answer is under way, byte by byte or not at all
    runs, sent = lab.runs(), time.monotonic()
    running.send_signal(signal.SIGTERM)

    def halted() -> bool:
        return any(kind == "halted" for run in lab.runs()[-1:] for kind, _ in kinds(run))

    eventually(lambda: running.poll() is not None or halted(), 60)
    deaf = time.monotonic() - sent
    assert ended(running, 120) == 143
    FIGURES.tried["signals end to end"] += 1
    FIGURES.deaf = max(FIGURES.deaf, deaf)
    busy = os.getloadavg()[0] > (os.cpu_count() or 1)
    assert deaf <= HEARD_SECONDS * (BUSY if busy else 1.0), runs[-1:]
    leaves_nothing(lab)
