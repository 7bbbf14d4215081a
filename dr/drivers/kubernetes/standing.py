"""The verb ``await_workloads``: until what should run in namespaces does, and when each part of it came."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dr.domain.errors import RefusedError
from dr.domain.model import Call, Effect, Progress, Verb
from dr.drivers.kubernetes.cluster import NAMESPACES, Access, Cluster
from dr.drivers.kubernetes.workloads import APPS, Standing, name_of
from dr.ports import Clock

OPERATION = "await-workloads"
DEADLINE = 600.0
"""Seconds, where the verb does not say."""
SHOWN = 5
"""Things that are lacking of which a note tells."""
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
PARTS = {"claims-bound": Standing.unbound, "available": Standing.unavailable, "pods-ready": Standing.unready}
"""Each milestone, and what keeps it from coming. All of them have to hold at once."""


def access(namespaces: Iterable[str]) -> list[Access]:
    """What the credentials need to look."""
    return [
        Access("list", "storageclasses", group="storage.k8s.io"),
        *(
            Access("list", resource, name, group)
            for name in namespaces
            for resource, group in (*((kind, "apps") for kind in APPS), ("persistentvolumeclaims", ""), ("pods", ""))
        ),
    ]


def propose(verb: Verb, namespaces: tuple[str, ...]) -> Call:
    """Raises RefusedError where there is no namespace to look at."""
    asked = tuple(verb.args.get("namespaces") or namespaces)
    if not asked:
        raise RefusedError("No namespace is named whose workloads are to be awaited.", "Add kubernetes.namespaces.")
    return Call(
        *("await-workloads", verb.name, "workloads", "kubernetes", OPERATION),
        {"namespaces": list(asked)},
        effect=Effect.READS,
        until="every claim bound, every workload available, and every pod ready",
        deadline=float(verb.args.get("within") or DEADLINE),
        promises=("available",),
    )


def seen(cluster: Cluster, namespace: str) -> Standing:
    """What stands in a namespace now."""
    apps = {kind: tuple(cluster.items(f"/apis/apps/v1/namespaces/{namespace}/{kind}")) for kind in APPS}
    core = f"{NAMESPACES}/{namespace}"
    return Standing(
        namespace,
        apps,
        tuple(cluster.items(f"{core}/persistentvolumeclaims")),
        tuple(cluster.items(f"{core}/pods")),
        {name_of(one): one for one in cluster.items(CLASSES)},
    )


class Waiting:
    """When each part came; of one that was lost again, when it came last."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster, self._clock = cluster, clock
        self._since: dict[str, float] = {}

    def poll(self, args: Mapping[str, Any]) -> Progress:
        """Raises as ``Cluster``."""
        standing = [seen(self._cluster, name) for name in args["namespaces"]]
        now, lacks = self._clock.now().at, list[str]()
        for milestone, lacking in PARTS.items():
            found = [why for one in standing for why in lacking(one)]
            lacks += found
            if found:
                self._since.pop(milestone, None)
            else:
                self._since.setdefault(milestone, now)
        if lacks:
            more = f" and {len(lacks) - SHOWN} more" if len(lacks) > SHOWN else ""
            return Progress(done=False, note="; ".join(lacks[:SHOWN]) + more)
        counted = {kind: sum(len(one.apps[kind]) for one in standing) for kind in APPS}
        asleep = [name for one in standing for name in one.asleep()]
        result = {**args, **counted, "claims": sum(len(one.claims) for one in standing), "asleep": asleep}
        return Progress(done=True, result=result, milestones=dict(self._since))
