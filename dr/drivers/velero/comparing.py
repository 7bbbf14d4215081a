"""A backup's objects against those that stand in a cluster.

Where the two differ, the API server is asked, by an update that it does not keep (a dry run), what would become of what
the backup says. A field that it sets itself again is its own; so is one that a controller wrote, which is whoever
reports a status here. What is left is a difference that somebody, or the restore, has made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from dr.domain.errors import ProviderError, RefusedError
from dr.drivers.kubernetes import canary
from dr.drivers.kubernetes.cluster import Access, Cluster
from dr.drivers.velero.archive import Archive, Key
from dr.drivers.velero.manifests import (
    NOTHING,
    Object,
    Path,
    content,
    differing,
    is_bare,
    is_finished,
    told,
    value_at,
    version,
    with_value,
)
from dr.drivers.velero.ownership import Ownership, Whose
from dr.drivers.velero.production import ADDED
from dr.drivers.velero.scope import EVERYTHING, Scope

NONE: Mapping[str, Object] = MappingProxyType({})
JSON_PATCH = "application/json-patch+json"
SIDE_BY_SIDE = 8
"""Objects that differ and are asked about at once."""
ATTEMPTS = 4
"""Updates of one object that are tried: each refusal may name fields that cannot be set."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An object of the backup as it stands. ``version``: None where it is not there, "" where it is the backup's.
    ``differs``: the fields that are not the backup's. ``owned``: so many are not, since they are the server's or a
    controller's. ``untold``: why it could not be compared. ``doubtful``: each field that differs may be a controller's.
    """

    version: str | None
    differs: tuple[str, ...] = ()
    owned: int = 0
    untold: str = ""
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """What was compared. ``derived``: objects that their controllers make anew, and that are not compared one by one.
    ``finished``: Jobs and Pods that had run to their end, which Velero does not restore. ``bare``: so many hold nothing
    but their name, as a namespace's own ServiceAccount does. ``beyond``: what stands, is nobody's derivation and is not
    in the backup. ``missed``: those of ``beyond`` that the backup was to hold."""

    objects: Mapping[str, Seen] = field(default_factory=dict)
    derived: int = 0
    finished: int = 0
    bare: int = 0
    beyond: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Objects of the backup that were not to be restored, by their resource, but for what controllers make anew."""


def name_of(key: Key) -> str:
    """An object in words."""
    resource, space, name = key
    return f"{resource} {space}/{name}" if space else f"{resource} {name}"


def collection(resource: str, one: Object, namespace: str) -> str:
    """The API's path of the kind that ``one`` is of."""
    group, _, number = str(one.get("apiVersion", "v1")).rpartition("/")
    root = f"/apis/{group}/{number}" if group else f"/api/{number}"
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{within}/{resource.partition('.')[0]}"


def listed(
    cluster: Cluster,
    objects: Mapping[Key, Object],
    mapped: Callable[[str], str],
    namespaces: Collection[str] = (),
    kinds: Mapping[str, Object] = NONE,
) -> dict[Key, Object]:
    """What stands of each kind and namespace that ``objects`` hold anything of, by the keys of the backup. A kind that
    the cluster does not know stands nowhere. ``mapped``: where a namespace of the backup was restored to. ``kinds``:
    what is listed beyond those, in each of ``namespaces``."""
    places = {(resource, space): shown for resource, shown in kinds.items() for space in namespaces}
    places |= {(key[0], key[1]): one for key, one in objects.items()}
    found: dict[Key, Object] = {}
    for (resource, space), sample in places.items():
        answer = cluster.get(collection(resource, sample, mapped(space) if space else ""))
        shown = {key: sample.get(key) for key in ("apiVersion", "kind")}
        for one in (answer or {}).get("items") or ():
            found[resource, space, one["metadata"]["name"]] = {**shown, **one}  # a list's items tell neither
    return found


def access(
    held: Archive, namespaces: Collection[str], skip: Collection[str], mapped: Callable[[str], str]
) -> list[Access]:
    """What the credentials need to compare what a backup has of ``namespaces``. ``skip``, ``mapped``: as of
    ``compare``."""
    places = sorted({(resource, mapped(space)) for resource, space, _ in held.of(namespaces) if resource not in skip})
    parted = ((*resource.partition(".")[::2], space) for resource, space in places)
    return [Access(verb, kind, space, group) for kind, group, space in parted for verb in ("list", "patch")]


