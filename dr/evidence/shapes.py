"""What the value of an observation is, by its kind, as docs/design.md lists them: the core's judges take it for
granted. Pure.

Only as far as an object is told from a list and from all else: what is missing within one, its judge finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from dr.domain.model import Observation

_LISTS = ("foreign-keys", "logins")
_OBJECTS = (
    *("baseline", "look", "rows", "indexes", "model", "service-sessions", "golden", "planted", "stored", "markers"),
    *("victims", "recovery-point", "metrics", "pools", "failover", "replaced", "lag", "replica-choice", "steady"),
    *("old-primary", "service-process", "replication", "unkept"),
)
_VALUES: Mapping[str, Any] = {
    **dict.fromkeys(_LISTS, list[dict[str, Any]]),
    **dict.fromkeys(_OBJECTS, dict[str, Any]),
    "configuration": list[dict[str, Any]] | dict[str, Any],
    **dict.fromkeys(("clock", "asked"), dict[str, float]),
}


def misfit(seen: Observation | None) -> str:
    """Why a value is none of its kind, in words; "" where it is, or is null, or of a kind that nobody knows."""
    if seen is None or seen.value is None or seen.what not in _VALUES:
        return ""
    try:
        msgspec.convert(seen.value, _VALUES[seen.what])
    except msgspec.ValidationError as error:
        return f"the value of {seen.what!r}: {error}"
    return ""
