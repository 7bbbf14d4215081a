"""Exposure, loss and the exact point: what is judged met, missed and inconclusive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from dr.domain.model import Component, Demand, Finding, Observation, Status
from dr.domain.refs import Ref
from dr.evidence.model import Evidence, Marker
from dr.judge.findings import UnknownError, judged
from dr.judge.objectives.loss import Point, holes, judged_markers, point_of
from dr.wiring import objectives
from tests.unit.recovery import WALL, demand, evidence, marker

KNOWN = objectives()
POINT = WALL - 30
"""What the recovery point covers."""
DISASTER = WALL - 20
WRITTEN = tuple(marker(n, WALL - 60 + n) for n in range(50))
"""One marker a second from 60 to 11 seconds before WALL; 0 to 29 are certainly before the point, 32 and up after it."""


def judge(
    objective: str, present: Sequence[tuple[int, int]] | None, markers: Sequence[Marker] | None = WRITTEN, **point: Any
) -> Finding:
    seen: dict[str, Any] = {
        "recovery-point": {"kind": "time", "identifier": "x", "covers": POINT, "resolution": 1.0} | point
    }
    if present is not None:
        seen["markers"] = {"table": True, "present": [list(r) for r in present]}
    return judged(KNOWN[objective].judge, evidence(None, markers, seen, disaster=DISASTER), demand(objective))


def test_everything_before_the_point_and_nothing_after_it_is_met() -> None:
    for objective in ("loss", "exact-point"):
        assert judge(objective, [(0, 29)]).status is Status.MET, judge(objective, [(0, 29)]).because


def test_markers_near_the_point_count_as_neither() -> None:
    for last in (29, 30, 31):
        assert judge("exact-point", [(0, last)]).status is Status.MET


def test_a_missing_marker_before_the_point_is_a_loss_with_its_hole_named() -> None:
    found = judge("loss", [(0, 9), (12, 29)])
    assert (found.status, found.measured) == (Status.MISSED, 2.0)
    assert "(10 to 11)" in found.because
    assert "31.0 s lost" in found.because  # from marker 9, acknowledged at WALL - 50.99, to the disaster


def test_a_write_that_was_repeated_after_the_point_is_judged_by_its_first_attempt() -> None:
    at = {m.n: m for m in WRITTEN}
    doubtful = replace(at[28], outcome="indeterminate")
    again = replace(at[34], n=28, attempt=1)
    written = [*(m for m in WRITTEN if m.n != 28), doubtful, again]
    for present in ([(0, 29)], [(0, 27), (29, 29)]):
        for objective in ("loss", "exact-point"):
            assert judge(objective, present, written).status is Status.MET, (objective, present)


def test_a_restore_that_holds_less_than_its_second_is_missed() -> None:
    assert "less: markers 28" in judge("exact-point", [(0, 27)]).because


def test_a_restore_that_holds_more_than_its_second_is_missed() -> None:
    found = judge("exact-point", [(0, 34)])
    assert found.status is Status.MISSED
    assert "more: markers 32 to 34" in found.because


def test_loss_is_inconclusive_when_no_marker_was_acknowledged_before_the_disaster() -> None:
    later = [replace(m, due=m.due + 50 * 10**9, sent=m.sent + 50 * 10**9, done=m.done + 50 * 10**9) for m in WRITTEN]
    assert judge("loss", [(0, 49)], later).status is Status.INCONCLUSIVE


def test_loss_is_inconclusive_when_the_point_is_older_than_every_marker() -> None:
    assert judge("loss", [], covers=WALL - 90_000).status is Status.INCONCLUSIVE


@pytest.mark.parametrize("markers", [None, ()])
def test_without_markers_nothing_is_concluded(markers: tuple[Marker, ...] | None) -> None:
    for objective in ("loss", "exact-point"):
        assert judge(objective, [(0, 29)], markers).status is Status.INCONCLUSIVE


def test_without_a_look_at_the_copys_markers_nothing_is_concluded() -> None:
    assert judge("loss", None).status is Status.INCONCLUSIVE


def test_a_copy_without_the_markers_table_has_lost_them_all() -> None:
    assert judge("loss", []).measured == 30.0


def test_indeterminate_writes_count_neither_as_lost_nor_as_unexpected() -> None:
    doubtful = [replace(m, outcome="indeterminate") if m.n in (5, 6) else m for m in WRITTEN]
    assert judge("loss", [(0, 5), (7, 29)], doubtful).status is Status.MET


def test_a_marker_nobody_attempted_is_missed() -> None:
    gapped = [m for m in WRITTEN if m.n != 5]
    found = judge("loss", [(0, 29)], gapped)
    assert found.status is Status.MISSED
    assert "never attempted (5)" in found.because


def test_a_failed_write_may_be_absent_and_must_be() -> None:
    failed = [replace(m, outcome="failed") if m.n == 5 else m for m in WRITTEN]
    assert judge("loss", [(0, 4), (6, 29)], failed).status is Status.MET
    assert judge("loss", [(0, 29)], failed).status is Status.MISSED


def test_a_record_of_writes_that_ends_before_the_point_proves_nothing() -> None:
    assert judge("loss", [(0, 29)], WRITTEN[:25]).status is Status.INCONCLUSIVE
    assert judge("loss", [(0, 9)], WRITTEN[:10]).status is Status.INCONCLUSIVE


def test_a_write_whose_outcome_was_never_noted_and_is_absent_proves_nothing() -> None:
    killed = [replace(m, done=0, outcome="indeterminate") if m.n == 20 else m for m in WRITTEN]
    assert judge("loss", [(0, 19), (21, 29)], killed).status is Status.INCONCLUSIVE
    assert judge("loss", [(0, 29)], killed).status is Status.MET


def test_the_exact_point_needs_markers_on_both_sides() -> None:
    before = WRITTEN[:32]
    assert judge("exact-point", [(0, 29)], before).status is Status.INCONCLUSIVE
    after = WRITTEN[35:]
    assert judge("exact-point", [], after).status is Status.INCONCLUSIVE


def test_a_snapshot_has_no_exact_point() -> None:
    assert judge("exact-point", [(0, 29)], kind="snapshot").status is Status.INCONCLUSIVE


def test_the_databases_clock_moves_the_point() -> None:
    """With the database 10 s ahead, its second lies 10 s earlier on our clock."""
    seen = {
        "recovery-point": {"kind": "time", "identifier": "x", "covers": POINT + 10, "resolution": 1.0},
        "markers": {"table": True, "present": [[0, 29]]},
    }
    found = evidence(None, WRITTEN, seen, disaster=DISASTER)
    moved = replace(found, markers={"source": replace(found.markers["source"], offset=10.0)})
    assert judged(KNOWN["exact-point"].judge, moved, demand("exact-point")).status is Status.MET
    assert judged(KNOWN["exact-point"].judge, found, demand("exact-point")).status is Status.MISSED


def test_an_unsure_clock_makes_markers_count_as_neither() -> None:
    seen = {
        "recovery-point": {"kind": "time", "identifier": "x", "covers": POINT, "resolution": 1.0},
        "markers": {"table": True, "present": [[0, 20]]},
    }
    for uncertainty, counted in ((0.001, 30), (15.0, 14)):
        found = evidence(None, WRITTEN, seen, disaster=DISASTER, uncertainty=uncertainty)
        assert f"Of {counted} markers" in judged(KNOWN["loss"].judge, found, demand("loss")).because


def test_exposure_is_the_disaster_minus_what_the_point_covers() -> None:
    found = judge("exposure", None)
    assert (found.status, found.measured) == (Status.MET, 10.0)
    assert found.interval == pytest.approx((8.999, 11.001))
    assert judge("exposure", None, covers=WALL - 3600).status is Status.MISSED
    assert judge("exposure", None, covers=DISASTER - 600.5).status is Status.INCONCLUSIVE


def test_exposure_says_when_the_databases_clock_was_not_read() -> None:
    assert "was not measured" in judge("exposure", None, None).because


@pytest.mark.parametrize("objective", ["exposure", "loss", "exact-point"])
def test_an_unknown_recovery_point_is_inconclusive(objective: str) -> None:
    assert judge(objective, [(0, 29)], covers=None).status is Status.INCONCLUSIVE
    assert judged(KNOWN[objective].judge, evidence(None, WRITTEN), demand(objective)).status is Status.INCONCLUSIVE


SHORT = {"replayed_to": POINT - 9, "stopped_before": POINT - 5}
WITHIN = {"replayed_to": POINT - 0.1, "stopped_before": POINT + 0.1}
PAST = {"replayed_to": POINT + 4, "stopped_before": POINT + 5}


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (SHORT, "left out what was written 5.0 s before the second"),
        ({"stopped_before": POINT - 1}, "left out what was written 1.0 s before the second"),
        (PAST, "holds what was written 4.0 s after the second"),
        ({"replayed_to": POINT + 1.1}, "holds what was written 1.1 s after the second"),
        ({**WITHIN, "target": POINT + 1}, "recovered to a time 1.0 s after the second"),
        ({**WITHIN, "target": POINT - 1}, "recovered to a time 1.0 s before the second"),
    ],
)
@pytest.mark.parametrize("objective", ["exposure", "exact-point"])
@pytest.mark.parametrize("markers", [WRITTEN, None])
def test_a_copy_whose_log_proves_that_it_is_not_at_its_second_is_missed(
    objective: str, log: dict[str, float], words: str, markers: tuple[Marker, ...] | None
) -> None:
    found = judge(objective, [(0, 29)], markers, **log)
    assert found.status is Status.MISSED
    assert words in found.because


@pytest.mark.parametrize(
    "log",
    [
        {"replayed_to": POINT - 90, "stopped_before": POINT + 0.2},
        {"stopped_before": POINT + 300},
        {"stopped_before": POINT - 0.9},
        {"replayed_to": POINT - 0.5},
        {"replayed_to": POINT - 1.0},
        {"replayed_to": POINT + 1.0},
        {**WITHIN, "target": POINT},
        {**WITHIN, "target": POINT + 0.999},
    ],
)
def test_a_copy_whose_log_proves_its_second_is_met_without_markers(log: dict[str, float]) -> None:
    assert judge("exact-point", None, None, **log).status is Status.MET
    assert "By its own log" in judge("exposure", None, **log).because


@pytest.mark.parametrize("log", [{"replay_note": "The credentials may not do this."}, {"replayed_to": POINT - 90}, {}])
def test_where_the_log_does_not_tell_exposure_says_so_and_the_exact_point_is_inconclusive(log: dict[str, Any]) -> None:
    assert judge("exact-point", None, None, **log).status is Status.INCONCLUSIVE
    found = judge("exposure", None, **log)
    assert found.status is Status.MET
    assert ("rests on the second that was asked for" if "replayed_to" not in log else "does not tell") in found.because
    assert log.get("replay_note", "")[:-1] in found.because


def test_a_log_that_tells_nothing_against_it_leaves_the_judgement_to_the_markers() -> None:
    exact = {"replayed_to": POINT - 0.2, "stopped_before": POINT + 0.2}
    assert judge("exact-point", [(0, 27)], **exact).status is Status.MISSED
    assert judge("exact-point", [(0, 29)], WRITTEN[:32], **exact).status is Status.INCONCLUSIVE


def test_a_snapshot_is_not_held_to_a_second() -> None:
    assert judge("exposure", None, kind="snapshot", **SHORT).status is Status.MET


def test_holes_are_ranges_and_not_endless() -> None:
    assert holes([1, 2, 3, 7]) == "1 to 3, 7"
    assert holes(range(0, 20, 2)) == "0, 2, 4, 6, 8 and 5 more ranges"


def test_some_loss_may_be_tolerated() -> None:
    asked = Demand("loss", "restored", 5.0, "markers")
    seen = {
        "recovery-point": {"kind": "time", "identifier": "x", "covers": POINT, "resolution": 1.0},
        "markers": {"table": True, "present": [[0, 9], [12, 29]]},
    }
    assert judged(KNOWN["loss"].judge, evidence(None, WRITTEN, seen, disaster=DISASTER), asked).status is Status.MET


def test_a_gap_in_the_record_of_writes_proves_nothing() -> None:
    assert judge("loss", [(0, 11), (13, 29)], [m for m in WRITTEN if m.n != 12]).status is Status.INCONCLUSIVE


def test_a_recovery_point_after_the_disaster_may_hold_the_damage() -> None:
    found = judge("exposure", [(0, 29)], covers=DISASTER + 5.0)
    assert found.status is Status.INCONCLUSIVE
    assert "after the disaster" in found.because
    assert "lies 5.0 s after" in found.because


def test_a_point_closer_to_the_disaster_than_the_clocks_can_tell_lies_before_it() -> None:
    found = judge("exposure", None, covers=DISASTER + 0.5)
    assert (found.status, found.measured) == (Status.MET, 0.0)
    assert found.interval == pytest.approx((0.0, 0.501))
    assert "all but the last 0.0 s" in found.because
    assert judge("exposure", None, covers=DISASTER - 0.5).status is Status.MET
    surely = judge("exposure", None, covers=DISASTER - 0.5, resolution=0.25)
    assert surely.interval == pytest.approx((0.249, 0.751))
    for resolution, status in ((1.0, Status.MET), (0.99, Status.INCONCLUSIVE)):
        point = {"kind": "time", "covers": DISASTER + 1.0, "resolution": resolution}
        exact = evidence(None, WRITTEN, {"recovery-point": point}, disaster=DISASTER, uncertainty=0.0)
        assert judged(KNOWN["exposure"].judge, exact, demand("exposure")).status is status


@pytest.mark.parametrize(("since", "status"), [(DISASTER, Status.INCONCLUSIVE), (None, Status.MET)])
def test_a_time_that_was_given_is_the_damages_and_the_commands_own_start_is_not(
    since: float | None, status: Status
) -> None:
    started = WALL - 30 if since is None else since
    point = {"kind": "snapshot", "covers": started + 5.0, "resolution": 1.0}
    seen = evidence(None, None, {"recovery-point": point}, disaster=None, since=since)
    assert judged(KNOWN["exposure"].judge, seen, demand("exposure")).status is status


def test_without_any_clock_the_point_is_taken_as_it_is_told() -> None:
    found = judge("exposure", None, None)
    assert (found.measured, found.interval) == (10.0, (9.0, 11.0))


@pytest.mark.parametrize("objective", ["exposure", "loss"])
def test_without_a_limit_nothing_is_concluded(objective: str) -> None:
    seen = {
        "recovery-point": {"kind": "time", "covers": POINT, "resolution": 1.0},
        "markers": {"table": True, "present": [[0, 29]]},
    }
    asked = replace(demand(objective), limit=None)
    found = judged(KNOWN[objective].judge, evidence(None, WRITTEN, seen, disaster=DISASTER), asked)
    assert (found.status, "limit" in found.because) == (Status.INCONCLUSIVE, True)


def test_why_markers_cannot_be_judged_is_told() -> None:
    assert judge("loss", [(0, 29)], None).because == "No markers were written."
    assert judge("loss", None).because == "Which markers the copy holds was not observed."


def test_what_was_counted_is_told_unless_nothing_was_there_to_count() -> None:
    assert judge("loss", [(0, 29)]).measured == 0.0
    assert judge("loss", [(0, 29)], WRITTEN[:25]).measured == 0.0, "in doubt, but counted"
    assert judge("loss", [], covers=WALL - 90_000).measured is None
    assert judge("exact-point", [(0, 29)]).measured == 0.0
    assert judge("exact-point", [(0, 28), (30, 34)]).measured == 4.0


def test_a_copy_that_holds_more_and_less_is_told_of_both_and_else_of_one() -> None:
    less, more = "less: markers 29 are missing", "more: markers 32 to 34 were written after it"
    assert judge("exact-point", [(0, 28)]).because == f"The copy holds {less}."
    assert judge("exact-point", [(0, 34)]).because == f"The copy holds {more}."
    assert judge("exact-point", [(0, 28), (30, 34)]).because == f"The copy holds {less} and {more}."


@pytest.mark.parametrize("outcome", ["failed", "indeterminate"])
def test_the_exact_point_needs_a_marker_that_was_acknowledged_after_it(outcome: str) -> None:
    unsure = [replace(m, outcome=outcome) if m.n >= 30 else m for m in WRITTEN]
    found = judge("exact-point", [(0, 29)], unsure)
    assert (found.status, "for certain after" in found.because) == (Status.INCONCLUSIVE, True)


def test_a_failed_write_is_missed_wherever_in_a_range_its_row_is() -> None:
    for n in (0, 10, 28, 29, 49):
        failed = [replace(m, outcome="failed") if m.n == n else m for m in WRITTEN]
        present = [(0, 29)] if n < 49 else [(0, 29), (49, 49)]
        found = judge("loss", present, failed)
        assert (found.status, f"never attempted ({n})" in found.because) == (Status.MISSED, True)
        assert "markers acknowledged before the recovery point" in found.because


def test_a_copy_that_holds_the_newest_write_is_within_the_record_and_one_that_holds_more_is_not() -> None:
    for last, status in ((49, Status.MET), (50, Status.INCONCLUSIVE)):
        assert judge("loss", [(0, last)]).status is status


def test_what_happened_at_the_very_edge_of_the_point_is_counted_once() -> None:
    """With clocks that agree, the point's second reaches from 31 to 29 seconds before WALL."""

    def sure(objective: str, present: list[list[int]], *written: Marker) -> Finding:
        seen = {
            "recovery-point": {"kind": "time", "covers": POINT, "resolution": 1.0},
            "markers": {"table": True, "present": present},
        }
        found = evidence(None, written, seen, disaster=DISASTER, uncertainty=0.0)
        return judged(KNOWN[objective].judge, found, demand(objective))

    first, done_then = marker(0, WALL - 40), marker(1, WALL - 31.5, 0.5)
    sent_then, last = marker(2, WALL - 29), marker(3, WALL - 28)
    assert sure("loss", [[0, 0]], first, done_then, sent_then, last).measured == 1.0, "done as it began: before"
    assert sure("exact-point", [[0, 2]], first, done_then, sent_then, last).status is Status.MET, "sent as it ended"
    assert sure("loss", [[0, 1]], first, done_then, sent_then).status is Status.INCONCLUSIVE, "its record ends there"
    unnoted = replace(sent_then, done=0, outcome="indeterminate")
    assert sure("loss", [[0, 1]], first, done_then, unnoted, last).status is Status.INCONCLUSIVE
    nobody = replace(marker(0, WALL - 40), outcome="indeterminate")
    late = marker(1, DISASTER - 0.5, 0.5)
    assert "acknowledged before the disaster" in sure("loss", [[0, 1]], nobody, late, marker(2, WALL)).because


