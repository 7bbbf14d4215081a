"""How the run itself went: did it do all it had planned, end by itself, and leave its source as it was? Pure.

A drill has ended by itself where its ledger says how Chaos Toolkit ended, no signal ended that, its journal tells of no
failure, and its source was looked at once more. One that was killed may have measured all of its demands by then, and
proves nothing: what was still to come was to show that it did no harm. A restore on call has no journal.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from dr.domain.errors import DeadlineError, FailedError
from dr.domain.model import Finding, Purpose, Status
from dr.evidence.model import Entry, Evidence
from dr.judge import phases
from dr.judge.findings import UnknownError

ACTIVITIES = "dr.activities"
"""The module of dr's own activities: what they do stands in the ledger."""
KINDS = {"waiting": "clients that wait", "cancels": "cancels", "busy": "server connections of the harness in use"}
"""What a pool holds, as the observation has it and in words."""
_BROKEN = (FailedError.__name__, DeadlineError.__name__)


def findings(evidence: Evidence) -> list[Finding]:
    """What is to be said of the run beside its demands; nothing where it went as planned. They come before the demands,
    most of which they explain."""
    broken_off = [*_completed(evidence)]
    seen = [
        *_clocks(evidence),
        *_awake(evidence),
        *broken_off,
        *_told(evidence, "failover", "the provider said of the failover", _abandoned),
        *_told(evidence, "steady-state", "the hypothesis saw", partial(_steady, complete=not broken_off)),
        *_told(evidence, "pools", "the pooler's pools held", _pools),
    ]
    return seen or [*_journalled(evidence)]


def _failed(evidence: Evidence) -> dict[str, Entry]:
    """The calls that failed and did not take effect when tried again, each with its last failure."""
    found: dict[str, Entry] = {}
    for entry in evidence.entries:
        if entry.kind == "failed":
            found[entry.call] = entry
        elif entry.kind == "effect":
            found.pop(entry.call, None)
    return found


def broken(evidence: Evidence, milestone: str = "") -> Entry | None:
    """The failure by which ``milestone``, or any that a call promises, is known not to have come: by what the provider
    showed. Where the harness failed, or the way to the provider, nothing is known."""
    failures = _failed(evidence)
    calls = (call for call in evidence.record.plan.calls if call.id in failures)
    promising = (call for call in calls if (milestone in call.promises if milestone else call.promises))
    return next((failures[call.id] for call in promising if failures[call.id].data.get("error") in _BROKEN), None)


def sentence(entry: Entry) -> str:
    """Why a call failed, or a run was stopped."""
    return str(entry.data.get("because") or "no reason was recorded.")


def _not_known(objective: str, because: str) -> Finding:
    return Finding(objective, "", Status.INCONCLUSIVE, because.rstrip())


# -- whether it came to its end


def _completed(evidence: Evidence) -> Iterator[Finding]:
    """One finding, ``completed``, where the run did not do all it had planned, or did not end by itself."""
    ended, failures = _ended(evidence), _failed(evidence)
    if failures:
        call, entry = next(iter(failures.items()))
        status = Status.MISSED if broken(evidence) else Status.INCONCLUSIVE
        yield Finding("completed", "", status, f"The call {call!r} failed: {sentence(entry)} {ended}".rstrip())
        return
    took = {entry.call for entry in evidence.entries if entry.kind == "effect"}
    undone = [call.id for call in evidence.record.plan.calls if call.id not in took]
    if undone:
        because = f"The run ended before {len(undone)} of its planned calls took effect, the first {undone[0]!r}."
        yield _not_known("completed", f"{because} {ended or _halted(evidence)}")
    elif ended:
        yield _not_known("completed", ended)


def _ended(evidence: Evidence) -> str:
    """Why a drill did not end by itself, a sentence; "" where it did, and of a restore on call."""
    if evidence.record.plan.request.purpose is not Purpose.DRILL:
        return ""
    told = [entry.data for entry in evidence.entries if entry.kind == "event"]
    exits = [data["exit"] for data in told if isinstance(data.get("exit"), int)]
    killed = ""
    if any(data.get("killed") for data in told):
        killed = "The drill was killed, and another command finished it."
    elif exits and exits[-1] < 0:
        named = {-number: number.name for number in signal.Signals}.get(exits[-1], f"signal {-exits[-1]}")
        killed = f"The drill was killed: {named} ended Chaos Toolkit."
    elif not exits and not any(data.get("rollbacks") for data in told):
        killed = "The drill was killed: its ledger does not tell that Chaos Toolkit ended."
    if broken_off := f"{_halted(evidence)} {killed}".strip():
        return broken_off
    if unlooked := next((data["unlooked"] for data in told if data.get("unlooked")), ""):
        return f"The source was not looked at: {unlooked}"
    return "The drill ended before its source was looked at once more." if len(_looks(evidence)) == 1 else ""


def _clocks(evidence: Evidence) -> Iterator[Finding]:
    """One finding, ``clock``, where nobody knows how long anything took."""
    try:
        evidence.clocks().check()
    except UnknownError as unknown:
        yield _not_known("clock", str(unknown))


def _awake(evidence: Evidence) -> Iterator[Finding]:
    """One finding, ``awake``, where dr itself was stopped for more than a moment between its first step and its last:
    what it would have done and seen meanwhile, nobody knows."""
    steps = evidence.steps()
    if evidence.drowsy(*steps):
        because = f"dr itself was stopped for {evidence.asleep(*steps):.1f} s of the run."
        yield _not_known("awake", f"{because} What it would have done and seen meanwhile is not known.")


