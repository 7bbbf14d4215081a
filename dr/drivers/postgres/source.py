"""Where the source's database listens, as the provider that shows it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from dr.config.context import Context
from dr.config.model import Protected, Target
from dr.config.plugins import Plugin, plugins
from dr.domain.errors import RefusedError
from dr.domain.model import Resource
from dr.domain.refs import Endpoint

ROLE = "database"
"""Of what a target protects and this driver reads."""


class Source(NamedTuple):
    """The database that is protected. ``resource_id`` differs when it is made anew under the same name."""

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


def database_of(target: Target) -> Protected:
    """The database that ``target`` protects, which another section names. Raises RefusedError where none does."""
    return target.protects(ROLE)


def source_among(resources: Iterable[Resource], of: Protected) -> Source | None:
    """Where it listens; None where it is gone or has no endpoint yet."""
    return _at(next((one for one in resources if one.ref == of.ref), None), of)


def _at(found: Resource | None, of: Protected) -> Source | None:
    return Source(of.name, found.uid, found.endpoint) if found is not None and found.endpoint is not None else None


def require_source(resources: Iterable[Resource], of: Protected) -> Source:
    """``source_among``, or RefusedError where there is nothing to connect to."""
    found = source_among(resources, of)
    if found is None:
        raise RefusedError(f"The source {of.name} has no endpoint to connect to.", "Wait until it is available.")
    return found


def _shown_by(of: Protected) -> Plugin:
    return plugins()[of.ref.provider]


def locate(context: Context) -> Source | None:
    """Ask the provider where the target's source listens. Raises what its client raises."""
    of = database_of(context.target)
    return source_among(_shown_by(of).shows(context), of)


def status_of(context: Context, name: str) -> str:
    """The status that the provider shows of what is called ``name``, "" where it shows none. Raises as ``locate``."""
    of = database_of(context.target)
    return next((one.status for one in _shown_by(of).shows(context) if one.ref == of.named(name)), "")


def last_seen(context: Context) -> Source | None:
    """Where the source listened when the provider's driver last saw it: no request of its own. Raises EvidenceError."""
    of = database_of(context.target)
    return _at(_shown_by(of).last_seen(context), of)
