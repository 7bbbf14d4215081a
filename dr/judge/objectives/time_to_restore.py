"""How long it took until what was restored could be used, and was examined: of what no service is put on. Pure."""

from __future__ import annotations

from dr.config.objective import About, Limit, Objective
from dr.domain.model import Demand, Finding
from dr.evidence.model import Evidence
from dr.evidence.restored import verified
from dr.judge.findings import UnknownError, finding, limit_of, within


def time_to_restore(evidence: Evidence, demand: Demand, role: str = "") -> Finding:
    """From the disaster until all of it was available and examined. ``role``: of the components that are meant; "": of
    whatever role."""
    disaster, available, examined = (
        evidence.disaster(),
        evidence.milestone("available", role),
        evidence.milestone("examined", role),
    )
    if available is None:
        raise UnknownError("What was restored is not known to have become available.")
    if examined is None or verified(evidence.entries, role) is False:
        raise UnknownError("What was restored was not examined.")
    ready, high = max(0.0, available - disaster), max(0.0, max(available, examined) - disaster)
    because = f"What was restored was available {ready:.1f} s after the disaster, and examined after {high:.1f} s."
    low, limit = max(0.0, ready - evidence.asleep(disaster, disaster + high)), limit_of(demand)
    if evidence.drowsy(disaster, disaster + high) and low <= limit:
        raise UnknownError(f"dr itself was stopped meanwhile. {because}")
    return finding(demand, within(low, high, limit), because, high, (low, high))


NAME = "time-to-restore"
LIMIT = Limit(NAME, 3600.0)
"""Seconds; the platform names none."""
OBJECTIVES = (Objective(NAME, About.TIME, time_to_restore, "s", (LIMIT,), verified=True),)
"""A restore on call that is examined demands it where nothing else times what it restores."""
