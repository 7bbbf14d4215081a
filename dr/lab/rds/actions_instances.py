"""The actions on DBInstances: checked and recorded here, carried out by ``work``."""

from __future__ import annotations

import math
import secrets
import string
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dr.lab.rds import building, names, views
from dr.lab.rds.errors import AwsError, combination, instance_state, no_instance
from dr.lab.rds.jobs import new_snapshot
from dr.lab.rds.records import Instance, State
from dr.lab.rds.service import Answer, Asked, Lab, page
from dr.lab.servers.site import free_port

LATER = ("DBInstanceClass", "AllocatedStorage", "StorageType", "Iops", "StorageThroughput", "MultiAZ", "EngineVersion")
"""Wait for the maintenance window unless ApplyImmediately."""
AT_ONCE = (
    "DeletionProtection",
    "CopyTagsToSnapshot",
    "PubliclyAccessible",
    "AutoMinorVersionUpgrade",
    "PreferredBackupWindow",
    "PreferredMaintenanceWindow",
    "MaxAllocatedStorage",
)
"""Applied as soon as possible whatever ApplyImmediately says."""
MODIFIABLE = ("available", "storage-full", "incompatible-network", "incompatible-parameters")
BROKEN = ("failed", "incompatible-restore", "incompatible-network", "incompatible-parameters", "restore-error")


def new_resource_id() -> str:
    return "db-" + "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(26))


def find(state: State, identifier: str) -> Instance:
    """The instance called ``identifier``, or whose ARN or resource id it is. Raises AwsError."""
    arn = names.arn_name(identifier)
    name = (arn[2] if arn else identifier).lower()
    one = state.instances.get(name)
    if one is None:
        raise no_instance(name)
    return one


def need(one: Instance, *statuses: str) -> None:
    if views.status(one) not in statuses:
        raise instance_state(one.identifier, " or ".join(statuses))


def shown(lab: Lab, state: State, one: Instance) -> dict[str, Any]:
    key = one.resource_id
    return views.instance(lab.store, state, one, lab.work.latest(key), lab.work.replicas.streams(key))


def admit(state: State, identifier: str, parameter: str) -> str:
    """A name for a new instance, in RDS's own form, if it is free and the quota allows one more. Raises AwsError."""
    name = names.identifier(identifier, parameter)
    if name in state.instances:
        raise AwsError("DBInstanceAlreadyExists", "DB instance already exists")
    if len(state.instances) >= state.quota:
        raise AwsError("InstanceQuotaExceeded", "DB Instance quota exceeded")
    return name


def enter(
    state: State, name: str, attributes: dict[str, Any], tags: dict[str, str], port: int | None, source: str = ""
) -> Instance:
    taken = {one.port for one in state.instances.values()}
    # A stopped server's port looks free, and so does one whose server is still being made.
    chosen = port or next(number for number in iter(free_port, 0) if number not in taken)
    one = Instance(name, new_resource_id(), "creating", chosen, attributes, tags, source=source)
    state.instances[name] = one
    return one


def create(lab: Lab, asked: Asked) -> Answer:
    with lab.store.changing() as state:
        name = admit(state, asked["DBInstanceIdentifier"], "DBInstanceIdentifier")
        attributes = building.created(asked, state, lab.store.account.region)
        password = names.password(asked.get("MasterUserPassword"))
        one = enter(state, name, attributes, names.tags(asked.get("Tags")), asked.get("Port"))
        answer = {"DBInstance": shown(lab, state, one)}
    lab.work.begin(lambda: lab.work.create(one, password))
    return answer


def describe(lab: Lab, asked: Asked) -> Answer:
    allowed = ("db-cluster-id", "db-instance-id", "dbi-resource-id", "domain", "engine")
    chosen = names.filters(asked.get("Filters"), allowed)
    with lab.store.reading() as state:
        if asked.get("DBInstanceIdentifier"):
            found = [find(state, asked["DBInstanceIdentifier"])]
        else:
            found = [state.instances[name] for name in sorted(state.instances)]
        found = [one for one in found if _selected(one, chosen)]
        answer = page(found, asked, "DBInstances")
        answer["DBInstances"] = [shown(lab, state, one) for one in answer["DBInstances"]]
    return answer


def _selected(one: Instance, chosen: Mapping[str, list[str]]) -> bool:
    has = {
        "db-instance-id": {one.identifier},
        "dbi-resource-id": {one.resource_id},
        "engine": {one.attributes["Engine"]},
    }
    for name, values in chosen.items():
        plain = [parsed[2] if (parsed := names.arn_name(value)) else value for value in values]
        folded = {value if name == "dbi-resource-id" else value.lower() for value in plain}
        if not folded & has.get(name, set()):
            return False
    return True


