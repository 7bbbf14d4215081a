"""A path's samples against the SLO: in windows, each within it, outside it, or void; and as one look. Pure.

A window holds the probes due in it. It is void where the prober itself was late (in the p95, which is what a window is
judged by, or by a stall's length once), missed more than 0.1% of its probes, or slept while answers were under way:
then it says nothing of the target, neither good nor bad.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dr.evidence.model import Evidence, Sample, Samples
from dr.evidence.samples import OWN_REFUSAL
from dr.judge import bounds
from dr.judge.findings import UnknownError

LATE = 0.005
"""Seconds of own lateness (p95) that a window may always have."""
SHARE = 0.02
"""Share of the latency's limit that own lateness may be, where that is more: it adds to every latency, since that is
counted from the due time, and can only make a target look worse."""
STALL = 0.1
"""Seconds by which one late probe shows that nobody looked at the target for a while."""
MISSED = 0.001
"""Share of a window's probes that may be absent."""
FEW = 0.1
"""Share of a look's probes that may be absent: at its ends some are not over yet."""
VOID_SHARE = 0.25
"""Share of void windows beyond which nothing is concluded."""
MOST = 200_000
"""Windows of one path: two days of them."""
UNSEEN = 10_000
"""Windows of one stretch without a probe: some hours of them. A run that is gone on with after days has no more, since
so many void ones already leave nothing to conclude of what was measured beside them."""
IN_A_ROW = 3
"""Windows within the SLO, one after another, that end an outage."""


@dataclass(frozen=True, slots=True)
class Slo:
    """The limits a window is held against, as frozen with the plan; None: not demanded."""

    latency: float | None
    errors: float | None

    def kept(self, p95: float, errors: int, probes: int) -> bool:
        slow = self.latency is not None and p95 > self.latency
        return not slow and (self.errors is None or errors <= self.errors * probes)


@dataclass(frozen=True, slots=True)
class Window:
    """Probes due from ``start`` (wall) for ``seconds``. ``p95`` in seconds. ``void`` says why it counts for nothing."""

    start: float
    seconds: float
    samples: tuple[Sample, ...]
    errors: int
    p95: float
    void: str

    def within(self, slo: Slo) -> bool:
        """Whether the target kept ``slo`` in this window; never so in a void one."""
        return not self.void and slo.kept(self.p95, self.errors, len(self.samples))

    def outside(self, slo: Slo) -> bool:
        """Whether the target broke ``slo`` in this window; never so in a void one."""
        return not self.void and not self.within(slo)


def limits_on(evidence: Evidence, path: str) -> dict[str, float | None]:
    """What is demanded of ``path``: objective to limit."""
    return {d.objective: d.limit for d in evidence.record.plan.demands if d.path == path}


def slo_of(evidence: Evidence, path: str) -> Slo:
    limits = limits_on(evidence, path)
    return Slo(limits.get("latency"), limits.get("errors"))


def good(sample: Sample) -> bool:
    return sample.status == 200 and not sample.error


def latency(sample: Sample, timeout: float) -> float:
    """Seconds from the due time to the answer; without a good answer at least the time-out."""
    seconds = max(0.0, (sample.done - sample.due) / 1e9) if sample.done else timeout
    return seconds if good(sample) else max(seconds, timeout)


def p95(values: Sequence[float]) -> float:
    """The nearest-rank p95 of at least one value."""
    return sorted(values)[max(0, math.ceil(0.95 * len(values)) - 1)]


def surely_outside(samples: Sequence[Sample], timeout: float, slo: Slo) -> bool:
    """Whether the bounds of the p95, or of the share of errors, of at least one sample lie beyond ``slo``. The prober's
    own lateness is no latency of the target's."""
    if slo.errors is not None and bounds.more_than(slo.errors, sum(not good(s) for s in samples), len(samples)):
        return True
    ranks = bounds.p95_ranks(len(samples))
    taken = sorted(latency(s, timeout) - s.late / 1e9 for s in samples)
    return slo.latency is not None and ranks is not None and taken[ranks[0] - 1] > slo.latency


@dataclass(frozen=True, slots=True)
class Look:
    """A moment's probes: ``p95`` in seconds, how many of the ``probes`` failed, and whether both kept their limits.

    ``broken``: by their bounds, one of the two is surely beyond its limit; never so where the prober was stalled. Two
    seconds hold a hundred probes, so that two failures among them are above a limit of 1%, and prove nothing.
    ``void``: why they say nothing of the source, neither good nor bad, or "": the prober itself was late.
    """

    p95: float
    errors: int
    probes: int
    in_slo: bool
    broken: bool
    void: str = ""


def look(samples: Sequence[Sample], timeout: float, slo: Slo, expected: int = 0) -> Look:
    """At least one probe, against what is asked of the source. ``expected``: how many there should be."""
    slow, errors = p95([latency(s, timeout) for s in samples]), sum(not good(s) for s in samples)
    broken = surely_outside(samples, timeout, slo) and not any(s.late > STALL * 1e9 for s in samples)
    kept = slo.kept(slow, errors, len(samples))
    void = ""
    if expected - len(samples) > FEW * expected:
        void = f"{expected - len(samples)} of {expected} probes are missing"
    elif not (kept or broken):  # lateness adds to a latency: what is good in spite of it is good
        void = _void(samples, 0, _asleep(sorted(samples, key=lambda s: s.due)), _allowed(slo))
    return Look(slow, errors, len(samples), kept and not void, broken and not void, void)


