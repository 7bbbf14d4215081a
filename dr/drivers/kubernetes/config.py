"""What a target says of its cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from dr.config.model import Section
from dr.drivers.kubernetes.kubeconfig import servers


class KubernetesConfig(Section, frozen=True, forbid_unknown_fields=True):
    """The cluster, by a kubeconfig and a context of it: the ambient ones are not looked at."""

    kubeconfig: str
    context: str
    cluster_uid: str
    """Pin: the UID of its namespace kube-system, by which a cluster is known whatever leads to it."""
    namespaces: tuple[str, ...] = ()
    """Those of the platform: the target's own."""
    machines: Literal["", "ec2"] = ""
    """How a drill loses a node: "ec2": by terminating its instance, in the account of section aws, else of section rds;
    empty: by the target's command for faults."""

    def pins(self) -> Mapping[str, str]:
        return {"cluster_uid": self.cluster_uid}

    def endpoints(self) -> tuple[str, ...]:
        """Raises RefusedError where the kubeconfig does not say where the cluster is."""
        return servers(self.kubeconfig, self.context)
