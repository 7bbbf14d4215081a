"""How what a run makes with Velero is called, and by what it is known to be a run's. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr.domain.model import RunIdentity
from dr.domain.refs import Ref
from dr.domain.tags import spread
from dr.drivers.kubernetes.config import KubernetesConfig

DRIVER = "velero"
SAFEGUARD = "safeguard"
"""The call that takes a drill's own backup."""


def restore_of(run: str) -> Ref:
    return Ref(DRIVER, "restore", f"dr-{run}")


def bringing_back(run: str) -> Ref:
    """The restore by which a drill's own backup is put back."""
    return Ref(DRIVER, "restore", f"dr-{run}-back")


def backup_of(run: str) -> Ref:
    """What a drill backs up before it takes a namespace away."""
    return Ref(DRIVER, "backup", f"dr-{run}")


def restored(name: str, restore: str) -> Ref:
    """What a restore of that name has brought of a namespace: Velero's driver answers for it."""
    return Ref(DRIVER, "namespace", name, Ref(DRIVER, "restore", restore))


def namespace(name: str) -> Ref:
    """The cluster's, whose driver tells of it."""
    return Ref("kubernetes", "namespace", name)


def tags_of(run: RunIdentity, covers: float | None) -> dict[str, str]:
    """What says whose it is, and how another machine goes on with it."""
    return {
        **labels_of(run),
        "dr:target": run.target,
        "dr:request": run.digest,
        **({"dr:point": repr(covers)} if covers is not None else {}),
        **({"dr:since": repr(run.since)} if run.since is not None else {}),
        **spread(run.request),
    }


def labels_of(run: RunIdentity) -> dict[str, str]:
    return {"dr:run": run.id, "dr:purpose": run.purpose.value}


def owner(one: Mapping[str, Any]) -> dict[str, Any]:
    """That ``one`` of Velero's objects owns another, which is gone with it."""
    return {
        "apiVersion": "velero.io/v1",
        "kind": str(one.get("kind") or "Restore"),
        **{key: one["metadata"][key] for key in ("name", "uid")},
    }


def kubectl(config: KubernetesConfig, *words: str) -> str:
    """A command to paste."""
    return " ".join(("kubectl", "--kubeconfig", config.kubeconfig, "--context", config.context, *words))
