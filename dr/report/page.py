"""The report as one HTML page that needs nothing else: no script, no font, no picture from anywhere.

Pure: evidence and verdict to a string. Everything that comes from a run is escaped by the template engine; the page's
own policy forbids scripts besides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from dr.domain.model import Status, Verdict
from dr.evidence.model import Entry, Evidence, Marker
from dr.evidence.samples import ACKNOWLEDGED
from dr.judge.findings import UnknownError
from dr.judge.objectives import equality, loss
from dr.report import chart, words
from dr.report import summary as told

AGREEMENT = {Status.MET: "equal", Status.MISSED: "differs", Status.INCONCLUSIVE: "not comparable"}
"""How a table's status is called."""
_ALTERED = (KeyError, TypeError, ValueError, OverflowError, AttributeError)
"""What reading evidence that was altered may raise."""


@dataclass(frozen=True, slots=True)
class Step:
    """What became of a planned call: the ledger in the words of the page."""

    call: str
    verb: str
    operation: str
    began: str
    took: str
    outcome: str


@cache
def _template() -> Template:
    loader = PackageLoader("dr.report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        duration=words.duration,
        moment=words.moment,
        printable=words.printable,
        said=words.said,
        rows=_rows,
        agreement=AGREEMENT.get,
    )
    environment.globals.update(connect=told.connect)
    environment.globals.update(chart=chart, bar=chart.bar, limit=words.limit, value=words.value, bounds=words.bounds)
    return environment.get_template("page.html")


def html(evidence: Evidence, verdict: Verdict) -> str:
    """The page."""
    rows, ticks = chart.phases(verdict.phases)
    return _template().render(
        verdict=verdict,
        summary=told.summarise(evidence, verdict),
        record=evidence.record,
        problems=evidence.problems,
        clocks=told.clocks(evidence, verdict),
        phase_rows=rows,
        phase_ticks=ticks,
        steps=_steps(evidence),
        tables=_tables(evidence),
        ledger=evidence.entries,
        **_signals(evidence, verdict),
    )


def _signals(evidence: Evidence, verdict: Verdict) -> dict[str, Any]:
    """Latency and markers on one axis of time, which counts from the disaster."""
    disaster = told.disaster(evidence)
    covers = told.recovery_point(evidence)
    paths = [samples for samples in evidence.samples.values() if samples.samples]
    markers = written if (written := evidence.markers.get(loss.WRITTEN_TO)) and written.markers else None
    moments = [samples.wall(edge.due) for samples in paths for edge in (samples.samples[0], samples.samples[-1])]
    if markers:
        moments += [markers.wall(edge.due) for edge in (markers.markers[0], markers.markers[-1])]
    origin = evidence.record.started.at if disaster is None else disaster
    axis = chart.axis(moments, (disaster, covers), origin)
    if axis is None:
        return {"axis": None, "latencies": [], "outages": {}, "lines": [], "markers": None}
    limits = {demand.path: demand.limit for demand in evidence.record.plan.demands if demand.objective == "latency"}
    lines = [(at, name) for at, name in ((disaster, "disaster"), (covers, "recovery point")) if axis.holds(at)]
    return {
        "axis": axis,
        "latencies": [chart.latency(samples, axis, limits.get(samples.path)) for samples in paths],
        "outages": _outages(verdict, axis, disaster),
        "lines": [chart.Tick(axis.x(at), name) for at, name in lines if at is not None],
        "markers": _markers(evidence, axis) if markers else None,
    }


def _outages(verdict: Verdict, axis: chart.Axis, disaster: float | None) -> dict[str, list[chart.Span]]:
    """From the disaster to the recovery of each path, as judged; where it ended within the interval is uncertain.

    A path that is known not to have recovered was out to the end of what was measured.
    """
    shaded: dict[str, list[chart.Span]] = {}
    for finding in verdict.findings:
        if finding.objective != "time-to-copy" or disaster is None:
            continue
        if finding.measured is not None:
            low, high = finding.interval or (finding.measured, finding.measured)
            certain = axis.span(disaster, disaster + low, kind="outage")
            shaded[finding.path] = [certain, axis.span(disaster + low, disaster + high, kind="unsure")]
        elif finding.status is Status.MISSED:
            shaded[finding.path] = [axis.span(disaster, axis.high, kind="outage")]
    return shaded


def _markers(evidence: Evidence, axis: chart.Axis) -> dict[str, Any] | None:
    """The lanes. Which of what is missing counts as lost is the judge's to say; this only shows it."""
    markers = loss.first_attempts(evidence.markers[loss.WRITTEN_TO])
    try:
        present = evidence.observed("markers", "restored")["present"]
        held, _ = loss.held(present, max(marker.n for marker in markers.markers))
    except _ALTERED:
        return None
    lost, outcomes = _lost(evidence), Counter(marker.outcome for marker in markers.markers)
    acknowledged = [marker for marker in markers.markers if marker.outcome == ACKNOWLEDGED]
    missing = [marker for marker in acknowledged if (marker.n, 0) not in held]

    def spans(of: Iterable[Marker], kind: str) -> tuple[chart.Span, ...]:
        return chart.merged([markers.wall(marker.sent) for marker in of], markers.rate, axis, kind)

    return {
        "spans": (
            *spans(acknowledged, "written"),
            *spans((marker for marker in missing if marker.n in lost), "lost"),
            *spans((marker for marker in missing if marker.n not in lost), "uncounted"),
        ),
        "acknowledged": len(acknowledged),
        "indeterminate": outcomes["indeterminate"],
        "missing": len(missing),
    }


def _lost(evidence: Evidence) -> set[int]:
    """The markers that the judge counts as lost; none where it cannot tell."""
    try:
        return {marker.n for marker in loss.judged_markers(evidence, "restored").lost}
    except (UnknownError, *_ALTERED):
        return set()


def _steps(evidence: Evidence) -> list[Step]:
    origin = evidence.record.started.at
    latest: dict[tuple[str, str], Entry] = {(entry.call, entry.kind): entry for entry in evidence.entries}
    steps = []
    for call in evidence.record.plan.calls:
        begun = latest.get((call.id, "intent"))
        ends = [latest[call.id, kind] for kind in ("effect", "failed") if (call.id, kind) in latest]
        end = max(ends, key=lambda entry: entry.seq, default=None)
        seconds = end.stamp.at - begun.stamp.at if begun and end else None
        steps.append(
            Step(
                call.id,
                call.verb,
                f"{call.driver} {call.operation}",
                f"+{words.duration(begun.stamp.at - origin)}" if begun else "",
                words.duration(seconds) if seconds is not None else "",
                end.kind if end else "no effect" if begun else "not begun",
            )
        )
    return steps


def _tables(evidence: Evidence) -> tuple[equality.Table, ...]:
    """Every table as the finding ``data`` has it; none where nothing could be compared, which that finding says."""
    try:
        return equality.tables(evidence, "restored")
    except UnknownError:
        return ()


def _rows(count: int | None) -> str:
    return "absent" if count is None else f"{count:,}"
