"""What the time went into: from when to when each phase of a restore lasted, and of a failover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from dr.domain.model import Call, Demand, Effect, Observation, Phase
from dr.evidence.model import Evidence, Sample
from dr.judge.phases import of_failover, of_restore
from tests.unit.eighths import path, probe, refused
from tests.unit.outages import DISASTER, evidence, markers
from tests.unit.recovery import WALL, entry
from tests.unit.recovery import evidence as recovery

STARTED = WALL - 30


def phases(
    *told: tuple[str, str, float, Mapping[str, Any]], since: float | None = None
) -> list[tuple[str, float, float]]:
    """Each with its beginning in seconds after the run's, and how long it took. ``told``: kind, call, seconds, data."""
    bare = recovery(disaster=None, since=None if since is None else STARTED + since)
    entries = tuple(entry(n, kind, call, STARTED + at, data) for n, (kind, call, at, data) in enumerate(told))
    found: tuple[Phase, ...] = of_restore(Evidence(bare.record, entries))
    return [(one.name, one.started - STARTED, one.seconds) for one in found]


def call(name: str, begin: float, end: float, **data: Any) -> list[tuple[str, str, float, Mapping[str, Any]]]:
    return [("intent", name, begin, {}), ("effect", name, end, data)]


def test_a_restore_was_detected_before_the_run_and_decided_until_its_first_intent() -> None:
    steps = [*call("vanish", 0.5, 0.75), *call("restore", 2.0, 8.0), *call("examine", 8.5, 9.0)]
    assert phases(*steps, since=-4.0) == [
        ("detect", -4.0, 4.0),
        ("decide", 0.0, 2.0),
        ("restore", 2.0, 6.0),
        ("verify", 8.5, 0.5),
    ]
    assert phases(*steps, since=1.0)[0] == ("decide", 1.0, 1.0), "a disaster after the start was not to be detected"
    assert phases(*steps, since=0.0)[0] == ("decide", 0.0, 2.0)


def test_a_restore_that_was_begun_at_once_was_decided_in_no_time() -> None:
    assert phases(*call("restore", 0.0, 8.0)) == [("decide", 0.0, 0.0), ("restore", 0.0, 8.0)]
    assert phases(*call("restore", 1.0, 8.0), since=2.0) == [("restore", 1.0, 7.0)], "before the disaster that it names"


def test_without_a_restore_nothing_was_decided() -> None:
    assert phases(*call("vanish", 0.5, 0.75), *call("examine", 8.5, 9.0)) == []
    assert phases(("effect", "restore", 2.0, {}), ("intent", "examine", 3.0, {})) == []


@pytest.mark.parametrize(
    ("replay", "told"),
    [
        (2.0, [("restore", 1.0, 5.0), ("replay", 6.0, 2.0)]),
        (0.0, [("restore", 1.0, 7.0)]),
        (0.5, [("restore", 1.0, 6.5), ("replay", 7.5, 0.5)]),
        (9.0, [("restore", 1.0, 0.0), ("replay", 1.0, 7.0)]),
    ],
)
def test_replay_is_told_apart_from_the_restore_that_it_ended(
    replay: float, told: list[tuple[str, float, float]]
) -> None:
    assert phases(*call("restore", 1.0, 8.0, replay_seconds=replay))[1:] == told


def test_neighbours_of_one_name_are_one_phase_from_the_first_intent_to_the_last_effect() -> None:
    steps = [*call("restore", 1.0, 2.0), *call("examine", 3.0, 4.0), *call("settle", 6.0, 8.0)]
    assert phases(*steps)[1:] == [("restore", 1.0, 1.0), ("verify", 3.0, 5.0)]
    apart = [*call("examine", 3.0, 4.0), *call("configure", 4.0, 5.0), *call("settle", 6.0, 8.0)]
    told = [("restore", 1.0, 1.0), ("verify", 3.0, 1.0), ("reconfigure", 4.0, 1.0), ("verify", 6.0, 2.0)]
    assert phases(*call("restore", 1.0, 2.0), *apart)[1:] == told


