"""The kinds of objects that a cluster knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dr.drivers.kubernetes.cluster import Cluster


def listable(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """Each kind of which a namespace may hold objects that somebody made, with its ``apiVersion`` and ``kind``, by its
    resource ("deployments.apps"), in the version that the cluster prefers. Raises as ``Cluster``."""
    found = dict(_of(cluster, "/api/v1", "v1"))
    for group in (cluster.get("/apis") or {}).get("groups") or ():
        version = str(group["preferredVersion"]["groupVersion"])
        found |= _of(cluster, f"/apis/{version}", version)
    return found


def _of(cluster: Cluster, path: str, version: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What cannot be made is no object of anybody's, as the figures of metrics.k8s.io."""
    group = version.rpartition("/")[0]
    for one in (cluster.get(path) or {}).get("resources") or ():
        name = str(one["name"])
        if one.get("namespaced") and "/" not in name and {"list", "create"} <= {*one.get("verbs", ())}:
            yield f"{name}.{group}" if group else name, {"apiVersion": version, "kind": one["kind"]}
