"""What was lost: exposure, missing markers, and whether a point-in-time restore holds just what its second says. Pure.

Markers are judged as Jepsen's set-full checker judges its elements: lost is what was acknowledged and is not there;
unexpected what is there and was never attempted; an indeterminate write counts as neither. A marker counts only where
its interval from sent to done, widened by what is not known of the clocks, lies on one side of the recovery point.

The copy's own log may tell how far it was replayed; that stands on the source's clock, so that no offset comes in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from dr.config.objective import About, Limit, Objective
from dr.domain.looks import POINT, Snapshot
from dr.domain.model import Demand, Effect, Finding, Request, Status
from dr.evidence.clocks import JUMP
from dr.evidence.model import Evidence, Marker
from dr.evidence.samples import ACKNOWLEDGED, FAILED
from dr.judge import former
from dr.judge.findings import WORST_FIRST, UnknownError, finding, judged, limit_of, within

WRITTEN_TO = "source"
"""The path whose markers a restoration is judged by."""
BEFORE_POINT = 2.0
"""Seconds before the recovery point in which a marker must have been acknowledged, lest the loss of the newest go
unseen."""
ASLEEP = 0.5
"""Seconds by which a writer that is late in them has slept."""
SECOND = 1.0
"""As exactly as a time to restore can be asked for."""
SHOWN = 5
"""Ranges of markers that a sentence lists."""


@dataclass(frozen=True, slots=True)
class Point:
    """The recovery point on the harness's clock. ``unsure``: seconds by which it may lie earlier or later. ``clock``:
    what is to be said about the database's clock. ``begin``: what was acknowledged by then is in it for certain."""

    covers: float
    unsure: float
    clock: str
    begin: float


@dataclass(frozen=True, slots=True)
class Judged:
    """Markers against a recovery point. ``before`` and ``after``: acknowledged for certain on that side of it.

    ``uncounted``: acknowledged and missing, but not certainly before it. ``unsettled``: attempted before it, and their
    outcome never written down. ``complete``: the record of writes reaches beyond the recovery point, and beyond every
    marker that the copy holds.
    """

    acknowledged: tuple[Marker, ...]
    before: tuple[Marker, ...]
    after: tuple[Marker, ...]
    lost: tuple[Marker, ...]
    uncounted: tuple[Marker, ...]
    surplus: tuple[Marker, ...]
    unexpected: tuple[int, ...]
    unsettled: tuple[Marker, ...]
    complete: bool
    twice: tuple[int, ...]
    gap: str


def point_of(evidence: Evidence, path: str) -> Point:
    """The recovery point of what was asked for its markers."""
    return _point(evidence, evidence.point(path, "markers"))


def _point(evidence: Evidence, seen: Any) -> Point:
    """A recovery point that was observed."""
    if seen is None or seen.get("covers") is None:
        raise UnknownError("What the recovery point covers was not observed.")
    read, markers = evidence.observed("clock", "source"), evidence.markers.get(WRITTEN_TO)
    offset, uncertainty, clock = 0.0, 0.0, " The offset of the database's clock was not measured."
    if markers is not None:
        offset, uncertainty, clock = markers.offset, markers.uncertainty, ""
    elif read is not None:
        offset, uncertainty, clock = float(read["offset"]), float(read["uncertainty"]), ""
    resolution, covers = float(seen.get("resolution") or 0.0), float(seen["covers"]) - offset
    uncertainty += _parted(evidence)
    # a point in time holds all that was committed by its second, whatever it holds of the next; so does a backup of a
    # cluster that began in it
    of_second = seen.get("kind") in ("time", "backup")
    exact = of_second and not clock and uncertainty < resolution and not former.is_form_of(evidence)
    return Point(covers, resolution + uncertainty, clock, covers - uncertainty - (0.0 if exact else resolution))