def test_seconds_lost_may_be_less_than_one() -> None:
    written = [marker(n, DISASTER - 5 + n / 10) for n in range(100)]
    found = judge("loss", [(0, 44)], written, covers=DISASTER, resolution=0.25)
    assert (found.status, "(45 to 49): 0.6 s lost" in found.because) == (Status.MISSED, True), found.because


def test_a_point_without_a_resolution_is_exact() -> None:
    found = judge("exposure", None, None, resolution=None)
    assert found.interval == (10.0, 10.0)
    assert judge("exact-point", None, None, resolution=None, replayed_to=POINT + 0.5).status is Status.MISSED
    on_it = judge("exact-point", None, None, resolution=None, replayed_to=POINT)
    assert (on_it.status, "0.0 s before the second" in on_it.because) == (Status.MET, True)


def test_why_the_log_was_not_read_is_told() -> None:
    told = judge("exposure", None, replay_note="The credentials may not do this.").because
    assert told.endswith("how far the copy was replayed is not known (The credentials may not do this).")
    assert judge("exposure", None).because.endswith("is not known (its log was not read).")


def test_a_canary_row_just_before_the_point_is_missed_whatever_its_distance() -> None:
    """RDS restores to whole seconds, and a marker that was acknowledged by then is in it, as what stood in a cluster
    is in a backup that began then; of a snapshot's second, and by a clock that is not known to the second, no such
    thing is known."""
    assert judge("loss", [(0, 28)]).status is Status.MISSED
    assert judge("loss", [(0, 28)], kind="backup").status is Status.MISSED
    assert judge("loss", [(0, 28)], kind="snapshot").status is Status.MET


