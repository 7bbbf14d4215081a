"""What a restored instance is to a person: what it was made from, how it is reached, put to use, and removed. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from dr.domain.model import Component, Resource
from dr.domain.refs import Endpoint
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.connection import psql
from dr.drivers.rds.config import RdsConfig
from dr.drivers.rds.naming import instance

UNVERIFIED = "The target names no CA file (postgres.ca), so psql does not verify the server's certificate."


def restored(done: Mapping[str, Any], source: str, replicas: Sequence[str], database: PostgresConfig) -> Component:
    """``done``: the result of the call that restored it from ``source``, which has these ``replicas``."""
    name, at = str(done["identifier"]), Endpoint(str(done["host"]), int(done["port"]))
    of = f"snapshot {done['point_id']}" if done["kind"] == "snapshot" else f"a point in time of {source}"
    status, notes = str(done["status"]), [] if database.ca else [UNVERIFIED]
    if status != "available":
        first = "its first backup; --set BackupRetentionPeriod=0 asks for none"
        work = first if status == "backing-up" else "its own work"
        notes.insert(0, f"RDS was still at it when its database answered: {status}, {work}.")
    steps = ["Stop every writer of the old database.", f"Point the service's DATABASE_URL at {at} and restart it."]
    if replicas:
        anew = f"aws rds create-db-instance-read-replica --source-db-instance-identifier {shlex.quote(name)}"
        anew += " --db-instance-identifier NAME"
        steps.append(f"Make read replicas of it in place of {', '.join(replicas)}:\n  {anew}")
    connect = psql(at, database, database.first.user)
    return Component("database", instance(name), at, connect, tuple(steps), of, " ".join(notes))


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
