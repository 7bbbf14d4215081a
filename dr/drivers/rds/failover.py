"""What a failover to the standby comes down to on RDS, and what RDS's events tell of one. Pure.

DescribeEvents names no event: its message tells which one it is, and RDS promises neither their order nor that each of
them comes. Source: RDS User Guide, "Amazon RDS event categories and event messages".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from dr.domain.errors import RefusedError
from dr.domain.model import Call, Effect, Facts, Purpose, Resource, RunIdentity, Verb
from dr.drivers.rds.naming import DRIVER, instance, where
from dr.drivers.rds.points import iso

FORCE = "RebootDBInstance"
AWAIT = "DescribeEvents"
VERBS = ("failover", "await_failover")

CLOCKS = 60.0
"""Seconds by which RDS's clock and this one may differ. An event is new that RDS did not know at the planning."""
UNDER_WAY_SECONDS = 900.0
"""A failover that began longer ago, and of whose end no event tells, is no longer under way: RDS takes 60 to 120 s."""
_LEAST_DEADLINE = 600.0
"""The least that a failover may take; five times the objective where that is more."""

STARTED, COMPLETED, ABANDONED, RECOVERED, OTHER = "started", "completed", "abandoned", "recovered", "other"
_MESSAGES = (
    ("abandoning user requested failover", ABANDONED, "RDS-EVENT-0034"),
    ("multi-az instance failover started", STARTED, "RDS-EVENT-0013"),
    ("multi-az failover to standby complete", COMPLETED, "RDS-EVENT-0015"),
    ("multi-az instance failover completed", COMPLETED, "RDS-EVENT-0049"),
    ("multi-az instance activation started", OTHER, "RDS-EVENT-0050"),
    ("multi-az instance activation completed", RECOVERED, "RDS-EVENT-0051"),
    ("recovered from partial failover", RECOVERED, "RDS-EVENT-0065"),
)
"""An activation brings the primary back where it was: RDS recovered it, and nothing failed over."""


class Course(NamedTuple):
    """What RDS told of an instance: ``events`` as the observation ``failover`` has them; times as RDS's clock has them.

    ``abandoned``: RDS's words where it gave a requested failover up, else "". ``recovered``: it brought the instance
    back where it was, and whatever had started is over.
    """

    events: tuple[Mapping[str, Any], ...]
    started: float | None
    completed: float | None
    abandoned: str
    recovered: float | None


def course(rows: Iterable[Mapping[str, Any]], since: float, known: Sequence[Sequence[Any]] = ()) -> Course:
    """What the events from ``since`` on tell, without those ``known`` (each its time and its message) before. An end
    counts from the newest start on; a start may be missing."""
    told = [one for one in _told(rows) if one[0] >= since and one not in known]
    seen = [(at, message, *_meant(message)) for at, message in told]
    started = max((at for at, _, kind, _ in seen if kind == STARTED), default=None)

    def end(wanted: str) -> float | None:
        return min((at for at, _, kind, _ in seen if kind == wanted and at >= (started or since)), default=None)

    gave_up = [message for _, message, kind, _ in seen if kind == ABANDONED]
    events = tuple(
        {"at": at, "message": message, "event": name, **({"abandons": True} if kind == ABANDONED else {})}
        for at, message, kind, name in seen
    )
    return Course(events, started, end(COMPLETED), gave_up[-1] if gave_up else "", end(RECOVERED))


def _told(rows: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
    """Each event as its time and its message, in their order."""
    return sorted([float(row["Date"]), str(row.get("Message", ""))] for row in rows if row.get("Date"))


def _meant(message: str) -> tuple[str, str]:
    """What a message says of a failover, and the event's name; "" of one that is of something else."""
    said = message.lower()
    return next(((kind, name) for sign, kind, name in _MESSAGES if sign in said), (OTHER, ""))


def propose(source: str, objective: float, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
    """The call that forces a failover of the instance ``source``, or that awaits RDS's own after a fault of this run.
    ``objective``: seconds an outage may last. Raises RefusedError where there is no standby to fail over to, where the
    instance is not available, and where a failover is under way."""
    usual = "forced" if verb.name == "failover" else "automatic"
    forced = verb.args.get("kind", usual) == "forced"
    found = require_instance(source, facts)
    _refuse_unless_ready(found, facts)
    told = _told(facts.extra.get("events") or ())
    since = max([facts.at - CLOCKS, *(at for at, _ in told)])
    phase = "disaster" if run.purpose is Purpose.DRILL and forced else "failover"  # where nothing else is the disaster
    args = {
        "identifier": found.ref.name,
        "zone": found.attributes.get("AvailabilityZone", ""),
        "since": since,
        "known": [event for event in told if event[0] >= since],
    }
    return (
        Call(
            *("failover", verb.name, phase, DRIVER, FORCE if forced else AWAIT, args),
            effect=Effect.TAKES_OVER if forced else Effect.READS,
            touches=(found.ref,) if forced else (),
            until="failed over and available",
            deadline=max(_LEAST_DEADLINE, 5 * objective),
            promises=("failed-over",),
        ),
    )


def require_instance(name: str, facts: Facts) -> Resource:
    """The instance called ``name``. Raises RefusedError."""
    found = facts.find(instance(name))
    if found is None:
        raise RefusedError(
            f"There is no instance {name} in {where(facts)}.", "Check the target's instance, region and account."
        )
    return found


def _refuse_unless_ready(found: Resource, facts: Facts) -> None:
    """Raises RefusedError where RDS would not take a failover of ``found`` up."""
    name = found.ref.name
    if not found.attributes.get("MultiAZ"):
        raise RefusedError(
            f"{name} is Single-AZ: it has no standby to fail over to.",
            "'dr failover --promote best' promotes a read replica; a standby is added by 'aws rds modify-db-instance "
            "--multi-az'.",
        )
    recent = course(facts.extra.get("events") or (), facts.at - UNDER_WAY_SECONDS)
    over = recent.completed is not None or recent.recovered is not None or recent.abandoned
    if recent.started is not None and not over:
        raise RefusedError(
            f"A failover of {name} is under way since {iso(recent.started)} ({name} is {found.status}).",
            "Wait for its end: 'aws rds describe-events' tells; RDS takes one or two minutes.",
        )
    if found.status != "available":
        raise RefusedError(
            f"{name} is {found.status}, not available, and RDS fails over only what is available.",
            found.remedy or "Wait until RDS has finished what it is doing with it, then repeat the command.",
        )
