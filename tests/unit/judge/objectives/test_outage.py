"""Outages at the resolution of the probes: what is met, missed and inconclusive, and how long they were."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

import pytest

from dr.domain.model import Demand, Finding, Status
from dr.evidence.model import Evidence, Sample, Samples
from dr.evidence.samples import OWN_REFUSAL, TIMEOUT
from dr.judge.findings import judged
from dr.judge.interruption import outage_of
from dr.judge.objectives import outage
from dr.judge.windows import Slo, windows
from tests.unit import outages
from tests.unit.eighths import path, probe, refused
from tests.unit.outages import DISASTER, KINDS, Out, Script, demand, evidence, of, samples, without

judge_outage = partial(judged, outage.judge_outage)
PERIOD = 1 / 50


def judge(found: Evidence, limit: float = 120.0) -> Finding:
    return judge_outage(found, demand("outage", limit))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [0.05, 0.3, 1.0, 4.0, 20.0])
def test_an_outage_is_as_long_as_it_was_whatever_requests_come_to(kind: str, seconds: float) -> None:
    found = judge(of(Script([Out(0.5, 0.5 + seconds, kind)], after=seconds + 4)))
    assert found.status is Status.MET, found.because
    assert found.measured == pytest.approx(seconds, abs=2 * PERIOD)
    assert found.interval is not None
    assert found.interval[0] <= seconds <= found.interval[1]


def test_a_path_that_hangs_is_out_although_no_request_fails() -> None:
    found = of(Script([Out(1.0, 1.5, "hang")]))
    assert all(s.status == 200 for s in found.samples["source"].samples)
    assert judge(found, limit=0.4).status is Status.MISSED


@pytest.mark.parametrize(("limit", "status"), [(5.0, Status.MET), (3.0, Status.MISSED), (4.0, Status.INCONCLUSIVE)])
def test_the_interval_decides(limit: float, status: Status) -> None:
    assert judge(of(Script([Out(1.0, 5.0)], after=8)), limit).status is status


def test_a_path_that_was_never_out_is_met_and_says_what_would_go_unseen() -> None:
    found = judge(of(Script()))
    assert (found.status, found.measured) == (Status.MET, 0.0)
    assert found.interval is not None
    assert 0.03 < found.interval[1] < 0.045
    told = f"Never out; an outage of less than {found.interval[1] * 1000:.0f} ms may have gone unseen."
    assert found.because == told
    assert judge(of(Script()), limit=0.01).status is Status.INCONCLUSIVE


def test_a_path_that_never_came_back_is_missed() -> None:
    """For longer than its limit: where the measuring ended before, as in a hang, it might have come back in time."""
    found = judge(of(Script([Out(1.0, 99.0)])), limit=3.5)
    assert (found.status, found.measured) == (Status.MISSED, None)
    assert "never came back" in found.because
    for kind in KINDS:
        early = judge(of(Script([Out(0.5, 2.0), Out(3.5, 99.0, kind)])), limit=5.0)
        assert (early.status, early.measured) == (Status.INCONCLUSIVE, None)
        assert "ended before it was back for good" in early.because


SLOW = Script(took=lambda dice: dice.uniform(0.3, 0.9), before=10)
"""Three times the usual p99 lies beyond the time-out of 2 s."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_total_outage_of_a_slow_path_is_an_outage(kind: str) -> None:
    never_back = judge(of(replace(SLOW, outs=[Out(1.0, 99.0, kind)], after=20)), limit=15.0)
    assert (never_back.status, "never came back" in never_back.because) == (Status.MISSED, True), never_back.because
    over = judge(of(replace(SLOW, outs=[Out(1.0, 9.0, kind)], after=15)), limit=4.0)
    assert over.status is Status.MISSED, over.because
    assert over.interval is not None
    assert over.interval[0] <= 8.0 <= over.interval[1]


def test_a_slow_path_that_stays_as_it_is_was_never_out() -> None:
    found = judge(of(replace(SLOW, after=20)))
    assert (found.status, found.measured) == (Status.MET, 0.0), found.because


