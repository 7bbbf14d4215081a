"""A Kubernetes cluster as a plugin."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Annotated, Any

import msgspec

from dr.config.context import Context
from dr.config.model import Seconds
from dr.config.needs import Check
from dr.config.plugins import Plugin, VerbSpec, later
from dr.domain.model import Facts, Purpose
from dr.drivers.kubernetes import canary, looking, losing, standing
from dr.drivers.kubernetes.cluster import Access, Cluster
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.kubernetes.judge import OBJECTIVES
from dr.drivers.kubernetes.scene import parted
from dr.drivers.measuring.paths import Path


class Workloads(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``namespaces``: whose; empty: those of the target. ``within``: seconds."""

    namespaces: tuple[str, ...] = ()
    within: Seconds | None = None


class Loss(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``of``: the workload that is hit, NAMESPACE/DEPLOYMENT; ``node``: which of its nodes, empty: the first of them.
    ``number``: which GPU of it. ``namespace``: the one that is lost."""

    kind: str
    of: str = ""
    node: str = ""
    number: Annotated[int, msgspec.Meta(ge=0)] = 0
    namespace: str = ""


class Remedied(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``kind``, ``of`` and ``node``: as of the loss."""

    kind: str
    of: str
    node: str = ""


class Redundancy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``of`` and ``node``: as of the loss. ``within``: seconds that it is watched; left out: its limit and a little.
    ``path``: the one whose predictions go through the workload."""

    of: str
    node: str = ""
    within: Seconds | None = None
    path: Path = "cluster"


class Marking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``namespace``: the one that is about to be lost."""

    namespace: str


def may(config: KubernetesConfig, wanted: Iterable[Access], what: str = "") -> Iterable[Check]:
    """That the credentials may do all that is ``wanted``: the cluster is asked before anything begins. ``what``: for
    what that is, in words; "": each is named."""
    asked = tuple(wanted)
    yield f"kubernetes: may {what or ', '.join(map(str, asked))}", partial(_check_access, config, asked)


def _check_access(config: KubernetesConfig, wanted: tuple[Access, ...]) -> None:
    Cluster(config).check_access(wanted)


def _awaiting(target: Any, args: Workloads | None) -> Iterable[Check]:
    config: KubernetesConfig | None = target.kubernetes
    if config is None:
        return ()
    asked = (args.namespaces if args is not None else ()) or config.namespaces
    return may(config, standing.access(asked), "await workloads")


def _losing(target: Any, args: Loss | None) -> Iterable[Check]:
    if target.kubernetes is None or args is None:
        return ()
    wanted = (*losing.access(args.kind), *_looking(args.of))
    return may(target.kubernetes, wanted, f"bring about {args.kind}")


def _moving(target: Any, args: Remedied | None) -> Iterable[Check]:
    if target.kubernetes is None or args is None:
        return ()
    wanted = (Access("delete", "pods", parted(args.of)[0]), *_looking(args.of))
    return may(target.kubernetes, wanted, f"move pods of {args.of}")


def _watching(target: Any, args: Redundancy | None) -> Iterable[Check]:
    if target.kubernetes is None or args is None:
        return ()
    return may(target.kubernetes, _looking(args.of), f"watch {args.of}")


def _marking(target: Any, args: Marking | None) -> Iterable[Check]:
    if target.kubernetes is None or args is None:
        return ()
    return may(target.kubernetes, canary.access(args.namespace), f"write a canary to {args.namespace}")


def _looking(of: str) -> list[Access]:
    return looking.access(parted(of)[0]) if of else []


def _watched(args: Mapping[str, Any], _purpose: Purpose) -> Collection[str]:
    return (str(args.get("path", "cluster")),)


def _checks(context: Context, _facts: Facts) -> Iterable[Check]:
    config = context.target.of(KubernetesConfig)
    yield f"kubernetes: cluster {config.cluster_uid}", Cluster(config, context.clock).confirm


PLUGIN = Plugin(
    "kubernetes",
    later("dr.drivers.kubernetes.provider", "KubernetesProvider"),
    (
        VerbSpec(
            *("await_workloads", "Wait until claims are bound, workloads available and pods ready.", Workloads),
            needs=_awaiting,
        ),
        VerbSpec(
            *("disaster", "Lose a node, a GPU or a namespace of the cluster.", Loss),
            kinds=losing.KINDS,
            needs=_losing,
            strikes=True,
        ),
        VerbSpec(
            *("remedy", "Move what a lost GPU hit, as soon as the cluster shows it.", Remedied),
            kinds=frozenset({losing.GPU_LOST}),
            needs=_moving,
        ),
        VerbSpec(
            *("mark_namespace", "Write a canary to a namespace once a second, until it is lost.", Marking),
            paths=lambda *_: ("source",),
            needs=_marking,
        ),
        VerbSpec(
            *("await_redundancy", "Watch a workload until it stands whole again, or long enough.", Redundancy),
            paths=_watched,
            needs=_watching,
        ),
    ),
    objectives=OBJECTIVES,
    section=KubernetesConfig,
    reads=("kubernetes",),
    parts=("kubernetes", "chaostoolkit-kubernetes"),
    checks=_checks,
)
