"""Delete an instance at RDS by its identifier, and know when it is gone.

RDS's answers agree with each other only after a while, so that one negative answer proves nothing: a deletion is asked
for whether or not the instance is listed, and it is gone once RDS has said twice, some seconds apart, that there is no
instance of that name. A list with nothing in it says nothing at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr.domain.errors import ProviderError, RefusedError
from dr.domain.model import Progress, Purpose, Resource
from dr.drivers.rds.instances import GONE, Instances
from dr.drivers.rds.restore import DELETE, MODIFY, bears

APART_SECONDS = 3.0
"""Between the two answers that there is no such instance."""
BUSY = ("InvalidDBInstanceState", "InvalidDBInstanceStateFault")
"""The instance is there, and is being made, changed or deleted."""


class Deletion:
    """The deletions of what a target's drills made."""

    def __init__(self, instances: Instances) -> None:
        self._at = instances
        self._client = instances.client
        self._missing: dict[str, float] = {}
        """When RDS first said that there is no instance of that name, where it has said nothing else since."""
        self._there: set[str] = set()
        """What was listed, or taken by its identifier: from then on a missing one is gone, and not late."""

    def apply(self, args: Mapping[str, Any], gone_from: float) -> dict[str, Any]:
        """Ask for it. ``gone_from``: wall time before which a missing instance may still be one that comes late."""
        identifier, run = str(args["identifier"]), str(args["run"])
        result = {"identifier": identifier, "run": run, "asked_at": self._at.now(), "gone_from": gone_from}
        self._missing.pop(identifier, None)
        self._at.patiently(lambda: self._ask(identifier, run))
        return result

    def poll(self, result: Mapping[str, Any]) -> Progress:
        """Ask again, until it is gone. Raises RefusedError where it turns out to be another's."""
        identifier, now = str(result["identifier"]), self._at.now()
        if now - self._missing.get(identifier, 0.0) < APART_SECONDS:
            return Progress(False, note=f"{identifier}: RDS knows none of that name, and is asked once more")
        found = self._ask(identifier, str(result["run"]))
        if found is not None:
            return Progress(False, note=self._at.note(found, float(result["asked_at"])))
        if identifier not in self._missing:
            return Progress(False, note=f"{identifier}: not listed, and its deletion is asked for")
        left = 0.0 if identifier in self._there else float(result["gone_from"]) - now
        if left > 0:
            return Progress(False, note=f"{identifier}: not listed, though RDS may list it yet for {left:.0f} s")
        return Progress(now - self._missing[identifier] >= APART_SECONDS, dict(result), f"{identifier}: not listed")

    def _ask(self, identifier: str, run: str) -> Resource | None:
        """Have it deleted unless it is being deleted. Returns it where it is listed.

        What is not listed can show no tag: it is the run's own where its name is made up with the run's.
        """
        rows = self._at.rows(identifier)
        if rows:
            self._note(identifier, missing=False)
            if rows[0].status != "deleting":
                self._check_own(rows[0], run)
                self._unprotect(rows[0])
                self._delete(identifier)
            return rows[0]
        if bears(identifier, run):
            self._note(identifier, missing=not self._delete(identifier))
        elif rows is None:
            self._note(identifier, missing=True)
        return None

    def _note(self, identifier: str, *, missing: bool) -> None:
        if missing:
            self._missing.setdefault(identifier, self._at.now())
        else:
            self._missing.pop(identifier, None)
            self._there.add(identifier)

    def _check_own(self, found: Resource, run: str) -> None:
        if (found.tags.get("dr:run"), found.tags.get("dr:purpose")) != (run, Purpose.DRILL.value):
            raise RefusedError(
                f"{found.ref.name} is not a drill's copy of run {run}, so it is not deleted.",
                "Look at its tags; 'dr adopt' keeps what an on-call restore made.",
            )

    def _unprotect(self, found: Resource) -> None:
        if found.attributes.get("DeletionProtection"):
            wanted = {"DeletionProtection": False, "ApplyImmediately": True}
            self._client.call(MODIFY, {"DBInstanceIdentifier": found.ref.name, **wanted}, GONE)

    def _delete(self, identifier: str) -> bool:
        """Whether RDS has one of that name. One that is being made cannot be deleted yet: the next poll asks again."""
        wanted = {"DBInstanceIdentifier": identifier, "SkipFinalSnapshot": True, "DeleteAutomatedBackups": True}
        try:
            return self._client.call(DELETE, wanted, GONE) is not None
        except ProviderError as error:
            if error.code not in BUSY:
                raise
            return True
