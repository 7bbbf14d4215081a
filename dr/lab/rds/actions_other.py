"""Groups, engine versions, tags, events, logs and quotas."""

from __future__ import annotations

import binascii
from typing import Any

from dr.lab.rds import building, events, names, views
from dr.lab.rds.actions_instances import find
from dr.lab.rds.actions_snapshots import find_snapshot
from dr.lab.rds.errors import AwsError, invalid
from dr.lab.rds.records import ParameterGroup, State, SubnetGroup
from dr.lab.rds.service import Answer, Asked, Lab, page

LOG_PORTION = 1024 * 1024
"""Bytes of a log file that one answer carries at most: AWS's own limit."""


def create_subnet_group(lab: Lab, asked: Asked) -> Answer:
    with lab.store.changing() as state:
        name = names.identifier(asked["DBSubnetGroupName"], "DBSubnetGroupName", 255)
        if name in state.subnet_groups:
            raise AwsError("DBSubnetGroupAlreadyExists", f"The DB subnet group '{name}' already exists.")
        vpc = next(iter(state.security_groups.values()))
        group = SubnetGroup(
            name, asked["DBSubnetGroupDescription"], vpc, list(asked["SubnetIds"]), names.tags(asked.get("Tags"))
        )
        state.subnet_groups[name] = group
        return {"DBSubnetGroup": views.subnet_group(lab.store, group)}


def delete_subnet_group(lab: Lab, asked: Asked) -> Answer:
    with lab.store.changing() as state:
        name = asked["DBSubnetGroupName"].lower()
        if name not in state.subnet_groups:
            raise AwsError("DBSubnetGroupNotFoundFault", f"DB subnet group '{name}' does not exist.")
        if any(one.attributes["DBSubnetGroupName"] == name for one in state.instances.values()):
            raise AwsError("InvalidDBSubnetGroupStateFault", f"DB subnet group '{name}' is in use.")
        del state.subnet_groups[name]
    return {}


def describe_subnet_groups(lab: Lab, asked: Asked) -> Answer:
    wanted = (asked.get("DBSubnetGroupName") or "").lower()
    with lab.store.reading() as state:
        if wanted and wanted not in state.subnet_groups:
            raise AwsError("DBSubnetGroupNotFoundFault", f"DB subnet group '{wanted}' does not exist.")
        found = [one for name, one in sorted(state.subnet_groups.items()) if wanted in ("", name)]
        return page([views.subnet_group(lab.store, one) for one in found], asked, "DBSubnetGroups")


def create_parameter_group(lab: Lab, asked: Asked) -> Answer:
    with lab.store.changing() as state:
        name = names.identifier(asked["DBParameterGroupName"], "DBParameterGroupName", 255)
        if name in state.parameter_groups:
            raise AwsError("DBParameterGroupAlreadyExists", f"Parameter group {name} already exists")
        if asked["DBParameterGroupFamily"] != building.family(state.engine_version):
            raise invalid(f"ParameterGroupFamily {asked['DBParameterGroupFamily']} cannot be used.")
        group = ParameterGroup(
            name, asked["DBParameterGroupFamily"], asked["Description"], names.tags(asked.get("Tags"))
        )
        state.parameter_groups[name] = group
        return {"DBParameterGroup": views.parameter_group(lab.store, group)}


def describe_parameter_groups(lab: Lab, asked: Asked) -> Answer:
    wanted = (asked.get("DBParameterGroupName") or "").lower()
    with lab.store.reading() as state:
        if wanted and wanted not in state.parameter_groups:
            raise AwsError("DBParameterGroupNotFound", f"DBParameterGroup not found: {wanted}")
        found = [one for name, one in sorted(state.parameter_groups.items()) if wanted in ("", name)]
        return page([views.parameter_group(lab.store, one) for one in found], asked, "DBParameterGroups")


def describe_engine_versions(lab: Lab, asked: Asked) -> Answer:
    with lab.store.reading() as state:
        version = state.engine_version
    family = building.family(version)
    right = (
        asked.get("Engine", "postgres") == "postgres"
        and asked.get("EngineVersion", version) in (version, version.split(".")[0])
        and asked.get("DBParameterGroupFamily", family) == family
    )
    one = {
        "Engine": "postgres",
        "EngineVersion": version,
        "MajorEngineVersion": version.split(".")[0],
        "DBParameterGroupFamily": family,
        "DBEngineDescription": "PostgreSQL",
        "DBEngineVersionDescription": f"PostgreSQL {version}",
        "ExportableLogTypes": ["postgresql", "upgrade"],
        "ValidUpgradeTarget": [],
        "SupportsLogExportsToCloudwatchLogs": True,
        "SupportsReadReplica": False,
        "Status": "available",
    }
    return page([one] if right else [], asked, "DBEngineVersions")


