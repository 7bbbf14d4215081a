"""A pod as the API server shows it, for tests of the agent's decisions."""

from __future__ import annotations

from typing import Any


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A pod with these containers, or one named api; ``spec``: further fields."""
    return {
        "metadata": {"name": "api-1", "namespace": "readmission-system", "uid": "u1", "labels": {"app": "api"}},
        "spec": {"containers": list(containers) or [container()], **spec},
        "status": {"phase": "Pending"},
    }


def container(name: str = "api", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": "busybox:1.37", **fields}
