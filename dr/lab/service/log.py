"""Log lines in platform.md's format, one JSON object a line on stdout.

A patient's id appears only where it is plainly synthetic.
"""

from __future__ import annotations

import json
import secrets
import sys
from datetime import UTC, datetime
from typing import Any

SERVICE = "readmission-api"
SYNTHETIC = "SYN-"


def masked(patient: str | None) -> str | None:
    """An id as it may stand in a log: a real patient's may not."""
    return patient if patient is None or patient.startswith(SYNTHETIC) else "masked"


def write(
    level: str, message: str, *, at: datetime | None = None, trace: str = "", patient: str | None = None, **details: Any
) -> None:
    """One line. ``trace``: the caller's trace id; absent, a new one."""
    moment = at or datetime.now(UTC)
    line = {
        "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level,
        "service": SERVICE,
        "trace_id": trace or secrets.token_hex(6),
        "span_id": secrets.token_hex(6),
        "user_id": None,
        "patient_id": masked(patient),
        "message": message,
        "details": details,
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
