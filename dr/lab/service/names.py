"""Where a name of the cluster's leads, in a lab that has no DNS: a file like /etc/hosts that DR_LAB_HOSTS names."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "DR_LAB_HOSTS"


def found(host: str) -> str:
    """The address of ``host``; ``host`` itself where there is no such file, or it does not know the name.

    It is read anew each time: addresses change while the cluster is restored.
    """
    path = os.environ.get(VARIABLE, "")
    if not path:
        return host
    try:
        return looked_up(Path(path).read_text(), host) or host
    except OSError:
        return host


def looked_up(text: str, host: str) -> str:
    """The address of ``host`` in such a file; "" where it is not there. Pure."""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if host.lower() in words[1:]:
            return words[0]
    return ""
