"""What is a name of a target, a run and the like, and which endpoint is this machine's own."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from dr.domain.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_RUN = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4}", re.ASCII)


def check_name(name: str, what: str) -> str:
    """``name``, which becomes part of a path. Raises UsageError where it could lead elsewhere, or is none: ``what``."""
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"{name[:100]!r} is no name of a {what}.",
            "A name is a letter or digit, followed by at most 99 letters, digits, dots, hyphens and underscores.",
        )
    return name


def is_run(name: str) -> bool:
    """Whether ``name`` is a run's: what a provider's tag says may be anything."""
    return _RUN.fullmatch(name) is not None


def on_loopback(endpoint: str) -> bool:
    """Whether an endpoint URL names this machine itself."""
    host = ""
    try:
        host = urlsplit(endpoint).hostname or ""
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, or no URL
        return host == "localhost"