def test_time_outs_that_a_sleeping_prober_wrote_are_no_outage_and_those_of_a_wakeful_one_are() -> None:
    """The answers may have come while it slept; the few tenths of a millisecond that any prober is late excuse none."""
    sleepy = replace(SLOW, outs=[Out(1.0, 99.0, "silent")], after=20, stalls=[(1.0 + n, 1.9 + n) for n in range(20)])
    found = judge(of(sleepy))
    assert (found.status, found.interval) == (Status.INCONCLUSIVE, None), found.because
    naps = [(1.0 + n / 10, 1.03 + n / 10) for n in range(200)]
    for hardly in (replace(sleepy, stalls=(), jitter=0.004), replace(sleepy, stalls=naps)):
        assert judge(of(hardly), limit=15.0).status is Status.MISSED, "no nap of 30 ms makes a second's delay of 2 s"


def test_a_word_for_a_time_out_that_came_at_once_is_a_failure() -> None:
    """As where the system, or the pooler, gives up a connection before the prober does."""
    whole = of(Script([Out(1.0, 2.0)]))
    measured = whole.samples["source"]
    made = tuple(replace(s, error="timeout") if s.error else s for s in measured.samples)
    found = judge(replace(whole, samples={"source": replace(measured, samples=made)}))
    assert found.measured == pytest.approx(1.0, abs=2 * PERIOD)


def half_failing(every: int = 2) -> Evidence:
    """From the disaster to the end only every so-manyth request is answered, and so is the last one."""
    whole = of(Script(after=20))
    measured = whole.samples["source"]
    last = measured.samples[-1].n

    def fails(n: int, due: float) -> bool:
        return due >= DISASTER and (last - n) % every != 0

    made = tuple(
        replace(s, status=0, error="refused") if fails(s.n, measured.wall(s.due)) else s for s in measured.samples
    )
    return replace(whole, samples={"source": replace(measured, samples=made)})


@pytest.mark.parametrize("every", [2, 3, 5])
def test_a_path_that_half_fails_to_the_end_never_came_back(every: int) -> None:
    found = judge(half_failing(every), limit=15.0)
    assert (found.status, found.measured) == (Status.MISSED, None)
    assert found.because.startswith("It never came back. Out for at least 19.")
    seen = outage_of(half_failing(every), "source")
    assert seen.still_out


@pytest.mark.parametrize(("good", "status"), [(2.5, Status.INCONCLUSIVE), (3.1, Status.MET)])
def test_an_outage_has_ended_where_the_path_was_good_for_three_windows_after_it(good: float, status: Status) -> None:
    assert judge(of(Script([Out(1.0, 2.0)], after=2.0 + good))).status is status
    relapsed = judge(of(Script([Out(1.0, 2.0), Out(8.0, 8.1)], after=8.1 + good)))
    assert (relapsed.status, "never came back" in relapsed.because) == (status, False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("good", "status"), [(2.5, Status.INCONCLUSIVE), (3.1, Status.MET)])
def test_an_outage_of_whatever_kind_has_to_be_over(kind: str, good: float, status: Status) -> None:
    assert judge(of(Script([Out(1.0, 2.0, kind)], after=2.0 + good))).status is status


def test_a_moment_in_which_requests_failed_has_to_be_over_too() -> None:
    assert judge(of(Script([Out(4.0, 4.1)]))).status is Status.INCONCLUSIVE


def test_what_nobody_saw_before_an_outage_ended_takes_nothing_from_how_long_it_was_over() -> None:
    found = judge(of(Script([Out(3.0, 4.0)], stalls=[(1.0, 2.0)], after=7.5)))
    assert found.status is Status.MET, found.because


def test_a_moment_of_late_answers_at_the_end_is_no_outage_to_be_back_from() -> None:
    found = judge(of(Script([Out(4.0, 4.1, "hang")])))
    assert found.status is Status.MET
    assert found.measured == pytest.approx(0.1, abs=2 * PERIOD)


def test_one_probe_that_fails_at_the_very_end_is_no_path_that_never_came_back() -> None:
    whole = of(Script())
    measured = whole.samples["source"]
    made = (*measured.samples[:-1], replace(measured.samples[-1], status=0, error="refused"))
    found = judge(replace(whole, samples={"source": replace(measured, samples=made)}))
    assert found.status is Status.INCONCLUSIVE


def test_measuring_that_ended_during_an_outage_is_inconclusive_until_the_limit_is_past() -> None:
    whole = evidence({"source": samples(Script([Out(1.0, 99.0)]), outages.dice(0))}, settled=False)
    assert judge(whole).status is Status.INCONCLUSIVE
    assert judge(whole, limit=2.0).status is Status.MISSED


