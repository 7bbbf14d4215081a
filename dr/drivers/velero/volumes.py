"""What lies on the volumes of claims: whether they are bound, and a digest of their data.

Nothing that a cluster tells shows what is on a volume. The target's command is asked (``faults.command``), which knows
how to read one there; without an answer it is not known.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from dr.config.model import Target
from dr.domain.errors import DrError
from dr.drivers.faults.plugin import command_of
from dr.drivers.faults.provider import run_command
from dr.drivers.kubernetes.cluster import NAMESPACES, Cluster
from dr.drivers.kubernetes.workloads import Object, claims_of, name_of, status

QUESTION = "volume_digest"
"""What the command is asked: {namespace, claim, volume} to {digest: a text that is the same for the same files}."""
SECONDS = 300.0
NOBODY = "the target has no command that reads it"


def observed(cluster: Cluster, target: Target, namespaces: Collection[str]) -> dict[str, Any]:
    """The value of the observation ``volumes``. Raises as ``Cluster``."""
    found: dict[str, Any] = {}
    for space in namespaces:
        core = f"{NAMESPACES}/{space}"
        used = {claim for pod in cluster.items(f"{core}/pods") for claim in claims_of(pod)}
        for one in cluster.items(f"{core}/persistentvolumeclaims"):
            found[f"{space}/{name_of(one)}"] = {"used": name_of(one) in used, **_claim(target, space, one)}
    return {"claims": found}


def _claim(target: Target, space: str, one: Object) -> dict[str, Any]:
    phase, volume = str(status(one).get("phase", "Pending")), str(one["spec"].get("volumeName") or "")
    if phase != "Bound":
        return {"phase": phase, "digest": None, "because": "it is not bound"}
    told: Mapping[str, Any] = {}
    because, command = NOBODY, command_of(target)
    if command:
        try:
            asked = {"namespace": space, "claim": name_of(one), "volume": volume}
            told, because = run_command(command, QUESTION, asked, SECONDS), "the target's command does not tell"
        except DrError as error:
            because = str(error.args[0]).rstrip(".")
    digest = told.get("digest")
    return {"phase": phase, "digest": digest and str(digest), "because": "" if digest else because}
