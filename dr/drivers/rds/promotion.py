"""What the verbs ``lag``, ``promote`` and ``rebuild`` come down to on RDS, and which replica is promoted. Pure.

A promotion cannot be undone. So a drill on a target that is not disposable restores a copy, gives it a replica, and
promotes that one (``copy``); on call it is the real one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from dr.config.model import Target
from dr.domain.errors import RefusedError
from dr.domain.model import Call, Effect, Facts, Grant, Purpose, Resource, RunIdentity, Verb
from dr.domain.refs import Endpoint, Ref, result_of
from dr.drivers.rds import restore as rds_restore
from dr.drivers.rds import settings
from dr.drivers.rds.config import RdsConfig
from dr.drivers.rds.failover import require_instance
from dr.drivers.rds.naming import DRIVER, State, classify, instance, listens, where

LAG = "GetMetricData"
CHOOSE = "ask-replicas"
PROMOTE = "PromoteReadReplica"
BACKUP = "DescribeDBSnapshots"
REPLICATE = "CreateDBInstanceReadReplica"
VERBS = ("lag", "promote", "rebuild")
ON_A_COPY = "'dr drill run db-replica-promotion-copy' promotes a replica of a copy that it makes."

OF_A_REPLICA = frozenset(
    {
        *("AutoMinorVersionUpgrade", "CACertificateIdentifier", "CopyTagsToSnapshot", "DBInstanceClass"),
        *("DBParameterGroupName", "DatabaseInsightsMode", "DeletionProtection", "EnableCloudwatchLogsExports"),
        *("EnableIAMDatabaseAuthentication", "EnablePerformanceInsights", "Iops", "MaxAllocatedStorage"),
        *("MonitoringInterval", "MonitoringRoleArn", "MultiAZ", "NetworkType", "OptionGroupName"),
        *("PerformanceInsightsKMSKeyId", "PerformanceInsightsRetentionPeriod", "PubliclyAccessible"),
        *("StorageThroughput", "StorageType", "VpcSecurityGroupIds"),
    }
)
"""What CreateDBInstanceReadReplica takes. Its subnet group is the source's: RDS refuses one of the same region."""

_LEAST_DEADLINE = 1_800.0
"""The least that a promotion may take; four times the objective where that is more."""
_LONG_DEADLINE = 14_400.0
"""A first backup, and a new replica, copy the whole volume."""


class Answer(NamedTuple):
    """What one replica said. ``received``: the log sequence number it has got, as a number; None: it did not say.
    ``barred``: its status, where RDS does not promote it so; "" where it does."""

    identifier: str
    received: int | None
    because: str = ""
    barred: str = ""


class Choice(NamedTuple):
    """The replica to promote; "" where none can be. ``hint``: what to do then, where that is known."""

    identifier: str
    because: str
    hint: str = ""


def choose(answers: Sequence[Answer], named: str = "") -> Choice:
    """The replica that has received most, or the one ``named``, and why. One that cannot be asked loses. Where one that
    RDS does not promote has received most, it takes a name to lose that."""
    heard = sorted((a for a in answers if a.received is not None), key=lambda a: (-(a.received or 0), a.identifier))
    silent = [f"{a.identifier} could not be asked ({a.because.rstrip('.')})" for a in answers if a.received is None]
    chosen = next((a for a in heard if (a.identifier == named if named else not a.barred)), None)
    if chosen is None:
        unfit = [] if named else [f"{_received(a)}, but RDS does not promote it so" for a in heard]
        return Choice("", "; ".join([*unfit, *silent]) or "there is none")
    others = [_received(a, "") for a in heard if a is not chosen]
    reason = "; ".join([", ".join([_received(chosen), *others]), *silent])
    best = heard[0]
    more = (best.received or 0) - (chosen.received or 0)
    if more <= 0:
        return Choice(chosen.identifier, reason)
    if named:
        return Choice(chosen.identifier, f"it was named, though {best.identifier} has {more} bytes more: {reason}")
    barred = f"and RDS does not promote it while it is {best.barred}"
    return Choice(
        "",
        f"{best.identifier} has received {more} bytes more than {chosen.identifier}, {barred}",
        f"Wait until {best.identifier} is available, or give them up: --promote {chosen.identifier}.",
    )


def _received(answer: Answer, verb: str = "has received ") -> str:
    barred = f" (it is {answer.barred})" if answer.barred else ""
    return f"{answer.identifier} {verb}{lsn(answer.received)}{barred}"


def lsn(number: int | None) -> str:
    """A log sequence number as PostgreSQL writes it."""
    return f"{(number or 0) >> 32:X}/{(number or 0) & 0xFFFFFFFF:X}"


