"""One verdict from a run's evidence: every demand judged, the worst finding wins.

Called by: ``dr.app`` at the end of a run, ``dr verify`` and ``dr report`` offline. Pure.

The rule of combination is Jepsen's: missed beats inconclusive beats met, and a judge that crashes does not know. What
was not proven is never met: an empty list of demands, a run that did not finish and altered evidence are inconclusive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from dr.domain.errors import DeadlineError, ProviderError
from dr.domain.model import Call, Demand, Finding, Phase, Plan, Restored, Status, Verdict
from dr.evidence.model import Entry, Evidence
from dr.judge import corroboration, equality, failover, interruption, loss, outage, survival

Judge = Callable[[Evidence, Demand], Finding]

JUDGES: Mapping[str, Judge] = {
    **equality.JUDGES,
    **outage.JUDGES,
    **loss.JUDGES,
    **interruption.JUDGES,
    **survival.JUDGES,
    **failover.JUDGES,
    **corroboration.JUDGES,
}

ACTIVITIES = "dr.activities"
"""The module of dr's own activities: what they do stands in the ledger."""

RESTORE = "restore"
"""The id of the planned call that makes the restoration (docs/design.md)."""
PROMISED = (RESTORE, "failover", "promote")
"""Calls whose failing is the provider's: what was asked for is then known not to have come."""

_PROVIDERS_OWN = (ProviderError.__name__, DeadlineError.__name__)
CONTENT = frozenset({"schema", "data", "foreign-keys", "indexes", "model", "golden", "exact-point", "loss"})
"""The objectives that say whether the copy holds what it should."""

_WORST_FIRST = (Status.MISSED, Status.INCONCLUSIVE, Status.MET)
_EXIT_CODES = {Status.MET: 0, Status.MISSED: 1, Status.INCONCLUSIVE: 4}


def combine(statuses: Iterable[Status]) -> Status:
    """The worst of ``statuses``; of none: inconclusive, since nothing was proven."""
    seen = set(statuses)
    return next((status for status in _WORST_FIRST if status in seen), Status.INCONCLUSIVE)


def exit_code(verdict: Verdict) -> int:
    """The process's exit code for ``verdict``: met 0, missed 1, inconclusive 4 (DESIGN.md, command line)."""
    return _EXIT_CODES[verdict.status]


def judge(evidence: Evidence, judges: Mapping[str, Judge] = JUDGES) -> Verdict:
    """Judge every demand that was frozen with the plan. Never raises because of what the evidence holds."""
    plan = evidence.record.plan
    findings = [_find(evidence, demand, judges) for demand in plan.demands]
    failed = _failed(evidence)
    if _provider_failed(failed, RESTORE):
        findings = [_never_recovered(finding, failed[RESTORE]) for finding in findings]
    findings = [_verified(finding, findings) for finding in findings]
    broken_off = [*_completed(evidence, failed)]
    course = [*broken_off, *_abandoned(evidence), *_steady(evidence, not broken_off)]
    findings = [*course, *([] if course else _journalled(evidence)), *findings]
    phases, crash = _phases(evidence)
    made = evidence.effect(RESTORE)
    findings.extend(crash)
    findings = [_distrusted(finding, evidence.problems) for finding in findings]
    return Verdict(
        run=plan.run.id,
        target=plan.request.target,
        drill=plan.request.drill,
        status=combine(finding.status for finding in findings),
        findings=tuple(findings),
        phases=phases,
        restored=None if made is None else restored_by(made, plan),
    )


def _find(evidence: Evidence, demand: Demand, judges: Mapping[str, Judge]) -> Finding:
    judge_demand = judges.get(demand.objective)
    if judge_demand is None:
        return _unknown(demand, f"No judge knows the objective {demand.objective!r}.")
    try:
        return judge_demand(evidence, demand)
    except Exception as error:
        return _unknown(demand, f"The judge itself failed with {type(error).__name__}, so nothing is known.")


def _unknown(demand: Demand, because: str) -> Finding:
    return Finding(demand.objective, demand.path, Status.INCONCLUSIVE, because, unit=demand.unit, limit=demand.limit)


def _failed(evidence: Evidence) -> dict[str, Entry]:
    """The calls that failed and did not take effect when tried again, each with its last failure."""
    failed: dict[str, Entry] = {}
    for entry in evidence.entries:
        if entry.kind == "failed":
            failed[entry.call] = entry
        elif entry.kind == "effect":
            failed.pop(entry.call, None)
    return failed


def _provider_failed(failed: Mapping[str, Entry], *calls: str) -> bool:
    """Whether one of ``calls`` is known not to have come. Where the harness itself failed, nothing is known."""
    return any(call in failed and failed[call].data.get("error") in _PROVIDERS_OWN for call in calls)


def _abandoned(evidence: Evidence) -> list[Finding]:
    try:
        return list(failover.abandoned(evidence))
    except Exception as error:
        because = f"What the provider said of the failover cannot be read: {type(error).__name__}."
        return [Finding("failover", "", Status.INCONCLUSIVE, because)]


def _never_recovered(finding: Finding, failure: Entry) -> Finding:
    """A restoration that the provider failed is known not to have come: that is missed, not unknown."""
    if finding.objective != "time-to-copy":
        return finding
    because = f"The restore failed, so no copy came: {_sentence(failure)}"
    return replace(finding, status=Status.MISSED, because=because, measured=None, interval=None)