def test_a_call_that_was_tried_again_is_timed_from_its_first_intent() -> None:
    again = [("intent", "restore", 1.0, {}), ("failed", "restore", 3.0, {}), *call("restore", 4.0, 8.0)]
    assert phases(*again) == [("decide", 0.0, 1.0), ("restore", 1.0, 7.0)]
    unplanned = [*call("restore", 1.0, 2.0), *call("other", 3.0, 4.0), ("effect", "serve", 5.0, {})]
    assert phases(*unplanned)[1:] == [("restore", 1.0, 1.0)], "what has no phase, or no intent, is none"


def test_the_clock_of_a_call_never_goes_back() -> None:
    assert phases(*call("restore", 2.0, 1.0))[1:] == [("restore", 2.0, 0.0)]


# -- a failover


def failed_over(
    *told: Sample, promoted: float | None = 2.0, calls: tuple[Call, ...] = (), demands: tuple[Demand, ...] = ()
) -> Evidence:
    """Promoted two seconds after the disaster, if at all. An answer may take 50 ms."""
    asked = demands or (Demand("outage", "source", 120.0, "s"), Demand("latency", "source", 0.05, "s"))
    found = path(*told)
    plan = replace(found.record.plan, calls=(*found.record.plan.calls, *calls), demands=asked)
    seen = () if promoted is None else (Observation("failover", "source", {"promoted_at": DISASTER + promoted}),)
    return replace(found, record=replace(found.record, plan=plan), observations=seen)


def timed(found: Evidence) -> list[tuple[str, float]]:
    return [(one.name, one.seconds) for one in of_failover(found)]


OUT = [refused(n / 8) for n in range(1, 8)]
BACK = [("detection", 2.0), ("promotion", 0.0), ("reconnection", 0.0), ("back-in-slo", 0.0)]


@pytest.mark.parametrize(
    "call",
    [
        Call("promote", "p", "failover", "rds", "promote", effect=Effect.TAKES_OVER),
        Call("lose", "l", "disaster", "faults", "lose", effect=Effect.FAULT, promises=("failed-over",)),
    ],
    ids=lambda call: str(call.id),
)
def test_what_was_to_fail_over_and_was_not_seen_to_is_no_restart_in_place(call: Call) -> None:
    assert [name for name, _ in timed(failed_over(*OUT, promoted=None))] == ["restart", "back-in-slo"]
    assert timed(failed_over(*OUT, promoted=None, calls=(call,))) == []


def test_a_path_that_was_never_out_is_back_with_the_promotion() -> None:
    assert timed(failed_over()) == BACK


def test_only_the_paths_whose_outage_is_demanded_have_to_be_back() -> None:
    asked = (Demand("outage", "source", 120.0, "s"), Demand("latency", "elsewhere", 0.05, "s"))
    assert timed(failed_over(*OUT, demands=asked)) == BACK[:3]
    assert timed(failed_over(*OUT, demands=asked[1:])) == BACK[:2]


def test_a_path_is_in_its_slo_from_the_first_of_three_good_windows_that_ends_after_it_was_back() -> None:
    slow = probe(4.5, took=1 / 8)
    assert timed(failed_over(*OUT, slow)) == [*BACK[:3], ("back-in-slo", 3.0)]
    assert timed(failed_over(*OUT, slow, promoted=1.875))[3] == ("back-in-slo", 0.0)
    assert timed(failed_over(*OUT, slow, probe(7.5, took=1 / 8))) == BACK[:3], "it was not measured for long enough"


def test_writes_have_no_latency_to_be_held_to() -> None:
    found = failed_over(*OUT)
    written = evidence(written={"source": markers(found.samples["source"], "source")})
    written = replace(written, record=found.record, observations=found.observations)
    assert timed(written) == BACK[:3]
