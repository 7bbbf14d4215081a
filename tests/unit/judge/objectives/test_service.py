"""Time, latency and errors: what is judged met, missed and inconclusive."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from dr.config.objective import Judge
from dr.domain.model import Call, Demand, Effect, Status
from dr.judge import bounds
from dr.judge.findings import judged
from dr.judge.objectives import service, time_to_copy
from dr.judge.phases import of_restore as phases
from dr.judge.windows import Slo, windows
from dr.wiring import objectives
from tests.unit.recoveries import COPY
from tests.unit.recovery import DEMANDS, RATE, WALL, demand, entry, evidence, samples

KNOWN = objectives()
SLO = Slo(1.0, 0.01)
error_rate = partial(judged, service.error_rate)
p95_latency = partial(judged, service.p95_latency)
time_to_copy = partial(judged, time_to_copy.time_to_copy)
BAD = {"status": 0, "error": "refused"}


def test_time_to_copy_ends_at_the_start_of_the_first_three_good_windows() -> None:
    measured = samples(600, change=lambda n: BAD if n < 100 else {})
    found = time_to_copy(evidence(measured), demand("time-to-copy"))
    assert (found.status, found.measured, found.interval) == (Status.MET, 22.0, (21.0, 22.0))
    assert "available after 10.0 s, first correct query after 12.0 s, SLO met after 22.0 s" in found.because


def test_two_good_windows_do_not_end_an_outage() -> None:
    measured = samples(600, change=lambda n: BAD if n < 100 or 200 <= n < 250 else {})
    assert time_to_copy(evidence(measured), demand("time-to-copy")).measured == 25.0


def test_time_to_copy_is_not_before_the_examination() -> None:
    found = time_to_copy(evidence(samples(600), examined=WALL + 4), demand("time-to-copy"))
    assert (found.measured, found.interval) == (24.0, (24.0, 24.0))


@pytest.mark.parametrize(("bad", "interval"), [(0, (19.5, 20.0)), (50, (20.0, 21.0)), (200, (23.0, 24.0))])
def test_the_copy_was_good_at_the_latest_by_its_first_good_window_and_not_yet_in_the_last_bad_one(
    bad: int, interval: tuple[float, float]
) -> None:
    measured = samples(600, change=lambda n: BAD if n < bad else {})
    assert time_to_copy(evidence(measured), demand("time-to-copy")).interval == interval


def test_without_the_services_start_the_copy_was_good_from_its_first_window_on() -> None:
    found = evidence(samples(600), examined=WALL - 5)
    found = replace(found, entries=tuple(e for e in found.entries if e.call != "serve"))
    assert time_to_copy(found, demand("time-to-copy")).interval == (20.0, 20.0)
    unsaid = replace(found, entries=(*found.entries, entry(9, "effect", "serve", WALL, {})))
    assert time_to_copy(unsaid, demand("time-to-copy")).interval == (20.0, 20.0)


def test_time_to_copy_wants_a_limit() -> None:
    found = time_to_copy(evidence(samples(600)), replace(demand("time-to-copy"), limit=None))
    assert (found.status, found.because) == (Status.INCONCLUSIVE, "No limit is known.")


def test_three_windows_are_enough_to_tell_and_fewer_are_not() -> None:
    three = time_to_copy(evidence(samples(150, change=lambda _: BAD)), demand("time-to-copy"))
    assert (three.status, three.because) == (Status.MISSED, "Never within the SLO: 3 of 3 windows broke it.")
    slept = samples(200, change=lambda n: BAD if n < 100 else {"late": 1.0})
    two = time_to_copy(evidence(slept), demand("time-to-copy"))
    assert two.status is Status.INCONCLUSIVE
    assert two.because.startswith(
        "Of 4 windows 2 are void (the prober was stalled for 1000 ms), and the others hold no 3"
    )


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        (Effect.FAULT, "From the disaster to"),
        (Effect.READS, "From the disaster to"),
        (Effect.TAKES_OVER, "From the promotion's beginning to"),
    ],
)
def test_it_is_said_from_what_the_time_counts(effect: Effect, words: str) -> None:
    found = evidence(samples(600), disaster=None)
    call = Call("struck", "1-x", "disaster", "driver", "operation", effect=effect)
    plan = replace(found.record.plan, calls=(*found.record.plan.calls, call))
    struck = entry(9, "effect", "struck", WALL - 20, {}, {"disaster": WALL - 20})
    found = replace(found, record=replace(found.record, plan=plan), entries=(*found.entries, struck))
    assert time_to_copy(found, demand("time-to-copy")).because.startswith(words)


NOT_EXAMINED = "The copy answers within the SLO, but was not examined: it is not a verified copy."


def test_a_copy_that_was_not_examined_is_inconclusive() -> None:
    found = time_to_copy(evidence(samples(600), examined=None), demand("time-to-copy"))
    assert (found.status, found.because) == (Status.INCONCLUSIVE, NOT_EXAMINED)


@pytest.mark.parametrize("examined", [True, False])
def test_each_component_that_was_restored_has_to_be_examined(examined: bool) -> None:
    found = evidence(samples(600))
    named = {"restore": (COPY,), "examine": (COPY,) if examined else ()}
    entries = tuple(replace(e, components=named.get(e.call, ())) for e in found.entries)
    told = time_to_copy(replace(found, entries=entries), demand("time-to-copy"))
    assert told.status is (Status.MET if examined else Status.INCONCLUSIVE)
    assert (told.because == NOT_EXAMINED) is not examined


def test_a_service_that_answered_nothing_is_missed_by_latency_alone() -> None:
    found = evidence(samples(600, change=lambda _: BAD))
    asked = tuple(d for d in found.record.plan.demands if d.objective != "errors")
    found = replace(found, record=replace(found.record, plan=replace(found.record.plan, demands=asked)))
    told = time_to_copy(found, demand("time-to-copy"))
    assert (told.status, told.because) == (Status.MISSED, "Never within the SLO: 12 of 12 windows broke it.")


def test_a_service_whose_process_was_stopped_tells_nothing() -> None:
    found = evidence(samples(600, change=lambda _: BAD))
    *others, settle = found.entries
    stood = {"restored": {**settle.data["settled"]["restored"], "stood": 6.2}}
    still = replace(found, entries=(*others, replace(settle, data={"settled": stood})))
    for judge, objective in ((time_to_copy, "time-to-copy"), (p95_latency, "latency"), (error_rate, "errors")):
        assert judge(found, demand(objective)).status is Status.MISSED
        told = judge(still, demand(objective))
        assert told.status is Status.INCONCLUSIVE
        assert told.because == "The service's process was stopped for about 6.2 s while it was measured."


def test_time_to_copy_beyond_its_limit_is_missed() -> None:
    found = time_to_copy(evidence(samples(600), disaster=WALL - 100), demand("time-to-copy"))
    assert found.status is Status.MISSED


def test_a_limit_inside_the_interval_is_inconclusive() -> None:
    asked = replace(demand("time-to-copy"), limit=21.5)
    measured = samples(600, change=lambda n: BAD if n < 100 else {})
    assert time_to_copy(evidence(measured), asked).status is Status.INCONCLUSIVE


def test_a_service_that_never_answers_in_time_is_missed() -> None:
    measured = samples(600, change=lambda _: {"seconds": 1.5})
    for objective in ("time-to-copy", "latency"):
        assert judged(KNOWN[objective].judge, evidence(measured), demand(objective)).status is Status.MISSED


@pytest.mark.parametrize(("each", "status"), [(1, Status.INCONCLUSIVE), (5, Status.MISSED)])
def test_a_service_whose_windows_fail_by_too_little_to_prove_it_is_inconclusive(each: int, status: Status) -> None:
    """Every third window has failures: one of 150 requests may well keep 1%, five do not."""
    measured = samples(900, change=lambda n: BAD if 100 <= n % 150 < 100 + each else {})
    found = time_to_copy(evidence(measured), demand("time-to-copy"))
    assert found.status is status, found.because
    unproven = "Never within the SLO for 3 windows in a row: 6 of 18 windows broke it, by too little to prove it."
    assert (found.because == unproven) is (status is Status.INCONCLUSIVE)


def test_a_stalled_prober_is_inconclusive_and_never_missed() -> None:
    measured = samples(600, change=lambda _: {"late": 1.0, "seconds": 1.5})
    for objective in ("time-to-copy", "latency", "errors"):
        assert judged(KNOWN[objective].judge, evidence(measured), demand(objective)).status is Status.INCONCLUSIVE


def test_waiting_for_a_connection_is_the_targets_doing_and_voids_nothing() -> None:
    measured = samples(600)
    waiting = tuple(replace(s, sent=s.due + 1_500_000_000, done=s.due + 1_600_000_000) for s in measured.samples)
    assert p95_latency(evidence(replace(measured, samples=waiting)), demand("latency")).status is Status.MISSED


def test_an_unmeasured_path_is_inconclusive() -> None:
    for objective in ("time-to-copy", "latency", "errors"):
        end = "." if objective == "time-to-copy" else " to the end."
        for found in (evidence(), replace(evidence(samples(600)), samples={})):
            told = judged(KNOWN[objective].judge, found, demand(objective))
            assert (told.status, told.because) == (Status.INCONCLUSIVE, f"Path restored was not measured{end}")
    empty = time_to_copy(evidence(samples(0)), demand("time-to-copy"))
    assert empty.because == "Path restored was not measured."
    unsettled = p95_latency(evidence(samples(600), settled=False), demand("latency"))
    assert unsettled.because == "Path restored was not measured to the end."


def test_measuring_that_ended_while_the_service_got_better_is_inconclusive() -> None:
    measured = samples(300, change=lambda n: BAD if n < 250 else {})
    assert time_to_copy(evidence(measured), demand("time-to-copy")).status is Status.INCONCLUSIVE


def test_without_a_demanded_slo_there_is_nothing_to_meet() -> None:
    asked = Demand("time-to-copy", "source", 60.0, "s")
    found = evidence(samples(600))
    told = time_to_copy(replace(found, samples={"source": samples(600)}), asked)
    assert told.status is Status.INCONCLUSIVE
    assert told.because == "Neither latency nor errors are demanded of source, so there is no SLO to meet."


def test_the_time_is_said_to_count_from_the_commands_start_without_since() -> None:
    found = time_to_copy(evidence(samples(600), disaster=None), demand("time-to-copy"))
    assert found.measured == 30.0
    assert found.because.startswith("From the command's start")


def test_the_time_counts_from_since() -> None:
    found = time_to_copy(evidence(samples(600), disaster=None, since=WALL - 50), demand("time-to-copy"))
    assert found.measured == 50.0
    assert found.because.startswith("From --since")


def test_a_missing_probe_voids_its_window() -> None:
    measured = samples(600)
    cut = replace(measured, samples=tuple(s for s in measured.samples if s.n != 120))
    assert [bool(w.void) for w in windows(cut, 1.0, Slo(1.0, 0.01))] == [False, False, True] + [False] * 9


def test_an_answer_under_way_while_the_prober_slept_voids_its_window() -> None:
    """The stop falls between the last probe of one window, still unanswered, and the first of the next."""
    measured = samples(100, change=lambda n: {"seconds": 1.2} if n == 49 else {"late": 1.0} if n == 50 else {})
    assert "slept" in windows(measured, 1.0, Slo(1.0, 0.01))[0].void


def test_latency_counts_a_failed_probe_as_the_timeout() -> None:
    measured = samples(
        600, change=lambda n: {"status": 500, "error": "status", "seconds": 0.001} if n % 10 == 0 else {}
    )
    assert p95_latency(evidence(measured), demand("latency")).measured == 2.0


def test_latency_is_met_by_its_upper_bound() -> None:
    found = p95_latency(evidence(samples(600, change=lambda n: {"seconds": 0.01 + n / 1e5})), demand("latency"))
    assert found.status is Status.MET
    assert found.interval is not None
    assert found.measured is not None
    ranks = bounds.p95_ranks(600)
    assert ranks is not None
    assert found.interval == pytest.approx([0.01 + (rank - 1) / 1e5 for rank in ranks], abs=1e-9)
    assert found.measured == pytest.approx(0.01 + 569 / 1e5, abs=1e-9)


def test_latency_between_its_bounds_is_inconclusive() -> None:
    slow = samples(600, change=lambda n: {"seconds": 1.5} if n % 21 == 0 else {})
    assert p95_latency(evidence(slow), replace(demand("latency"))).status is Status.INCONCLUSIVE


def test_fifty_eight_samples_prove_no_p95() -> None:
    measured = samples(50)
    assert "59" in p95_latency(evidence(measured), demand("latency")).because


def test_warming_up_is_left_to_time_to_copy() -> None:
    measured = samples(600, change=lambda n: BAD if n < 100 else {})
    assert error_rate(evidence(measured), demand("errors")).status is Status.MET


def test_no_error_in_too_few_requests_is_inconclusive_and_says_how_many_more() -> None:
    found = error_rate(evidence(samples(250)), demand("errors"))
    assert found.status is Status.INCONCLUSIVE
    assert found.because == (
        "0 of 250 requests failed: between 0.00% and 1.19% (95% confidence). 49 more requests are needed."
    )


@pytest.mark.parametrize("bound", [0, 1])
def test_a_share_that_may_be_just_its_limit_is_inconclusive(bound: int) -> None:
    limit = bounds.share(9, 300)[bound]
    measured = samples(300, change=lambda n: BAD if 150 <= n < 159 else {})
    found = error_rate(evidence(measured), replace(demand("errors"), limit=limit))
    assert found.status is Status.INCONCLUSIVE
    assert found.because.endswith(" 1 more requests are needed.") is bool(bound)


def test_no_number_of_requests_proves_that_none_ever_fails() -> None:
    found = error_rate(evidence(samples(300)), replace(demand("errors"), limit=0.0))
    assert (found.status, found.because.endswith("(95% confidence).")) == (Status.INCONCLUSIVE, True)


def test_errors_are_told_by_their_kinds() -> None:
    kinds = {301: BAD, 302: {"status": 503, "error": "status"}, 303: BAD}
    found = error_rate(evidence(samples(600, change=lambda n: kinds.get(n, {}))), demand("errors"))
    assert found.because.startswith("3 of 600 requests failed (503, refused): between ")


@pytest.mark.parametrize("judge", [p95_latency, error_rate])
def test_why_nothing_is_known_of_the_service_is_told(judge: Judge) -> None:
    asked = demand("errors")
    assert judge(evidence(), asked).because == "Path restored was not measured to the end."
    unlimited = judge(evidence(samples(600)), replace(asked, limit=None))
    assert (unlimited.status, unlimited.because) == (Status.INCONCLUSIVE, "No limit is known.")


@pytest.mark.parametrize(
    ("failed", "of", "status"),
    [(5, 400, Status.INCONCLUSIVE), (10, 600, Status.INCONCLUSIVE), (12, 600, Status.MISSED), (0, 400, Status.MET)],
)
def test_a_share_of_errors_is_missed_by_its_lower_bound_and_not_by_what_was_seen(
    failed: int, of: int, status: Status
) -> None:
    """5 of 400 lie between 0.5% and 2.6%: a limit of 1% may well be kept."""
    measured = samples(of, change=lambda n: BAD if n % (of // max(failed, 1)) == 7 and failed else {})
    found = error_rate(evidence(measured), demand("errors"))
    assert found.status is status, found.because
    assert found.measured == pytest.approx(failed / of)


@pytest.mark.parametrize(("looks", "status"), [(0, Status.MET), (1, Status.MET), (2, Status.INCONCLUSIVE)])
def test_several_looks_share_the_doubt_that_one_may_have(looks: int, status: Status) -> None:
    """One of 600 is below 1% at 97.5% confidence, and not at 98.75%."""
    whole = evidence(samples(600, change=lambda n: BAD if n == 301 else {}))
    numbers = {"settled": {"restored": {"first": 0, "last": 599, "looks": looks}}}
    entries = tuple(replace(e, data=numbers) if e.call == "settle" else e for e in whole.entries)
    found = error_rate(replace(whole, entries=entries), demand("errors"))
    assert found.status is status, found.because
    assert found.interval == bounds.share(1, 600, looks)
    assert ("(95% confidence, at look 2)." in found.because) is (looks == 2)
    assert ("(95% confidence)." in found.because) is (looks < 2)
    more = f" {bounds.needed(1, 0.01, looks) - 600} more requests are needed."
    assert found.because.endswith(more) is (status is Status.INCONCLUSIVE)


def test_more_of_a_path_whose_windows_are_void_decides_nothing() -> None:
    few = samples(600, change=lambda n: BAD if n in (301, 302) else {})
    assert service.undecided(few, 1.0, Slo(1.0, 0.01), 1) is True
    late = samples(600, change=lambda _: {"late": 1.0})
    assert service.undecided(late, 1.0, Slo(1.0, 0.01), 1) is False


def test_a_few_errors_below_the_limit_are_inconclusive() -> None:
    measured = samples(600, change=lambda n: BAD if n in (301, 302) else {})
    assert error_rate(evidence(measured), demand("errors")).status is Status.INCONCLUSIVE


def test_samples_cut_off_the_file_are_inconclusive() -> None:
    whole = evidence(samples(600))
    cut = replace(whole, samples={"restored": samples(400)})
    assert error_rate(cut, demand("errors")).status is Status.INCONCLUSIVE


def test_how_many_samples_are_missing_is_told() -> None:
    whole = evidence(samples(600))
    numbers = {"settled": {"restored": {"first": 100, "last": 599}}}
    entries = tuple(replace(e, data=numbers) if e.call.startswith("settle") else e for e in whole.entries)
    cut = replace(whole, entries=entries, samples={"restored": samples(400)})
    assert error_rate(cut, demand("errors")).because == "200 of 500 samples are missing."


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        (0, 599, "1 of 600 samples are missing."),
        (500, 1099, "1 of 600 samples are missing."),
        (0, 998, "1 of 999 samples are missing."),
        (0, 999, None),
    ],
)
def test_one_sample_of_a_thousand_may_be_missing_and_no_more(first: int, last: int, told: str | None) -> None:
    whole = evidence(samples(1200))
    numbers = {"settled": {"restored": {"first": first, "last": last}}}
    entries = tuple(replace(e, data=numbers) if e.call.startswith("settle") else e for e in whole.entries)
    kept = tuple(s for s in samples(1200).samples if s.n != 520)
    found = replace(whole, entries=entries, samples={"restored": replace(samples(1200), samples=kept)})
    for judge, objective in ((error_rate, "errors"), (p95_latency, "latency")):
        judged = judge(found, demand(objective))
        assert judged.status is (Status.INCONCLUSIVE if told else Status.MET), judged.because
        assert told is None or judged.because == told


def test_how_many_windows_are_void_is_told_of_those_that_count() -> None:
    measured = samples(600, change=lambda n: BAD if n < 100 else {"late": 1.0} if n >= 400 else {})
    found = error_rate(evidence(measured), demand("errors"))
    assert found.because == "4 of 10 windows are void (the prober was stalled for 1000 ms)."


def test_a_path_that_did_not_settle_is_inconclusive() -> None:
    assert p95_latency(evidence(samples(600), settled=False), demand("latency")).status is Status.INCONCLUSIVE


METRIC = {
    "model-latency": "readmission_model_prediction_duration_seconds",
    "database-latency": "readmission_database_query_duration_seconds",
}


def counted(objective: str, count: int, **buckets: int) -> dict[str, object]:
    """What the service counted: up to its limit ("kept"), up to twice that ("late"), and in all."""
    limit = demand(objective).limit
    assert limit is not None
    bounds = {"kept": limit, "low": limit / 2, "beyond": limit * 1.5, "late": limit * 2}
    told = {str(bounds[name]): number for name, number in buckets.items()}
    return {"metrics": {METRIC[objective]: {"count": count, "buckets": {**told, "+Inf": count}}}}


@pytest.mark.parametrize("objective", METRIC)
@pytest.mark.parametrize(
    ("buckets", "status"),
    [
        ({"low": 300, "kept": 300}, Status.MET),
        ({"low": 200, "kept": 240, "late": 300}, Status.MISSED),
        ({"low": 200, "kept": 286, "late": 300}, Status.INCONCLUSIVE),
        ({"low": 200, "beyond": 300}, Status.INCONCLUSIVE),
        ({"low": 200}, Status.INCONCLUSIVE),
    ],
)
def test_a_histogram_is_judged_by_the_bucket_that_surely_holds_its_p95(
    objective: str, buckets: dict[str, int], status: Status
) -> None:
    observed = counted(objective, 300, **buckets)
    assert judged(KNOWN[objective].judge, evidence(observed=observed), demand(objective)).status is status


@pytest.mark.parametrize("objective", METRIC)
def test_a_service_without_the_metric_is_inconclusive(objective: str) -> None:
    other = counted(next(name for name in METRIC if name != objective), 300, low=300)
    for observed in ({}, {"metrics": {}}, other):
        found = judged(KNOWN[objective].judge, evidence(observed=observed), demand(objective))
        assert found.status is Status.INCONCLUSIVE
        assert METRIC[objective] in found.because


@pytest.mark.parametrize(
    ("buckets", "interval"),
    [
        ({"0.1": 278, "0.2": 279, "0.3": 291, "0.4": 292, "+Inf": 300}, (0.1, 0.4)),
        ({"0.1": 279, "0.2": 292, "+Inf": 300}, (0.0, 0.2)),
        ({"0.1": 100, "0.25": 291}, None),
        ({"0.1": 100}, None),
    ],
)
def test_a_histograms_p95_lies_between_the_closest_bounds_that_prove_it(
    buckets: dict[str, int], interval: tuple[float, float] | None
) -> None:
    """Of 300 observations it is surely not below the 279th, nor above the 292nd."""
    assert bounds.p95_ranks(300) == (279, 292)
    observed = {"metrics": {METRIC["database-latency"]: {"count": 300, "buckets": buckets}}}
    found = judged(KNOWN["database-latency"].judge, evidence(observed=observed), demand("database-latency"))
    assert (found.interval, found.measured) == (interval, interval and interval[1])
    told = f"above {interval[0]:g} s and at or below {interval[1]:g} s" if interval else "above 0"
    assert told in found.because


@pytest.mark.parametrize("objective", METRIC)
def test_few_observations_prove_no_p95(objective: str) -> None:
    found = judged(KNOWN[objective].judge, evidence(observed=counted(objective, 58, low=58)), demand(objective))
    assert found.status is Status.INCONCLUSIVE
    assert found.because == "58 observations prove no p95; 59 are needed."


def test_bounds_agree_with_published_figures() -> None:
    assert bounds.p95_ranks(58) is None
    assert bounds.p95_ranks(59) is not None
    assert bounds.p95_ranks(59)[1] == 59  # type: ignore[index]
    assert bounds.needed(0, 0.01) == 299
    low, high = bounds.share(5, 100)
    assert (round(low, 4), round(high, 4)) == (0.0199, 0.1023)  # Clopper-Pearson, 90% two-sided
    assert bounds.share(0, 10)[0] == 0.0
    assert bounds.share(10, 10)[1] == 1.0
    assert [round(sum(bounds.doubt(look) for look in looks), 4) for looks in ([0], [1, 2, 3])] == [0.05, 0.0438]


def test_phases_follow_the_ledger() -> None:
    known = evidence(disaster=WALL - 50)
    told = [
        ("restore", WALL - 28, WALL - 10, {"replay_seconds": 3.0}),
        ("configure", WALL - 10, WALL - 9, {}),
        ("examine", WALL - 9, WALL - 5, {}),
        ("serve", WALL - 5, WALL - 4, {}),
    ]
    entries = [entry(0, "effect", "vanish", WALL - 50, {}, {"disaster": WALL - 50})]
    for call, began, ended, data in told:
        entries += [entry(0, "intent", call, began), entry(0, "effect", call, ended, data)]
    found = phases(replace(known, entries=tuple(entries)))
    assert [(p.name, p.seconds) for p in found] == [
        ("detect", 20.0),
        ("decide", 2.0),
        ("restore", 15.0),
        ("replay", 3.0),
        ("reconfigure", 1.0),
        ("verify", 4.0),
        ("warm-up", 1.0),
    ]


def test_neighbours_of_one_phase_are_one_and_a_replay_ends_its_restore() -> None:
    entries = (
        entry(0, "intent", "restore", WALL - 20),
        entry(1, "effect", "restore", WALL - 10, {"replay_seconds": 0.5}),
        entry(2, "effect", "nobody's", WALL - 10, {}),
        entry(3, "intent", "examine", WALL - 9),
        entry(4, "effect", "examine", WALL - 8, {}),
        entry(5, "intent", "settle", WALL - 6),
        entry(6, "effect", "settle", WALL - 3, {}),
    )
    found = phases(replace(evidence(), entries=entries))
    assert [(p.name, p.started, p.seconds) for p in found] == [
        ("decide", WALL - 30, 10.0),
        ("restore", WALL - 20, 9.5),
        ("replay", WALL - 10.5, 0.5),
        ("verify", WALL - 9, 6.0),
    ]


def test_no_phase_takes_less_than_no_time_and_no_replay_more_than_its_restore() -> None:
    entries = (
        entry(0, "intent", "restore", WALL - 20),
        entry(1, "effect", "restore", WALL - 19.5, {"replay_seconds": 9.0}),
        entry(2, "intent", "examine", WALL - 9),
        entry(3, "effect", "examine", WALL - 9.5, {}),
    )
    found = phases(replace(evidence(), entries=entries))
    assert [(p.name, p.seconds) for p in found] == [
        ("decide", 10.0),
        ("restore", 0.0),
        ("replay", 0.5),
        ("verify", 0.0),
    ]


def test_a_repeated_intent_counts_from_the_first() -> None:
    entries = (
        entry(0, "intent", "restore", WALL - 20),
        entry(1, "intent", "restore", WALL - 12),
        entry(2, "effect", "restore", WALL - 10, {}),
    )
    found = phases(replace(evidence(), entries=entries))
    assert [(p.name, p.seconds) for p in found] == [("decide", 10.0), ("restore", 10.0)]


def test_every_time_objective_has_a_judge() -> None:
    assert {d.objective for d in DEMANDS} <= set(KNOWN)
    assert RATE * 12 >= 299
