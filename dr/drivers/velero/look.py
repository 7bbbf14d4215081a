"""What there is of Velero in a cluster: its backups and restores, where they are stored, and what a backup holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dr.domain.errors import RefusedError
from dr.domain.model import RecoveryPoint, Request, Resource
from dr.domain.refs import Ref
from dr.drivers.kubernetes.cluster import NAMESPACES, Cluster
from dr.drivers.kubernetes.tags import tags_in
from dr.drivers.velero.archive import Archive
from dr.drivers.velero.naming import DRIVER
from dr.drivers.velero.phases import DELETING, at, phase, unusable

LATEST = "latest"
OWN = "own"
"""In the place of a backup's name: the one that the run itself takes before the loss."""
AVAILABLE = "Available"


@dataclass(frozen=True, slots=True)
class Velero:
    """Its objects in one cluster, whose own namespace is ``space``."""

    cluster: Cluster
    space: str

    def path(self, kind: str) -> str:
        return f"/apis/velero.io/v1/namespaces/{self.space}/{kind}"

    def items(self, kind: str) -> list[dict[str, Any]]:
        """Raises RefusedError where Velero is not installed."""
        found = self.cluster.get(self.path(kind))
        if found is None:
            raise RefusedError(
                f"There is no Velero in this cluster: it knows no {kind}.velero.io.",
                "Install it there, or leave the section velero out of the target.",
            )
        return list(found.get("items") or ())

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        return self.cluster.get(f"{self.path(kind)}/{name}")

    def namespace(self, name: str) -> dict[str, Any]:
        """How a namespace of the cluster stands: see ``state_of``."""
        return state_of(self.cluster.get(f"{NAMESPACES}/{name}"))

    def delete_namespace(self, name: str) -> None:
        """It goes on being deleted when this returns. Harmless where it is not there."""
        self.cluster.delete(f"{NAMESPACES}/{name}", {"propagationPolicy": "Background"})

    def location(self, backup: Mapping[str, Any]) -> dict[str, Any]:
        """Where a backup is stored. Raises RefusedError where nothing can be read from there."""
        name = str((backup.get("spec") or {}).get("storageLocation") or "default")
        found = self.get("backupstoragelocations", name)
        if found is None:
            raise RefusedError(f"Velero has no storage location {name}.", "Make it, or restore from another backup.")
        if (told := phase(found)) != AVAILABLE:
            because = str((found.get("status") or {}).get("message") or "it does not say why").rstrip(".")
            raise RefusedError(
                f"Velero's storage location {name} is {told or 'not validated yet'}: {because}.",
                "See to its bucket, credentials and network.",
            )
        return found


def points(backups: Iterable[Mapping[str, Any]], space: str) -> tuple[RecoveryPoint, ...]:
    """A backup holds each object as it was at some moment between its begin and its end; it covers up to the begin."""
    return tuple(
        RecoveryPoint(
            "backup",
            str(one["metadata"]["name"]),
            space,
            DELETING if one["metadata"].get("deletionTimestamp") else phase(one) or "New",
            at(one, "startTimestamp"),
            automated="velero.io/schedule-name" in (one["metadata"].get("labels") or {}),
            attributes={"seconds": _seconds(one), "unusable": unusable(one, str(one["metadata"]["name"]))},
        )
        for one in backups
    )


def _seconds(one: Mapping[str, Any]) -> float:
    begin, end = at(one, "startTimestamp"), at(one, "completionTimestamp")
    return max(1.0, end - begin + 1.0) if begin is not None and end is not None else 1.0  # it tells whole seconds


def made(restores: Iterable[Mapping[str, Any]], kind: str) -> tuple[Resource, ...]:
    """Those that bear a run's tags. A namespace is the cluster's."""
    found, whose = ((one, tags_in(one)) for one in restores), "kubernetes" if kind == "namespace" else DRIVER
    return tuple(
        Resource(Ref(whose, kind, str(one["metadata"]["name"])), phase(one) or "New", tags)
        for one, tags in found
        if "dr:run" in tags
    )


