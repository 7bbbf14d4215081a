"""Whole runs as evidence and verdicts, for the tests of the reports: a point-in-time drill, and an on-call restore."""

from __future__ import annotations

from dataclasses import replace

from dr.domain.model import (
    Call,
    Component,
    Demand,
    Effect,
    Finding,
    Observation,
    Phase,
    Plan,
    Purpose,
    Request,
    RunIdentity,
    Stamp,
    Status,
    Verb,
    Verdict,
)
from dr.domain.refs import Endpoint
from dr.drivers.rds.naming import instance
from dr.evidence.model import Entry, Evidence, Marker, Markers, RunRecord, Sample, Samples

START = 1_795_417_200.0
"""2026-11-23 07:00:00 UTC: when the run began. The disaster is 30 s later, the copy is in its SLO after 16.2 s."""
DISASTER = START + 30
COPY_UP = DISASTER + 14
BOOT = "boot-1"


def stamp(at: float) -> Stamp:
    return Stamp(at, int((at - START) * 1e9) + 10**12, BOOT)


def samples(
    path: str, begin: float, seconds: float, rate: float = 50.0, stall: tuple[float, float] = (0, 0)
) -> Samples:
    """Probes at a steady pace; those due within ``stall`` time out."""
    made = []
    start = stamp(begin)
    for n in range(int(seconds * rate)):
        due = start.mono_ns + int(n / rate * 1e9)
        stalled = stall[0] <= begin + n / rate < stall[1]
        took = 2_000_000_000 if stalled else 18_000_000 + (n * 7919 % 40) * 1_000_000
        made.append(Sample(n, due, due + 60_000, due + took, 0 if stalled else 200, "timeout" if stalled else ""))
    return Samples(path, rate, 2.0, start, tuple(made))


def markers(begin: float, seconds: float, rate: float = 20.0) -> Markers:
    start = stamp(begin)
    made = []
    for n in range(int(seconds * rate)):
        due = start.mono_ns + int(n / rate * 1e9)
        made.append(Marker(n, due, due + 50_000, due + 4_000_000, "acknowledged"))
    return Markers("source", rate, 2.0, start, 0.0004, 0.0002, tuple(made))


CALLS = (
    Call(
        "measure-source",
        "measure",
        "steady",
        "measuring",
        "start",
        {"path": "source"},
        effect=Effect.READS,
        volatile=True,
    ),
    Call("vanish", "disaster", "disaster", "postgres", "vanish", effect=Effect.FAULT),
    Call(
        "restore",
        "restore",
        "restore",
        "rds",
        "restore_to_point_in_time",
        {"source": "readmission-db"},
        effect=Effect.MAKES,
        promises=("available",),
        makes=(instance("readmission-db-dr-7f3a"),),
        undo=Call("restore-undo", "restore", "unwind", "rds", "delete", effect=Effect.CHANGES),
    ),
    Call("examine", "examine", "verify", "postgres", "examine", effect=Effect.READS),
)

DEMANDS = (
    Demand("time-to-copy", "restored", 3600.0, "s"),
    Demand("exposure", "restored", 600.0, "s"),
    Demand("loss", "restored", 0.0, "markers"),
    Demand("data", "restored"),
    Demand("latency", "restored", 1.0, "s"),
    Demand("errors", "restored", 0.01, "ratio"),
)

RESULTS = {
    "measure-source": {"pid": 101},
    "vanish": {"at": DISASTER, "recovery_point": DISASTER - 1, "table": "dr.victims", "rows": 250},
    "restore": {
        "identifier": "readmission-db-dr-7f3a",
        "host": "127.0.0.1",
        "port": 54123,
        "recovery_point": DISASTER - 1,
        "kind": "time",
    },
    "examine": {},
}

MILESTONES = {
    "vanish": {"disaster": DISASTER},
    "restore": {"available": COPY_UP - 2},
    "examine": {"correct": COPY_UP, "examined": COPY_UP + 1},
}

COPY = Component(
    "database",
    instance("readmission-db-dr-7f3a"),
    Endpoint("127.0.0.1", 54123),
    connect="psql 'host=127.0.0.1 port=54123 dbname=readmission user=readmission_api sslmode=require'",
    cut_over=("Stop every writer.", "Point the service at 127.0.0.1:54123 and restart it."),
    origin="a point in time of readmission-db",
    note="The target names no CA file (postgres.ca), so psql does not verify the server's certificate.",
)

