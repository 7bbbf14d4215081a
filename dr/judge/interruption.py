"""How long a path was out, from its own open-loop probes and at their resolution. Pure.

Probes are HTTP samples, queries, or markers seen as samples. docs/design.md, Measuring, has the rule and its reasons.

Each edge lies between what proves the path up and what proves it down: an answer shows it up until the answer (less
the least latency), a bad probe shows it down by the time it failed, or should have been answered. So the ends of the
interval hold whatever the requests came to, and the figure is the middle, by the median latency.

A probe that looks late no longer than the prober itself was, while it was under way, is void. So is one whose outcome
was never noted, and one that the pooler refused where the meter's own connections may be the reason.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple

from dr.evidence.model import Evidence, Sample, Samples
from dr.evidence.samples import ACKNOWLEDGED, OWN_REFUSAL, TIMEOUT
from dr.judge.findings import UnknownError
from dr.judge.windows import LATE, MISSED, STALL, good

FEWEST = 20
"""Good probes before the disaster that tell what is usual."""
TIMES = 3.0
"""A late answer is beyond so many times the usual p99."""
BRIEF = 0.25
"""Seconds of late answers, none of which failed, that are no return of an outage."""
STEADY_WINDOWS = 3
"""Windows in a row that are good end an outage."""
VOID_SHARE = 0.25
"""Share of the time after the disaster in which nothing may be known."""


Stretch = tuple[float, float]
"""From and until, wall clock."""


class Probe(NamedTuple):
    """One request, wall clock: ``asked`` when the prober took it up, ``done`` when it was over. ``slept``: seconds by
    which the prober may have been late to read the answer, its greatest lateness meanwhile."""

    n: int
    asked: float
    done: float
    answered: bool
    error: str
    slept: float

    @property
    def took(self) -> float:
        return self.done - self.asked


class Measured(NamedTuple):
    """A path's probes in the order they were asked. ``whole``: all up to the number that the ledger names are there."""

    period: float
    timeout: float
    probes: tuple[Probe, ...]
    whole: bool


class Usual(NamedTuple):
    """Latencies of good probes before the disaster, seconds. An answer later than ``late`` is bad."""

    least: float
    median: float
    p99: float
    late: float


@dataclass(frozen=True, slots=True)
class Edge:
    """A moment, wall clock: at the earliest, as far as is known best, at the latest."""

    low: float
    best: float
    high: float


@dataclass(frozen=True, slots=True)
class Interruption:
    """From the first bad probe to the last one before a good one; ``ended.high`` is infinite where none came, and where
    an outage was not seen to be over.

    ``failed``: a probe in it failed, and was not only late. ``shown``: when the last probe in it had failed, or should
    have been answered: where a path fails in part, others that were asked meanwhile are answered, and its end seems to
    lie before.
    """

    began: Edge
    ended: Edge
    failed: bool
    shown: float

    @property
    def seconds(self) -> float:
        return max(0.0, self.ended.best - self.began.best)

    @property
    def interval(self) -> tuple[float, float]:
        return max(0.0, self.ended.low - self.began.high), self.ended.high - self.began.low

    @property
    def latest(self) -> float:
        """Before the disaster, and so none of its doing, is only what was over by then at the latest."""
        return max(self.ended.high, self.shown)


@dataclass(frozen=True, slots=True)
class Outage:
    """What became of a path after the disaster.

    ``pieces``: the interruptions that make the outage, ``whole``: from the first of them to the last; None without any.
    ``slips``: interruptions that are none of it. ``unseen``: seconds up to which an outage may have gone unseen.
    ``blind``: stretches nobody looked at. ``hung``: requests that were over no sooner than their time-out.
    ``still_out``: it was out when the measuring ended.
    """

    pieces: tuple[Interruption, ...]
    slips: tuple[Interruption, ...]
    whole: Interruption | None
    unseen: float
    blind: tuple[Stretch, ...]
    hung: int
    measured: Measured
    still_out: bool


# -- what was measured


def settled(evidence: Evidence, path: str) -> int | None:
    """The last number that was on disk when the path had settled, if that was after the disaster."""
    found = evidence.settled(path)
    return None if found is None or found.at < evidence.struck() else found.last