def replicas_of(source: str, facts: Facts) -> tuple[Resource, ...]:
    """The read replicas of ``source`` in its region, by name."""
    found = [one for one in facts.resources if one.replica_of == instance(source)]
    return tuple(sorted(found, key=lambda one: one.ref.name))


def propose(
    name: str, target: Target, objective: float, verb: Verb, facts: Facts, run: RunIdentity
) -> tuple[Call, ...]:
    """The calls of ``verb``. ``objective``: seconds an outage may last. Raises RefusedError, UsageError."""
    source, apart = target.of(RdsConfig).instance, bool(verb.args.get("copy"))
    if run.purpose is Purpose.DRILL and Grant.DISPOSABLE not in target.grants and not apart:
        raise RefusedError(
            f"{source} is not disposable, and a promotion of its replica could not be undone.", ON_A_COPY
        )
    match verb.name:
        case "lag":
            return (_lag(source, facts),)
        case "promote" if apart:
            return _promote_apart(name, target, objective, facts, run)
        case "promote":
            return _promote(source, objective, str(verb.args.get("replica") or ""), facts, run)
    old = () if apart else replicas_of(source, facts)
    return (_first_backup(), *(_rebuilt(name, source, one, facts, run) for one in old))


def _lag(source: str, facts: Facts) -> Call:
    args = {
        "source": _place(require_instance(source, facts)),
        "replicas": [_place(one) for one in _require_replicas(source, facts)],
    }
    return Call(
        *("lag", "lag", "prepare", DRIVER, LAG, args),
        effect=Effect.READS,
        until="every replica was asked",
        deadline=60.0,
    )


# -- promote