def test_a_canary_row_that_stands_twice_is_missed() -> None:
    seen = {
        "recovery-point": {"kind": "time", "identifier": "x", "covers": POINT, "resolution": 1.0},
        "markers": {"table": True, "present": [[0, 29]], "twice": [7, 8]},
    }
    found = evidence(None, WRITTEN, seen, disaster=DISASTER)
    for objective in ("loss", "exact-point"):
        told = judged(KNOWN[objective].judge, found, demand(objective))
        assert told.status is Status.MISSED
        assert "markers 7 to 8" in told.because


def test_a_gap_or_a_writer_asleep_just_before_the_point_is_inconclusive() -> None:
    gap = [m for m in WRITTEN if m.n < 27] + [replace(m, outcome="failed") for m in WRITTEN if m.n >= 27]
    found = judge("loss", [(0, 26)], gap)
    assert found.status is Status.INCONCLUSIVE
    assert "No marker was acknowledged in the last 4.0 s before the recovery point" in found.because
    asleep = [replace(m, late=700_000_000) if m.n == 29 else m for m in WRITTEN]
    found = judge("loss", [(0, 29)], asleep)
    assert found.status is Status.INCONCLUSIVE
    assert "The marker writer was 0.7 s late just before the recovery point." in found.because
    assert judge("loss", [(0, 20)], asleep).status is Status.MISSED


