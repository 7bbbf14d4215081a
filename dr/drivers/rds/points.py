"""Which recovery point a restore takes, and whether it can: decided from facts, purely.

The rules are RDS's own: a snapshot restores once ``available``; an encrypted one of another account only after it was
copied; a time has to lie inside a window of automated backups.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from dr.domain.errors import RefusedError, UsageError
from dr.domain.model import Facts, Purpose, RecoveryPoint
from dr.drivers.rds.naming import account, instance, same, where

BEFORE_DISASTER = "${vanish.recovery_point}"
"""Filled from the ledger once the disaster has happened."""
LAST_SECOND = 253_402_300_799
"""The last that a calendar of four-digit years has."""


class Choice(NamedTuple):
    """What is to be restored. ``parameters`` name it to RDS. ``covers``: seconds since the epoch, a reference to the
    ledger, or None: fixed when the restore is applied. ``waits``: the time has passed but is not restorable yet."""

    point: RecoveryPoint
    parameters: Mapping[str, Any]
    covers: float | str | None
    waits: bool = False


def choose(to: Any, source: str, facts: Facts, purpose: Purpose) -> Choice:
    """The recovery point that ``to`` asks for. Raises UsageError where it is malformed, RefusedError."""
    if not isinstance(to, Mapping) or ("snapshot" in to) == ("time" in to):
        raise UsageError("A restore needs either a snapshot or a time.", "Use to: {snapshot: ID} or to: {time: T}.")
    if "time" in to:
        return _time(to["time"], source, facts)
    return _snapshot(str(to["snapshot"]), source, facts, purpose)


def _snapshot(asked: str, source: str, facts: Facts, purpose: Purpose) -> Choice:
    point = _latest(source, facts, purpose) if asked == "latest" else _named(asked, facts)
    if not same(point.source, source):
        raise RefusedError(
            f"Snapshot {point.identifier} is one of {point.source}, not of {source}.",
            f"Name a target whose instance is {point.source}.",
        )
    arn = str(point.attributes.get("DBSnapshotArn", ""))
    foreign = len(arn.split(":")) > 5 and arn.split(":")[4] != account(facts)
    shared = foreign or point.attributes.get("SnapshotType") in ("shared", "public")
    if shared and point.attributes.get("Encrypted"):
        raise RefusedError(
            f"Snapshot {point.identifier} is shared and encrypted, and RDS does not restore such a one.",
            "Copy it first: aws rds copy-db-snapshot --source-db-snapshot-identifier "
            f"{arn} --target-db-snapshot-identifier NAME --kms-key-id KEY.",
        )
    if point.status != "available":
        percent = point.attributes.get("PercentProgress")
        progress = f" ({percent}% done)" if point.status == "creating" and percent is not None else ""
        raise RefusedError(
            f"Snapshot {point.identifier} is {point.status}{progress}, not available.",
            "Wait until it is, or restore an earlier one: --latest-snapshot.",
        )
    return Choice(point, {"DBSnapshotIdentifier": arn if shared and arn else point.identifier}, point.covers)


def _latest(source: str, facts: Facts, purpose: Purpose) -> RecoveryPoint:
    """A drill rehearses last night's automated snapshot; somebody on call wants the newest data there is."""
    own, windows = _own(source, facts), any(point.kind == "window" for point in facts.points)
    if not own:
        hint = _instead(source, facts, windows, "a time: --latest")
        raise RefusedError(f"There is no available snapshot of {source} in {where(facts)}.", hint)
    automated_first = purpose is Purpose.DRILL
    return max(own, key=lambda p: (automated_first and p.automated, p.covers or 0.0, p.automated, p.identifier))


def _own(source: str, facts: Facts) -> list[RecoveryPoint]:
    """The source's snapshots that can be restored."""
    return [p for p in facts.points if p.kind == "snapshot" and same(p.source, source) and p.status == "available"]


