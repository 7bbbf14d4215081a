"""How long automated backups are kept, and when the next is due. Pure.

Source: the RDS User Guide, "Backup retention period" and "Backup window".
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from dr.lab.rds.records import Instance, Retained, Snapshot, State

DAY = 86400.0
APART = DAY / 2
"""Seconds between two automated backups at the least: an instance made just before its window has its backup."""


def automated(state: State, key: str) -> list[Snapshot]:
    """The finished automated backups of an instance, by its DbiResourceId, oldest first."""
    mine = (s for s in state.snapshots.values() if s.resource_id == key and s.kind == "automated")
    return sorted((s for s in mine if s.status == "available"), key=end)


def end(one: Snapshot) -> float:
    """The time a finished snapshot covers."""
    return one.database_time or 0.0


def expired(state: State, now: float) -> list[Snapshot]:
    """Automated backups that no point in time within their instance's retention needs any more.

    The newest that ended before that period stays: from it the period's first day is restored. Where an instance is
    stopped none expires, as RDS does not count that time.
    """
    kept: Iterable[Instance] = [
        *(one for one in state.instances.values() if one.status not in ("stopped", "deleting")),
        *(one.instance for one in state.retained.values()),
    ]
    found: list[Snapshot] = []
    for one in kept:
        since = now - one.attributes["BackupRetentionPeriod"] * DAY
        found += [s for s in automated(state, one.resource_id) if end(s) <= since][:-1]
    return found


def over(state: State, now: float) -> list[str]:
    """DbiResourceIds of gone instances of whose backups all are older than they were to be kept."""

    def last(one: Retained) -> float:
        return max([one.latest or 0.0, *map(end, automated(state, one.instance.resource_id))])

    return [
        key
        for key, one in state.retained.items()
        if last(one) < now - one.instance.attributes["BackupRetentionPeriod"] * DAY
    ]


def due(state: State, now: float) -> list[Instance]:
    """Available instances within their backup window whose newest automated backup is half a day old or older."""
    return [
        one
        for one in state.instances.values()
        if one.status == "available"
        and one.attributes["BackupRetentionPeriod"]
        and _within(one.attributes["PreferredBackupWindow"], now)
        and (backups := automated(state, one.resource_id))
        and end(backups[-1]) <= now - APART
    ]


def _within(window: str, now: float) -> bool:
    """Whether ``now`` lies in "hh:mm-hh:mm" (UTC), which may cross midnight."""
    at = f"{datetime.fromtimestamp(now, UTC):%H:%M}"
    begin, _, end = window.partition("-")
    return begin <= at < end if begin <= end else at >= begin or at < end