@pytest.mark.parametrize(
    ("held", "status"), [("40:40:", Status.MISSED), ("50:50:", Status.MET), ("60:60:", Status.MET)]
)
def test_a_copy_of_an_older_state_than_a_look_before_its_point_is_missed(held: str, status: Status) -> None:
    point = {"kind": "snapshot", "identifier": "x", "covers": POINT, "resolution": 1.0}
    looks = {"look": {"cuts": {"point": held}}, "recovery-point": point}
    found = evidence(None, None, looks, disaster=DISASTER)
    before = Observation("baseline", "source", {"look": {"at": POINT - 60, "snapshot": "50:50:"}})
    told = judged(
        KNOWN["exposure"].judge,
        replace(found, observations=(*found.observations, before)),
        replace(demand("exposure"), limit=600.0),
    )
    assert told.status is status, told.because
    assert ("lacks the last 10 transactions" in told.because) is (status is Status.MISSED)


def recovered(written: Sequence[Marker] | None = None, uncertainty: float = 0.0, **observed: Any) -> Evidence:
    """``observed``: by what, with _ for -, on the copy; what is of the source has ``source_`` before it."""
    found = evidence(None, written, None, disaster=DISASTER, uncertainty=uncertainty)
    told = {"recovery_point": {"kind": "time", "covers": POINT, "resolution": 1.0}} | observed
    seen = tuple(
        Observation(
            what.removeprefix("source_").replace("_", "-"), "source" if "source_" in what else "restored", value
        )
        for what, value in told.items()
    )
    return replace(found, observations=seen)


