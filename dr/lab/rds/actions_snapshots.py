"""The actions on DBSnapshots and automated backups."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from dr.lab.rds import names, views
from dr.lab.rds.actions_instances import find, need
from dr.lab.rds.errors import AwsError, combination, invalid, no_snapshot
from dr.lab.rds.jobs import new_snapshot
from dr.lab.rds.records import Retained, Snapshot, State, Store
from dr.lab.rds.service import Answer, Asked, Lab, page

KINDS = ("automated", "manual", "shared", "public", "awsbackup")


def find_snapshot(state: State, store: Store, name: str) -> Snapshot:
    """By name, or by ARN; another account's only by ARN. Raises AwsError."""
    arn = names.arn_name(name)
    own = arn is not None and arn[0] == store.account.id and arn[1] == "snapshot"
    key = arn[2].lower() if arn is not None and own else name if arn is not None else name.lower()
    found = state.snapshots.get(key)
    if found is None:
        raise no_snapshot(name)
    return found


def _new_name(state: State, value: str, parameter: str) -> str:
    name = names.snapshot_identifier(value, parameter)
    if name in state.snapshots:
        raise AwsError(
            "DBSnapshotAlreadyExists",
            f"Cannot create the snapshot because a snapshot with the identifier {name} already exists.",
        )
    return name


def create(lab: Lab, asked: Asked) -> Answer:
    with lab.store.changing() as state:
        name = _new_name(state, asked["DBSnapshotIdentifier"], "DBSnapshotIdentifier")
        one = find(state, asked["DBInstanceIdentifier"])
        need(one, "available", "storage-full")
        snapshot = new_snapshot(name, "manual", one, datetime.fromtimestamp(lab.now(), UTC))
        snapshot.tags |= names.tags(asked.get("Tags"))
        state.snapshots[name] = snapshot
        one.status = "backing-up"
        answer = {"DBSnapshot": views.snapshot(lab.store, snapshot)}
    lab.work.begin(lambda: lab.work.snapshot(one, snapshot))
    return answer


def describe(lab: Lab, asked: Asked) -> Answer:
    allowed = ("db-instance-id", "db-snapshot-id", "dbi-resource-id", "snapshot-type", "engine")
    chosen = names.filters(asked.get("Filters"), allowed)
    kind = asked.get("SnapshotType")
    if kind is not None and kind not in KINDS:
        raise invalid(f"Invalid snapshot type: {kind}")
    with lab.store.reading() as state:
        if asked.get("DBSnapshotIdentifier"):
            found = [find_snapshot(state, lab.store, asked["DBSnapshotIdentifier"])]
        else:
            found = [s for s in state.snapshots.values() if _listed(s, asked)]
        found = [s for s in found if _selected(s, asked, chosen)]
        found.sort(key=lambda s: (s.asked, s.identifier))
        answer = page(found, asked, "DBSnapshots")
        answer["DBSnapshots"] = [views.snapshot(lab.store, s) for s in answer["DBSnapshots"]]
    return answer


def _kind(snapshot: Snapshot) -> str:
    if snapshot.identifier.startswith("arn:"):
        return "public" if "all" in snapshot.restorable_to else "shared"
    return snapshot.kind


def _listed(snapshot: Snapshot, asked: Asked) -> bool:
    """Without a type: one's own; shared and public ones only when included."""
    kind, wanted = _kind(snapshot), asked.get("SnapshotType")
    if wanted is not None:
        return kind == str(wanted)
    included = {"shared": asked.get("IncludeShared"), "public": asked.get("IncludePublic")}
    return bool(included.get(kind, True))


def _selected(one: Snapshot, asked: Asked, chosen: Mapping[str, list[str]]) -> bool:
    source, resource = asked.get("DBInstanceIdentifier"), asked.get("DbiResourceId")
    if (source and one.source != source.lower()) or (resource and one.resource_id != resource):
        return False
    has = {
        "db-instance-id": one.source,
        "db-snapshot-id": one.identifier,
        "dbi-resource-id": one.resource_id,
        "snapshot-type": _kind(one),
        "engine": one.attributes["Engine"],
    }
    for name, values in chosen.items():
        plain = {parsed[2] if (parsed := names.arn_name(value)) else value for value in values} | set(values)
        if has[name].lower() not in {value.lower() for value in plain}:
            return False
    return True


def copy(lab: Lab, asked: Asked) -> Answer:
    with lab.store.changing() as state:
        source = find_snapshot(state, lab.store, asked["SourceDBSnapshotIdentifier"])
        name = _new_name(state, asked["TargetDBSnapshotIdentifier"], "TargetDBSnapshotIdentifier")
        if source.status != "available":
            raise AwsError("InvalidDBSnapshotState", f"DBSnapshot {source.identifier} is not in available state.")
        foreign = source.identifier.startswith("arn:")
        if foreign and source.attributes["Encrypted"] and not asked.get("KmsKeyId"):
            raise invalid("KmsKeyId must be specified to copy an encrypted snapshot that another account shares.")
        copied = msgspec.structs.replace(source)
        copied.attributes = {
            **source.attributes,
            "SourceDBSnapshotIdentifier": views.snapshot(lab.store, source)["DBSnapshotArn"],
        }
        if asked.get("KmsKeyId"):
            copied.attributes |= {"Encrypted": True, "KmsKeyId": asked["KmsKeyId"]}
        copied.identifier, copied.kind, copied.status, copied.progress = name, "manual", "creating", 0
        copied.created = copied.original = copied.database_time = None
        copied.asked, copied.restorable_to = lab.now(), []
        copied.tags = (dict(source.tags) if asked.get("CopyTags") else {}) | names.tags(asked.get("Tags"))
        state.snapshots[name] = copied
        answer = {"DBSnapshot": views.snapshot(lab.store, copied)}
    lab.work.begin(lambda: lab.work.copy(source, copied))
    return answer


