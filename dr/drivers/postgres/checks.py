"""Every login on the source, tried."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from dr.config.model import Target
from dr.config.needs import Check
from dr.domain.model import Resource
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.examine import log_in
from dr.drivers.postgres.source import database_of, source_among
from dr.drivers.service.config import ServiceConfig


def login_checks(target: Target, resources: Iterable[Resource]) -> Iterator[Check]:
    """A source without an endpoint takes none, which its provider's own check says."""
    source, database = source_among(resources, database_of(target)), target.of(PostgresConfig)
    if source is None:
        return
    service = target.section(ServiceConfig)
    planted = [service.planted.login] if service is not None and service.planted else []
    for role in (database.harness, *database.roles, *planted):
        yield f"login of {role.user}", partial(log_in, source.server, database, role)
