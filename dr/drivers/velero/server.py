"""Velero's server: whether it is there, answers, and takes up what it was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr.domain.errors import FailedError, ProviderError, RefusedError
from dr.drivers.velero.command import Command
from dr.drivers.velero.look import AVAILABLE, Velero
from dr.drivers.velero.phases import created, phase
from dr.ports import Clock

UNHEARD_SECONDS = 60.0
"""How long something may stand that it has not begun, before it is asked whether it is there; and between two times."""


class Server:
    """That of one Velero. Raises as ``Cluster`` and ``Command``, too."""

    def __init__(self, velero: Velero, command: Command, clock: Clock) -> None:
        self._velero, self._command, self._clock = velero, command, clock
        self._asked = 0.0

    def check_deployment(self) -> None:
        """Raises RefusedError without the Deployment that a restore of pods reads, also of a server outside."""
        space = self._velero.space
        if self._velero.cluster.get(f"/apis/apps/v1/namespaces/{space}/deployments/velero") is None:
            raise RefusedError(
                f"There is no Deployment velero in namespace {space}, without which nothing is restored.",
                "Install Velero there, or set velero.namespace.",
            )

    def check_version(self) -> None:
        """Raises RefusedError where it or its command line is too old, ProviderError where it does not answer."""
        self._command.check()

    def check_writable(self) -> None:
        """Raises RefusedError where a new backup would have no place."""
        locations = self._velero.items("backupstoragelocations")
        usual = [one for one in locations if (one.get("spec") or {}).get("default")]
        found = next(iter(usual or [one for one in locations if one["metadata"]["name"] == "default"]), None)
        if found is None:
            raise RefusedError("Velero has no default storage location.", "Set one: velero backup-location set NAME.")
        name, mode = found["metadata"]["name"], (found.get("spec") or {}).get("accessMode")
        if mode == "ReadOnly" or phase(found) != AVAILABLE:
            told = "read-only" if mode == "ReadOnly" else phase(found) or "not validated yet"
            raise RefusedError(
                f"Velero's storage location {name} is {told}, so that no backup can be taken there.",
                "Make it writable, or run the drill where it is.",
            )

    def check_heard(self, found: Mapping[str, Any]) -> None:
        """That it takes up what it was asked for. Others may come first, for hours: so it is asked whether it is there.
        Raises ProviderError where it is not."""
        at, now = created(found), self._clock.now().at
        if phase(found) not in ("", "New") or at is None or now < max(at, self._asked) + UNHEARD_SECONDS:
            return
        self._asked = now
        try:
            self.check_version()
        except ProviderError as error:
            raise ProviderError(
                f"{found['metadata']['name']} was not begun in {now - at:.0f} s: {str(error.args[0]).rstrip('.')}.",
                "See whether Velero's server runs, then repeat the command: it goes on where it was.",
            ) from None


class Removal:
    """Backups' removal, from their storage, too, which the server does by request."""

    def __init__(self, velero: Velero, command: Command, server: Server) -> None:
        self._velero, self._command, self._server = velero, command, server
        self._earlier: dict[str, frozenset[str]] = {}

    def ask(self, backup: Mapping[str, Any]) -> None:
        """Repeated, it is asked for anew. Of what was refused before it began there is the record alone."""
        name = str(backup["metadata"]["name"])
        self._earlier[name] = frozenset(one["metadata"]["name"] for one in self._requests(name))
        if phase(backup) == "FailedValidation":
            self._velero.cluster.delete(f"{self._velero.path('backups')}/{name}", {})
        else:
            self._command.remove_backup(name)

    def under_way(self, name: str) -> bool:
        """Whether somebody has asked for it, and it is not done. Raises FailedError where what was asked for here
        failed; what failed before may be asked for once more."""
        found = self._requests(name)
        for one in found:
            if phase(one) != "Processed":
                self._server.check_heard(one)
                return True
        if name in self._earlier:
            own = (one for one in found if one["metadata"]["name"] not in self._earlier[name])
            if errors := [text for one in own for text in (one.get("status") or {}).get("errors") or ()]:
                raise FailedError(
                    f"Velero could not remove the backup {name}: {'; '.join(errors).rstrip('.')}.",
                    "See to its storage location.",
                )
        return False

    def _requests(self, backup: str) -> list[dict[str, Any]]:
        asked = self._velero.items("deletebackuprequests")
        return [one for one in asked if (one.get("spec") or {}).get("backupName") == backup]
