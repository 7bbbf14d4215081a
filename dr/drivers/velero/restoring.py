"""The verb ``restore``: a backup's namespaces come back, and how far that is. Planning is pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dr.domain.errors import FailedError, RefusedError
from dr.domain.model import (
    Call,
    Component,
    Effect,
    Facts,
    Observation,
    Progress,
    Purpose,
    RecoveryPoint,
    RunIdentity,
    Verb,
)
from dr.domain.refs import Ref
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.velero.look import OWN, chosen
from dr.drivers.velero.naming import DRIVER, SAFEGUARD, backup_of, kubectl, namespace, restore_of, restored, tags_of
from dr.drivers.velero.phases import ENDED, FAILED, at, phase, progress, why

ABSENT, RESTORE, FORGET = "await-absence", "restore", "forget-restore"
CLEAR_SECONDS, RESTORE_SECONDS, FORGET_SECONDS = 600.0, 14_400.0, 60.0
"""Volumes may take hours: four, as Velero gives them itself."""
CLUSTERS = ("kube-system", "kube-public", "kube-node-lease", "default")
"""Namespaces that each cluster has, and nobody may delete."""
LEFT_OUT = (
    *("nodes", "events", "events.events.k8s.io", "csinodes.storage.k8s.io", "volumeattachments.storage.k8s.io"),
    *("backups.velero.io", "restores.velero.io", "backuprepositories.velero.io"),  # these Velero leaves out itself
    "leases.coordination.k8s.io",
    *(
        f"{kind}.velero.io"
        for kind in ("schedules", "backupstoragelocations", "volumesnapshotlocations", "serverstatusrequests")
    ),
    *(f"{kind}.velero.io" for kind in ("downloadrequests", "deletebackuprequests", "podvolumebackups", "datauploads")),
)
"""What no restore brings: Velero's own objects, and the Leases of nodes that are lost."""


def propose(verb: Verb, facts: Facts, run: RunIdentity, config: KubernetesConfig) -> tuple[Call, ...]:
    """Raises RefusedError where the facts show that it cannot work."""
    point = chosen_for(verb, facts, run)
    names = tuple(verb.args.get("namespaces") or config.namespaces)
    if not names:
        raise RefusedError("No namespace is named that is to be restored.", "Say --namespace NAME.")
    check_own(names, config)
    touched, made = tuple(map(namespace, names)), restore_of(run.id)
    begun = facts.find(made) is not None  # by another machine, which has made the namespaces, too
    check(names, facts.extra[DRIVER], point, filled=begun or run.purpose is Purpose.DRILL)
    clear = Call(
        *("clear", verb.name, "clear", DRIVER, ABSENT),
        {"namespaces": list(names), "restore": made.name},
        effect=Effect.TAKES_OVER,
        touches=touched,
        until="the namespaces being gone",
        deadline=CLEAR_SECONDS,
    )
    of = {"namespaces": list(names), "places": list(names), "database": "", "left_out": list(LEFT_OUT)}
    return clear, call(verb, run, point, of, touched, made)


def chosen_for(verb: Verb, facts: Facts, run: RunIdentity) -> RecoveryPoint:
    """The backup that the verb restores from. The run's own is known by its name alone before it is taken: what it
    covers, its effect tells. Raises RefusedError where there is none."""
    asked = str(verb.args["to"]["backup"])
    if asked != OWN:
        return chosen(asked, facts.points)
    seconds = f"${{{SAFEGUARD}.seconds}}"
    return RecoveryPoint(OWN, backup_of(run.id).name, "", "", covers=None, attributes={"seconds": seconds})


