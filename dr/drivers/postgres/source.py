"""Where the source's database listens, as the provider of the instance says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dr.config.context import Context
from dr.domain.errors import RefusedError
from dr.domain.model import Resource
from dr.domain.refs import Endpoint
from dr.drivers.rds.naming import instance as instance_of
from dr.drivers.rds.naming import listens
from dr.drivers.sections import sections
from dr.evidence import profiles


@dataclass(frozen=True, slots=True)
class Source:
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
    for resource in resources:
        if resource.ref == instance_of(instance):
            return _at(resource.endpoint, instance, resource.attributes)
    return None


def _at(endpoint: Endpoint | None, instance: str, attributes: Mapping[str, Any]) -> Source | None:
    if endpoint is None:
        return None
    return Source(instance, str(attributes.get("DbiResourceId", "")), endpoint)


def require_source(resources: Iterable[Resource], instance: str) -> Source:
    """``source_among``, or RefusedError where there is nothing to connect to."""
    found = source_among(resources, instance)
    if found is None:
        raise RefusedError(f"The source {instance} has no endpoint to connect to.", "Wait until it is available.")
    return found


def locate(context: Context) -> Source | None:
    """Ask the provider where the target's source listens. Raises what the provider's client raises."""
    from dr.drivers.rds.client import RdsClient
    from dr.drivers.rds.look import instances

    shown = instances(RdsClient(sections(context.target), context.clock), sections(context.target))
    return source_among(shown, sections(context.target).rds.instance)


def status_of(context: Context, instance: str) -> str:
    """The status that the provider shows of ``instance``, "" where it shows none. Raises as ``locate``."""
    from dr.drivers.rds.client import RdsClient
    from dr.drivers.rds.look import instances

    shown = instances(RdsClient(sections(context.target), context.clock), sections(context.target))
    return next((one.status for one in shown if one.ref == instance_of(instance)), "")


def last_seen(context: Context) -> Source | None:
    """Where the source listened when the provider's driver last saw it: no request of its own. Raises EvidenceError."""
    target = sections(context.target)
    stored = profiles.load(context.home, context.name) or {}
    pins = {
        "account": target.rds.account,
        "region": target.rds.region,
        "instance": target.rds.instance,
    }
    if {key: stored.get(key) for key in pins} != pins:
        return None  # of another target that had this name
    described = stored.get("source") or {}
    return _at(listens(described), target.rds.instance, described)


def artifacts_of(context: Context) -> str:
    """The directory of the service's model artifacts, or ""."""
    service = sections(context.target).service
    return service.artifacts if service is not None else ""


def service_login(context: Context) -> str:
    """The role that the service logs in as, or ""."""
    service = sections(context.target).service
    return service.login if service is not None else ""