OBSERVATIONS = (
    Observation(
        "recovery-point",
        "restored",
        {
            "kind": "time",
            "identifier": "readmission-db",
            "covers": DISASTER - 1,
            "resolution": 1.0,
        },
    ),
    Observation(
        "configuration",
        "restored",
        [
            {
                "name": "MultiAZ",
                "source": True,
                "restored": False,
                "expected": True,
                "because": "A drill's copy is Single-AZ.",
            },
            {
                "name": "DBParameterGroupName",
                "source": "readmission-pg15",
                "restored": "default.postgres15",
                "expected": False,
                "because": "The restore did not inherit it.",
            },
        ],
    ),
    Observation("logins", "restored", [{"user": "readmission_api", "ok": True, "because": ""}]),
    Observation("markers", "restored", {"table": True, "present": [[0, 249], [260, 578]]}),
)


def entries() -> tuple[Entry, ...]:
    kinds = [("accepted", "", {}), ("event", "", {"text": "Chaos Toolkit started", "pid": 100})]
    for call in CALLS:
        kinds += [("intent", call.id, {}), ("effect", call.id, RESULTS[call.id])]
    kinds += [("undone", "restore", {}), ("event", "", {"text": "Chaos Toolkit ended", "exit": 0})]
    return tuple(
        Entry(
            *(n, stamp(START + 2 * n), kind, call, data, f"h{n - 1}", f"{n:064x}"),
            milestones=MILESTONES.get(call, {}) if kind == "effect" else {},
            components=(COPY,) if kind == "effect" and call in ("restore", "examine") else (),
        )
        for n, (kind, call, data) in enumerate(kinds)
    )


JOURNAL = {"status": "completed", "deviated": False, "run": [], "rollbacks": []}


def drill() -> Evidence:
    """A point-in-time drill that ran whole; its copy is gone again."""
    request = Request("lab", (Verb("restore"), Verb("examine")), Purpose.DRILL, drill="rds-pitr")
    run = RunIdentity("20261123-070000-7f3a", "lab", Purpose.DRILL, "d1")
    plan = Plan(request, run, CALLS, DEMANDS)
    record = RunRecord(plan, stamp(START), "RDS emulated", {"dr": "0.1.0", "postgresql": "15.18"}, 1.0, "ab" * 32)
    return Evidence(
        record,
        entries(),
        OBSERVATIONS,
        {
            "source": samples("source", START, 60),
            "restored": samples("restored", COPY_UP, 12, stall=(COPY_UP, COPY_UP + 0.2)),
        },
        {"source": markers(START, 40)},
        journal=JOURNAL,
    )


def on_call() -> Evidence:
    """The same restoration as ``dr restore`` makes it: it stays, and nobody wrote markers."""
    whole = drill()
    request = replace(whole.record.plan.request, purpose=Purpose.RESTORE, drill=None, since=DISASTER)
    plan = replace(whole.record.plan, request=request)
    kept = tuple(entry for entry in whole.entries if entry.kind not in ("undone", "event"))
    return replace(whole, record=replace(whole.record, plan=plan), entries=kept, markers={}, journal=None)


FINDINGS = (
    Finding(
        "time-to-copy",
        "restored",
        Status.MET,
        "Three windows within the SLO from 07:00:46.",
        16.2,
        "s",
        3600.0,
        (15.9, 16.3),
    ),
    Finding("exposure", "restored", Status.MET, "The recovery point covers 07:00:29.", 1.0, "s", 600.0, (1.0, 2.0)),
    Finding("loss", "restored", Status.MISSED, "10 acknowledged markers are missing, 250 to 259.", 10, "markers", 0.0),
    Finding("data", "restored", Status.INCONCLUSIVE, "Table admissions changed while the baseline was repeated."),
    Finding("latency", "restored", Status.MET, "p95 of 590 probes.", 0.056, "s", 1.0, (0.055, 0.057)),
    Finding("errors", "restored", Status.MET, "10 of 600 probes failed.", 0.0083, "ratio", 0.01, (0.004, 0.0099)),
)

PHASES = (
    Phase("detect", DISASTER, 0.4),
    Phase("restore", DISASTER + 0.4, 9.1),
    Phase("replay", DISASTER + 9.5, 2.5),
    Phase("verify", DISASTER + 12, 4.2),
)


def verdict(*findings: Finding, status: Status = Status.MISSED, drill: str | None = "rds-pitr") -> Verdict:
    return Verdict(
        "20261123-070000-7f3a",
        "lab",
        drill,
        status,
        findings or FINDINGS,
        PHASES,
        (COPY,),
    )


def met() -> Verdict:
    """A verdict in which every finding is met."""
    return verdict(*(f for f in FINDINGS if f.status is Status.MET), status=Status.MET)