def measured_on(evidence: Evidence, path: str) -> Measured | None:
    """The probes of ``path`` whose outcome was written down: its samples, or else its markers, first attempts alone.
    None where it was not measured. Where it settled after the disaster, up to the number that the ledger then named.

    An answer that came while the prober slept is read when it takes up the probes that fell due meanwhile.
    """
    of, last = evidence.samples.get(path) or evidence.markers.get(path), settled(evidence, path)
    if of is None:
        return None
    told = of.samples if isinstance(of, Samples) else [m for m in of.markers if m.attempt == 0]
    known = [one for one in told if one.done >= one.due + one.late and (last is None or one.n <= last)]
    late, probes = sorted((one.due, one.late) for one in known), []
    for one in known:
        asked, answered = one.due + one.late, good(one) if isinstance(one, Sample) else one.outcome == ACKNOWLEDGED
        meanwhile = late[bisect_left(late, (asked, -math.inf)) : bisect_right(late, (one.done, math.inf))]
        slept = max(map(itemgetter(1), meanwhile), default=0)
        probes.append(Probe(one.n, of.wall(asked), of.wall(one.done), answered, one.error, slept / 1e9))
    whole = last is not None and last + 1 - len(probes) <= MISSED * (last + 1) and any(p.n == last for p in probes)
    return Measured(1 / of.rate, of.timeout, tuple(sorted(probes, key=_asked)), whole)


