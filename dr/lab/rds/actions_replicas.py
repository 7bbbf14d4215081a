"""The actions on read replicas.

Source: the RDS User Guide, "Working with DB instance read replicas" and "Working with read replicas for Amazon RDS for
PostgreSQL".
"""

from __future__ import annotations

from dr.lab.rds import building, names
from dr.lab.rds.actions_instances import admit, enter, find, need, shown
from dr.lab.rds.errors import AwsError, combination
from dr.lab.rds.records import Instance, State
from dr.lab.rds.service import Answer, Asked, Lab

LIMIT = 15
"""Replicas of one source."""
CASCADING = 14
"""The first PostgreSQL of whose replicas there may be replicas."""
LEVELS = 3
"""Replicas below one another."""


def create(lab: Lab, asked: Asked) -> Answer:
    if not asked.get("SourceDBInstanceIdentifier"):
        raise combination("Either SourceDBInstanceIdentifier or SourceDBClusterIdentifier must be specified.")
    with lab.store.changing() as state:
        name = admit(state, asked["DBInstanceIdentifier"], "DBInstanceIdentifier")
        source = find(state, asked["SourceDBInstanceIdentifier"])
        _check_source(state, source)
        attributes = building.replica(asked, source.attributes, state)
        tags = names.tags(asked.get("Tags"))
        one = enter(state, name, attributes, tags, asked.get("Port"), source=source.resource_id)
        answer = {"DBInstance": shown(lab, state, one)}
    lab.work.begin(lambda: lab.work.replicas.create(one))
    return answer


def _check_source(state: State, source: Instance) -> None:
    need(source, "available")
    if not source.attributes["BackupRetentionPeriod"]:
        raise AwsError(
            "InvalidDBInstanceState",
            "Automated backups are not enabled for this database instance. To enable automated backups, use "
            "ModifyDBInstance to set the backup retention period to a non-zero value.",
        )
    major = int(source.attributes["EngineVersion"].split(".")[0])
    if source.source and (major < CASCADING or _level(state, source) >= LEVELS):
        raise AwsError(
            "InvalidDBInstanceState", f"A read replica cannot be created of the read replica {source.identifier}."
        )
    if sum(one.source == source.resource_id for one in state.instances.values()) >= LIMIT:
        raise AwsError("InstanceQuotaExceeded", f"{source.identifier} has {LIMIT} read replicas: no more are allowed.")


def _level(state: State, one: Instance) -> int:
    """How many sources are above ``one``."""
    by_key = {other.resource_id: other for other in state.instances.values()}
    level, above = 0, one
    while above.source in by_key:
        level, above = level + 1, by_key[above.source]
    return level


def promote(lab: Lab, asked: Asked) -> Answer:
    retention = asked.get("BackupRetentionPeriod", 1)
    names.between(retention, "BackupRetentionPeriod", 0, 35)
    with lab.store.changing() as state:
        one = find(state, asked["DBInstanceIdentifier"])
        if not one.source:
            raise AwsError("InvalidDBInstanceState", f"DB Instance {one.identifier} is not a read replica.")
        need(one, "available")
        window = asked.get("PreferredBackupWindow", one.attributes["PreferredBackupWindow"])
        one.status = "modifying"
        one.pending["BackupRetentionPeriod"] = retention
        answer = {"DBInstance": shown(lab, state, one)}
    lab.work.begin(lambda: lab.work.replicas.promote(one, retention, window))
    return answer