def call(
    verb: Verb, run: RunIdentity, point: RecoveryPoint, of: Mapping[str, Any], touched: tuple[Ref, ...], made: Ref
) -> Call:
    """The restore itself. ``of``: which ``namespaces`` of the backup come to which ``places``, what is ``left_out``,
    and the ``database`` that a copy is led to."""
    forgotten = {"identifier": made.name, "run": run.id, "copies": of["places"] != of["namespaces"]}
    return Call(
        *("restore-namespaces", verb.name, "restore", DRIVER, RESTORE),
        {
            **of,
            "identifier": made.name,
            "backup": point.identifier,
            "recovery_point": point.covers if point.kind != OWN else f"${{{SAFEGUARD}.covers}}",
            "resolution": point.attributes["seconds"],
            "tags": tags_of(run, point.covers),
        },
        effect=Effect.MAKES,
        touches=touched,
        makes=(made,),
        until="a phase that ends it",
        deadline=RESTORE_SECONDS,
        restoration=True,
        covers=point.covers,
        promises=("available",),  # of what it failed to make, nothing can become that
    ).undone_by("forget-restore", FORGET, forgotten, deadline=FORGET_SECONDS)


def check_own(names: Iterable[str], config: KubernetesConfig) -> None:
    """Raises RefusedError for a namespace that no run of the target may touch."""
    for name in names:
        if name in CLUSTERS:
            raise RefusedError(
                f"The namespace {name} is the cluster's own: no restore takes its place.", "Name another one."
            )
        if name not in config.namespaces:
            raise RefusedError(
                f"The target does not name the namespace {name}.",
                "Where it is the target's own, add it to kubernetes.namespaces in dr.yaml.",
            )


def check(names: Iterable[str], seen: Mapping[str, Any], point: RecoveryPoint, *, filled: bool) -> None:
    """Raises RefusedError for what keeps a restore from bringing the namespaces back whole. ``filled``: they may be
    there now."""
    if seen["refused"]:
        raise RefusedError(seen["refused"])
    held = seen["holds"]["namespaces"]
    for name in names:
        state = seen["namespaces"].get(name) or {"there": False, "terminating": ""}
        if point.kind != OWN and not held.get(name):
            known = ", ".join(sorted(one for one, count in held.items() if count)) or "none"
            raise RefusedError(
                f"The backup {point.identifier} holds nothing of namespace {name}; Velero would call that Completed.",
                f"Its namespaces are: {known}.",
            )
        if state["terminating"]:
            raise RefusedError(
                f"The namespace {name} is still being deleted: {state['terminating'].rstrip('.')}.",
                "Velero strips no finalizers: remove what holds it, then repeat the command.",
            )
        if state["there"] and not filled:
            raise RefusedError(
                f"The namespace {name} exists, and a restore changes nothing of what is there.",
                "Delete it first, if it is the one that is lost.",
            )


def flags(args: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, str]:
    """For Velero's command line. Objects that exist are left alone, and show as warnings."""
    return {
        "include-namespaces": ",".join(args["namespaces"]),
        "exclude-resources": ",".join(args["left_out"]),
        "existing-resource-policy": "none",
        "labels": ",".join(f"{key}={value}" for key, value in labels.items()),
    }


def polled(found: Mapping[str, Any], args: Mapping[str, Any], now: float, config: KubernetesConfig) -> Progress:
    """How far a restore is. Raises FailedError where it leads nowhere."""
    name = str(args["identifier"])
    state = phase(found)
    if state in FAILED:
        raise FailedError(f"The restore {name} is {state}: {why(found) or 'Velero tells no reason'}.", code=state)
    if state not in ENDED:
        return Progress(done=False, note=progress(found))
    status = found.get("status") or {}
    point = {
        "kind": "backup",
        "identifier": args["backup"],
        "covers": args["recovery_point"],
        "resolution": args["resolution"],
    }
    result = {
        **{key: args[key] for key in ("identifier", "backup", "namespaces", "places", "database", "left_out")},
        "phase": state,
        "errors": int(status.get("errors") or 0),
        "warnings": int(status.get("warnings") or 0),
        "began": at(found, "startTimestamp"),
        "ended": at(found, "completionTimestamp"),
    }
    parts = tuple(_component(one, args, config) for one in args["places"])
    return Progress(
        True, result, observations=(Observation("recovery-point", "restored", point, now),), components=parts
    )


def _component(name: str, args: Mapping[str, Any], config: KubernetesConfig) -> Component:
    return Component(
        "namespace",
        restored(name, str(args["identifier"])),
        connect=kubectl(config, "--namespace", name, "get", "all"),
        origin=f"backup {args['backup']}",
    )
