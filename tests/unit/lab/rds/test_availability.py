"""When RDS fails over, restarts in place, goes on without a standby, and gets one again; in virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from dr.lab.rds.availability import (
    AWAY,
    GONE_AFTER,
    HUNG_AFTER,
    REPLACE_AFTER,
    RETRY,
    SILENT,
    STARTS,
    History,
    Look,
    Step,
    decide,
)
from dr.lab.rds.servers import Condition, Standby

WELL = Standby(streaming=True, synchronous=True, silent=0.4)
LEFT = Standby(streaming=False, synchronous=True, silent=1.0)
DEGRADED = Standby(streaming=False, synchronous=False, silent=9.0)
TICK = 0.25


def steps(look: Look, seconds: float, history: History | None = None) -> list[tuple[float, Step]]:
    """What is told when the same is seen for so long: seconds since the beginning, and the step; nothings left out."""
    history, told, elapsed = history or History(), [], 0.0
    while elapsed <= seconds:
        history, step = decide(history, replace(look, at=1000.0 + elapsed))
        if step is not Step.NOTHING:
            told.append((elapsed, step))
        elapsed += TICK
    return told


def seen(condition: Condition, standby: Standby | None = WELL, multi_az: bool = True, **more: object) -> Look:
    return replace(Look(0.0, condition, standby, multi_az), **more)


def kinds(told: Sequence[tuple[float, Step]]) -> set[Step]:
    return {step for _, step in told}


@pytest.mark.parametrize(
    "look",
    [seen("running"), seen("running", None, multi_az=False), seen("gone", None, multi_az=False)],
    ids=["Multi-AZ", "Single-AZ", "a lost host with nowhere to go"],
)
def test_nothing_is_done(look: Look) -> None:
    assert steps(look, 120) == []


@pytest.mark.parametrize(("condition", "limit"), [("gone", GONE_AFTER), ("hung", HUNG_AFTER)])
def test_a_lost_or_hung_host_is_failed_over_from_once_it_is_believed(condition: Condition, limit: float) -> None:
    told = steps(seen(condition, LEFT), limit + 2)
    assert kinds(told) == {Step.FAIL_OVER}
    assert limit <= told[0][0] <= limit + 2 * TICK


def test_a_host_that_comes_back_in_time_is_not_failed_over_from() -> None:
    history, _ = decide(History(), seen("gone", at=0.0))
    history, _ = decide(history, seen("running", at=GONE_AFTER - 0.5))
    assert decide(history, seen("gone", at=GONE_AFTER + 0.5))[1] is Step.NOTHING


@pytest.mark.parametrize("condition", ["gone", "hung"])
@pytest.mark.parametrize("standby", [None, DEGRADED])
def test_without_a_synchronous_standby_nothing_is_failed_over(condition: Condition, standby: Standby | None) -> None:
    assert steps(seen(condition, standby), 300) == []


def test_a_standby_is_not_forgotten_while_its_primary_does_not_run() -> None:
    lost = Standby(streaming=False, synchronous=True, silent=60.0)
    assert Step.DEGRADE not in kinds(steps(seen("gone", lost), 60) + steps(seen("hung", lost), 60))
    # The time that it was away from a dead primary does not count either.
    history = History()
    for tenth in range(100):
        history, _ = decide(history, seen("dead", LEFT, at=tenth / 10))
    assert decide(history, seen("running", LEFT, at=10.0))[1] is Step.NOTHING


def test_a_dead_engine_is_started_at_once_where_it_is() -> None:
    assert steps(seen("dead"), 0) == [(0.0, Step.RESTART)]
    assert steps(seen("dead", None, multi_az=False), 0) == [(0.0, Step.RESTART)]


def test_an_engine_that_does_not_start_is_failed_over_from_or_given_up() -> None:
    assert steps(seen("dead", failed_starts=STARTS - 1), 0) == [(0.0, Step.RESTART)]
    assert steps(seen("dead", failed_starts=STARTS), 0) == [(0.0, Step.FAIL_OVER)]
    assert steps(seen("dead", DEGRADED, failed_starts=STARTS), 0) == [(0.0, Step.GIVE_UP)]
    assert steps(seen("dead", None, multi_az=False, failed_starts=STARTS), 0) == [(0.0, Step.GIVE_UP)]


def test_a_full_disk_never_fails_over() -> None:
    assert kinds(steps(seen("full"), 600)) == {Step.STORAGE_FULL}


@pytest.mark.parametrize(
    ("standby", "least"),
    [(LEFT, AWAY), (Standby(streaming=True, synchronous=True, silent=SILENT), 0.0)],
    ids=["does not stream", "says nothing"],
)
def test_writes_go_on_without_a_lost_standby_within_two_seconds(standby: Standby, least: float) -> None:
    told = steps(seen("running", standby), 4)
    assert kinds(told) == {Step.DEGRADE}
    assert least <= told[0][0] <= 2.0


def test_a_standby_that_is_away_for_a_moment_is_kept() -> None:
    history = History()
    for at in range(20):
        # Away in every second look of a second each.
        history, step = decide(history, seen("running", LEFT if at % 2 else WELL, at=float(at)))
        assert step is Step.NOTHING


def test_a_degraded_standby_is_rebuilt_now_and_again() -> None:
    told = steps(seen("running", DEGRADED), RETRY * 2 + 1)
    assert kinds(told) == {Step.REBUILD}
    assert told[0][0] == 0.0
    assert all(RETRY <= late - early <= RETRY + 2 * TICK for (early, _), (late, _) in pairwise(told))


def test_what_was_fenced_rejoins_and_is_replaced_when_its_host_stays_away() -> None:
    told = steps(seen("running", None), REPLACE_AFTER + 10)
    assert told[0] == (0.0, Step.REJOIN)
    early = [step for at, step in told if at < REPLACE_AFTER]
    late = [step for at, step in told if at > REPLACE_AFTER + RETRY]
    assert set(early) == {Step.REJOIN}
    assert set(late) == {Step.REBUILD}


def test_a_standby_that_is_back_starts_its_time_anew() -> None:
    history = History()
    for at in range(int(REPLACE_AFTER) + 10):
        history, _ = decide(history, seen("running", None, at=float(at)))
    history, _ = decide(history, seen("running", WELL, at=100.0))
    assert decide(history, seen("running", None, at=100.1))[1] is Step.REJOIN


def test_nothing_is_told_while_something_is_under_way_but_its_time_counts() -> None:
    assert steps(seen("gone", busy=True), 60) == []
    history = History()
    for at in range(10):
        history, _ = decide(history, seen("gone", LEFT, at=float(at), busy=True))
    assert decide(history, seen("gone", LEFT, at=10.0))[1] is Step.FAIL_OVER