def delete(lab: Lab, asked: Asked) -> Answer:
    with lab.store.changing() as state:
        snapshot = find_snapshot(state, lab.store, asked["DBSnapshotIdentifier"])
        if snapshot.kind == "automated" or snapshot.identifier.startswith("arn:"):
            raise AwsError(
                "InvalidDBSnapshotState",
                f"Snapshot {snapshot.identifier} is not a manual snapshot and cannot be deleted.",
            )
        if snapshot.status not in ("available", "failed"):
            raise AwsError("InvalidDBSnapshotState", f"DBSnapshot {snapshot.identifier} is not in available state.")
        lab.work.forget(state, snapshot)
        lab.work.say(state, "snapshot-deleted", snapshot, kind=snapshot.kind)
        answer = {"DBSnapshot": {**views.snapshot(lab.store, snapshot), "Status": "deleted"}}
    lab.work.begin(lab.work.sweep)
    return answer


def describe_attributes(lab: Lab, asked: Asked) -> Answer:
    with lab.store.reading() as state:
        return _attributes(find_snapshot(state, lab.store, asked["DBSnapshotIdentifier"]))


def modify_attribute(lab: Lab, asked: Asked) -> Answer:
    if asked["AttributeName"] != "restore":
        raise invalid(f"Invalid attribute name: {asked['AttributeName']}")
    with lab.store.changing() as state:
        snapshot = find_snapshot(state, lab.store, asked["DBSnapshotIdentifier"])
        if snapshot.kind != "manual":
            raise AwsError("InvalidDBSnapshotState", "Only manual snapshots can be shared.")
        if snapshot.attributes["Encrypted"] and "all" in (asked.get("ValuesToAdd") or ()):
            raise combination("An encrypted snapshot cannot be made public.")
        kept = (set(snapshot.restorable_to) | set(asked.get("ValuesToAdd") or ())) - set(
            asked.get("ValuesToRemove") or ()
        )
        snapshot.restorable_to = sorted(kept)
        return _attributes(snapshot)


def _attributes(snapshot: Snapshot) -> Answer:
    restore = {"AttributeName": "restore", "AttributeValues": snapshot.restorable_to}
    result = {"DBSnapshotIdentifier": snapshot.identifier, "DBSnapshotAttributes": [restore]}
    return {"DBSnapshotAttributesResult": result}


def describe_automated(lab: Lab, asked: Asked) -> Answer:
    allowed = ("status", "db-instance-id", "dbi-resource-id")
    chosen = names.filters(asked.get("Filters"), allowed)
    with lab.store.reading() as state:
        all_of_them = _automated(lab, state)
    found = [one for one in all_of_them if _automated_selected(one, asked, chosen)]
    named = asked.get("DbiResourceId") or asked.get("DBInstanceAutomatedBackupsArn")
    if named and not found:
        raise AwsError("DBInstanceAutomatedBackupNotFound", f"No automated backup was found for {named}.")
    return page(found, asked, "DBInstanceAutomatedBackups")


def _automated(lab: Lab, state: State) -> list[dict[str, Any]]:
    active = [
        Retained(one, lab.work.latest(one.resource_id))
        for one in state.instances.values()
        if one.attributes["BackupRetentionPeriod"] and one.created is not None
    ]
    return [
        *(views.automated_backup(lab.store, state, kept, gone=False) for kept in active),
        *(views.automated_backup(lab.store, state, kept, gone=True) for kept in state.retained.values()),
    ]


def _automated_selected(one: Mapping[str, Any], asked: Asked, chosen: Mapping[str, list[str]]) -> bool:
    wanted = {
        "DbiResourceId": asked.get("DbiResourceId"),
        "DBInstanceIdentifier": (asked.get("DBInstanceIdentifier") or "").lower() or None,
        "DBInstanceAutomatedBackupsArn": asked.get("DBInstanceAutomatedBackupsArn"),
    }
    if any(value is not None and one[key] != value for key, value in wanted.items()):
        return False
    keys = {"status": "Status", "db-instance-id": "DBInstanceIdentifier", "dbi-resource-id": "DbiResourceId"}
    return all(one[keys[name]] in values for name, values in chosen.items())


def delete_automated(lab: Lab, asked: Asked) -> Answer:
    with lab.store.reading() as state:
        gone = [one for one in _automated(lab, state) if _automated_selected(one, asked, {})]
        named = asked.get("DbiResourceId") or asked.get("DBInstanceAutomatedBackupsArn")
        if not named or not gone:
            raise AwsError("DBInstanceAutomatedBackupNotFound", f"No automated backup was found for {named}.")
        if gone[0]["Status"] != "retained":
            raise AwsError("InvalidDBInstanceAutomatedBackupState", "Only retained automated backups can be deleted.")
    lab.work.begin(lambda: lab.work.forget_backups(gone[0]["DbiResourceId"]))
    return {"DBInstanceAutomatedBackup": {**gone[0], "Status": "deleting"}}
