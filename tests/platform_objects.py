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
    return {"metadata": {"name": name, "generation": 1}, "spec": {"replicas": replicas}, "status": seen}


def pod(name: str, *conditions: dict[str, str], phase: str = "Running", node: str = "gpu-1") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"app": name.rpartition("-")[0]}, "uid": f"uid-{name}"},
        "spec": {"nodeName": node},
        "status": {"phase": phase, "conditions": list(conditions or (condition("Ready"),))},
    }


def node(name: str, *, ready: str = "True", gpus: int = 1, **spec: Any) -> dict[str, Any]:
    allocatable = {"cpu": "8", "nvidia.com/gpu": str(gpus)}
    return {
        "metadata": {"name": name, "labels": {"pool": name.rpartition("-")[0]}},
        "spec": spec,
        "status": {"allocatable": allocatable, "conditions": [{"type": "Ready", "status": ready}]},
    }


PLATFORM: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/api/v1/namespaces", {"metadata": {"name": "kube-system", "uid": KUBE_SYSTEM_UID}}),
    ("/api/v1/namespaces", {"metadata": {"name": SYSTEM, "uid": "uid-system"}, "status": {"phase": "Active"}}),
    ("/api/v1/nodes", node("gpu-1")),
    ("/api/v1/nodes", node("gpu-2")),
    (f"{APPS}/deployments", deployment("readmission-model")),
    (f"{CORE}/pods", pod("readmission-model-a")),
    (f"{CORE}/pods", pod("readmission-model-b", node="gpu-2")),
)