def compare(
    cluster: Cluster,
    held: Archive,
    namespaces: Collection[str],
    mapped: Callable[[str], str] = str,
    skip: Collection[str] = (),
    scope: Scope = EVERYTHING,
    kinds: Mapping[str, Object] = NONE,
    standing: Callable[[str, Object], Object] = lambda _, one: one,
) -> Standing:
    """What a backup has of ``namespaces`` against what stands. ``skip``: resources that were not to be restored;
    ``standing``: what is to stand of an object. Who works as a controller, all of the backup tells. ``scope``: what the
    backup was to hold. ``kinds``: the resources of which it is also looked for what the backup holds nothing of. Raises
    as ``Cluster`` where that does not answer."""
    backup = held.of(namespaces)
    finished = {key for key, one in backup.items() if is_finished(key[0], one)}
    wanted = {
        key: one for key, one in backup.items() if key[0] not in skip and key not in finished and not canary.is_one(one)
    }
    others = {resource: shown for resource, shown in kinds.items() if resource not in skip}
    there = listed(cluster, wanted, mapped, namespaces, others)
    live = {key: one for key, one in there.items() if not canary.is_one(one)}
    ownership = Ownership(held.objects, live.values())
    kept = {key: one for key, one in wanted.items() if not ownership.derived(one)}

    def compared(key: Key) -> Seen:
        return _compared(cluster, key, standing(key[0], kept[key]), live.get(key), ownership, mapped)

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        seen = dict(zip(map(name_of, kept), pool.map(compared, kept), strict=True))
    beyond = {key: one for key, one in live.items() if key not in backup and not ownership.derived(one)}
    left_out = Counter(key[0] for key, one in backup.items() if key[0] in skip and not ownership.derived(one))
    return Standing(
        seen,
        derived=len(wanted) - len(kept),
        finished=sum(key[0] not in skip and not ownership.derived(backup[key]) for key in finished),
        bare=sum(is_bare(one) for one in kept.values()),
        beyond=tuple(sorted(map(name_of, beyond))),
        missed=tuple(sorted(name_of(key) for key, one in beyond.items() if scope.should_hold(key[0], one))),
        left_out=dict(sorted(left_out.items())),
    )


def _compared(
    cluster: Cluster,
    key: Key,
    backup: Object,
    live: Object | None,
    ownership: Ownership,
    mapped: Callable[[str], str],
) -> Seen:
    if live is None:
        return Seen(None)
    wanted, there = content(backup, ADDED), content(live, ADDED)
    wanted["metadata"]["namespace"] = there["metadata"].get("namespace")
    paths = {path: ownership.whose(key, backup, live, path) for path in differing(wanted, there)}
    left, untold = [path for path, whose in paths.items() if whose is not Whose.CONTROLLERS], ""
    if not left:
        return Seen("", owned=len(paths))
    at = f"{collection(key[0], live, mapped(key[1]) if key[1] else '')}/{key[2]}"
    try:
        left = [*_taken(cluster, at, wanted, live, left)]
    except (RefusedError, ProviderError) as error:
        untold = str(error.args[0])
    doubtful = bool(left) and all(paths[path] is Whose.PERHAPS for path in left)
    return Seen(version(live, left), tuple(map(told, left)), len(paths) - len(left), untold, doubtful)


def _taken(cluster: Cluster, at: str, wanted: Object, live: Object, paths: list[Path]) -> Iterator[Path]:
    """Those of ``paths`` at which the server takes what the backup says; at the others it keeps or sets its own. What
    can never be changed is its own where it fills that in for a new object."""
    fixed: list[Path] = []
    asked = list(paths)
    for _ in range(ATTEMPTS):
        try:
            answer = cluster.patch(f"{at}?dryRun=All", [step(live, wanted, path) for path in asked], JSON_PATCH)
            break
        except RefusedError as error:
            named = [path for path in asked if _field(path) in str(error)]
            if not named:
                raise
            fixed += named
            asked = [path for path in asked if path not in named]
    else:
        raise ProviderError(f"{at} takes nothing of what the backup says.")
    yield from (path for path in asked if value_at(answer, path) != value_at(live, path))
    if fixed:
        new = _new(cluster, at, live, fixed)
        yield from (path for path in fixed if value_at(new, path[:2]) is NOTHING)


def _field(path: Path) -> str:
    """As a refusal names it: the first two steps, as in spec.selector."""
    return told(path[:2])


def step(live: Object, wanted: Object, path: Path) -> dict[str, Any]:
    """The step of a JSON patch (RFC 6902) that sets what the backup says. A list whose length changes is one path."""
    pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)
    value = value_at(wanted, path)
    if value is not NOTHING:
        return {"op": "add" if value_at(live, path) is NOTHING else "replace", "path": pointer, "value": value}
    return {"op": "remove", "path": pointer}


def _new(cluster: Cluster, at: str, live: Object, without: list[Path]) -> Any:
    """What the server would make of a new object like this one, of which these fields are not said."""
    where, _, name = at.rpartition("/")
    fresh: Any = with_value(content(live), ("metadata", "name"), f"{name[:40]}-dr-look")
    for path in without:
        fresh = with_value(fresh, path[:2], NOTHING)
    return cluster.create(f"{where}?dryRun=All", fresh)


def packed(standing: Standing) -> dict[str, Any]:
    """For an observation: names, digests and paths, and no value of any field."""
    whole = sum(1 for one in standing.objects.values() if one.version == "" and not one.untold)
    others = {
        name: {
            "version": one.version,
            "differs": list(one.differs),
            "untold": one.untold,
            "doubtful": one.doubtful,
        }
        for name, one in standing.objects.items()
        if one.version != "" or one.untold
    }
    return {
        "objects": len(standing.objects),
        "whole": whole,
        "others": others,
        "derived": standing.derived,
        "finished": standing.finished,
        "bare": standing.bare,
        "owned": sum(one.owned for one in standing.objects.values()),
        "beyond": list(standing.beyond),
        "missed": list(standing.missed),
        "left_out": dict(standing.left_out),
    }
