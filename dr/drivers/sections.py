"""What the drivers of a database on RDS, and of what stands around it, read of a target: each other's sections."""

from __future__ import annotations

from typing import Protocol, cast

from dr.config.model import Target
from dr.domain.model import Grant
from dr.drivers.clients.config import ClientsConfig, PoolerConfig, SecretConfig
from dr.drivers.faults.plugin import FaultsConfig
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.prometheus.plugin import PrometheusConfig
from dr.drivers.rds.config import RdsConfig
from dr.drivers.service.config import ServiceConfig


class Sections(Protocol):
    """A target whose sections ``rds`` and ``postgres`` are there: a plugin says so by ``reads``."""

    grants: tuple[Grant, ...]
    rds: RdsConfig
    postgres: PostgresConfig
    service: ServiceConfig | None
    prometheus: PrometheusConfig | None
    clients: ClientsConfig | None
    faults: FaultsConfig | None


def sections(target: Target) -> Sections:
    """``target`` as these drivers see it. It has the sections that their plugins read."""
    return cast("Sections", target)


def pooler_of(target: Sections) -> PoolerConfig | None:
    """What clients reach the databases through; None where they go there directly."""
    return target.clients.pooler if target.clients is not None else None


def secret_of(target: Sections) -> SecretConfig | None:
    """What tells the service in a cluster where the database is, where anything does."""
    return target.clients.secret if target.clients is not None else None


def command_of(target: Sections) -> tuple[str, ...]:
    """What puts faults into the target; empty: nothing does."""
    return target.faults.command if target.faults is not None else ()
