"""A meter's process as a bench starts it: ``python -m bench.meter JOB``, with its configuration as JSON on stdin."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from dr.drivers.measuring.provider import WORK
from dr.meter.process import run


def start(job: str, config: dict[str, Any]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-m", "bench.meter", job], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(json.dumps(config).encode())
    process.stdin.close()
    return process


if __name__ == "__main__":
    sys.exit(run(WORK[sys.argv[1]], json.load(sys.stdin)))