def windows(measured: Samples, seconds: float, slo: Slo) -> tuple[Window, ...]:
    """Whole windows from the first due time on; one without a probe is void. A last one cut short is left out."""
    if not measured.samples:
        return ()
    width = round(seconds * 1e9)
    ordered = sorted(measured.samples, key=lambda s: s.due)
    asleep, allowed = _asleep(ordered), _allowed(slo)
    began, expected = ordered[0].due, math.floor(measured.rate * seconds)
    count = (ordered[-1].due + round(1e9 / measured.rate) - began) // width
    members: dict[int, list[Sample]] = {}
    for sample in ordered:
        index = (sample.due - began) // width
        if index not in members:
            unseen = next(reversed(members), -1) + 1
            members |= {one: [] for one in range(max(unseen, index - UNSEEN), index + 1)}
        if len(members) > MOST:
            raise UnknownError(f"The samples of {measured.path} lie too far apart to be those of one run.")
        members[index].append(sample)
    return tuple(
        Window(
            measured.wall(began + index * width),
            seconds,
            tuple(of),
            sum(not good(s) for s in of),
            p95([latency(s, measured.timeout) for s in of]) if of else 0.0,
            _void(of, expected, asleep, allowed),
        )
        for index, of in members.items()
        if index < count
    )


def _asleep(ordered: Sequence[Sample]) -> list[int]:
    """When the prober itself fell asleep: each late probe that follows a punctual one."""
    late = [s.late > STALL * 1e9 for s in ordered]
    return [s.due for s, is_late, was in zip(ordered, late, [False, *late], strict=False) if is_late and not was]


def _allowed(slo: Slo) -> float:
    """Nanoseconds of own lateness, p95, that a window may have."""
    return max(LATE, SHARE * (slo.latency or 0.0)) * 1e9


def _void(of: Sequence[Sample], expected: int, asleep: Sequence[int], allowed: float) -> str:
    if not of:
        return "no probe was taken up"
    lateness = [s.late for s in of]
    if max(lateness) > STALL * 1e9:
        return f"the prober was stalled for {max(lateness) / 1e6:.0f} ms"
    if p95(lateness) > allowed:
        return f"the prober was {p95(lateness) / 1e6:.0f} ms late"
    if expected - len(of) > MISSED * expected:
        return f"{expected - len(of)} of {expected} probes are missing"
    if any(s.error == OWN_REFUSAL for s in of):
        return "the meter's own connections may have filled the pooler"
    if any(s.due < moment < s.done for s in of for moment in asleep):
        return "the prober slept while answers were under way"
    return ""


def countable(found: Sequence[Window]) -> bool:
    """Whether so few of ``found`` are void that something can be concluded, good or bad."""
    void = sum(bool(window.void) for window in found)
    return void < len(found) and void <= VOID_SHARE * len(found)


def why_void(found: Sequence[Window]) -> str:
    return next((f" ({window.void})" for window in found if window.void), "")


def recovered(found: Sequence[Window], slo: Slo) -> int | None:
    """The index of the first of three consecutive windows within the SLO, or None."""
    states = [window.within(slo) for window in found]
    return next((i for i in range(len(states) - IN_A_ROW + 1) if all(states[i : i + IN_A_ROW])), None)


def may_have_recovered(found: Sequence[Window], slo: Slo) -> bool:
    """Whether void windows, or those after the end, could complete three in a row with a good one among them."""
    states = [(w.within(slo), w.outside(slo)) for w in found] + [(False, False)] * (IN_A_ROW - 1)
    runs = (states[i : i + IN_A_ROW] for i in range(len(states) - IN_A_ROW + 1))
    return any(any(is_good for is_good, _ in run) and not any(is_bad for _, is_bad in run) for run in runs)


def measured_enough(measured: Samples, asked: float, window: float, slo: Slo) -> bool:
    """Whether ``measured`` covers the ``asked`` seconds; a prober that was late itself measures up to twice as long.
    That hangs on the prober alone and never on what the target answered, so that no target is measured until it looks
    good; and nothing is dropped for it: what is judged begins where it did."""
    numbers = [sample.n for sample in measured.samples]
    covered = (max(numbers) - min(numbers) + 1) / measured.rate if numbers else 0.0
    return covered >= asked and (covered >= 2 * asked or _telling(windows(measured, window, slo)))


def _telling(found: Sequence[Window]) -> bool:
    """Whether few are void, and leave three others in a row, without which nobody can tell that the path was good."""
    void = [bool(window.void) for window in found]
    in_a_row = any(not any(void[i : i + IN_A_ROW]) for i in range(len(void) - IN_A_ROW + 1))
    return countable(found) and (in_a_row or not any(void))
