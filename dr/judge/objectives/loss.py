"""What was lost: exposure, missing markers, and whether a point-in-time restore holds just what its second says. Pure.

Markers are judged as Jepsen's set-full checker judges its elements: lost is what was acknowledged and is not there;
unexpected what is there and was never attempted; an indeterminate write counts as neither. A marker counts only where
its interval from sent to done, widened by what is not known of the clocks, lies on one side of the recovery point.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dr.config.objective import About, Limit, Objective
from dr.domain.model import Demand, Effect, Finding, Status
from dr.domain.requests import restores_a_time
from dr.evidence.model import Evidence, Marker, Markers
from dr.evidence.samples import ACKNOWLEDGED, FAILED
from dr.judge.findings import finding, unknown, within
from dr.judge.replay import replay_of

WRITTEN_TO = "source"
"""The path whose markers a restoration is judged by."""
SHOWN = 5
"""Ranges of markers that a sentence lists."""


@dataclass(frozen=True, slots=True)
class Point:
    """The recovery point on the harness's clock. ``unsure``: seconds by which it may lie earlier or later."""

    kind: str
    covers: float
    unsure: float
    clock: str
    """What is to be said about the database's clock."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Markers against a recovery point. ``unsettled``: attempted before it, and their outcome never written down."""

    before: tuple[Marker, ...]
    after: tuple[Marker, ...]
    lost: tuple[Marker, ...]
    surplus: tuple[Marker, ...]
    unexpected: tuple[int, ...]
    unsettled: tuple[Marker, ...]
    complete: bool
    """The record of writes reaches beyond the recovery point, and beyond every marker that the copy holds."""


def point_of(evidence: Evidence, path: str) -> Point | str:
    """The recovery point that was restored, or why it is not known."""
    seen = evidence.observed("recovery-point", path)
    if seen is None or seen.get("covers") is None:
        return "What the recovery point covers was not observed."
    offset, uncertainty, clock = _clock(evidence)
    return Point(
        str(seen["kind"]), float(seen["covers"]) - offset, float(seen.get("resolution") or 0.0) + uncertainty, clock
    )


def _clock(evidence: Evidence) -> tuple[float, float, str]:
    """The database's offset and its uncertainty, seconds."""
    read, markers = evidence.observed("clock", "source"), evidence.markers.get(WRITTEN_TO)
    if markers is not None:
        return markers.offset, markers.uncertainty, ""
    if read is not None:
        return float(read["offset"]), float(read["uncertainty"]), ""
    return 0.0, 0.0, " The offset of the database's clock was not measured."


def exposure(evidence: Evidence, demand: Demand) -> Finding:
    """Disaster minus what the recovery point covers, widened by what is not known of the clocks.

    Where the copy's own log proves that it does not stand at its second, what that second covers is nothing to it.
    """
    disaster, point = evidence.disaster(), point_of(evidence, demand.path)
    replay = replay_of(evidence, demand.path)
    if isinstance(point, str):
        return unknown(demand, point)
    if demand.limit is None:
        return unknown(demand, "No limit is known.")
    if replay is not None and replay.status is Status.MISSED:
        return finding(demand, Status.MISSED, replay.because)
    seconds = disaster - point.covers
    if seconds < -point.unsure and _damaged(evidence):
        return unknown(demand, f"The recovery point lies {-seconds:.1f} s after the disaster: the damage may be in it.")
    low, high = max(0.0, seconds - point.unsure), max(0.0, seconds + point.unsure)
    because = (
        f"The recovery point covers all but the last {max(0.0, seconds):.1f} s before the disaster,"
        f" give or take {point.unsure:.1f} s.{point.clock}{f' {replay.because}' if replay else ''}"
    )
    return finding(demand, within(low, high, demand.limit), because, max(0.0, seconds), (low, high))


def _damaged(evidence: Evidence) -> bool:
    """Whether the time of the disaster was given, or its fault recorded, rather than taken from the command's start."""
    return evidence.disaster_by() is Effect.FAULT or evidence.record.plan.request.since is not None


def judged_markers(evidence: Evidence, path: str) -> Judged | str:
    """Every marker against the recovery point and what the copy holds, or why that cannot be told."""
    point, markers, disaster = point_of(evidence, path), evidence.markers.get(WRITTEN_TO), evidence.disaster()
    seen = evidence.observed("markers", path)
    if isinstance(point, str):
        return point
    if markers is None:
        return "No markers were written."
    if seen is None:
        return "Which markers the copy holds was not observed."
    markers = first_attempts(markers)
    acknowledged = [m for m in markers.markers if m.outcome == ACKNOWLEDGED]
    if not any(markers.wall(m.done) < disaster for m in acknowledged):
        return "No marker was acknowledged before the disaster."
    return _judge(markers, point, [(int(low), int(high)) for low, high in seen["present"]])


def first_attempts(markers: Markers) -> Markers:
    """``markers`` without repetitions: the rows of the path ``source`` have but a number."""
    return replace(markers, markers=tuple(m for m in markers.markers if not m.attempt))


