"""The report as a document: an HTML page that needs nothing else (no script, no font, no picture from anywhere), and
Markdown, for a ticket or a wiki.

Pure: evidence and verdict to a string. Everything that comes from a run is escaped by the template engine; the page's
own policy forbids scripts besides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

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


@cache
def _template(name: str) -> Template:
    of_html = name.endswith(".html")
    environment = Environment(
        loader=PackageLoader("dr.report"),
        autoescape=of_html,  # noqa: S701 -- Markdown has its own
        finalize=None if of_html else _inline,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for filtering in (words.duration, words.moment, words.printable, words.said, told.named, told.totals):
        environment.filters[filtering.__name__] = filtering
    environment.filters.update(rows=_rows, agreement=AGREEMENT.get, raw=Markup)
    environment.globals.update(connect=told.connect, chart=chart)
    environment.globals.update(limit=words.limit, value=words.value, bounds=words.bounds, measured=words.measured)
    return environment.get_template(name)


def _inline(value: object) -> object:
    """Text that Markdown shows as it is: no markup, no HTML, no end of a table's cell."""
    if isinstance(value, Markup):
        return value
    escaped = words.printable(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{c}" if c in "\\`*_[]|#~" else c for c in escaped)


def markdown(evidence: Evidence, verdict: Verdict) -> str:
    return _template("report.md").render(
        verdict=verdict,
        summary=told.summarise(evidence, verdict),
        record=evidence.record,
        problems=evidence.problems,
    )


def html(evidence: Evidence, verdict: Verdict) -> str:
    """The page."""
    return _template("page.html").render(
        verdict=verdict,
        summary=told.summarise(evidence, verdict),
        record=evidence.record,
        problems=evidence.problems,
        steps=_steps(evidence),
        tables=_tables(evidence),
        ledger=evidence.entries,
        **_signals(evidence),
    )


def _signals(evidence: Evidence) -> dict[str, Any]:
    """Latency and markers on one axis of time, which counts from the disaster."""
    disaster, covers = told.disaster(evidence), told.recovery_point(evidence)
    paths = [samples for samples in evidence.samples.values() if samples.samples]
    written = evidence.markers.get(loss.WRITTEN_TO)
    moments = [samples.wall(edge.due) for samples in paths for edge in (samples.samples[0], samples.samples[-1])]
    if written and written.markers:
        moments += [written.wall(edge.due) for edge in (written.markers[0], written.markers[-1])]
    axis = chart.axis(moments, (disaster, covers), evidence.record.started.at if disaster is None else disaster)
    if axis is None:
        return {"axis": None, "latencies": [], "lines": [], "markers": None}
    limits = {demand.path: demand.limit for demand in evidence.record.plan.demands if demand.objective == "latency"}
    named = ((disaster, "disaster"), (covers, "recovery point"))
    return {
        "axis": axis,
        "latencies": [chart.latency(samples, axis, limits.get(samples.path)) for samples in paths],
        "lines": [chart.Tick(axis.x(at), name) for at, name in named if at is not None and axis.low <= at <= axis.high],
        "markers": _markers(evidence, axis) if written and written.markers else None,
    }


def _markers(evidence: Evidence, axis: chart.Axis) -> dict[str, Any] | None:
    """The lanes. Which of what is missing counts as lost is the judge's to say; this only shows it."""
    markers = loss.first_attempts(evidence.markers[loss.WRITTEN_TO])
    try:
        present = evidence.observed("markers", "restored")["present"]
        held, _ = loss.held(present, max(marker.n for marker in markers.markers))
    except _ALTERED:
        return None
    try:
        lost = {marker.n for marker in loss.judged_markers(evidence, "restored").lost}
    except (UnknownError, *_ALTERED):
        lost = set()
    acknowledged = [marker for marker in markers.markers if marker.outcome == ACKNOWLEDGED]
    missing = [marker for marker in acknowledged if (marker.n, 0) not in held]

    def spans(of: Iterable[Marker], kind: str) -> list[chart.Span]:
        return chart.merged([markers.wall(marker.sent) for marker in of], markers.rate, axis, kind)

    return {
        "spans": (
            *spans(acknowledged, "written"),
            *spans((marker for marker in missing if marker.n in lost), "lost"),
            *spans((marker for marker in missing if marker.n not in lost), "uncounted"),
        ),
        "acknowledged": len(acknowledged),
        "indeterminate": Counter(marker.outcome for marker in markers.markers)["indeterminate"],
        "missing": len(missing),
    }


def _steps(evidence: Evidence) -> list[dict[str, str]]:
    """What became of each planned call: the ledger in the words of the page."""
    latest: dict[tuple[str, str], Entry] = {(entry.call, entry.kind): entry for entry in evidence.entries}
    steps = []
    for call in evidence.record.plan.calls:
        begun = latest.get((call.id, "intent"))
        ends = [latest[call.id, kind] for kind in ("effect", "failed") if (call.id, kind) in latest]
        end = max(ends, key=lambda entry: entry.seq, default=None)
        step = {"call": call.id, "verb": call.verb, "operation": f"{call.driver} {call.operation}"}
        step["began"] = f"+{words.duration(begun.stamp.at - evidence.record.started.at)}" if begun else ""
        step["took"] = words.duration(end.stamp.at - begun.stamp.at) if begun and end else ""
        steps.append({**step, "outcome": end.kind if end else "no effect" if begun else "not begun"})
    return steps


def _tables(evidence: Evidence) -> tuple[equality.Table, ...]:
    """Every table as the finding ``data`` has it; none where nothing could be compared, which that finding says."""
    try:
        return equality.tables(evidence, "restored")
    except UnknownError:
        return ()


def _rows(count: int | None) -> str:
    return "absent" if count is None else f"{count:,}"