def test_a_connection_that_broke_after_the_disaster_was_out_then_although_it_was_asked_before() -> None:
    """Answers take 1.4 s: the next request, which was asked before the disaster, too, is answered well."""
    whole = of(Script((), 5.0, timeout=1.75, before=12.0, after=8.0, took=lambda luck: luck.uniform(1.38, 1.54)))
    measured = whole.samples["source"]

    def at(seconds: float) -> Sample:
        return min(measured.samples, key=lambda s: abs(measured.wall(s.due) - DISASTER - seconds))

    broken, refused = at(-0.9), at(1.3)
    reset = replace(broken, status=0, error="reset", done=broken.due + 1_400_000_000)
    no = replace(refused, status=0, error="refused", done=refused.due + 1_000_000)
    made = tuple({broken.n: reset, refused.n: no}.get(s.n, s) for s in measured.samples)
    judged = judge(replace(whole, samples={"source": replace(measured, samples=made)}), limit=0.5)
    assert judged.status is Status.MISSED, judged.because
    assert judged.measured == pytest.approx((measured.wall(no.done) - measured.wall(reset.done)), abs=0.25)


@pytest.mark.parametrize("error", ["reset", TIMEOUT])
def test_a_path_that_fails_in_part_was_bad_until_its_connection_broke(error: str) -> None:
    """All others are answered meanwhile. One that timed out does not tell when it went wrong."""
    whole = of(Script())
    measured = whole.samples["source"]
    broken = replace(measured.samples[200], status=0, error=error, done=measured.samples[200].due + 1_500_000_000)
    made = tuple(broken if s.n == 200 else s for s in measured.samples)
    found = judge(replace(whole, samples={"source": replace(measured, samples=made)}), limit=1.0)
    assert found.interval is not None
    assert (found.interval[1] > 1.5) is (error == "reset")
    assert error == TIMEOUT or found.status is Status.INCONCLUSIVE


def test_flapping_counts_from_the_first_interruption_to_the_last_and_names_the_pieces() -> None:
    found = judge(of(Script([Out(1.0, 1.5), Out(2.0, 2.2, "hang"), Out(3.0, 4.0, "silent")], after=8)), limit=2.5)
    assert found.status is Status.MISSED
    assert found.measured == pytest.approx(3.0, abs=2 * PERIOD)
    assert "in 3 pieces: 0.5" in found.because


@pytest.mark.parametrize(("count", "more"), [(7, " and 2 more."), (5, ".")])
def test_the_first_five_pieces_are_told_with_when_they_began(count: int, more: str) -> None:
    found = judge(of(Script([Out(0.5 + n, 0.7 + n) for n in range(count)], after=count + 4)))
    piece = "[0-9.]+ s from [0-9.]+ s"
    told = re.fullmatch(
        rf"Out for ([0-9.]+) s from ([0-9.]+) s after the disaster, in {count} pieces: "
        rf"({piece}(?:, {piece}){{4}}){re.escape(more)}",
        found.because,
    )
    assert told is not None, found.because
    assert [float(told[1]), float(told[2])] == pytest.approx([count - 0.8, 0.5], abs=2 * PERIOD)
    pieces = [[float(number) for number in re.findall(r"[0-9.]+", piece)] for piece in told[3].split(", ")]
    assert len(pieces) == 5
    for n, piece in enumerate(pieces):
        assert piece == pytest.approx([0.2, 0.5 + n], abs=2 * PERIOD)


def test_all_that_is_known_of_an_outage_is_told() -> None:
    hung = [probe(at, 2.0, TIMEOUT) for at in (1.125, 1.25)]
    late = [probe(8.0, 3 / 16), probe(8.125, 3 / 16), probe(12.0, 3 / 16), probe(12.125, 2 / 16)]
    found = path(refused(1.0), *hung, refused(3.0), *late, end=20.0, absent=[(14.0, 14.5), (15.0, 16.0)])
    assert judge(found, limit=20.0).because == (
        "Not all of what was measured is there, or it never settled. "
        "Out for 2.11 s from 0.95 s after the disaster, in 2 pieces: 0.36 s from 0.95 s, 0.11 s from 2.95 s. "
        "2 times besides, answers were late by 0.25 s at most, and none failed. "
        "Nobody looked for 1.00 s from 15.00 s on. "
        "2 requests hung to their time-out of 2 s or beyond."
    )
    never = path(absent=[(1.0, 1.5)])
    assert "Never out; an outage of less than 625 ms may have gone unseen." in judge(never).because
    at_once = path(probe(-0.125, took=7 / 64), refused(0.0))
    assert judge(at_once).because == "Out for 0.06 s from 0.00 s after the disaster."


