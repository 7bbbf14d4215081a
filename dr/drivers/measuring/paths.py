"""The paths that are measured."""

from __future__ import annotations

from typing import Annotated

import msgspec

from dr.domain.refs import Ref

SOURCE, RESTORED = "source", "restored"
WRITES, WRITES_DIRECT, READS = "writes", "writes-direct", "reads"
WRITTEN = (WRITES, WRITES_DIRECT)
"""Those that are measured by markers alone."""
SERVED = "${serve.url}"
"""Where the service is that a run has put on its copy."""
DATABASE_PATHS = (*WRITTEN, READS)
"""Those on which the database itself is measured, and no service is asked."""
Path = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$")]
"""The name of a path: files are named after it."""


def markers(instance: Ref, path: str) -> Ref:
    """The table of markers that a run writes on ``path``."""
    return Ref("measuring", "markers", f"of path {path}", instance)
