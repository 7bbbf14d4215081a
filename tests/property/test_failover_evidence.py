"""Outages and losses against the truth of scripted ones, and evidence that is cut: it never becomes met."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from dr.domain.model import Demand, Finding, Status
from dr.evidence.model import Evidence
from dr.evidence.samples import header, load_markers, marker_line
from dr.judge.findings import judged
from dr.judge.objectives import outage
from dr.judge.objectives.survival import seconds_lost, survived
from dr.wiring import objectives
from tests.support import many
from tests.unit.outages import (
    KINDS,
    WRITES,
    Out,
    Script,
    Takeover,
    Written,
    demand,
    dice,
    markers,
    of,
    run_of,
    samples,
    without,
    written,
)
from tests.unit.outages import evidence as run

judge_outage = partial(judged, outage.judge_outage)
KNOWN = objectives()
seeds = st.integers(0, 2**32)


@st.composite
def outs(draw: st.DrawFn, longest: float = 20.0) -> Out:
    """From 50 ms on, the short as often as the long."""
    begin = draw(st.floats(0.0, 1.0))
    seconds = 0.05 * math.exp(draw(st.floats(0.0, math.log(longest / 0.05))))
    return Out(begin, begin + seconds, draw(st.sampled_from(KINDS)))


@st.composite
def scripts(draw: st.DrawFn, longest: float = 20.0) -> Script:
    """One outage of a path whose usual p99 is at most a third of a period."""
    out, rate = draw(outs(longest)), draw(st.sampled_from([20.0, 50.0, 100.0]))
    least, spread = draw(st.floats(0.0003, 1 / 6 / rate)), draw(st.floats(0.0, 1 / 6 / rate))
    return Script(
        (out,),
        rate,
        timeout=draw(st.sampled_from([0.5, 2.0])),
        after=out.end + 4,
        took=lambda luck: luck.uniform(least, least + spread),
        jitter=draw(st.sampled_from([0.0001, 0.001])),
    )


def holds(found: Evidence, path: str, seconds: float, limit: float = 120.0) -> float:
    """The error of the outage's figure on ``path``; its interval must hold the truth."""
    judged = judge_outage(found, Demand("outage", path, limit, "s"))
    assert judged.status is Status.MET, judged.because
    assert judged.measured is not None
    assert judged.interval is not None
    low, high = judged.interval
    assert low - 1e-6 <= seconds <= high + 1e-6, judged.because
    assert low <= judged.measured <= high
    return abs(judged.measured - seconds)


@settings(max_examples=many(1500), deadline=None)
@given(scripts(), seeds, st.booleans())
def test_an_outages_length_is_right_to_two_periods(script: Script, seed: int, of_writes: bool) -> None:
    (out,), seen = script.outs, samples(script, dice(seed))
    found = run(written={"source": markers(seen, "source")}) if of_writes else run({"source": seen})
    assert holds(found, "source", out.end - out.begin) <= 2 / script.rate


@settings(max_examples=many(300), deadline=None)
@given(outs(5.0), seeds, st.floats(0.005, 0.1), st.floats(1.0, 2.5))
def test_the_interval_holds_the_truth_however_slow_the_path_is(out: Out, seed: int, least: float, times: float) -> None:
    script = Script((out,), after=out.end + 4, took=lambda luck: luck.uniform(least, times * least))
    holds(of(script, seed), "source", out.end - out.begin)


@settings(max_examples=many(300), deadline=None)
@given(outs(5.0), seeds, st.lists(st.tuples(st.floats(-1.0, 6.0), st.floats(0.01, 0.6)), max_size=2))
def test_the_interval_holds_the_truth_although_the_prober_stalled(
    out: Out, seed: int, stalls: list[tuple[float, float]]
) -> None:
    script = Script((out,), stalls=[(at, at + seconds) for at, seconds in stalls], after=out.end + 8)
    found = judge_outage(of(script, seed), demand("outage"))
    if found.interval is not None:
        assert found.interval[0] - 1e-6 <= out.end - out.begin <= found.interval[1] + 1e-6, found.because


# -- paths of every latency, outages of every shape


@st.composite
def paths(draw: st.DrawFn) -> Script:
    """A path whose answers usually take from 1 ms to 5 s, and surely less than the time-out."""
    least = 10 ** draw(st.floats(-3, math.log10(5)))
    most = min(5.0, least * draw(st.floats(1.0, 5.0)))
    rate = draw(st.sampled_from([5.0, 20.0, 50.0]))
    return Script(
        (),
        rate,
        timeout=most * draw(st.floats(1.1, 5.0)),
        before=3 + 30 / rate + 2 * most,
        took=lambda luck: luck.uniform(least, most),
        jitter=draw(st.sampled_from([0.0001, 0.001])),
    )


