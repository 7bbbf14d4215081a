"""Velero as a plugin."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import msgspec

from dr.config.context import Context
from dr.config.needs import Check
from dr.config.objective import About, Objective
from dr.config.plugins import Plugin, VerbSpec, later
from dr.domain.model import Facts
from dr.drivers.kubernetes.cluster import Access
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.kubernetes.plugin import may
from dr.drivers.kubernetes.workloads import APPS
from dr.drivers.velero import judge
from dr.drivers.velero.config import VeleroConfig
from dr.judge.objectives.time_to_restore import time_to_restore


class Backup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A backup's name; "latest": the newest that is complete; "own": that which a drill takes itself before."""

    backup: str


class Restoration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``namespaces``: which of the backup's; empty: those of the target. ``into``: the namespace that one of them is
    copied to, beside production; ``database``: where that copy's workloads find theirs, HOST:PORT."""

    to: Backup
    namespaces: tuple[str, ...] = ()
    into: str = ""
    database: str = ""


class Safeguarding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``namespaces``: which are about to be lost; empty: those of the target."""

    namespaces: tuple[str, ...] = ()


class Looking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``backup``: what is looked at against; as ``Backup``."""

    backup: str = "latest"
    namespaces: tuple[str, ...] = ()


def _access(target: Any, wanted: Iterable[tuple[str, str]]) -> Iterable[Check]:
    kubernetes: KubernetesConfig | None = target.kubernetes
    velero: VeleroConfig | None = target.velero
    if kubernetes is None or velero is None:
        return ()
    return may(kubernetes, [Access(verb, kind, velero.namespace, "velero.io") for verb, kind in wanted])


def _restoring(target: Any, args: Restoration | None) -> Iterable[Check]:
    verbs = {
        "backups": ("get", "list"),
        "backupstoragelocations": ("get",),
        "restores": ("get", "list", "create", "patch"),
        "downloadrequests": ("get", "create", "delete"),
    }
    yield from _access(target, [(verb, kind) for kind, each in verbs.items() for verb in each])
    if target.kubernetes is not None and target.velero is not None:
        yield from may(target.kubernetes, [Access("get", "deployments", target.velero.namespace, "apps")])
    if args is not None and args.into and target.kubernetes is not None and target.velero is not None:
        yield from may(target.kubernetes, _copying(args.into, target.velero.namespace))


def _copying(into: str, space: str) -> Iterable[Access]:
    """What a copy beside production needs: its namespace, what it holds, and Velero's modifiers."""
    yield from (Access(verb, "namespaces") for verb in ("create", "patch", "delete"))
    yield from (Access(verb, "configmaps", space) for verb in ("get", "create", "patch", "delete"))
    yield Access("list", "customresourcedefinitions", group="apiextensions.k8s.io")
    yield from (Access("patch", kind, into) for kind in ("secrets", "configmaps"))
    yield from (Access("patch", kind, into, "apps") for kind in APPS)


def _safeguarding(target: Any, _args: object) -> Iterable[Check]:
    made = {
        "backups": ("get", "create", "delete"),
        "backupstoragelocations": ("list",),
        "deletebackuprequests": ("list", "create"),
    }
    yield from _access(target, [(verb, kind) for kind, each in made.items() for verb in each])
    if target.kubernetes is not None:
        yield from may(target.kubernetes, [Access("delete", "namespaces")])


def _checks(context: Context, facts: Facts) -> Iterable[Check]:
    from dr.drivers.velero.provider import checked

    return checked(context, facts)


PLUGIN = Plugin(
    "velero",
    later("dr.drivers.velero.provider", "VeleroProvider"),
    (
        VerbSpec(
            "restore",
            "Restore namespaces from a backup, in the place of those that are lost.",
            Restoration,
            role="namespace",
            paths=lambda *_: ("restored",),
            needs=_restoring,
        ),
        VerbSpec(
            "compare",
            "Compare what stands with what the backup holds, object by object.",
            role="namespace",
            paths=lambda *_: ("restored",),
        ),
        VerbSpec("look_before", "Record how what stands differs from a backup.", Looking),
        VerbSpec("safeguard", "Back up what a drill is about to lose.", Safeguarding, needs=_safeguarding),
    ),
    objectives=(
        Objective("objects", About.CONTENT, judge.objects, on_call="compare", role="namespace"),
        Objective("restore-phase", About.CONTENT, judge.restore_phase, on_call="compare", role="namespace"),
        Objective("workloads", About.CONTENT, judge.workloads, on_call="compare", role="namespace"),
        Objective("volumes", About.CONTENT, judge.volumes, on_call="compare", role="namespace"),
        Objective(
            *("time-to-namespace", About.TIME, partial(time_to_restore, role="namespace"), "s", (judge.LIMIT,)),
            on_call="compare",
            role="namespace",
            verified=True,
        ),
    ),
    section=VeleroConfig,
    reads=("velero", "kubernetes"),
    restores=("backup",),
    checks=_checks,
)
