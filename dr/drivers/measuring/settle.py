"""The verb ``settle``: wait until all of its paths, which are measured already, are good at the same time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dr.config.context import Context
from dr.domain.errors import ProviderError, UsageError
from dr.domain.model import Call, Effect, Observation, Progress, Verb
from dr.drivers.measuring.paths import READS, RESTORED, SERVED, SOURCE, WRITTEN
from dr.drivers.measuring.settling import Path, Rule
from dr.drivers.service import guardian
from dr.drivers.service.asking import Histograms, between, histograms, metrics
from dr.drivers.service.config import ServiceConfig
from dr.evidence.directory import RunDirectory
from dr.evidence.model import Evidence
from dr.host import children
from dr.judge.findings import UnknownError
from dr.judge.interruption import Interruption, measured_on, outage_of, usual
from dr.judge.objectives import outage, service
from dr.judge.windows import recovered, slo_of, windows

SLACK = 30.0
"""Seconds that a settle may take beyond its own, twice, and its patience."""


class Settle:
    """Of one path the call is ``settle-PATH``, of several ``settle``.

    A path that is demanded to be back within some time is waited for until then, counted from when it went out, or from
    the disaster where it had not been out yet; any other is measured for its seconds and no longer.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._read: dict[str, Path] = {}
        """By name, what was read of each path by this process."""
        self._looked, self._stood = 0.0, 0.0
        """When the service that the run has started was looked at, and for how many seconds it had stood still."""

    def propose(self, verb: Verb) -> Call:
        """Raises UsageError for a path that is named twice, RefusedError where the source has no service to settle."""
        paths, settings = list(verb.args["paths"]), self._context.settings
        if len({*paths}) < len(paths):
            raise UsageError(f"settle takes paths, a list of different ones, not {paths!r}.")
        seconds, copied, stated = settings.meter.settle, paths == [RESTORED], settings.objectives
        longest = max(seconds, settings.meter.settle_longest)
        patience = 0.0 if copied else max(outage.FAILOVER.of(stated), outage.PROMOTION.of(stated))
        return Call(
            id=f"settle-{paths[0]}" if len(paths) == 1 else "settle",
            verb=verb.name,
            phase="verify" if copied else "measure",
            driver="measuring",
            operation="settle",
            args={"paths": {path: self._url(path) for path in paths}, "seconds": seconds, "longest": longest},
            effect=Effect.READS,
            until=f"{seconds:g} s measured",
            deadline=max(seconds * 2, longest) + SLACK + patience + settings.meter.timeout,
        )

    def _url(self, path: str) -> str:
        """Where the service shows its own counts of what is asked on ``path``."""
        if path != SOURCE:
            return SERVED if path == RESTORED else ""
        return self._context.target.of(ServiceConfig).url

    def begin(self, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """What ``poll`` needs: of each path the number it begins with, and until when it is waited for."""
        evidence, paths, self._looked = self._evidence(), {}, self._context.clock.now().at
        awaited = _awaited(evidence, outage.FAILOVER.of(self._context.settings.objectives))
        for name, url in args["paths"].items():
            path = self._read[name] = self._path(name, args, None, None)
            path.late, out = _seen(path.shown(evidence, name, math.inf), name) if name in awaited else (None, 0.0)
            paths[name] = {
                "first": path.first,
                "late": path.late,
                # What hangs is told of when it times out: by then it is known to have been out for too long.
                "until": out + awaited.get(name, 0.0) + path.rule.looked_back + self._context.settings.meter.timeout,
                "url": url,
                "metrics": _counts(url) if url else None,
            }
        return {"begun": self._context.clock.now().at, "paths": paths}

    def _evidence(self) -> Evidence:
        directory = RunDirectory(self._context.run)
        return Evidence(directory.record(), directory.ledger(self._context.clock).entries())

    def _seen_back(self, name: str, path: Path) -> bool:
        """Whether the judge would see the path back, were it to look now: while the meter itself was late, nobody knows
        whether the path was good."""
        evidence, settled = path.shown(self._evidence(), name, path.newest), path.settled()
        whole = _outage(evidence, name)
        if whole is None:
            return True
        if math.isinf(whole.ended.high) or settled is None:
            return math.isfinite(whole.ended.high)
        slo = slo_of(evidence, name)
        return recovered(windows(settled, evidence.record.window, slo), slo) is not None

    def _still(self, now: float) -> float:
        """Seconds for which the service's own process has been stopped, as far as this process saw."""
        held = children.running(self._context.run / guardian.PIDFILE)
        if held is not None and children.stands_still(held.pid):
            self._stood += now - self._looked
        self._looked = now
        return self._stood

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        """``settled``: of each path the ``first`` and ``last`` number of what was measured meanwhile."""
        now, waits = self._context.clock.now().at, list[str]()
        settled: dict[str, dict[str, float]] = {}
        patient = [name for name, began in result["paths"].items() if now < began["until"]]
        for name, began in result["paths"].items():
            if name not in self._read:  # this process came upon it
                self._read[name] = self._path(name, call.args, began["first"], began.get("late"))
            path = self._read[name]
            path.read()
            if why := path.waits(name in patient):
                waits.append(f"{name}: {why}")
            settled[name] = {**path.told()}
            if name == RESTORED and (stood := self._still(now)):
                settled[name]["stood"] = round(stood, 1)
        if not waits:  # the judge reads all that was measured, and is asked last
            waits = [f"{name}: not seen back" for name in patient if not self._seen_back(name, self._read[name])]
        if waits:
            return Progress(done=False, note="; ".join(waits))
        seen = tuple(
            Observation("metrics", name, between(began["metrics"], counted), now)
            for name, began in result["paths"].items()
            if began["metrics"] is not None and (counted := _counts(began["url"])) is not None
        )
        return Progress(done=True, result={"begun": result["begun"], "settled": settled}, observations=seen)

    def _path(self, name: str, args: Mapping[str, Any], first: int | None, late: float | None) -> Path:
        settings, writes = self._context.settings, name in WRITTEN
        stated, meter = settings.objectives, settings.meter
        seconds, kept = float(args["seconds"]), (service.LATENCY.of(stated), service.ERRORS.of(stated))
        rule = Rule(seconds, meter.window, *kept, float(args.get("longest", seconds)))
        rate = meter.markers if writes else meter.rate
        probes, slo = not writes and name != READS, slo_of(self._evidence(), name)
        return Path(self._context.run, name, rate, rule, first, writes=writes, probes=probes, late=late, slo=slo)


def _awaited(evidence: Evidence, usual: float) -> Mapping[str, float]:
    """By path that has to come back, for how many seconds it may be out, as that was frozen with the plan. ``usual``:
    seconds of one without such a limit."""
    demands = evidence.record.plan.demands
    back = {demand.path: usual for demand in demands if demand.objective == "unaided"}
    return back | {one.path: one.limit for one in demands if one.objective == "outage" and one.limit is not None}


def _seen(evidence: Evidence, name: str) -> tuple[float | None, float]:
    """Beyond how many seconds the judge calls an answer of the path bad; None: what is usual is not known. And when it
    went out at the latest, wall time, or else the disaster."""
    disaster, measured, whole = evidence.struck(), measured_on(evidence, name), _outage(evidence, name)
    known = usual(measured, disaster) if measured is not None else None
    return None if known is None else known.late, disaster if whole is None else max(disaster, whole.began.high)


def _outage(evidence: Evidence, name: str) -> Interruption | None:
    """As the judge sees it by now; None: there was none, or that cannot be told."""
    try:
        return outage_of(evidence, name).whole
    except UnknownError:
        return None


def _counts(url: str) -> Histograms | None:
    """The service's own counts; None where it shows none: then none are observed, and their demands inconclusive."""
    try:
        return histograms(metrics(url), tuple(service.METRICS.values()))
    except ProviderError:
        return None
