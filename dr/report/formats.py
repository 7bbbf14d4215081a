"""A verdict as text for a terminal, and as JSON. Pure."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

import msgspec

from dr.domain.model import Component, Finding, Status, Verdict
from dr.evidence.model import Evidence
from dr.evidence.restored import verified
from dr.report import words
from dr.report.summary import connect, named, summarise, totals

Style = Callable[[str, str], str]
"""Text and its role (a status, "label" or "dim") to the text as a terminal shows it."""

_CODES = {"met": "1;32", "missed": "1;31", "inconclusive": "1;33", "label": "1", "dim": "2"}
_INDENT = 12


def plain(text: str, _role: str) -> str:
    return text


def coloured(text: str, role: str) -> str:
    return f"\x1b[{_CODES[role]}m{text}\x1b[0m"


def style_for(stream: TextIO, environ: Mapping[str, str]) -> Style:
    """Colour for a terminal, none for a pipe, for NO_COLOR (https://no-color.org) and for a dumb terminal."""
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb" or not stream.isatty():
        return plain
    return coloured


def text(evidence: Evidence, verdict: Verdict, width: int = 100, style: Style = plain) -> str:
    """The report for a terminal of ``width`` columns: the verdict first, and again in the last line. Only commands may
    be longer than ``width``, since one that is broken cannot be pasted."""
    summary, label = summarise(evidence, verdict), evidence.record.emulated
    status = style(summary.word.upper(), summary.tone)
    about = f"{summary.title}, run {verdict.run}{f' ({label})' if label else ''}"
    lines = [f"{status}  {words.printable(about)}", *_wrapped(summary.headline, width, 2), ""]
    for fact in summary.facts:
        lines += _labelled(fact.name, words.printable(fact.sentence), width, style)
    if summary.findings:
        lines += ["", *_table(summary.findings, width, style)]
    differs = (
        f"{d.name} {d.source} -> {d.restored}{'' if d.expected else ' (not expected)'}" for d in summary.differences
    )
    several = len(summary.standing) > 1
    told = [
        ("Phases", ", ".join(f"{name} {words.duration(seconds)}" for name, seconds in totals(verdict.phases))),
        ("Harness", summary.harness),
        ("Differs", words.printable("; ".join(differs))),
        *(("Connect", _connect(component, several)) for component in summary.standing),
        ("Copy", summary.kept),
        *(("" if n > 1 else "Cut over", f"{n}. {step}") for n, step in enumerate(summary.cut_over, 1)),
        *(("Evidence", words.printable(problem)) for problem in (*evidence.problems, evidence.unsealed) if problem),
    ]
    lines.append("")
    for name, sentences in told:
        lines += _labelled(name, sentences, width, style) if sentences else []
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


def _labelled(name: str, told: str, width: int, style: Style) -> list[str]:
    """What is told, each command of it on a line of its own, unbroken; before the first line its name."""
    pad, lines = " " * _INDENT, list[str]()
    for command, line in words.said(told):
        lines += [pad + line] if command else _wrapped(line, width, _INDENT)
    first, *rest = lines or [pad]
    return [f"  {style(name.ljust(_INDENT - 2), 'label')}{first[_INDENT:]}", *rest]


def _connect(component: Component, several: bool) -> str:
    """How a component is reached, and what is to be known of it. Of ``several``, which it is."""
    reached = f"  {connect(component)}" if connect(component) else ""
    which = words.printable(f"{component.role} {component.ref.name}:") if several else ""
    return "\n".join(filter(None, (which, reached, words.printable(component.note))))


def _table(findings: Sequence[Finding], width: int, style: Style) -> list[str]:
    """One line a finding; what is not met gives its whole reason, the others as much as fits. Where there is no number,
    the reason takes the room of the numbers."""
    rows = [
        (words.printable(name), words.measured(f), f"limit {words.limit(f)}" if f.limit is not None else "")
        for name, f in named(findings)
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row, finding in zip(rows, findings, strict=True):
        shown = zip(row, widths, strict=True) if any(row[1:]) else [(row[0], widths[0])]
        padded = "  ".join(cell.ljust(size) for cell, size in shown if size)
        line = f"  {style(finding.status.ljust(12), finding.status)}  {padded}"
        because, room = words.printable(finding.because), width - 18 - len(padded)
        if len(because) > room and finding.status is not Status.MET:
            lines += [line.rstrip(), *_wrapped(because, width, 16)]
            continue
        if len(because) > room:  # none where that would be a mere stump
            because = f"{because[: room - 3].rstrip()}..." if room >= 20 else ""
        lines.append(
            f"{line}  {style(because, 'dim') if finding.status is Status.MET and because else because}".rstrip()
        )
    return lines


_FIRST = ("run", "drill", "target", "emulated", "verdict", "verified")
"""What a document begins with."""
_OF_A_FINDING = ("objective", "path", "status", "measured", "unit", "limit", "interval", "because")


def document(evidence: Evidence, verdict: Verdict) -> dict[str, Any]:
    """verdict.json, as docs/design.md has it. A bound without end is null, since JSON has no infinity. ``remains``:
    what the provider listed of the run at its end; null where it was not, or could not be, asked. ``verified``: false
    for a copy that nobody has read, whatever the verdict on the rest; null where none was made."""
    seen = {"emulated": evidence.record.emulated, "verified": verified(evidence.entries)}
    seen |= {"remains": (evidence.remains() or {}).get("remains")}
    return {**dict.fromkeys(_FIRST), **outline(verdict), **seen}


def outline(verdict: Verdict) -> dict[str, Any]:
    """What of ``document`` stands in the verdict alone."""
    plain = msgspec.json.decode(msgspec.json.encode(verdict))  # which makes null of what is not finite
    return {
        "run": verdict.run,
        "drill": verdict.drill,
        "target": verdict.target,
        "verdict": str(verdict.status),
        "findings": [{name: finding[name] for name in _OF_A_FINDING} for finding in plain["findings"]],
        "phases": plain["phases"],
        "restored": [*map(_component, plain["restored"])],
    }


def _component(of: dict[str, Any]) -> dict[str, Any]:
    ref, at = of.pop("ref"), of.pop("endpoint") or {"host": None, "port": None}
    which = {"provider": ref["provider"], "kind": ref["kind"], "identifier": ref["name"]}
    return {"role": of.pop("role"), **which, **at, **of}


def as_json(evidence: Evidence, verdict: Verdict) -> str:
    """``document`` as one JSON document."""
    return json.dumps(document(evidence, verdict), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
