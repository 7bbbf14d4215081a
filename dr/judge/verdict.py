"""One verdict from a run's evidence: every demand judged, the worst finding wins. Pure.

The rule of combination is Jepsen's: missed beats inconclusive beats met, and a judge that crashes does not know. What
was not proven is never met: an empty list of demands, a run that did not finish and altered evidence are inconclusive.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from dr.config.objective import About, Objective
from dr.domain.model import Finding, Phase, Status, Verdict
from dr.evidence.model import Entry, Evidence
from dr.evidence.restored import components, unread
from dr.judge import course, phases
from dr.judge.findings import WORST_FIRST, finding, judged

UNLOADED = " Where a provider in a directory of DR_PLUGINS brings it, that was not loaded here."
_EXIT_CODES = {Status.MET: 0, Status.MISSED: 1, Status.INCONCLUSIVE: 4}


def combine(statuses: Iterable[Status]) -> Status:
    """The worst of ``statuses``; of none: inconclusive, since nothing was proven."""
    seen = set(statuses)
    return next((status for status in WORST_FIRST if status in seen), Status.INCONCLUSIVE)


def exit_code(verdict: Verdict) -> int:
    """The process's exit code for ``verdict``."""
    return _EXIT_CODES[verdict.status]


def judge(evidence: Evidence, objectives: Mapping[str, Objective]) -> Verdict:
    """Judge every demand that was frozen with the plan, each by its objective among all that there are. Never raises
    because of what the evidence holds."""
    plan = evidence.record.plan
    findings = [
        judged(objectives[demand.objective].judge, evidence, demand)
        if demand.objective in objectives
        else finding(demand, Status.INCONCLUSIVE, f"No judge knows the objective {demand.objective!r}.{UNLOADED}")
        for demand in plan.demands
    ]
    findings = [*course.findings(evidence), *_unread(evidence), *_of_verified_copies(evidence, objectives, findings)]
    timed: tuple[Phase, ...] = ()
    try:
        timed = phases.phases(evidence, objectives)
    except Exception as error:
        because = f"The phases could not be derived: {type(error).__name__}."
        findings.append(Finding("phases", "", Status.INCONCLUSIVE, because))
    findings = [_distrusted(_clocked(one, evidence, objectives), evidence) for one in findings]
    return Verdict(
        run=plan.run.id,
        target=plan.request.target,
        drill=plan.request.drill,
        status=combine(one.status for one in findings),
        findings=tuple(findings),
        phases=timed,
        restored=components(evidence.entries),
    )


def _unread(evidence: Evidence) -> Iterator[Finding]:
    """What an examination left out is not proven by what it did read. Where nothing was to be examined, as with
    --no-verify, the report says so, and nothing was asked."""
    lacks = ", ".join(f"{of.role} {of.ref.name}" for of in unread(evidence.entries))
    if lacks and evidence.milestone("examined") is not None:
        yield Finding("examined", "", Status.INCONCLUSIVE, f"No examination named {lacks}: that is not verified.")


def _of_verified_copies(
    evidence: Evidence, objectives: Mapping[str, Objective], findings: list[Finding]
) -> list[Finding]:
    """The time to a verified copy is no better than what was found in the copy. Where the provider failed to make one,
    it is known not to have come: that is missed, and not unknown."""
    timing = {name for name, one in objectives.items() if one.verified}
    content = [
        one for one in findings if one.objective in objectives and objectives[one.objective].about is About.CONTENT
    ]

    def told(one: Finding) -> Finding:
        if one.objective not in timing:
            return one
        role = objectives[one.objective].role
        never = _never_came(evidence, role)
        if never is not None:
            because = f"The restore failed, so no copy came: {course.sentence(never)}"
            return replace(one, status=Status.MISSED, because=because, measured=None, interval=None)
        roles = ("", role) if role else {other.role for other in objectives.values()}
        held = [other for other in content if other.path == one.path and objectives[other.objective].role in roles]
        worst = combine([one.status, *(other.status for other in held)])
        if one.status is not Status.MET or worst is Status.MET:
            return one
        what = ", ".join(other.objective for other in held if other.status is worst)
        return replace(one, status=worst, because=f"The copy is not verified ({what} {worst}). {one.because}")

    return [told(one) for one in findings]


def _never_came(evidence: Evidence, role: str) -> Entry | None:
    """The failure by which nothing of ``role`` came; None where that is not known, or where another provider than the
    one that failed restored it."""
    failure = course.broken(evidence, "available")
    if failure is None or not role:
        return failure
    drivers = {call.id: call.driver for call in evidence.record.plan.calls}
    told = (one for one in evidence.entries if "available" in one.milestones)
    came = {drivers.get(one.call) for one in told if role in {of.role for of in one.components}}
    return failure if not came or drivers.get(failure.call) in came else None


def _clocked(one: Finding, evidence: Evidence, objectives: Mapping[str, Objective]) -> Finding:
    """What rests on times says what became of the clock meanwhile."""
    about, told = objectives[one.objective].about if one.objective in objectives else None, evidence.clocks().told
    if one.measured is None or about not in (About.TIME, About.WRITES) or not told:
        return one
    return replace(one, because=f"{one.because} {told}")


def _distrusted(one: Finding, evidence: Evidence) -> Finding:
    """Evidence that was altered proves nothing, also not that a demand was missed. That of a run which is not sealed
    yet may be whole: what it shows as missed stays missed."""
    problem = evidence.problems[0] if evidence.problems else evidence.unsealed if one.status is Status.MET else ""
    if not problem or one.status is Status.INCONCLUSIVE:
        return one
    because = f"The evidence cannot be trusted: {problem.rstrip('.')}. Otherwise: {one.because}"
    return replace(one, status=Status.INCONCLUSIVE, because=because)
