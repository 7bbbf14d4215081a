"""A run's evidence, loaded: what the judge and the reports read, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from dr.domain.model import LATEST, Component, Effect, Moment, Observation, Plan, Stamp
from dr.domain.refs import Ref
from dr.evidence.clocks import Clocks, clocks


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger. ``kind``: accepted, intent, effect, failed, undoing, undone, event, halted.

    ``call`` is the planned call's id, or "" where the entry is about the run. ``data``: an effect's result, a failure's
    sentence, an event's text. ``milestones`` and ``components``: what an effect told of them. ``observed``: so many
    observations it had written by then, or more where it was repeated. ``prev`` and ``hash`` chain the entries.
    """

    seq: int
    stamp: Stamp
    kind: str
    call: str
    data: Mapping[str, Any]
    prev: str
    hash: str
    milestones: Mapping[str, Moment] = field(default_factory=dict)
    components: tuple[Component, ...] = ()
    observed: int = 0


ASLEEP = 0.01
"""Share of a time that dr itself may have been stopped. In a drill of a minute that is less than it notices."""
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


@dataclass(frozen=True, slots=True)
class Timed:
    """What a meter took up, times in monotonic nanoseconds. ``sent`` or ``done`` is 0 where it was never reached."""

    n: Count
    due: Count
    sent: Count
    done: Count


@dataclass(frozen=True, slots=True)
class Sample(Timed):
    """One probe.

    ``status`` is the HTTP status, 0 where there was none; ``error`` names why ("timeout", "refused", ...), "" if none.
    ``late``: nanoseconds from due until the prober took the probe up: its own lateness. ``sent`` minus ``due`` also
    holds the waiting for a connection, which is the target's doing. ``golden``: whether a good answer was the golden
    one of its request; None: it was held against none.
    """

    status: Count
    error: str
    late: Count = 0
    golden: bool | None = None


@dataclass(frozen=True, slots=True)
class Marker(Timed):
    """One write. ``outcome``: acknowledged, failed (certainly not written) or indeterminate.

    ``attempt``: 0, or 1 for the repetition of an indeterminate write, which is a row of its own. ``error`` names why it
    was not acknowledged ("timeout", "broken", "refused", "sync-cancelled", "read-only", ...), "" if it was.
    ``late``: nanoseconds of the writer's own lateness, apart from waiting for a connection; 0 where it notes none.
    """

    outcome: str
    attempt: Count = 0
    error: str = ""
    late: Count = 0


@dataclass(frozen=True, slots=True)
class _Measured:
    """One path. ``start`` ties monotonic to wall time. ``processor``: the meter's own share of one processor, as it
    noted it when it ended."""

    path: str
    rate: float
    timeout: float
    start: Stamp

    def wall(self, mono_ns: int) -> float:
        return self.start.at + (mono_ns - self.start.mono_ns) / 1e9


@dataclass(frozen=True, slots=True)
class Samples(_Measured):
    """A path's probes."""

    samples: tuple[Sample, ...]
    processor: float | None = None


@dataclass(frozen=True, slots=True)
class Markers(_Measured):
    """Every write of one path, kept outside the system that fails. ``offset``: database clock minus harness clock,
    seconds, known to within ``uncertainty``."""

    offset: float
    uncertainty: float
    markers: tuple[Marker, ...]
    processor: float | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """run.json: what was fixed before the first effect."""

    plan: Plan
    started: Stamp
    emulated: str
    versions: Mapping[str, str]
    window: Annotated[float, msgspec.Meta(ge=1e-9, le=1e8)]
    """Seconds of one window of samples."""
    previous_seal: str = ""


