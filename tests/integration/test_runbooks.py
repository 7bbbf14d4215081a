"""The runbooks' commands, run as they stand: each runbook is one shell session in a lab of its own."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.labs import ROOT, Lab, lab_up

RUNBOOKS = sorted((ROOT / "runbooks").glob("*.md"))


def commands(runbook: Path) -> str:
    """The bash blocks of a runbook, in order."""
    return "".join(re.findall(r"^```bash\n(.*?)^```", runbook.read_text(), re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda path: path.stem)
def test_every_command_of_the_runbook_does_what_it_says(runbook: Path) -> None:
    with lab_up() as lab:
        follow(lab, commands(runbook))


def follow(own_lab: Lab, script: str) -> None:
    """Run a runbook's commands in a lab."""
    assert "dr restore" in script or "dr failover" in script
    ended = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", f'dr() {{ {shlex.quote(sys.executable)} -m dr "$@"; }}\n{script}'],
        capture_output=True,
        text=True,
        env=own_lab.env,
        cwd=ROOT,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ("readmission-db-restored" in own_lab.instances()) == ("dr restore" in script)