def _verified(finding: Finding, all_of_them: list[Finding]) -> Finding:
    """The time to a verified copy is met only by a copy that is verified: it is no better than what was found in it."""
    if finding.objective != "time-to-copy" or finding.status is not Status.MET:
        return finding
    found = [f for f in all_of_them if f.objective in CONTENT and f.path == finding.path]
    worst = combine([finding.status, *(f.status for f in found)])
    if worst is Status.MET:
        return finding
    what = ", ".join(f.objective for f in found if f.status is worst)
    return replace(finding, status=worst, because=f"The copy is not verified ({what} {worst}). {finding.because}")


def _steady(evidence: Evidence, complete: bool) -> Iterable[Finding]:
    """What a drill's hypothesis saw, where it was out of its objectives: before, the drill shows nothing; after, the
    drill harmed its source, unless it broke off, and what it had begun was still to be undone."""
    seen = [o.value for o in evidence.observations if o.what == "steady"]
    for place, value in enumerate(seen):
        if value["in_slo"]:
            continue
        state = f"p95 {value['p95']:.3f} s, {value['errors']} of {value['probes']} probes failed"
        if place == 0:
            because = f"The source was not within its objectives before the drill began ({state})."
            yield Finding("steady-state", "source", Status.INCONCLUSIVE, because)
        else:
            when = "after the drill" if complete else "when the drill broke off, before it was unwound"
            because = f"The source was not within its objectives {when} ({state})."
            yield Finding("steady-state", "source", Status.MISSED if complete else Status.INCONCLUSIVE, because)


def _completed(evidence: Evidence, failed: Mapping[str, Entry]) -> Iterable[Finding]:
    """One finding, ``completed``, where the run did not do all it had planned; none where it did.

    It comes before the demands, most of which it explains.
    """
    if failed:
        call, entry = next(iter(failed.items()))
        status = Status.MISSED if _provider_failed(failed, *PROMISED) else Status.INCONCLUSIVE
        yield Finding("completed", "", status, f"The call {call!r} failed: {_sentence(entry)}")
        return
    undone = [call.id for call in _planned(evidence) if evidence.effect(call.id) is None]
    if undone:
        halted = [_sentence(entry) for entry in evidence.entries if entry.kind == "halted"][-1:]
        because = f"The run ended before {len(undone)} of its planned calls took effect, the first {undone[0]!r}."
        yield Finding("completed", "", Status.INCONCLUSIVE, " ".join([because, *halted]))


def _journalled(evidence: Evidence) -> Iterable[Finding]:
    """One finding, ``completed``, where Chaos Toolkit tells of a failure of which the ledger knows nothing: that of
    another extension's activity, or of a hypothesis that could not be looked at."""
    journal = evidence.journal
    if journal is None:
        if any(entry.kind == "event" and {"exit", "unseen"} & set(entry.data) for entry in evidence.entries):
            because = "Without Chaos Toolkit's journal nobody knows how all of the experiment's activities ended."
            yield Finding("completed", "", Status.INCONCLUSIVE, because)
        return
    try:
        failed = [_name(step) for step in (*journal["run"], *journal["rollbacks"]) if _failed_elsewhere(step)]
        well = (journal["status"], journal["deviated"]) == ("completed", False)
    except (KeyError, TypeError, AttributeError):
        yield Finding("completed", "", Status.INCONCLUSIVE, "Chaos Toolkit's journal cannot be read.")
        return
    if failed:
        because = f"Activities of other extensions failed, whose doings no ledger shows: {', '.join(failed)}."
        yield Finding("completed", "", Status.INCONCLUSIVE, because)
    elif not well:
        deviated = " and deviated" if journal["deviated"] else ""
        because = f"Chaos Toolkit calls the experiment {journal['status']}{deviated}; its journal says where."
        yield Finding("completed", "", Status.INCONCLUSIVE, because)


def _failed_elsewhere(step: Mapping[str, Any]) -> bool:
    """A process that exits with another code than 0 succeeds, if Chaos Toolkit is asked."""
    provider = step["activity"]["provider"]
    exited = step["output"]["status"] if provider.get("type") == "process" and step.get("output") else 0
    return provider.get("module") != ACTIVITIES and (step.get("status") != "succeeded" or exited != 0)


def _name(step: Mapping[str, Any]) -> str:
    return str(step["activity"]["name"])


def _planned(evidence: Evidence) -> tuple[Call, ...]:
    return evidence.record.plan.calls


def _sentence(entry: Entry) -> str:
    return str(entry.data.get("because") or "no reason was recorded.")


def _phases(evidence: Evidence) -> tuple[tuple[Phase, ...], list[Finding]]:
    try:
        return (*outage.phases(evidence), *failover.phases(evidence)), []
    except Exception as error:
        because = f"The phases could not be derived: {type(error).__name__}."
        return (), [Finding("phases", "", Status.INCONCLUSIVE, because)]


def _distrusted(finding: Finding, problems: tuple[str, ...]) -> Finding:
    """Evidence that is torn, altered or incomplete proves nothing; what it shows as missed stays missed."""
    if not problems or finding.status is not Status.MET:
        return finding
    because = f"The evidence cannot be trusted: {problems[0].rstrip('.')}. Otherwise: {finding.because}"
    return replace(finding, status=Status.INCONCLUSIVE, because=because)


def restored_by(effect: Mapping[str, Any], plan: Plan) -> Restored | None:
    """What was made, from the effect of the call ``restore``; the database's name may stand in that call's plan."""
    planned = next((call.args for call in plan.calls if call.id == RESTORE), {})
    database = effect.get("database") or planned.get("database") or ""
    try:
        return Restored(str(effect["identifier"]), str(effect["host"]), int(effect["port"]), str(database))
    except (KeyError, TypeError, ValueError):
        return None
