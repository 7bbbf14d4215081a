"""Who may ask an HTTP endpoint of the lab: programs of this machine that mean it, and no page in a browser.

A page of somebody else's may send requests to loopback, and read the answers once its own name leads there (DNS
rebinding). A browser says by Host which name it asked, and by Origin whose page it is; programs send no Origin.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

NAMES = ("127.0.0.1", "localhost", "::1")


def stranger(headers: Mapping[str, str], *names: str) -> str:
    """Why a request is not answered, in a sentence; "" where it is. Pure.

    ``headers``: by names in lower case. ``names``: further hosts that the endpoint itself listens as.
    """
    host, origin = headers.get("host", ""), headers.get("origin")
    if _name(f"http://{host}") not in (*NAMES, *names):
        return "The Host of this request is none of this endpoint's."
    if origin is not None and origin.lower() != f"http://{host}".lower():
        return "This request comes from a page of another origin."
    return ""


def _name(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is none
        return "" if parts.username is not None or parts.path else parts.hostname or ""
    except ValueError:
        return ""