def _tagged(lab: Lab, state: State, arn: str) -> dict[str, str]:
    """The tags of the resource that ``arn`` names: the record's own dictionary. Raises AwsError."""
    parsed = names.arn_name(arn)
    if parsed is None or parsed[0] != lab.store.account.id:
        raise invalid(f"Invalid resource name: {arn}")
    _, kind, name = parsed
    if kind == "db":
        return find(state, name).tags
    if kind == "snapshot":
        return find_snapshot(state, lab.store, name).tags
    if kind == "subgrp" and name in state.subnet_groups:
        return state.subnet_groups[name].tags
    if kind == "pg" and name in state.parameter_groups:
        return state.parameter_groups[name].tags
    raise invalid(f"Invalid resource name: {arn}")


def add_tags(lab: Lab, asked: Asked) -> Answer:
    with lab.store.changing() as state:
        tags = _tagged(lab, state, asked["ResourceName"])
        added = names.tags(asked["Tags"])
        if len(tags | added) > 50:
            raise invalid("A resource can have at most 50 tags.")
        tags.update(added)
    return {}


def remove_tags(lab: Lab, asked: Asked) -> Answer:
    with lab.store.changing() as state:
        tags = _tagged(lab, state, asked["ResourceName"])
        for key in asked["TagKeys"]:
            tags.pop(key, None)
    return {}


def list_tags(lab: Lab, asked: Asked) -> Answer:
    with lab.store.reading() as state:
        return {"TagList": views.tag_list(_tagged(lab, state, asked["ResourceName"]))}


def describe_events(lab: Lab, asked: Asked) -> Answer:
    with lab.store.reading() as state:
        found = events.select(state.events, asked, lab.now())
        return page([views.event(one) for one in found], asked, "Events")


def describe_log_files(lab: Lab, asked: Asked) -> Answer:
    with lab.store.reading() as state:
        one = find(state, asked["DBInstanceIdentifier"])
    part, since, size = asked.get("FilenameContains", ""), asked.get("FileLastWritten", 0), asked.get("FileSize", 0)
    files: list[dict[str, Any]] = [
        {"LogFileName": log.name, "LastWritten": int(log.written * 1000), "Size": log.size}
        for log in lab.work.servers.logs(one.resource_id)
        if part in log.name and log.written * 1000 >= since and log.size >= size
    ]
    return page(files, asked, "DescribeDBLogFiles", low=1)


def download_log(lab: Lab, asked: Asked) -> Answer:
    """A log's portion from a marker on; without one the file's end; marker "0" is its beginning."""
    with lab.store.reading() as state:
        one = find(state, asked["DBInstanceIdentifier"])
    name, lines = asked["LogFileName"], asked.get("NumberOfLines", 10000)
    names.between(lines, "NumberOfLines", 1, 9999999)
    try:
        start = int((asked.get("Marker") or "0").rpartition(":")[2])
        content = lab.work.servers.read_log(one.resource_id, name, start)
    except (ValueError, binascii.Error):
        raise invalid("The parameter Marker is not valid.") from None
    except FileNotFoundError:
        raise AwsError("DBLogFileNotFoundFault", f"DBLog File: {name}, is not found on the DB instance") from None
    rows = content.splitlines(keepends=True)
    chosen = rows[:lines] if "Marker" in asked else rows[-lines:]
    portion = b"".join(chosen)[:LOG_PORTION]
    end = start + len(portion) if "Marker" in asked else start + len(content)
    return {
        "LogFileData": portion.decode(errors="replace"),
        "Marker": f"{name}:{end}",
        "AdditionalDataPending": end < start + len(content),
    }


def account_attributes(lab: Lab, _: Asked) -> Answer:
    with lab.store.reading() as state:
        used = (
            ("DBInstances", len(state.instances), state.quota),
            ("ManualSnapshots", sum(s.kind == "manual" for s in state.snapshots.values()), 100),
            ("DBSubnetGroups", len(state.subnet_groups), 50),
            ("DBParameterGroups", len(state.parameter_groups), 50),
        )
    return {"AccountQuotas": [{"AccountQuotaName": name, "Used": n, "Max": most} for name, n, most in used]}
