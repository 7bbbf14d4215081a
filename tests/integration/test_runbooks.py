"""The runbooks' commands, run as they stand: each runbook is one shell session in a lab."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.labs import ROOT, Lab, lab_up

RUNBOOKS = {path.stem: path for path in (ROOT / "runbooks").glob("*.md")}
FAILOVERS = ["db-failover", "db-replica-promotion"]
"""In this order: after a promotion the lab is another."""
CLUSTERS = ["gpu-device-loss", "gpu-node-loss", "velero-namespace-restore"]
"""Those about a cluster, which a lab has where 'dr lab install' ran: test_gpu_drills.py and test_velero_drills.py."""
RESTORED = "readmission-db-restored"

pytestmark = pytest.mark.timeout(1800)
"""A whole night's work each, on a machine that has more to do."""


def commands(runbook: Path) -> str:
    """The bash blocks of a runbook, in order."""
    return "".join(re.findall(r"^```bash\n(.*?)^```", runbook.read_text(), re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize("runbook", sorted(RUNBOOKS.keys() - {*FAILOVERS, *CLUSTERS}))
def test_every_command_of_a_restores_runbook_does_what_it_says(lab: Lab, runbook: str) -> None:
    script = commands(RUNBOOKS[runbook])
    assert "dr restore" in script
    follow(lab, script)
    adopted = lab.instances()[RESTORED]
    lab.rds.add_tags_to_resource(
        ResourceName=adopted["DBInstanceArn"], Tags=[{"Key": "dr:purpose", "Value": "restore"}]
    )  # so that the fixture removes it


def test_every_command_of_the_failovers_runbooks_does_what_it_says() -> None:
    with lab_up() as lab:
        for runbook in FAILOVERS:
            script = commands(RUNBOOKS[runbook])
            assert "dr failover" in script
            follow(lab, script)
            assert RESTORED not in lab.instances()


def follow(lab: Lab, script: str, seconds: float = 1500) -> str:
    """Run a runbook's commands in a lab, which the first of them finds up. Returns what they printed."""
    ended = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", f'dr() {{ {shlex.quote(sys.executable)} -m dr "$@"; }}\n{script}'],
        capture_output=True,
        text=True,
        env=lab.env,
        cwd=ROOT,
        timeout=seconds,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
