"""Whose a field of a cluster's object is, by that object's own managedFields. Pure.

Somebody declares an object: whoever made or applied it, and whoever wrote it by hand. What they say is compared. A
field is a controller's where the backup's object shows that somebody else wrote it, and nobody but the same one has
written it since. Whoever reports a status owns by that alone only what was written along with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from dr.drivers.velero.archive import Key
from dr.drivers.velero.manifests import LAST_APPLIED, NOTHING, Object, Path, value_at

ROOT_CA, ROOT_CA_FIELD = "kube-root-ca.crt", ("data", "ca.crt")
"""The ConfigMap that the cluster puts into each namespace, and keeps: whoever writes its certificate is the cluster's
own controller manager, whatever that is called there."""
APPLIED = ("metadata", "annotations", LAST_APPLIED)
REPLICAS = ("spec", "replicas")
BY_HAND = "kubectl"
"""Begins the names under which a person writes, unless told otherwise."""
RESERVED = ("kubernetes.io", "k8s.io")
"""Domains of annotations that only Kubernetes itself gives a meaning."""


class Whose(Enum):
    """``PERHAPS``: the backup shows a writer who may be a controller, or a tool."""

    DECLARED = "declared"
    CONTROLLERS = "a controller's"
    PERHAPS = "perhaps a controller's"


@dataclass(frozen=True, slots=True)
class Written:
    """One entry of an object's managedFields. ``through``: the subresource by which it was written; "": none."""

    manager: str
    through: str
    applied: bool
    at: str
    fields: Mapping[str, Any]


def written(one: Object) -> list[Written]:
    """Who has written an object."""
    return [
        Written(
            str(entry.get("manager", "")),
            str(entry.get("subresource") or ""),
            entry.get("operation") == "Apply",
            str(entry.get("time") or ""),
            entry.get("fieldsV1") or {},
        )
        for entry in one.get("metadata", {}).get("managedFields") or ()
    ]


def owners(one: Object, path: Path) -> list[Written]:
    """Whoever the object says owns the field at ``path``, or what is above it or in it."""
    return [entry for entry in written(one) if entry.fields and _owns(entry.fields, path, one)]


def _owns(fields: Mapping[str, Any], path: Path, held: Any) -> bool:
    """Whether a fieldsV1 names ``path`` or something in it. Items of a list go by their keys (k:) or values (v:)."""
    if not path or not fields:  # a leaf stands for all that is in it
        return True
    part, rest = path[0], path[1:]
    inside = value_at(held, (part,))
    if isinstance(part, str):
        named = fields.get(f"f:{part}")
        return named is not None and _owns(named, rest, inside)
    return any(_owns(of, rest, inside) for key, of in fields.items() if _is_item(key, inside))


def _is_item(key: str, item: Any) -> bool:
    if key.startswith("k:") and isinstance(item, Mapping):
        return all(item.get(name) == value for name, value in json.loads(key[2:]).items())
    return key.startswith("v:") and json.loads(key[2:]) == item


class Ownership:
    """What the objects of a backup, and those that stand, tell of who works in their cluster."""

    def __init__(self, backup: Mapping[Key, Object], live: Iterable[Object] = ()) -> None:
        roots = [one for one in (*backup.values(), *live) if one["metadata"]["name"] == ROOT_CA]
        self._cluster = frozenset(entry.manager for one in roots for entry in owners(one, ROOT_CA_FIELD))
        self._bounds = dict(_bounds(backup))
        self._named = {(space, *told) for (_, space, _), one in backup.items() for told in _told(one)}

    def derived(self, one: Object) -> bool:
        """Whether an object is its controller's, which makes it anew: another one owns it, or nobody but the cluster's
        own controllers wrote it."""
        if any(owner.get("controller") for owner in one.get("metadata", {}).get("ownerReferences") or ()):
            return True
        wrote = {entry.manager for entry in written(one)}
        return bool(wrote) and wrote <= self._cluster

    def whose(self, key: Key, backup: Object, live: Object, path: Path) -> Whose:
        """Of the object ``key``, the field at ``path``, in which the two differ."""
        if path == REPLICAS and self._scales(key, live):
            return Whose.CONTROLLERS
        then, now = owners(backup, path), owners(live, path)
        if (then or now) and all(entry.through == "status" for entry in (*then, *now)):
            return Whose.CONTROLLERS
        wrote = {entry.manager for entry in then}
        if not wrote or any(map(_by_hand, wrote)) or not {entry.manager for entry in now} <= wrote:
            return Whose.DECLARED
        if wrote & self._declarers(backup):
            _, space, name = key
            led = all((space, manager, name) in self._named for manager in wrote)
            return Whose.PERHAPS if led else Whose.DECLARED
        if wrote <= self._cluster | _reporters(backup) or _is_reserved(path):
            return Whose.CONTROLLERS
        return Whose.PERHAPS

    def _declarers(self, one: Object) -> set[str]:
        """Who declared an object: whoever applied it or wrote it by hand; else whoever had written it when it was
        made; everybody where nothing tells."""
        main = [entry for entry in written(one) if not entry.through]
        applied = {entry.manager for entry in main if entry.applied or _by_hand(entry.manager)}
        applied |= {entry.manager for entry in owners(one, APPLIED)}
        made = str(one.get("metadata", {}).get("creationTimestamp") or "")
        first = {entry.manager for entry in main if entry.at and entry.at <= made} - self._cluster
        return applied or first or {entry.manager for entry in main}

    def _scales(self, key: Key, live: Object) -> bool:
        """Whether an autoscaler of the backup may have asked for as many replicas as stand."""
        low, high = self._bounds.get((key[1], str(live.get("kind")), key[2]), (1, 0))
        asked = value_at(live, REPLICAS)
        return asked is not NOTHING and low <= int(asked) <= high


def _reporters(one: Object) -> set[str]:
    return {entry.manager for entry in written(one) if entry.through == "status"}


def _by_hand(manager: str) -> bool:
    return manager.partition("-")[0] == BY_HAND


def _is_reserved(path: Path) -> bool:
    if path[:2] != ("metadata", "annotations") or len(path) < 3:
        return False
    domain = str(path[2]).partition("/")[0]
    return any(domain == one or domain.endswith(f".{one}") for one in RESERVED)


def _bounds(backup: Mapping[Key, Object]) -> Iterator[tuple[tuple[str, str, str], tuple[int, int]]]:
    """For how many replicas each autoscaler may ask, by the workload that it scales."""
    for (_, space, _), one in backup.items():
        if one.get("kind") == "HorizontalPodAutoscaler":
            spec = one.get("spec") or {}
            target, low = spec.get("scaleTargetRef") or {}, spec.get("minReplicas")
            of = (space, str(target.get("kind")), str(target.get("name")))
            yield of, (1 if low is None else int(low), int(spec.get("maxReplicas") or 0))


def _told(one: Object) -> Iterator[tuple[str, str]]:
    """Whoever reports an object's status, with each word of what that object asks for: the names of what they keep are
    among them, as a Certificate names its Secret."""
    for manager in _reporters(one):
        yield from ((manager, word) for word in _words(one.get("spec")))


def _words(held: Any) -> Iterator[str]:
    if isinstance(held, str):
        yield held
    elif isinstance(held, Mapping | list):
        for one in held.values() if isinstance(held, Mapping) else held:
            yield from _words(one)
