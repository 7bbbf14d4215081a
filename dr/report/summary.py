"""What a person wants to know of a run, as sentences: what came back, how long it took, what was lost, what to do next.

Pure; says nothing that the evidence and the verdict do not hold, and nothing that is secret: both hold identifiers and
digests only.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from dr.domain.model import Component, Effect, Finding, Phase, Purpose, Status, Verdict
from dr.evidence.ledger import fold
from dr.evidence.model import ASLEEP, Evidence
from dr.evidence.restored import made, removed, unread
from dr.judge.findings import WORST_FIRST
from dr.report import words

_NO_TIME_OR_COUNT = 1e15
_CLOCKS = {"available": "available", "first correct query": "correct"}
STOPPED = 1.0
"""Seconds of a run in which dr itself was stopped, from which on the report tells of it."""
GONE = ("acknowledged", "loss-seconds")
"""Objectives that say which writes a failover lost."""


class Fact(NamedTuple):
    """The answer to one question: ``value`` is the answer in a few words, ``detail`` goes on from there."""

    name: str
    value: str
    detail: str = ""
    status: Status | None = None

    @property
    def sentence(self) -> str:
        return f"{self.value}{self.detail}"


class Difference(NamedTuple):
    """One setting in which the restoration differs from its source."""

    name: str
    source: str
    restored: str
    expected: bool
    because: str


@dataclass(frozen=True, slots=True)
class Summary:
    """The sentences of a report.

    ``word``: the verdict's status, or that nothing was verified; ``tone``: what it is to look like. ``facts``: what was
    restored, how long it took, back to when, what was lost; ``closing``: the same, as short as can be, which a small
    screen shows when the rest has scrolled away. ``findings``: worst first, otherwise as demanded. ``standing``: what
    of the restored stands, ``kept``: what became of it, ``cut_over``: steps to it. ``differences``: unexpected ones
    first. ``harness``: the meters' own share of a processor, for how long dr itself was stopped, and whether the
    pooler's pools are as they were, or "".
    """

    title: str
    word: str
    tone: Status
    headline: str
    facts: tuple[Fact, ...]
    closing: str
    findings: tuple[Finding, ...]
    standing: tuple[Component, ...]
    kept: str
    cut_over: tuple[str, ...]
    differences: tuple[Difference, ...]
    harness: str


def summarise(evidence: Evidence, verdict: Verdict) -> Summary:
    """The summary of a run."""
    gone = removed(evidence.entries)
    left = tuple(component for component in verdict.restored if component.ref not in gone)
    lacks = unverified(evidence)
    hollow = verdict.status is Status.MET and bool(lacks)
    return Summary(
        title=f"{verdict.drill or evidence.record.plan.what} on {verdict.target}",
        word="not verified" if hollow else str(verdict.status),
        tone=Status.INCONCLUSIVE if hollow else verdict.status,
        headline=f"{lacks}{' ' if lacks else ''}{_judged(verdict)}",
        facts=_facts(evidence, verdict),
        closing=_closing(evidence, verdict),
        findings=tuple(sorted(verdict.findings, key=lambda finding: WORST_FIRST.index(finding.status))),
        standing=left,
        kept=_kept(evidence, verdict),
        cut_over=_cut_over(evidence, verdict, left) if left else (),
        differences=_differences(evidence),
        harness=_harness(evidence, verdict),
    )


def unverified(evidence: Evidence) -> str:
    """What of the restored nobody has read, a sentence; "" where all of it was."""
    names = ", ".join(f"{of.role} {of.ref.name}" for of in unread(evidence.entries))
    return f"Not verified, since nobody has read it: {names}." if names else ""


def named(findings: Sequence[Finding]) -> list[tuple[str, Finding]]:
    """Each finding's name: its objective, and its path where the findings name several."""
    several = len({finding.path for finding in findings if finding.path}) > 1
    return [(f"{f.objective} [{f.path}]" if several and f.path else f.objective, f) for f in findings]


def find(verdict: Verdict, objective: str) -> Finding | None:
    """The first finding of ``objective``, or None: not asked."""
    return next((finding for finding in verdict.findings if finding.objective == objective), None)


def timed(verdict: Verdict) -> Finding | None:
    """How long what was restored took: the first finding of an objective called time-to-something. None: not asked."""
    return next((one for one in verdict.findings if one.objective.startswith("time-to-")), None)


def disaster(evidence: Evidence) -> float | None:
    """When it happened, wall clock; None also where the ledger's entry of it cannot be read."""
    try:
        return number(evidence.struck())
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def number(value: object) -> float | None:
    """``value`` where it is a number, else None: evidence that was altered may hold anything anywhere."""
    return float(value) if isinstance(value, int | float) and abs(value) < _NO_TIME_OR_COUNT else None