@pytest.mark.parametrize(("begin", "side"), [(-0.5, "before"), (0.5, "after")])
def test_it_is_said_on_which_side_of_the_disaster_an_outage_began(begin: float, side: str) -> None:
    found = judge(of(Script([Out(begin, 2.0)])))
    told = re.fullmatch(rf"Out for ([0-9.]+) s from ([0-9.]+) s {side} the disaster\.", found.because)
    assert told is not None, found.because
    assert [float(told[1]), float(told[2])] == pytest.approx([2.0 - begin, 0.5], abs=2 * PERIOD)


def test_how_long_nobody_looked_is_told_with_when_that_began() -> None:
    found = judge(of(Script([Out(1.0, 2.0)], stalls=[(4.0, 5.0), (6.5, 7.0)], after=12)), limit=2.0)
    told = re.search(r" Nobody looked for ([0-9.]+) s from ([0-9.]+) s on\.$", found.because)
    assert told is not None, found.because
    assert [float(told[1]), float(told[2])] == pytest.approx([1.0, 4.0], abs=2 * PERIOD)


def test_an_outage_wants_a_limit_and_tells_why_nothing_is_known() -> None:
    found = judge_outage(of(Script([Out(1.0, 2.0)])), Demand("outage", "source", None, "s"))
    assert (found.status, found.because) == (Status.INCONCLUSIVE, "No limit is known.")
    assert judge(replace(of(Script()), samples={})).because == "Path source was not measured."
    never = judge_outage(of(Script([Out(1.0, 99.0)])), Demand("outage", "source", None, "s"))
    assert never.status is Status.INCONCLUSIVE


def test_what_failed_before_the_disaster_counts_for_nothing() -> None:
    found = judge(of(Script([Out(-2.0, -1.0), Out(1.0, 1.5)])))
    assert found.measured == pytest.approx(0.5, abs=2 * PERIOD)


def test_a_request_under_way_at_the_disaster_that_times_out_is_of_it_although_later_ones_are_answered() -> None:
    """Of a path that fails in part: the first failure seems over before."""
    whole = of(Script([Out(2.0, 2.5)], rate=5.0, before=10.0, after=8.0, took=lambda dice: dice.uniform(1.0, 1.05)))
    measured = whole.samples["source"]
    first = next(s for s in measured.samples if measured.wall(s.due) > DISASTER - 0.8)
    failed = replace(first, status=0, error=TIMEOUT, done=first.sent + 2 * 10**9)
    made = tuple(failed if s == first else s for s in measured.samples)
    found = judge(replace(whole, samples={"source": replace(measured, samples=made)}), limit=1.5)
    assert found.status is not Status.MET, found.because
    assert found.interval is not None
    assert found.interval[1] > 2.5
    assert judge(whole, limit=1.5).status is Status.MET


@pytest.mark.parametrize("kept", ["before", "after", "none"])
def test_without_samples_before_and_after_nothing_is_known(kept: str) -> None:
    def keep(due: float) -> bool:
        return kept != "none" and (due < DISASTER) is (kept == "before")

    whole = of(Script([Out(1.0, 1.5)]))
    assert judge(without(whole, keep=lambda s: keep(whole.samples["source"].wall(s.due)))).status is Status.INCONCLUSIVE
    assert judge(replace(whole, samples={})).status is Status.INCONCLUSIVE


def test_evidence_that_was_cut_is_never_met() -> None:
    whole = of(Script([Out(1.0, 1.5)]))
    last = len(whole.samples["source"].samples) - 1
    assert judge(whole).status is Status.MET
    assert judge(without(whole, keep=lambda s: s.n < last)).status is Status.INCONCLUSIVE
    assert judge(without(whole, keep=lambda s: s.n % 50 != 7)).status is Status.INCONCLUSIVE


def test_a_path_that_did_not_settle_after_the_disaster_is_not_met() -> None:
    measured = {"source": samples(Script([Out(1.0, 1.5)]), outages.dice(0))}
    assert judge(evidence(measured, settled=False)).status is Status.INCONCLUSIVE
    early = evidence(measured)
    entries = tuple(replace(e, stamp=outages.stamp(-1.0)) if e.call == "settle" else e for e in early.entries)
    assert judge(replace(early, entries=entries)).status is Status.INCONCLUSIVE