UNREAD = " The offset of the database's clock was not measured."


def test_a_points_place_is_known_by_the_clock_of_the_markers_or_by_one_that_was_read() -> None:
    clock = {"offset": 10.0, "uncertainty": 0.25}
    assert point_of(recovered(), "restored") == Point(POINT, 1.0, UNREAD, POINT - 1.0)
    assert point_of(recovered(source_clock=clock), "restored") == Point(POINT - 10, 1.25, "", POINT - 10.25)
    unsure = point_of(recovered(source_clock={**clock, "uncertainty": 1.0}), "restored")
    assert unsure == Point(POINT - 10, 2.0, "", POINT - 12.0), "no clock that is unsure by a second tells its second"
    by_markers = recovered(WRITTEN, 0.5, source_clock={**clock, "offset": 0.125})
    assert point_of(by_markers, "restored") == Point(POINT, 1.5, "", POINT - 0.5)
    apart = point_of(recovered(WRITTEN, 0.5, source_clock=clock), "restored")
    assert apart == Point(POINT, 11.5, "", POINT - 11.5), "the two clocks came apart meanwhile"
    for seen in ({"recovery_point": {"kind": "time", "covers": None}}, {"recovery_point": None}):
        with pytest.raises(UnknownError, match=r"^What the recovery point covers was not observed\.$"):
            point_of(recovered(**seen), "restored")


