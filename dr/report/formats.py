"""A verdict as text for a terminal, JSON, Markdown and JUnit XML. Pure: each is a function to a string.

JSON is the form of verdict.json in DESIGN.md.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from dr.domain.model import Component, Finding, Status, Verdict
from dr.evidence.model import Evidence
from dr.evidence.restored import verified
from dr.report import words
from dr.report.summary import Difference, Summary, connect, summarise, totals

Style = Callable[[str, str], str]
"""Text and its role (a status, "label" or "dim") to the text as a terminal shows it."""

_CODES = {"met": "1;32", "missed": "1;31", "inconclusive": "1;33", "label": "1", "dim": "2"}
_INDENT = 12


def plain(text: str, _role: str) -> str:
    """No colour."""
    return text


def coloured(text: str, role: str) -> str:
    """ANSI colour."""
    return f"\x1b[{_CODES[role]}m{text}\x1b[0m"


def style_for(stream: TextIO, environ: Mapping[str, str]) -> Style:
    """Colour for a terminal, none for a pipe, for NO_COLOR (https://no-color.org) and for a dumb terminal."""
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb" or not stream.isatty():
        return plain
    return coloured


def text(evidence: Evidence, verdict: Verdict, width: int = 100, style: Style = plain) -> str:
    """The report for a terminal of ``width`` columns: the verdict first, and again in the last line.

    Only commands may be longer than ``width``, since one that is broken cannot be pasted.
    """
    summary = summarise(evidence, verdict)
    label = evidence.record.emulated
    status = style(summary.word.upper(), summary.tone)
    about = f"{summary.title}, run {verdict.run}{f' ({label})' if label else ''}"
    lines = [f"{status}  {words.printable(about)}", *_wrapped(summary.headline, width, 2), ""]
    for fact in summary.facts:
        lines += _labelled(fact.name, fact.sentence, width, style)
    if summary.findings:
        lines += ["", *_table(summary.findings, width, style)]
    lines += ["", *_next_steps(evidence, verdict, summary, width, style)]
    first, *rest = _wrapped(summary.closing, width, len(summary.word) + 2)
    lines += ["", f"{status}  {first.lstrip()}", *rest, f"  Whole report: dr report {verdict.run} --format html"]
    return "\n".join(lines) + "\n"


def _wrapped(sentence: str, width: int, indent: int) -> list[str]:
    """Lines of ``width``, broken at spaces only: identifiers have hyphens."""
    pad = " " * indent
    said = words.printable(sentence)
    return textwrap.wrap(
        said, max(width, 40), initial_indent=pad, subsequent_indent=pad, break_on_hyphens=False, break_long_words=False
    )


def _told(name: str, told: str, width: int, style: Style) -> list[str]:
    """As ``_labelled``, with each command of ``told`` on a line of its own, unbroken."""
    lines: list[str] = []
    for command, line in words.said(told):
        lines += [" " * _INDENT + line] if command else _labelled("" if lines else name, line, width, style)
    return lines


def _labelled(name: str, sentence: str, width: int, style: Style) -> list[str]:
    first, *rest = _wrapped(sentence, width, _INDENT) or [" " * _INDENT]
    return [f"  {style(name.ljust(_INDENT - 2), 'label')}{first[_INDENT:]}", *rest]


def _table(findings: Sequence[Finding], width: int, style: Style) -> list[str]:
    """One line a finding; what is not met gives its whole reason, the others as much as fits.

    Where there is no number, the reason takes the room of the numbers.
    """
    names = _names(findings)
    cells = [(name, words.measured(f), f"limit {words.limit(f)}" if f.limit is not None else "") for name, f in names]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    lines = []
    for row, (_, finding) in zip(cells, names, strict=True):
        shown = zip(row, widths, strict=True) if any(row[1:]) else [(row[0], widths[0])]
        padded = "  ".join(cell.ljust(size) for cell, size in shown if size)
        taken = 2 + 12 + 2 + len(padded)
        line = f"  {style(finding.status.ljust(12), finding.status)}  {padded}"
        because = words.printable(finding.because)
        if finding.status is Status.MET:
            lines.append((line + _fitted(because, width - taken - 2, style)).rstrip())
        elif taken + 2 + len(because) <= width:
            lines.append(f"{line}  {because}")
        else:
            lines += [line.rstrip(), *_wrapped(because, width, 16)]
    return lines


def _fitted(because: str, room: int, style: Style) -> str:
    """As much of a reason as there is room for, none where that would be a mere stump."""
    if room < 20:
        return ""
    return "  " + style(because if len(because) <= room else f"{because[: room - 3].rstrip()}...", "dim")


def _names(findings: Sequence[Finding]) -> list[tuple[str, Finding]]:
    """Each finding's name: its objective, and its path where the findings name several."""
    several = len({finding.path for finding in findings if finding.path}) > 1
    return [(words.printable(f"{f.objective} [{f.path}]" if several and f.path else f.objective), f) for f in findings]


def _next_steps(evidence: Evidence, verdict: Verdict, summary: Summary, width: int, style: Style) -> list[str]:
    lines: list[str] = []
    if verdict.phases:
        phases = ", ".join(f"{name} {words.duration(seconds)}" for name, seconds in totals(verdict.phases))
        lines += _labelled("Phases", phases, width, style)
    if summary.harness:
        lines += _labelled("Harness", summary.harness, width, style)
    if summary.differences:
        lines += _labelled("Differs", "; ".join(_difference(d) for d in summary.differences), width, style)
    for component in summary.standing:
        lines += _connect(component, len(summary.standing) > 1, width, style)
    if summary.kept:
        lines += _told("Copy", summary.kept, width, style)
    for number, step in enumerate(summary.cut_over, 1):
        lines += _told("Cut over" if number == 1 else "", f"{number}. {step}", width, style)
    for problem in evidence.problems:
        lines += _labelled("Evidence", problem, width, style)
    return lines


def _connect(component: Component, several: bool, width: int, style: Style) -> list[str]:
    """How a component is reached, and what is to be known of it. Of ``several``, which it is."""
    named = f"{component.role} {component.ref.name}:"
    said = [named] if several else []
    said += [connect(component)] if connect(component) else []
    lines = [f"{' ' * _INDENT}{words.printable(line)}" for line in said]
    lines += _wrapped(component.note, width, _INDENT) if component.note else []
    label = style("Connect".ljust(_INDENT - 2), "label")
    return [f"  {label}{line[_INDENT:]}" if n == 0 else line for n, line in enumerate(lines)]


def _difference(difference: Difference) -> str:
    mark = "" if difference.expected else " (not expected)"
    return f"{difference.name} {difference.source} -> {difference.restored}{mark}"


_FIRST = ("run", "drill", "target", "emulated", "verdict", "verified")
"""What a document begins with."""


def document(evidence: Evidence, verdict: Verdict) -> dict[str, Any]:
    """verdict.json, as docs/design.md has it. A bound without end is null, since JSON has no infinity.

    ``remains``: what the provider listed of the run at its end; null where it was not, or could not be, asked.
    ``verified``: false for a copy that nobody has read, whatever the verdict on the rest; null where none was made.
    """
    seen = {"emulated": evidence.record.emulated, "verified": verified(evidence.entries)}
    seen |= {"remains": (evidence.remains() or {}).get("remains")}
    return {**dict.fromkeys(_FIRST), **outline(verdict), **seen}


def outline(verdict: Verdict) -> dict[str, Any]:
    """What of ``document`` stands in the verdict alone."""
    return {
        "run": verdict.run,
        "drill": verdict.drill,
        "target": verdict.target,
        "verdict": str(verdict.status),
        "findings": [
            {
                "objective": finding.objective,
                "path": finding.path,
                "status": str(finding.status),
                "measured": _finite(finding.measured),
                "unit": finding.unit,
                "limit": _finite(finding.limit),
                "interval": None if finding.interval is None else [_finite(bound) for bound in finding.interval],
                "because": finding.because,
            }
            for finding in verdict.findings
        ],
        "phases": [{"name": p.name, "started": p.started, "seconds": p.seconds} for p in verdict.phases],
        "restored": [_component(component) for component in verdict.restored],
    }


def _component(of: Component) -> dict[str, Any]:
    at = of.endpoint
    return {
        "role": of.role,
        "provider": of.ref.provider,
        "kind": of.ref.kind,
        "identifier": of.ref.name,
        "host": at and at.host,
        "port": at and at.port,
        "connect": of.connect,
        "cut_over": list(of.cut_over),
        "origin": of.origin,
        "note": of.note,
    }


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def as_json(evidence: Evidence, verdict: Verdict) -> str:
    """``document`` as one JSON document."""
    return json.dumps(document(evidence, verdict), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def markdown(evidence: Evidence, verdict: Verdict) -> str:
    """The report as Markdown, for a ticket or a wiki."""
    summary = summarise(evidence, verdict)
    label = f" ({evidence.record.emulated})" if evidence.record.emulated else ""
    lines = [f"# {summary.word.upper()}: {_inline(summary.title)}{_inline(label)}", "", _inline(summary.headline), ""]
    facts = (
        ("Run", _inline(verdict.run)),
        *((fact.name, _inline(fact.sentence)) for fact in summary.facts),
        ("Copy", _lines(summary.kept)),
        ("Harness", _inline(summary.harness)),
    )
    lines += _grid(("", ""), [(f"**{name}**", value) for name, value in facts if value])
    rows = [
        (f"**{f.status}**", _inline(name), words.measured(f), words.limit(f), _inline(f.because))
        for name, f in _names(summary.findings)
    ]
    lines += ["## Findings", "", *_grid(("Status", "Demand", "Measured", "Limit", "Because"), rows)]
    if verdict.phases:
        phases = [(_inline(p.name), words.moment(p.started), words.duration(p.seconds)) for p in verdict.phases]
        lines += ["## Phases", "", *_grid(("Phase", "Started", "Took"), phases)]
    if summary.differences:
        differences = [
            (
                _inline(d.name),
                _inline(d.source),
                _inline(d.restored),
                "yes" if d.expected else "**no**",
                _inline(d.because),
            )
            for d in summary.differences
        ]
        columns = ("Setting", "Source", "Restored", "Expected", "Because")
        lines += ["## What differs from the source", "", *_grid(columns, differences)]
    if summary.standing:
        lines += ["## Connect", ""]
    for component in summary.standing:
        lines += [_inline(f"{component.role} {component.ref.name}: {component.note}".removesuffix(": ")), ""]
        lines += [f"    {connect(component)}", ""] if connect(component) else []
    if summary.cut_over:
        steps = [f"{number}. {_lines(step)}" for number, step in enumerate(summary.cut_over, 1)]
        lines += ["## Cut over", "", *steps, ""]
    if evidence.problems:
        lines += ["## Problems of the evidence", "", *(f"- {_inline(problem)}" for problem in evidence.problems), ""]
    return "\n".join(lines)


def _lines(value: str) -> str:
    """Text with its commands as code, within a table's cell or a list's item."""
    return "<br>".join(
        f"<code>{_inline(line)}</code>" if is_command else _inline(line) for is_command, line in words.said(value)
    )


def _inline(value: str) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, no end of a table's cell."""
    escaped = words.printable(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{c}" if c in "\\`*_[]|#~" else c for c in escaped)


def _grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [columns, ["---"] * len(columns), *rows]
    return [*(f"| {' | '.join(cells)} |" for cells in lines), ""]
