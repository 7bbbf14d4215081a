"""A deadline for the whole of an answer, hearing while waiting, and asking again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from dr.domain.errors import DrError, HaltedError, OddAnswerError, ProviderError, RefusedError
from dr.host.bounded import SLICE, given_up, persistently, within
from dr.host.clock import SystemClock
from dr.host.hearing import heed, heeding, pause
from tests.virtual import VirtualClock


class Told:
    """Whether to stop."""

    def __init__(self) -> None:
        self.stop = False

    def check(self) -> None:
        if self.stop:
            raise HaltedError("The run was stopped: SIGTERM was received.")


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """What does not come while the test lasts."""
    event = threading.Event()
    yield event
    event.set()


def test_an_answer_in_time_is_returned_and_an_error_is_raised_as_it_is() -> None:
    assert within(VirtualClock(), 1.0, "It", lambda: 42) == 42
    with pytest.raises(RefusedError, match="no"):
        within(VirtualClock(), 1.0, "It", lambda: (_ for _ in ()).throw(RefusedError("no")))


def test_what_never_answers_is_given_up_and_told_so(never: threading.Event) -> None:
    seen: list[bool] = []
    ended = threading.Event()

    def step() -> None:
        never.wait()
        seen.append(given_up())
        ended.set()

    with pytest.raises(ProviderError, match=r"DescribeIt at there was not answered within 0.3 s") as caught:
        within(SystemClock(), 0.3, "DescribeIt at there", step)
    assert caught.value.transient
    never.set()
    assert ended.wait(60)
    assert seen == [True]


def test_an_answer_after_its_time_is_none() -> None:
    clock = VirtualClock()
    with pytest.raises(ProviderError, match="within 5 s"):
        within(clock, 5.0, "It", lambda: clock.sleep(5.1))


def test_whoever_waits_is_heard_while_the_answer_does_not_come(never: threading.Event) -> None:
    told = Told()
    told.stop = True
    with heeding(told.check), pytest.raises(HaltedError):
        within(SystemClock(), 3600.0, "It", never.wait)


def test_an_answer_that_is_about_to_come_is_not_given_up_by_a_halt(never: threading.Event) -> None:
    """What would be given up may have been done, and whoever undoes it would have to wait for it to show."""
    told = Told()
    told.stop = True

    def step() -> str:
        never.wait(2.5 * SLICE)
        return "done"

    with heeding(told.check):
        assert within(SystemClock(), 3600.0, "It", step) == "done"
        with pytest.raises(HaltedError):
            heed()


def test_only_what_is_inside_heeds_a_halt() -> None:
    told, clock = Told(), VirtualClock()
    told.stop = True
    with heeding(told.check), pytest.raises(HaltedError):
        heed()
    heed()
    pause(clock, 60.0)
    assert sum(clock.slept) == 60.0


def test_a_pause_ends_within_a_second_of_the_halt() -> None:
    told, clock = Told(), VirtualClock()
    began = clock.at
    clock.on_sleep = lambda: setattr(told, "stop", clock.at - began > 100.0)
    with heeding(told.check), pytest.raises(HaltedError):
        pause(clock, 3600.0)
    assert clock.at - began < 101.5


def test_what_fails_is_repeated_after_growing_pauses_for_as_long_as_its_error_is_worth() -> None:
    clock, tried = VirtualClock(), []

    def step() -> None:
        tried.append(clock.at)
        raise OddAnswerError("It", "it is empty")

    with pytest.raises(OddAnswerError):
        persistently(clock, lambda error: 60.0 if isinstance(error, OddAnswerError) else 0.0, step)
    between = [later - earlier for earlier, later in pairwise(tried)]
    assert between == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]


def test_patience_begins_with_the_first_failure_however_slowly_that_came() -> None:
    clock, tried = VirtualClock(), []

    def step() -> str:
        tried.append(clock.at)
        clock.sleep(10.0)
        if len(tried) == 1:
            raise ProviderError("busy")
        return "done"

    assert persistently(clock, lambda _: 2.0, step) == "done"
    assert len(tried) == 2


def test_what_is_not_worth_repeating_is_not() -> None:
    clock = VirtualClock()
    with pytest.raises(ProviderError):
        persistently(clock, lambda _: 0.0, lambda: (_ for _ in ()).throw(ProviderError("lost")))
    assert clock.slept == []


def failing(*errors: DrError) -> Callable[[], None]:
    told = iter(errors)

    def step() -> None:
        raise next(told)

    return step


def test_a_refusal_after_a_lost_answer_says_nothing_of_what_was_asked_for_before() -> None:
    refusal = RefusedError("The quota is used up.", "Ask for more.")
    with pytest.raises(ProviderError, match=r"The quota is used up\. Ask for more\."):
        persistently(VirtualClock(), lambda _: 60.0, failing(ProviderError("lost"), refusal))
    with pytest.raises(RefusedError):
        persistently(VirtualClock(), lambda _: 60.0, failing(refusal))


def test_a_halt_after_a_lost_answer_has_begun_whatever_the_step_knows_of_itself() -> None:
    halted = HaltedError("The run was stopped.")
    halted.begun = False
    with pytest.raises(HaltedError) as caught:
        persistently(VirtualClock(), lambda _: 60.0, failing(ProviderError("lost"), halted))
    assert caught.value.begun
