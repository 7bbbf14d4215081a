"""Whether the copy holds every key of the store. Pure."""

from __future__ import annotations

from dr.domain.model import Demand, Finding, Status
from dr.evidence.model import Evidence
from dr.judge.findings import UnknownError, finding


def keys(evidence: Evidence, demand: Demand) -> Finding:
    """By what the examination saw."""
    seen = evidence.observed("keys", demand.path)
    if seen is None:
        raise UnknownError("The copy was not examined.")
    if seen["lost"]:
        return finding(demand, Status.MISSED, f"{len(seen['lost'])} of {seen['all']} keys are lost.")
    return finding(demand, Status.MET, f"All {seen['all']} keys are there.")
