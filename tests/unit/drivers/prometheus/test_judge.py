"""Prometheus beside the prober: agreement, contradiction, no data, and when the alerts would have fired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from dr.domain.model import Demand, Finding, Observation, Status
from dr.drivers.prometheus import judge as corroboration
from dr.evidence.model import Sample
from dr.evidence.samples import TIMEOUT
from dr.judge.findings import judged
from tests.unit.eighths import path, probe, refused, settled
from tests.unit.outages import DEMANDS, DISASTER, Out, Script, ns, of

ASKED = Demand("corroborated", "source")
OUT = Script([Out(5.0, 15.0)], after=60)
HEALTHY = Script(after=60)

judge_corroborated = partial(judged, corroboration.judge_corroborated)


def points(value: Callable[[float], float], first: float = 0.0, last: float = 60.0) -> list[list[float]]:
    return [[DISASTER + at, value(at)] for at in range(int(first), int(last) + 1, 5)]


RULES = {name: {"held": 300.0, "problem": ""} for name in ("HighErrorRate", "SlowAPIResponse")}
GONE = {"held": None, "problem": "Prometheus has no such rule"}


def seen(**changed: Any) -> dict[str, Any]:
    """What Prometheus recorded of a service that failed a fifth of its requests for a while."""
    return {
        "start": DISASTER,
        "end": DISASTER + 60,
        "range": 30.0,
        "step": 5.0,
        "latency": points(lambda _: 0.004),
        "errors": points(lambda at: 0.2 if 10 <= at < 45 else 0.0),
        "up": [[DISASTER - 60, DISASTER + 60]],
        "rules": RULES,
        "alerts": {name: [] for name in RULES},
    } | changed


def judge(value: dict[str, Any] | None, script: Script = OUT) -> Finding:
    found = of(script)
    observed = () if value is None else (Observation("prometheus", "source", value, DISASTER + 60),)
    return judge_corroborated(replace(found, observations=observed), ASKED)


def test_prometheus_agrees_with_both_figures_in_the_sentence() -> None:
    found = judge(seen())
    assert found.status is Status.MET, found.because
    assert "p95 0.004 s by the prober and 0.004 s by Prometheus" in found.because
    assert "by the prober and 20.00% by Prometheus" in found.because


def test_latency_is_compared_of_requests_that_were_answered() -> None:
    assert judge(seen(), Script([Out(5.0, 15.0, "silent")], after=60)).status is Status.MET


def test_what_the_prober_gave_up_is_no_error_of_a_service_that_answered_it_late() -> None:
    hung = Script([Out(5.0, 15.0, "hang")], after=60)
    late = {"errors": points(lambda _: 0.0), "latency": points(lambda at: 4.7 if 15 <= at < 45 else 0.004)}
    found = judge(seen(**late), hung)
    assert found.status is Status.MET, found.because
    assert "The service answered later what the prober had given up." in found.because
    prompt = judge(seen(errors=points(lambda _: 0.0)), hung)
    assert (prompt.status, "(p95, errors)" in prompt.because) == (Status.INCONCLUSIVE, True), prompt.because


@pytest.mark.parametrize(
    ("script", "changed", "named"),
    [
        (HEALTHY, {}, "errors"),
        (OUT, {"errors": points(lambda _: 0.0)}, "errors"),
        (OUT, {"latency": points(lambda _: 1.7)}, "p95"),
    ],
)
def test_a_contradiction_is_inconclusive_and_named(script: Script, changed: dict[str, Any], named: str) -> None:
    found = judge(seen(**changed), script)
    assert found.status is Status.INCONCLUSIVE
    assert f"contradict each other ({named}): p95" in found.because


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"error": "connection refused"},
        seen(errors=[]),
        seen(up=[]),
        seen(up=[[DISASTER - 60, DISASTER + 20]]),
        seen(latency=points(lambda _: float("nan"))),
        seen(latency=points(lambda _: 0.004, first=-60, last=5)),
    ],
)
def test_no_data_is_inconclusive(value: dict[str, Any] | None) -> None:
    found = judge(value)
    assert found.status is Status.INCONCLUSIVE
    assert "data" in found.because


def test_the_reason_prometheus_gave_is_told() -> None:
    assert "connection refused" in judge({"error": "connection refused"}).because


def test_a_path_without_an_slo_has_nothing_to_compare() -> None:
    found = of(OUT)
    plan = replace(found.record.plan, demands=tuple(d for d in DEMANDS if d.objective == "outage"))
    bare = replace(
        found, record=replace(found.record, plan=plan), observations=(Observation("prometheus", "source", seen()),)
    )
    assert judge_corroborated(bare, ASKED).status is Status.INCONCLUSIVE


def test_what_was_probed_after_the_path_had_settled_is_not_asked_of_prometheus() -> None:
    asked = seen(
        errors=points(lambda at: 0.2 if 10 <= at < 30 else 0.0, last=30), latency=points(lambda _: 0.004, last=30)
    )
    assert judge(asked).status is Status.INCONCLUSIVE, "half of the time that counts is missing"
    found = of(OUT)
    last = max(s.n for s in found.samples["source"].samples if found.samples["source"].wall(s.due) < DISASTER + 30)
    numbers = {"settled": {"source": {"first": 0, "last": last}}}
    entries = tuple(replace(e, data=numbers) if "settled" in e.data else e for e in found.entries)
    observed = (Observation("prometheus", "source", asked, DISASTER + 60),)
    judged = judge_corroborated(replace(found, entries=entries, observations=observed), ASKED)
    assert judged.status is Status.MET, judged.because


def test_scrapes_that_failed_are_told() -> None:
    halves = [[DISASTER - 60, DISASTER + 26], [DISASTER + 34, DISASTER + 60]]
    found = judge(seen(up=halves))
    assert found.status is Status.MET
    assert "could not scrape the service 1 times" in found.because


def test_the_sentence_names_the_alert_and_when_it_would_have_fired() -> None:
    true = [DISASTER + at for at in range(10, 331, 5)]
    grid = {"start": DISASTER, "end": DISASTER + 400}
    found = judge(seen(**grid, alerts={"HighErrorRate": true, "SlowAPIResponse": true[:20]}))
    assert found.because.endswith("HighErrorRate would have fired at 07:05:40 UTC.")
    found = judge(seen(**grid, alerts={"HighErrorRate": true[:30] + true[31:], "SlowAPIResponse": []}))
    assert found.because.endswith("Of HighErrorRate and SlowAPIResponse none would have fired.")
    assert found.status is Status.MET
    lasting = judge(seen(start=DISASTER, end=DISASTER + 60, alerts={"HighErrorRate": true[:11], "SlowAPIResponse": []}))
    assert "HighErrorRate was true from 07:00:40 UTC on and would have fired at 07:05:40 UTC." in lasting.because


def test_alerts_that_were_not_asked_for_are_told() -> None:
    found = judge(seen(rules={}, alerts={}))
    assert found.status is Status.MET
    assert found.because.endswith("Whether alerts would have fired was not asked.")


@pytest.mark.parametrize(
    ("problem", "named"),
    [
        (GONE, "SlowAPIResponse: Prometheus has no such rule"),
        ({"held": 300.0, "problem": "found duplicate series."}, "SlowAPIResponse: found duplicate series"),
    ],
)
def test_a_rule_that_is_missing_or_errs_is_inconclusive_and_named(problem: dict[str, Any], named: str) -> None:
    found = judge(seen(rules={**RULES, "SlowAPIResponse": problem}, alerts={"HighErrorRate": []}))
    assert found.status is Status.INCONCLUSIVE
    assert found.because.startswith(
        f"Whether alerts would have fired is not known ({named}): p95 0.004 s by the prober"
    )
    assert found.because.endswith("Of HighErrorRate none would have fired.")


def test_a_prometheus_without_any_rule_is_inconclusive() -> None:
    found = judge(seen(rules=dict.fromkeys(RULES, GONE), alerts={}))
    assert found.status is Status.INCONCLUSIVE
    assert "HighErrorRate: Prometheus has no such rule; SlowAPIResponse: Prometheus has no such rule" in found.because
    early = {key: value for key, value in seen().items() if key not in ("rules", "alerts")}
    assert judge(early).status is Status.INCONCLUSIVE, "recorded before rules were"


def test_an_alert_fires_after_its_own_rules_time() -> None:
    true = {"HighErrorRate": [DISASTER + at for at in range(10, 61, 5)], "SlowAPIResponse": []}
    short = {**RULES, "HighErrorRate": {"held": 30.0, "problem": ""}}
    assert judge(seen(rules=short, alerts=true)).because.endswith("HighErrorRate would have fired at 07:01:10 UTC.")
    early = {key: value for key, value in seen(alerts=true).items() if key != "rules"}
    assert "would have fired at 07:05:40 UTC." in judge(early).because, "recorded before rules were"


def test_a_record_from_before_rules_were_recorded_may_tell_of_alerts() -> None:
    early = {key: value for key, value in seen().items() if key != "rules"}
    found = judge(early)
    assert (found.status, found.because.endswith("none would have fired.")) == (Status.MET, True)


def test_the_time_of_an_alert_is_told_late_in_the_day() -> None:
    """The disaster is at 07:00:30."""
    at = DISASTER + 16 * 3600 - 30
    grid = {"start": at - 60, "end": at}
    found = judge(
        seen(**grid, rules={**RULES, "HighErrorRate": {"held": 0.0, "problem": ""}}, alerts={"HighErrorRate": [at]})
    )
    assert found.because.endswith("HighErrorRate would have fired at 23:00:00 UTC.")


# -- edges, in eighths of a second: the points lie 4 and 8 s after the disaster, and each is of the second before it

SLO = (ASKED, Demand("latency", "source", 0.125, "s"), Demand("errors", "source", 0.25, "share"))


def compared(*told: Sample, end: float = 8.0, last: int | None = None, **changed: Any) -> Finding:
    """``latency`` and ``errors`` by seconds after the disaster."""
    value = {"start": DISASTER, "end": DISASTER + 8, "range": 1.0, "step": 4.0, "up": [[-60.0, 60.0]], "rules": RULES}
    value |= {"alerts": {name: [] for name in RULES}, "latency": {4.0: 0.015625, 8.0: 0.015625}, "errors": {}} | changed
    value["errors"] = value["errors"] or dict.fromkeys(value["latency"], 0.0)
    for name in ("latency", "errors"):
        value[name] = [[DISASTER + at, v] for at, v in value[name].items()]
    value["up"] = [[DISASTER + a, DISASTER + b] for a, b in value["up"]]
    found = path(*told, end=end)
    found = found if last is None else settled(found, last)
    plan = replace(found.record.plan, demands=SLO)
    observed = (Observation("prometheus", "source", value, DISASTER + 60),)
    return judge_corroborated(replace(found, record=replace(found.record, plan=plan), observations=observed), ASKED)


NONE = "Of HighErrorRate and SlowAPIResponse none would have fired."
AGREED = (
    f"Prometheus agrees: p95 0.016 s by the prober and 0.016 s by Prometheus, "
    f"errors 0.00% by the prober and 0.00% by Prometheus. {NONE}"
)
FEW = "Prometheus has data of the p95 at {} points from the disaster on."


def test_all_that_was_compared_is_told_and_nothing_else() -> None:
    assert compared().because == AGREED
    assert compared(rules={}, alerts={}).because == AGREED.replace(
        NONE, "Whether alerts would have fired was not asked."
    )
    gaps = compared(up=[(-60.0, 5.0), (6.0, 60.0)])
    assert gaps.because == AGREED.replace(NONE, f"It could not scrape the service 1 times. {NONE}")
    gone = compared(rules={key: {"held": None, "problem": "found no label X."} for key in RULES}, alerts={})
    assert gone.because == (
        "Whether alerts would have fired is not known (HighErrorRate: found no label X; "
        f"SlowAPIResponse: found no label X): {AGREED.removeprefix('Prometheus agrees: ').removesuffix(f' {NONE}')}"
    )


def test_each_alert_that_would_have_fired_is_told() -> None:
    grid = {"rules": {name: {"held": 4.0, "problem": ""} for name in RULES}}
    true = {name: [DISASTER, DISASTER + 4] for name in RULES}
    told = "HighErrorRate would have fired at 07:00:34 UTC; SlowAPIResponse would have fired at 07:00:34 UTC."
    assert compared(**grid, alerts=true).because == AGREED.replace(NONE, told)


def test_an_answer_is_of_the_point_whose_range_it_came_in() -> None:
    """From its very beginning on, and before its end."""
    for due, bad in ((2.75, 0), (2.875, 1), (3.75, 1), (3.875, 0)):
        late = probe(due, took=0.125, error="refused")
        share = f"errors {bad / (9 if due < 3 else 8):.2%} by the prober"
        assert share in compared(late).because, (due, compared(late).because)


@pytest.mark.parametrize(("up", "seen_at"), [((4.0, 8.0), 2), ((4.125, 8.0), 1), ((4.0, 7.875), 1)])
def test_a_point_counts_from_the_first_scrape_to_the_last(up: tuple[float, float], seen_at: int) -> None:
    found = compared(up=[up])
    assert found.because == (AGREED if seen_at == 2 else FEW.format("1 of 2"))


def test_a_point_counts_from_the_disaster_until_the_last_answer() -> None:
    points = dict.fromkeys((0.0, 4.0, 8.0 + 1 / 64), 0.015625)
    assert compared(latency=points, up=[(0.0, 0.0), (5.0, 60.0)]).status is Status.MET
    assert compared(latency=points, up=[(-0.5, -0.25), (5.0, 60.0)]).because == FEW.format("1 of 2")
    number, slow = (
        next(s.n for s in path().samples["source"].samples if s.due == ns(8.0)),
        {**points, 8.0 + 1 / 64: 9.0},
    )
    for last, status in ((number, Status.INCONCLUSIVE), (number - 1, Status.MET)):
        found = compared(latency=slow, up=[(0.0, 0.0), (5.0, 60.0)], end=12.0, last=last)
        assert found.status is status, "what was probed later is not asked of it"


def test_three_quarters_of_the_points_are_enough() -> None:
    for count, enough in ((3, True), (2, False)):
        found = compared(latency={2.0 * (n + 1): 0.015625 for n in range(count)}, step=2.0)
        assert found.because == (AGREED if enough else FEW.format("2 of 4"))


def test_a_point_without_an_answer_has_no_latency_and_one_without_a_probe_nothing() -> None:
    refusing = [refused(3.0 + n / 8, took=1 / 64) for n in range(-1, 8)]
    told = compared(*refusing, errors={4.0: 1.0, 8.0: 0.0})
    assert "p95 0.016 s by the prober" in told.because
    assert "errors 100.00% by the prober and 100.00% by Prometheus" in told.because
    assert told.status is Status.MET
    unmeasured = compared(errors={-70.0: 0.0, 4.0: 0.0, 8.0: 0.0}, latency={4.0: 0.015625, 8.0: 0.015625, 20.0: 9.0})
    assert unmeasured.because == AGREED
    at = dict.fromkeys((4.03125, 7.90625), 0.015625)
    between = compared(range=1 / 16, latency=at, errors={4.03125: 0.0, 4.125: 0.0, 7.90625: 0.0})
    assert between.because == AGREED
    narrow = compared(range=1 / 128)
    assert narrow.because == FEW.format("0 of 2")


def test_a_figure_at_its_limit_keeps_it_by_both() -> None:
    some = [refused(3.125), refused(3.375)]
    assert compared(*some, errors={4.0: 0.25, 8.0: 0.0}).status is Status.MET
    assert compared(*some, errors={4.0: 0.3125, 8.0: 0.0}).status is Status.INCONCLUSIVE
    slow = [probe(3.0 + n / 8, took=0.125) for n in range(7)]
    assert compared(*slow, latency={4.0: 0.125, 8.0: 0.0}).status is Status.MET
    assert compared(*slow, latency={4.0: 0.1875, 8.0: 0.0}).status is Status.INCONCLUSIVE


def test_what_was_given_up_is_answered_late_only_where_prometheus_saw_it_late() -> None:
    gone = [probe(3.0 + n / 8 - 2.0, took=2.0, error=TIMEOUT) for n in range(3)]
    two = [refused(3.125), refused(3.375), refused(3.5)]
    note = " The service answered later what the prober had given up."
    late = {"latency": {4.0: 0.25, 8.0: 0.0}, "errors": {4.0: 0.25, 8.0: 0.0}}
    answered = [probe(3.0 + n / 8, took=0.25) for n in range(5)]
    found = compared(*gone, *answered, refused(3.625), **late)
    assert (found.status, f"by Prometheus.{note} Of High" in found.because) == (Status.MET, True), found.because
    prompt = compared(*gone, latency={4.0: 0.125, 8.0: 0.0}, errors={4.0: 0.25, 8.0: 0.0})
    assert prompt.because.startswith("Prometheus and the prober contradict each other (errors): ")
    assert note not in prompt.because
    refusing = compared(*two, *[probe(3.625 + n / 8, took=0.25) for n in range(2)], **late)
    assert "contradict each other (errors)" in refusing.because


def test_why_nothing_can_be_compared_is_told() -> None:
    assert judge(None).because == "Prometheus gave no data: it was not asked."
    assert judge({"error": "Connection refused"}).because == "Prometheus gave no data: Connection refused."
    bare = "Path source was not measured, or has no SLO to compare."
    whole = replace(of(HEALTHY), observations=(Observation("prometheus", "source", seen()),))
    unmeasured = replace(whole, samples={"source": replace(whole.samples["source"], samples=())})
    for found in (replace(whole, samples={}), unmeasured):
        assert judge_corroborated(found, ASKED).because == bare
    early = {key: value for key, value in seen().items() if key not in ("rules", "alerts")}
    assert judge(early).because.startswith(
        "Whether alerts would have fired is not known (nothing is recorded of its rules): p95"
    )


def test_where_the_wall_clock_was_set_prometheus_cannot_be_compared() -> None:
    found = replace(of(HEALTHY), observations=(Observation("prometheus", "source", seen()),))
    walls = (replace(e.stamp, wall=e.stamp.at + (60.0 if e.seq else 0.0)) for e in found.entries)
    entries = tuple(replace(e, stamp=stamp) for e, stamp in zip(found.entries, walls, strict=True))
    told = judge_corroborated(replace(found, entries=entries), ASKED).because
    assert "The wall clock was set forward by 60.0 s during the run" in told
