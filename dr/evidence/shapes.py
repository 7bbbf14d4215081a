"""What the value of an observation is, by its kind, as docs/design.md lists them: the core's judges take it for
granted. Pure.

What a former version's observations have not is marked as not required; what a later one's have beside is let pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import msgspec

from dr.domain.looks import Baseline, Look, TableRows
from dr.domain.model import Observation

Spans = list[tuple[int, int]]


class ForeignKey(TypedDict):
    name: str
    table: str
    orphans: int | None
    because: NotRequired[str]


class Login(TypedDict):
    user: str
    ok: bool | None
    because: str


class Failure(TypedDict):
    index: str
    error: str


class Lost(TypedDict):
    index: str
    kind: str
    rows: int
    found: int


class Indexes(TypedDict):
    available: bool
    because: NotRequired[str]
    checked: NotRequired[int]
    failed: NotRequired[list[Failure]]
    invalid: NotRequired[list[str]]
    probed: NotRequired[int]
    lost: NotRequired[list[Lost]]
    unprobed: NotRequired[dict[str, str]]
    unchecked: NotRequired[dict[str, str]]
    collations: NotRequired[list[tuple[str, str, str | None]]]
    others: NotRequired[dict[str, int]]


class Active(TypedDict):
    """A model; empty where nobody knows."""

    active: NotRequired[int | None]
    version: NotRequired[str | None]
    digest: NotRequired[str | None]
    artifact_digest: NotRequired[str | None]
    xid: NotRequired[int]
    because: NotRequired[str]


class Model(Active):
    source: NotRequired[Active | None]
    after: NotRequired[Active | None]


class Sessions(TypedDict):
    user: str
    seen: int


class Planted(TypedDict):
    answers: dict[str, str]
    because: str
    waits: NotRequired[dict[str, tuple[str, str]]]
    unwatched: NotRequired[str]


class Asked(TypedDict):
    stood: float


class Stored(TypedDict):
    copy: int | None
    source: int | None
    because: str
    silent: bool
    first: NotRequired[int]
    last: NotRequired[int]
    before: NotRequired[int]
    sent: NotRequired[int]
    compared: NotRequired[int]
    unlike: NotRequired[int]


class Markers(TypedDict):
    table: bool
    present: Spans | dict[str, Spans]
    twice: NotRequired[list[int]]
    at: NotRequired[float]


class Victims(TypedDict):
    expected: int
    present: int


class Setting(TypedDict):
    name: str
    source: Any
    restored: Any
    expected: bool
    because: str


class Because(TypedDict):
    because: str


class FormerBaseline(TypedDict):
    """Of a run whose source was summed as a whole; ``dr.judge.former`` reads it."""

    fingerprint: dict[str, Any]


class RecoveryPoint(TypedDict):
    kind: str
    identifier: str
    covers: float | None
    resolution: NotRequired[float | None]
    target: NotRequired[float | None]
    replayed_to: NotRequired[float | None]
    stopped_before: NotRequired[float | None]
    replay_note: NotRequired[str]


class Histogram(TypedDict):
    count: int
    buckets: dict[str, int]


class Pool(TypedDict):
    database: str
    user: str
    waiting: int
    cancels: int
    busy: NotRequired[int]


class Pools(TypedDict):
    when: str
    pools: NotRequired[list[Pool]]
    because: NotRequired[str]


class Clock(TypedDict):
    offset: float
    uncertainty: float


class Event(TypedDict):
    at: float
    message: str
    event: NotRequired[str]
    abandons: NotRequired[bool]


class Failover(TypedDict):
    events: list[Event]
    promoted_at: float | None
    promotion_started_at: NotRequired[float | None]
    server: NotRequired[str]
    listens: NotRequired[str]
    because: NotRequired[str]


class Replaced(TypedDict):
    server: str
    answer: str
    because: NotRequired[str]
    status: NotRequired[str | None]
    ended: NotRequired[bool]
    fence: NotRequired[str]


class Lag(TypedDict):
    replica: str
    seconds: float | None
    because: NotRequired[str]
    bytes: NotRequired[int]


class ReplicaChoice(TypedDict):
    chosen: str
    because: str
    received: dict[str, int | None]


class Steady(TypedDict):
    p95: float | None
    errors: int
    probes: int
    in_slo: bool
    broken: NotRequired[bool]
    void: NotRequired[str]
    looks: NotRequired[int]


class OldPrimary(TypedDict):
    outcome: str
    rows: NotRequired[list[str]]


class ServiceProcess(TypedDict):
    started: float


class Replication(TypedDict):
    standbys: int
    synchronous: int
    commit: str
    replicas: int
    streaming: NotRequired[int]


class Unkept(TypedDict):
    when: str
    unlogged: dict[str, bool]
    slots: list[str]


_SHAPES: Mapping[str, Any] = {
    "baseline": Baseline | None,
    "look": Look,
    "rows": dict[str, TableRows],
    "foreign-keys": list[ForeignKey],
    "indexes": Indexes,
    "model": Model,
    "logins": list[Login],
    "service-sessions": Sessions,
    "golden": dict[str, str],
    "planted": Planted,
    "asked": Asked,
    "stored": Stored,
    "markers": Markers,
    "victims": Victims,
    "configuration": list[Setting],
    "recovery-point": RecoveryPoint,
    "metrics": dict[str, Histogram],
    "pools": Pools,
    "clock": Clock,
    "failover": Failover,
    "replaced": Replaced,
    "lag": Lag,
    "replica-choice": ReplicaChoice,
    "steady": Steady,
    "old-primary": OldPrimary,
    "service-process": ServiceProcess,
    "replication": Replication,
    "unkept": Unkept,
    "unobserved": str,
}
_OR_WHY = ("look", "configuration")
"""In whose place may stand why there is none."""


def misfit(seen: Observation | None) -> str:
    """Why a value is none of its kind, in words; "" where it is, or is of a kind that nobody knows."""
    if seen is None or seen.what not in _SHAPES:
        return ""
    shape = _SHAPES[seen.what]
    if isinstance(seen.value, Mapping):
        if seen.what in _OR_WHY and seen.value.keys() == {"because"}:
            shape = Because
        elif seen.what == "baseline" and "fingerprint" in seen.value:
            shape = FormerBaseline
    try:
        msgspec.convert(seen.value, shape)
    except msgspec.ValidationError as error:
        return f"the value of {seen.what!r}: {error}"
    return ""