def test_exposure_tells_no_more_than_is_known() -> None:
    found = judged(KNOWN["exposure"].judge, recovered(WRITTEN, recovery_point=SNAPSHOT), demand("exposure"))
    point = "The recovery point covers all but the last 10.0 s before the disaster, give or take 1.0 s."
    assert found.because == point
    unread = judged(KNOWN["exposure"].judge, recovered(recovery_point=SNAPSHOT), demand("exposure"))
    assert unread.because == f"{point}{UNREAD}"
    assert judge("exposure", None, replay_note="It has no label X.").because.endswith("not known (It has no label X).")


SNAPSHOT = {"kind": "snapshot", "covers": POINT, "resolution": 1.0}
LOOK, CUT = {"at": POINT - 60, "snapshot": "50:50:"}, {"cuts": {"point": "49:49:"}}


@pytest.mark.parametrize(
    ("look", "cut", "missed"),
    [
        (LOOK, CUT, True),
        ({**LOOK, "at": POINT}, CUT, True),
        ({**LOOK, "at": POINT + 1}, CUT, False),
        (LOOK, {"cuts": {"point": "50:50:"}}, False),
        (None, CUT, False),
        (LOOK, {"cuts": {}}, False),
        (LOOK, {}, False),
    ],
)
def test_a_copy_that_lacks_one_transaction_of_a_look_not_after_its_point_is_of_an_older_state(
    look: dict[str, Any] | None, cut: dict[str, Any], missed: bool
) -> None:
    found = recovered(recovery_point=SNAPSHOT, look=cut, source_baseline={"look": look})
    told = judged(KNOWN["exposure"].judge, found, demand("exposure"))
    assert told.status is (Status.MISSED if missed else Status.MET), told.because
    if look is LOOK and missed:
        assert told.because == (
            "The copy lacks the last 1 transactions of a look at the source that was taken 60 s before the point it is "
            "of: it holds an older state."
        )