def _parted(evidence: Evidence) -> float:
    """Seconds by which the database's clock and the harness's came apart during the run: by several readings, or, where
    it was never read, as far as the wall clock here was set."""
    read = [float(o.value["offset"]) for o in evidence.observations if o.what == "clock"]
    read += [of.offset for path, of in evidence.markers.items() if path == WRITTEN_TO]
    apart = max(read) - min(read) if read else abs(evidence.clocks().put)
    return apart if apart > JUMP else 0.0


def _replayed(seen: Any) -> tuple[Status, str] | None:
    """Met where the copy's log proves that it holds its second and no more, missed where it proves that it holds less
    or more, inconclusive where it does not tell; and how far it came, a sentence. None where no point in time was
    restored, or which one is not known."""
    if seen is None or seen.get("kind") != "time" or seen.get("covers") is None:
        return None
    last, stop, target = (seen.get(name) for name in ("replayed_to", "stopped_before", "target"))
    asked, width = float(seen["covers"]), float(seen.get("resolution") or 0.0)

    def apart(at: float) -> str:
        return f"{abs(at - asked):.1f} s {'after' if at > asked else 'before'} the second that was asked for"

    if target is not None and abs(target - asked) >= max(width, SECOND):
        return Status.MISSED, f"By its own log the copy was recovered to a time {apart(target)}."
    if last is None and stop is None:
        why = str(seen.get("replay_note") or "its log was not read").rstrip(".")
        told = f"This rests on the second that was asked for; how far the copy was replayed is not known ({why})."
        return Status.INCONCLUSIVE, told
    if last is not None and last > asked + width:
        return Status.MISSED, f"By its own log the copy holds what was written {apart(last)}."
    if stop is not None and stop <= asked - width:
        return Status.MISSED, f"By its own log the copy left out what was written {apart(stop)}."
    if stop is not None:
        return Status.MET, f"By its own log the first transaction left out is one {apart(stop)}."
    newest = f"By its own log the newest transaction in the copy is one {apart(last)}"
    if last >= asked - width:
        return Status.MET, f"{newest}."
    return Status.INCONCLUSIVE, f"{newest}, and whether there were later ones it does not tell."


def _older(evidence: Evidence, path: str, seen: Any, point: Point) -> str:
    """That the copy lacks transactions which a look at the source from before the recovery point shows, or ""."""
    if seen is not evidence.point(path, "look"):
        return ""
    copy, baseline = evidence.observed("look", path) or {}, evidence.observed("baseline", "source") or {}
    cut, look = copy.get("cuts", {}).get(POINT), baseline.get("look")
    if cut is None or look is None or look["at"] > seen["covers"]:
        return ""
    short = Snapshot.parse(look["snapshot"]).xmax - Snapshot.parse(cut).xmax
    before = point.covers - float(look["at"])
    told = f"The copy lacks the last {short} transactions of a look at the source"
    return (
        f"{told} that was taken {before:.0f} s before the point it is of: it holds an older state." if short > 0 else ""
    )


def exposure(evidence: Evidence, demand: Demand) -> Finding:
    """Disaster minus what the recovery point covers, widened by what the clocks leave open. Missed where the copy's own
    log proves that it does not stand there. Of several recovery points, each with the limit of its kind, that which is
    worst."""
    points = evidence.points(demand.path)
    if len(points) < 2:
        return _each(evidence, demand, points[0].value if points else None)
    told = []
    for one in points:
        kind = one.value.get("kind") if isinstance(one.value, Mapping) else None
        own = replace(demand, limit=demand.limits.get(str(kind), demand.limit))
        found = judged(partial(_each, seen=one.value), evidence, own)
        of = ", ".join(sorted(ref.name for ref in evidence.named(one.call)))
        told.append(replace(found, because=f"{of or one.call}: {found.because}"))
    return min(told, key=lambda one: (WORST_FIRST.index(one.status), -(one.measured or 0.0)))