@st.composite
def broken(draw: st.DrawFn) -> Script:
    """A path that is out once or several times, so that every request meets it, and surely some does."""
    path = draw(paths())
    at, found = draw(st.floats(0.0, 1.0)), []
    kinds = ("slow", *KINDS)
    for _ in range(draw(st.integers(1, 4))):
        kind, seconds = draw(st.sampled_from(kinds)), (2 / path.rate) * 10 ** draw(st.floats(0.0, 2.0))
        # What hangs and is answered is seen by its lateness alone, which the time-out bounds.
        seconds += path.timeout + 1 / path.rate if kind == "hang" else 0.0
        slower = path.timeout * draw(st.floats(1.0, 3.0)) if kind == "slow" else 0.0
        found.append(Out(at, at + seconds, kind, slower=slower))
        at += seconds + draw(st.floats(0.1, 3.0))
    return replace(path, outs=tuple(found), after=found[-1].end + 4 + 2 / path.rate)


def never_wrong(found: Evidence, shortest: float, longest: float, share: float) -> Finding:
    """Judged against a limit that is so much of the truth, which lies between the two: neither met nor missed falsely,
    and its interval holds it."""
    limit = share * longest
    judged = judge_outage(found, demand("outage", limit))
    if judged.status is Status.MET:
        assert limit >= shortest - 1e-6, judged.because
    if judged.status is Status.MISSED:
        assert limit <= longest + 1e-6, judged.because
    if judged.interval is not None:
        assert judged.interval[0] <= longest + 1e-6, judged.because
        assert judged.interval[1] >= shortest - 1e-6, judged.because
    return judged


LIMITS = st.sampled_from([0.2, 0.8, 0.99, 1.0, 1.01, 1.3, 5.0])


@settings(max_examples=many(200), deadline=None)
@given(broken(), seeds, LIMITS)
def test_outages_of_every_shape_are_judged_by_the_truth_whatever_is_usual(
    script: Script, seed: int, share: float
) -> None:
    truth, found = script.outs[-1].end - script.outs[0].begin, of(script, seed)
    judged = never_wrong(found, truth, truth, share)
    assert judged.interval is not None, judged.because
    assert judged.interval[1] - judged.interval[0] <= 2 * script.timeout + 4 / script.rate, judged.because
    holds(found, "source", truth, limit=1000.0)


@settings(max_examples=many(100), deadline=None)
@given(paths(), seeds, st.sampled_from(("slow", *KINDS[:3])), st.floats(0.0, 1.0), st.floats(2.0, 10.0))
def test_a_path_that_never_comes_back_is_missed_once_its_limit_is_past(
    path: Script, seed: int, kind: str, begin: float, seconds: float
) -> None:
    """By whatever its requests come to, and whatever is usual; before, it might have come back in time."""
    out = Out(begin, math.inf, kind, slower=2 * path.timeout)
    found = of(replace(path, outs=(out,), after=begin + seconds + path.timeout), seed)
    past, before = (judge_outage(found, demand("outage", limit)) for limit in (seconds / 2, seconds + path.timeout + 1))
    assert past.status is Status.MISSED, past.because
    assert "never came back" in past.because
    assert before.status is Status.INCONCLUSIVE, before.because


@settings(max_examples=many(100), deadline=None)
@given(broken(), seeds, st.sampled_from(KINDS[:3]), st.floats(0.0, 2.5), LIMITS)
def test_an_outage_at_the_end_of_what_was_measured_is_never_met(
    script: Script, seed: int, kind: str, left: float, share: float
) -> None:
    out = replace(script.outs[0], kind=kind)
    cut = of(replace(script, outs=(out,), after=out.end + left), seed)
    judged = judge_outage(cut, demand("outage", share * (out.end - out.begin)))
    assert judged.status is not Status.MET, judged.because


@settings(max_examples=many(100), deadline=None)
@given(paths(), seeds, st.floats(0.2, 0.95), st.sampled_from(KINDS[:3]), st.floats(0.5, 5.0), LIMITS)
def test_a_path_that_fails_in_part_is_out_from_its_first_failure_to_its_last(
    path: Script, seed: int, share: float, kind: str, seconds: float, limit: float
) -> None:
    out = Out(0.5, 0.5 + seconds, kind, share=share)
    seen = samples(replace(path, outs=(out,), after=out.end + 4), dice(seed))
    asked = [s.due + s.late for s in seen.samples if s.status != 200]
    if asked:
        never_wrong(run({"source": seen}), (asked[-1] - asked[0]) / 1e9 - path.timeout, seconds + path.timeout, limit)


@settings(max_examples=many(100), deadline=None)
@given(paths(), seeds)
def test_a_path_that_is_as_usual_is_never_called_out(path: Script, seed: int) -> None:
    assert never_wrong(of(replace(path, after=10.0), seed), 0.0, 0.3, 1.0).status is not Status.MISSED


@settings(max_examples=many(200), deadline=None)
@given(scripts(1.0), seeds, st.floats(0.0, 1.0), st.sampled_from([0.02, 0.2, 1.0, 120.0]))
def test_samples_cut_anywhere_never_become_met(script: Script, seed: int, kept: float, limit: float) -> None:
    whole, asked = of(script, seed), demand("outage", limit)
    count = round(len(whole.samples["source"].samples) * kept)
    cut = judge_outage(without(whole, keep=lambda s: s.n < count), asked)
    assert cut.status is not Status.MET or judge_outage(whole, asked).status is Status.MET
    hole = judge_outage(without(whole, keep=lambda s: not count <= s.n < count + 5), asked)
    assert hole.status is not Status.MET or judge_outage(whole, asked).status is Status.MET