def test_what_is_measured_beyond_the_settled_number_is_not_judged() -> None:
    whole = of(Script([Out(1.0, 1.5), Out(6.0, 6.5)], after=8))
    entries = tuple(
        replace(e, data={"settled": {"source": {"first": 0, "last": 440}}}) if e.call == "settle" else e
        for e in whole.entries
    )
    assert judge(replace(whole, entries=entries)).measured == pytest.approx(0.5, abs=2 * PERIOD)


def test_answers_that_are_late_because_the_prober_slept_are_no_outage() -> None:
    found = judge(of(Script(stalls=[(1.0, 1.08), (2.5, 2.56)])))
    assert (found.status, found.measured) == (Status.MET, 0.0)


def test_an_outage_beside_a_stretch_nobody_looked_at_is_as_long_as_that_may_be() -> None:
    script = Script([Out(1.0, 3.0)], stalls=[(2.9, 4.5)], after=8)
    found = judge(of(script))
    assert found.interval is not None
    assert found.interval[0] < 2.0 < 3.4 < found.interval[1]
    assert judge(of(script), limit=2.1).status is Status.INCONCLUSIVE


def test_a_stretch_nobody_looked_at_after_the_outage_may_hide_a_further_one() -> None:
    script = Script([Out(1.0, 2.0)], stalls=[(4.0, 5.0)], after=8)
    found = judge(of(script), limit=2.0)
    assert found.status is Status.INCONCLUSIVE
    assert "Nobody looked for 1.0" in found.because
    assert judge(of(script), limit=4.5).status is Status.MET


def test_a_stretch_nobody_looked_at_before_the_outage_may_hide_an_earlier_one() -> None:
    script = Script([Out(3.0, 4.0)], stalls=[(1.0, 2.0)], after=8)
    found = judge(of(script), limit=2.0)
    assert found.status is Status.INCONCLUSIVE
    assert found.interval is not None
    assert found.interval[1] == pytest.approx(3.0, abs=3 * PERIOD)


def test_answers_read_late_do_not_lengthen_the_least_an_outage_took() -> None:
    script = Script([Out(1.0, 1.7, "hang")], stalls=[(1.6, 2.2)], after=8)
    found = judge(of(script))
    assert found.interval is not None
    assert found.interval[0] <= 0.7 <= found.interval[1]


def test_no_limit_below_what_may_go_unseen_is_met() -> None:
    script = Script([Out(0.0, 0.01)], after=8)
    whole = of(script)
    unseen = judge(of(Script(after=8))).interval
    assert unseen is not None
    assert judge(whole, limit=unseen[1] - 0.002).status is not Status.MET


def test_a_prober_that_hardly_looked_is_inconclusive_whatever_the_limit() -> None:
    stalls = [(0.2 + n, 0.9 + n) for n in range(5)]
    assert judge(of(Script([Out(1.0, 1.5)], stalls=stalls))).status is Status.INCONCLUSIVE


def test_a_healthy_path_that_is_late_at_times_is_not_out() -> None:
    slow = Script(took=lambda dice: 0.02 + 0.02 * dice.random(), after=20, before=10)
    assert judge(of(slow)).measured == 0.0


def test_a_slow_answer_that_others_overtake_is_no_outage_and_two_hung_ones_are() -> None:
    whole = of(Script())
    measured = whole.samples["source"]

    def late(*numbers: int) -> Evidence:
        made = tuple(replace(s, done=s.done + 2 * 10**8) if s.n in numbers else s for s in measured.samples)
        return replace(whole, samples={"source": replace(measured, samples=made)})

    assert judge(late(250)).measured == 0.0
    assert judge(late(250, 251, 252)).measured > 0.04  # type: ignore[operator]


def test_a_pause_that_the_path_had_before_the_disaster_too_prolongs_no_outage() -> None:
    def seconds(*outs: Out) -> Finding:
        return judge(of(Script(outs, before=20, after=8)))

    before, out, after = Out(-1.5, -1.44, "hang"), Out(0.5, 1.5), Out(4.0, 4.05, "hang")
    assert seconds(before, out, after).measured == pytest.approx(1.0, abs=2 * PERIOD)
    assert seconds(out, after).measured == pytest.approx(3.55, abs=2 * PERIOD)
    assert seconds(replace(before, kind="break"), out, after).measured == pytest.approx(3.55, abs=2 * PERIOD)
    found = seconds(before, out, replace(after, end=4.4))
    assert found.measured == pytest.approx(3.9, abs=2 * PERIOD)
    assert "in 2 pieces" in found.because


