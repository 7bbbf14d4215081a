"""What of a source's settings RDS takes for what is restored of it: storage by size, type and engine, and tags. Pure.

A source may have grown since the recovery point, and what was asked for may not go with what it has. What does not fit
is left out or cut to fit, and named: ``fitted`` tells of each such setting which value it then has (None: what RDS
takes of its own) and why. Sources: the RDS User Guide, "Amazon RDS DB instance storage", and botocore's model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr.domain.errors import UsageError

Fitted = dict[str, tuple[Any, str]]

TAG_LIMIT = 50
"""Tags that a resource bears."""
TAGS_LATER = 3
"""Those that are added once it is made: ``dr:point``, ``dr:point-id`` and ``dr:sealed``."""

_GP3_FROM = {"oracle": 200, "sqlserver": 0}
_GP3_FROM_ELSE = 400
"""GiB from which on RDS takes IOPS and throughput for gp3, by engine; below, it describes its baseline of them."""
_GP3_STRIPED = {"Iops": (12_000, "IOPS"), "StorageThroughput": (500, "MiB/s")}
"""What gp3 has, and so the least that may be asked for, from that size on."""
_IOPS_PER_GIB = {"io1": 50, "io2": 1_000}
_LEAST_PROVISIONED = 1_000
_IOPS_SET = frozenset({"gp3", *_IOPS_PER_GIB})


def fit_storage(
    wanted: Mapping[str, Any], asked: Mapping[str, Any], point: Mapping[str, Any]
) -> tuple[dict[str, Any], Fitted]:
    """``wanted`` (settings by attribute) as RDS takes them for ``point``, a snapshot's or backup's description.

    The second is what was fitted; not what RDS takes for the source's size no more than for the copy's, which both have
    of RDS's own. ``asked``: those that a person asked for, which are never changed.

    Raises UsageError where what was asked for cannot be had.
    """
    kind, size = str(wanted.get("StorageType") or "gp3"), _size(wanted, asked, point)
    least = _gp3_from(str(point.get("Engine") or wanted.get("Engine") or ""))
    chosen, fitted = dict(wanted), Fitted()
    for name in ("Iops", "StorageThroughput"):
        why = _refusal(name, kind, size, least)
        if why and asked.get(name):
            raise UsageError(f"{name} cannot be set: {why}.", "Leave it out, or ask for another StorageType or size.")
        striped, unit = _GP3_STRIPED[name]
        if not why and name not in asked and kind == "gp3" and least and _number(chosen, name) < striped:
            why = f"gp3 of {size} GiB has {striped} {unit} at the least"  # the source's are of another storage
        if why and name in chosen:
            del chosen[name]
            if not _refusal(name, kind, _number(wanted, "AllocatedStorage"), least):
                fitted[name] = (None, why)
    if kind in _IOPS_PER_GIB:
        _fit_provisioned(chosen, fitted, asked, kind, size)
    return chosen, fitted


def _number(settings: Mapping[str, Any], name: str) -> int:
    """A number among ``settings``; 0 where it is none, which its type's own check says."""
    value = settings.get(name)
    return value if isinstance(value, int) else 0


def _size(wanted: Mapping[str, Any], asked: Mapping[str, Any], point: Mapping[str, Any]) -> int:
    """GiB of what is restored. Raises UsageError where less than the recovery point's was asked for."""
    least = _number(point, "AllocatedStorage") or _number(wanted, "AllocatedStorage")
    size = _number(asked, "AllocatedStorage") or least
    if size < least:
        raise UsageError(
            f"AllocatedStorage {size} is less than the {least} GiB of the recovery point, and no restore shrinks it.",
            f"Ask for {least} or more, or leave it out.",
        )
    return size


def _gp3_from(engine: str) -> int:
    return next((gib for family, gib in _GP3_FROM.items() if engine.startswith(family)), _GP3_FROM_ELSE)


def _refusal(name: str, kind: str, size: int, least: int) -> str:
    """Why RDS takes no ``name`` for storage of this kind and size; "" where it does. ``least``: GiB, for gp3."""
    if kind not in _IOPS_SET or (name == "StorageThroughput" and kind != "gp3"):
        return f"RDS takes no {name} for {kind}"
    if kind == "gp3" and size < least:
        return f"RDS takes {name} for gp3 from {least} GiB on, and the copy has {size}"
    return ""


def _fit_provisioned(chosen: dict[str, Any], fitted: Fitted, asked: Mapping[str, Any], kind: str, size: int) -> None:
    """IOPS within what the size bears, where they come from a source of another one. Raises UsageError without any."""
    iops, most = _number(chosen, "Iops"), max(_LEAST_PROVISIONED, _IOPS_PER_GIB[kind] * size)
    if not iops:
        raise UsageError(
            f"StorageType {kind} needs Iops, and nothing says how many.", "Say --set Iops=3000, or as many."
        )
    if "Iops" in asked or not size or _LEAST_PROVISIONED <= iops <= most:
        return
    chosen["Iops"] = min(max(iops, _LEAST_PROVISIONED), most)
    fitted["Iops"] = (chosen["Iops"], f"{kind} of {size} GiB has {_LEAST_PROVISIONED} to {most} IOPS")


def fit_tags(kept: Mapping[str, str], own: Mapping[str, str]) -> tuple[dict[str, str], Fitted]:
    """``kept``, a source's tags, as far as they fit beside ``own``, the harness's; and what was fitted.

    The harness's go first, since a restoration is found again by them; room is left for those that come later.
    """
    room = TAG_LIMIT - TAGS_LATER - len(own)
    fitting = dict(sorted(kept.items())[: max(room, 0)])
    left = sorted(set(kept) - set(fitting))
    if not left:
        return fitting, {}
    because = f"a resource bears {TAG_LIMIT} tags, and dr's own go first: left out were {', '.join(left)}"
    return fitting, {"Tags": (fitting, because)}
