"""Velero, played in virtual time over the played cluster: what its command line is asked for is done a little later."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from dr.drivers.velero import archive
from dr.drivers.velero.comparing import collection
from dr.drivers.velero.storage import CONTENTS
from tests.attack.cluster import SPACES, PlayedCluster
from tests.platform_objects import SYSTEM
from tests.stub_cluster import merged
from tests.stub_velero import OWN, archived, listed
from tests.virtual import VirtualClock

NIGHTLY = "readmission-backup-nightly"
WORKS = 2.0
"""Virtual seconds that it takes for a backup, a restore, or the removal of a backup."""
MADE_ANEW = ("pods", "endpointslices")


class PlayedVelero:
    """In the place of the driver's ``Command`` and ``Files``, and of Velero's server."""

    def __init__(self, clock: VirtualClock, cluster: PlayedCluster) -> None:
        self._clock, self._cluster = clock, cluster
        self._archives: dict[str, bytes] = {}
        self._under_way: list[tuple[float, Callable[[], None]]] = []
        location = {"metadata": {"name": "default"}, "status": {"phase": "Available"}}
        cluster.hold(f"{OWN}/backupstoragelocations", location)
        cluster.hold("/apis/apps/v1/namespaces/velero/deployments", {"metadata": {"name": "velero"}, "spec": {}})
        nightly = cluster.hold(f"{OWN}/backups", {"metadata": {"name": NIGHTLY}})
        self._back_up(nightly, {"include-namespaces": SYSTEM})

    # -- its command line

    def check(self) -> None:
        """It answers, and is new enough."""

    def back_up(self, name: str, flags: Mapping[str, str]) -> None:
        self._make("backups", name, flags, {"storageLocation": "default"}, self._back_up)

    def restore(self, name: str, backup: str, flags: Mapping[str, str]) -> None:
        self._make("restores", name, flags, {"backupName": backup}, self._restore)

    def remove_backup(self, name: str) -> None:
        asked, request = f"{OWN}/deletebackuprequests", f"{name}-1"

        def remove() -> None:
            self._archives.pop(name, None)
            self._cluster.drop(f"{OWN}/backups/{name}", f"{asked}/{request}")

        self._under_way.append((self._clock.at + WORKS, remove))
        self._cluster.create(asked, {"metadata": {"name": request}, "spec": {"backupName": name}})

    def _make(
        self,
        kind: str,
        name: str,
        flags: Mapping[str, str],
        spec: Mapping[str, Any],
        do: Callable[[dict[str, Any], Mapping[str, str]], None],
    ) -> None:
        labels = dict(one.split("=") for one in flags["labels"].split(","))

        def finish() -> None:
            asked = self._cluster.found.get(f"{OWN}/{kind}/{name}")
            if asked is not None:  # somebody may have deleted it meanwhile
                do(asked, flags)

        self._under_way.append((self._clock.at + WORKS, finish))
        self._cluster.create(f"{OWN}/{kind}", {"metadata": {"name": name, "labels": labels}, "spec": spec})

    # -- its server

    def tick(self) -> None:
        due = [job for at, job in self._under_way if at <= self._clock.at]
        self._under_way = [one for one in self._under_way if one[0] > self._clock.at]
        for job in due:
            job()

    def _back_up(self, asked: dict[str, Any], flags: Mapping[str, str]) -> None:
        spaces = flags["include-namespaces"].split(",")
        held = [
            (_resource(path), one)
            for path, one in self._cluster.found.items()
            if one["metadata"].get("namespace") in spaces and path.split("/")[-2] not in MADE_ANEW
        ]
        self._archives[asked["metadata"]["name"]] = archived(*held)
        self._complete(asked)

    def _restore(self, asked: dict[str, Any], flags: Mapping[str, str]) -> None:
        """What exists is left alone."""
        held, spaces = archive.read(self._archives[asked["spec"]["backupName"]], "it"), flags["include-namespaces"]
        mapped = dict([flags["namespace-mappings"].split(":")]) if "namespace-mappings" in flags else {}
        for space in spaces.split(","):
            if f"{SPACES}/{mapped.get(space, space)}" not in self._cluster.found:
                self._cluster.made(SPACES, {"metadata": {"name": space}, "status": {"phase": "Active"}})
        for (resource, space, name), one in held.of(spaces.split(",")).items():
            path = collection(resource, one, mapped.get(space, space))
            if resource not in flags["exclude-resources"].split(",") and f"{path}/{name}" not in self._cluster.found:
                self._cluster.made(path, self._modified(resource, one, flags.get("resource-modifier-configmap", "")))
        self._complete(asked)

    def _modified(self, resource: str, one: Mapping[str, Any], by: str) -> Mapping[str, Any]:
        """An object as it arrives by the resource modifiers of that ConfigMap."""
        if not by:
            return one
        (rules,) = self._cluster.found[f"{SPACES}/velero/configmaps/{by}"]["data"].values()
        for rule in json.loads(rules)["resourceModifierRules"]:
            if rule["conditions"]["groupResource"] in (resource, "**"):
                one = merged(one, json.loads(rule["mergePatches"][0]["patchData"]))
        return one

    def _complete(self, asked: dict[str, Any]) -> None:
        at = datetime.fromtimestamp(self._clock.at, UTC).isoformat()
        asked["status"] = {"phase": "Completed", "startTimestamp": at, "completionTimestamp": at}

    def restores(self) -> list[str]:
        """The paths of its records of what it restored."""
        return [path for path in self._cluster.found if path.startswith(f"{OWN}/restores/")]

    # -- its storage

    def fetch(self, kind: str, of: str, _location: object) -> bytes:
        held = self._archives[of]
        return held if kind == CONTENTS else listed(*archive.read(held, of).objects.values())

    def results(self, _restore: str, _location: object) -> dict[str, Any]:
        return {}


def _resource(path: str) -> str:
    """As Velero calls it."""
    parts = path.split("/")
    return f"{parts[-2]}.{parts[2]}" if parts[1] == "apis" else parts[-2]