@settings(max_examples=many(200), deadline=None)
@given(scripts(1.0), seeds, st.integers(0, 200))
def test_one_more_error_never_helps(script: Script, seed: int, after: int) -> None:
    whole = of(script, seed)
    measured = whole.samples["source"]
    at = min(len(measured.samples) - 1, round(script.before * script.rate) + 1 + after)
    worse = tuple(replace(s, status=0, error="refused") if s.n == at else s for s in measured.samples)
    changed = replace(whole, samples={"source": replace(measured, samples=worse)})
    for limit in (0.1, 0.5, 120.0):
        if judge_outage(whole, demand("outage", limit)).status is not Status.MET:
            assert judge_outage(changed, demand("outage", limit)).status is not Status.MET


@settings(max_examples=many(200), deadline=None)
@given(seeds, st.integers(2, 100), st.floats(3.0, 10.0))
def test_a_path_that_goes_on_failing_to_the_end_is_never_met(seed: int, every: int, after: float) -> None:
    whole = of(Script(after=after), seed)
    measured = whole.samples["source"]
    last, first = measured.samples[-1].n, measured.samples[-1].n - round(after * 50) + 2
    made = tuple(
        replace(s, status=0, error="refused") if s.n >= first and (last - s.n) % every == 1 else s
        for s in measured.samples
    )
    failing = replace(whole, samples={"source": replace(measured, samples=made)})
    assert judge_outage(failing, demand("outage", 120.0)).status is not Status.MET


# -- writes


@st.composite
def takeovers(draw: st.DrawFn) -> Written:
    """A primary is lost under writes; the standby is synchronous, or behind by some lag."""
    astray = draw(st.one_of(st.just((0.0, 0.0)), st.floats(1.1, 2.0).map(lambda at: (at, at + 0.3))))
    script = Takeover(
        rate=draw(st.sampled_from([20.0, 50.0, 333.0])),
        before=draw(st.floats(1.0, 3.0)),
        lag=draw(st.one_of(st.none(), st.floats(0.0, 0.9))),
        astray=astray,
    )
    return written(script, dice(draw(seeds)))


@settings(max_examples=many(500), deadline=None)
@given(takeovers())
def test_lost_writes_are_those_that_were_lost(made: Written) -> None:
    found = survived(run_of(made), "writes")
    assert {(m.n, m.attempt) for m in found.lost} == made.lost
    assert not found.unexpected
    assert not found.doubt
    assert set(found.duplicated) == {n for n, attempt in made.rows if attempt and (n, 0) in made.rows}
    status = judged(KNOWN["acknowledged"].judge, run_of(made), WRITES[0]).status
    assert status is (Status.MISSED if made.lost else Status.MET)


@settings(max_examples=many(300), deadline=None)
@given(st.floats(0.0, 0.9), seeds)
def test_seconds_lost_hold_the_lag(lag: float, seed: int) -> None:
    made = written(Takeover(lag=lag), dice(seed))
    found = survived(run_of(made), "writes")
    low, high = seconds_lost(found, found.markers.wall(10**12))
    assert high - low <= 1 / 50 + 0.005
    assert (low - 0.004 <= lag <= high + 0.004) if made.lost else (low, high) == (0.0, 0.0)


@settings(max_examples=many(300), deadline=None)
@given(takeovers(), st.floats(0.0, 1.0))
def test_a_markers_file_cut_at_any_byte_never_becomes_met(made: Written, kept: float) -> None:
    of_all = made.markers.markers
    lines = [(m.sent, marker_line(m.n, m.due, m.sent, 0, "indeterminate", m.attempt)) for m in of_all]
    lines += [(m.done, marker_line(m.n, m.due, m.sent, m.done, m.outcome, m.attempt, m.error)) for m in of_all]
    content = header("writes", made.markers.rate, 2.0, made.markers.start, 0.0, 0.001)
    content += b"".join(line for _, line in sorted(lines))
    whole = run_of(made)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "markers-writes.jsonl"
        file.write_bytes(content[: round(len(content) * kept)])
        found = load_markers(file)
    cut = replace(whole, markers={} if found is None else {"writes": found})
    for asked in WRITES:
        before, after = (judged(KNOWN[asked.objective].judge, evidence, asked).status for evidence in (whole, cut))
        assert after is not Status.MET or before is Status.MET, asked.objective


@settings(max_examples=many(300), deadline=None)
@given(takeovers(), st.data())
def test_one_acknowledged_row_less_is_missed(made: Written, data: st.DataObject) -> None:
    acknowledged = [m for m in made.markers.markers if m.outcome == "acknowledged" and (m.n, m.attempt) in made.rows]
    gone = data.draw(st.sampled_from(acknowledged))
    less = replace(made, rows=made.rows - {(gone.n, gone.attempt)})
    assert judged(KNOWN["acknowledged"].judge, run_of(less), WRITES[0]).status is Status.MISSED
