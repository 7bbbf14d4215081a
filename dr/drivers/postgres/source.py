"""Where the source's database listens, as the provider of the instance says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from dr.config.context import Context
from dr.domain.errors import RefusedError
from dr.domain.model import Resource
from dr.domain.refs import Endpoint
from dr.drivers.rds import naming
from dr.drivers.sections import sections


class Source(NamedTuple):
    """The instance that is protected. ``resource_id`` differs when an instance is made anew under the same name."""

    identifier: str
    resource_id: str
    server: Endpoint

    def to_args(self) -> dict[str, Any]:
        """As a planned call's arguments have it."""
        at = self.server
        return {"source": self.identifier, "resource_id": self.resource_id, "host": at.host, "port": at.port}

    @classmethod
    def from_args(cls, args: Mapping[str, Any]) -> Source:
        return cls(str(args["source"]), str(args["resource_id"]), Endpoint(str(args["host"]), int(args["port"])))


def source_among(resources: Iterable[Resource], instance: str) -> Source | None:
    """Where ``instance`` listens; None where it is gone or has no endpoint yet."""
    found = next((one for one in resources if one.ref == naming.instance(instance)), None)
    return _at(found.endpoint, instance, found.attributes) if found else None


def _at(endpoint: Endpoint | None, instance: str, attributes: Mapping[str, Any]) -> Source | None:
    return Source(instance, str(attributes.get("DbiResourceId", "")), endpoint) if endpoint else None


def require_source(resources: Iterable[Resource], instance: str) -> Source:
    """``source_among``, or RefusedError where there is nothing to connect to."""
    found = source_among(resources, instance)
    if found is None:
        raise RefusedError(f"The source {instance} has no endpoint to connect to.", "Wait until it is available.")
    return found


def _shown(context: Context) -> tuple[Resource, ...]:
    from dr.drivers.rds.client import RdsClient
    from dr.drivers.rds.look import instances

    target = sections(context.target)
    return instances(RdsClient(target, context.clock), target)


def locate(context: Context) -> Source | None:
    """Ask the provider where the target's source listens. Raises what the provider's client raises."""
    return source_among(_shown(context), sections(context.target).rds.instance)


def status_of(context: Context, instance: str) -> str:
    """The status that the provider shows of ``instance``, "" where it shows none. Raises as ``locate``."""
    return next((one.status for one in _shown(context) if one.ref == naming.instance(instance)), "")


def last_seen(context: Context) -> Source | None:
    """Where the source listened when the provider's driver last saw it: no request of its own. Raises EvidenceError."""
    described = naming.last_seen(context) or {}
    return _at(naming.listens(described), sections(context.target).rds.instance, described)