def _halted(evidence: Evidence) -> str:
    return next((sentence(entry) for entry in reversed(evidence.entries) if entry.kind == "halted"), "")


# -- what was seen of it


def _told(
    evidence: Evidence, objective: str, what: str, judge: Callable[[Evidence], Iterable[Finding]]
) -> list[Finding]:
    try:
        return list(judge(evidence))
    except Exception as error:
        return [_not_known(objective, f"What {what} cannot be read: {type(error).__name__}.")]


def _abandoned(evidence: Evidence) -> Iterator[Finding]:
    """A failover that the provider gave up did not time out: it is known not to have come."""
    event = next((event for event in phases.events(evidence) if event.get("abandons")), None)
    if event is not None:
        named = f" ({event['event']})" if event.get("event") else ""
        because = f"The provider abandoned the failover{named}: {event.get('message') or 'without a reason'}."
        yield Finding("failover", "", Status.MISSED, because.replace("..", "."))


def _looks(evidence: Evidence) -> list[Any]:
    """What a drill's hypothesis saw of the source: before it, and after it."""
    return [o.value for o in evidence.observations if o.what == "steady"]


def _steady(evidence: Evidence, complete: bool) -> Iterator[Finding]:
    """What a drill's hypothesis saw, where it was out of its objectives: before, the drill shows nothing; after, the
    drill harmed its source, where that is proven, unless it broke off, and what it had begun was still to be undone."""
    for place, value in enumerate(_looks(evidence)):
        if value["in_slo"]:
            continue
        when = "before the drill began" if place == 0 else "after the drill"
        if place and not complete:
            when = "when the drill broke off, before it was unwound"
        if value.get("void"):
            because = f"Whether the source was within its objectives {when} is not known: {value['void']}."
            yield _not_known("steady-state", because)
            continue
        proven = place > 0 and complete and value.get("broken", True)  # earlier runs did not tell
        doubt = "; so few prove nothing" if place and complete and not proven else ""
        state = f"p95 {value['p95']:.3f} s, {value['errors']} of {value['probes']} probes failed{doubt}"
        because = f"The source was not within its objectives {when} ({state})."
        yield Finding("steady-state", "source", Status.MISSED if proven else Status.INCONCLUSIVE, because)


# -- the pooler: what is left there is named by nothing else, and the next drill finds no connection


def left(before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]) -> list[str]:
    """What a pool holds more of than before, a phrase each."""
    known = {(pool["database"], pool["user"]): pool for pool in before}
    found = []
    for pool in after:
        was = known.get((pool["database"], pool["user"]), {})
        for kind, words in KINDS.items():
            held, had = int(pool.get(kind, 0)), int(was.get(kind, 0))
            if held > had:
                found.append(f"{held} {words} ({had} before) in pool {pool['database']} of {pool['user']}")
    return found


def _pools(evidence: Evidence) -> Iterator[Finding]:
    """One finding, ``pools``, where something is left, or where what was to be looked at was not."""
    looks = {str(o.value.get("when")): o.value for o in evidence.observations if o.what == "pools"}
    before, after = looks.get("before"), looks.get("after")
    if before is None or (after is None and "pools" not in before):
        return  # nothing is known of a pooler
    blind = next((look for look in (before, after or {}) if "pools" not in look), None)
    if blind is not None or after is None:
        because = (blind or {}).get("because") or "the run ended before."
        when = "before the drill" if blind is before else "once the drill was unwound"
        yield _not_known("pools", f"The pooler's pools were not looked at {when}: {because}")
    elif more := left(before["pools"], after["pools"]):
        because = f"The drill left more in the pooler's pools than there was: {'; '.join(more)}."
        yield Finding("pools", "", Status.MISSED, f"{because} Its console's KILL and RESUME, or a restart, frees them.")


# -- what Chaos Toolkit alone knows


def _journalled(evidence: Evidence) -> Iterator[Finding]:
    """One finding, ``completed``, where Chaos Toolkit tells of a failure of which the ledger knows nothing: that of
    another extension's activity, or of a hypothesis that could not be looked at."""
    journal = evidence.journal
    if journal is None:
        if any(entry.kind == "event" and {"exit", "unseen"} & set(entry.data) for entry in evidence.entries):
            because = "Without Chaos Toolkit's journal nobody knows how all of the experiment's activities ended."
            yield _not_known("completed", because)
        return
    try:
        steps = [step for step in (*journal["run"], *journal["rollbacks"]) if _failed_elsewhere(step)]
        names = ", ".join(str(step["activity"]["name"]) for step in steps)
        status, deviated = journal["status"], journal["deviated"]
    except (KeyError, TypeError, AttributeError):
        yield _not_known("completed", "Chaos Toolkit's journal cannot be read.")
        return
    if steps:
        yield _not_known("completed", f"Activities of other extensions failed, whose doings no ledger shows: {names}.")
    elif (status, deviated) != ("completed", False):
        said = f"{status}{' and deviated' if deviated else ''}"
        yield _not_known("completed", f"Chaos Toolkit calls the experiment {said}; its journal says where.")


def _failed_elsewhere(step: Mapping[str, Any]) -> bool:
    """A process that exits with another code than 0 succeeds, if Chaos Toolkit is asked."""
    provider = step["activity"]["provider"]
    exited = step["output"]["status"] if provider.get("type") == "process" and step.get("output") else 0
    return provider.get("module") != ACTIVITIES and (step.get("status") != "succeeded" or exited != 0)