def totals(phases: Iterable[Phase]) -> tuple[tuple[str, float], ...]:
    """Seconds by the name of the phase, in the order of first appearance: a phase may come more than once."""
    seconds: dict[str, float] = {}
    for phase in phases:
        seconds[phase.name] = seconds.get(phase.name, 0.0) + phase.seconds
    return tuple(seconds.items())


def _judged(verdict: Verdict) -> str:
    if not verdict.findings:
        return "Nothing was asked of this run, so nothing is proven."
    if verdict.status is Status.MET:
        count = len(verdict.findings)
        return "The one demand is met." if count == 1 else f"All {count} demands are met."
    incomplete = find(verdict, "completed")
    if incomplete is not None:
        return f"The run did not complete. {incomplete.because}"
    counts = []
    for status in (Status.MISSED, Status.INCONCLUSIVE):
        names = [finding.objective for finding in verdict.findings if finding.status is status]
        if names:
            counts.append(f"{len(names)} of {len(verdict.findings)} {status} ({', '.join(dict.fromkeys(names))})")
    return f"{'; '.join(counts)}."


def _harness(evidence: Evidence, verdict: Verdict) -> str:
    """What measuring took, since a harness that is short of processor measures itself; for how long dr was stopped, and
    whether the pooler's pools were looked at, where nothing is to be found in that."""
    markers = {f"markers on {path}": of.processor for path, of in evidence.markers.items()}
    shares = {**{path: of.processor for path, of in evidence.samples.items()}, **markers}
    known = {name: share for name, share in shares.items() if share is not None}
    each = ", ".join(f"{name} {share:.1%}" for name, share in known.items())
    took = f"Measuring took {sum(known.values()):.1%} of one processor ({each})." if known else ""
    stopped = evidence.asleep(*evidence.steps())
    if stopped > STOPPED and not find(verdict, "awake"):
        part = f"at most {ASLEEP:.0%} of it"  # else there is that finding
        took = (
            f"{took} dr itself was stopped for {stopped:.1f} s of the run, {part}, and did nothing meanwhile.".strip()
        )
    looks = [o.value for o in evidence.observations if o.what == "pools" and isinstance(o.value, Mapping)]
    if not looks or find(verdict, "pools"):
        return took
    pools = "The pooler's pools hold no more than before."
    if len(looks) == 1:
        pools = f"The pooler's pools were not looked at: {looks[0].get('because') or 'no reason was recorded.'}"
    return f"{took} {pools}".strip()


def _facts(evidence: Evidence, verdict: Verdict) -> tuple[Fact, ...]:
    out, primary = _out(verdict), _primary(evidence)
    if out and timed(verdict) is None:  # nothing is restored when another server takes over
        return (*out, *primary)
    if out:
        return (*out, _restored(evidence, verdict), *_of_the_copy(evidence, verdict))
    if evidence.record.plan.takes_over and not verdict.restored:
        return primary or (Fact("Primary", "no other server is known to have taken over", _pending(evidence)),)
    return (*primary, _restored(evidence, verdict), *_of_the_copy(evidence, verdict))


def _primary(evidence: Evidence) -> tuple[Fact, ...]:
    """Which server took over, and why that one; none where none is known to have."""
    seen = getattr(evidence.latest("failover"), "value", None)
    value = {**_told_primary(evidence), **(seen if isinstance(seen, Mapping) else {})}
    if not value.get("server") or number(value.get("promoted_at")) is None:
        return ()
    listens, because = (value.get(name) for name in ("listens", "because"))
    detail = f"{f', which listens at {listens}' if listens else ''}{f', because {because}' if because else ''}"
    return (Fact("Primary", str(value["server"]), detail),)


def _told_primary(evidence: Evidence) -> dict[str, object]:
    """The same by the effect that made it the primary, where its component is told."""
    for entry in reversed(evidence.entries):
        for name in ("promoted", "failed-over"):
            if name in entry.milestones and entry.components:
                of = entry.components[0]
                return {"server": of.ref.name, "listens": of.endpoint, "promoted_at": entry.milestones[name]}
    return {}


def _pending(evidence: Evidence) -> str:
    """That a takeover was asked for whose end nobody saw; "" where none was."""
    state = fold(evidence.entries)
    calls = [call for call in evidence.record.plan.calls if call.effect is Effect.TAKES_OVER]
    asked = any(call.id in state.intended and call.id not in {*state.effects, *state.refused} for call in calls)
    return ", though one was asked to: it may still do so, and that cannot be taken back" if asked else ""


