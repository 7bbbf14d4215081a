"""How a run went, as it is told: whole sentences, of no path, and by whom it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from dr.domain.model import Finding, Observation, Status
from dr.evidence.model import Entry, Evidence
from dr.judge import course
from tests.unit.recoveries import drill, stamp


def noted(evidence: Evidence, kind: str, call: str = "", **data: Any) -> Evidence:
    last = evidence.entries[-1]
    added = Entry(last.seq + 1, stamp(last.stamp.at + 1), kind, call, data, "", "")
    return replace(evidence, entries=(*evidence.entries, added))


def without(evidence: Evidence, *kinds: str, call: str = "") -> Evidence:
    kept = tuple(e for e in evidence.entries if not (e.kind in kinds and e.call == call))
    return replace(evidence, entries=kept)


def seen(what: str, *values: Mapping[str, Any], of: Evidence | None = None) -> Evidence:
    told = tuple(Observation(what, "source", dict(value), float(n)) for n, value in enumerate(values))
    of = of or drill()
    return replace(of, observations=(*of.observations, *told))


def only(evidence: Evidence) -> Finding:
    (one,) = course.findings(evidence)
    return one


def unknown(because: str, objective: str = "completed") -> Finding:
    return Finding(objective, "", Status.INCONCLUSIVE, because)


EXAMINED = without(drill(), "effect", call="examine")


def test_a_call_that_failed_is_told_with_its_reason_and_whether_that_is_known_to_have_ended_it() -> None:
    assert only(noted(EXAMINED, "failed", "examine", because="It went away.", error="KeyError")) == unknown(
        "The call 'examine' failed: It went away."
    )
    assert only(noted(EXAMINED, "failed", "examine")) == unknown("The call 'examine' failed: no reason was recorded.")
    restored = noted(
        without(drill(), "effect", call="restore"), "failed", "restore", because="No.", error="FailedError"
    )
    assert only(restored) == Finding("completed", "", Status.MISSED, "The call 'restore' failed: No.")


@pytest.mark.parametrize(
    ("data", "because"),
    [
        ({"exit": -99}, "The drill was killed: signal 99 ended Chaos Toolkit."),
        ({"exit": -9}, "The drill was killed: SIGKILL ended Chaos Toolkit."),
        ({"killed": True}, "The drill was killed, and another command finished it."),
        ({}, "The drill was killed: its ledger does not tell that Chaos Toolkit ended."),
    ],
)
def test_what_ended_a_drill_that_was_killed_is_told(data: dict[str, Any], because: str) -> None:
    assert only(noted(without(drill(), "event"), "event", **data)) == unknown(because)


def test_the_signal_named_is_that_of_the_last_exit() -> None:
    again = noted(noted(drill(), "event", exit=0), "event", exit=-98)
    assert only(again) == unknown("The drill was killed: signal 98 ended Chaos Toolkit.")


def test_a_source_that_was_looked_at_once_is_told() -> None:
    look = {"p95": 0.1, "errors": 0, "probes": 100, "in_slo": True}
    assert only(seen("steady", look)) == unknown("The drill ended before its source was looked at once more.")
    assert course.findings(seen("steady", look, look)) == []
    assert only(noted(seen("steady", look), "event", unlooked="It is gone.")) == unknown(
        "The source was not looked at: It is gone."
    )


def test_what_cannot_be_read_is_told_by_the_kind_of_error() -> None:
    assert only(seen("pools", {"when": "before", "pools": [{}]}, {"when": "after", "pools": [{}]})) == unknown(
        "What the pooler's pools held cannot be read: KeyError.", "pools"
    )
    assert only(seen("steady", {}, {})) == unknown("What the hypothesis saw cannot be read: KeyError.", "steady-state")
    assert only(seen("failover", {"events": [{"message": "no time"}]})) == unknown(
        "What the provider said of the failover cannot be read: KeyError.", "failover"
    )


@pytest.mark.parametrize(
    ("event", "because"),
    [
        (
            {"event": "RDS-EVENT-0034", "message": "Abandoning."},
            "The provider abandoned the failover (RDS-EVENT-0034): Abandoning.",
        ),
        ({"message": "Abandoning"}, "The provider abandoned the failover: Abandoning."),
        ({"event": "", "message": ""}, "The provider abandoned the failover: without a reason."),
    ],
)
def test_a_failover_that_the_provider_gave_up_is_told_in_its_words(event: dict[str, Any], because: str) -> None:
    found = seen("failover", {"events": [{"at": 2.0, "abandons": True, **event}, {"at": 1.0, "message": "Begun."}]})
    assert only(found) == Finding("failover", "", Status.MISSED, because)


LOOKED: dict[str, Any] = {"pools": [{"database": "clinic", "user": "dr"}]}
UNSEEN: dict[str, Any] = {"because": "Its console is silent."}


@pytest.mark.parametrize(
    ("before", "after", "because"),
    [
        (UNSEEN, LOOKED, "before the drill: Its console is silent."),
        (LOOKED, UNSEEN, "once the drill was unwound: Its console is silent."),
        (LOOKED, None, "once the drill was unwound: the run ended before."),
    ],
)
def test_it_is_told_when_nobody_looked_at_the_pools(
    before: dict[str, Any], after: dict[str, Any] | None, because: str
) -> None:
    looks = [{"when": "before", **before}, *([] if after is None else [{"when": "after", **after}])]
    assert only(seen("pools", *looks)) == unknown(f"The pooler's pools were not looked at {because}", "pools")


def test_of_pools_that_were_never_seen_nothing_is_told() -> None:
    assert course.findings(seen("pools", {"when": "before", **UNSEEN})) == []
    assert course.findings(seen("pools", {"when": "after", **LOOKED})) == []
    blind = only(seen("pools", {"when": "before", **UNSEEN}, {"when": "after", **UNSEEN}))
    assert blind == unknown("The pooler's pools were not looked at before the drill: Its console is silent.", "pools")


def test_what_is_left_in_the_pools_is_told_with_what_frees_it() -> None:
    stuck = {"pools": [{**LOOKED["pools"][0], "waiting": 2, "busy": 1}]}
    assert only(seen("pools", {"when": "before", **LOOKED}, {"when": "after", **stuck})) == Finding(
        "pools",
        "",
        Status.MISSED,
        "The drill left more in the pooler's pools than there was: "
        "2 clients that wait (0 before) in pool clinic of dr; "
        "1 server connections of the harness in use (0 before) in pool clinic of dr. "
        "Its console's KILL and RESUME, or a restart, frees them.",
    )


def step(name: str, status: str = "failed", module: str = "chaosk8s.node") -> dict[str, Any]:
    return {"activity": {"name": name, "provider": {"type": "python", "module": module}}, "status": status}


@pytest.mark.parametrize(
    ("journal", "because"),
    [
        (
            {"status": "failed", "deviated": False, "run": [step("drain")], "rollbacks": [step("undrain")]},
            "Activities of other extensions failed, whose doings no ledger shows: drain, undrain.",
        ),
        (
            {"status": "failed", "deviated": True, "run": [], "rollbacks": []},
            "Chaos Toolkit calls the experiment failed and deviated; its journal says where.",
        ),
        (
            {"status": "aborted", "deviated": False, "run": [], "rollbacks": []},
            "Chaos Toolkit calls the experiment aborted; its journal says where.",
        ),
        ({"run": [], "rollbacks": []}, "Chaos Toolkit's journal cannot be read."),
        (None, "Without Chaos Toolkit's journal nobody knows how all of the experiment's activities ended."),
    ],
)
def test_what_chaos_toolkit_alone_knows_is_told(journal: dict[str, Any] | None, because: str) -> None:
    assert only(replace(drill(), journal=journal)) == unknown(because)


def test_what_the_ledger_has_and_what_left_nothing_behind_is_not_told_of_a_journal() -> None:
    script = {"activity": {"name": "script", "provider": {"type": "process"}}, "status": "succeeded"}
    run = [step("restore", module=course.ACTIVITIES), script, {**script, "output": {"status": 0}}]
    whole = {"status": "completed", "deviated": False, "run": run, "rollbacks": [step("drain", "succeeded")]}
    assert course.findings(replace(drill(), journal=whole)) == []
    stopped = {**whole, "run": [{**script, "output": {"status": 2}}]}
    told = "Activities of other extensions failed, whose doings no ledger shows: script."
    assert only(replace(drill(), journal=stopped)) == unknown(told)


def test_only_what_an_event_says_of_chaos_toolkit_needs_its_journal() -> None:
    bare = without(replace(drill(), journal=None), "event")
    ended = noted(bare, "event", rollbacks=True)
    assert course.findings(noted(ended, "note", exit=1)) == []
    for told in ({"exit": 1}, {"unseen": ["drain"]}):
        assert only(noted(ended, "event", **told)).because.startswith("Without Chaos Toolkit's journal")
