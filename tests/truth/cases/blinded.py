"""Recoveries of which nobody could have seen whether they are good: inconclusive, with the reason."""

from __future__ import annotations

from functools import partial

from tests.truth.cases.healthy import BILLED, BILLING, CHECKABLE, PREPARED
from tests.truth.evidence import DOINGS
from tests.truth.table import Case, Drill, Truth

blinded = partial(Case, truth=Truth.BLINDED)
UNREADABLE = ("ALTER ROLE dr_harness NOBYPASSRLS",)

SIGHT = (
    blinded(
        name="all-rows-changed-on-both-sides",
        load=(
            "PERFORM pg_advisory_xact_lock(1); UPDATE truth.stays SET paid = paid + 1",
            "PERFORM pg_advisory_xact_lock(2); UPDATE truth.serials SET v = v || '.'",
        ),
        rate=8,
        tells="data",
    ),
    blinded(
        name="table-filled-anew-on-both-sides",
        before=("INSERT INTO truth.queue SELECT n, 'more' FROM generate_series(1000, 2500) n",),
        load=(
            "PERFORM pg_advisory_xact_lock(1); DELETE FROM truth.queue;"
            " INSERT INTO truth.queue SELECT n, random() FROM generate_series(1, 1500) n",
        ),
        rate=3,
        tells="data",
    ),
    blinded(
        name="no-amcheck",
        before=("DROP EXTENSION amcheck",),
        after=(CHECKABLE,),
        tells="indexes",
    ),
    blinded(
        name="other-database-closed",
        copy=(f"!shut {BILLING}",),
        tells="foreign-keys",
        says=f"database {BILLING}: not examined",
        **BILLED,
    ),
    blinded(
        name="other-database-closed-to-whoever-checks",
        copy=(f"!shut {BILLING}",),
        tells="indexes",
        says=f"database {BILLING}: not checked",
        **BILLED,
    ),
    blinded(
        name="other-database-closed-on-the-source",
        tells="data",
        says=f"database {BILLING}: could not be looked at on the source",
        **{
            **BILLED,
            "before": (*BILLED["before"], f"!shut {BILLING}"),
            "after": (f"!open {BILLING}", *BILLED["after"]),
            "copy": (f"!open {BILLING}",),
        },
    ),
    blinded(
        name="no-amcheck-in-another-database",
        tells="indexes",
        says=f"{BILLING}: B-trees: not checked",
        **{**BILLED, "before": (*BILLED["before"], f"!in {BILLING} 'DROP EXTENSION amcheck'")},
    ),
    blinded(
        name="large-objects-that-may-not-be-read",
        before=(
            "REVOKE pg_read_all_data FROM dr_harness; GRANT USAGE ON SCHEMA truth TO dr_harness;"
            " GRANT SELECT ON ALL TABLES IN SCHEMA truth, public TO dr_harness;"
            " GRANT SELECT ON ALL SEQUENCES IN SCHEMA truth, public TO dr_harness",
        ),
        after=(
            "GRANT pg_read_all_data TO dr_harness; REVOKE ALL ON SCHEMA truth FROM dr_harness;"
            " REVOKE ALL ON ALL TABLES IN SCHEMA truth, public FROM dr_harness;"
            " REVOKE ALL ON ALL SEQUENCES IN SCHEMA truth, public FROM dr_harness",
        ),
        tells="state",
        says="the large objects: what is in them was not read",
    ),
    blinded(
        name="two-indexes-alike",
        before=("CREATE INDEX stays_again ON truth.stays USING gin (tags)",),
        tells="indexes",
        says="truth.stays_(tags|again): not checked, no plan goes through it alone",
    ),
    blinded(
        name="rows-behind-a-policy",
        before=UNREADABLE,
        after=("ALTER ROLE dr_harness BYPASSRLS",),
        tells="data",
        says="secrets",
    ),
    blinded(
        name="input-collation-version",
        copy=(
            "UPDATE pg_database SET datcollversion = '2.28'",
            "UPDATE pg_collation SET collversion = '153.14' WHERE collprovider = 'i'",
        ),
        tells="indexes|schema",
        says="REINDEX",
    ),
    blinded(
        name="input-prepared-and-locking",
        copy=(PREPARED.format("LOCK TABLE truth.queue"),),
        tells="data",
        says="queue: cannot be read on the copy: canceling statement due to lock timeout",
    ),
    blinded(
        name="collation-of-one-column",
        copy=("UPDATE pg_collation SET collversion = '1.1' WHERE collname = 'german'",),
        tells="indexes|schema",
        says="german",
    ),
    blinded(  # the server here is of before there were such triggers, and only called by that name
        name="rows-that-each-login-may-write",
        before=("UPDATE pg_event_trigger SET evtevent = 'login' WHERE evtname = 'truth_watch'",),
        copy=("INSERT INTO truth.queue VALUES (777, 'a login')",),
        tells="data",
        says="truth.queue: 1 row .* as truth_watch may do at each login",
    ),
    blinded(
        name="no-night-before",
        around="nightless",
        drill=Drill.CALLED,
        words=("--latest-snapshot",),
        before=("!forget-baselines",),
        after=("!remember-baselines",),
        tells="data",
    ),
)

