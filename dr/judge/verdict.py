"""One verdict from a run's evidence: every demand judged, the worst finding wins.

Pure.

The rule of combination is Jepsen's: missed beats inconclusive beats met, and a judge that crashes does not know. What
was not proven is never met: an empty list of demands, a run that did not finish and altered evidence are inconclusive.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from dr.config.objective import About, Objective
from dr.domain.model import Demand, Finding, Phase, Status, Verdict
from dr.evidence.model import Entry, Evidence
from dr.evidence.restored import components
from dr.judge import course, failover, phases

_WORST_FIRST = (Status.MISSED, Status.INCONCLUSIVE, Status.MET)
_EXIT_CODES = {Status.MET: 0, Status.MISSED: 1, Status.INCONCLUSIVE: 4}


def combine(statuses: Iterable[Status]) -> Status:
    """The worst of ``statuses``; of none: inconclusive, since nothing was proven."""
    seen = set(statuses)
    return next((status for status in _WORST_FIRST if status in seen), Status.INCONCLUSIVE)


def exit_code(verdict: Verdict) -> int:
    """The process's exit code for ``verdict``: met 0, missed 1, inconclusive 4 (DESIGN.md, command line)."""
    return _EXIT_CODES[verdict.status]


def judge(evidence: Evidence, objectives: Mapping[str, Objective]) -> Verdict:
    """Judge every demand that was frozen with the plan, each by its objective among all that there are.

    Never raises because of what the evidence holds.
    """
    plan = evidence.record.plan
    findings = [_find(evidence, demand, objectives.get(demand.objective)) for demand in plan.demands]
    timing = {name for name, one in objectives.items() if one.verified}
    content = {name for name, one in objectives.items() if one.about is About.CONTENT}
    failed = course.failed(evidence)
    never = course.broken(evidence, failed, "available")
    if never is not None:
        findings = [_never_recovered(finding, never, timing) for finding in findings]
    findings = [_verified(finding, findings, timing, content) for finding in findings]
    findings = [*course.findings(evidence, failed), *findings]
    timed, crash = _phases(evidence)
    findings.extend(crash)
    findings = [_distrusted(finding, evidence.problems) for finding in findings]
    return Verdict(
        run=plan.run.id,
        target=plan.request.target,
        drill=plan.request.drill,
        status=combine(finding.status for finding in findings),
        findings=tuple(findings),
        phases=timed,
        restored=components(evidence.entries),
    )


def _find(evidence: Evidence, demand: Demand, objective: Objective | None) -> Finding:
    if objective is None:
        return _unknown(demand, f"No judge knows the objective {demand.objective!r}.")
    try:
        return objective.judge(evidence, demand)
    except Exception as error:
        return _unknown(demand, f"The judge itself failed with {type(error).__name__}, so nothing is known.")


def _unknown(demand: Demand, because: str) -> Finding:
    return Finding(demand.objective, demand.path, Status.INCONCLUSIVE, because, unit=demand.unit, limit=demand.limit)


def _never_recovered(finding: Finding, failure: Entry, timing: Collection[str]) -> Finding:
    """A restoration that the provider failed is known not to have come: what times it is missed, not unknown."""
    if finding.objective not in timing:
        return finding
    because = f"The restore failed, so no copy came: {course.sentence(failure)}"
    return replace(finding, status=Status.MISSED, because=because, measured=None, interval=None)


def _verified(
    finding: Finding, all_of_them: Sequence[Finding], timing: Collection[str], content: Collection[str]
) -> Finding:
    """The time to a verified copy is met only by a copy that is verified: it is no better than what was found in it."""
    if finding.objective not in timing or finding.status is not Status.MET:
        return finding
    found = [f for f in all_of_them if f.objective in content and f.path == finding.path]
    worst = combine([finding.status, *(f.status for f in found)])
    if worst is Status.MET:
        return finding
    what = ", ".join(f.objective for f in found if f.status is worst)
    return replace(finding, status=worst, because=f"The copy is not verified ({what} {worst}). {finding.because}")


def _phases(evidence: Evidence) -> tuple[tuple[Phase, ...], list[Finding]]:
    try:
        return (*phases.phases(evidence), *failover.phases(evidence)), []
    except Exception as error:
        because = f"The phases could not be derived: {type(error).__name__}."
        return (), [Finding("phases", "", Status.INCONCLUSIVE, because)]


def _distrusted(finding: Finding, problems: tuple[str, ...]) -> Finding:
    """Evidence that is torn, altered or incomplete proves nothing; what it shows as missed stays missed."""
    if not problems or finding.status is not Status.MET:
        return finding
    because = f"The evidence cannot be trusted: {problems[0].rstrip('.')}. Otherwise: {finding.because}"
    return replace(finding, status=Status.INCONCLUSIVE, because=because)
