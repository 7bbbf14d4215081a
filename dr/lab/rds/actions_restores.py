"""The two restores: from a snapshot, and to a point in time."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from dr.lab.rds import building, names, retention, views
from dr.lab.rds.actions_instances import admit, enter, find, shown
from dr.lab.rds.actions_snapshots import find_snapshot
from dr.lab.rds.errors import AwsError, combination, invalid, no_instance
from dr.lab.rds.records import Instance, Retained, Snapshot, State
from dr.lab.rds.service import Answer, Asked, Lab


def from_snapshot(lab: Lab, asked: Asked) -> Answer:
    if not asked.get("DBSnapshotIdentifier"):
        raise combination("Either DBSnapshotIdentifier or DBClusterSnapshotIdentifier must be specified.")
    with lab.store.changing() as state:
        name = admit(state, asked["DBInstanceIdentifier"], "DBInstanceIdentifier")
        snapshot = find_snapshot(state, lab.store, asked["DBSnapshotIdentifier"])
        if snapshot.status != "available":
            raise AwsError("InvalidDBSnapshotState", f"DBSnapshot {snapshot.identifier} is not in available state.")
        if snapshot.attributes["Encrypted"] and snapshot.identifier.startswith("arn:"):
            raise AwsError(
                "KMSKeyNotAccessibleFault",
                "The specified KMS key does not exist, is not enabled or you do not have permissions to access it.",
            )
        attributes = building.restored(asked, snapshot.attributes, state, lab.store.account.region)
        tags = names.tags(asked.get("Tags")) if asked.get("Tags") else dict(snapshot.tags)
        one = enter(state, name, attributes, tags, asked.get("Port"))
        answer = {"DBInstance": shown(lab, state, one)}
    servers, backup = lab.work.servers, snapshot.backup
    lab.work.begin(
        lambda: lab.work.restore(
            one, lambda: servers.restore(one.resource_id, one.port, backup), f"snapshot {snapshot.identifier}"
        )
    )
    return answer


def to_point_in_time(lab: Lab, asked: Asked) -> Answer:
    with lab.store.changing() as state:
        name = admit(state, asked["TargetDBInstanceIdentifier"], "TargetDBInstanceIdentifier")
        source, latest = _source(lab, state, asked)
        at = _moment(asked, source, state, latest)
        base = _base(state, source, at)
        attributes = building.restored(asked, source.attributes, state, lab.store.account.region)
        tags = names.tags(asked.get("Tags")) if asked.get("Tags") else dict(source.tags)
        one = enter(state, name, attributes, tags, asked.get("Port"))
        answer = {"DBInstance": shown(lab, state, one)}
    servers, key, backup = lab.work.servers, source.resource_id, base.backup
    said = f"DB instance {source.identifier} to {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    lab.work.begin(
        lambda: lab.work.restore(
            one, lambda: servers.restore_to(one.resource_id, one.port, backup, source=key, at=at), said
        )
    )
    return answer


def _source(lab: Lab, state: State, asked: Asked) -> tuple[Instance, float | None]:
    """The instance whose backups are meant, present or gone, and how far its archive goes. Raises AwsError."""
    named = [
        key
        for key in ("SourceDBInstanceIdentifier", "SourceDbiResourceId", "SourceDBInstanceAutomatedBackupsArn")
        if asked.get(key)
    ]
    if len(named) != 1:
        raise combination(
            "Exactly one of SourceDBInstanceIdentifier, SourceDbiResourceId and SourceDBInstanceAutomatedBackupsArn "
            "must be specified."
        )
    if named[0] == "SourceDBInstanceIdentifier":
        present: Instance | None = find(state, asked[named[0]])
        kept = None
    else:
        present, kept = _by_backup(state, str(asked[named[0]]), arn=named[0].endswith("Arn"))
    if present is not None:
        if views.status(present) in ("creating", "deleting"):
            raise AwsError("InvalidDBInstanceState", f"Instance {present.identifier} is {views.status(present)}.")
        return present, lab.work.latest(present.resource_id)
    if kept is not None:
        return kept.instance, kept.latest
    if named[0] == "SourceDbiResourceId":
        raise no_instance(str(asked[named[0]]))
    raise AwsError("DBInstanceAutomatedBackupNotFound", f"No automated backup was found for {asked[named[0]]}.")


def _by_backup(state: State, value: str, *, arn: bool) -> tuple[Instance | None, Retained | None]:
    def matches(one: Instance) -> bool:
        return value.endswith(f":{views.backup_name(one.resource_id)}") if arn else one.resource_id == value

    present = next((one for one in state.instances.values() if matches(one)), None)
    return present, next((kept for kept in state.retained.values() if matches(kept.instance)), None)


def _moment(asked: Asked, source: Instance, state: State, latest: float | None) -> float:
    """The whole second to restore to. Raises AwsError outside the window."""
    time, use_latest = asked.get("RestoreTime"), bool(asked.get("UseLatestRestorableTime", False))
    if time is not None and use_latest:
        raise combination("RestoreTime cannot be specified when UseLatestRestorableTime is true.")
    if time is None and not use_latest:
        raise combination("Either RestoreTime or UseLatestRestorableTime must be specified.")
    if not source.attributes["BackupRetentionPeriod"]:
        raise AwsError(
            "PointInTimeRestoreNotEnabled",
            f"Point in time restore is not enabled for {source.identifier}: its backup retention is 0.",
        )
    window = views.window(state, source.resource_id, latest)
    if window is None:
        raise AwsError(
            "InvalidDBInstanceState", f"Instance {source.identifier} has no automated backup to restore yet."
        )
    begin, end = window
    if use_latest:
        return end
    at = float(math.floor(float(asked["RestoreTime"])))
    for wrong, limit, word in ((at > end, end, "later"), (at < begin, begin, "earlier")):
        if wrong:
            stamp = datetime.fromtimestamp(limit, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            raise invalid(f"The specified instance cannot be restored to a time {word} than {stamp}.")
    return at


def _base(state: State, source: Instance, at: float) -> Snapshot:
    """The newest automated backup that ended before ``at``."""
    usable = [s for s in retention.automated(state, source.resource_id) if retention.end(s) <= at]
    if not usable:
        raise AwsError("InvalidRestoreFault", f"No automated backup of {source.identifier} ended before that time.")
    return usable[-1]
