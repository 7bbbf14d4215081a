"""Which function answers which action: the whole of what the lab's RDS can do."""

from __future__ import annotations

from collections.abc import Mapping

from dr.lab.rds import actions_instances as instances
from dr.lab.rds import actions_other as other
from dr.lab.rds import actions_replicas as replicas
from dr.lab.rds import actions_restores as restores
from dr.lab.rds import actions_snapshots as snapshots
from dr.lab.rds import cloudwatch
from dr.lab.rds.service import Action, identity

ACTIONS: Mapping[str, Action] = {
    "AddTagsToResource": other.add_tags,
    "CopyDBSnapshot": snapshots.copy,
    "CreateDBInstance": instances.create,
    "CreateDBInstanceReadReplica": replicas.create,
    "CreateDBParameterGroup": other.create_parameter_group,
    "CreateDBSnapshot": snapshots.create,
    "CreateDBSubnetGroup": other.create_subnet_group,
    "DeleteDBInstance": instances.delete,
    "DeleteDBInstanceAutomatedBackup": snapshots.delete_automated,
    "DeleteDBSnapshot": snapshots.delete,
    "DeleteDBSubnetGroup": other.delete_subnet_group,
    "DescribeAccountAttributes": other.account_attributes,
    "DescribeDBEngineVersions": other.describe_engine_versions,
    "DescribeDBInstanceAutomatedBackups": snapshots.describe_automated,
    "DescribeDBInstances": instances.describe,
    "DescribeDBLogFiles": other.describe_log_files,
    "DescribeDBParameterGroups": other.describe_parameter_groups,
    "DescribeDBSnapshotAttributes": snapshots.describe_attributes,
    "DescribeDBSnapshots": snapshots.describe,
    "DescribeDBSubnetGroups": other.describe_subnet_groups,
    "DescribeEvents": other.describe_events,
    "DownloadDBLogFilePortion": other.download_log,
    "GetCallerIdentity": identity,
    "GetMetricData": cloudwatch.get_metric_data,
    "ListTagsForResource": other.list_tags,
    "ModifyDBInstance": instances.modify,
    "ModifyDBSnapshotAttribute": snapshots.modify_attribute,
    "PromoteReadReplica": replicas.promote,
    "RebootDBInstance": instances.reboot,
    "RemoveTagsFromResource": other.remove_tags,
    "RestoreDBInstanceFromDBSnapshot": restores.from_snapshot,
    "RestoreDBInstanceToPointInTime": restores.to_point_in_time,
    "StartDBInstance": instances.start,
    "StopDBInstance": instances.stop,
}
