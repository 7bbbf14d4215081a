"""The paths that are measured."""

from __future__ import annotations

from typing import TypeGuard

SOURCE, RESTORED = "source", "restored"
WRITES, WRITES_DIRECT, READS = "writes", "writes-direct", "reads"
WRITTEN = (WRITES, WRITES_DIRECT)
"""Those that are measured by markers alone."""
SERVED = "${serve.url}"
"""Where the service is that a run has put on its copy."""


def is_path(name: object) -> TypeGuard[str]:
    """Whether ``name`` may be a path's: files are named after it."""
    return isinstance(name, str) and name.replace("-", "").isalnum()
