"""What a restored instance is to a person: what it was made from, how it is reached, put to use, and removed. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dr.domain.model import Component, Resource
from dr.domain.refs import Endpoint
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.person import component
from dr.drivers.rds.config import RdsConfig
from dr.drivers.rds.naming import instance

FIRST_BACKUP = "backing-up"


def restored(done: Mapping[str, Any], source: str, replicas: Sequence[str], database: PostgresConfig) -> Component:
    """``done``: the result of the call that restored it from ``source``, which has these ``replicas``."""
    name, at = str(done["identifier"]), Endpoint(str(done["host"]), int(done["port"]))
    of = f"snapshot {done['point_id']}" if done["kind"] == "snapshot" else f"a point in time of {source}"
    made = component(instance(name), at, database)
    notes = (_still_at_work(str(done["status"])), made.note)
    steps = (*made.cut_over, *_replicas_anew(name, replicas))
    return replace(made, origin=of, note=" ".join(filter(None, notes)), cut_over=steps)


def _still_at_work(status: str) -> str:
    """What RDS was doing with it when it was found to answer; "" where it was done."""
    if status == "available":
        return ""
    what = "its first backup; --set BackupRetentionPeriod=0 asks for none" if status == FIRST_BACKUP else "its own work"
    return f"RDS was still at it when its database answered: {status}, {what}."


def _replicas_anew(name: str, lacking: Sequence[str]) -> tuple[str, ...]:
    if not lacking:
        return ()
    made = f"aws rds create-db-instance-read-replica --source-db-instance-identifier {shlex.quote(name)}"
    return (f"Make read replicas of it in place of {', '.join(lacking)}:\n  {made} --db-instance-identifier NAME",)


def deleting(found: Resource, target: RdsConfig) -> tuple[tuple[str, str], ...]:
    """The commands by which a person deletes an instance, each with what it does."""
    at = f"aws rds {{}} --region {target.region}" + (f" --endpoint-url {target.endpoint}" if target.endpoint else "")
    named = f"{at} --db-instance-identifier {found.ref.name}"
    deletes = f"{named.format('delete-db-instance')} --skip-final-snapshot"
    if not found.attributes.get("DeletionProtection"):
        return ((deletes, "deletes it"),)
    freed = f"{named.format('modify-db-instance')} --no-deletion-protection --apply-immediately"
    return (freed, "takes its protection off"), (deletes, "deletes it")


def ending(found: Resource) -> str:
    """The command by which a person marks the run that made an instance as over."""
    arn = found.attributes["DBInstanceArn"]
    return f"aws rds add-tags-to-resource --resource-name {arn} --tags Key=dr:sealed,Value=abandoned"
