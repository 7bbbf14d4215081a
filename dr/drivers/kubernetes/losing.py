"""How a node, a GPU or a namespace is lost, and how each comes back: the calls. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dr.domain.errors import RefusedError, UsageError
from dr.domain.model import Call, Effect, Verb
from dr.domain.refs import Ref
from dr.drivers.faults.plugin import COMMAND_SECONDS
from dr.drivers.kubernetes.cluster import Access
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.kubernetes.refs import DRIVER, namespace, node
from dr.drivers.kubernetes.scene import Scene, chosen, parted

NODE_LOST, NODE_DRAINED, GPU_LOST, NAMESPACE_LOST = "node-lost", "node-drained", "gpu-lost", "namespace-lost"
KINDS = frozenset({NODE_LOST, NODE_DRAINED, GPU_LOST, NAMESPACE_LOST})
BACK_SECONDS = 300.0
"""The most until a node, or a GPU, that was brought back is shown as ready."""
MACHINE_SECONDS = 1200.0
"""The same of a machine that something else puts in the place of a terminated one."""
DRAIN_SECONDS, DELETE_SECONDS = 600.0, 600.0
NOTICE_SECONDS = 300.0
"""The most until the cluster shows what a remedy is for."""
_LOOKS = (("list", "nodes", ""), ("list", "namespaces", ""))
_BY_KIND = {
    NODE_DRAINED: (("patch", "nodes", ""), ("list", "pods", ""), ("create", "pods/eviction", "")),
    NAMESPACE_LOST: (("delete", "namespaces", ""),),
}


def access(kind: str) -> list[Access]:
    """What the credentials need for a loss of that kind, in all namespaces."""
    return [Access(verb, resource, group=group) for verb, resource, group in (*_LOOKS, *_BY_KIND.get(kind, ()))]


def propose(verb: Verb, config: KubernetesConfig, there: Mapping[str, Scene], uids: Mapping[str, str]) -> Call:
    """The call that brings the loss about, with its undo; of a remedy the one that moves what it hit.

    ``there``: what was seen of each workload; ``uids``: of each namespace. Raises UsageError, RefusedError.
    """
    kind = str(verb.args["kind"])
    if kind == NAMESPACE_LOST:
        return _namespace(verb, uids)
    of = str(verb.args.get("of") or "")
    asked, scene = str(verb.args.get("node") or ""), there.get(of)
    if scene is None:
        raise UsageError(f"A {verb.name} of kind {kind} needs of: the workload that it hits, as NAMESPACE/NAME.")
    if verb.name == "remedy":
        return _moved(verb, of, chosen(of, scene, asked))
    hit = chosen(of, scene, asked)
    seen = scene.nodes[hit]
    if kind == NODE_DRAINED:
        return _drained(verb, hit, seen.cordoned)
    if kind == GPU_LOST and not seen.gpus:
        raise RefusedError(f"Node {hit} has no GPU that could be lost.", "Name a node of the GPU pool.")
    if kind == NODE_LOST and config.machines == "ec2":
        return _terminated(verb, hit, seen.machine, scene)
    fault, state = ("lose_node", "lost") if kind == NODE_LOST else ("break_gpu", "broken")
    number = {"number": int(verb.args.get("number") or 0)} if kind == GPU_LOST else {}
    return _by_command(verb, kind, fault, {"node": hit, **number}, state, seen.gpus)


def _loss(verb: Verb, kind: str, operation: str, args: Mapping[str, Any], hit: Ref) -> Call:
    return Call(
        *(kind, verb.name, "disaster", DRIVER, operation, args),
        effect=Effect.FAULT,
        touches=(hit,),
        until="the fault is in",
        deadline=COMMAND_SECONDS,
    )


def _undone(loss: Call, operation: str, args: Mapping[str, Any], deadline: float) -> Call:
    return loss.undone_by(f"undo-{loss.id}", operation, args, until="the cluster is as it was", deadline=deadline)


def _by_command(verb: Verb, kind: str, fault: str, what: Mapping[str, Any], state: str, gpus: int) -> Call:
    """By the target's own command for faults."""
    hit = node(str(what["node"]))
    back = {"fault": fault, "arguments": {**what, state: False}, "node": hit.name, "gpus": gpus}
    loss = _loss(verb, kind, "put-in", {"fault": fault, "arguments": {**what, state: True}}, hit)
    return _undone(loss, "take-out", back, COMMAND_SECONDS + BACK_SECONDS)


def _terminated(verb: Verb, hit: str, machine: str, scene: Scene) -> Call:
    """By terminating its EC2 instance; what keeps the pool's size brings another one."""
    scheme, _, instance = machine.rpartition("/")
    if not scheme.startswith("aws:") or not instance.startswith("i-"):
        raise RefusedError(
            f"Node {hit} does not say which EC2 instance it is (providerID {machine or 'empty'}).",
            "Take kubernetes.machines out, or name a node of EC2.",
        )
    ready = sum(one.ready for one in scene.nodes.values())
    loss = _loss(verb, NODE_LOST, "terminate", {"instance": instance}, node(hit))
    return _undone(loss, "await-pool", {"nodes": ready, "gpus": scene.usable}, MACHINE_SECONDS)


def _drained(verb: Verb, hit: str, cordoned: bool) -> Call:
    """Gently: nothing new is put there, and each pod is evicted as its disruption budget allows. ``cordoned``: it was
    before, and stays so."""
    args = {"node": hit, "cordoned": cordoned}
    drained = _undone(_loss(verb, NODE_DRAINED, "drain", args, node(hit)), "uncordon", args, COMMAND_SECONDS)
    return replace(drained, until="no pod is left there but those of DaemonSets", deadline=DRAIN_SECONDS)


def _namespace(verb: Verb, uids: Mapping[str, str]) -> Call:
    """It has no undo here: who restores it brings it back."""
    name = str(verb.args.get("namespace") or "")
    if name not in uids:
        raise RefusedError(f"There is no namespace {name!r} to lose.", f"There are {', '.join(sorted(uids))}.")
    args = {"namespace": name, "uid": uids[name]}
    lost = _loss(verb, NAMESPACE_LOST, "delete-namespace", args, namespace(name))
    return replace(lost, until="the namespace is gone", deadline=DELETE_SECONDS)


def _moved(verb: Verb, of: str, hit: str) -> Call:
    """What a person does about a GPU that is lost on a node that is ready: delete the pods that have it, once the
    cluster shows that it counts less of them."""
    within, name = parted(of)
    if verb.args["kind"] != GPU_LOST:
        raise UsageError(f"There is no remedy of a {verb.args['kind']}.", f"There is one of {GPU_LOST}.")
    return Call(
        *(f"remedy-{GPU_LOST}", verb.name, "remedy", DRIVER, "move-pods"),
        {"node": hit, "namespace": within, "workload": name},
        effect=Effect.CHANGES,
        touches=(node(hit), namespace(within)),
        until="the pods that had the GPU are replaced",
        deadline=NOTICE_SECONDS,
    )
