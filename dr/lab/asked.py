"""Whether what the lab runs answers over HTTP."""

from __future__ import annotations

import urllib3


def is_ready(url: str, seconds: float) -> bool:
    """Whether a GET of ``url`` is answered with 200, within ``seconds`` for each step."""
    try:
        with urllib3.PoolManager() as pool:
            return pool.request("GET", url, timeout=seconds, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False