def modify(lab: Lab, asked: Asked) -> Answer:
    with lab.store.changing() as state:
        one = find(state, asked["DBInstanceIdentifier"])
        need(one, *MODIFIABLE)
        password = names.password(asked["MasterUserPassword"]) if "MasterUserPassword" in asked else None
        if password is not None and one.status != "available":
            raise instance_state(one.identifier, "available")
        _check_links(asked, one, state)
        now, later = _changes(asked, one, state)
        renamed = _renaming(asked, state)
        at_once = bool(asked.get("ApplyImmediately", False))
        waiting = {k: v for k, v in one.pending.items() if k in (*LATER, "BackupRetentionPeriod")}
        waiting = {key: value for key, value in waiting.items() if key not in asked} | later
        applied = now | (waiting if at_once else {})
        # A standby takes its time: it is shown when it is there.
        multi_az = applied.pop("MultiAZ", None)
        grown = applied.get("AllocatedStorage", one.attributes["AllocatedStorage"]) > one.attributes["AllocatedStorage"]
        one.attributes |= applied
        one.pending = waiting if not at_once else {} if multi_az is None else {"MultiAZ": multi_az}
        if password is not None:
            one.pending["MasterUserPassword"] = "****"
        if renamed is not None:
            one.pending["DBInstanceIdentifier"] = renamed
        if one.status == "available" or grown:
            one.status = "modifying"
        answer = {"DBInstance": shown(lab, state, one)}
    lab.work.begin(lambda: lab.work.modify(one, password, renamed if at_once else None, multi_az=multi_az, grown=grown))
    return answer


def _check_links(asked: Asked, one: Instance, state: State) -> None:
    """What a read replica, or the source of one, may not be made. Raises AwsError."""
    if one.source and asked.get("MultiAZ"):
        raise combination("The lab has no Multi-AZ read replicas.")
    if one.source and "MasterUserPassword" in asked:
        raise combination("The master password of a read replica is its source's: modify that.")
    if asked.get("BackupRetentionPeriod") == 0 and any(o.source == one.resource_id for o in state.instances.values()):
        raise combination("Automated backups cannot be disabled for a DB instance that is the source of read replicas.")


def _renaming(asked: Asked, state: State) -> str | None:
    if "NewDBInstanceIdentifier" not in asked:
        return None
    name = names.identifier(asked["NewDBInstanceIdentifier"], "NewDBInstanceIdentifier")
    if name in state.instances:
        raise AwsError("DBInstanceAlreadyExists", "DB instance already exists")
    return name


def _changes(asked: Asked, one: Instance, state: State) -> tuple[dict[str, Any], dict[str, Any]]:
    """What changes at once, and what may wait. Raises AwsError."""
    a = one.attributes
    now: dict[str, Any] = {key: asked[key] for key in AT_ONCE if key in asked} | building.watched(asked, a)
    if "DBSubnetGroupName" in asked or "VpcSecurityGroupIds" in asked:
        group = asked.get("DBSubnetGroupName", a["DBSubnetGroupName"])
        now |= building.network(group, asked.get("VpcSecurityGroupIds") or a["VpcSecurityGroupIds"], state)
    if "DBParameterGroupName" in asked:
        now["DBParameterGroupName"] = building.parameter_group(asked["DBParameterGroupName"], state)
    if "OptionGroupName" in asked:
        now["OptionGroupName"] = building.option_group(asked["OptionGroupName"], state)
    if "EnableIAMDatabaseAuthentication" in asked:
        now["IAMDatabaseAuthenticationEnabled"] = asked["EnableIAMDatabaseAuthentication"]
    if "CloudwatchLogsExportConfiguration" in asked:
        now["EnabledCloudwatchLogsExports"] = _exports(asked["CloudwatchLogsExportConfiguration"], a)
    later: dict[str, Any] = {key: asked[key] for key in LATER if key in asked and asked[key] != a.get(key)}
    _check_later(later, a)
    retention = asked.get("BackupRetentionPeriod")
    names.between(retention, "BackupRetentionPeriod", 0, 35)
    if retention is not None and retention != a["BackupRetentionPeriod"]:
        # Between two non-zero values the change is applied at once; turning backups on or off waits.
        (now if retention and a["BackupRetentionPeriod"] else later)["BackupRetentionPeriod"] = retention
    return now, later