def test_a_moment_of_late_answers_long_before_or_after_an_outage_is_none_of_it() -> None:
    out, early, later = Out(5.0, 6.5), Out(0.5, 0.56, "hang"), Out(11.0, 11.06, "hang")

    def judged(*outs: Out) -> Finding:
        return judge(of(Script(outs, after=16)))

    found = judged(early, out, later)
    assert found.measured == pytest.approx(1.5, abs=2 * PERIOD)
    assert "2 times besides, answers were late by 0.0" in found.because
    assert judged(early, later).measured == pytest.approx(0.06, abs=2 * PERIOD), "the longest, where there is no other"
    assert judged(out, replace(later, kind="refuse")).measured == pytest.approx(6.06, abs=2 * PERIOD), "one failed"
    assert judged(out, replace(later, end=11.5)).measured == pytest.approx(6.5, abs=2 * PERIOD), "it lasted"
    assert judged(out, Out(8.0, 8.06, "hang")).measured == pytest.approx(3.06, abs=2 * PERIOD), "it was hardly back"


def test_requests_that_hung_to_their_time_out_are_counted() -> None:
    found = outage_of(of(Script([Out(1.0, 2.0, "silent")], timeout=0.5)), "source")
    assert found.hung in (50, 51)
    assert f"{found.hung} requests hung" in judge(of(Script([Out(1.0, 2.0, "silent")], timeout=0.5))).because


def test_markers_are_probes_too_and_two_paths_are_two_findings() -> None:
    luck = outages.dice(0)
    direct = samples(Script([Out(1.0, 2.0, "silent")], after=8), luck)
    through = samples(Script([Out(1.0, 4.0, "break")], after=8), luck)
    written = {"writes-direct": outages.markers(direct, "writes-direct"), "writes": outages.markers(through, "writes")}
    found = evidence(written=written)
    seconds = [judge_outage(found, Demand("outage", path, 120.0, "s")).measured for path in written]
    assert seconds == [pytest.approx(1.0, abs=2 * PERIOD), pytest.approx(3.0, abs=2 * PERIOD)]


def test_a_repeated_write_is_no_probe_and_an_unsettled_one_says_nothing() -> None:
    whole = outages.markers(samples(Script(), outages.dice(0)), "writes")
    repeated = [replace(m, attempt=1, outcome="indeterminate") for m in whole.markers[200:220]]
    found = replace(whole, markers=(*whole.markers, *repeated))
    assert judge_outage(evidence(written={"writes": found}), Demand("outage", "writes", 1.0, "s")).measured == 0.0
    unsettled = replace(whole, markers=tuple(replace(m, done=0) if m.n == 250 else m for m in whole.markers))
    judged = judge_outage(evidence(written={"writes": unsettled}), Demand("outage", "writes", 1.0, "s"))
    assert judged.interval is not None
    assert judged.interval[1] > 0.05


def test_the_order_of_samples_does_not_matter() -> None:
    whole = of(Script([Out(1.0, 2.0, "hang")]))
    measured = whole.samples["source"]
    turned = Samples(measured.path, measured.rate, measured.timeout, measured.start, measured.samples[::-1])
    assert judge(replace(whole, samples={"source": turned})) == judge(whole)


@pytest.mark.parametrize(("word", "status"), [("pooler-full", Status.MISSED), (OWN_REFUSAL, Status.INCONCLUSIVE)])
def test_a_pooler_that_refuses_is_an_outage_unless_the_meter_may_have_filled_it(word: str, status: Status) -> None:
    whole = of(Script([Out(1.0, 2.0)], after=8))
    measured = whole.samples["source"]
    made = tuple(replace(s, error=word) if s.error else s for s in measured.samples)
    found = replace(whole, samples={"source": replace(measured, samples=made)})
    assert judge(found, limit=0.5).status is status
    void = [w for w in windows(found.samples["source"], 1.0, Slo(1.0, 0.01)) if w.void]
    assert bool(void) == (word == OWN_REFUSAL)
