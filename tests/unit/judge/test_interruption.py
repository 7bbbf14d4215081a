"""The edges of an interruption: what places its beginning and its end, and at which moment a rule begins to hold."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from dr.evidence.model import Evidence, Sample, Samples
from dr.evidence.samples import OWN_REFUSAL, TIMEOUT
from dr.judge.findings import UnknownError
from dr.judge.interruption import Edge, Measured, Usual, measured_on, outage_of, usual
from tests.unit.eighths import BEFORE, LATE, PERIOD, TOOK, began, edges, path, probe, refused, seen, settled
from tests.unit.outages import DISASTER, evidence, ns, stamp


def measured(found: Evidence) -> Measured:
    of = measured_on(found, "source")
    assert of is not None
    return of


def asleep(due: float, late: int, took: float = TOOK, error: str = "") -> Sample:
    """Taken up ``late`` nanoseconds after it was due: so long, what was under way then was not looked at either."""
    one = probe(due, took, error)
    return replace(one, sent=one.sent + late, done=one.done + late, late=late)


def late(at: float, until: float, next_took: float = TOOK) -> list[Sample]:
    """Two answers that are late, neither of which failed, and the good one after them."""
    return [probe(at, until), probe(at + PERIOD, until), probe(at + 2 * PERIOD, next_took)]


# -- what was measured


@pytest.mark.parametrize(("at", "whole"), [(-0.125, False), (0.0, True)])
def test_a_path_has_settled_from_the_moment_of_the_disaster_on(at: float, whole: bool) -> None:
    found = path()
    entries = tuple(replace(e, stamp=stamp(at)) if e.call == "settle" else e for e in found.entries)
    assert measured(replace(found, entries=entries)).whole is whole


def test_an_answer_counts_from_the_very_moment_it_was_asked_for_and_not_before() -> None:
    at_once, never = probe(1.0, took=0.0, late=0.0625), replace(probe(2.0, late=0.0625), done=ns(2.0))
    numbers = {p.n for p in measured(path(at_once, never)).probes}
    assert (at_once.n in numbers, never.n in numbers) == (True, False)


@pytest.mark.parametrize(
    ("last", "gone", "whole"),
    [
        (999, [], True),
        (999, [500], True),
        (999, [500, 501], False),
        (998, [500], False),
        (999, [999], False),
    ],
)
def test_one_probe_in_a_thousand_may_be_missing_but_not_the_last(last: int, gone: list[int], whole: bool) -> None:
    found = settled(path(end=(last + 1) * PERIOD), last)
    of = found.samples["source"]
    kept = tuple(s for s in of.samples if s.n not in gone)
    assert measured(replace(found, samples={"source": replace(of, samples=kept)})).whole is whole


def test_the_prober_slept_as_long_as_the_latest_of_all_that_fell_due_until_the_answer() -> None:
    """Also of what fell due in the very moment in which the probe was asked, or was answered."""
    first, asked, between, done = (
        probe(1.0, took=0.5, late=0.125),
        probe(1.125, late=0.25),
        probe(1.375, late=0.0625),
        probe(1.625, late=0.375),
    )

    def slept(*told: Sample) -> float:
        return next(p.slept for p in measured(path(*told)).probes if p.n == first.n)

    assert slept(first, asked, between) == 0.25
    assert slept(first, between) == 0.0625
    assert slept(first, between, done) == 0.375
    assert slept(first) == 0.0


def test_probes_are_in_the_order_they_were_asked_and_not_in_that_of_their_numbers() -> None:
    """One that was taken up late, after those that were due later."""
    found = path(probe(1.0, late=0.1875))
    times = [p.asked - DISASTER for p in measured(found).probes]
    assert times == sorted(times)
    assert outage_of(found, "source").unseen == 0.25 + LATE - TOOK


# -- what is usual


def few(took: list[float], timeout: float = 2.0) -> Measured:
    """Answers before the disaster, one after another, the last of them at that very moment."""
    made = [probe((n - len(took)) * PERIOD, t) for n, t in enumerate(took)]
    made[-1] = replace(made[-1], due=ns(-took[-1]), sent=ns(-took[-1]), done=ns(0.0))
    return measured(evidence({"source": Samples("source", 1 / PERIOD, timeout, stamp(0.0), tuple(made))}))


def test_twenty_answers_until_the_disaster_tell_what_is_usual() -> None:
    took = [(n + 1) / 256 for n in range(20)]
    known = usual(few(took[::-1]), DISASTER)
    assert known == Usual(took[0], took[10], took[19], 3 * took[19])
    assert usual(few(took[1:]), DISASTER) is None


def test_the_hundredth_of_the_answers_that_took_longest_is_not_usual() -> None:
    took = [(n + 1) / 1024 for n in range(101)]
    known = usual(few(took), DISASTER)
    assert known is not None
    assert (known.median, known.p99) == (took[50], took[99])


def test_an_answer_is_late_a_period_after_the_least_or_halfway_to_the_time_out() -> None:
    took = [(n + 1) / 1024 for n in range(20)]
    assert usual(few(took), DISASTER) == Usual(took[0], took[10], took[19], PERIOD + took[0])
    halfway = usual(few(took, timeout=0.125), DISASTER)
    assert halfway is not None
    assert halfway.late == (took[19] + 0.125) / 2


@pytest.mark.parametrize(("late", "known"), [(5_000_000, True), (5_000_001, False)])
def test_a_prober_that_slept_for_five_milliseconds_still_tells_what_is_usual(late: int, known: bool) -> None:
    made = tuple(asleep(n * PERIOD - BEFORE, late, took=PERIOD) for n in range(20))
    of = measured(evidence({"source": Samples("source", 1 / PERIOD, 2.0, stamp(0.0), made)}))
    assert (usual(of, DISASTER) is not None) is known


# -- what cannot be told


def unknown(found: Evidence) -> str:
    with pytest.raises(UnknownError) as told:
        outage_of(found, "source")
    return str(told.value)


def test_it_is_said_why_an_outage_cannot_be_told() -> None:
    assert unknown(evidence()) == "Path source was not measured."
    assert unknown(path(absent=[(-BEFORE - 1.0, -2.375)])) == (
        "Path source has fewer than 20 good answers before the disaster: what is usual is not known."
    )
    assert unknown(path(end=-0.125)) == "Path source was not measured after the disaster."
    assert unknown(path(absent=[(1.0, 3.125)])) == (
        "Nobody looked at path source for 2.1 of the 8.0 s after the disaster."
    )


def test_a_probe_at_the_disaster_is_enough_to_tell_and_so_are_three_quarters_of_the_time_after_it() -> None:
    assert seen(end=0.0).whole is None
    assert [b - a for a, b in seen(absent=[(1.0, 3.0)]).blind] == [2.0]


def test_of_what_was_read_after_its_time_out_alone_nothing_is_known() -> None:
    """All answers took 4 ms more than that, and the prober slept for 5."""
    late, due = 5_000_000, [n * PERIOD - BEFORE for n in range(40)]
    slow = [asleep(at, late, 0.254) for at in due[:-2]] + [asleep(at, late, error=OWN_REFUSAL) for at in due[-2:]]

    def found(*more: Sample) -> Evidence:
        return evidence({"source": Samples("source", 1 / PERIOD, 0.25, stamp(0.0), (*slow, *more))})

    assert unknown(found()) == "Path source was not measured after the disaster."
    outage = outage_of(found(refused(0.0)), "source")
    assert outage.unseen == math.inf, "there is no other probe to say how much lies between two"
    assert edges(outage.whole)[0] == Edge(0.0, 0.0, TOOK)


# -- what shows a path up or down, and what says nothing


def test_an_answer_is_late_only_beyond_the_limit_and_beyond_what_the_prober_slept() -> None:
    assert seen(probe(1.0, took=LATE), probe(1.125, took=LATE)).whole is None
    assert began(seen(probe(1.0, took=LATE + 1 / 64), probe(1.125, took=LATE + 1 / 64))) == [1.0 + LATE]
    slept = [probe(1.0, took=PERIOD + LATE), probe(1.125, late=PERIOD)]
    assert (outage := seen(*slept)).whole is None
    assert outage.unseen == 0.375 + LATE - TOOK, "the first of them says nothing, and the second was asked late"


@pytest.mark.parametrize(
    ("error", "late", "out"), [(TIMEOUT, 5_000_000, True), (TIMEOUT, 5_000_001, False), ("refused", 62_500_000, True)]
)
def test_only_a_time_out_is_excused_by_a_prober_that_slept(error: str, late: int, out: bool) -> None:
    assert (seen(probe(1.0, PERIOD, error), asleep(1.125, late)).whole is not None) is out


def test_what_the_pooler_refused_because_of_the_meter_says_nothing() -> None:
    outage = seen(*(probe(1.0 + n * PERIOD, error=OWN_REFUSAL) for n in range(2)))
    assert (outage.whole, outage.blind) == (None, ((DISASTER + 0.875, DISASTER + 1.25),))


def test_nobody_looked_where_more_than_two_periods_lie_between_two_probes_and_neither_is_bad() -> None:
    def blind(*told: Sample, absent: tuple[float, float]) -> list[tuple[float, float]]:
        return [(a - DISASTER, b - DISASTER) for a, b in seen(*told, absent=[absent]).blind]

    assert blind(absent=(1.0, 1.25)) == []
    assert blind(absent=(1.0, 1.375)) == [(1.0, 1.375)]
    assert blind(absent=(-0.5, 0.0)) == []
    assert blind(absent=(-0.5, 0.125)) == [(-0.5, 0.125)]
    assert blind(refused(1.0), absent=(1.0, 1.5)) == []
    assert blind(refused(1.5), absent=(1.0, 1.5)) == []


def test_nobody_looked_where_the_last_probes_say_nothing() -> None:
    own = [probe(7.625 + n * PERIOD, error=OWN_REFUSAL) for n in range(4)]
    assert seen(*own).blind == ((DISASTER + 7.5, DISASTER + 8.0),)


def test_an_outage_may_go_unseen_between_two_probes_of_which_the_second_is_not_before_the_disaster() -> None:
    assert seen().unseen == PERIOD + LATE - TOOK
    assert seen(absent=[(-0.25, 0.0)]).unseen == 0.25 + LATE - TOOK
    assert seen(absent=[(-0.5, -0.125)]).unseen == PERIOD + LATE - TOOK


def test_a_request_hung_where_it_was_over_no_sooner_than_its_time_out_and_not_before_the_disaster() -> None:
    def hung(due: float, took: float) -> int:
        return seen(probe(due, took, TIMEOUT)).hung

    assert [hung(-2.0, 2.0), hung(-2.125, 2.0), hung(1.0, 2.0), hung(1.0, 1.984375)] == [1, 0, 1, 0]


# -- runs of bad probes


def test_good_answers_part_two_runs_only_where_they_were_asked_for_longer_than_an_answer_may_take() -> None:
    assert began(seen(refused(1.0), refused(1.25))) == [1.0 + TOOK]
    assert began(seen(refused(1.0), probe(1.25, error="refused", late=1 / 64))) == [1.0 + TOOK]
    assert began(seen(refused(1.0), probe(1.25, error="refused", late=1 / 32))) == [1.0 + TOOK, 1.25 + 3 / 64]
    assert began(seen(refused(1.0), refused(1.375))) == [1.0 + TOOK, 1.375 + TOOK]
    assert began(seen(refused(1.0), refused(1.5), absent=[(1.0, 1.5)])) == [1.0 + TOOK], "nothing good between them"
    together = probe(1.375, late=0.125)
    assert began(seen(refused(1.0), together, refused(1.5), absent=[(1.0, 1.375)])) == [1.0 + TOOK], "nor before it"


def test_a_lone_late_answer_that_the_next_overtakes_by_more_than_the_usual_p99_is_no_outage() -> None:
    overtaken = [probe(1.0, took=11 / 64), probe(1.125)]
    assert seen(*overtaken).whole is None
    assert began(seen(probe(1.0, took=11 / 64), probe(1.125, took=2 / 64))) == [1.0 + LATE]
    assert began(seen(*overtaken, refused(4.0))) == [4.0 + TOOK], "what comes later is another matter"


def test_an_interruption_that_was_over_at_the_disaster_at_the_latest_is_of_it_and_not_usual() -> None:
    assert edges(seen(refused(-0.125)).whole)[1] == Edge(-0.125, -0.0625, 0.0)
    assert seen(refused(-0.25)).whole is None
    pause = [probe(-0.375, took=0.3125), probe(-0.25, took=3 / 16, late=7 / 64)]
    assert len(seen(*pause, *late(1.0, 3 / 16)).pieces) == 2, "the first is no measure for the second"


# -- where it began


def test_an_interruption_began_between_the_last_good_answer_before_and_the_first_failure() -> None:
    assert edges(seen(refused(1.0)).whole) == (Edge(0.875, 0.953125, 1.0 + TOOK), Edge(1.0, 1.0625, 1.125))
    hanging = [probe(1.0 + n * PERIOD, took=2.0, error=TIMEOUT) for n in range(2)]
    assert edges(seen(*hanging).whole)[0] == Edge(0.875, 0.953125, 1.0 + LATE)


def test_a_path_was_up_until_the_last_answer_to_what_was_asked_shortly_before() -> None:
    """Answers of an eighth: they are late after three."""
    slow = [probe(n * PERIOD - BEFORE, took=PERIOD) for n in range(round(BEFORE / PERIOD))]
    failed = refused(1.0, took=0.25)

    def best(*told: Sample) -> float:
        return edges(seen(*slow, *told, failed).whole)[0].best

    assert best(probe(0.75, took=0.3125), probe(0.875, took=1 / 32)) == (1.0625 + 1.125) / 2
    assert best(probe(0.625, took=0.375), probe(0.75), probe(0.875)) == (1.0 + 1.125) / 2, "the very first that counts"
    assert best(probe(0.5, took=0.375), probe(0.625), probe(0.75), probe(0.875)) == (0.875 + TOOK + 1.125) / 2


def test_where_nothing_was_asked_shortly_before_the_last_good_answer_alone_places_the_beginning() -> None:
    found = seen(probe(0.375, took=LATE), probe(0.5, took=1 / 128), refused(1.0), absent=[(0.5, 1.0)])
    assert edges(found.whole)[0] == Edge(0.5, (0.5 + 1 / 128 + 1.0 + TOOK) / 2, 1.0 + TOOK)


def test_an_interruption_without_a_good_answer_before_it_began_with_its_first_probe() -> None:
    """Every second one fails, from the first to the disaster; or the first two are late."""
    failing = [refused(n * 2 * PERIOD - BEFORE) for n in range(round(BEFORE / PERIOD))]
    assert edges(seen(*failing).whole)[0] == Edge(-BEFORE, -BEFORE, -BEFORE + TOOK)
    found = seen(*late(-BEFORE, 3 / 16, LATE), *late(1.0, 3 / 16), refused(2.0))
    assert began(found) == [2.0 + TOOK], "a pause like that of the very beginning is usual"


# -- where it ended


def test_an_interruption_has_ended_when_the_next_good_answer_was_asked_or_as_long_before_it_came_as_it_takes() -> None:
    def ended(took: float, *before: Sample) -> Edge:
        return edges(seen(*before, refused(1.0), probe(1.125, took)).whole)[1]

    assert ended(took=1 / 32) == Edge(1.0, 1.0 + 9 / 128, 1.125 + 1 / 64)
    assert ended(took=1 / 128) == Edge(1.0, 1.0625 - 1 / 256, 1.125), "not before it was asked"
    quicker = probe(-1.0, took=1 / 128)
    assert ended(1 / 32, quicker) == Edge(1.0, (1.0 + 1.125 + 1 / 64) / 2, 1.125 + 3 / 128)


def test_where_a_connection_breaks_later_it_was_bad_until_then() -> None:
    broke = probe(0.875, took=0.5, error="reset")
    assert edges(seen(broke, refused(1.0)).whole)[1] == Edge(1.0, 1.0625, 1.375)


def hanging(until: float, asked: float = 1.0, last: float = 1.875) -> list[Sample]:
    """What is answered at once, ``until`` then."""
    count = round((last - asked) / PERIOD) + 1
    return [probe(asked + n * PERIOD, took=until - asked - n * PERIOD) for n in range(count)]


def test_where_answers_that_hung_come_at_once_it_ended_when_the_first_of_them_came() -> None:
    found = seen(*hanging(2.0625), probe(2.0, took=0.0625))
    assert edges(found.whole)[1] == Edge(2.046875, 2.046875, 2.046875)
    some = [probe(1.0, took=0.6875), refused(1.125), refused(1.25), refused(1.375), refused(1.5)]
    assert edges(seen(*some, probe(1.625, took=LATE)).whole)[1] == Edge(1.671875, (1.671875 + 1.75) / 2, 1.75)


@pytest.mark.parametrize("answered", [1.625, 3.0])
def test_answers_that_came_no_sooner_or_no_later_than_the_next_period_do_not_place_its_end(answered: float) -> None:
    some = [probe(1.0, took=answered - 1.0), *(refused(1.125 + n * PERIOD) for n in range(4))]
    assert edges(seen(*some).whole)[1] == Edge(1.5, 1.5625, 1.625)


def test_an_answer_that_came_before_the_last_failure_was_asked_does_not_place_its_end() -> None:
    some = [probe(1.0, took=0.5), refused(1.125), probe(1.25, took=0.4375), refused(1.375), refused(1.5)]
    assert edges(seen(*some, probe(1.625, took=LATE)).whole)[1].low == 1.671875


def test_an_answer_that_the_prober_read_late_came_as_much_earlier_at_the_least() -> None:
    some = [probe(1.0, took=0.75), refused(1.125), refused(1.25), refused(1.375), refused(1.5)]
    found = seen(*some, probe(1.625, took=LATE, late=0.0625))
    assert edges(found.whole)[1] == Edge(1.671875, (1.671875 + 1.8125) / 2, 1.8125)


def test_a_path_is_still_out_where_its_last_bad_probe_is_no_more_than_two_periods_old() -> None:
    out = [refused(1.0 + n * PERIOD) for n in range(8)]
    assert [seen(*out, end=1.875 + n * PERIOD).still_out for n in range(4)] == [True, True, True, False]


# -- which make the outage


def test_late_answers_are_none_of_an_outage_where_it_was_good_for_three_seconds_before_and_after() -> None:
    assert began(seen(*late(1.0, 3 / 16), refused(2.0), refused(7.0), end=12.0)) == [1.0 + LATE, 2.0 + TOOK, 7.0 + TOOK]
    assert began(seen(refused(1.0), refused(6.0), *late(7.0, 3 / 16), end=12.0))[2:] == [7.0 + LATE]
    assert began(seen(refused(1.0), *late(5.0, 3 / 16), refused(7.0), end=12.0))[1:] == [5.0 + LATE, 7.0 + TOOK]
    assert began(seen(refused(1.0), *late(5.0, 3 / 16), refused(9.0), end=14.0)) == [1.0 + TOOK, 9.0 + TOOK]
    exactly = [refused(1.0), probe(1.125, took=3 / 64)]
    alone, hardly = (seen(*exactly, *late(at, 3 / 16), end=12.0) for at in (4.125, 4.0))
    assert (began(alone), len(alone.slips)) == ([1.0 + TOOK], 1)
    assert (began(hardly), len(hardly.slips)) == ([1.0 + TOOK, 4.0 + LATE], 0)


def test_late_answers_of_a_quarter_of_a_second_are_a_moment_and_more_are_not() -> None:
    for next_took, counted in ((3 / 64, 1), (4 / 64, 2)):
        found = seen(refused(1.0), *late(5.0, 3 / 16, next_took), end=12.0)
        assert len(found.pieces) == counted, found
        at_the_end = seen(*late(1.0, 3 / 16, next_took), end=2.0)
        assert at_the_end.whole is not None
        assert math.isinf(at_the_end.whole.ended.high) is (counted == 2)


def test_a_pause_as_long_as_one_before_the_disaster_is_usual() -> None:
    def pieces(until: float) -> int:
        return len(seen(*late(-2.0, 3 / 16, until), refused(3.0), *late(4.0, 3 / 16, LATE), end=12.0).pieces)

    assert [pieces(LATE), pieces(LATE - 1 / 64)] == [1, 2]


def test_where_nothing_counts_the_longest_moment_is_the_outage() -> None:
    short, longer = late(2.0, 10 / 64), late(6.0, 3 / 16, 2 / 64)
    for found in (seen(*short, *longer, end=12.0), seen(*late(2.0, 3 / 16, 2 / 64), *late(6.0, 10 / 64), end=12.0)):
        assert [piece.seconds for piece in found.pieces] == [0.2421875]
        assert len(found.slips) == 1


# -- whether it is over


@pytest.mark.parametrize(("end", "over"), [(3.9375, True), (3.875, False)])
def test_an_outage_is_over_once_the_path_was_good_for_three_windows(end: float, over: bool) -> None:
    """It ended at 1.0625, and a probe stands for the period after it."""
    found = path(refused(1.0), probe(1.125), end=4.0)
    of = found.samples["source"]
    made = tuple(replace(s, late=0) if s.due < ns(4.0) else probe(end) for s in of.samples if s.due < ns(end))
    last = replace(probe(end), n=made[-1].n + 1)
    whole = outage_of(replace(found, samples={"source": replace(of, samples=(*made, last))}), "source").whole
    assert whole is not None
    assert math.isfinite(whole.ended.high) is over


@pytest.mark.parametrize(("end", "over"), [(2.5, True), (2.25, False)])
def test_a_window_is_as_long_as_the_run_says(end: float, over: bool) -> None:
    found = path(refused(1.0), end=end)
    whole = outage_of(replace(found, record=replace(found.record, window=0.5)), "source").whole
    assert whole is not None
    assert math.isfinite(whole.ended.high) is over


@pytest.mark.parametrize(("end", "over"), [(5.25, True), (5.125, False)])
def test_a_path_is_not_good_while_nobody_looks(end: float, over: bool) -> None:
    whole = seen(refused(1.0), absent=[(2.0, 3.25)], end=end).whole
    assert whole is not None
    assert math.isfinite(whole.ended.high) is over


def test_an_outage_lasts_from_the_first_of_its_pieces_to_the_last_and_from_what_nobody_saw_before_to_after() -> None:
    found = seen(refused(2.0), refused(4.0), refused(6.0, took=1 / 32), absent=[(0.5, 1.0), (7.0, 7.5)], end=14.0)
    assert edges(found.whole) == (Edge(0.5, 1.953125, 2.0 + TOOK), Edge(6.0, 6.0625, 7.5))
    assert found.whole is not None
    assert (found.whole.failed, found.whole.shown) == (True, DISASTER + 6.0 + 1 / 32)
    assert found.whole.interval == (4.0 - TOOK, 7.0)