def _out(verdict: Verdict) -> tuple[Fact, ...]:
    """How long each path was out, and which writes are gone."""
    outages = [finding for finding in verdict.findings if finding.objective == "outage"]
    if not outages:
        return ()
    never = {Status.MISSED: "never back"}
    told = ", ".join(f"{words.value(f) or never.get(f.status, 'not known')} [{f.path}]" for f in outages)
    worst = min((finding.status for finding in outages), key=WORST_FIRST.index)
    gone = (finding for finding in verdict.findings if finding.objective in GONE)
    return (Fact("Out", told, _limit(replace(outages[0], status=worst)), worst), *map(_gone, gone))


def _gone(finding: Finding) -> Fact:
    if finding.measured is None:
        return Fact("Lost", "not known", f". {finding.because}", finding.status)
    said = words.value(finding) or words.quantity(finding.measured, "acknowledged writes")
    return Fact("Lost", said, f" [{finding.path}]{_limit(finding)}. {finding.because}", finding.status)


def _restored(evidence: Evidence, verdict: Verdict) -> Fact:
    if not verdict.restored:
        return Fact("Restored", *(_unfinished(evidence) or ("nothing",)))
    told = ", ".join(f"{of.ref.name}{f' from {of.origin}' if of.origin else ''}" for of in verdict.restored)
    name = verdict.restored[0].ref.name
    return Fact("Restored", name, told.removeprefix(name))


def _unfinished(evidence: Evidence) -> tuple[str, str] | None:
    """A restoration on call that was begun and took no effect: its name, and what is known of it; None: there is none.
    Where nobody looked, since the run was killed, what it had asked for may stand."""
    if evidence.record.plan.request.purpose is not Purpose.RESTORE:
        return None
    listed = (evidence.remains() or {}).get("remains")
    if isinstance(listed, list) and listed:
        return str(listed[0]["identifier"]), f", unfinished: the provider calls it {listed[0]['status']}"
    state = fold(evidence.entries)
    asked = [call for call in evidence.record.plan.calls if call.restoration and call.id in state.intended]
    if not asked or asked[0].id in state.refused:
        return None
    return asked[0].makes[0].name, ", unfinished: it was asked for, and the provider did not list it or was not asked"


def _of_the_copy(evidence: Evidence, verdict: Verdict) -> Iterator[Fact]:
    """How long it took, back to when, and what was lost."""
    begin, read = disaster(evidence), {name: number(evidence.milestone(what)) for name, what in _CLOCKS.items()}
    earlier = [(name, at - begin) for name, at in read.items() if at is not None and begin is not None]
    steps = ", ".join(f"{name} after {words.duration(seconds)}" for name, seconds in earlier)
    by = evidence.disaster_by()
    since = "the disaster (--since)"
    if by is not None:
        named = {Effect.TAKES_OVER: "the promotion's beginning", Effect.READS: "the declared disaster"}
        since = named.get(by, "the disaster")
    elif evidence.record.plan.request.since is None:  # a run that was told nothing counts from its own start
        since = "the command's start (no --since was given)"
    took, point, lost = timed(verdict), *(find(verdict, objective) for objective in ("exposure", "loss"))
    if took is None:
        yield Fact("Took", "not asked")
    else:
        detail = f"{_bounds(took)} from {since} to a verified copy{_limit(took)}{'; ' if steps else ''}{steps}"
        yield _measured("Took", took, detail)
    points = recovery_points(evidence)
    at = ", ".join(f"{words.moment(covers)}{f' ({of})' if len(points) > 1 else ''}" for of, covers in points)
    at = at or "not known"
    if point is None:
        yield Fact("Back to", at)
    else:
        detail = f", exposure {words.value(point)}{_bounds(point)}{_limit(point)}"
        yield Fact("Back to", at, f". {point.because}" if point.measured is None else detail, point.status)
    if lost is None:
        unmarked = "" if evidence.markers else ": no markers were written, so only the exposure is known"
        yield Fact("Lost", "not asked", unmarked)
    else:
        yield _measured("Lost", lost, f"{_bounds(lost)}{_limit(lost)}. {lost.because}")


def _measured(name: str, finding: Finding, detail: str) -> Fact:
    if finding.measured is not None:
        return Fact(name, words.value(finding), detail, finding.status)
    said = "not recovered" if finding.status is Status.MISSED else "not known"
    return Fact(name, said, f". {finding.because}", finding.status)


def _bounds(finding: Finding) -> str:
    bounds = words.bounds(finding)
    return f" ({bounds})" if bounds else ""


