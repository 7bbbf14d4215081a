"""Writes after a failover: lost, survived, unexpected, written twice, or taken by another server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from dr.domain.model import Call, Demand, Effect, Finding, Observation, Purpose, Status
from dr.evidence.model import Entry, Evidence, Marker
from dr.judge.findings import judged
from dr.judge.objectives.survival import survived
from dr.wiring import objectives
from tests.unit.outages import DISASTER, WRITES, Takeover, Written, dice, ranges, run_of, stamp, written

KNOWN = objectives()
SYNC, ASYNC = Takeover(), Takeover(lag=0.5)


def make(script: Takeover = SYNC) -> Written:
    return written(script, dice(3))


def judge(objective: str, found: Evidence, limit: float | None = None) -> Finding:
    asked = next(d for d in WRITES if d.objective == objective)
    return judged(KNOWN[objective].judge, found, asked if limit is None else replace(asked, limit=limit))


def seen(of: Written, **changed: object) -> tuple[Observation, ...]:
    """What is observed of ``of``, with the values of ``changed`` (by name, - as _) instead; None: not observed."""
    named = {key.replace("_", "-"): value for key, value in changed.items()}
    kept = [o for o in of.observed() if named.get(o.what, 0) is not None]
    return tuple(replace(o, value=named.get(o.what, o.value)) for o in kept)


def changed(of: Written, change: object) -> Written:
    made = tuple(change(m) for m in of.markers.markers)  # type: ignore[operator]
    return replace(of, markers=replace(of.markers, markers=made))


def test_nothing_acknowledged_is_lost_with_a_synchronous_standby() -> None:
    for objective in ("acknowledged", "loss-seconds", "split-brain"):
        found = judge(objective, run_of(make()))
        assert found.status is Status.MET, found.because


def test_one_acknowledged_write_that_is_gone_is_missed_whatever_the_objective_for_loss() -> None:
    of = make()
    found = judge("acknowledged", run_of(replace(of, rows=of.rows - {(100, 0)})))
    assert (found.status, found.measured) == (Status.MISSED, 1.0)
    assert "1 are gone (100)" in found.because


def test_an_asynchronous_loss_is_counted_in_writes_and_seconds_beside_the_lag() -> None:
    of = make(ASYNC)
    lag = Observation("lag", "replica-1", {"seconds": 0.48, "replica": "replica-1"}, DISASTER - 1)
    found = judge("loss-seconds", run_of(of, (lag, *of.observed())))
    assert found.status is Status.MET
    assert found.measured == pytest.approx(0.52, abs=0.03)
    assert found.interval is not None
    assert found.interval[0] <= 0.5 <= found.interval[1]
    assert f"{len(of.lost)} are gone" in found.because
    assert "lag of replica-1 seen before the disaster was 0.48 s" in found.because
    other = Observation("lag", "replica-2", {"seconds": 2.0, "replica": "replica-2"}, DISASTER - 1)
    whole = run_of(of, (lag, other, *of.observed()))
    promoted = Entry(99, stamp(1.0), "effect", "promote", {}, "", "", {"promoted": DISASTER + 1.0})
    choice = Observation("replica-choice", "source", {"chosen": "replica-1"}, DISASTER + 0.5)
    seen = replace(whole, entries=(*whole.entries, promoted), observations=(*whole.observations, choice))
    told = judge("loss-seconds", seen).because
    assert "lag of replica-1 seen before the disaster was 0.48 s" in told, "the lag of the one that took over"
    assert judge("loss-seconds", run_of(of)).because.endswith(" s lost. No lag was seen before the disaster.")
    merely_chosen = replace(whole, observations=(*whole.observations, choice))
    told = judge("loss-seconds", merely_chosen).because
    assert "lag of replica-2 seen before the disaster was 2.00 s" in told, "which was never promoted"


@pytest.mark.parametrize(("limit", "status"), [(0.4, Status.MISSED), (0.51, Status.INCONCLUSIVE), (1.0, Status.MET)])
def test_seconds_lost_are_held_against_their_limit_as_an_interval(limit: float, status: Status) -> None:
    assert judge("loss-seconds", run_of(make(ASYNC)), limit).status is status


def test_losses_after_the_disaster_lengthen_what_was_lost() -> None:
    found = judge("loss-seconds", run_of(make(Takeover(lag=0.5, astray=(2.0, 2.5)))))
    assert found.measured == pytest.approx(3.0, abs=0.05)


def test_indeterminate_writes_may_be_there_or_not() -> None:
    of = changed(make(), lambda m: replace(m, outcome="indeterminate") if m.n in (40, 41) else m)
    found = judge("acknowledged", run_of(replace(of, rows=of.rows - {(40, 0)})))
    assert found.status is Status.MET
    assert "1 whose outcome was not known are there" in found.because


@pytest.mark.parametrize("outcome", ["failed", None])
def test_a_row_of_a_write_that_failed_or_was_never_attempted_is_missed(outcome: str | None) -> None:
    of = make()
    if outcome is None:
        of = replace(of, rows=of.rows | {(70, 1)})
    else:
        of = changed(of, lambda m: replace(m, outcome=outcome) if m.n == 70 else m)
    found = judge("acknowledged", run_of(of))
    assert found.status is Status.MISSED
    assert re.match(
        r"Of \d+ acknowledged writes 0 are gone; rows are there that were never written, or failed for certain \(\w",
        found.because,
    )
    assert judge("loss-seconds", run_of(of)).status is Status.MISSED


def test_a_write_that_its_repetition_wrote_twice_is_told_and_nothing_lost() -> None:
    of = make()
    twice = changed(of, lambda m: replace(m, outcome="indeterminate") if m.n == 60 else m)
    again = Marker(60, *(3 * (twice.markers.markers[60].done + 1,)), "acknowledged", 1)
    of = replace(
        twice,
        markers=replace(twice.markers, markers=(*twice.markers.markers, again)),
        rows=twice.rows | {(60, 1)},
    )
    found = judge("acknowledged", run_of(of))
    assert found.status is Status.MET
    assert "1 were written twice by their repetition (60)" in found.because


def test_a_repetition_that_was_acknowledged_and_is_gone_is_lost() -> None:
    of = make(replace(SYNC, before=3.001))
    again = next(m for m in of.markers.markers if m.attempt == 1)
    found = judge("acknowledged", run_of(replace(of, rows=of.rows - {(again.n, 1)})))
    assert found.status is Status.MISSED
    assert f"the repetition of {again.n}" in found.because


def test_writes_acknowledged_after_the_rows_were_read_prove_nothing() -> None:
    of = make()
    newest = max(m.n for m in of.markers.markers)
    gone = replace(of, rows=of.rows - {(newest, 0)})
    assert judge("acknowledged", run_of(gone)).status is Status.MISSED
    early = seen(gone)
    read = of.markers.wall(of.markers.markers[-1].sent)
    early = tuple(replace(o, value={**o.value, "at": read}) if o.what == "markers" else o for o in early)
    assert judge("acknowledged", run_of(gone, early)).status is Status.MET


def test_what_no_server_takes_over_is_told_beside_the_writes() -> None:
    """An unlogged table that came empty, and a slot that is gone; not what held nothing, came back or was dropped."""
    of, held = make(), {"public.cache": True, "public.idle": False, "public.filled": True, "public.dropped": True}
    then = {"public.cache": False, "public.idle": False, "public.filled": True, "public.new": False}
    before = Observation("unkept", "source", {"when": "before", "unlogged": held, "slots": ["cdc", "audit"]})
    after = Observation("unkept", "source", {"when": "after", "unlogged": then, "slots": ["audit"]})
    told = judge("acknowledged", run_of(of, (before, *of.observed(), after)))
    assert (told.status, told.measured) == (Status.MET, 0.0)
    assert told.because.endswith(
        " Empty since then, for they are unlogged: public.cache."
        " Replication slots are gone, and their readers have a gap: cdc."
    )
    same = judge(
        "acknowledged", run_of(of, (before, *of.observed(), replace(before, value={**before.value, "when": "after"})))
    )
    once = judge("acknowledged", run_of(of, (before, *of.observed())))
    assert same.because == once.because == judge("acknowledged", run_of(of)).because
    why = Observation("unobserved", "unkept", "permission denied.", DISASTER + 9)
    unseen = judge("acknowledged", run_of(of, (before, *of.observed(), why)))
    assert unseen.because.endswith(" Whether unlogged tables and slots are as before is not known: permission denied.")


def followed(
    of: Written, standbys: int, synchronous: int, *calls: Call, streaming: int = 2, commit: str = "on"
) -> Evidence:
    """A run that saw who streamed from the source, which had two read replicas; ``calls``: planned, too."""
    value = {"standbys": standbys, "synchronous": synchronous, "replicas": 2, "streaming": streaming, "commit": commit}
    seen = Observation("replication", "source", value, DISASTER - 5)
    return planning(run_of(of, (seen, *of.observed())), *calls)


def planning(found: Evidence, *calls: Call) -> Evidence:
    plan = replace(found.record.plan, calls=(*found.record.plan.calls, *calls))
    return replace(found, record=replace(found.record, plan=plan))


FAILED_OVER = Call(
    "failover", "3-failover", "failover", "rds", "RebootDBInstance", effect=Effect.TAKES_OVER, promises=("failed-over",)
)


def test_with_an_asynchronous_standby_that_nothing_is_gone_is_luck() -> None:
    found = judge("acknowledged", followed(make(), 3, 0, FAILED_OVER))
    assert found.status is Status.INCONCLUSIVE
    assert found.because.startswith(
        "The standby was asynchronous before the disaster, so that nothing is gone is luck."
    )
    assert judge("acknowledged", followed(make(ASYNC), 3, 0, FAILED_OVER)).status is Status.MISSED


@pytest.mark.parametrize(("standbys", "streaming"), [(2, 1), (1, 0)])
def test_what_streams_and_is_not_known_to_be_a_replica_may_be_an_asynchronous_standby(
    standbys: int, streaming: int
) -> None:
    found = judge("acknowledged", followed(make(), standbys, 0, FAILED_OVER, streaming=streaming))
    assert found.status is Status.INCONCLUSIVE
    assert f"{standbys} servers streamed asynchronously" in found.because
    assert f"only {streaming} are known to be read replicas" in found.because


@pytest.mark.parametrize(
    ("standbys", "synchronous", "streaming"),
    [(3, 1, 2), (2, 1, 0), (2, 0, 2), (0, 0, 0)],
    ids=["synchronous", "replicas cannot be asked", "not shown", "nobody streams"],
)
def test_what_is_seen_of_no_asynchronous_standby_takes_nothing_away(
    standbys: int, synchronous: int, streaming: int
) -> None:
    found = judge("acknowledged", followed(make(), standbys, synchronous, FAILED_OVER, streaming=streaming))
    assert found.status is Status.MET
    unseen = " The source showed no standby: that one was synchronous was not observed."
    gone = re.fullmatch(
        r"Of \d+ acknowledged writes 0 are gone(; 1 whose outcome was not known are there)?\.(.*)", found.because
    )
    assert gone is not None, found.because
    assert gone[2] == ("" if synchronous else unseen)


def test_where_nobody_looked_who_streams_that_nothing_is_gone_proves_nothing() -> None:
    unseen = planning(run_of(make()), FAILED_OVER)
    found = judge("acknowledged", unseen)
    assert (found.status, "was not observed before the disaster" in found.because) == (Status.INCONCLUSIVE, True)
    because = Observation("unobserved", "replication", "The role may not see.", DISASTER - 5)
    told = judge("acknowledged", replace(unseen, observations=(*unseen.observations, because)))
    assert "The role may not see." in told.because


@pytest.mark.parametrize(
    ("commit", "synchronous", "calls", "status"),
    [
        ("off", 1, (FAILED_OVER,), Status.INCONCLUSIVE),
        ("off", 0, (), Status.INCONCLUSIVE),  # of a crash alone the newest commits are gone, too
        ("local", 1, (FAILED_OVER,), Status.INCONCLUSIVE),
        ("local", 0, (FAILED_OVER,), Status.MET),  # beneath PostgreSQL the standby gets what the disk does
        ("remote_write", 1, (FAILED_OVER,), Status.MET),
    ],
)
def test_commits_that_do_not_wait_prove_nothing_by_what_is_there(
    commit: str, synchronous: int, calls: tuple[Call, ...], status: Status
) -> None:
    found = judge("acknowledged", followed(make(), 2 + synchronous, synchronous, *calls, commit=commit))
    what = "standby" if commit == "local" else "disk"
    luck = f"Commits did not wait for the {what} (synchronous_commit is {commit}), so that nothing is gone is luck. Of "
    assert (found.status, found.because.startswith(luck)) == (status, status is Status.INCONCLUSIVE)


def test_a_server_that_restarts_where_it_is_needs_no_standby() -> None:
    found = judge("acknowledged", followed(make(), 3, 0))
    assert (found.status, "showed no standby" in found.because) == (Status.MET, False)


def blinded() -> Sequence[tuple[str, Evidence]]:
    of = make()
    markers = of.markers
    unsettled = changed(of, lambda m: replace(m, done=0, outcome="indeterminate") if m.n == 90 else m)
    before = [m for m in markers.markers if markers.wall(m.done) < DISASTER - 2.5 or markers.wall(m.sent) > DISASTER]
    stale = {m.n for m in markers.markers} - {m.n for m in before}
    idle = changed(of, lambda m: replace(m, outcome="failed") if m.n in stale else m)
    return (
        ("nobody read the rows", run_of(of, seen(of, markers=None))),
        ("no markers", replace(run_of(of), markers={})),
        ("an empty record", replace(run_of(of), markers={"writes": replace(markers, markers=())})),
        ("never settled", run_of(of, settled=False)),
        ("cut", replace(run_of(of), markers={"writes": replace(markers, markers=markers.markers[:-20])})),
        (
            "a hole",
            replace(
                run_of(of), markers={"writes": replace(markers, markers=tuple(m for m in markers.markers if m.n != 9))}
            ),
        ),
        ("unsettled", run_of(replace(unsettled, rows=of.rows - {(90, 0)}))),
        ("idle", run_of(replace(idle, rows=frozenset(k for k in of.rows if k[0] not in stale)))),
    )


@pytest.mark.parametrize(("case", "found"), blinded(), ids=[case for case, _ in blinded()])
@pytest.mark.parametrize("objective", ["acknowledged", "loss-seconds", "split-brain"])
def test_evidence_that_is_cut_or_unsettled_is_inconclusive(case: str, found: Evidence, objective: str) -> None:
    if case == "a hole":  # its row is there although no such write is recorded
        found = replace(found, observations=tuple(_without_row(o, 9) for o in found.observations))
    assert judge(objective, found).status is Status.INCONCLUSIVE, judge(objective, found).because


def _without_row(seen: Observation, n: int) -> Observation:
    if seen.what != "markers":
        return seen
    (first, last), *rest = seen.value["present"]["0"]
    return replace(seen, value={"table": True, "present": {"0": [[first, n - 1], [n + 1, last], *rest], "1": []}})


def test_a_record_that_ends_before_the_settled_number_or_before_the_rows_is_not_whole() -> None:
    of = make()
    markers = of.markers.markers
    shorter = replace(of.markers, markers=markers[:-20])
    fewer = replace(of, rows=frozenset(k for k in of.rows if k[0] <= shorter.markers[-1].n))
    unheard = replace(run_of(fewer), markers={"writes": shorter})  # the rows are fewer, too
    beyond = run_of(replace(of, markers=shorter))  # it settled at the shorter record's end
    for found in (unheard, beyond):
        assert "not whole" in judge("acknowledged", found).because
        assert judge("acknowledged", found).status is Status.INCONCLUSIVE


def test_a_write_that_another_server_took_is_split_brain_with_its_numbers() -> None:
    of = make(replace(SYNC, astray=(1.5, 1.7)))
    found = judge("split-brain", run_of(of))
    assert (found.status, found.measured) == (Status.MISSED, float(len(of.lost)))
    assert found.because.endswith(f"{min(of.lost)[0]} to {max(of.lost)[0]} are not in it.")


def test_what_was_lost_before_the_new_primary_took_writes_is_no_split_brain() -> None:
    assert judge("split-brain", run_of(make(ASYNC))).status is Status.MET


def test_an_old_primary_that_takes_a_write_is_split_brain() -> None:
    of = make()
    taken = {"outcome": "accepted", "rows": [1_000_001]}
    for script in (of, make(replace(SYNC, astray=(1.5, 1.7)))):
        found = judge("split-brain", run_of(script, seen(script, old_primary=taken)))
        assert found.status is Status.MISSED
        assert "old primary accepted a write (1000001)" in found.because
    unread = judge("split-brain", run_of(of, seen(of, markers=None, old_primary={**taken, "rows": [7, 8]})))
    assert unread.status is Status.MISSED
    assert unread.because == "The old primary accepted a write (7, 8) when it came back."


@pytest.mark.parametrize("outcome", ["refused", "read-only"])
def test_an_old_primary_that_takes_no_write_is_met(outcome: str) -> None:
    of = make()
    assert judge("split-brain", run_of(of, seen(of, old_primary={"outcome": outcome}))).status is Status.MET


def test_an_old_primary_that_does_not_come_back_proves_nothing() -> None:
    of = make()
    found = judge("split-brain", run_of(of, seen(of, old_primary={"outcome": "unreachable"})))
    assert found.status is Status.INCONCLUSIVE
    assert found.because == "The old primary did not come back: whether it would take a write is not known."


@pytest.mark.parametrize(
    ("missing", "because"),
    [
        ("old_primary", "What a write comes to at the old primary is not known."),
        ("failover", "When the new primary was promoted was not observed."),
    ],
)
def test_split_brain_is_inconclusive_without_a_look_at_the_old_primary_or_the_promotion(
    missing: str, because: str
) -> None:
    of = make()
    found = judge("split-brain", run_of(of, seen(of, **{missing: None})))
    assert (found.status, found.because) == (Status.INCONCLUSIVE, because)


def test_an_attempt_at_the_old_primary_of_unknown_outcome_proves_nothing() -> None:
    of = make()
    found = judge("split-brain", run_of(of, seen(of, old_primary={"outcome": "timeout"})))
    assert found.status is Status.INCONCLUSIVE
    assert found.because == "What a write comes to at the old primary is not known."


def test_an_old_primary_that_took_no_session_is_told_with_its_words() -> None:
    of = make()
    found = run_of(of, seen(of, old_primary=None))
    starts = Observation("unobserved", "old-primary", "It is starting up.", DISASTER + 9)
    judged = judge("split-brain", replace(found, observations=(*found.observations, starts)))
    assert (judged.status, judged.because.endswith("is not known. It is starting up.")) == (Status.INCONCLUSIVE, True)


def test_ranges_alone_are_those_of_first_attempts() -> None:
    of = make()
    plain = tuple(
        replace(o, value={"table": True, "present": o.value["present"]["0"]}) if o.what == "markers" else o
        for o in of.observed()
    )
    found = survived(run_of(of, plain), "writes")
    assert not found.lost


@pytest.mark.parametrize(("n", "there"), [(0, True), (0, False), (90, True), (90, False)])
def test_a_write_of_unknown_outcome_is_settled_by_its_row(n: int, there: bool) -> None:
    """Wherever in a range it is: first, last, amid, alone, or in the gap between two."""
    of = changed(make(), lambda m: replace(m, done=0, outcome="indeterminate") if m.n == n else m)
    failed = {n - 1, n + 1} if n else {n + 1}
    alone = changed(of, lambda m: replace(m, outcome="failed") if m.n in failed else m)
    first = changed(of, lambda m: replace(m, outcome="failed") if m.n == n - 1 else m)
    last = changed(of, lambda m: replace(m, outcome="failed") if m.n == n + 1 else m)
    for case in (of, alone, first, last):
        gone = {(m.n, 0) for m in case.markers.markers if m.outcome == "failed"} | (set() if there else {(n, 0)})
        found = judge("acknowledged", run_of(replace(case, rows=case.rows - gone)))
        assert found.status is (Status.MET if there else Status.INCONCLUSIVE), found.because


def test_a_repetition_of_unknown_outcome_is_not_settled_by_the_row_of_its_first_attempt() -> None:
    of = make()
    written = of.markers.markers
    again = Marker(60, *(2 * (written[60].done + 1,)), 0, "indeterminate", 1)
    found = run_of(replace(of, markers=replace(of.markers, markers=(*written, again))))
    assert "outcome of writes 60 was never written down" in judge("acknowledged", found).because
    plain = {"table": True, "present": {"0": ranges([n for n, _ in of.rows])}}
    fewer = run_of(replace(of, markers=replace(of.markers, markers=(*written, again))), seen(of, markers=plain))
    assert judge("acknowledged", fewer).status is Status.INCONCLUSIVE


def test_a_record_that_does_not_tell_which_servers_are_replicas_knows_of_none() -> None:
    whole = followed(make(), 1, 0, FAILED_OVER)
    told = tuple(
        replace(o, value={key: value for key, value in o.value.items() if key != "streaming"})
        if o.what == "replication"
        else o
        for o in whole.observations
    )
    found = judge("acknowledged", replace(whole, observations=told))
    assert found.status is Status.INCONCLUSIVE
    assert found.because.startswith("1 servers streamed asynchronously before the disaster, and only 0 are known")


def test_where_nobody_looked_and_nobody_says_why_the_sentence_ends() -> None:
    found = judge("acknowledged", planning(run_of(make()), FAILED_OVER))
    assert found.because.startswith(
        "Whether a standby streams asynchronously was not observed before the disaster. Of 2"
    ), found.because


def test_nothing_that_is_gone_is_no_second_lost() -> None:
    found = judge("loss-seconds", run_of(make()))
    assert (found.measured, found.interval) == (0.0, (0.0, 0.0))


def test_seconds_lost_begin_with_the_first_lost_write_where_none_was_acknowledged_before_it() -> None:
    of = make()
    first = of.markers.markers[0]
    found = judge("loss-seconds", run_of(replace(of, rows=of.rows - {(first.n, 0)})))
    since = DISASTER - of.markers.wall(first.sent)
    assert found.interval == pytest.approx((since, since))


def test_seconds_lost_want_a_limit_and_tell_why_writes_cannot_be_judged() -> None:
    of = make()
    asked = Demand("loss-seconds", "writes", None, "s")
    found = judged(KNOWN["loss-seconds"].judge, run_of(of), asked)
    assert (found.status, found.because) == (Status.INCONCLUSIVE, "No limit is known.")
    for objective in ("loss-seconds", "split-brain"):
        unread = judge(objective, run_of(of, seen(of, markers=None)))
        assert unread.because == "Which writes of path writes the new primary holds was not read."


def test_the_lag_is_the_last_one_seen_before_the_disaster() -> None:
    of = make(ASYNC)
    seen_at = ((-5.0, 0.1), (0.0, 0.2), (1.0, 9.0))
    lags = tuple(Observation("lag", "source", {"seconds": lag}, DISASTER + at) for at, lag in seen_at)
    other = Observation("steady", "source", {"seconds": 7.0, "in_slo": True}, DISASTER - 1)
    told = judge("loss-seconds", run_of(of, (*lags, other, *of.observed()))).because
    assert told.endswith(" s lost. The lag seen before the disaster was 0.20 s.")


def test_both_signs_of_a_second_primary_are_told() -> None:
    of = make(replace(SYNC, astray=(1.5, 1.7)))
    found = judge("split-brain", run_of(of, seen(of, old_primary={"outcome": "accepted"})))
    assert found.because.startswith("Another server acknowledged writes after the new primary had: ")
    assert found.because.endswith(" are not in it. The old primary accepted a write, too.")


def test_the_new_primary_took_no_write_before_it_was_promoted() -> None:
    """What was lost after its first write is split brain; what was sent with the promotion may have gone to the old."""
    of = make(ASYNC)
    kept = next(m for m in of.markers.markers if of.markers.wall(m.sent) > DISASTER + 1)
    gone = replace(of, rows=frozenset(k for k in of.rows if k[0] <= kept.n))
    for promoted, words in (
        (0.0, " are not in it."),
        (kept.sent, "The new primary is not known to have acknowledged any write."),
    ):
        at = of.markers.wall(promoted) if promoted else DISASTER + 0.1
        found = judge("split-brain", run_of(gone, seen(gone, failover={"events": [], "promoted_at": at})))
        assert found.because.endswith(words), promoted


def on_call(**replaced: object) -> Finding:
    """What is judged of a promotion on call, which sees of the source ``replaced``; nobody wrote markers."""
    seen = Observation("replaced", "source", {"server": "readmission-db", **replaced}, DISASTER + 9)
    found = replace(run_of(make()), markers={}, entries=(), observations=(seen,) if replaced else ())
    request = replace(found.record.plan.request, purpose=Purpose.RESTORE)
    record = replace(found.record, plan=replace(found.record.plan, request=request))
    return judge("split-brain", replace(found, record=record))


SILENT = {"answer": "unreachable"}


@pytest.mark.parametrize(
    ("replaced", "status", "words"),
    [
        ({"answer": "primary"}, Status.MISSED, "readmission-db still answers as a primary"),
        ({"answer": "primary", "status": "deleted"}, Status.MISSED, "still answers as a primary"),
        ({"answer": "recovering"}, Status.MET, "readmission-db answers, but takes no write"),
        ({"answer": "recovering", "status": "available"}, Status.MET, "it recovers"),
        (
            {"answer": ""},
            Status.INCONCLUSIVE,
            "Whether readmission-db still answers as a primary is not known. Keep clients away",
        ),
        ({"answer": "", "status": "deleted"}, Status.INCONCLUSIVE, "is not known. Keep"),
        ({"answer": "", "because": "No login."}, Status.INCONCLUSIVE, "is not known (No login). Keep clients"),
        ({"answer": "", "because": "No label X."}, Status.INCONCLUSIVE, "is not known (No label X). Keep clients"),
        ({"answer": "", "fence": "Pull its plug."}, Status.INCONCLUSIVE, "is not known. Pull its plug."),
        (SILENT | {"status": None}, Status.INCONCLUSIVE, "shows of it could not be read. Keep clients"),
        (SILENT | {"status": "available", "ended": False}, Status.INCONCLUSIVE, "shows it as available: it"),
        (SILENT | {"status": "rebooting", "ended": False}, Status.INCONCLUSIVE, "shows it as rebooting: it"),
        (SILENT | {"status": "", "ended": True}, Status.MET, "its provider shows it no more."),
        (SILENT | {"status": "failed", "ended": True}, Status.MET, "shows it as failed."),
    ],
)
def test_on_call_a_source_that_may_take_writes_is_never_met(
    replaced: dict[str, object], status: Status, words: str
) -> None:
    found = on_call(**replaced)
    assert (found.status, words in found.because) == (status, True), found.because


def test_on_call_a_source_without_a_name_is_the_old_primary() -> None:
    assert on_call(server="x").because.startswith("Whether x still")
    told = on_call()
    assert told.because.startswith("Whether the old primary still answers as a primary is not known. Keep")


def idle(last: int, until: float) -> Written:
    """Whose last write before the disaster is ``last``, acknowledged ``until`` seconds after it."""
    of = make()
    failed = {m.n for m in of.markers.markers if m.n > last and of.markers.wall(m.sent) <= DISASTER}

    def change(m: Marker) -> Marker:
        if m.n == last:
            return replace(m, done=of.markers.start.mono_ns + round(until * 1e9))
        return replace(m, outcome="failed") if m.n in failed else m

    return changed(replace(of, rows=frozenset(k for k in of.rows if k[0] not in failed)), change)


@pytest.mark.parametrize(("until", "status"), [(-2.0, Status.MET), (-2.1, Status.INCONCLUSIVE)])
def test_writes_that_paused_for_longer_than_their_time_out_prove_nothing(until: float, status: Status) -> None:
    found = judge("acknowledged", run_of(idle(40, until)))
    assert (found.status, found.measured) == (status, 0.0)
    assert (f"was acknowledged {-until:.1f} s before it. Of " in found.because) is (status is Status.INCONCLUSIVE)


def test_a_write_acknowledged_with_the_disaster_or_with_the_reading_is_before_it() -> None:
    only = judge("acknowledged", run_of(idle(0, 0.0)))
    assert only.status is Status.MET, only.because
    of = make()
    last = of.markers.markers[-1]
    read = {"table": True, "present": {"0": ranges([n for n, a in of.rows if not a and n != last.n]), "1": []}}
    for at, status in ((of.markers.wall(last.done), Status.MISSED), (of.markers.wall(last.done) - 1e-3, Status.MET)):
        observed = seen(of, markers={**read, "at": at})
        kept = changed(of, lambda m: m if not m.attempt else replace(m, outcome="indeterminate"))
        assert judge("acknowledged", run_of(kept, observed)).status is status


def test_a_repetition_that_is_there_alone_was_not_written_twice() -> None:
    of = make(replace(SYNC, before=3.001))
    again = next(m for m in of.markers.markers if m.attempt == 1)
    found = judge("acknowledged", run_of(replace(of, rows=of.rows - {(again.n, 0)})))
    assert (found.status, "twice" in found.because) == (Status.MET, False)


def test_how_many_writes_another_server_took_is_told_of_one_that_took_none() -> None:
    of = make()
    found = judge("split-brain", run_of(of))
    acknowledged = sum(m.outcome == "acknowledged" for m in of.markers.markers)
    words = f"No write of {acknowledged} was taken by another server; of the old primary: it was read-only."
    assert (found.because, found.measured) == (words, 0.0)
    accepted = judge("split-brain", run_of(of, seen(of, old_primary={"outcome": "accepted"})))
    assert accepted.because == "The old primary accepted a write when it came back."


WHY = {
    "no markers": "No writes were recorded on path writes.",
    "an empty record": "No writes were recorded on path writes.",
    "never settled": "How far writes had been recorded was not noted after the disaster.",
    "cut": "The record of writes is not whole.",
    "unsettled": "The outcome of writes 90 was never written down.",
}


@pytest.mark.parametrize(("case", "because"), WHY.items())
def test_why_writes_prove_nothing_is_told(case: str, because: str) -> None:
    found = dict(blinded())[case]
    assert judge("split-brain", found).because == because
    assert judge("acknowledged", found).because.startswith(because)


def test_without_a_write_acknowledged_before_the_disaster_nothing_is_proven() -> None:
    of = make()
    early = {m.n for m in of.markers.markers if of.markers.wall(m.sent) <= DISASTER}
    never = changed(of, lambda m: replace(m, outcome="failed") if m.n in early else m)
    found = run_of(replace(never, rows=frozenset(k for k in of.rows if k[0] not in early)))
    assert judge("split-brain", found).because == "No write was acknowledged before the disaster."


def test_what_is_in_doubt_is_told_before_what_was_lost() -> None:
    found = judge("loss-seconds", run_of(make(), settled=False))
    assert re.fullmatch(
        r"How far writes had been recorded was not noted after the disaster\. Of \d+ acknowledged writes 0 are gone"
        r".*: 0\.00 s lost\. No lag was seen before the disaster\.",
        found.because,
    ), found.because


def test_seconds_lost_begin_with_the_newest_write_acknowledged_before_the_first_lost_one_was_sent() -> None:
    of = make()
    lost, wall = of.markers.markers[100], of.markers.wall
    at_once = changed(of, lambda m: replace(m, done=lost.sent) if m.n == 99 else m)
    found = judge("loss-seconds", run_of(replace(at_once, rows=of.rows - {(100, 0)})))
    assert found.interval == (DISASTER - wall(lost.sent), DISASTER - wall(of.markers.markers[98].done))


def test_lost_writes_and_lost_repetitions_are_told_apart() -> None:
    of = make(replace(SYNC, before=3.001))
    again = next(m for m in of.markers.markers if m.attempt == 1)
    found = judge("acknowledged", run_of(replace(of, rows=of.rows - {(100, 0), (again.n, 1)})))
    assert f"2 are gone (100 and the repetition of {again.n})" in found.because


def test_what_another_path_holds_that_was_not_read_hinders_no_judgement() -> None:
    of = make()
    found = run_of(of)
    other = replace(of.markers, path="other")
    assert judge("split-brain", replace(found, markers={"other": other, **found.markers})).status is Status.MET


def test_a_write_sent_at_the_very_moment_of_the_first_acknowledgement_may_have_been_sent_before_it() -> None:
    of = make()
    kept, lost, *_ = (m for m in of.markers.markers if of.markers.wall(m.sent) >= DISASTER + 1 and not m.attempt)
    for late, status in ((0, Status.MET), (-1000, Status.MISSED)):

        def at_once(m: Marker, late: int = late) -> Marker:
            return replace(m, done=lost.sent + late) if m.n == kept.n or m.attempt else m

        found = judge("split-brain", run_of(replace(changed(of, at_once), rows=of.rows - {(lost.n, 0)})))
        assert found.status is status, found.because


def test_where_the_wall_clock_was_set_nobody_knows_who_took_a_write_first() -> None:
    found = run_of(make())
    walls = (replace(e.stamp, wall=e.stamp.at + (60.0 if e.seq else 0.0)) for e in found.entries)
    entries = tuple(replace(e, stamp=stamp) for e, stamp in zip(found.entries, walls, strict=True))
    told = judge("split-brain", replace(found, entries=entries)).because
    assert "The wall clock was set forward by 60.0 s during the run" in told
