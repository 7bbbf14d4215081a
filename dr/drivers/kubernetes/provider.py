"""A cluster as a provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr.config.context import Context
from dr.domain.errors import UsageError
from dr.domain.model import Call, Facts, Own, Progress, Request, Resource, RunIdentity, Verb
from dr.domain.refs import Ref
from dr.drivers.kubernetes import standing
from dr.drivers.kubernetes.cluster import Cluster
from dr.drivers.kubernetes.config import KubernetesConfig

DRIVER = "kubernetes"


def namespace(name: str) -> Ref:
    return Ref(DRIVER, "namespace", name)


def node(name: str) -> Ref:
    return Ref(DRIVER, "node", name)


class KubernetesProvider:
    """It is known by the UID of its namespace kube-system."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._config = context.target.of(KubernetesConfig)
        self._cluster = Cluster(self._config, context.clock)
        self._waiting = standing.Waiting(self._cluster, context.clock)

    def look(self, request: Request) -> Facts:  # noqa: ARG002  (the Protocol's)
        """Namespaces and nodes; of the former those that the target names are its own, and every node."""
        uid = self._cluster.uid()
        there = [self._seen("namespace", one) for one in self._cluster.items("/api/v1/namespaces")]
        nodes = [self._seen("node", one) for one in self._cluster.items("/api/v1/nodes")]
        own = {namespace(name): Own.SOURCE for name in self._config.namespaces}
        return Facts(
            at=self._context.clock.now().at,
            identity={DRIVER: {"cluster_uid": uid}},
            resources=(*there, *nodes),
            own={**own, **{one.ref: Own.SOURCE for one in nodes}},
        )

    def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:  # noqa: ARG002
        if verb.name == "await_workloads":
            return (standing.propose(verb, self._config.namespaces),)
        raise UsageError(f"There is no verb {verb.name!r} of a cluster.")

    def confirm_identity(self) -> None:
        self._cluster.confirm()

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002  (the Protocol's)
        return dict(args)

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:  # noqa: ARG002
        return self._waiting.poll(result)

    @staticmethod
    def _seen(kind: str, found: Mapping[str, Any]) -> Resource:
        meta, status = found["metadata"], found.get("status") or {}
        ready = next((one["status"] for one in status.get("conditions") or () if one["type"] == "Ready"), None)
        shown = {"True": "ready", "False": "not-ready", "Unknown": "unknown"}.get(ready or "", "")
        return Resource(
            Ref(DRIVER, kind, str(meta["name"])), shown or str(status.get("phase", "")).lower(), attributes=meta
        )