@dataclass(frozen=True, slots=True)
class Settled:
    """The numbers of a path's probes or writes from which on it settled, and up to which it had. ``at``: wall time.

    ``looks``: how often it was looked whether its errors are decided; 0: that had no part in when it ended. ``stood``:
    seconds for which its service's own process was stopped meanwhile."""

    first: int
    last: int
    at: float
    looks: int = 0
    stood: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Everything a verdict rests on; equal to itself alone. ``problems`` names what is missing, torn or altered,
    ``unsealed`` why it may still be, where nobody has sealed it yet.

    ``journal``: Chaos Toolkit's own, as it wrote it; None where it wrote none.
    """

    record: RunRecord
    entries: tuple[Entry, ...]
    observations: tuple[Observation, ...] = ()
    samples: Mapping[str, Samples] = field(default_factory=dict)
    markers: Mapping[str, Markers] = field(default_factory=dict)
    """By path."""
    problems: tuple[str, ...] = ()
    journal: Mapping[str, Any] | None = None
    unsealed: str = ""

    def milestone(self, name: str, role: str = "") -> float | None:
        """When ``name`` came last, wall time; None: it is not known to have. ``role``: of whatever was restored, that
        of components of this role alone, where the effect names any."""
        told = (e for e in reversed(self.entries) if name in e.milestones)
        of_role = (e for e in told if not role or not e.components or role in {one.role for one in e.components})
        return next((entry.milestones[name] for entry in of_role), None)

    def promoted(self) -> float | None:
        """When another server became the primary, wall time: as its provider observed it, or else as the effect of the
        call that made it so tells. None: that is not known."""
        seen = self.latest("failover")
        at = seen.value.get("promoted_at") if seen is not None and isinstance(seen.value, Mapping) else None
        told = (self.milestone(name) for name in ("promoted", "failed-over"))
        return float(at) if at is not None else next((one for one in told if one is not None), None)

    def promised(self, name: str) -> bool:
        """Whether a planned call was asked for ``name``."""
        return any(name in call.promises for call in self.record.plan.calls)

    def settled(self, path: str) -> Settled | None:
        """What was on disk of ``path`` when it had settled last, or None: it never did."""
        for entry in reversed(self.entries):
            told = entry.data.get("settled") if entry.kind == "effect" else None
            found = told.get(path) if isinstance(told, Mapping) else None
            if isinstance(found, Mapping):
                looks, stood = int(found.get("looks", 0)), float(found.get("stood", 0.0))
                return Settled(int(found["first"]), int(found["last"]), entry.stamp.at, looks, stood)
        return None

    def observed(self, what: str, path: str) -> Any:
        """The newest observation of ``what`` on ``path``, or None: not observed."""
        return next((o.value for o in reversed(self.observations) if (o.what, o.path) == (what, path)), None)

    def points(self, path: str) -> tuple[Observation, ...]:
        """The recovery points on ``path``: the newest that each call observed, which is one for each restoration."""
        seen = (o for o in self.observations if (o.what, o.path) == ("recovery-point", path))
        return tuple({o.call: o for o in seen}.values())

    def point(self, path: str, what: str) -> Any:
        """The recovery point of that of which ``what`` was observed; None: not observed, or it is not known of which.
        Of several it is that whose call and the observing one name the same component."""
        points = self.points(path)
        if len(points) > 1:
            by = next((o.call for o in reversed(self.observations) if (o.what, o.path) == (what, path)), "")
            points = tuple(one for one in points if self.named(one.call) & self.named(by))
        return points[0].value if len(points) == 1 else None

    def named(self, call: str) -> frozenset[Ref]:
        """The components that ``call`` told of."""
        told = (entry.components for entry in self.entries if entry.kind == "effect" and entry.call == call)
        return frozenset(one.ref for of in told for one in of)

    def latest(self, what: str) -> Observation | None:
        """The newest observation of ``what`` on whatever path: for what a run has one of."""
        return next((o for o in reversed(self.observations) if o.what == what), None)

    def remains(self) -> Mapping[str, Any] | None:
        """What the provider showed of the run when it was asked last: {text: that, in words, remains: [{identifier,
        status}], or None: it could not be asked}. None of a run that did not come to ask."""
        return next((entry.data for entry in reversed(self.entries) if "remains" in entry.data), None)

    def steps(self) -> tuple[float, float]:
        """When the run's first step began and its last one ended, wall time; twice 0 where it came to none."""
        at = [entry.stamp.at for entry in self.entries if entry.kind in ("intent", "effect")]
        return (at[0], at[-1]) if at else (0.0, 0.0)

    def asleep(self, begin: float, end: float) -> float:
        """Seconds between two moments, wall time, in which dr itself was stopped, and so did nothing."""
        told = ((e.stamp.at, e.data.get("asleep")) for e in self.entries)
        stretches = [(at - of, at) for at, of in told if isinstance(of, int | float) and 0.0 <= of <= LATEST]
        return sum(max(0.0, min(end, until) - max(begin, since)) for since, until in stretches)

    def drowsy(self, begin: float, end: float) -> bool:
        """Whether that was too much of the time to say how long something took."""
        return self.asleep(begin, end) > ASLEEP * (end - begin)

    def clocks(self) -> Clocks:
        """What all stamps tell of the clocks they were taken by."""
        started = self.record.started
        meters = (of.start for of in (*self.samples.values(), *self.markers.values()))
        own = () if started.wall is None else (started,)  # in earlier versions' it may be another machine's time
        return clocks((*own, *(entry.stamp for entry in self.entries), *meters))

    def disaster(self) -> float:
        """``struck``, from when all times count. Raises UnknownError where the run's clocks do not tell how long."""
        of_another = self._disaster() is None and self.record.plan.request.since is not None
        self.clocks().check(others=of_another)
        return self.struck()

    def struck(self) -> float:
        """When the disaster happened, wall time: from the fault or declaration, else ``since``, else the run's own
        start."""
        told, since = self._disaster(), self.record.plan.request.since
        if told is not None:
            return told.milestones["disaster"]
        return since if since is not None else self.record.started.at

    def disaster_by(self) -> Effect | None:
        """What the call does that was the disaster: a fault, a take-over, or nothing, where it was only declared. None:
        it was none of the run's calls."""
        told = self._disaster()
        return None if told is None else next((c.effect for c in self.record.plan.calls if c.id == told.call), None)

    def _disaster(self) -> Entry | None:
        return next((entry for entry in self.entries if "disaster" in entry.milestones), None)
