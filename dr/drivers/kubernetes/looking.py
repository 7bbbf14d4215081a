"""The cluster as losses and their recoveries see it: one workload's scene at a time."""

from __future__ import annotations

from dr.domain.errors import RefusedError
from dr.drivers.kubernetes.cluster import Access, Cluster
from dr.drivers.kubernetes.scene import Scene, parted, scene

NODES, NAMESPACES = "/api/v1/nodes", "/api/v1/namespaces"


def access(namespace: str) -> list[Access]:
    """What the credentials need to look."""
    return [
        Access("list", "nodes"),
        Access("get", "deployments", namespace, "apps"),
        Access("list", "pods", namespace),
        Access("list", "services", namespace),
        Access("list", "endpointslices", namespace, "discovery.k8s.io"),
    ]


def look(cluster: Cluster, of: str) -> Scene:
    """The scene of the workload ``of``, also where that is gone."""
    namespace, name = parted(of)
    core = f"{NAMESPACES}/{namespace}"
    return scene(
        cluster.items(NODES),
        cluster.items(f"{core}/pods"),
        cluster.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"),
        cluster.items(f"{core}/services"),
        cluster.items(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"),
    )


def look_first(cluster: Cluster, of: str) -> Scene:
    """The same before anything is lost. Raises RefusedError where there is no such workload."""
    found = look(cluster, of)
    if found.wanted is None:
        raise RefusedError(f"There is no Deployment {of} in the cluster.", "Correct 'of' of the experiment.")
    return found