def _instead(source: str, facts: Facts, there: bool, other: str) -> str:
    """What is left where what was asked for cannot be restored: ``other`` only where that is ``there``."""
    if there:
        return f"Restore {other}, or check the target's instance and region."
    found = facts.find(instance(source))
    cluster = found.attributes.get("DBClusterIdentifier") if found else None
    if cluster:
        return (
            f"It is a member of the cluster {cluster}, whose backups are the cluster's, and dr restores none:"
            " 'aws rds restore-db-cluster-to-point-in-time' does."
        )
    return (
        "There is neither a snapshot nor an automated backup of it: check the target's instance and region."
        " 'aws rds describe-db-snapshots' lists those of other instances."
    )


def _named(asked: str, facts: Facts) -> RecoveryPoint:
    for point in facts.points:
        names = (point.identifier, str(point.attributes.get("DBSnapshotArn", "")))
        if point.kind == "snapshot" and any(same(asked, name) for name in names):
            return point
    if ":cluster-snapshot:" in asked:
        raise RefusedError(
            f"{asked} is the snapshot of a cluster, and dr restores none.",
            "'aws rds restore-db-cluster-from-snapshot' does.",
        )
    raise RefusedError(
        f"There is no snapshot {asked!r} in {where(facts)}.",
        "'dr backups' lists what can be restored; a shared snapshot is named by its ARN.",
    )


def _time(asked: Any, source: str, facts: Facts) -> Choice:
    windows = [p for p in facts.points if p.kind == "window" and (p.earliest or 0.0) <= (p.covers or -1.0)]
    if not windows:
        hint = _instead(source, facts, bool(_own(source, facts)), "a snapshot: --latest-snapshot")
        raise RefusedError(f"{source} has no automated backups in {where(facts)}: no time can be restored.", hint)
    live = next((p for p in windows if p.status == "active"), None)
    newest = live or max(windows, key=lambda p: p.covers or 0.0)
    if asked == "latest":
        fixed = None if newest is live else newest.covers
        return Choice(newest, {**_origin(newest), "UseLatestRestorableTime": True}, fixed)
    if asked == "before-disaster":
        if live is None:
            raise RefusedError(f"{source} is gone, so nothing can befall it.", "Restore a time, or --latest, instead.")
        return Choice(live, _origin(live), BEFORE_DISASTER, waits=True)
    return _second(_epoch(asked), windows, live, facts)


def _second(at: float, windows: list[RecoveryPoint], live: RecoveryPoint | None, facts: Facts) -> Choice:
    """RDS restores times strictly before the latest restorable one; a live source's moves on: recent times wait."""
    if at > facts.at:
        raise RefusedError(f"{iso(at)} is in the future.", "Name a time that has passed, or use --latest.")
    for point in windows:
        if (point.earliest is None or point.earliest <= at) and at < (point.covers or 0.0):
            return Choice(point, _origin(point), at)
    if live is not None and at >= (live.covers or 0.0):
        return Choice(live, _origin(live), at, waits=True)
    reach = ((iso(p.earliest) if p.earliest else "an unknown time", iso(p.covers or 0)) for p in windows)
    spans = ", ".join(f"{first} to {last}" for first, last in reach)
    raise RefusedError(
        f"{iso(at)} cannot be restored: the automated backups reach from {spans}.",
        "Name a time in between, use --latest, or restore a snapshot.",
    )


def _origin(point: RecoveryPoint) -> dict[str, str]:
    """How RDS is told whose logs to replay: a live source by its name, one that is gone by what is retained of it."""
    if point.status == "active":
        return {"SourceDBInstanceIdentifier": point.source}
    if arn := point.attributes.get("DBInstanceAutomatedBackupsArn"):
        return {"SourceDBInstanceAutomatedBackupsArn": str(arn)}
    return {"SourceDbiResourceId": str(point.attributes.get("DbiResourceId", ""))}


def _epoch(asked: Any) -> float:
    if isinstance(asked, bool) or not isinstance(asked, int | float):
        raise UsageError(f"{asked!r} is not a time.", "A time is in seconds since the epoch, UTC.")
    if not 0 <= asked <= LAST_SECOND:
        raise UsageError(f"{asked:g} s since 1970 is no time that could be restored.", "Use --latest, or name another.")
    return float(int(asked))


def iso(at: float) -> str:
    """``at`` as people and tags read it, to the second, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
