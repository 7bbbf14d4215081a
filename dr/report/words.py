"""How the reports say numbers, moments and names. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from dr.domain.model import Finding


def printable(value: object) -> str:
    """``value`` as one line without control characters, so that no identifier can steer a terminal or break a row."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))


def said(sentence: str) -> tuple[tuple[bool, str], ...]:
    """The lines of ``sentence``, each with whether it is a command: those begin with blanks, and a broken one could not
    be pasted."""
    return tuple((line.startswith("  "), printable(line.strip())) for line in sentence.split("\n"))


def duration(seconds: float) -> str:
    """Seconds as people say them, to about three digits: 450 ms, 14.2 s, 43 min 12 s, 2 h 05 min, 3 d 4 h."""
    if math.isinf(seconds) or math.isnan(seconds):
        return "without end" if seconds > 0 else "unknown"
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms" if seconds else "0 s"
    if seconds < 99.95:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    units = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
    size, name, smaller, rest = next(unit for unit in units if whole >= unit[0])
    major, minor = divmod(round(whole / smaller) * smaller, size)
    return f"{major} {name} {minor // smaller} {rest}" if minor else f"{major} {name}"


def quantity(value: float, unit: str) -> str:
    """A measured value or a limit in its unit."""
    if unit == "s":
        return duration(value)
    of_what = unit.split(" ", 1)
    if of_what[0] in ("ratio", "share"):
        return " ".join((f"{value * 100:.3g}%", *of_what[1:]))
    number = f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"
    return f"{number} {unit}".strip()


def value(finding: Finding) -> str:
    """What was measured; "" where nothing was, or where there is no limit: the count is then part of the reason."""
    return "" if finding.measured is None or finding.limit is None else quantity(finding.measured, finding.unit)


def bounds(finding: Finding) -> str:
    """The interval of what was measured; "" where there is none, or where it says no more than the value."""
    if finding.interval is None or finding.interval == (finding.measured, finding.measured):
        return ""
    low, high = (quantity(bound, finding.unit) for bound in finding.interval)
    if math.isinf(finding.interval[1]):
        return f"at least {low}"
    number, _, name = low.partition(" ")
    same_unit = name and " " not in name and high.endswith(f" {name}") and high.count(" ") == 1
    return f"{number if same_unit else low} to {high}"


def measured(finding: Finding) -> str:
    """Value and interval together; "" where nothing was measured."""
    said, between = value(finding), bounds(finding)
    return f"{said} ({between})" if said and between else said or between


def limit(finding: Finding) -> str:
    """The limit a finding was judged against; "" where the demand has none."""
    return "" if finding.limit is None else quantity(finding.limit, finding.unit)


def moment(at: float) -> str:
    """A wall-clock second in UTC, with its zone; one that no calendar has is given as it stands."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{at:g} s since 1970"