def test_a_marker_acknowledged_at_the_very_point_is_before_it_and_a_later_one_is_not_counted() -> None:
    written = [marker(0, WALL - 40), marker(1, POINT - 0.5, 0.5), marker(2, POINT - 0.25, 0.5), marker(3, WALL - 25)]
    found = judged_markers(recovered(written, markers={"table": True, "present": [[0, 0], [3, 3]]}), "restored")
    numbers = [[m.n for m in of] for of in (found.acknowledged, found.before, found.lost, found.uncounted, found.after)]
    assert numbers == [[0, 1, 2, 3], [0, 1], [1], [2], [3]]


def test_markers_that_were_all_acknowledged_after_the_disaster_tell_nothing() -> None:
    later = [marker(n, DISASTER + n) for n in range(5)]
    assert judge("loss", [(0, 4)], later).because == "No marker was acknowledged before the disaster."


def gap(*written: Marker, **observed: Any) -> str:
    found = recovered([*written, marker(9, WALL)], markers={"table": True, "present": [[0, 9]]}, **observed)
    return judged_markers(found, "restored").gap


def test_a_gap_before_the_point_is_one_of_more_than_two_seconds() -> None:
    assert gap(marker(0, POINT - 3, 1.0)) == ""
    told = "No marker was acknowledged in the last 2.1 s before the recovery point."
    assert gap(marker(0, POINT - 3, 0.875)) == told
    assert gap(marker(0, POINT - 3, 0.875), fingerprint={}) == "", "a former run is judged by the former rule"
    assert gap(marker(0, WALL - 25)) == "", "without any before it there is no gap in them"


@pytest.mark.parametrize(
    ("due", "late", "told"), [(2.0, 0.625, True), (2.125, 0.625, False), (0.0, 0.625, True), (1.0, 0.5, False)]
)
def test_a_writer_was_asleep_that_was_more_than_half_a_second_late_in_the_last_two(
    due: float, late: float, told: bool
) -> None:
    slept = replace(marker(1, POINT - due, 1 / 8), late=round(late * 1e9))
    found = gap(marker(0, POINT - 2.5, 1.0), slept)
    assert found == ("The marker writer was 0.6 s late just before the recovery point." if told else "")


def test_whole_sentences_tell_what_became_of_markers() -> None:
    assert holes(range(0, 10, 2)) == "0, 2, 4, 6, 8"
    met = judge("exact-point", [(0, 29)])
    before, after = len([m for m in WRITTEN if m.n <= 29]), len([m for m in WRITTEN if m.n >= 32])
    there = f"All {before} markers acknowledged before the point are there"
    assert met.because == f"{there}, and none of {after} written after it."
    snapshot = "A snapshot was restored, and no point in time asked for."
    assert judge("exact-point", [(0, 29)], kind="snapshot").because == snapshot
    never_after = "No marker was acknowledged for certain after the recovery point."
    assert judge(
        "exact-point", [(0, 29)], [replace(m, outcome="failed") if m.n > 29 else m for m in WRITTEN]
    ).because == (never_after)
    never_before = "No marker was acknowledged for certain before the recovery point."
    short = "The record of writes ends before the recovery point does, or before what the copy holds."
    unsettled = [replace(m, done=0, outcome="indeterminate") if m.n == 20 else m for m in WRITTEN]
    for objective in ("loss", "exact-point"):
        assert judge(objective, [], covers=WALL - 90_000).because == never_before
        assert judge(objective, [(0, 50)] if objective == "loss" else [(0, 29)], WRITTEN[:30]).because == short
        absent = judge(objective, [(0, 19), (21, 29)], unsettled).because
        assert absent == "The outcome of markers 20 was never written down."