STOPS = tuple(
    blinded(name=f"{who}-stood-still-{when}", drill=drill, tells=tells, **{when: (f"!stop {call} {seconds} {after}",)})
    for who, call, when, seconds, after, drill, tells in (
        ("writer", "mark-source", "looked", 9, 0.5, Drill.MARKED, "loss|exact-point"),
        ("writer-briefly", "mark-source", "looked", 3, 2, Drill.MARKED, "loss|exact-point"),
        ("machine", "machine", "looked", 5, 1.5, Drill.MARKED, "loss|exact-point|time-to-copy|awake"),
        ("machine", "machine", "passed", 6, 0.3, Drill.WHOLE, "time-to-copy"),
        ("harness", "harness", "passed", 6, 0.3, Drill.WHOLE, "time-to-copy"),
        ("harness", "harness", "copy", 6, 0.2, Drill.WHOLE, "time-to-copy"),
        ("machine", "machine", "copy", 8, 3, Drill.SERVED, "latency|errors|awake"),
        ("writer-for-long", "mark-source", "looked", 30, 1, Drill.MARKED, "loss|exact-point"),
        ("machine-for-a-second", "machine", "passed", 1, 0.3, Drill.WHOLE, "time-to-copy|awake"),
        ("machine-for-long", "machine", "passed", 30, 0.3, Drill.WHOLE, "time-to-copy"),
        ("harness-for-long", "harness", "copy", 30, 0.2, Drill.WHOLE, "time-to-copy"),
        ("harness-before-the-disaster", "harness", "looked", 4, 0.3, Drill.EXAMINED, "awake"),
    )
)

LATER_STOPS = (
    blinded(
        name="prober-stood-still-while-measured",
        drill=Drill.SERVED,
        copy=("!stop-later measure-restored measure-restored 7 1",),
        tells="latency|errors",
        expect="inconclusive|met",  # met where it was measured long enough afterwards
    ),
    blinded(
        name="prober-stood-still-for-long-while-measured",
        drill=Drill.SERVED,
        copy=("!stop-later measure-restored measure-restored 30 1",),
        tells="latency|errors",
        expect="inconclusive|met",
    ),
    blinded(
        name="harness-stood-still-while-it-serves",
        drill=Drill.SERVED,
        copy=("!stop-later serve harness 9 0",),
        tells="awake",
    ),
    *(
        blinded(
            name=f"service-stood-still-for-{seconds}-s-while-asked",
            drill=Drill.SERVED,
            copy=(f"!stop-later serve serve {seconds} 0",),
            tells="golden|planted",
            says="process was stopped for about",
        )
        for seconds in (14, 29)
    ),
    blinded(
        name="service-stood-still-for-long-while-measured",
        drill=Drill.SERVED,
        copy=("!stop-later measure-restored serve 30 1",),
        tells="latency|errors",
        says="process was stopped for about|are void",
    ),
    blinded(
        name="service-stood-still-while-measured",
        drill=Drill.SERVED,
        copy=("!stop-later measure-restored serve 7 1",),
        tells="latency|errors",
        says="process was stopped for about|are void",  # void where the machine is busy beside it
    ),
)

CLOCKS = tuple(
    blinded(
        name=f"clock-stepped-{seconds:+d}-{when}",
        drill=Drill.WHOLE,
        around="clock",
        tells=tells,
        says="clock",
        expect="inconclusive|met",
        **{when: (f"!clock {seconds}",)},
    )
    for seconds, when, tells in (
        (60, "looked", "time-to-copy|exposure|loss"),
        (-60, "looked", "time-to-copy|exposure|loss"),
        (60, "copy", "time-to-copy|exposure|loss"),
        (-60, "copy", "time-to-copy|exposure|loss"),
        (3, "passed", "time-to-copy|exposure|loss"),
    )
)

SERVED = (
    blinded(
        name="golden-features-changed-before-the-point",
        drill=Drill.SERVED,
        looked=(
            "CREATE TABLE truth.kept AS SELECT * FROM admissions WHERE admission_id LIKE 'SYN-%';"
            " UPDATE admissions SET primary_diagnosis = 'I50.9', medications = '[]' WHERE admission_id LIKE 'SYN-%'",
        ),
        after=(
            "UPDATE admissions a SET primary_diagnosis = k.primary_diagnosis, medications = k.medications"
            " FROM truth.kept k WHERE k.admission_id = a.admission_id",
        ),
        tells="golden",
        says="the source has changed since it was asked: public.admissions",
    ),
    blinded(
        name="errors-near-their-limit",
        drill=Drill.SERVED,
        around="service failing 90",
        tells="errors",
        config={"objectives": {"error-rate": 0.01}},
    ),
    blinded(
        name="nothing-planted",
        drill=Drill.SERVED,
        tells="planted",
        config={"target": {"service": {"planted": None}}},
        quick=True,
    ),
)

MARKED = {"samples-gone", "samples-short", "markers-gone", "markers-short"}
EVIDENCE = tuple(
    blinded(
        name=f"evidence-{name}",
        drill=Drill.VERIFIED,
        around=name,
        quick=name in ("another-runs", "no-text-ledger.jsonl"),
        base="sabotaged-row-altered"
        if name == "verdict-altered"
        else "quiet-marked"
        if name in MARKED or "-source.jsonl" in name
        else "quiet",
    )
    for name in DOINGS
) + tuple(
    blinded(name=f"evidence-of-a-miss-{name}", drill=Drill.VERIFIED, around=name, base="sabotaged-row-altered")
    for name in ("observation-altered", "ledger-altered", "another-runs", "no-text-observations.jsonl", "seal-gone")
)

CASES = (*SIGHT, *STOPS, *LATER_STOPS, *CLOCKS, *SERVED, *EVIDENCE)