def _judge(markers: Markers, point: Point, present: Sequence[tuple[int, int]]) -> Judged:
    ranges = sorted(present)

    def there(n: int) -> bool:
        at = bisect_right(ranges, (n, float("inf"))) - 1
        return at >= 0 and ranges[at][0] <= n <= ranges[at][1]

    begin, end = point.covers - point.unsure, point.covers + point.unsure
    attempted = [m for m in markers.markers if m.sent]
    acknowledged = [m for m in attempted if m.outcome == ACKNOWLEDGED]
    before = [m for m in acknowledged if markers.wall(m.done) <= begin]
    after = [m for m in attempted if markers.wall(m.sent) > end]
    newest = max((m.n for m in markers.markers), default=-1)
    last_due = max((markers.wall(m.due) for m in markers.markers), default=point.covers)
    known = {m.n for m in attempted if m.outcome != FAILED}
    return Judged(
        before=tuple(before),
        after=tuple(m for m in after if m.outcome == ACKNOWLEDGED),
        lost=tuple(m for m in before if not there(m.n)),
        surplus=tuple(m for m in after if there(m.n)),
        unexpected=tuple(n for low, high in ranges for n in range(low, min(high, newest) + 1) if n not in known),
        unsettled=tuple(m for m in attempted if not m.done and markers.wall(m.sent) <= end and not there(m.n)),
        complete=last_due > end
        and all(high <= newest for _, high in ranges)
        and len({m.n for m in markers.markers}) == newest + 1,
    )


def holes(numbers: Iterable[int]) -> str:
    """Sorted numbers as ranges, the first few of them."""
    ranges: list[tuple[int, int]] = []
    for n in numbers:
        if ranges and ranges[-1][1] == n - 1:
            ranges[-1] = (ranges[-1][0], n)
        else:
            ranges.append((n, n))
    shown = ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in ranges[:SHOWN])
    return shown + (f" and {len(ranges) - SHOWN} more ranges" if len(ranges) > SHOWN else "")


def loss(evidence: Evidence, demand: Demand) -> Finding:
    """Acknowledged markers before the recovery point that the copy does not hold."""
    judged = judged_markers(evidence, demand.path)
    if isinstance(judged, str) or demand.limit is None:
        return unknown(demand, judged if isinstance(judged, str) else "No limit is known.")
    count = len(judged.lost)
    if count > demand.limit or judged.unexpected:
        return finding(demand, Status.MISSED, _what_is_lost(evidence, judged), float(count))
    doubt = _doubt(judged)
    if doubt:
        return finding(demand, Status.INCONCLUSIVE, doubt, float(count) if judged.before else None)
    return finding(demand, Status.MET, _what_is_lost(evidence, judged), float(count))


def _doubt(judged: Judged) -> str:
    """Why the absence of losses proves nothing, or ""."""
    if not judged.before:
        return "No marker was acknowledged for certain before the recovery point."
    if not judged.complete:
        return "The record of writes ends before the recovery point does, or before what the copy holds."
    if judged.unsettled:
        return f"The outcome of markers {holes(m.n for m in judged.unsettled)} was never written down."
    return ""


def _what_is_lost(evidence: Evidence, judged: Judged) -> str:
    said = f"Of {len(judged.before)} markers acknowledged before the recovery point {len(judged.lost)} are missing"
    if judged.lost:
        said += f" ({holes(m.n for m in judged.lost)}): {_seconds_lost(evidence, judged):.1f} s lost"
    if judged.unexpected:
        said += f"; the copy holds markers that were never attempted ({holes(judged.unexpected)})"
    return f"{said}."


def _seconds_lost(evidence: Evidence, judged: Judged) -> float:
    """Disaster minus the newest write acknowledged before the first lost one (without one: the lost one's sending)."""
    markers = evidence.markers[WRITTEN_TO]
    first = min(judged.lost, key=lambda m: m.sent)
    earlier = [m.done for m in markers.markers if m.outcome == ACKNOWLEDGED and m.done < first.sent]
    return max(0.0, evidence.disaster() - markers.wall(max(earlier, default=first.sent)))


def exact_point(evidence: Evidence, demand: Demand) -> Finding:
    """A point-in-time restore holds every marker that is certainly before its second, and none that is after it.

    The copy's own log may prove the contrary; it alone proves the second where no markers were written.
    """
    point, judged = point_of(evidence, demand.path), judged_markers(evidence, demand.path)
    replay = replay_of(evidence, demand.path)
    if not isinstance(point, str) and point.kind == "snapshot":
        return unknown(demand, "A snapshot was restored, and no point in time asked for.")
    if replay is not None and replay.status is Status.MISSED:
        return finding(demand, Status.MISSED, replay.because)
    if not evidence.markers and replay is not None:
        return finding(demand, replay.status, replay.because)
    if isinstance(judged, str):
        return unknown(demand, judged)
    if judged.lost or judged.surplus:
        less = f"less: markers {holes(m.n for m in judged.lost)} are missing" if judged.lost else ""
        more = f"more: markers {holes(m.n for m in judged.surplus)} were written after it" if judged.surplus else ""
        because = f"The copy holds {' and '.join(filter(None, (less, more)))}."
        return finding(demand, Status.MISSED, because, float(len(judged.lost) + len(judged.surplus)))
    doubt = _doubt(judged) or (
        "" if judged.after else "No marker was acknowledged for certain after the recovery point."
    )
    if doubt:
        return unknown(demand, doubt)
    because = (
        f"All {len(judged.before)} markers acknowledged before the point are there, and none of {len(judged.after)}"
        " written after it."
    )
    return finding(demand, Status.MET, because, 0.0)


REPLAYABLE = 600.0
"""Seconds that a point-in-time restore may leave uncovered: logs that are uploaded every five minutes; twice that."""
BETWEEN_BACKUPS = 93_600.0
"""Seconds that a daily snapshot may leave uncovered: a day, and two hours for the backup itself."""
OBJECTIVES = (
    Objective(
        "exposure",
        About.WRITES,
        exposure,
        "s",
        (Limit("exposure-time", REPLAYABLE, restores_a_time), Limit("exposure-snapshot", BETWEEN_BACKUPS)),
        on_call="restore",
    ),
    Objective("loss", About.CONTENT, loss, "markers", (Limit("loss", 0.0),)),
    Objective("exact-point", About.CONTENT, exact_point),
)