def usual(measured: Measured, disaster: float) -> Usual | None:
    """What the path's latencies were before ``disaster``; None where too few probes tell."""
    took = sorted(p.took for p in measured.probes if p.done <= disaster and p.answered and p.slept <= LATE)
    if len(took) < FEWEST:
        return None
    p99 = took[math.ceil(0.99 * len(took)) - 1]
    late = min(max(measured.period + took[0], TIMES * p99), (p99 + measured.timeout) / 2)
    return Usual(took[0], took[len(took) // 2], p99, late)


# -- what it shows


class _Telling(NamedTuple):
    """The probes that say something, in the order they were asked, and the good and the bad among them."""

    all: tuple[Probe, ...]
    good: tuple[Probe, ...]
    bad: tuple[Probe, ...]

    def good_after(self, asked: float) -> Probe | None:
        at = bisect_right(self.good, asked, key=_asked)
        return self.good[at] if at < len(self.good) else None


def _asked(probe: Probe) -> float:
    return probe.asked


def outage_of(evidence: Evidence, path: str) -> Outage:
    """What became of ``path`` after the disaster. Raises UnknownError where that cannot be told."""
    measured, disaster = measured_on(evidence, path), evidence.disaster()
    if measured is None:
        raise UnknownError(f"Path {path} was not measured.")
    known = usual(measured, disaster)
    if known is None:
        few = f"Path {path} has fewer than {FEWEST} good answers before the disaster"
        raise UnknownError(f"{few}: what is usual is not known.")
    telling = _telling(measured, known)
    last = measured.probes[-1].asked
    if not telling.all or telling.all[-1].asked < disaster:
        raise UnknownError(f"Path {path} was not measured after the disaster.")
    # when nothing was asked that says something, for longer than a stall
    asked = [*(p.asked for p in telling.all), last]
    gaps = [(a, b) for a, b in pairwise(asked) if b > disaster and b - a > max(STALL, 2 * measured.period)]
    dark = sum(b - a for a, b in gaps)
    if dark > VOID_SHARE * (last - disaster):
        told = f"Nobody looked at path {path} for {dark:.1f} of the {last - disaster:.1f} s after the disaster."
        raise UnknownError(told)
    return _outage(measured, known, telling, disaster, gaps, STEADY_WINDOWS * evidence.record.window)


def _telling(measured: Measured, known: Usual) -> _Telling:
    good_ones, bad_ones = [], []
    for probe in measured.probes:
        # What timed out did so unless the prober slept for a while; what was refused may be the meter's own doing.
        looks_late = probe.answered or (probe.error == TIMEOUT and probe.slept > LATE)
        if probe.answered and probe.took <= known.late:
            good_ones.append(probe)
        elif probe.error != OWN_REFUSAL and not (looks_late and probe.took - probe.slept <= known.late):
            bad_ones.append(probe)
    everything = sorted([*good_ones, *bad_ones], key=_asked)
    return _Telling(tuple(everything), tuple(good_ones), tuple(bad_ones))


def _outage(
    measured: Measured, known: Usual, telling: _Telling, disaster: float, gaps: Sequence[Stretch], steady: float
) -> Outage:
    steps = [b.asked - a.asked for a, b in pairwise(telling.all) if b.asked >= disaster]
    bad = {p.asked for p in telling.bad}
    blind = tuple((a, b) for a, b in gaps if a not in bad and b not in bad)
    every = list(_pieces(telling, known, measured.period))
    seen = tuple(p for p in every if p.latest >= disaster)
    usually = max((p.interval[1] for p in every if not p.failed and p.latest < disaster), default=0.0)
    pieces = _counted(seen, usually, steady)
    whole = _whole(pieces, blind) if pieces else None
    # A moment of late answers, none of which failed, is no outage that the path would have to be back from.
    if whole is not None and (whole.failed or whole.seconds > BRIEF):
        unseen = sum(max(0.0, end - max(begin, whole.ended.best)) for begin, end in blind)
        if telling.all[-1].asked + measured.period - whole.ended.best - unseen < steady:
            whole = replace(whole, ended=replace(whole.ended, high=math.inf))
    return Outage(
        pieces=pieces,
        slips=tuple(p for p in seen if p not in pieces),
        whole=whole,
        unseen=max(steps, default=math.inf) + known.late - known.least,
        blind=blind,
        hung=sum(p.took >= measured.timeout for p in telling.bad if p.done >= disaster),
        measured=measured,
        still_out=whole is not None and measured.probes[-1].asked - whole.ended.low <= max(STALL, 2 * measured.period),
    )


def _pieces(telling: _Telling, known: Usual, period: float) -> Iterator[Interruption]:
    """Runs of bad probes. Good ones between two runs part them only where they were asked for longer than an answer
    may take: probes that are under way together may end either way. A lone answer that is late although the next
    request was answered meanwhile is a slow answer, and the path was not out."""
    runs: list[list[Probe]] = []
    for probe in telling.bad:
        last = runs[-1][-1] if runs else None
        then = telling.good_after(last.asked) if last else None
        apart = then is not None and then.asked < probe.asked
        if last is None or (apart and probe.asked - last.asked > known.late + period):
            runs.append([probe])
        else:
            runs[-1].append(probe)
    for run in runs:
        then = telling.good_after(run[0].asked)
        if len(run) == 1 and run[0].answered and then is not None and then.done < run[0].done - known.p99:
            continue
        failed = any(not p.answered for p in run)
        shown = max(min(p.done, p.asked + known.late) for p in run)
        yield Interruption(_began(run, telling, known), _ended(run, telling, known, period), failed, shown)


def _began(run: Sequence[Probe], telling: _Telling, known: Usual) -> Edge:
    """Up when the last good probe before was asked; down when a bad one failed, or should have been answered."""
    high = min(min(p.done, p.asked + known.late) for p in run)
    down = min(min(p.done, p.asked + known.median) for p in run)
    first = run[0].asked
    end = bisect_left(telling.good, first, key=_asked)
    if not end:
        return Edge(first, first, high)
    begin = bisect_left(telling.good, first - known.late, key=_asked)
    before = telling.good[min(begin, end - 1) : end]
    up = min(max(p.done for p in before), down)
    return Edge(before[-1].asked, (up + down) / 2, high)


def _ended(run: Sequence[Probe], telling: _Telling, known: Usual, period: float) -> Edge:
    """Down when the last bad probe was asked; up when the next good one was answered, less what an answer takes.

    Where answers that hung come all at once, the path went on when the first of them came. Where connections break, it
    was bad until then, although others that are under way are answered: a path may fail in part.
    """
    asked, then = run[-1].asked, telling.good_after(run[-1].asked)
    if then is None:
        return Edge(asked, asked, math.inf)
    broke = max((p.done for p in run if not p.answered and p.error != TIMEOUT), default=asked)
    high = max(then.asked, then.done - known.least, broke)
    low = best = asked
    at_once = min((p.done - p.slept for p in run if p.answered and p.done > asked), default=asked)
    if at_once > asked + period and at_once - known.p99 <= high:
        low, best = max(asked, at_once - known.p99), max(asked, min(at_once - known.median, high))
    up = min(high, max(best, then.done - known.median))
    return Edge(low, (best + up) / 2, high)


def _counted(seen: Sequence[Interruption], usually: float, steady: float) -> tuple[Interruption, ...]:
    """The interruptions that make the outage: without any that does, the longest. ``usually``: seconds of the longest
    interruption before the disaster."""

    def slips(at: int) -> bool:
        piece = seen[at]
        before = math.inf if at == 0 else piece.began.best - seen[at - 1].ended.best
        after = math.inf if at + 1 == len(seen) else seen[at + 1].began.best - piece.ended.best
        if piece.failed or math.isinf(piece.ended.high):
            return False
        alone = min(before, after) >= steady
        return piece.interval[1] <= usually or (piece.seconds <= BRIEF and alone)

    counted = tuple(piece for at, piece in enumerate(seen) if not slips(at))
    return counted or tuple(sorted(seen, key=lambda piece: -piece.seconds)[:1])


def _whole(pieces: Sequence[Interruption], blind: Sequence[Stretch]) -> Interruption:
    """From the first interruption to the last, and to the end of what nobody looked at before or after them."""
    began, ended = pieces[0].began, pieces[-1].ended
    earliest = min([began.low, *(begin for begin, _ in blind)])
    latest = max([ended.high, *(end for _, end in blind)])
    failed, shown = any(p.failed for p in pieces), max(p.shown for p in pieces)
    return Interruption(replace(began, low=earliest), replace(ended, high=latest), failed, shown)