def test_rows_that_stand_twice_are_told_beside_those_that_are_missing() -> None:
    held = {"table": True, "present": [[0, 27], [29, 29]], "twice": [7, 8]}
    found = recovered(WRITTEN, markers=held)
    lost = judged(KNOWN["loss"].judge, found, demand("loss"))
    assert lost.because == (
        "Of 30 markers acknowledged before the recovery point 1 are missing (28): 13.0 s lost; "
        "markers 7 to 8 stand there more than once."
    )
    point = judged(KNOWN["exact-point"].judge, found, demand("exact-point"))
    assert (point.because, point.measured) == (
        "The copy holds less: markers 28 are missing and some twice: markers 7 to 8.",
        3.0,
    )


def test_seconds_lost_begin_with_what_was_acknowledged_before_the_first_lost_marker_was_sent() -> None:
    written = [marker(n, DISASTER - 20 + 4 * n, 4.0 if n == 1 else 0.25) for n in range(8)]
    held = {"table": True, "present": [[0, 1]]}
    found = recovered(
        written, recovery_point={"kind": "time", "covers": DISASTER - 10, "resolution": 1.0}, markers=held
    )
    told = judged(KNOWN["loss"].judge, found, demand("loss")).because
    assert "(2): 19.8 s lost" in told, "the first was acknowledged at -19.75 s, the second as the third was sent"


# -- several restorations in one run: each has a recovery point of its own

DATABASE, NAMESPACE = (Component(role, Ref("p", role, role)) for role in ("database", "namespace"))
OLD = POINT - 400_000
HOURS = 10_000.0


def beside(objective: str, *, database: float, namespace: float, last: str, present: int = 29) -> Finding:
    """Two restorations, and the points that they cover; ``last``: which was restored last. The database alone is asked
    for its markers, and holds those up to number ``present``."""
    kept = {"table": True, "present": [[0, present]]}
    found = evidence(None, WRITTEN, {"markers": kept}, disaster=DISASTER)
    points = {
        "restore": Observation("recovery-point", "restored", _covering(database), WALL, "restore"),
        "other": Observation("recovery-point", "restored", _covering(namespace), WALL, "other"),
    }
    ordered = sorted(points, key=lambda call: call == last)
    seen = (*(replace(one, call="examine") for one in found.observations), *(points[call] for call in ordered))
    told = {"restore": (DATABASE,), "examine": (DATABASE,)}
    entries = [replace(one, components=told.get(one.call, ())) for one in found.entries]
    entries.append(replace(entries[0], call="other", milestones={}, components=(NAMESPACE,)))
    asked = replace(demand(objective), limit=HOURS if objective == "exposure" else demand(objective).limit)
    return judged(KNOWN[objective].judge, replace(found, observations=seen, entries=tuple(entries)), asked)


def _covering(at: float) -> dict[str, Any]:
    return {"kind": "time", "identifier": "x", "covers": at, "resolution": 1.0}


@pytest.mark.parametrize("last", ["restore", "other"])
def test_the_worst_of_several_exposures_counts_whichever_was_restored_last(last: str) -> None:
    both = beside("exposure", database=POINT, namespace=POINT - 60, last=last)
    assert (both.status, both.measured) == (Status.MET, 70.0)
    old = beside("exposure", database=POINT, namespace=OLD, last=last)
    assert (old.status, old.because.split(":")[0]) == (Status.MISSED, "namespace")
    other = beside("exposure", database=OLD, namespace=POINT, last=last)
    assert (other.status, other.because.split(":")[0]) == (Status.MISSED, "database")


@pytest.mark.parametrize("last", ["restore", "other"])
@pytest.mark.parametrize("objective", ["loss", "exact-point"])
def test_markers_are_judged_by_the_point_of_whatever_holds_them(objective: str, last: str) -> None:
    for namespace in (OLD, POINT - 10, POINT + 10):
        whole = beside(objective, database=POINT, namespace=namespace, last=last)
        assert whole.status is Status.MET, whole.because
        lacks = beside(objective, database=POINT, namespace=namespace, last=last, present=20)
        assert lacks.status is Status.MISSED, lacks.because
