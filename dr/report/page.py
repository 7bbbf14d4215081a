"""The report as a document: an HTML page that needs nothing else (no script, no font, no picture from anywhere), and
Markdown, for a ticket or a wiki.

Pure: evidence and verdict to a string. Everything that comes from a run is escaped by the template engine; the page's
own policy forbids scripts besides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from statistics import median
from typing import Any, NamedTuple, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from dr.domain.model import Finding, Status, Verdict
from dr.evidence.model import Entry, Evidence, Samples
from dr.judge.interruption import outage_of
from dr.judge.objectives import content, loss
from dr.judge.windows import good
from dr.report import summary as told
from dr.report import words

WIDTH = 960.0
LEFT = 70.0
RIGHT = 16.0
PLOT = WIDTH - LEFT - RIGHT
LATENCY_HEIGHT = 170.0
TOP = 26.0
"""Room above a latency plot, for the failed probes and the labels of lines."""
BAR = 150.0
MOST_COLUMNS = 430
PROBES_PER_COLUMN = 4
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)
_Known = TypeVar("_Known")


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
    environment.globals.update(WIDTH=WIDTH, LEFT=LEFT, RIGHT=RIGHT, TOP=TOP, HEIGHT=LATENCY_HEIGHT, BAR=BAR)
    environment.globals.update(connect=told.connect, bar=_bar)
    environment.globals.update(limit=words.limit, value=words.value, bounds=words.bounds, measured=words.measured)
    return environment.get_template(name)


def _inline(value: object) -> object:
    """Text that Markdown shows as it is: no markup, no HTML, no end of a table's cell."""
    if isinstance(value, Markup):
        return value
    escaped = words.printable(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{c}" if c in "\\`*_[]|#~" else c for c in escaped)


def markdown(evidence: Evidence, verdict: Verdict) -> str:
    return _rendered("report.md", evidence, verdict)


def html(evidence: Evidence, verdict: Verdict) -> str:
    """The page."""
    tables = _known(content.tables, evidence, "restored") or ()
    more = {"steps": _steps(evidence), "tables": tables, "ledger": evidence.entries, **_signals(evidence, verdict)}
    return _rendered("page.html", evidence, verdict, **more)


def _rendered(name: str, evidence: Evidence, verdict: Verdict, **more: Any) -> str:
    return _template(name).render(
        verdict=verdict,
        summary=told.summarise(evidence, verdict),
        record=evidence.record,
        problems=[problem for problem in (*evidence.problems, evidence.unsealed) if problem],
        **more,
    )


def _known(judge: Callable[[Evidence, str], _Known], evidence: Evidence, path: str) -> _Known | None:
    """What a judge knows of a path; None where it knows nothing, or fails: its finding says why."""
    try:
        return judge(evidence, path)
    except Exception:
        return None


def _signals(evidence: Evidence, verdict: Verdict) -> dict[str, Any]:
    """Latency of every path, and markers, on one axis of time, which counts from the disaster."""
    disaster, points = told.disaster(evidence), told.recovery_points(evidence)
    covered = [covers for _, covers in points]
    paths = [samples for samples in evidence.samples.values() if samples.samples]
    moments = [samples.wall(edge.due) for samples in paths for edge in (samples.samples[0], samples.samples[-1])]
    if (written := evidence.markers.get(loss.WRITTEN_TO)) and written.markers:
        moments += [written.wall(edge.due) for edge in (written.markers[0], written.markers[-1])]
    axis = _axis(moments, (disaster, *covered), evidence.record.started.at if disaster is None else disaster)
    if axis is None:
        return {"latencies": [], "lanes": None}
    limits = {demand.path: demand.limit for demand in evidence.record.plan.demands if demand.objective == "latency"}
    named = [(disaster, "disaster"), *((covers, "recovery point") for covers in covered)]
    return {
        "axis": axis,
        "latencies": [_latency(samples, axis, limits.get(samples.path)) for samples in paths],
        "outages": _outages(evidence, verdict, axis),
        "lanes": _lanes(evidence, axis),
        "lines": [Tick(axis.x(at), name) for at, name in named if at is not None and axis.low <= at <= axis.high],
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


# -- the geometry of its charts, in pixels: all share one axis of time


class Tick(NamedTuple):
    """A labelled place on an axis."""

    at: float
    label: str


class Span(NamedTuple):
    """A horizontal piece of a chart."""

    x: float
    width: float


class Axis(NamedTuple):
    """Wall-clock seconds to pixels. ``origin`` is what tick labels count from."""

    low: float
    high: float
    origin: float

    def x(self, at: float) -> float:
        share = (at - self.low) / (self.high - self.low)
        return round(LEFT + PLOT * min(1.0, max(0.0, share)), 1)

    def span(self, begin: float, end: float) -> Span:
        """A piece from ``begin`` to ``end``, wide enough to be seen."""
        left = self.x(begin)
        return Span(left, max(1.5, round(self.x(end) - left, 1)))

    def ticks(self) -> list[Tick]:
        """Labelled by the seconds before or after the origin."""
        length = self.high - self.low
        step = next((step for step in _STEPS if length / step <= 10), math.ceil(length / 10 / 86_400) * 86_400)
        first, last = math.ceil((self.low - self.origin) / step), math.floor((self.high - self.origin) / step)
        labels = {
            n: f"{n:+}"[0] + words.duration(round(abs(n * step), 1)) if n else "0" for n in range(first, last + 1)
        }
        return [Tick(self.x(self.origin + n * step), label) for n, label in labels.items()]


def _axis(moments: Sequence[float], wanted: Iterable[float | None], origin: float) -> Axis | None:
    """The axis over ``moments``; ``wanted`` ones are taken in where they lie near enough not to dwarf the rest."""
    if not moments:
        return None
    low, high = min(moments), max(*moments, min(moments) + 1.0)
    room = high - low
    near = [at for at in wanted if at is not None and low - room <= at <= high + room]
    low, high = min(low, *near, low), max(high, *near, high)
    margin = (high - low) * 0.01
    return Axis(low - margin, high + margin, origin)


def _latency(samples: Samples, axis: Axis, limit: float | None) -> dict[str, Any]:
    """The chart of one path over time, on a logarithmic scale of seconds: ``band`` spans the fastest and slowest answer
    of each column, ``middle`` is the median.

    A probe's latency counts from when it was due. Probes that failed are ``failures`` and in neither.
    """
    answered = [(samples.wall(s.due), max(s.done - s.due, 1000) / 1e9) for s in samples.samples if good(s) and s.done]
    bad = [samples.wall(s.due) for s in samples.samples if not (good(s) and s.done)]
    columns = _columns(answered)
    drawn = [seconds for column in columns for seconds in column[1:]] or [(limit or 1.0) / 100]
    drawn += [limit] if limit else []
    low = math.floor(math.log10(min(drawn)))
    high = max(low + 1, math.ceil(math.log10(max(drawn))))  # powers of ten

    def y(seconds: float) -> float:
        share = (math.log10(seconds) - low) / (high - low)
        return round(TOP + LATENCY_HEIGHT * (1 - share), 1)

    upper = [f"{axis.x(at)},{y(most)}" for at, _, _, most in columns]
    lower = [f"{axis.x(at)},{y(least)}" for at, least, _, _ in reversed(columns)]
    return {
        "path": samples.path,
        "levels": [Tick(y(10.0**n), words.duration(10.0**n)) for n in range(low, high + 1)],
        "band": " ".join(upper + lower),
        "middle": " ".join(f"{axis.x(at)},{y(middle)}" for at, _, middle, _ in columns),
        "failures": _merged(bad, samples.rate, axis),
        "limit": Tick(y(limit), words.duration(limit)) if limit else None,
        "count": len(samples.samples),
        "failed": len(bad),
        "slowest": max((seconds for _, seconds in answered), default=None),
    }


def _columns(answered: Sequence[tuple[float, float]]) -> list[tuple[float, float, float, float]]:
    """Down to so many columns that each has several probes: middle of the time, least, median and most seconds."""
    if not answered:
        return []
    first, last = answered[0][0], answered[-1][0]
    count = max(1, min(MOST_COLUMNS, len(answered) // PROBES_PER_COLUMN))
    width = max(last - first, 1e-9) / count
    buckets: dict[int, list[float]] = {}
    for at, seconds in answered:
        buckets.setdefault(min(count - 1, int((at - first) / width)), []).append(seconds)
    return [(first + (n + 0.5) * width, min(of), median(of), max(of)) for n, of in sorted(buckets.items())]


def _merged(moments: Sequence[float], rate: float, axis: Axis) -> list[Span]:
    """Moments that lie no more than one and a half periods of ``rate`` apart, as one span each."""
    spans: list[list[float]] = []
    for at in moments:
        if spans and at - spans[-1][1] <= 1.5 / max(rate, 0.001):
            spans[-1][1] = at
        else:
            spans.append([at, at])
    return [axis.span(begin, end) for begin, end in spans]


def _outages(evidence: Evidence, verdict: Verdict, axis: Axis) -> dict[str, tuple[Span, Span]]:
    """When each path was out, as it was judged: for certain, and perhaps, which is where its end is not certain. A path
    that is known not to have come back was out to the end."""
    disaster, shaded = told.disaster(evidence), {}
    for one in verdict.findings:
        out = _known(outage_of, evidence, one.path) if one.objective == "outage" else None
        if out is not None and out.whole is not None:
            began, low, high = out.whole.began.best, out.whole.ended.low, out.whole.ended.high
        elif one == told.timed(verdict) and disaster is not None and (one.interval or one.status is Status.MISSED):
            began, (low, high) = disaster, (disaster + bound for bound in one.interval or (math.inf, math.inf))
        else:
            continue
        shaded[one.path] = (axis.span(began, low), axis.span(low, high))
    return shaded


def _lanes(evidence: Evidence, axis: Axis) -> dict[str, Any] | None:
    """Spans of the markers that were acknowledged, and of those of them that are missing; None where nobody knows."""
    judged, markers = _known(loss.judged_markers, evidence, "restored"), evidence.markers.get(loss.WRITTEN_TO)
    if judged is None or markers is None:
        return None
    of = {"written": judged.acknowledged, "lost": judged.lost, "uncounted": judged.uncounted}
    spans = {kind: _merged([markers.wall(m.sent) for m in these], markers.rate, axis) for kind, these in of.items()}
    missing = len(judged.lost) + len(judged.uncounted)
    return {"spans": spans, "acknowledged": len(judged.acknowledged), "missing": missing}


def _bar(finding: Finding) -> dict[str, float] | None:
    """A finding's value and interval against its limit, from zero to a little beyond the greatest of them; None where
    one of them is not known. A bound without end reaches the edge."""
    if finding.limit is None or finding.measured is None:
        return None
    low, high = finding.interval or (finding.measured, finding.measured)
    known = (low, high, finding.measured, finding.limit)
    most = max(0.0, *filter(math.isfinite, known)) * 1.12 or 1.0
    low, high, measured, limit = (round(BAR * min(1.0, max(0.0, value / most)), 1) for value in known)
    return {"low": low, "width": max(2.0, round(high - low, 1)), "measured": measured, "limit": limit}
