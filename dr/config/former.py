"""dr.yaml in its former form, put into the present one: a target has sections now. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RDS = ("account", "region", "instance", "replicas", "endpoint", "credentials", "restored", "fallback")
CLIENTS = ("pooler", "secret")


def is_former(written: object) -> bool:
    """Whether a target is written in the former form."""
    if not isinstance(written, Mapping) or {"rds", "postgres", "clients"} & written.keys():
        return False  # what stands beside sections is refused as any unknown field
    return any(key in written for key in (*RDS, *CLIENTS, "database")) or isinstance(written.get("faults"), list)


def place(key: str) -> str:
    """The section into which a field of the former form belongs; "" where it is none."""
    sections = {**dict.fromkeys(RDS, "rds"), **dict.fromkeys(CLIENTS, "clients"), "database": "postgres"}
    return sections.get(key, "")


def settings(written: Any) -> Any:
    """The whole of dr.yaml in the present form."""
    if not isinstance(written, Mapping) or not isinstance(written.get("targets"), Mapping):
        return written
    return {**written, "targets": {name: target(one) for name, one in written["targets"].items()}}


def target(written: Any) -> Any:
    """One target in the present form; whatever it holds beyond the former one is left where it stands."""
    if not is_former(written):
        return written
    left = dict(written)
    rds = {key: left.pop(key) for key in RDS if key in left}
    clients = {key: value for key in CLIENTS if (value := left.pop(key, None)) is not None}
    sections = {"rds": rds, "postgres": left.pop("database", None), "clients": clients}
    if isinstance(left.get("faults"), list):
        command = left.pop("faults")
        sections["faults"] = {"command": command} if command else None
    return {**left, **{name: section for name, section in sections.items() if section}}
