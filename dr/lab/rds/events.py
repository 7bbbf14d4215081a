"""RDS's events: what is said when, and what DescribeEvents selects. Pure.

Wording and categories: the RDS User Guide's list of events, and its list of the reasons for a failover; what it has no
words for (a standby lost) is the lab's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dr.lab.rds.errors import combination, invalid
from dr.lab.rds.records import Event

KEPT = 14 * 86400.0
"""Seconds events are kept: 14 days."""
SOURCE_TYPES = (
    "db-instance",
    "db-parameter-group",
    "db-security-group",
    "db-snapshot",
    "db-cluster",
    "db-cluster-snapshot",
    "custom-engine-version",
    "db-proxy",
    "blue-green-deployment",
)

TEXTS: Mapping[str, tuple[str, str]] = {
    "created": ("creation", "DB instance created"),
    "deleted": ("deletion", "DB instance deleted"),
    "restarted": ("availability", "DB instance restarted"),
    "shutdown": ("availability", "DB instance shutdown"),
    "recovery-started": ("recovery", "Recovery of the DB instance has started."),
    "recovery-complete": ("recovery", "Recovery of the DB instance is complete."),
    "backup-started": ("backup", "Backing up DB instance"),
    "backup-finished": ("backup", "Finished DB Instance backup"),
    "restored": ("restoration", "Restored from {what}"),
    "password": ("configuration change", "Reset master credentials"),
    "backups-disabled": ("configuration change", "Automatic backups for this DB instance have been disabled"),
    "modified": ("configuration change", "Finished applying modification to {what}"),
    "stopped": ("notification", "DB instance stopped"),
    "started": ("notification", "DB instance started"),
    "failed": ("failure", "The DB instance has failed: {what}"),
    "storage-full": ("low storage", "Allocated storage has been exhausted. Allocate additional storage to resolve."),
    "storage-started": ("configuration change", "Applying modification to allocated storage."),
    "storage-finished": ("configuration change", "Finished applying modification to allocated storage."),
    "multi-az-started": ("configuration change", "Applying modification to convert to a Multi-AZ DB instance."),
    "multi-az-finished": (
        "configuration change",
        "Finished applying modification to convert to a Multi-AZ DB instance.",
    ),
    "single-az-started": (
        "configuration change",
        "Applying modification to convert to a standard (Single-AZ) DB instance.",
    ),
    "single-az-finished": (
        "configuration change",
        "Finished applying modification to convert to a standard (Single-AZ) DB instance.",
    ),
    "failover-started": ("failover", "Multi-AZ instance failover started."),
    "failover-to-standby": (
        "failover",
        "Multi-AZ failover to standby complete - DNS propagation may take a few minutes.",
    ),
    "failover-completed": ("failover", "Multi-AZ instance failover completed."),
    "failover-abandoned": (
        "failover",
        "Abandoning user requested failover since a failover recently occurred on the database instance.",
    ),
    "failover-recovered": ("failover", "Recovered from partial failover."),
    "because-asked": ("failover", "The user requested a failover of the DB instance."),
    "because-gone": (
        "failover",
        "The primary host of the RDS Multi-AZ instance is unreachable due to loss of network connectivity.",
    ),
    "because-hung": ("failover", "The RDS Multi-AZ primary instance is busy and unresponsive."),
    "because-dead": ("failover", "The primary host of the RDS Multi-AZ instance is unhealthy."),
    "standby-lost": ("notification", "The Multi-AZ standby is lost; the DB instance goes on without it."),
    "standby-back": ("notification", "The Multi-AZ standby is synchronous again."),
    "replication-stopped": ("read replica", "Replication has stopped."),
    "replication-resumed": ("read replica", "Replication for the Read Replica resumed."),
    "replication-ended": ("read replica", "Replication streaming has been terminated."),
    "manual-started": ("creation", "Creating manual snapshot"),
    "manual-finished": ("creation", "Manual snapshot created"),
    "automated-started": ("creation", "Creating automated snapshot"),
    "automated-finished": ("creation", "Automated snapshot created"),
    "copied": ("notification", "Finished copy of snapshot {what}"),
    "snapshot-deleted": ("deletion", "Deleted {kind} snapshot"),
    "snapshot-failed": ("failure", "The snapshot has failed"),
}


def event(name: str, at: float, source_type: str, source: str, arn: str, **words: str) -> Event:
    category, text = TEXTS[name]
    return Event(at, source_type, source, arn, [category], text.format(**words))


def failure(events: Sequence[Event], instance: str) -> str:
    """What was said last of an instance's own failure; "": nothing was. Others fail, and go on, beside it."""
    own = (one for one in reversed(events) if (one.source_type, one.source) == ("db-instance", instance))
    return next((one.message for one in own if "failure" in one.categories), "")


def select(events: Sequence[Event], asked: Mapping[str, Any], now: float) -> list[Event]:
    """The events a DescribeEvents call selects, oldest first. Raises AwsError.

    Without a time the last hour; ``Duration`` is minutes; what is older than 14 days is gone.
    """
    kind, source = asked.get("SourceType"), asked.get("SourceIdentifier")
    if kind is not None and kind not in SOURCE_TYPES:
        raise invalid(f"Invalid source type: {kind}")
    if source and not kind:
        raise combination("SourceType must be specified when SourceIdentifier is specified.")
    begin, end = _interval(asked, now)
    categories = {c.lower() for c in asked.get("EventCategories") or ()}

    def wanted(one: Event) -> bool:
        return (
            begin <= one.at <= end
            and (kind is None or one.source_type == kind)
            and (not source or one.source == source.lower())
            and (not categories or bool(categories & set(one.categories)))
        )

    return [one for one in events if wanted(one)]


def _interval(asked: Mapping[str, Any], now: float) -> tuple[float, float]:
    start, end, duration = asked.get("StartTime"), asked.get("EndTime"), asked.get("Duration")
    if duration is not None and (start is not None or end is not None):
        raise combination("Duration cannot be combined with StartTime or EndTime.")
    if duration is not None and not 1 <= duration <= 20160:
        raise invalid(f"Invalid value {duration} for Duration. Must be between 1 and 20160.")
    until = end if end is not None else now
    since = start if start is not None else until - (duration or 60) * 60
    if since > until:
        raise combination("StartTime must be before EndTime.")
    if start is not None and start < now - KEPT:
        raise invalid("StartTime must be within the last 14 days.")
    return max(since, now - KEPT), until
