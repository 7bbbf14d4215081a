"""How what a run makes with Velero is called, and by what it is known to be a run's. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dr.domain.errors import EvidenceError
from dr.domain.model import RunIdentity
from dr.domain.refs import Ref
from dr.domain.tags import spread
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.host.decode import json_of

DRIVER = "velero"
SAFEGUARD = "safeguard"
"""The call that takes a drill's own backup."""
TAGS = "dr/tags"
"""The annotation of what a run has made: its tags, as JSON."""
LABELS = {"dr:run": "dr/run", "dr:purpose": "dr/purpose"}
"""Tags that are labels, too, and are there from the beginning."""


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


def tags_in(one: Mapping[str, Any]) -> dict[str, str]:
    """The tags that an object of Velero's bears; empty where none of dr's made it. Somebody may have altered them."""
    metadata = one.get("metadata") or {}
    labels, held = metadata.get("labels") or {}, (metadata.get("annotations") or {}).get(TAGS)
    found = {tag: str(labels[label]) for tag, label in LABELS.items() if label in labels}
    if held is None or not found:
        return found
    try:
        return {**found, **json_of(str(held).encode(), dict[str, str], "its tags")}
    except EvidenceError:
        return found


def packed(tags: Mapping[str, str]) -> str:
    return json.dumps(dict(tags), sort_keys=True)


def kubectl(config: KubernetesConfig, *words: str) -> str:
    """A command to paste."""
    return " ".join(("kubectl", "--kubeconfig", config.kubeconfig, "--context", config.context, *words))
