"""Whether a drill left the pooler's pools as they were. Pure.

What is left there is named by nothing else: the provider shows a healthy database, the service's own pool may be a
good one, and the next drill finds no connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dr.domain.model import Finding, Status
from dr.evidence.model import Evidence

KINDS = {"waiting": "clients that wait", "cancels": "cancels", "busy": "server connections of the harness in use"}
"""What a pool holds, as the observation has it and in words."""


def left(before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]) -> list[str]:
    """What a pool holds more of than before, a phrase each."""
    known = {(pool["database"], pool["user"]): pool for pool in before}
    found = []
    for pool in after:
        was = known.get((pool["database"], pool["user"]), {})
        for kind, words in KINDS.items():
            held, had = int(pool.get(kind, 0)), int(was.get(kind, 0))
            if held > had:
                found.append(f"{held} {words} ({had} before) in pool {pool['database']} of {pool['user']}")
    return found


def findings(evidence: Evidence) -> Iterator[Finding]:
    """One finding, ``pools``, where something is left, or where what was to be looked at was not."""
    looks = {str(o.value.get("when")): o.value for o in evidence.observations if o.what == "pools"}
    before, after = looks.get("before"), looks.get("after")
    if before is None or (after is None and "pools" not in before):
        return  # nothing is known of a pooler
    blind = next((look for look in (before, after or {}) if "pools" not in look), None)
    if blind is not None or after is None:
        because = (blind or {}).get("because") or "the run ended before."
        when = "before the drill" if blind is before else "once the drill was unwound"
        yield Finding("pools", "", Status.INCONCLUSIVE, f"The pooler's pools were not looked at {when}: {because}")
    elif more := left(before["pools"], after["pools"]):
        because = f"The drill left more in the pooler's pools than there was: {'; '.join(more)}."
        yield Finding("pools", "", Status.MISSED, f"{because} Its console's KILL and RESUME, or a restart, frees them.")
