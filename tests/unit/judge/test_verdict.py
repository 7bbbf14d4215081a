"""The verdict: what was not proven is never met."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from dr.config.objective import Judge, Objective
from dr.domain.model import Call, Demand, Effect, Finding, Observation, Purpose, Status
from dr.evidence.model import Entry, Evidence
from dr.judge import phases
from dr.judge.verdict import combine, exit_code, judge
from dr.wiring import objectives
from tests.unit.recoveries import COPY, drill, stamp, verdict


def says(status: Status) -> Judge:
    def answer(_: Evidence, demand: Demand) -> Finding:
        return Finding(demand.objective, demand.path, status, "Told so.", 1.0, demand.unit, demand.limit, (0.9, 1.1))

    return answer


def all_met(otherwise: Mapping[str, Judge] = {}) -> dict[str, Objective]:
    """Every objective is met, but for those that are judged ``otherwise``."""
    met = says(Status.MET)
    return {name: replace(one, judge=otherwise.get(name, met)) for name, one in objectives().items()}


def with_entry(evidence: Evidence, kind: str, call: str, data: Mapping[str, Any] | None = None) -> Evidence:
    last = evidence.entries[-1]
    added = replace(last, seq=last.seq + 1, stamp=stamp(last.stamp.at + 1), kind=kind, call=call, data=data or {})
    return replace(evidence, entries=(*evidence.entries, added))


def without_effect(evidence: Evidence, call: str) -> Evidence:
    kept = tuple(e for e in evidence.entries if not (e.kind == "effect" and e.call == call))
    return replace(evidence, entries=kept)


def finding(evidence: Evidence, objective: str, objectives: dict[str, Objective] | None = None) -> Finding:
    return next(f for f in judge(evidence, objectives or all_met()).findings if f.objective == objective)


def test_verdict_is_met_when_every_demand_is_met() -> None:
    result = judge(drill(), all_met())
    assert result.status is Status.MET
    assert [f.objective for f in result.findings] == [d.objective for d in drill().record.plan.demands]


def test_verdict_names_run_target_and_drill() -> None:
    result = judge(drill(), all_met())
    assert (result.run, result.target, result.drill) == ("20261123-070000-7f3a", "lab", "rds-pitr")


def test_one_missed_demand_misses_the_verdict() -> None:
    assert judge(drill(), all_met({"data": says(Status.MISSED)})).status is Status.MISSED


def test_one_inconclusive_demand_keeps_the_verdict_from_met() -> None:
    assert judge(drill(), all_met({"data": says(Status.INCONCLUSIVE)})).status is Status.INCONCLUSIVE


def test_verdict_is_inconclusive_when_nothing_was_demanded() -> None:
    evidence = drill()
    record = replace(evidence.record, plan=replace(evidence.record.plan, demands=()))
    result = judge(replace(evidence, record=record), all_met())
    assert (result.status, result.findings) == (Status.INCONCLUSIVE, ())


def test_a_crashed_judge_is_inconclusive_and_names_the_exception() -> None:
    def crash(_: Evidence, demand: Demand) -> Finding:
        raise ZeroDivisionError(demand.objective)

    found = finding(drill(), "latency", all_met({"latency": crash}))
    assert found.status is Status.INCONCLUSIVE
    assert "ZeroDivisionError" in found.because
    assert (found.limit, found.unit) == (1.0, "s")


def test_an_objective_without_a_judge_is_inconclusive() -> None:
    judges = all_met()
    del judges["exposure"]
    found = finding(drill(), "exposure", judges)
    assert found.status is Status.INCONCLUSIVE
    assert "'exposure'" in found.because


def test_altered_evidence_makes_every_met_finding_inconclusive_with_the_reason() -> None:
    evidence = replace(drill(), problems=("Entry 4 of the ledger was altered.",))
    result = judge(evidence, all_met())
    assert {f.status for f in result.findings} == {Status.INCONCLUSIVE}
    told = "The evidence cannot be trusted: Entry 4 of the ledger was altered. Otherwise: Told so."
    assert {f.because for f in result.findings} == {told}


def test_altered_evidence_proves_no_miss_either() -> None:
    evidence = replace(drill(), problems=("The seal is missing.",))
    missed = finding(evidence, "data", all_met({"data": says(Status.MISSED)}))
    assert missed.status is Status.INCONCLUSIVE
    assert missed.because == "The evidence cannot be trusted: The seal is missing. Otherwise: Told so."


def test_a_run_that_is_not_sealed_yet_meets_nothing_and_may_miss() -> None:
    evidence = replace(drill(), unsealed="the run is not sealed: it is still under way")
    assert finding(evidence, "data", all_met({"data": says(Status.MISSED)})).status is Status.MISSED
    assert finding(evidence, "data").status is Status.INCONCLUSIVE


def test_a_failed_call_keeps_the_verdict_from_met() -> None:
    evidence = with_entry(
        without_effect(drill(), "examine"),
        "failed",
        "examine",
        {"because": "The copy went away.", "error": "ProviderError"},
    )
    result = judge(evidence, all_met())
    assert result.status is Status.INCONCLUSIVE
    assert finding(evidence, "completed").because == "The call 'examine' failed: The copy went away."


def journal(status: str = "completed", deviated: bool = False, **steps: str) -> dict[str, Any]:
    """A journal of steps by name: their module and how each ended, as "MODULE STATUS"."""
    run = []
    for name, said in steps.items():
        module, ended = said.split()
        run.append({"activity": {"name": name, "provider": {"type": "python", "module": module}}, "status": ended})
    return {"status": status, "deviated": deviated, "run": run, "rollbacks": []}


PROCESS = {
    "activity": {"name": "script", "provider": {"type": "process", "path": "x"}},
    "status": "succeeded",
    "output": {"status": 1, "stdout": "", "stderr": ""},
}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (journal(restore="dr.activities succeeded", drain="chaosk8s.node failed"), "other extensions failed.*: drain"),
        (journal(drain="chaosk8s.node aborted"), "drain"),
        ({**journal(), "rollbacks": [PROCESS]}, "other extensions failed.*: script"),
        (journal("failed"), "calls the experiment failed; its journal"),
        (journal("completed", deviated=True), "completed and deviated"),
        ({}, "journal cannot be read"),
        ({**journal(), "run": [None]}, "journal cannot be read"),
    ],
)
def test_a_failure_that_only_chaos_toolkit_saw_keeps_the_verdict_from_met(said: dict[str, Any], words: str) -> None:
    result = judge(replace(drill(), journal=said), all_met())
    assert result.status is Status.INCONCLUSIVE
    assert re.search(words, result.findings[0].because)
    assert (result.findings[0].objective, result.findings[0].path) == ("completed", "")


def test_what_succeeded_or_stands_in_the_ledger_is_not_told_twice() -> None:
    well = journal(measure="dr.activities succeeded", drain="chaosk8s.node succeeded")
    assert judge(replace(drill(), journal=well), all_met()).status is Status.MET
    well["run"][1]["output"] = {"status": 1}  # what a function gives is no process's exit
    well["run"].append({**PROCESS, "output": {**PROCESS["output"], "status": 0}})
    assert judge(replace(drill(), journal=well), all_met()).status is Status.MET
    failed = without_effect(drill(), "examine")
    told = judge(replace(failed, journal=journal("failed", drain="chaosk8s.node failed")), all_met())
    assert [f.objective for f in told.findings].count("completed") == 1


@pytest.mark.parametrize("noted", [{"text": "Chaos Toolkit ended", "exit": 1}, {"text": "", "unseen": ["drain"]}])
def test_what_a_journal_should_tell_proves_nothing_without_one(noted: dict[str, Any]) -> None:
    bare = replace(drill(), entries=tuple(e for e in drill().entries if e.kind != "event"), journal=None)
    bare = with_entry(bare, "event", "", {"text": "Chaos Toolkit came to its rollbacks", "rollbacks": True})
    result = judge(with_entry(bare, "event", "", noted), all_met())
    assert (result.status, result.findings[0].objective) == (Status.INCONCLUSIVE, "completed")
    assert (result.findings[0].path, "Without Chaos Toolkit's journal" in result.findings[0].because) == ("", True)
    assert judge(with_entry(bare, "event", "", {"text": "told"}), all_met()).status is Status.MET


@pytest.mark.parametrize(
    ("noted", "words"),
    [
        ({"text": "", "exit": -15}, "killed: SIGTERM ended Chaos Toolkit"),
        ({"text": "", "exit": -99}, "killed: signal 99 ended Chaos Toolkit"),
        ({"text": "", "killed": True}, "killed, and another command finished it"),
    ],
)
def test_a_drill_that_was_killed_is_inconclusive_although_all_was_measured(noted: dict[str, Any], words: str) -> None:
    result = judge(with_entry(drill(), "event", "", noted), all_met())
    assert result.status is Status.INCONCLUSIVE
    assert words in result.findings[0].because
    failed = with_entry(without_effect(drill(), "examine"), "failed", "examine", {"because": "It went away."})
    both = finding(with_entry(failed, "event", "", noted), "completed").because
    assert both.startswith("The call 'examine' failed: It went away. The drill was killed")


def test_a_drill_that_was_told_to_stop_once_all_was_done_is_inconclusive() -> None:
    evidence = with_entry(drill(), "halted", "", {"because": "SIGTERM was received."})
    assert judge(evidence, all_met()).status is Status.INCONCLUSIVE
    assert finding(evidence, "completed").because == "SIGTERM was received."
    request = replace(evidence.record.plan.request, purpose=Purpose.RESTORE)
    on_call = replace(evidence, record=replace(evidence.record, plan=replace(evidence.record.plan, request=request)))
    assert judge(on_call, all_met()).status is Status.MET, "that one was gone on with"


def test_a_drill_whose_source_was_looked_at_before_alone_is_inconclusive() -> None:
    look = Observation("steady", "source", {"p95": 0.1, "errors": 0, "probes": 100, "in_slo": True})
    for looks, status in ((1, Status.INCONCLUSIVE), (2, Status.MET)):
        seen = replace(drill(), observations=(*drill().observations, *[look] * looks))
        assert judge(seen, all_met()).status is status


def test_a_call_that_failed_and_then_took_effect_does_not_count_as_failed() -> None:
    evidence = with_entry(drill(), "failed", "examine", {"because": "Connection reset."})
    assert judge(with_entry(evidence, "effect", "examine"), all_met()).status is Status.MET


@pytest.mark.parametrize("error", ["FailedError", "DeadlineError"])
def test_a_restore_that_the_provider_failed_misses_the_time_to_a_copy(error: str) -> None:
    failure = {"because": "The copy is incompatible-network.", "error": error}
    evidence = with_entry(without_effect(drill(), "restore"), "failed", "restore", failure)
    found = finding(evidence, "time-to-copy")
    assert (found.status, found.measured, found.interval) == (Status.MISSED, None, None)
    assert "incompatible-network." in found.because
    assert judge(evidence, all_met()).status is Status.MISSED


@pytest.mark.parametrize("call", ["failover", "promote"])
def test_a_failover_that_the_provider_failed_is_missed(call: str) -> None:
    whole = drill()
    further = Call(call, call, "failover", "rds", call, effect=Effect.TAKES_OVER, promises=(call,))
    plan = replace(whole.record.plan, calls=(*whole.record.plan.calls, further))
    evidence = with_entry(
        replace(whole, record=replace(whole.record, plan=plan)),
        "failed",
        call,
        {"because": "It did not fail over within 600 s.", "error": "DeadlineError"},
    )
    assert judge(evidence, all_met()).status is Status.MISSED
    assert finding(evidence, "time-to-copy").status is Status.MET


@pytest.mark.parametrize(
    ("error", "because"),
    [
        ("KeyError", "the harness itself failed (KeyError)"),
        ("ProviderError", "RDS has no certificate that is trusted here: SSL validation failed."),
        ("ProviderError", "The database cannot be reached: terminating connection due to administrator command."),
        ("ProviderError", "FATAL: the database system is not yet accepting connections."),
        ("UnreachableError", "Connection refused."),
        ("OddAnswerError", "It was answered oddly."),
        ("RefusedError", "The account's quota of instances is used up."),
    ],
)
def test_a_restore_that_failed_in_the_harness_or_on_the_way_is_inconclusive(error: str, because: str) -> None:
    """Only what the provider showed tells that no copy came."""
    failure = {"because": because, "error": error}
    evidence = with_entry(without_effect(drill(), "restore"), "failed", "restore", failure)
    assert finding(evidence, "completed").status is Status.INCONCLUSIVE
    assert judge(evidence, all_met()).status is Status.INCONCLUSIVE


def test_a_halted_run_is_inconclusive_and_says_who_stopped_it() -> None:
    evidence = with_entry(without_effect(drill(), "examine"), "halted", "examine", {"because": "dr abort was called."})
    found = finding(evidence, "completed")
    assert found.status is Status.INCONCLUSIVE
    assert "dr abort was called." in found.because


def test_a_run_that_ended_early_is_inconclusive_and_names_the_first_call_without_effect() -> None:
    found = finding(without_effect(drill(), "examine"), "completed")
    assert found.status is Status.INCONCLUSIVE
    assert "'examine'" in found.because


def test_phases_that_cannot_be_derived_are_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise KeyError("at")

    monkeypatch.setattr(phases, "phases", crash)
    found = judge(drill(), all_met())
    because = "The phases could not be derived: KeyError."
    assert found.phases == ()
    assert found.findings[-1] == Finding("phases", "", Status.INCONCLUSIVE, because)


def test_verdict_says_how_to_reach_what_was_restored() -> None:
    assert judge(drill(), all_met()).restored == (COPY,)
    assert judge(without_effect(without_effect(drill(), "restore"), "examine"), all_met()).restored == ()


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [
        ([], Status.INCONCLUSIVE),
        ([Status.MET], Status.MET),
        ([Status.MET, Status.INCONCLUSIVE], Status.INCONCLUSIVE),
        ([Status.INCONCLUSIVE, Status.MISSED, Status.MET], Status.MISSED),
    ],
)
def test_the_worst_status_wins(statuses: list[Status], worst: Status) -> None:
    assert combine(statuses) is worst


@pytest.mark.parametrize(("status", "code"), [(Status.MET, 0), (Status.MISSED, 1), (Status.INCONCLUSIVE, 4)])
def test_exit_code_follows_the_verdict(status: Status, code: int) -> None:
    assert exit_code(verdict(status=status)) == code


def test_a_source_out_of_its_objectives_is_no_harm_that_a_drill_did_which_broke_off() -> None:
    seen = tuple(
        Observation("steady", "source", {"p95": 0.1, "errors": 9, "probes": 100, "in_slo": good})
        for good in (True, False)
    )
    of = drill()
    halted = Entry(
        99, of.record.started, "failed", "examine", {"because": "Its token expired.", "error": "RefusedError"}, "", ""
    )
    result = judge(replace(of, observations=(*of.observations, *seen), entries=(*of.entries, halted)), all_met())
    found = next(f for f in result.findings if f.objective == "steady-state")
    when = "when the drill broke off, before it was unwound (p95 0.100 s, 9 of 100 probes failed)."
    assert (found.status, found.because.endswith(when)) == (Status.INCONCLUSIVE, True)
    assert result.status is Status.INCONCLUSIVE
    early = tuple(replace(o, value={**o.value, "in_slo": not o.value["in_slo"], "broken": False}) for o in seen)
    before = judge(replace(of, observations=(*of.observations, *early), entries=(*of.entries, halted)), all_met())
    told = next(f.because for f in before.findings if f.objective == "steady-state")
    assert told.endswith("before the drill began (p95 0.100 s, 9 of 100 probes failed).")


def test_the_time_to_a_verified_copy_does_not_hang_on_whether_a_target_says_how_rows_are_planted() -> None:
    of = drill()
    plan = replace(of.record.plan, demands=(*of.record.plan.demands, Demand("planted", "restored")))
    found = judge(replace(of, record=replace(of.record, plan=plan)), all_met({"planted": says(Status.INCONCLUSIVE)}))
    assert found.status is Status.INCONCLUSIVE
    assert next(f.status for f in found.findings if f.objective == "planted") is Status.INCONCLUSIVE
    assert next(f.status for f in found.findings if f.objective == "time-to-copy") is Status.MET


@pytest.mark.parametrize("status", [Status.MISSED, Status.INCONCLUSIVE])
def test_the_time_to_a_verified_copy_is_no_better_than_what_the_copy_holds(status: Status) -> None:
    found = finding(drill(), "time-to-copy", all_met({"data": says(status)}))
    assert found.status is status
    assert found.because == f"The copy is not verified (data {status}). Told so."
    two = finding(drill(), "time-to-copy", all_met({"data": says(status), "loss": says(status)}))
    assert two.because == f"The copy is not verified (loss, data {status}). Told so."


@pytest.mark.parametrize("status", [Status.MISSED, Status.INCONCLUSIVE])
def test_what_the_copy_holds_says_nothing_of_other_times_and_no_other_objective_says_what_it_holds(
    status: Status,
) -> None:
    held = judge(drill(), all_met({"data": says(status)}))
    assert [f.objective for f in held.findings if f.status is status] == ["time-to-copy", "data"]
    slow = judge(drill(), all_met({"latency": says(status)}))
    assert [f.objective for f in slow.findings if f.status is status] == ["latency"]


def test_what_became_of_the_clock_is_told_of_times_that_were_measured_alone() -> None:
    def unmeasured(_: Evidence, demand: Demand) -> Finding:
        return Finding(demand.objective, demand.path, Status.INCONCLUSIVE, "Told so.")

    of = drill()
    walls = (replace(e.stamp, wall=e.stamp.at + (60.0 if e.seq > 3 else 0.0)) for e in of.entries)
    stepped = replace(of, entries=tuple(replace(e, stamp=at) for e, at in zip(of.entries, walls, strict=True)))
    assert finding(stepped, "time-to-copy").because.startswith("Told so. The wall clock was set forward by 60.0 s")
    assert finding(stepped, "time-to-copy", all_met({"time-to-copy": unmeasured})).because == "Told so."
    assert finding(stepped, "latency").because == "Told so."


def test_what_another_path_holds_says_nothing_of_this_one() -> None:
    of = drill()
    elsewhere = tuple(replace(d, path="beside") if d.objective == "data" else d for d in of.record.plan.demands)
    of = replace(of, record=replace(of.record, plan=replace(of.record.plan, demands=elsewhere)))
    assert finding(of, "time-to-copy", all_met({"data": says(Status.MISSED)})).status is Status.MET


def test_a_time_to_a_copy_that_was_not_met_is_told_as_it_was_judged() -> None:
    otherwise = {"data": says(Status.MISSED), "time-to-copy": says(Status.INCONCLUSIVE)}
    found = finding(drill(), "time-to-copy", all_met(otherwise))
    assert (found.status, found.because) == (Status.INCONCLUSIVE, "Told so.")


@pytest.mark.parametrize("looks", [0, 2])
def test_a_drill_whose_source_could_not_be_looked_at_is_inconclusive(looks: int) -> None:
    good = Observation("steady", "source", {"p95": 0.1, "errors": 0, "probes": 100, "in_slo": True})
    seen = replace(drill(), observations=(*drill().observations, *[good] * looks))
    unlooked = with_entry(seen, "event", "", {"text": "", "unlooked": "nothing answered."})
    found = judge(unlooked, all_met())
    assert (found.status, found.findings[0].objective) == (Status.INCONCLUSIVE, "completed")
    assert found.findings[0].because == "The source was not looked at: nothing answered."


def test_it_is_the_last_exit_that_counts() -> None:
    again = with_entry(drill(), "event", "", {"text": "", "exit": 0})
    again = with_entry(again, "event", "", {"text": "", "exit": -9})
    assert judge(again, all_met()).findings[0].because == "The drill was killed: SIGKILL ended Chaos Toolkit."
    assert judge(with_entry(again, "event", "", {"text": "", "exit": 0}), all_met()).status is Status.MET


def test_a_run_that_ended_early_and_was_killed_says_both() -> None:
    killed = with_entry(without_effect(drill(), "examine"), "event", "", {"text": "", "killed": True})
    assert finding(killed, "completed").because == (
        "The run ended before 1 of its planned calls took effect, the first 'examine'."
        " The drill was killed, and another command finished it."
    )
    alone = finding(without_effect(drill(), "examine"), "completed")
    assert alone.because == "The run ended before 1 of its planned calls took effect, the first 'examine'."


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (0, "before the drill began (p95 0.100 s, 9 of 100 probes failed)."),
        (1, "after the drill (p95 0.100 s, 9 of 100 probes failed)."),
    ],
)
def test_it_is_said_when_a_source_was_out_of_its_objectives(place: int, told: str) -> None:
    good = {"p95": 0.1, "errors": 0, "probes": 100, "in_slo": True}
    values = [good, good]
    values[place] = {**good, "errors": 9, "in_slo": False}
    seen = tuple(Observation("steady", "source", value) for value in values)
    found = finding(replace(drill(), observations=(*drill().observations, *seen)), "steady-state")
    assert (found.path, found.because) == ("source", f"The source was not within its objectives {told}")


@pytest.mark.parametrize(
    ("what", "objective", "words"),
    [
        ("failover", "failover", "What the provider said of the failover cannot be read: "),
        ("pools", "pools", "What the pooler's pools held cannot be read: "),
    ],
)
def test_what_was_seen_and_cannot_be_read_is_inconclusive(what: str, objective: str, words: str) -> None:
    torn = replace(drill(), observations=(*drill().observations, Observation(what, "source", "torn")))
    found = finding(torn, objective)
    assert (found.status, found.path, found.because.startswith(words)) == (Status.INCONCLUSIVE, "", True)


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [(True, True, None), (False, True, Status.INCONCLUSIVE), (True, False, Status.MISSED)],
)
def test_a_source_out_of_its_objectives_is_a_finding(before: bool, after: bool, status: Status | None) -> None:
    seen = tuple(
        Observation("steady", "source", {"p95": 0.1, "errors": 0, "probes": 100, "in_slo": good})
        for good in (before, after)
    )
    result = judge(replace(drill(), observations=(*drill().observations, *seen)), all_met())
    found = [f.status for f in result.findings if f.objective == "steady-state"]
    assert found == ([] if status is None else [status])
    assert result.status is (status or Status.MET)


def test_a_source_that_is_not_surely_out_of_its_objectives_was_not_harmed_for_certain() -> None:
    """Two failures of a hundred probes lie above 1%, and prove no more than 0.4%."""
    good = {"p95": 0.1, "errors": 0, "probes": 100, "in_slo": True, "broken": False}
    unsure = {**good, "errors": 2, "in_slo": False}
    seen = tuple(Observation("steady", "source", value) for value in (good, unsure))
    found = judge(replace(drill(), observations=(*drill().observations, *seen)), all_met())
    assert found.status is Status.INCONCLUSIVE
    assert found.findings[0].because.endswith(
        "after the drill (p95 0.100 s, 2 of 100 probes failed; so few prove nothing)."
    )
