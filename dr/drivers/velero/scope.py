"""What a backup was to hold, by what it was asked for and when. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dr.drivers.velero.manifests import Object
from dr.drivers.velero.phases import at

INCLUDED = ("includedResources", "includedNamespaceScopedResources")
EXCLUDED = ("excludedResources", "excludedNamespaceScopedResources")
SELECTORS = ("labelSelector", "orLabelSelectors")
EXCLUDE = "velero.io/exclude-from-backup"
"""The label by which an object is left out of every backup."""


@dataclass(frozen=True, slots=True)
class Scope:
    """``began``: when the backup did, in wall seconds; None where that is not known, and so nothing is known to be
    missing. ``spec``: as Velero has it."""

    began: float | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, backup: Mapping[str, Any]) -> Scope:
        return cls(at(backup, "startTimestamp"), backup.get("spec") or {})

    def should_hold(self, resource: str, one: Object) -> bool:
        """Whether an object stood when the backup began, and was not left out on purpose. Where the backup selects by
        labels, what it does not hold was not selected."""
        metadata = one["metadata"]
        made, excluded = metadata.get("creationTimestamp"), (metadata.get("labels") or {}).get(EXCLUDE) == "true"
        if self.began is None or not made or excluded or any(self.spec.get(one) for one in SELECTORS):
            return False
        return datetime.fromisoformat(str(made)).timestamp() < self.began and self._asks_for(resource)

    def _asks_for(self, resource: str) -> bool:
        names = {resource, resource.partition(".")[0]}
        included = {one for key in INCLUDED for one in self.spec.get(key) or ()}
        excluded = {one for key in EXCLUDED for one in self.spec.get(key) or ()}
        return (not included or bool(included & {"*", *names})) and not excluded & {"*", *names}


EVERYTHING = Scope()
