"""Whatever happens to evidence, nothing that was not met becomes met by it."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from dr.domain.model import Status
from dr.evidence.model import Evidence, Marker, Markers
from dr.evidence.samples import header, load_markers, load_samples, marker_line, sample_line
from dr.judge.bounds import ENOUGH, at_most, p95_ranks, share
from dr.judge.findings import judged
from dr.wiring import objectives
from tests.support import many
from tests.unit.recovery import DEMANDS, RATE, TIMEOUT, WALL, evidence, marker, samples

KNOWN = objectives()
POINT = WALL - 30


@st.composite
def recoveries(draw: st.DrawFn) -> Evidence:
    """Recoveries good and bad: errors, slow answers, a late prober, markers lost, failed or in doubt."""
    seed = draw(st.integers(0, 2**32))
    dice = random.Random(seed)  # noqa: S311
    failing, slow, late = (draw(st.sampled_from([0.0, 0.005, 0.5])) for _ in range(3))
    first_good = draw(st.sampled_from([0, 0, 100, 550]))

    def change(n: int) -> dict[str, object]:
        if n < first_good or dice.random() < failing:
            return {"status": 0, "error": "timeout", "seconds": TIMEOUT}
        return {"seconds": 1.5 if dice.random() < slow else 0.01, "late": 0.05 if dice.random() < late else 0.0}

    outcomes = ["acknowledged"] * 8 + ["failed", "indeterminate"]
    steady = draw(st.booleans())
    markers = [marker(n, WALL - 60 + n, outcome="acknowledged" if steady else dice.choice(outcomes)) for n in range(50)]
    lost = set(dice.sample(range(30), draw(st.sampled_from([0, 0, 1, 5]))))
    held = draw(st.integers(28, 34))
    present = [[n, n] for n in range(held) if n not in lost and markers[n].outcome != "failed"]
    metrics = {"readmission_model_prediction_duration_seconds": {"count": 300, "buckets": {"2.0": 290, "+Inf": 300}}}
    seen = {
        "recovery-point": {"kind": "time", "identifier": "x", "covers": POINT, "resolution": 1.0},
        "markers": {"table": True, "present": present},
        "metrics": metrics,
    }
    return evidence(samples(600, change=change), markers, seen)


def statuses(found: Evidence) -> dict[str, Status]:
    return {d.objective: judged(KNOWN[d.objective].judge, found, d).status for d in DEMANDS}


def never_better(whole: Evidence, less: Evidence) -> None:
    before, after = statuses(whole), statuses(less)
    became = [name for name in before if after[name] is Status.MET and before[name] is not Status.MET]
    assert not became, {name: (before[name], after[name]) for name in became}


@settings(max_examples=many(40), deadline=None)
@given(recoveries(), st.integers(0, 600))
def test_samples_cut_anywhere_never_become_met(whole: Evidence, kept: int) -> None:
    measured = whole.samples["restored"]
    never_better(whole, replace(whole, samples={"restored": replace(measured, samples=measured.samples[:kept])}))


@settings(max_examples=many(40), deadline=None)
@given(recoveries(), st.integers(0, 6))
def test_a_ledger_cut_anywhere_never_becomes_met(whole: Evidence, kept: int) -> None:
    never_better(whole, replace(whole, entries=whole.entries[:kept]))


@settings(max_examples=many(40), deadline=None)
@given(recoveries(), st.integers(0, 3))
def test_observations_cut_anywhere_never_become_met(whole: Evidence, kept: int) -> None:
    never_better(whole, replace(whole, observations=whole.observations[:kept]))


def written(markers: tuple[Marker, ...]) -> bytes:
    """A file of markers as the writer leaves it: the attempt when it is sent, what came of it when that is known."""
    lines = [(m.sent, marker_line(m.n, m.due, m.sent, 0, "indeterminate")) for m in markers]
    lines += [(m.done, marker_line(m.n, m.due, m.sent, m.done, m.outcome)) for m in markers]
    return b"".join(line for _, line in sorted(lines))


def loaded(file: Path) -> dict[str, Markers]:
    found = load_markers(file)
    return {} if found is None else {found.path: found}


@settings(max_examples=many(60), deadline=None)
@given(recoveries(), st.floats(0, 1))
def test_a_markers_file_cut_at_any_byte_loads_and_never_becomes_met(whole: Evidence, kept: float) -> None:
    made = whole.markers["source"]
    content = header("source", 1.0, 2.0, made.start, 0.0, 0.001) + written(made.markers)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "markers-source.jsonl"
        file.write_bytes(content)
        full = replace(whole, markers=loaded(file))
        file.write_bytes(content[: round(len(content) * kept)])
        never_better(full, replace(whole, markers=loaded(file)))


@settings(max_examples=many(25), deadline=None)
@given(recoveries(), st.floats(0, 1))
def test_a_samples_file_cut_at_any_byte_loads_and_never_becomes_met(whole: Evidence, kept: float) -> None:
    measured = whole.samples["restored"]
    lines = [sample_line(s.n, s.due, s.sent, s.done, s.status, s.error, s.late) for s in measured.samples]
    content = header("restored", RATE, TIMEOUT, measured.start) + b"".join(lines)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "samples-restored.jsonl"
        file.write_bytes(content[: round(len(content) * kept)])
        found = load_samples(file)
        never_better(whole, replace(whole, samples={"restored": found} if found is not None else {}))


@settings(max_examples=many(25), deadline=None)
@given(recoveries(), st.randoms())
def test_the_order_of_samples_and_other_paths_do_not_matter(whole: Evidence, dice: random.Random) -> None:
    measured = whole.samples["restored"]
    shuffled = list(measured.samples)
    dice.shuffle(shuffled)
    other = replace(measured, path="source", samples=measured.samples[: len(shuffled) // 2])
    mixed = replace(whole, samples={"source": other, "restored": replace(measured, samples=tuple(shuffled))})
    assert statuses(mixed) == statuses(whole)


@settings(max_examples=many(40), deadline=None)
@given(recoveries(), st.integers(0, 599))
def test_one_more_error_never_helps(whole: Evidence, at: int) -> None:
    measured = whole.samples["restored"]
    worse = tuple(replace(s, status=0, error="timeout") if s.n == at else s for s in measured.samples)
    changed = replace(whole, samples={"restored": replace(measured, samples=worse)})
    for name in ("time-to-copy", "errors"):
        if statuses(whole)[name] is not Status.MET:
            assert statuses(changed)[name] is not Status.MET


@settings(deadline=None)
@given(st.integers(1, 3000), st.data())
def test_shares_hold_the_one_that_was_seen(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    low, high = share(k, n)
    assert 0 <= low <= k / n <= high <= 1


@settings(deadline=None)
@given(st.integers(ENOUGH, 5000))
def test_ranks_hold_the_p95_with_95_percent_confidence(n: int) -> None:
    ranks = p95_ranks(n)
    assert ranks is not None
    low, high = ranks
    assert 1 <= low <= high <= n
    assert at_most(high - 1, n, 0.95) >= 0.95 - 1e-9
    assert high == 1 or at_most(high - 2, n, 0.95) < 0.95 + 1e-9
    assert 1 - at_most(low - 1, n, 0.95) >= 0.95 - 1e-9