def _each(evidence: Evidence, demand: Demand, seen: Any) -> Finding:
    """By one recovery point."""
    point, replay, limit = _point(evidence, seen), _replayed(seen), limit_of(demand)
    if replay is not None and replay[0] is Status.MISSED:
        return finding(demand, Status.MISSED, replay[1])
    if older := _older(evidence, demand.path, seen, point):
        return finding(demand, Status.MISSED, older)
    seconds = evidence.disaster() - point.covers
    # its time was given, or its fault recorded, and not taken from the command's start
    told = evidence.disaster_by() is Effect.FAULT or evidence.record.plan.request.since is not None
    if seconds < -point.unsure and told:
        raise UnknownError(f"The recovery point lies {-seconds:.1f} s after the disaster: the damage may be in it.")
    low, high = max(0.0, seconds - point.unsure), max(0.0, seconds + point.unsure)
    because = (
        f"The recovery point covers all but the last {max(0.0, seconds):.1f} s before the disaster,"
        f" give or take {point.unsure:.1f} s.{point.clock}{f' {replay[1]}' if replay else ''}"
    )
    return finding(demand, within(low, high, limit), because, max(0.0, seconds), (low, high))


def held(present: Any, newest: int) -> tuple[set[tuple[int, int]], bool]:
    """Number and attempt of every row up to number ``newest``, and whether there are any beyond it. ``present``:
    ranges, first and last, of first attempts or by attempt."""
    by_attempt = present if isinstance(present, Mapping) else {"0": present}
    ranges = [(int(attempt), int(low), int(high)) for attempt, of in by_attempt.items() for low, high in of]
    rows = {
        (n, attempt) for attempt, low, high in ranges for n in range(min(max(low, -1), high), min(high, newest) + 1)
    }
    return rows, any(high > newest for _, _, high in ranges)


def judged_markers(evidence: Evidence, path: str) -> Judged:
    """Every marker against the recovery point and what the copy holds."""
    point, markers, seen = (
        point_of(evidence, path),
        evidence.markers.get(WRITTEN_TO),
        evidence.observed("markers", path),
    )
    if markers is None:
        raise UnknownError("No markers were written.")
    if seen is None:
        raise UnknownError("Which markers the copy holds was not observed.")
    written = [m for m in markers.markers if not m.attempt]  # the rows of the path ``source`` have but a number
    wall, disaster = markers.wall, evidence.disaster()
    begin, end = point.begin, point.covers + point.unsure
    attempted = [m for m in written if m.sent]
    acknowledged = [m for m in attempted if m.outcome == ACKNOWLEDGED]
    if not any(wall(m.done) < disaster for m in acknowledged):
        raise UnknownError("No marker was acknowledged before the disaster.")
    before = [m for m in acknowledged if wall(m.done) <= begin]
    after = [m for m in attempted if wall(m.sent) > end]
    numbers, known = {m.n for m in written}, {m.n for m in attempted if m.outcome != FAILED}
    newest = max(numbers)
    rows, beyond = held(seen["present"], newest)
    there = {n for n, _ in rows}
    return Judged(
        acknowledged=tuple(acknowledged),
        before=tuple(before),
        after=tuple(m for m in after if m.outcome == ACKNOWLEDGED),
        lost=tuple(m for m in before if m.n not in there),
        uncounted=tuple(m for m in acknowledged if wall(m.done) > begin and m.n not in there),
        surplus=tuple(m for m in after if m.n in there),
        unexpected=tuple(sorted(there - known)),
        unsettled=tuple(m for m in attempted if not m.done and wall(m.sent) <= end and m.n not in there),
        complete=max(wall(m.due) for m in written) > end and not beyond and len(numbers) == newest + 1,
        twice=tuple(seen.get("twice") or ()),
        gap=""
        if former.is_form_of(evidence) or not before
        else _gap(written, [wall(m.done) for m in before], begin, wall),
    )


def _gap(written: Iterable[Marker], done: Collection[float], begin: float, wall: Callable[[int], float]) -> str:
    """Why nobody can know whether the newest writes before the recovery point are lost, a sentence, or ""."""
    if begin - max(done) > BEFORE_POINT:
        return f"No marker was acknowledged in the last {begin - max(done):.1f} s before the recovery point."
    late = max((m.late for m in written if begin - BEFORE_POINT <= wall(m.due) <= begin), default=0) / 1e9
    return f"The marker writer was {late:.1f} s late just before the recovery point." if late > ASLEEP else ""


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