def _check_later(later: dict[str, Any], a: Mapping[str, Any]) -> None:
    if "DBInstanceClass" in later:
        names.instance_class(later["DBInstanceClass"])
    if "AllocatedStorage" in later and later["AllocatedStorage"] < a["AllocatedStorage"]:
        raise combination("The allocated storage of a DB instance cannot be reduced.")
    if "AllocatedStorage" in later:
        # Less than a tenth more is made a tenth more.
        later["AllocatedStorage"] = max(later["AllocatedStorage"], math.ceil(a["AllocatedStorage"] * 1.1))
    if "StorageType" in later:
        names.storage(later["StorageType"], later.get("Iops", a.get("Iops")))
    if "EngineVersion" in later:
        raise combination(f"Cannot upgrade postgres from {a['EngineVersion']} to {later['EngineVersion']}")


def _exports(wanted: Mapping[str, list[str]], a: Mapping[str, Any]) -> list[str] | None:
    present = set(a.get("EnabledCloudwatchLogsExports") or ())
    return sorted((present | set(wanted.get("EnableLogTypes", ()))) - set(wanted.get("DisableLogTypes", ()))) or None


def delete(lab: Lab, asked: Asked) -> Answer:
    skip, final_name = bool(asked.get("SkipFinalSnapshot", False)), asked.get("FinalDBSnapshotIdentifier")
    if skip and final_name:
        raise combination("You cannot specify both FinalDBSnapshotIdentifier and SkipFinalSnapshot")
    with lab.store.changing() as state:
        one = find(state, asked["DBInstanceIdentifier"])
        if one.attributes["DeletionProtection"]:
            raise combination("Cannot delete protected DB Instance, please disable deletion protection and try again.")
        if not skip and not final_name:
            raise combination("FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.")
        if one.status == "deleting":
            raise AwsError("InvalidDBInstanceState", f"Instance {one.identifier} is already being deleted.")
        if views.status(one) in BROKEN and not skip:
            raise AwsError(
                "InvalidDBInstanceState",
                f"Instance {one.identifier} is {views.status(one)}: it can only be deleted with SkipFinalSnapshot.",
            )
        final = None
        if final_name and one.source:
            raise combination("FinalDBSnapshotIdentifier cannot be specified for a read replica.")
        if final_name:
            need(one, "available", "storage-full")
            name = names.snapshot_identifier(final_name, "FinalDBSnapshotIdentifier")
            if name in state.snapshots:
                raise AwsError("DBSnapshotAlreadyExists", f"Cannot create the snapshot because {name} already exists.")
            final = new_snapshot(name, "manual", one, datetime.fromtimestamp(lab.now(), UTC))
            state.snapshots[name] = final
        one.status, one.forced = "deleting", ""
        answer = {"DBInstance": shown(lab, state, one)}
    keep = not asked.get("DeleteAutomatedBackups", True)
    lab.work.begin(lambda: lab.work.delete(one, final, keep_backups=keep))
    return answer


def stop(lab: Lab, asked: Asked) -> Answer:
    with lab.store.changing() as state:
        one = find(state, asked["DBInstanceIdentifier"])
        need(one, "available")
        if one.source or any(other.source == one.resource_id for other in state.instances.values()):
            raise AwsError(
                "InvalidDBInstanceState",
                f"Instance {one.identifier} is a read replica or has one: it cannot be stopped.",
            )
        name = asked.get("DBSnapshotIdentifier")
        snapshot = None
        if name:
            name = names.snapshot_identifier(name, "DBSnapshotIdentifier")
            if name in state.snapshots:
                raise AwsError("DBSnapshotAlreadyExists", f"Cannot create the snapshot because {name} already exists.")
            snapshot = new_snapshot(name, "manual", one, datetime.fromtimestamp(lab.now(), UTC))
            state.snapshots[name] = snapshot
        one.status = "stopping"
        answer = {"DBInstance": shown(lab, state, one)}
    lab.work.begin(lambda: lab.work.stop(one, snapshot))
    return answer


def start(lab: Lab, asked: Asked) -> Answer:
    with lab.store.changing() as state:
        one = find(state, asked["DBInstanceIdentifier"])
        need(one, "stopped")
        one.status = "starting"
        answer = {"DBInstance": shown(lab, state, one)}
    lab.work.begin(lambda: lab.work.start(one))
    return answer


def reboot(lab: Lab, asked: Asked) -> Answer:
    with lab.store.changing() as state:
        one = find(state, asked["DBInstanceIdentifier"])
        need(one, "available")
        forced = bool(asked.get("ForceFailover", False))
        if forced and not one.attributes["MultiAZ"]:
            raise combination("Cannot force failover: the DB instance is not a Multi-AZ deployment.")
        one.status = "rebooting"
        answer = {"DBInstance": shown(lab, state, one)}
    lab.work.begin(lambda: lab.work.keeper.reboot(one) if forced else lab.work.reboot(one))
    return answer
