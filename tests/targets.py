"""Targets, put together from what their sections hold."""

from __future__ import annotations

from typing import Any

import msgspec

from dr.config.model import Target
from dr.config.plugins import target_type
from dr.drivers.clients.config import ClientsConfig
from dr.drivers.faults.plugin import FaultsConfig
from dr.drivers.rds.config import RdsConfig

RDS = {field.name for field in msgspec.structs.fields(RdsConfig)}
CLIENTS = {field.name for field in msgspec.structs.fields(ClientsConfig)}


def target_of(**parts: Any) -> Target:
    """A target. What is a field of section rds or clients is given by its name, ``database`` is section postgres, and
    ``faults`` the command; anything else is a field of the target's own."""
    return retargeted(target_type()(rds=RdsConfig(account="", region="", instance="")), **parts)  # type: ignore[call-arg]


def retargeted(of: Any, **parts: Any) -> Any:
    """``of`` with other parts, named as for ``target_of``."""
    rds = {name: parts.pop(name) for name in RDS & parts.keys()}
    clients = {name: parts.pop(name) for name in CLIENTS & parts.keys()}
    if "database" in parts:
        parts["postgres"] = parts.pop("database")
    if "faults" in parts:
        parts["faults"] = FaultsConfig(tuple(parts["faults"])) if parts["faults"] else None
    sections = {
        "rds": msgspec.structs.replace(of.rds, **rds),
        "clients": msgspec.structs.replace(of.clients or ClientsConfig(), **clients),
    }
    return msgspec.structs.replace(of, **{**sections, **parts})