def _promote(source: str, objective: float, named: str, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
    candidates = _candidates(source, named, facts)
    shown = facts.find(instance(source))
    known = shown.attributes if shown is not None else facts.extra.get("profile") or {}
    # what RDS does not promote so is asked, too, what it has received
    others = [one for one in replicas_of(source, facts) if one not in candidates]
    barred = [{**_place(one), **({} if _promotable(one) else {"barred": one.status})} for one in others]
    promotion = _promotion([one.ref for one in candidates], source, known, objective, facts)
    if run.purpose is Purpose.RESTORE:  # a drill has lost the old source for good by itself, and knows
        old = {**_address(listens(known)), "resource_id": known.get("DbiResourceId", "")}
        promotion = replace(promotion, args={**promotion.args, "old": old})
    chosen = candidates[0].ref.name if named else ""
    return _choose(source, [*map(_place, candidates), *barred], chosen), promotion


def _candidates(source: str, named: str, facts: Facts) -> tuple[Resource, ...]:
    """The replicas that may be promoted; the one ``named``, if one is. Raises RefusedError."""
    if not named:
        usable = tuple(one for one in _require_replicas(source, facts) if _promotable(one))
        if not usable:
            states = ", ".join(f"{one.ref.name} is {one.status}" for one in replicas_of(source, facts))
            raise RefusedError(f"No replica of {source} can be promoted: {states}.", "Restore instead: 'dr restore'.")
        return usable
    found = require_instance(named, facts)
    if found.replica_of != instance(source):
        of = f"a replica of {found.replica_of.name}" if found.replica_of else "no read replica"
        known = ", ".join(one.ref.name for one in replicas_of(source, facts)) or "none"
        raise RefusedError(
            f"{found.ref.name} is {of}, so it cannot take the place of {source}.", f"Replicas of {source}: {known}."
        )
    if not _promotable(found):
        raise RefusedError(
            f"{found.ref.name} is {found.status}, and RDS does not promote it so.",
            found.remedy or "Wait until it is available, or name another replica.",
        )
    return (found,)


def _require_replicas(source: str, facts: Facts) -> tuple[Resource, ...]:
    found = replicas_of(source, facts)
    if not found:
        require_instance(source, facts)
        raise RefusedError(
            f"{source} has no read replica in {where(facts)}.",
            "Restore instead: 'dr restore'; or correct the target's instance and region.",
        )
    return found


def _promotable(found: Resource) -> bool:
    """Whether RDS promotes it, now or once its backup is done; and whether it can be asked at all."""
    ready = classify(found.status) is State.USABLE or found.status == "backing-up"
    return ready and found.endpoint is not None


def _place(found: Resource) -> dict[str, Any]:
    return {"identifier": found.ref.name, **_address(found.endpoint)}


def _address(known: Endpoint | None) -> dict[str, Any]:
    return {"host": known.host, "port": known.port} if known is not None else {"host": "", "port": 0}


def _choose(source: str, replicas: list[dict[str, Any]], named: str) -> Call:
    args = {"source": source, "replicas": replicas, "named": named}
    return Call(
        *("choose-replica", "promote", "failover", DRIVER, CHOOSE, args),
        effect=Effect.READS,
        until="the replica that has received most is known",
        deadline=120.0,
    )


def _promotion(
    candidates: Sequence[Ref], source: str, known: Mapping[str, Any], objective: float, facts: Facts
) -> Call:
    """``known``: the source's settings. Without them the backups are kept for a day, as RDS itself would."""
    window = known.get("PreferredBackupWindow")
    parameters = {"BackupRetentionPeriod": int(known.get("BackupRetentionPeriod") or 1)}
    args = {
        "identifier": "${choose-replica.identifier}",
        "because": "${choose-replica.because}",
        "source": source,
        "parameters": {**parameters, **({"PreferredBackupWindow": window} if window else {})},
        "planned_at": facts.at,
    }
    return Call(
        *("promote", "promote", "failover", DRIVER, PROMOTE, args),
        effect=Effect.TAKES_OVER,
        touches=tuple(candidates),
        until="promoted: no replica any more, and it takes writes",
        deadline=max(_LEAST_DEADLINE, 4 * objective),
        promises=("promoted",),
    )


def _promote_apart(name: str, target: Target, objective: float, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
    """A copy of the newest snapshot, a replica of that copy, and its promotion: nothing that users know is touched."""
    kept = {"BackupRetentionPeriod": 1}
    newest = Verb("restore", {"to": {"snapshot": "latest"}, "set": kept})
    restore, *rest = rds_restore.propose(name, target, objective, newest, facts, run)
    source = str(restore.args["identifier"])
    new = instance(rds_restore.made_up(target.of(RdsConfig).instance, "replica", run.id))
    args = {"instead_of": "", "parameters": restore.args["parameters"], "tags": restore.args["tags"]}
    place = {"identifier": new.name, "host": "${replicate.host}", "port": "${replicate.port}"}
    return (
        *(restore, *rest, _replica("replicate", new, instance(source), args, run), _choose(source, [place], "")),
        replace(_promotion([new], source, kept, objective, facts), phase="disaster"),  # nothing else befalls the copy
    )


# -- rebuild: a first backup of what was promoted, then a replica of it in place of each that its source had. The old
# replicas stay: dr deletes nothing that a run of its own did not make.


def _first_backup() -> Call:
    args = {"identifier": result_of("promote").name, "before": "${promote.backups}"}
    return Call(
        *("first-backup", "rebuild", "rebuild", DRIVER, BACKUP, args),
        effect=Effect.READS,
        until="its first backup is available",
        deadline=_LONG_DEADLINE,
    )


def _rebuilt(name: str, source: str, old: Resource, facts: Facts, run: RunIdentity) -> Call:
    wanted, fitted = settings.fit_storage(settings.comparable(old.attributes), {}, old.attributes)
    if run.purpose is Purpose.DRILL:
        tags = rds_restore.drills_tags(source, facts, run)
    else:  # no restoration: it must neither hinder one nor be taken for an unfinished one
        own = {"dr:run": run.id, "dr:target": name}
        kept, left = settings.fit_tags(settings.inherited(old.attributes), own)
        tags, fitted = {**kept, **own}, {**fitted, **left}
    parameters = {**settings.restore_parameters(wanted), **settings.modify_parameters(wanted)}
    args = {"instead_of": old.ref.name, "parameters": parameters, "tags": tags, "fitted": fitted}
    new = instance(_renamed(old.ref.name, run.id))
    return _replica(f"rebuild-{old.ref.name}", new, result_of("promote"), args, run)


def _replica(id: str, new: Ref, source: Ref, args: Mapping[str, Any], run: RunIdentity) -> Call:
    chosen = {key: value for key, value in args["parameters"].items() if key in OF_A_REPLICA}
    args = {**args, "identifier": new.name, "source": source.name, "parameters": chosen}
    undo = replace(rds_restore.deletion(new.name, run.id), id=f"delete-{id}", verb="rebuild")
    return Call(
        *(id, "rebuild", "rebuild", DRIVER, REPLICATE, args),
        effect=Effect.MAKES,
        touches=(source,),
        makes=(new,),
        undo=undo if run.purpose is Purpose.DRILL else None,
        until="available and streaming",
        deadline=_LONG_DEADLINE,
    )


def _renamed(old: str, run: str) -> str:
    """``old`` with the end of the run's name, as a valid name: what an earlier run appended is taken off first."""
    end = rds_restore.run_suffix(run)
    base = re.sub(r"-\d{8}-\d{6}-[0-9a-f]{4}$", "", old)
    return f"{base[: rds_restore.NAME_LIMIT - len(end) - 1].rstrip('-')}-{end}"
