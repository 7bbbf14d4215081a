"""What of a cluster a loss is about: its nodes, their GPUs, and the pods of a workload. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from dr.domain.errors import RefusedError, UsageError
from dr.drivers.kubernetes.workloads import OVER, Object, condition, name_of, replicas, status

GPU = "nvidia.com/gpu"
SERVICE = "kubernetes.io/service-name"
"""The label of an EndpointSlice that names its Service."""
DAEMON_SET, MIRROR = "DaemonSet", "kubernetes.io/config.mirror"


class NodeSeen(msgspec.Struct, frozen=True):
    """``gpus``: allocatable; ``capacity``: all that it has. ``machine``: the cloud's own name of it."""

    ready: bool
    cordoned: bool
    gpus: int
    capacity: int
    machine: str = ""

    @property
    def usable(self) -> int:
        """GPUs that a new pod could be given."""
        return self.gpus if self.ready and not self.cordoned else 0


class PodSeen(msgspec.Struct, frozen=True):
    """``started``: its containers run; ``loaded``: their startup probes have passed; ``owner``: the kind of what makes
    it anew. ``why``: what the scheduler says where it has no node."""

    name: str
    uid: str
    node: str
    ready: bool
    started: bool
    loaded: bool
    ending: bool
    gpus: int
    owner: str = ""
    why: str = ""


class Scene(msgspec.Struct, frozen=True):
    """What there was at a moment. ``wanted``: the pods that the workload is asked to have; None: it is not there.
    ``served``: the ready addresses of its Services, by pod."""

    nodes: dict[str, NodeSeen]
    pods: tuple[PodSeen, ...] = ()
    wanted: int | None = None
    services: tuple[str, ...] = ()
    served: tuple[str, ...] = ()

    @property
    def usable(self) -> int:
        """GPUs of all nodes that a pod could be given, in use or not."""
        return sum(one.usable for one in self.nodes.values())

    @property
    def standing(self) -> tuple[PodSeen, ...]:
        """Pods that are ready on a node that is, and whose GPUs it still has."""
        return tuple(one for one in self.pods if one.ready and not one.ending and self._holds(one))

    def _holds(self, pod: PodSeen) -> bool:
        node = self.nodes.get(pod.node)
        if node is None or not node.ready:
            return False
        return sum(one.gpus for one in self.pods if one.node == pod.node and not one.ending) <= node.gpus


def seen_node(one: Object) -> NodeSeen:
    seen, spec = status(one), one.get("spec") or {}
    return NodeSeen(
        ready=condition(one, "Ready").get("status") == "True",
        cordoned=bool(spec.get("unschedulable")),
        gpus=_number((seen.get("allocatable") or {}).get(GPU)),
        capacity=_number((seen.get("capacity") or {}).get(GPU)),
        machine=str(spec.get("providerID") or ""),
    )


def seen_pod(one: Object) -> PodSeen:
    meta, spec = one["metadata"], one["spec"]
    held = list(status(one).get("containerStatuses") or ())
    whole = len(held) == len(spec.get("containers") or ()) and bool(held)
    scheduled = condition(one, "PodScheduled")
    owner = next((each["kind"] for each in meta.get("ownerReferences") or () if each.get("controller")), "")
    return PodSeen(
        name=name_of(one),
        uid=str(meta.get("uid", "")),
        node=str(spec.get("nodeName") or ""),
        ready=condition(one, "Ready").get("status") == "True",
        started=whole and all("running" in (each.get("state") or {}) for each in held),
        loaded=whole and all(each.get("started") for each in held),
        ending=bool(meta.get("deletionTimestamp")) or status(one).get("phase") in OVER,
        gpus=_wanted_gpus(spec),
        owner=str(owner),
        why=str(scheduled.get("message") or "") if scheduled.get("status") == "False" else "",
    )


def matches(selector: Object | None, labels: Object | None) -> bool:
    """Whether a selector takes an object: ``matchLabels`` alone of a workload, or a Service's own; none takes none."""
    wanted = (selector or {}).get("matchLabels", selector)
    return bool(wanted) and all((labels or {}).get(key) == value for key, value in wanted.items())


def scene(
    nodes: Iterable[Object],
    pods: Iterable[Object],
    workload: Object | None,
    services: Iterable[Object],
    slices: Iterable[Object],
) -> Scene:
    """Of all pods, Services and EndpointSlices of the workload's namespace, those that are its own."""
    if workload is None:
        return Scene({name_of(one): seen_node(one) for one in nodes})
    chosen = workload["spec"].get("selector")
    own = [seen_pod(one) for one in pods if matches(chosen, one["metadata"].get("labels"))]
    led = leading(workload, services)
    return Scene(
        {name_of(one): seen_node(one) for one in nodes},
        tuple(sorted(own, key=lambda one: (one.node, one.name))),
        replicas(workload),
        led,
        _served(slices, led),
    )


def selecting(workload: Object) -> str:
    """The labels by which a workload knows its pods, as a list takes them."""
    wanted = (workload["spec"].get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in wanted.items())


def leading(workload: Object, services: Iterable[Object]) -> tuple[str, ...]:
    """The Services that lead to the workload's pods."""
    labels = ((workload["spec"].get("template") or {}).get("metadata") or {}).get("labels")
    return tuple(sorted(name_of(one) for one in services if matches(one["spec"].get("selector"), labels)))


def _served(slices: Iterable[Object], services: Collection[str]) -> tuple[str, ...]:
    found = {
        str((each.get("targetRef") or {}).get("name"))
        for one in slices
        if (one["metadata"].get("labels") or {}).get(SERVICE) in services
        for each in one.get("endpoints") or ()
        if (each.get("conditions") or {}).get("ready") is not False
    }
    return tuple(sorted(found))


def parted(of: str) -> tuple[str, str]:
    """Namespace and name of a workload. Raises UsageError."""
    namespace, _, name = of.partition("/")
    if not namespace or not name or "/" in name:
        raise UsageError(f"{of!r} is no Deployment.", "Write it as NAMESPACE/NAME.")
    return namespace, name


def chosen(of: str, there: Scene, node: str = "") -> str:
    """The node whose loss is the workload's: ``node``, or that of its first pod that is ready. Raises RefusedError
    where none of its pods is ready there."""
    names = [one.node for one in there.pods if one.ready and node in ("", one.node)]
    if not names:
        where = f" on node {node}" if node else ""
        raise RefusedError(
            f"No pod of {of} is ready{where}, so that its loss would show nothing.", "See 'kubectl get pods -o wide'."
        )
    return names[0]


def on_node(pods: Iterable[Object]) -> tuple[list[str], list[str]]:
    """Of a node's pods those that a drain moves, as NAMESPACE/NAME, and of these those that nothing makes anew."""
    moved = [
        one
        for one in pods
        if MIRROR not in (one["metadata"].get("annotations") or {})
        and seen_pod(one).owner != DAEMON_SET
        and status(one).get("phase") not in OVER
    ]
    return [_full(one) for one in moved], [_full(one) for one in moved if not seen_pod(one).owner]


def _full(one: Object) -> str:
    return f"{one['metadata'].get('namespace', '')}/{name_of(one)}"


def _wanted_gpus(spec: Mapping[str, Any]) -> int:
    asked = (((each.get("resources") or {}).get("limits") or {}).get(GPU) for each in spec.get("containers") or ())
    return sum(map(_number, asked))


def _number(text: object) -> int:
    """A count; what is none is 0."""
    return int(str(text)) if str(text).isdigit() else 0
