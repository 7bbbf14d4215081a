"""RDS as a plugin."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

import msgspec

from dr.config.context import Context
from dr.config.model import Target
from dr.config.needs import Check, login
from dr.config.plugins import Plugin, VerbSpec, later
from dr.domain.model import Facts, Purpose, Resource
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.plugin import harness
from dr.drivers.rds.config import RdsConfig
from dr.drivers.rds.profile import last_seen


class Restoration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``to``: the recovery point, {snapshot: ID}, {snapshot: latest}, {time: EPOCH} or {time: latest}, in a drill also
    {time: before-disaster}. ``set``: what the copy gets instead of the source's, by RDS's parameters."""

    to: dict[str, Any]
    as_name: str = ""
    reset_master: bool = False
    set: dict[str, Any] = {}


class Failover(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``kind``: whether it is asked for, or awaited."""

    kind: Literal["forced", "automatic"] | None = None


class Promotion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``replica``: which; empty: the one that has received most. ``copy``: that of a copy made for it."""

    replica: str = ""
    copy: bool = False


class Rebuilding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``copy``: a copy was promoted, which gets no replicas."""

    copy: bool = False


def _promoted(args: Mapping[str, Any], purpose: Purpose) -> Collection[str]:
    """A copy, or the source that a promotion on call replaces."""
    return ("restored",) if args.get("copy") else ("source",) if purpose is Purpose.RESTORE else ()


def _master(target: Target, args: Restoration | None) -> Iterable[Check]:
    master = target.of(PostgresConfig).master
    if master is not None and (args is None or args.reset_master):
        yield login(master)


def _checks(context: Context, facts: Facts) -> Iterable[Check]:
    from dr.drivers.rds.checks import instance_checks

    return instance_checks(context.target.of(RdsConfig), facts.resources)


def _shows(context: Context) -> tuple[Resource, ...]:
    from dr.drivers.rds.client import RdsClient
    from dr.drivers.rds.look import instances

    return instances(RdsClient(context.target, context.clock), context.target.of(RdsConfig))


def _last_seen(context: Context) -> Resource | None:
    described = last_seen(context)
    if described is None:
        return None
    from dr.drivers.rds.look import resource

    return resource({"DBInstanceIdentifier": context.target.of(RdsConfig).instance, **described})


PLUGIN = Plugin(
    "rds",
    later("dr.drivers.rds.provider", "RdsProvider"),
    (
        VerbSpec(
            "restore",
            "Restore a copy from a recovery point.",
            Restoration,
            paths=lambda *_: ("restored",),
            needs=_master,
        ),
        VerbSpec("configure", "Set what no restore call takes.", Restoration),
        VerbSpec("failover", "Force a failover to the standby, and wait for its end.", Failover, strikes=True),
        VerbSpec("await_failover", "Wait for RDS's own failover, after a fault.", Failover, strikes=True),
        VerbSpec("lag", "Record how far each read replica is behind.", needs=harness),
        VerbSpec("promote", "Promote a read replica.", Promotion, paths=_promoted, needs=harness),
        VerbSpec("rebuild", "Await the first backup of what was promoted, and make new replicas of it.", Rebuilding),
    ),
    section=RdsConfig,
    reads=("rds", "postgres"),
    restores=("snapshot", "time"),
    checks=_checks,
    parts=("boto3",),
    shows=_shows,
    last_seen=_last_seen,
    keeps=("rds.extensions", "rds.superuser_variables"),
    sized_by="DBInstanceClass",
)