def _of(markers: Collection[Marker]) -> str:
    return holes(m.n for m in markers)


def loss(evidence: Evidence, demand: Demand) -> Finding:
    """Acknowledged markers before the recovery point that the copy does not hold."""
    limit, judged = limit_of(demand), judged_markers(evidence, demand.path)
    count, doubt = len(judged.lost), _doubt(judged)
    odd = bool(judged.unexpected or judged.twice)
    if doubt and count <= limit and not odd:
        return finding(demand, Status.INCONCLUSIVE, doubt, float(count) if judged.before else None)
    said = f"Of {len(judged.before)} markers acknowledged before the recovery point {count} are missing"
    if judged.lost:
        said += f" ({_of(judged.lost)}): {_seconds_lost(evidence, judged):.1f} s lost"
    if judged.unexpected:
        said += f"; the copy holds markers that were never attempted ({holes(judged.unexpected)})"
    if judged.twice:
        said += f"; markers {holes(judged.twice)} stand there more than once"
    status = Status.MISSED if count > limit or odd else Status.MET
    return finding(demand, status, f"{said}.", float(count))


def _doubt(judged: Judged) -> str:
    """Why the absence of losses proves nothing, or ""."""
    if not judged.before:
        return "No marker was acknowledged for certain before the recovery point."
    if not judged.complete:
        return "The record of writes ends before the recovery point does, or before what the copy holds."
    if judged.unsettled:
        return f"The outcome of markers {_of(judged.unsettled)} was never written down."
    return judged.gap


def _seconds_lost(evidence: Evidence, judged: Judged) -> float:
    """Disaster minus the newest write acknowledged before the first lost one (without one: the lost one's sending)."""
    markers = evidence.markers[WRITTEN_TO]
    first = min(judged.lost, key=lambda m: m.sent)
    earlier = [m.done for m in markers.markers if m.outcome == ACKNOWLEDGED and m.done < first.sent]
    return max(0.0, evidence.disaster() - markers.wall(max(earlier, default=first.sent)))


def exact_point(evidence: Evidence, demand: Demand) -> Finding:
    """A point-in-time restore holds every marker that is certainly before its second, and none that is after it. The
    copy's own log may prove the contrary; it alone proves the second where no markers were written."""
    seen = evidence.point(demand.path, "markers")
    replay = _replayed(seen)
    if seen is not None and seen.get("kind") == "snapshot":
        raise UnknownError("A snapshot was restored, and no point in time asked for.")
    if replay is not None and (replay[0] is Status.MISSED or not evidence.markers):
        return finding(demand, *replay)
    judged = judged_markers(evidence, demand.path)
    if judged.lost or judged.surplus or judged.twice:
        less = f"less: markers {_of(judged.lost)} are missing" if judged.lost else ""
        more = f"more: markers {_of(judged.surplus)} were written after it" if judged.surplus else ""
        twice = f"some twice: markers {holes(judged.twice)}" if judged.twice else ""
        because = f"The copy holds {' and '.join(filter(None, (less, more, twice)))}."
        return finding(
            demand, Status.MISSED, because, float(len(judged.lost) + len(judged.surplus) + len(judged.twice))
        )
    if doubt := _doubt(judged):
        raise UnknownError(doubt)
    if not judged.after:
        raise UnknownError("No marker was acknowledged for certain after the recovery point.")
    there = f"All {len(judged.before)} markers acknowledged before the point are there"
    because = f"{there}, and none of {len(judged.after)} written after it."
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
        (Limit("exposure-time", REPLAYABLE, Request.restores_a_time), Limit("exposure-snapshot", BETWEEN_BACKUPS)),
        on_call="restore",
    ),
    Objective("loss", About.CONTENT, loss, "markers", (Limit("loss", 0.0),)),
    Objective("exact-point", About.CONTENT, exact_point),
)
