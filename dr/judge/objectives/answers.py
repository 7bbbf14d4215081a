"""Whether the service works on the copy, and answers right under load: planted, answers, stored. Pure.

What is planted is in the copy alone, so that nothing else can answer for it; and under load nothing else is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dr.config.objective import About, Objective
from dr.domain.model import Demand, Finding, Status
from dr.evidence.answers import answered, same
from dr.evidence.model import Evidence, Sample
from dr.judge.findings import UnknownError, finding
from dr.judge.objectives.service import numbered, stopped_while_asked
from dr.judge.windows import good

UNCOMPARED = "what stands in them was not compared, since service.stored tells no values"
UNTOLD = "service.tolerance was changed in between, or a number is too large"


def judge_planted(evidence: Evidence, demand: Demand) -> Finding:
    """What was planted is answered as what it is equal to."""
    seen, golden = evidence.observed("planted", demand.path), evidence.observed("golden", demand.path) or {}
    if seen is None:
        raise UnknownError("The service was not asked for what only the copy holds.")
    answers: dict[str, str] = seen["answers"]
    if not answers:
        raise UnknownError(f"Nothing was planted in the copy: {str(seen['because']).rstrip('.')}.")
    held = {name: name in golden and same(golden[name], answer) for name, answer in answers.items()}
    wrong = [answers[name] for name, alike in held.items() if alike is False]
    asked = f"{len(answers)} requests for what only the copy holds"
    unlike = [name for name, alike in held.items() if alike is False and name in golden]
    if (stopped := stopped_while_asked(evidence, demand.path)) and not any(
        answered(answers[name]) and answered(golden[name]) for name in unlike
    ):
        raise UnknownError(f"{stopped}.")
    if wrong:
        why = next((f" ({answer.rstrip('.')})" for answer in wrong if not answered(answer)), "")
        because = f"{len(wrong)} of {asked} are not answered as what that is equal to{why}."
        return finding(demand, Status.MISSED, because, float(len(wrong)))
    if None in held.values():
        raise UnknownError(f"Not all of {asked} can be compared with the golden answers: {UNTOLD}.")
    waits = seen.get("waits", {})
    if elsewhere := sum(own == "reads" and golden in ("waits", "answers") for golden, own in waits.values()):
        because = f"For {elsewhere} of {len(waits)} golden requests the service does not read the copy, as it does for"
        because += " what only the copy holds: it has them from elsewhere, such as the source."
        return finding(demand, Status.MISSED, because, float(elsewhere))
    if why := str(seen.get("unwatched", "")).rstrip("."):
        raise UnknownError(f"Whether the service reads the copy for golden requests, too, was not seen: {why}.")
    return finding(demand, Status.MET, f"All {asked} are answered as what that is equal to.", 0.0)


def judge_answers(evidence: Evidence, demand: Demand) -> Finding:
    """Every good answer is the golden one of its request."""
    under_load = _good(evidence, demand.path, 0)
    wrong, held = [s for s in under_load if s.golden is False], sum(s.golden is not None for s in under_load)
    if wrong:
        which = f"the first to request {wrong[0].n + 1}"
        because = f"{len(wrong)} of {held} answers under load are not the golden ones of their requests, {which}."
        return finding(demand, Status.MISSED, because, float(len(wrong)))
    if held < len(under_load):
        which = f"{len(under_load) - held} of {len(under_load)} answers under load"
        raise UnknownError(f"Of the requests of {which} no golden answer was known that can be compared.")
    return finding(demand, Status.MET, f"All {held} answers under load are the golden ones of their requests.", 0.0)


def _good(evidence: Evidence, path: str, last: int) -> Sequence[Sample]:
    """The good answers under load. All that there were until the path had settled, and up to number ``last``, must
    still be there."""
    measured, ended = evidence.samples.get(path), evidence.settled(path)
    if measured is None or ended is None:
        raise UnknownError(f"Path {path} was not measured to the end.")
    numbered(measured, 0, max(ended.last, last))
    found = [s for s in measured.samples if good(s)]
    if not found:
        raise UnknownError("No request under load had a good answer.")
    return found


def judge_stored(evidence: Evidence, demand: Demand) -> Finding:
    """The copy holds a prediction of this run for each good answer, and the source none. A request without a good
    answer may have been stored, too."""
    seen = evidence.observed("stored", demand.path)
    if seen is None:
        raise UnknownError("What the service stored was not counted: the target does not say where (service.stored).")
    why = str(seen["because"]).rstrip(".")
    if seen["source"]:
        because = f"The source holds {seen['source']} predictions of this run, which belong in the copy."
        return finding(demand, Status.MISSED, because, float(seen["source"]))
    if seen["copy"] is None:
        raise UnknownError(f"What the service stored in the copy is not known: {why}.")
    answers = _answered(evidence, demand.path, seen)
    told = f"The copy holds {seen['copy']} predictions of this run for {answers} good answers"
    if seen["copy"] < answers:
        return finding(demand, Status.MISSED, f"{told}.", float(answers - seen["copy"]))
    if (asked := max(0, seen["last"] + 1 - seen["first"]) + seen.get("sent", seen["before"])) < seen["copy"]:
        many = f"{told}, and was asked no more than {asked} times"
        return finding(demand, Status.MISSED, f"{many}.", float(seen["copy"] - asked))
    if seen.get("unlike"):
        told = f"{seen['unlike']} of {seen['compared']} predictions of this run in the copy are not what was answered"
        return finding(demand, Status.MISSED, f"{told}.", float(seen["unlike"]))
    if seen["source"] is None and not seen["silent"]:
        raise UnknownError(f"{told}; what the source holds is not known: {why}.")
    held = f"{seen['compared']} of them were held against the answers" if "compared" in seen else UNCOMPARED
    source = "does not answer" if seen["silent"] else "none"
    return finding(demand, Status.MET, f"{told}, the source {source}. {held[0].upper()}{held[1:]}.", 0.0)


def _answered(evidence: Evidence, path: str, seen: Mapping[str, int]) -> int:
    """How many requests for what was planted last had a good answer by the count; those before the load included."""
    first, last = seen["first"], seen["last"]
    return sum(first <= s.n <= last for s in _good(evidence, path, last)) + seen["before"]


OBJECTIVES = (
    Objective("planted", About.SERVICE, judge_planted, on_call="serve"),
    Objective("answers", About.SERVICE, judge_answers, on_call="serve"),
    Objective("stored", About.SERVICE, judge_stored, on_call="serve", needs="stored"),
)
