"""What brings a loss about and takes it back: by the target's command, by EC2, by eviction, by deletion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr.config.context import Context
from dr.domain.errors import ProviderError, RefusedError
from dr.domain.model import Call, Progress
from dr.drivers.aws.client import AwsClient, confirmed
from dr.drivers.aws.config import AwsConfig
from dr.drivers.faults.plugin import command_of
from dr.drivers.faults.provider import first_begun, run_command
from dr.drivers.kubernetes import gentle
from dr.drivers.kubernetes.cluster import NAMESPACES, NODES, Cluster
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.kubernetes.looking import look
from dr.drivers.kubernetes.scene import NodeSeen, on_node, seen_node
from dr.drivers.kubernetes.workloads import status

ACTIVITY_SECONDS = 60.0
"""For one activity of chaostoolkit-kubernetes, whose import alone takes some."""
AT_ONCE = -1
"""Its drain then evicts what it can, and waits for nothing: we look ourselves whether the pods are gone."""
GONE = ("NamespaceContentRemaining", "NamespaceFinalizersRemaining", "NamespaceDeletionDiscoveryFailure")
"""Conditions of a namespace that tell why it is not gone yet."""


class Breaking:
    """Operations by their names, as ``dr.drivers.kubernetes.losing`` plans them."""

    def __init__(self, context: Context, config: KubernetesConfig, cluster: Cluster) -> None:
        self._context, self._config, self._cluster = context, config, cluster

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Repeated, the same state is asked for again. Raises as ``Cluster`` and ``run_command``."""
        at = self._now()
        if call.phase == "disaster":
            at = first_begun(self._context.run, call.id, at)
        if call.operation in ("put-in", "take-out"):
            command = command_of(self._context.target)
            run_command(command, str(args["fault"]), args["arguments"], call.deadline)
        elif call.operation == "terminate":
            client = AwsClient(self._context.target, self._context.clock)
            confirmed(client, self._context.target.of(AwsConfig), self._context.name)
            client.call("TerminateInstances", {"InstanceIds": [args["instance"]]}, service="ec2")
        elif call.operation == "drain":
            self._check_drain(str(args["node"]))
            self._act("cordon_node", {"name": args["node"]})
        elif call.operation == "uncordon" and not args["cordoned"] and self._node(str(args["node"])) is not None:
            self._act("uncordon_node", {"name": args["node"]})
        elif call.operation == "delete-namespace":
            self._delete(str(args["namespace"]), str(args["uid"]))
        return {**args, "at": at}

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        if call.operation == "move-pods":
            return self._moved(result)
        waits = self._waits(call, result)
        if waits:
            return Progress(done=False, note=waits)
        when = {"disaster": float(result["at"])} if call.phase == "disaster" else {}
        told = {name: value for name, value in result.items() if name != "undone"}
        return Progress(done=True, result=told, milestones=when)

    def _waits(self, call: Call, result: Mapping[str, Any]) -> str:
        """What is waited for, or ""."""
        match call.operation:
            case "drain":
                return self._drained(str(result["node"]))
            case "take-out":
                return self._back(str(result["node"]), int(result["gpus"]))
            case "await-pool":
                return self._replaced(int(result["nodes"]), int(result["gpus"]))
            case "delete-namespace":
                return self._gone(str(result["namespace"]), str(result["uid"]))
            case _:
                return ""

    # -- nodes

    def _node(self, name: str) -> NodeSeen | None:
        found = self._cluster.get(f"{NODES}/{name}")
        return None if found is None else seen_node(found)

    def _back(self, name: str, gpus: int) -> str:
        seen = self._node(name)
        if seen is None or not seen.ready:
            return f"node {name} is {'not there' if seen is None else 'not ready'}"
        return f"node {name} counts {seen.gpus} of {gpus} GPUs" if seen.gpus < gpus else ""

    def _replaced(self, wanted: int, gpus: int) -> str:
        nodes = [seen_node(one) for one in self._cluster.items(NODES)]
        ready, usable = sum(one.ready for one in nodes), sum(one.usable for one in nodes)
        if ready >= wanted and usable >= gpus:
            return ""
        return f"{ready} of {wanted} nodes are ready, with {usable} of {gpus} GPUs"

    def _act(self, activity: str, arguments: Mapping[str, Any]) -> None:
        gentle.act(self._config, activity, arguments, ACTIVITY_SECONDS)

    def _on(self, name: str) -> tuple[list[str], list[str]]:
        return on_node(self._cluster.items(f"/api/v1/pods?fieldSelector=spec.nodeName%3D{name}"))

    def _check_drain(self, name: str) -> None:
        """Raises RefusedError where a pod is there that nothing would make anew."""
        _, alone = self._on(name)
        if alone:
            raise RefusedError(
                f"Node {name} has pods that nothing makes anew: {', '.join(alone)}.",
                "Nothing was changed. Move them by hand, or drain another node.",
            )

    def _drained(self, name: str) -> str:
        """A disruption budget refuses an eviction for a while: it is asked for again, until the call's deadline. Raises
        ProviderError where the activity itself is defective."""
        left, _ = self._on(name)
        if not left:
            return ""
        said = ""
        try:
            arguments = {"name": name, "delete_pods_with_local_storage": True, "timeout": AT_ONCE}
            self._act("drain_nodes", arguments)
        except ProviderError as error:  # that it did not wait, too
            if gentle.DEFECT in str(error):
                raise
            said = f" ({error})" if "did not completed" not in str(error) else ""
        return f"{len(left)} pods are still on {name}{said}"

    # -- namespaces

    def _delete(self, name: str, uid: str) -> None:
        """Raises RefusedError for another namespace of that name."""
        found = self._cluster.get(f"{NAMESPACES}/{name}")
        if found is None or found["metadata"].get("deletionTimestamp"):
            return
        if found["metadata"].get("uid") != uid:
            raise RefusedError(f"The namespace {name} is another one by now.", "It was left alone. Plan anew.")
        self._cluster.delete(f"{NAMESPACES}/{name}", {"preconditions": {"uid": uid}})

    def _gone(self, name: str, uid: str) -> str:
        found = self._cluster.get(f"{NAMESPACES}/{name}")
        if found is None or found["metadata"].get("uid") != uid:
            return ""
        told = [one.get("message", "") for one in status(found).get("conditions") or () if one.get("type") in GONE]
        return f"namespace {name} is {status(found).get('phase', 'there')}: {' '.join(filter(None, told))}".rstrip(": ")

    # -- a remedy

    def _moved(self, result: Mapping[str, Any]) -> Progress:
        """Once the node counts less GPUs than it has, delete the workload's pods there: others are made elsewhere."""
        name, within = str(result["node"]), str(result["namespace"])
        there = look(self._cluster, f"{within}/{result['workload']}")
        seen = there.nodes.get(name)
        if seen is not None and seen.ready and seen.gpus >= seen.capacity:
            return Progress(done=False, note=f"node {name} still counts all of its {seen.capacity} GPUs")
        detected = self._now()
        hit = [pod for pod in there.pods if pod.node == name and pod.gpus and not pod.ending]
        for pod in hit:
            self._cluster.delete(f"{NAMESPACES}/{within}/pods/{pod.name}", {"preconditions": {"uid": pod.uid}})
        when = {"detected": detected, "remedied": self._now()}
        return Progress(done=True, result={**result, "deleted": [pod.name for pod in hit]}, milestones=when)

    def _now(self) -> float:
        return self._context.clock.now().at
