"""The report as a document: an HTML page that needs nothing else (no script, no font, no picture from anywhere), and
Markdown, for a ticket or a wiki.

Pure: evidence and verdict to a string. Everything that comes from a run is escaped by the template engine; the page's
own policy forbids scripts besides.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from dr.domain.model import Verdict
from dr.evidence.model import Entry, Evidence
from dr.judge.findings import UnknownError
from dr.judge.objectives import equality
from dr.report import chart, words
from dr.report import summary as told


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
    environment.filters["raw"] = Markup
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
    """Latency of every path on one axis of time, which counts from the disaster."""
    disaster, covers = told.disaster(evidence), told.recovery_point(evidence)
    paths = [samples for samples in evidence.samples.values() if samples.samples]
    moments = [samples.wall(edge.due) for samples in paths for edge in (samples.samples[0], samples.samples[-1])]
    axis = chart.axis(moments, (disaster, covers), evidence.record.started.at if disaster is None else disaster)
    if axis is None:
        return {"latencies": []}
    limits = {demand.path: demand.limit for demand in evidence.record.plan.demands if demand.objective == "latency"}
    named = ((disaster, "disaster"), (covers, "recovery point"))
    return {
        "axis": axis,
        "latencies": [chart.latency(samples, axis, limits.get(samples.path)) for samples in paths],
        "lines": [chart.Tick(axis.x(at), name) for at, name in named if at is not None and axis.low <= at <= axis.high],
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
