"""The cluster as losses and their recoveries see it: one workload's scene at a time."""

from __future__ import annotations

from urllib.parse import quote

from dr.domain.errors import RefusedError
from dr.drivers.kubernetes.cluster import NAMESPACES, NODES, Access, Cluster
from dr.drivers.kubernetes.scene import SERVICE, Scene, leading, parted, scene, selecting


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
    core, discovery = f"{NAMESPACES}/{namespace}", f"/apis/discovery.k8s.io/v1/namespaces/{namespace}"
    nodes = cluster.items(NODES)
    workload = cluster.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
    if workload is None:
        return scene(nodes, (), None, (), ())
    # Of a namespace of thousands of pods only its own are asked for, four times a second.
    pods = cluster.items(f"{core}/pods?labelSelector={quote(selecting(workload))}")
    services = cluster.items(f"{core}/services")
    names = ",".join(leading(workload, services))
    slices = (
        cluster.items(f"{discovery}/endpointslices?labelSelector={quote(f'{SERVICE} in ({names})')}") if names else ()
    )
    return scene(nodes, pods, workload, services, slices)


def look_first(cluster: Cluster, of: str) -> Scene:
    """The same before anything is lost. Raises RefusedError where there is no such workload."""
    found = look(cluster, of)
    if found.wanted is None:
        raise RefusedError(f"There is no Deployment {of} in the cluster.", "Correct 'of' of the experiment.")
    return found