def _closing(evidence: Evidence, verdict: Verdict) -> str:
    if out := _out(verdict):
        return ", ".join(f"{fact.name.lower()} {fact.value}" for fact in out)
    begun, primary = _unfinished(evidence), _primary(evidence)
    nothing = "nothing restored"
    if evidence.record.plan.takes_over:
        nothing = "a server was asked to take over" if _pending(evidence) else "no server took over"
    stands = f"{primary[0].value} took over" if primary else f"{begun[0]} unfinished" if begun else nothing
    parts = [", ".join(of.ref.name for of in verdict.restored) or stands]
    point, lost = (find(verdict, objective) for objective in ("exposure", "loss"))
    for finding, form in ((timed(verdict), "in {}"), (point, "{} not covered"), (lost, "{} lost")):
        if finding is not None and finding.measured is not None:
            parts.append(form.format(words.quantity(finding.measured, finding.unit)))
    return ", ".join(parts)


def _limit(finding: Finding) -> str:
    return f", limit {words.limit(finding)}: {finding.status}" if finding.limit is not None else f": {finding.status}"


def recovery_points(evidence: Evidence) -> tuple[tuple[str, float], ...]:
    """Up to when what was restored covers, wall clock: each component, or several of one restoration, with its own."""
    seen = [
        (one.call, one.value.get("covers")) for one in evidence.points("restored") if isinstance(one.value, Mapping)
    ]
    told = ((", ".join(sorted(ref.name for ref in evidence.named(call))), number(covers)) for call, covers in seen)
    return tuple((of, covers) for of, covers in told if covers is not None)


def _kept(evidence: Evidence, verdict: Verdict) -> str:
    """What became of the restoration, and what the provider showed of the run at its end."""
    seen, run = evidence.remains() or {}, verdict.run
    told, begun = str(seen.get("text", "")), None if verdict.restored else _unfinished(evidence)
    if not verdict.restored and (told or begun is None):
        return told
    if begun is not None:  # it was killed before it could look
        ways = f"dr restore --resume {run}  # goes on with it\n  dr cleanup {run}  # ends the run and leaves it"
        return f"{begun[0]} may stand.\n  {ways}"
    if removed(evidence.entries) and seen.get("remains", []) == []:
        if not any(component.role == "database" for component in verdict.restored):
            return f"What the run made was removed when it unwound. {told}".rstrip()
        return f"The copy was removed when the run unwound; --keep would have kept it. {told}".rstrip()
    if told or removed(evidence.entries):
        return told
    if evidence.record.plan.request.purpose is Purpose.DRILL:
        return f"The copy stands until 'dr cleanup {run}' removes it."
    return "The restoration stands: no clean-up removes it."


def connect(component: Component) -> str:
    """How a component is reached, on one line; "" where it has no endpoint."""
    at = f"{component.ref.name} listens at {component.endpoint}" if component.endpoint else ""
    return words.printable(component.connect or at)


def _cut_over(evidence: Evidence, verdict: Verdict, left: tuple[Component, ...]) -> tuple[str, ...]:
    if evidence.record.plan.request.purpose is not Purpose.RESTORE:
        return ()
    steps = [step for component in left for step in component.cut_over]
    of = next(iter(made(evidence.record.plan, evidence.entries)), left[0].ref)
    adopts = f"dr adopt {verdict.run} --confirm {shlex.quote(of.name)}"
    what = "it" if len(left) == 1 else "them"
    steps.append(f"Hand {what} over, so that dr never touches {what} again:\n  {adopts}")
    if lacks := unverified(evidence):
        return (f"{lacks} Read it before users depend on it.", *steps)
    if verdict.status is Status.MET:
        return tuple(steps)
    return (f"The verdict is {verdict.status}: settle the findings above before users depend on it.", *steps)


def _differences(evidence: Evidence) -> tuple[Difference, ...]:
    made, seen = [], evidence.observed("configuration", "restored")
    for item in seen if isinstance(seen, list | tuple) else ():
        if not isinstance(item, Mapping):
            continue
        there, here = item.get("source"), item.get("restored")
        if isinstance(there, Mapping) and isinstance(here, Mapping):  # of fifty tags, those that differ
            alike = {key for key, value in there.items() if key in here and here[key] == value}
            there, here = ({key: of[key] for key in of if key not in alike} for of in (there, here))
        expected, because = bool(item.get("expected")), str(item.get("because", ""))
        made.append(Difference(str(item.get("name", "")), _setting(there), _setting(here), expected, because))
    return tuple(sorted(made, key=lambda difference: difference.expected))


def _setting(value: object) -> str:
    if value is None or value in ("", [], {}):
        return "unset"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_setting(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_setting(item) for item in value)
    return str(value)
