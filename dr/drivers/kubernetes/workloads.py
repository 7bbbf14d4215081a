"""Whether what should run in a namespace does: its claims, its workloads, its pods. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Object = Mapping[str, Any]
APPS = ("deployments", "statefulsets", "daemonsets")
OVER = ("Succeeded", "Failed")
"""Phases of a pod that runs no more."""
HOOKED_ON_USE = "WaitForFirstConsumer"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a namespace holds. ``apps``: by the name of the resource; ``classes``: StorageClasses, by name."""

    namespace: str
    apps: Mapping[str, tuple[Object, ...]]
    claims: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    classes: Mapping[str, Object] = field(default_factory=dict)

    def unbound(self) -> list[str]:
        """Claims that have no volume, with the reason; one that binds when a pod wants it is waited for by no pod."""
        used = {name for pod in self.pods for name in claims_of(pod)}
        return [
            f"claim {self._name(one)} is {phase}"
            for one in self.claims
            if (phase := status(one).get("phase", "Pending")) != "Bound"
            and (name_of(one) in used or not self._binds_late(one))
        ]

    def unavailable(self) -> list[str]:
        """Deployments, StatefulSets and DaemonSets that are not as they are asked to be."""
        found = ((kind, one, why) for kind in APPS for one in self.apps.get(kind, ()) if (why := lacking(kind, one)))
        return [f"{kind.removesuffix('s')} {self._name(one)}: {why}" for kind, one, why in found]

    def unready(self) -> list[str]:
        """Pods that should run and are not ready, with the reason."""
        return [f"pod {self._name(one)}: {why}" for one in self.pods if (why := not_ready(one))]

    def asleep(self) -> list[str]:
        """Workloads that are asked for no pod: nothing of them can be shown to work."""
        kinds = ("deployments", "statefulsets")
        return [f"{kind.removesuffix('s')} {self._name(one)}" for kind, one in self._each(kinds) if not replicas(one)]

    def _each(self, kinds: Iterable[str]) -> Iterator[tuple[str, Object]]:
        yield from ((kind, one) for kind in kinds for one in self.apps.get(kind, ()))

    def _binds_late(self, claim: Object) -> bool:
        chosen = self.classes.get(str(claim["spec"].get("storageClassName", "")), {})
        return chosen.get("volumeBindingMode") == HOOKED_ON_USE

    def _name(self, one: Object) -> str:
        return f"{self.namespace}/{name_of(one)}"


def name_of(one: Object) -> str:
    return str(one["metadata"]["name"])


def status(one: Object) -> Object:
    found = one.get("status")
    return found if isinstance(found, Mapping) else {}


def condition(one: Object, kind: str) -> Object:
    """The condition of that type; empty where it has none."""
    return next((held for held in status(one).get("conditions") or () if held.get("type") == kind), {})


def replicas(one: Object) -> int:
    """How many pods a workload is asked to have; 1 where it does not say."""
    asked = one["spec"].get("replicas")
    return 1 if asked is None else int(asked)


def lacking(kind: str, one: Object) -> str:
    """Why a workload is not as it is asked to be; "" where it is. ``kind``: one of ``APPS``."""
    seen = status(one)
    if int(seen.get("observedGeneration") or 0) < int(one["metadata"].get("generation") or 0):
        return "Kubernetes has not seen its change yet"
    if kind == "daemonsets":
        asked, there = int(seen.get("desiredNumberScheduled") or 0), int(seen.get("numberAvailable") or 0)
    else:
        asked, there = replicas(one), int(seen.get("availableReplicas") or 0)
    updated = int(seen.get("updatedNumberScheduled" if kind == "daemonsets" else "updatedReplicas") or 0)
    if there < asked:
        return f"{there} of {asked} are available"
    return f"{updated} of {asked} are new" if updated < asked else ""


def not_ready(pod: Object) -> str:
    """Why a pod that should run is not ready; "" where it is, and where it has run to its end or is being deleted."""
    phase = str(status(pod).get("phase", "Pending"))
    if phase in OVER or pod["metadata"].get("deletionTimestamp") or condition(pod, "Ready").get("status") == "True":
        return ""
    unscheduled = condition(pod, "PodScheduled")
    if unscheduled.get("status") == "False":
        return str(unscheduled.get("message") or unscheduled.get("reason") or "it is not scheduled").rstrip(".")
    for one in status(pod).get("containerStatuses") or ():
        waiting = (one.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            said = f": {waiting['message']}".rstrip(".") if waiting.get("message") else ""
            return f"{one.get('name')} is {waiting['reason']}{said}"
    return f"{phase}, not ready"


def claims_of(pod: Object) -> list[str]:
    """The claims that a pod uses."""
    volumes = pod["spec"].get("volumes") or ()
    return [str(one["persistentVolumeClaim"]["claimName"]) for one in volumes if one.get("persistentVolumeClaim")]
