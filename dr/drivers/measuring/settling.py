"""A settle: whether a path that is measured is good again. What was read of it once is not read again.

Deciding is pure: ``still_out`` and ``Path.waits`` are told what was measured, and what time it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path as File
from statistics import median

from dr.evidence.model import Evidence, Marker, Sample, Samples
from dr.evidence.samples import (
    ACKNOWLEDGED,
    MARKER,
    SAMPLE,
    Growing,
    markers_file,
    markers_of,
    samples_file,
    samples_of,
)
from dr.judge.interruption import BRIEF, STEADY_WINDOWS
from dr.judge.objectives.service import undecided
from dr.judge.windows import Slo, good, measured_enough

BEYOND = 1.0
"""Seconds beyond its time-out in which a request that hangs is told of."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a settled path keeps. ``seconds``: how long it is good at the end. ``window``: seconds of a window.

    ``latency``: limit of the p95, seconds. ``errors``: share of what may fail. ``longest``: seconds up to which it is
    measured on where the errors are so near their limit that fewer do not decide.
    """

    seconds: float
    window: float
    latency: float
    errors: float
    longest: float

    def looks(self, measured: float) -> int:
        """How many looks at the errors ``measured`` seconds are enough for: after ``seconds``, after twice as many, and
        so on, the last one after ``longest``; 0 where there is no other than the first."""
        if self.longest <= self.seconds:
            return 0
        doubled = 1 + math.floor(math.log2(min(measured, self.longest) / self.seconds))
        most = math.ceil(math.log2(self.longest / self.seconds)) + 1
        return most if measured >= self.longest else doubled

    @property
    def looked_back(self) -> float:
        """Seconds before the newest number that decide."""
        return max(self.seconds, STEADY_WINDOWS * self.window)


@dataclass(frozen=True, slots=True)
class Told:
    """A probe or write that is over. ``took``: seconds since it was asked."""

    n: int
    well: bool
    took: float


def still_out(told: Sequence[Told], newest: int, rate: float, rule: Rule, late: float | None) -> bool:
    """Whether the path failed too often in the rule's seconds up to number ``newest``, or failed or stalled at all in
    the windows that the judge wants to see after an outage.

    ``late``: seconds beyond which the judge calls an answer bad, by what was usual before the disaster; None: that is
    not known, and a path that is slow as ever does not stall. What is still under way counts as neither.
    """

    def since(seconds: float) -> list[Told]:
        return [one for one in told if newest - seconds * rate < one.n <= newest]

    within, last = since(rule.seconds), since(STEADY_WINDOWS * rule.window)
    if not within:
        return True
    stalled = max(BRIEF, 2 * median(one.took for one in within)) if late is None else late
    many = sum(not one.well for one in within) > rule.errors * len(within)
    return many or not all(one.well and one.took <= stalled for one in last)


class Path:
    """What the meter of one path has written, as far as its settle needs it.

    ``first``: the number that the settle begins with; without one it begins with what is not over yet.
    ``newest``: the number up to which all are over. Requests that hang are told of last, when they time out: to look
    beyond them would find the path good while it hangs. ``late``: as ``still_out`` has it.
    """

    def __init__(
        self,
        run: File,
        name: str,
        rate: float,
        rule: Rule,
        first: int | None,
        *,
        writes: bool,
        probes: bool,
        late: float | None,
        slo: Slo,
    ) -> None:
        """``writes``: it is measured by markers. ``probes``: a prober's lateness is its own, and has to be judged.
        ``slo``: what is demanded of it."""
        self._rate, self.rule, self._probes, self.late, self._slo = rate, rule, probes, late, slo
        self._samples = Growing(samples_file(run, name), SAMPLE)
        self._markers = Growing(markers_file(run, name), MARKER)
        self._written: Growing[Marker] | Growing[Sample] = self._markers if writes else self._samples
        self._told: list[Told] = []
        self._ahead: set[int] = set()
        self.newest, self.first = -1, 0 if first is None else first
        self._looks, self._near = 0, False
        if first is None:
            self.read()
            self.first = self.newest + 1

    def read(self) -> None:
        """Read what was added."""
        lines = self._written.more()
        for line in lines:
            if isinstance(line, Sample):
                well = good(line)
            elif line.attempt or not line.done:
                continue
            else:
                well = line.outcome == ACKNOWLEDGED
            self._told.append(Told(line.n, well, (line.done - line.due - line.late) / 1e9))
            self._ahead.add(line.n)
        if not self._ahead or self._written.header is None:
            return
        self._advance(self._written.header.timeout)
        oldest = self.newest - self.rule.looked_back * self._rate
        self._told = [one for one in self._told if one.n > oldest]

    def _advance(self, timeout: float) -> None:
        """Move ``newest`` on. A number that is missing for longer than a request may take will not come."""
        lost = max(self._ahead) - (timeout + BEYOND) * self._rate
        if self.newest < 0:
            self.newest = min(self._ahead) - 1
        at = self.newest
        while at + 1 in self._ahead or at + 1 < lost:
            at += 1
            if at in self._ahead:
                self.newest = at  # and none that is missing: the judge wants to see the last one
        self._ahead = {n for n in self._ahead if n > self.newest}

    def waits(self, patient: bool) -> str:
        """Why it has not settled, or "". ``patient``: it is waited for although it was measured long enough."""
        measured = (self.newest - self.first + 1) / self._rate
        if measured < self.rule.seconds:
            return f"{max(0.0, measured):.0f} of {self.rule.seconds:.0f} s measured"
        if patient and still_out(self._told, self.newest, self._rate, self.rule, self.late):
            return f"{measured:.0f} s measured, and not back"
        if self._probes and not self._enough(measured):
            return f"{measured:.0f} s measured, and the prober was late too often"
        if self._probes and self._undecided(measured):
            return f"{measured:.0f} s measured, and the errors are too near their limit to tell"
        return ""

    def _undecided(self, measured: float) -> bool:
        """Whether it is measured on because of its errors: each look is taken once, so that it counts as one."""
        looks, part = self.rule.looks(measured), self.settled()
        if looks > self._looks and part is not None:
            self._looks, self._near = looks, undecided(part, self.rule.window, self._slo, looks)
        return self._near and measured < self.rule.longest

    def told(self) -> dict[str, int]:
        """What the ledger says of it once it has settled."""
        looks = {"looks": self._looks} if self._looks else {}
        return {"first": self.first, "last": self.newest, **looks}

    def _enough(self, measured: float) -> bool:
        """Whether what was measured suffices; the judge decides by itself."""
        if measured >= 2 * self.rule.seconds or (part := self.settled()) is None:
            return True
        return measured_enough(part, self.rule.seconds, self.rule.window, Slo(self.rule.latency, None))

    def settled(self) -> Samples | None:
        """The probes that the settle was told of; None of a path of writes."""
        asked = samples_of(self._samples)
        return asked and replace(asked, samples=tuple(one for one in asked.samples if one.n >= self.first))

    def shown(self, evidence: Evidence, name: str, last: float) -> Evidence:
        """``evidence`` with what was measured of the path, called ``name``, up to number ``last``."""
        asked, written = samples_of(self._samples, last), markers_of(self._markers, last)
        return replace(
            evidence,
            samples={} if asked is None else {name: asked},
            markers={} if written is None else {name: written},
        )
