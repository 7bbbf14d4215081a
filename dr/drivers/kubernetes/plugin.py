"""A Kubernetes cluster as a plugin."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import msgspec

from dr.config.context import Context
from dr.config.model import Seconds
from dr.config.needs import Check
from dr.config.plugins import Plugin, VerbSpec, later
from dr.domain.model import Facts
from dr.drivers.kubernetes import standing
from dr.drivers.kubernetes.cluster import Access, Cluster
from dr.drivers.kubernetes.config import KubernetesConfig


class Workloads(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``namespaces``: whose; empty: those of the target. ``within``: seconds."""

    namespaces: tuple[str, ...] = ()
    within: Seconds | None = None


def may(config: KubernetesConfig, wanted: Iterable[Access]) -> Iterable[Check]:
    """That the credentials may do each thing that is ``wanted``: the cluster is asked before anything begins."""
    cluster = Cluster(config)
    for one in wanted:
        yield f"kubernetes: may {one}", partial(cluster.check_access, (one,))


def _awaiting(target: Any, args: Workloads | None) -> Iterable[Check]:
    config: KubernetesConfig | None = target.kubernetes
    if config is None:
        return ()
    return may(config, standing.access((args.namespaces if args else ()) or config.namespaces))


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
    ),
    section=KubernetesConfig,
    reads=("kubernetes",),
    checks=_checks,
)