def asked_backup(request: Request) -> str:
    """The backup that a request restores from; "" where it restores from none."""
    asked = (verb.args.get("to") for verb in request.verbs if verb.name == "restore")
    return next((str(to["backup"]) for to in asked if isinstance(to, Mapping) and "backup" in to), "")


def check_own(steps: Sequence[str]) -> None:
    """Raises RefusedError where the run's own backup is to be restored and is taken nowhere before. ``steps``: its
    verbs."""
    if "safeguard" not in steps[: steps.index("restore")]:
        raise RefusedError(
            "The run's own backup is to be restored, and it takes none before.", "Let it safeguard the namespaces."
        )


def chosen(asked: str, points: Iterable[RecoveryPoint]) -> RecoveryPoint:
    """The backup to restore from. Raises RefusedError where there is none, or it may not be restored from."""
    known = sorted((one for one in points if one.kind == "backup"), key=lambda one: one.covers or 0.0)
    whole = [one for one in known if not one.attributes["unusable"]]
    if asked == LATEST:
        if not whole:
            raise RefusedError("There is no complete backup to restore from.", "'dr backups' lists what there is.")
        return whole[-1]
    found = next((one for one in known if one.identifier == asked), None)
    if found is None:
        raise RefusedError(f"Velero has no backup {asked!r}.", "'dr backups' lists what there is.")
    if found.attributes["unusable"]:
        raise RefusedError(found.attributes["unusable"], "Restore from another one: 'dr backups' lists them.")
    return found


def holds(archive: Archive) -> dict[str, Any]:
    """What planning has to know of an archive: how many objects of each namespace it has, and what it lacks."""
    counted: dict[str, int] = dict.fromkeys(archive.namespaces, 0)
    for _, space, _ in archive.objects:
        if space:
            counted[space] += 1
    return {"namespaces": counted, "lacking": {space: list(lacking(archive, space)) for space in counted}}


def lacking(archive: Archive, space: str) -> list[str]:
    """The cluster-scoped objects that workloads of a namespace need and the backup lacks: an unfiltered backup leaves
    out what no namespaced object names. What every cluster has by itself is not counted."""
    there = {(resource, name) for resource, own, name in archive.objects if not own}
    wanted: set[tuple[str, str]] = set()
    for (_, own, _), one in archive.objects.items():
        if own == space:
            wanted |= {*_needed(one)}
    return sorted(f"{resource} {name}" for resource, name in wanted - there)


def _needed(one: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    spec, kind = one.get("spec") or {}, one.get("kind")
    template = spec if kind == "Pod" else ((spec.get("template") or {}).get("spec") or {})
    priority = str(template.get("priorityClassName") or "")
    if priority and not priority.startswith("system-"):
        yield "priorityclasses.scheduling.k8s.io", priority
    if kind == "PersistentVolumeClaim" and spec.get("storageClassName"):
        yield "storageclasses.storage.k8s.io", str(spec["storageClassName"])
    if kind == "Ingress" and spec.get("ingressClassName"):
        yield "ingressclasses.networking.k8s.io", str(spec["ingressClassName"])
    if kind == "Certificate" and (spec.get("issuerRef") or {}).get("kind") == "ClusterIssuer":
        yield "clusterissuers.cert-manager.io", str(spec["issuerRef"]["name"])
    if kind == "RoleBinding" and (one.get("roleRef") or {}).get("kind") == "ClusterRole":
        yield "clusterroles.rbac.authorization.k8s.io", str(one["roleRef"]["name"])


def state_of(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """A namespace as it stands: whether it is there, and what keeps one that is being deleted."""
    if found is None:
        return {"there": False, "terminating": ""}
    ending = bool((found.get("metadata") or {}).get("deletionTimestamp"))
    told = [
        str(one.get("message") or "")
        for one in (found.get("status") or {}).get("conditions") or ()
        if one.get("status") == "True"
    ]
    why_still = "; ".join(filter(None, told)) if ending else ""
    return {"there": True, "terminating": (why_still or "its objects are being deleted") if ending else ""}
