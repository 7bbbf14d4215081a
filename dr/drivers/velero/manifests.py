"""Objects of a cluster, as a backup holds them and as they stand: what differs. Pure.

A field is told by its path, as in ``spec.template.spec.containers[0].image``; what it holds is told to nobody, since it
may be a secret.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from dr.domain.comparing import Compared, Cuts, definition
from dr.domain.looks import Version

Object = Mapping[str, Any]
Path = tuple[str | int, ...]
CREATION = frozenset(
    {"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink", "ownerReferences"}
    | {"deletionTimestamp", "deletionGracePeriodSeconds"}
)
"""What of an object's metadata belongs to one creation of it, by the API's own account: another one has others."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""The annotation in which kubectl keeps what was applied."""
UNKNOWN = Cuts(None, None, None)
"""Nothing in a cluster tells which transaction wrote an object: looks alone prove it."""

SAME = "by its name"
"""Objects of one name are one: whatever became of one that both looks show, it was there all the while."""


class _Nothing:
    """In the place of a value that is not there."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING = _Nothing()


def content(one: Object, added: Collection[str] = ()) -> dict[str, Any]:
    """What an object is, without what belongs to one creation of it, what its controller reports of it (its status),
    and the labels that were ``added`` by whoever restored it."""
    metadata = {key: value for key, value in one.get("metadata", {}).items() if key not in CREATION}
    labels = {key: value for key, value in (metadata.pop("labels", None) or {}).items() if key not in added}
    if labels:
        metadata["labels"] = labels
    return {**{key: value for key, value in one.items() if key != "status"}, "metadata": metadata}


def is_bare(one: Object) -> bool:
    """Whether it holds nothing but what names it."""
    held = content(one)
    return not held.keys() - {"apiVersion", "kind", "metadata"} and not held["metadata"].keys() - {"name", "namespace"}


def is_finished(resource: str, one: Object) -> bool:
    """Whether it has run to its end: such a Pod or Job Velero does not restore."""
    status = one.get("status") or {}
    if resource == "pods":
        return status.get("phase") in ("Succeeded", "Failed")
    return resource == "jobs.batch" and bool(status.get("completionTime"))


def differing(one: Any, other: Any, at: Path = ()) -> Iterator[Path]:
    """The paths of the fields in which two versions differ. An empty list, object or text is the same as nothing, as it
    is to the API."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted({*one, *other}):
            yield from differing(one.get(key, NOTHING), other.get(key, NOTHING), (*at, key))
    elif _listed(one) and _listed(other) and len(one) == len(other):
        for place, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            yield from differing(mine, theirs, (*at, place))
    elif one != other and not (_empty(one) and _empty(other)):
        yield at


def _listed(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _empty(value: Any) -> bool:
    return value is NOTHING or value is None or value in ({}, [], "")


def told(path: Path) -> str:
    """A path in words: as kubectl explain and JSONPath have it, a key with a dot in it in brackets."""
    parts = (
        f"[{part}]" if isinstance(part, int) else f"[{part!r}]" if "." in part or "/" in part else f".{part}"
        for part in path
    )
    return "".join(parts).lstrip(".")


def value_at(one: Any, path: Path) -> Any:
    """What stands at ``path``; NOTHING where nothing does."""
    for part in path:
        try:
            one = one[part]
        except (LookupError, TypeError):
            return NOTHING
    return one


def with_value(one: Any, path: Path, value: Any) -> Any:
    """``one`` with ``value`` at ``path``; NOTHING takes away what is there."""
    if not path:
        return value
    part, rest = path[0], path[1:]
    if isinstance(part, int):
        return [with_value(held, rest, value) if place == part else held for place, held in enumerate(one)]
    changed = with_value(dict(one).get(part, {}), rest, value)
    left = {key: held for key, held in one.items() if key != part}
    return left if changed is NOTHING else {**left, part: changed}


def merged(one: Any, patch: Any) -> Any:
    """``one`` with a merge patch (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return patch
    found = dict(one) if isinstance(one, Mapping) else {}
    kept = {key: merged(found.get(key), value) for key, value in patch.items() if value is not None}
    return {**{key: value for key, value in found.items() if key not in patch}, **kept}


# -- the rule of two looks


def version(one: Object, differs: Iterable[Path]) -> str:
    """Which version of an object of the backup this is, by what ``differs`` of it from that: "" is the backup's own."""
    fields = {told(path): _hash(value_at(one, path)) for path in differs}
    return _hash(fields) if fields else ""


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stands(backup: str | None, copy: str | None, lost: str | None) -> Compared:
    """One object by its ``version``: in the backup, restored, and at the last look before the loss; None where it was
    not there. What was altered between backup and loss may stand in either version; what was not, in its own."""
    before, now, after = (None if one is None else Version(one, 0, identity=SAME) for one in (backup, copy, lost))
    return definition((before, now, after), UNKNOWN)
