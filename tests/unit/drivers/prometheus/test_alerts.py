"""An alert's stretches, out of the points at which its expression held."""

from __future__ import annotations

import pytest

from dr.drivers.prometheus.judge import Alerting, stretches

START = 1_700_000_000.25


def grid(first: int, last: int, step: float = 1.0) -> list[float]:
    return [START + n * step for n in range(first, last + 1)]


def test_an_alert_fires_once_it_was_true_for_its_whole_time() -> None:
    found = stretches(grid(10, 330), START, START + 400, 1.0, 300.0)
    assert found == (Alerting(START + 10, START + 310, START + 331),)


def test_an_alert_that_ends_an_evaluation_too_early_never_fires() -> None:
    assert stretches(grid(10, 310), START, START + 400, 1.0, 300.0)[0].firing == START + 310
    assert stretches(grid(10, 309), START, START + 400, 1.0, 300.0)[0].firing is None


def test_one_evaluation_without_a_point_starts_the_time_anew() -> None:
    found = stretches([*grid(0, 199), *grid(201, 450)], START, START + 600, 1.0, 300.0)
    assert [one.firing for one in found] == [None, None]
    assert [(one.since, one.until) for one in found] == [(START, START + 200), (START + 201, START + 451)]


def test_what_is_still_pending_at_the_end_is_left_open() -> None:
    assert stretches(grid(100, 120), START, START + 120, 1.0, 300.0) == (Alerting(START + 100, None, None),)


def test_an_alert_fires_at_an_evaluation_and_not_between_two() -> None:
    found = stretches(grid(0, 40, 15.0), START, START + 600, 15.0, 20.0)
    assert found == (Alerting(START, START + 30, None),)
    assert stretches(grid(0, 1, 15.0), START, START + 60, 15.0, 0.0) == (Alerting(START, START, START + 30),)


def test_an_alert_without_a_time_fires_at_once() -> None:
    assert stretches(grid(3, 3), START, START + 9, 1.0, 0.0) == (Alerting(START + 3, START + 3, START + 4),)


def test_a_step_that_is_no_binary_fraction_keeps_its_last_evaluation() -> None:
    (found,) = stretches([START + 0.3], START, START + 0.3, 0.1, 0.0)
    assert found.until is None
    assert found.since == found.firing == pytest.approx(START + 0.3, abs=1e-6)


def test_an_expression_that_never_held_has_no_stretch() -> None:
    assert stretches([], START, START + 60, 1.0, 300.0) == ()
