"""How numbers and names are said."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dr.domain.model import Finding, Status
from dr.report import words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.00042, "0.42 ms"),
        (0.45, "450 ms"),
        (0.9996, "1 s"),
        (14.23, "14.2 s"),
        (99.96, "1 min 40 s"),
        (2592, "43 min 12 s"),
        (3599.8, "1 h"),
        (3600, "1 h"),
        (7530, "2 h 6 min"),
        (93_600, "1 d 2 h"),
        (-3, "-3 s"),
        (math.inf, "without end"),
    ],
)
def test_a_duration_is_said_in_the_units_of_its_size(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


@settings(deadline=None)
@given(st.floats(min_value=100, max_value=1e9))
def test_no_duration_carries_a_full_smaller_unit(seconds: float) -> None:
    said = f" {words.duration(seconds)} "
    assert not any(full in said for full in (" 60 s", " 60 min", " 24 h"))


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (10, "markers", "10 markers"),
        (0.0083, "ratio", "0.83%"),
        (0.0, "share unknown", "0% unknown"),
        (1234567, "", "1,234,567"),
        (0.5, "", "0.5"),
    ],
)
def test_a_quantity_is_said_with_its_unit(value: float, unit: str, said: str) -> None:
    assert words.quantity(value, unit) == said


def found(measured: float | None, interval: tuple[float, float] | None) -> Finding:
    return Finding("time-to-copy", "restored", Status.MET, "", measured, "s", 3600.0, interval)


@pytest.mark.parametrize(
    ("finding", "said"),
    [
        (found(16.2, (15.9, 16.3)), "16.2 s (15.9 to 16.3 s)"),
        (found(59.0, (58.0, 130.0)), "59 s (58 s to 2 min 10 s)"),
        (found(16.2, (16.2, 16.2)), "16.2 s"),
        (found(None, (600.0, math.inf)), "at least 10 min"),
        (found(16.2, None), "16.2 s"),
        (found(None, None), ""),
    ],
)
def test_a_measured_value_is_said_with_its_interval_where_that_says_more(finding: Finding, said: str) -> None:
    assert words.measured(finding) == said


@settings(deadline=None)
@given(st.text())
def test_no_text_can_carry_control_characters_into_a_report(text: str) -> None:
    assert words.printable(text).isprintable()


def test_a_moment_names_its_zone() -> None:
    assert words.moment(1_795_417_200.0) == "2026-11-23 07:00:00 UTC"
