"""Windows of a path's samples: within the SLO, outside it, or void; and what a few of them, or of samples, prove."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from dr.evidence.model import Samples
from dr.evidence.samples import OWN_REFUSAL
from dr.judge.bounds import share
from dr.judge.findings import UnknownError
from dr.judge.windows import (
    MOST,
    UNSEEN,
    Look,
    Slo,
    Window,
    countable,
    latency,
    look,
    may_have_recovered,
    measured_enough,
    p95,
    recovered,
    surely_outside,
    why_void,
    windows,
)
from tests.unit.recovery import RATE, TIMEOUT, WALL, sample, samples

SLO = Slo(1.0, 0.01)
BAD = {"status": 0, "error": "refused"}
SLOW = {"seconds": 1.5}


def window(letter: str) -> Window:
    """A good one (g), a slow one (s), one that fails (f) or a void one (v)."""
    whole = tuple(sample(n) for n in range(100))
    slow, errors = 1.1 if letter == "s" else 0.1, 2 if letter == "f" else 0
    return Window(WALL, 1.0, whole, errors, slow, "void" if letter == "v" else "")


def changed(few: int, of: int, change: Mapping[str, Any]) -> Samples:
    return samples(of, change=lambda n: change if n < few else {})


@pytest.mark.parametrize(
    ("letter", "slo", "within", "outside"),
    [
        ("g", SLO, True, False),
        ("s", SLO, False, True),
        ("f", SLO, False, True),
        ("v", SLO, False, False),
        ("s", Slo(None, 0.01), True, False),
        ("f", Slo(1.0, None), True, False),
        ("s", Slo(1.1, 0.01), True, False),
        ("f", Slo(1.0, 0.02), True, False),
    ],
)
def test_a_window_keeps_its_slo_or_breaks_it_or_is_void(letter: str, slo: Slo, within: bool, outside: bool) -> None:
    assert (window(letter).within(slo), window(letter).outside(slo)) == (within, outside)


@pytest.mark.parametrize(
    ("letters", "first", "may"),
    [
        ("", None, False),
        ("gg", None, True),
        ("ggg", 0, True),
        ("sggg", 1, True),
        ("ggsggfggvgg", None, True),
        ("ggsggfgggs", 6, True),
        ("ssg", None, True),
        ("svv", None, False),
        ("vvv", None, False),
        ("vgs", None, False),
        ("vvgs", None, True),
        ("gvgs", None, True),
        ("ggsss", None, False),
        ("sgfgsgf", None, False),
    ],
)
def test_three_good_windows_in_a_row_end_an_outage_and_void_ones_may_have_been_good(
    letters: str, first: int | None, may: bool
) -> None:
    found = [window(letter) for letter in letters]
    assert recovered(found, SLO) == first
    assert may_have_recovered(found, SLO) is may


@pytest.mark.parametrize(
    ("letters", "can"), [("", False), ("g", True), ("v", False), ("gggv", True), ("ggvv", False), ("ggv", False)]
)
def test_with_more_than_a_quarter_of_void_windows_nothing_is_concluded(letters: str, can: bool) -> None:
    assert countable([window(letter) for letter in letters]) is can


@pytest.mark.parametrize(("count", "rank"), [(1, 1), (19, 19), (20, 19), (21, 20), (100, 95), (101, 96)])
def test_the_p95_is_the_value_of_its_nearest_rank(count: int, rank: int) -> None:
    assert p95([float(n) for n in range(count, 0, -1)]) == rank


@pytest.mark.parametrize(
    ("change", "seconds"),
    [
        ({"seconds": 0.25}, 0.25),
        ({"seconds": -0.25}, 0.0),
        ({"seconds": 0.25, "status": 500, "error": "status"}, TIMEOUT),
        ({"seconds": 0.25, "status": 200, "error": "length"}, TIMEOUT),
        ({"seconds": 2.25, "status": 0, "error": "timeout"}, 2.25),
    ],
)
def test_latency_counts_from_the_due_time_and_a_failure_as_the_time_out(
    change: Mapping[str, Any], seconds: float
) -> None:
    assert latency(sample(0, **change), TIMEOUT) == pytest.approx(seconds, abs=1e-9)
    assert latency(replace(sample(0), done=0), TIMEOUT) == TIMEOUT


@pytest.mark.parametrize(
    ("measured", "slo", "surely"),
    [
        (changed(10, 100, SLOW), SLO, True),
        (changed(9, 100, SLOW), SLO, False),
        (changed(10, 100, SLOW), Slo(None, 0.01), False),
        (changed(10, 100, SLOW), Slo(1.5, 0.01), False),
        (changed(58, 58, SLOW), SLO, False),
        (changed(59, 59, SLOW), SLO, True),
        (changed(59, 59, {"seconds": 1.05, "late": 0.09}), SLO, False),
        (changed(59, 59, {"seconds": 1.05, "late": 0.04}), SLO, True),
        (changed(59, 59, {"seconds": 1.5, "late": 0.5}), SLO, False),
        (changed(3, 58, BAD), SLO, True),
        (changed(3, 58, BAD), Slo(1.0, share(3, 58)[0]), False),
        (changed(2, 58, BAD), SLO, False),
        (changed(58, 58, BAD), Slo(1.0, None), False),
    ],
)
def test_samples_are_surely_outside_by_their_bounds(measured: Samples, slo: Slo, surely: bool) -> None:
    assert surely_outside(measured.samples, TIMEOUT, slo) is surely


def voids(change: Callable[[int], Mapping[str, Any]], slo: Slo = SLO, count: int = 150) -> list[str]:
    return [one.void for one in windows(samples(count, change=change), 1.0, slo)]


def test_samples_fall_into_whole_windows_from_the_first_due_time_on() -> None:
    found = windows(samples(120, change=lambda n: BAD if n in (49, 50) else {}), 1.0, SLO)
    assert [(one.start, one.seconds, len(one.samples), one.errors) for one in found] == [
        (WALL, 1.0, 50, 1),
        (WALL + 1, 1.0, 50, 1),
    ]
    assert [one.samples[0].n for one in found] == [0, 50]
    assert len(windows(samples(99), 1.0, SLO)) == 1, "one that is cut short is left out"
    assert windows(samples(0), 1.0, SLO) == ()


def test_the_order_of_samples_is_that_of_their_due_times() -> None:
    measured = samples(100)
    assert windows(replace(measured, samples=measured.samples[::-1]), 1.0, SLO) == windows(measured, 1.0, SLO)


def test_a_window_without_a_probe_is_void() -> None:
    measured = samples(150)
    gap = replace(measured, samples=tuple(s for s in measured.samples if not 50 <= s.n < 100))
    found = windows(gap, 1.0, SLO)
    assert [one.void for one in found] == ["", "no probe was taken up", ""]
    assert (found[1].samples, found[1].errors, found[1].p95) == ((), 0, 0.0)


@pytest.mark.parametrize(
    ("late", "every", "slo", "void"),
    [
        (0.019, 1, SLO, ""),
        (0.021, 1, SLO, "the prober was 21 ms late"),
        (0.021, 2, SLO, "the prober was 21 ms late"),
        (0.021, 25, SLO, ""),
        (0.021, 1, Slo(2.0, 0.01), ""),
        (0.0049, 1, Slo(0.1, 0.01), ""),
        (0.0051, 1, Slo(0.1, 0.01), "the prober was 5 ms late"),
        (0.0051, 1, Slo(None, 0.01), "the prober was 5 ms late"),
        (0.02, 1, SLO, ""),
        (0.099, 50, SLO, ""),
        (0.1, 50, SLO, ""),
        (0.101, 50, SLO, "the prober was stalled for 101 ms"),
    ],
)
def test_a_prober_that_was_late_itself_voids_its_window(late: float, every: int, slo: Slo, void: str) -> None:
    assert voids(lambda n: {"late": late, "seconds": 0.2} if 50 <= n < 100 and n % every == 0 else {}, slo)[1] == void


def test_one_missing_probe_of_a_thousand_voids_nothing_and_two_do() -> None:
    measured = samples(round(20 * RATE))
    for missing, void in ((1, ""), (2, "2 of 1000 probes are missing")):
        cut = replace(measured, samples=tuple(s for s in measured.samples if not 100 < s.n <= 100 + missing))
        assert windows(cut, 20.0, SLO)[0].void == void


def test_what_the_meters_own_connections_did_voids_the_window() -> None:
    own = voids(lambda n: {"status": 0, "error": OWN_REFUSAL} if n == 60 else {})
    assert own == ["", "the meter's own connections may have filled the pooler", ""]


def test_a_prober_that_slept_while_answers_were_under_way_voids_their_window_alone() -> None:
    """The first late probe after a punctual one tells when it fell asleep; those after it tell nothing more."""
    asleep = {50: {"late": 0.2, "seconds": 0.3}, 51: {"late": 0.18, "seconds": 0.3}}
    under_way, done = {49: {"seconds": 0.5}}, {49: {"seconds": 0.02}}
    assert voids(lambda n: {**asleep, **under_way}.get(n, {}))[0] == "the prober slept while answers were under way"
    assert voids(lambda n: {**asleep, **done}.get(n, {}))[0] == ""
    for late in (0.004, 0.1):
        hardly = {50: {"late": late, "seconds": 0.3}, **under_way}
        assert voids(lambda n, of=hardly: of.get(n, {}))[0] == "", "any prober is late by a little"


@pytest.mark.parametrize(
    ("seconds", "stalled", "enough"),
    [(11.9, 0, False), (12, 0, True), (12, 3, True), (12, 4, False), (23.9, 12, False), (24, 12, True)],
)
def test_a_path_is_measured_for_as_long_as_was_asked_or_twice_as_long_by_a_late_prober(
    seconds: float, stalled: int, enough: bool
) -> None:
    measured = samples(round(seconds * RATE), change=lambda n: {"late": 1.0} if n < stalled * RATE else {})
    assert measured_enough(measured, 12.0, 1.0, SLO) is enough


@pytest.mark.parametrize(
    ("seconds", "stalled", "enough"), [(4, 3, True), (4, 2, False), (5.9, 2, False), (6, 2, True), (8, 5, True)]
)
def test_a_path_is_measured_on_until_a_late_prober_leaves_three_windows_in_a_row(
    seconds: float, stalled: int, enough: bool
) -> None:
    late = {"late": 1.0}
    measured = samples(round(seconds * RATE), change=lambda n: late if n // RATE == stalled else {})
    assert measured_enough(measured, 4.0, 1.0, SLO) is enough


def test_what_is_missing_between_was_measured_and_nothing_was_not() -> None:
    measured = samples(round(12 * RATE))
    gap = replace(measured, samples=tuple(s for s in measured.samples if s.n % 300))
    assert not measured_enough(gap, 12.0, 1.0, SLO), "its first number is missing"
    assert measured_enough(replace(measured, samples=measured.samples[:1] + measured.samples[2:]), 12.0, 1.0, SLO)
    assert not measured_enough(samples(0), 0.1, 1.0, SLO)


def test_a_look_tells_what_it_saw() -> None:
    seen = changed(2, 100, BAD).samples
    assert look(seen, TIMEOUT, Slo(1.0, 0.02)) == Look(p95([0.01]), 2, 100, in_slo=True, broken=False)
    assert look(seen, TIMEOUT, SLO) == Look(p95([0.01]), 2, 100, in_slo=False, broken=False)


def test_why_windows_are_void_is_told_by_the_first_that_is() -> None:
    assert why_void([window("g"), window("v"), replace(window("v"), void="other")]) == " (void)"
    assert why_void([window("g")]) == why_void([]) == ""


DAY = 86_400.0


def gone_on_with(*days: float) -> Samples:
    """Twenty good seconds, and as many again after so many days each."""
    starts = (0.0, *days)
    made = [
        replace(s, n=s.n + 1000 * k) for k, day in enumerate(starts) for s in samples(1000, WALL + day * DAY).samples
    ]
    return replace(samples(1), samples=tuple(made))


@pytest.mark.parametrize("days", [2.5, 8.0, 400.0])
def test_a_run_that_is_gone_on_with_after_days_has_its_windows_at_their_times(days: float) -> None:
    found = windows(gone_on_with(days), 1.0, SLO)
    assert len(found) == 20 + UNSEEN + 20
    assert [w.start for w in found[:20]] == pytest.approx([WALL + n for n in range(20)])
    assert [w.start for w in found[-20:]] == pytest.approx([WALL + days * DAY + n for n in range(20)])
    assert {w.void for w in found[20:-20]} == {"no probe was taken up"}
    assert all(w.within(SLO) for w in (*found[:20], *found[-20:]))
    assert not countable(found)


def test_every_window_of_hours_without_a_probe_counts() -> None:
    assert len(windows(gone_on_with(0.1), 1.0, SLO)) == 0.1 * DAY + 20


def test_samples_that_are_scattered_over_years_are_no_runs() -> None:
    with pytest.raises(UnknownError, match="lie too far apart to be those of one run"):
        windows(gone_on_with(*range(1, MOST // UNSEEN + 2)), 1.0, SLO)
