"""What the lab's nodes are: three pools, as the platform has them, and the Node object of each of their nodes. Pure."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dr.domain.errors import UsageError
from dr.lab.cluster.nodes.times import rfc3339

GPU = "nvidia.com/gpu"
GPU_TAINT = {"key": GPU, "value": "present", "effect": "NoSchedule"}
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
NOT_ENFORCED = "dr.lab/not-enforced"
"""The annotation of a node with what its pods may ask for and nobody holds them to: CPU, mounts that only read."""
VERSION = "v1.37.2-dr-lab-agent"
"""What stands in the place of a kubelet's version; controllers read its numbers."""
UNENFORCED = "resources.limits.cpu, volumeMounts.readOnly"


@dataclass(frozen=True, slots=True)
class Pool:
    """``count``: nodes in it; ``gpus``: of each node."""

    name: str
    count: int
    cpu: str
    memory: str
    gpus: int = 0


POOLS = (
    Pool("general", 4, "8", "32Gi"),
    Pool("compute", 2, "16", "64Gi"),
    Pool("gpu", 3, "8", "32Gi", gpus=1),
)


@dataclass(frozen=True, slots=True)
class Place:
    """One node: ``number`` is its place among all, from 1, and ``network`` the lab's second octet: pods of the node
    have addresses 10.NETWORK.NUMBER.*, which lead to 127.NETWORK.NUMBER.* of this machine."""

    name: str
    pool: Pool
    number: int
    network: int

    @property
    def address(self) -> str:
        """The node's own."""
        return f"10.{self.network}.{self.number}.1"

    @property
    def gpus(self) -> tuple[str, ...]:
        """The ids of its GPUs."""
        return tuple(f"GPU-{self.name}-{n}" for n in range(self.pool.gpus))

    def pod_address(self, taken: Iterable[str]) -> str:
        """The first address for a pod that is not ``taken``. Raises UsageError where there is none."""
        used = set(taken)
        for last in range(2, 255):
            found = f"10.{self.network}.{self.number}.{last}"
            if found not in used:
                return found
        raise UsageError(f"Node {self.name} has no address left for another pod.")


def loopback(address: str) -> str:
    """Where an address of the cluster (10.*) is found on this machine. EndpointSlices refuse 127.* themselves."""
    return f"127.{address.partition('.')[2]}"


def places(pools: Iterable[Pool], network: int) -> tuple[Place, ...]:
    """All nodes of ``pools``, as "gpu-1"."""
    names = [(f"{pool.name}-{n}", pool) for pool in pools for n in range(1, pool.count + 1)]
    return tuple(Place(name, pool, number, network) for number, (name, pool) in enumerate(names, 1))


def node(place: Place) -> dict[str, Any]:
    """The Node object as it is registered."""
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    labels = {
        "kubernetes.io/hostname": place.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture,
        "topology.kubernetes.io/region": ZONES[0][:-1],
        "topology.kubernetes.io/zone": ZONES[place.number % len(ZONES)],
        "pool": place.pool.name,
        **({"nvidia.com/gpu.present": "true", "nvidia.com/gpu.product": "A100"} if place.gpus else {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": place.name, "labels": labels, "annotations": {NOT_ENFORCED: UNENFORCED}},
        "spec": {
            "podCIDR": f"10.{place.network}.{place.number}.0/24",
            "podCIDRs": [f"10.{place.network}.{place.number}.0/24"],
            **({"taints": [GPU_TAINT]} if place.gpus else {}),
        },
    }


def node_status(place: Place, images: Iterable[str], broken: Iterable[str], since: float, now: float) -> dict[str, Any]:
    """The node's status. ``broken``: GPUs that are unhealthy, which capacity still counts and allocatable does not.
    ``since``: when the agent started; both times in epoch seconds."""
    size = {"cpu": place.pool.cpu, "memory": place.pool.memory, "pods": "110", "ephemeral-storage": "100Gi"}
    healthy = [gpu for gpu in place.gpus if gpu not in set(broken)]
    return {
        "capacity": {**size, **_gpus(place, len(place.gpus))},
        "allocatable": {**size, **_gpus(place, len(healthy))},
        "conditions": [
            _condition("Ready", "True", "AgentReady", "The lab's agent is ready.", since, now),
            *(
                _condition(f"{what}Pressure", "False", "AgentHasRoom", "The agent does not measure it.", since, now)
                for what in ("Memory", "Disk", "PID")
            ),
        ],
        "addresses": [
            {"type": "InternalIP", "address": place.address},
            {"type": "Hostname", "address": place.name},
        ],
        "nodeInfo": _info(place),
        "images": [{"names": [name], "sizeBytes": 0} for name in images],
    }


def lease(place: Place, seconds: int, now: float) -> dict[str, Any]:
    """The node's Lease, renewed ``now``, of so many ``seconds``."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": place.name, "namespace": "kube-node-lease"},
        "spec": {
            "holderIdentity": place.name,
            "leaseDurationSeconds": seconds,
            "renewTime": rfc3339(now, micro=True),
        },
    }


def _gpus(place: Place, count: int) -> Mapping[str, str]:
    return {GPU: str(count)} if place.gpus else {}


def _condition(kind: str, status: str, reason: str, message: str, since: float, now: float) -> dict[str, str]:
    times = {"lastHeartbeatTime": rfc3339(now), "lastTransitionTime": rfc3339(since)}
    return {"type": kind, "status": status, "reason": reason, "message": message, **times}


def _info(place: Place) -> dict[str, str]:
    ours = "dr-lab-agent://1"
    return {
        "machineID": place.name,
        "systemUUID": place.name,
        "bootID": place.name,
        "kernelVersion": platform.release(),
        "osImage": "dr lab: processes, no containers",
        "containerRuntimeVersion": ours,
        "kubeletVersion": VERSION,
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": "amd64" if platform.machine() == "x86_64" else "arm64",
    }
