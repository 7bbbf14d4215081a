"""A moment's look at the source: what it proves, and what it does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dr.app import steady
from dr.app.session import Session
from dr.domain.errors import RefusedError
from dr.domain.model import Observation, Plan, Purpose, Request, RunIdentity
from dr.evidence.samples import header, sample_line
from dr.judge.windows import Look, Slo, look
from tests.integration.meters import context
from tests.unit.drivers.rds.support import NOW, VirtualClock
from tests.unit.recovery import TIMEOUT, samples

BAD = {"status": 0, "error": "refused"}


@pytest.mark.parametrize(
    ("every", "change", "in_slo", "broken"),
    [
        (100, {}, True, False),
        (100, BAD, True, False),
        (50, BAD, False, False),
        (10, BAD, False, True),
        (2, {"seconds": 1.5}, False, True),
        (12, {"seconds": 1.5}, False, False),
        (1, {"seconds": 1.5, "late": 1.4}, False, False),
        (10, {**BAD, "late": 0.2}, False, False),
        (1, {"seconds": 1.5, "late": 0.09}, False, True),
        (1, {"seconds": 1.05, "late": 0.09}, False, False),
        (1, {"seconds": 1.0}, True, False),
        (10, {**BAD, "late": 0.1}, False, True),
    ],
)
def test_a_look_is_out_of_the_objectives_by_what_was_seen_and_broken_by_what_is_proven(
    every: int, change: Mapping[str, Any], in_slo: bool, broken: bool
) -> None:
    """One probe of so many is changed, of a hundred against 1 s and 1%."""
    seen = look(samples(100, change=lambda n: change if n % every == 0 else {}).samples, TIMEOUT, Slo(1.0, 0.01))
    assert (seen.in_slo, seen.broken) == (in_slo, broken), seen
    assert seen.probes == 100


@pytest.mark.parametrize(
    ("bad_for", "halted", "in_slo", "looks"),
    [(0, "", True, 1), (3, "", True, 4), (99, "", False, 10), (99, "x", False, 1)],
)
def test_a_busy_moment_is_no_state_and_what_lasts_is_one(
    monkeypatch: pytest.MonkeyPatch, bad_for: int, halted: str, in_slo: bool, looks: int
) -> None:
    """So many looks, of two seconds each, see a source that is far too slow."""
    clock, seen = VirtualClock(), list[Observation]()

    def observed(_session: Session, _path: str) -> Look:
        bad = (clock.now().at - NOW) / steady.SECONDS < bad_for
        clock.sleep(steady.SECONDS)
        return Look(1.5 if bad else 0.1, 0, 100, not bad, bad)

    monkeypatch.setattr(steady, "_observed", observed)
    directory = SimpleNamespace(observe=lambda found, _: seen.extend(found), halted=lambda: halted)
    session: Any = SimpleNamespace(context=SimpleNamespace(clock=clock), directory=directory)
    assert steady.in_slo(session) is in_slo
    assert [(one.value["in_slo"], one.value["looks"]) for one in seen] == [(in_slo, looks)]


@pytest.mark.parametrize(("ago", "probes"), [(0.1, 100), (60.0, 0)])
def test_a_source_that_is_probed_already_is_not_probed_twice(ago: float, probes: int, tmp_path: Path) -> None:
    """``ago``: seconds since the drill's own prober wrote its newest line."""
    clock, period = VirtualClock(), 0.02
    start = clock.now()
    due = [round(start.mono_ns - (ago + n * period) * 1e9) for n in range(1000)][::-1]
    lines = [sample_line(n, at, at, at + 10_000_000, 200, "", 0) for n, at in enumerate(due)]
    (tmp_path / "samples-source.jsonl").write_bytes(b"".join([header("source", 50, 2.0, start), *lines]))
    session: Any = SimpleNamespace(
        context=SimpleNamespace(clock=clock), directory=SimpleNamespace(path=tmp_path, halted=lambda: "")
    )
    seen = steady._measured(session, "source", 2.0)
    assert abs(len(seen) - probes) <= 5 if probes else seen == []
    assert all(one.due / 1e9 < (clock.now().mono_ns / 1e9) - 2.0 for one in seen), "no outcome is still open"


def test_what_is_not_demanded_is_not_broken() -> None:
    slow = samples(100, change=lambda _: {"seconds": 1.5}).samples
    failing = samples(100, change=lambda _: BAD).samples
    for probes, slo in ((slow, Slo(None, 0.01)), (failing, Slo(3.0, None))):
        seen = look(probes, TIMEOUT, slo)
        assert (seen.in_slo, seen.broken) == (True, False)


@pytest.mark.parametrize("status", [401, 403])
def test_a_service_that_refuses_the_token_has_no_steady_state(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = Plan(Request("lab", (), Purpose.DRILL), RunIdentity("r1", "lab", Purpose.DRILL, ""), (), ())
    session = Session(context(tmp_path, token="env:TOKEN"), planned, {}, lambda _call, _note: None)

    def probes(every: int) -> None:
        refused = {"status": status, "error": "status"}
        seen = samples(100, change=lambda n: refused if n % every == 0 else {}).samples
        monkeypatch.setattr(steady, "_burst", lambda *_: seen)

    probes(every=1)
    with pytest.raises(RefusedError, match=rf"refuses the token .* env:TOKEN \(status {status}\)"):
        steady.in_slo(session)
    assert not (tmp_path / "observations.jsonl").exists(), "nothing is observed of it"
    (noted,) = session.engine.ledger.entries()
    assert "env:TOKEN" in noted.data["unlooked"]
    probes(every=2)
    monkeypatch.setattr(steady, "PATIENCE", 0.0)
    assert not steady.in_slo(session), "one that answers some takes the token, and is ill"


def test_a_way_that_the_service_does_not_have_is_refused_by_name(tmp_path: Path) -> None:
    planned = Plan(Request("lab", (), Purpose.DRILL), RunIdentity("r1", "lab", Purpose.DRILL, ""), (), ())
    session = Session(context(tmp_path), planned, {}, lambda _call, _note: None)
    with pytest.raises(RefusedError, match="has no way 'cluster'"):
        steady.in_slo(session, "cluster")
