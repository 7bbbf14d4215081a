"""Objects of a small cluster that stands as it should, as a Kubernetes API server shows them."""

from __future__ import annotations

from typing import Any

KUBE_SYSTEM_UID = "0d9a1c52-3f6e-4a53-9c0f-4f9f2f7b6a01"
SYSTEM = "readmission-system"
APPS, CORE = f"/apis/apps/v1/namespaces/{SYSTEM}", f"/api/v1/namespaces/{SYSTEM}"


def condition(kind: str, holds: bool = True, **more: str) -> dict[str, str]:
    return {"type": kind, "status": "True" if holds else "False", **more}


def deployment(name: str, replicas: int = 2, available: int | None = None, **status: Any) -> dict[str, Any]:
    there = replicas if available is None else available
    seen = {"observedGeneration": 1, "availableReplicas": there, "updatedReplicas": replicas, **status}
    labels = {"app": name}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": {**labels, "version": "2.3.0"}}},
    }
    return {"metadata": {"name": name, "generation": 1}, "spec": spec, "status": seen}


def pod(name: str, *conditions: dict[str, str], phase: str = "Running", node: str = "gpu-1") -> dict[str, Any]:
    """One with a GPU, of the ReplicaSet that its name begins with."""
    return {
        "metadata": {
            "name": name,
            "namespace": SYSTEM,
            "labels": {"app": name.rpartition("-")[0]},
            "uid": f"uid-{name}",
            "ownerReferences": [{"kind": "ReplicaSet", "name": name.rpartition("-")[0], "controller": True}],
        },
        "spec": {"nodeName": node, "containers": [{"name": "it", "resources": {"limits": {"nvidia.com/gpu": 1}}}]},
        "status": {
            "phase": phase,
            "conditions": list(conditions or (condition("Ready"),)),
            "containerStatuses": [{"name": "it", "started": True, "state": {"running": {}}}],
        },
    }


def node(name: str, *, ready: str = "True", gpus: int = 1, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"pool": name.rpartition("-")[0]}},
        "spec": spec,
        "status": {
            "allocatable": {"cpu": "8", "nvidia.com/gpu": str(gpus)},
            "capacity": {"cpu": "8", "nvidia.com/gpu": "1"},
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def service(name: str, **selector: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": SYSTEM}, "spec": {"selector": selector or {"app": name}}}


def slices(service: str, *ready: str) -> dict[str, Any]:
    """The EndpointSlice of a Service that leads to these pods."""
    led = [{"conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": name}} for name in ready]
    owner = {"kind": "Service", "name": service, "controller": True}
    labels = {"kubernetes.io/service-name": service}
    return {"metadata": {"name": f"{service}-1", "labels": labels, "ownerReferences": [owner]}, "endpoints": led}


MODEL = "readmission-model"
OF = f"{SYSTEM}/{MODEL}"
DISCOVERY = f"/apis/discovery.k8s.io/v1/namespaces/{SYSTEM}"
PLATFORM: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/api/v1/namespaces", {"metadata": {"name": "kube-system", "uid": KUBE_SYSTEM_UID}}),
    ("/api/v1/namespaces", {"metadata": {"name": SYSTEM, "uid": "uid-system"}, "status": {"phase": "Active"}}),
    ("/api/v1/nodes", node("gpu-1")),
    ("/api/v1/nodes", node("gpu-2")),
    ("/api/v1/nodes", node("gpu-3")),
    (f"{APPS}/deployments", deployment(MODEL)),
    (f"{CORE}/pods", pod(f"{MODEL}-a")),
    (f"{CORE}/pods", pod(f"{MODEL}-b", node="gpu-2")),
    (f"{CORE}/services", service(MODEL)),
    (f"{DISCOVERY}/endpointslices", slices(MODEL, f"{MODEL}-a", f"{MODEL}-b")),
)
