"""What is looked at before a disaster and once the paths are back: the verb ``observe`` (docs/design.md, Observations).

Nothing here changes anything but the write that is attempted at the old primary, which must not take it. What cannot be
observed is told as such, why, so that what was asked of it is inconclusive; it does not end the run, which has more to
see.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from dr.config.context import Context
from dr.domain.errors import DrError, ProviderError, RefusedError
from dr.domain.model import Call, Effect, Facts, Observation, Progress, Request, RunIdentity, Verb
from dr.domain.refs import Endpoint, Ref
from dr.drivers.faults.plugin import command_of
from dr.drivers.faults.provider import run_command
from dr.drivers.measuring.paths import markers
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.connection import connect
from dr.drivers.postgres.meter.mark import marker_table
from dr.drivers.postgres.servers import Servers, attempt_write, read_markers
from dr.drivers.postgres.source import database_of, source_among
from dr.drivers.postgres.state import unkept
from dr.drivers.prometheus.client import Points, Prometheus, expression, scraped
from dr.drivers.prometheus.plugin import PrometheusConfig
from dr.drivers.service.asking import metrics
from dr.drivers.service.config import ServiceConfig
from dr.evidence.directory import RunDirectory
from dr.evidence.model import Evidence

DRIVER = "observing"
SOURCE = "source"
BEFORE, AFTER = "before", "after"
PATIENCE = 30.0
"""Seconds that what does not answer is asked again."""
ASK_SECONDS = 60.0
"""Seconds in which one observation is made, patience apart."""
FAULT_SECONDS = 30.0
RATE_SCRAPES = 10
"""Scrapes that a rate is taken over: few enough to show an outage of seconds, enough to survive one that is missed."""
NO_RULE = "Prometheus has no such rule"
MOST_POINTS = 5_000
"""Of one series; Prometheus itself returns at most 11,000."""


class ObservingProvider:
    """Calls: ``observe-WHAT``; before the disaster ``observe-service-before``, ``observe-replication`` and
    ``observe-unkept-before``."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._source, self._database = database_of(context.target), context.target.of(PostgresConfig)
        self._old: Endpoint | None = None
        self._looks: Mapping[str, Callable[[Mapping[str, Any]], Sequence[Observation]]] = {
            "service": self._service,
            "replication": self._replication,
            "markers": self._markers,
            "unkept": self._unkept,
            "old-primary": self._old_primary,
            "prometheus": self._prometheus,
        }

    def look(self, request: Request) -> Facts:  # noqa: ARG002  (the Protocol's)
        return Facts(self._now())

    def confirm_identity(self) -> None:
        """Nothing to compare: TLS verifies the database, and whoever named it tells who it is."""

    # -- planning

    def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
        """Raises UsageError for bad arguments, RefusedError where the source has no endpoint."""
        when, paths, promoted = _arguments(verb)
        found = source_among(facts.resources, self._source)
        if when == BEFORE:
            service = _call(verb, "service", "observe-service-before", "prepare", {})
            if found is None:
                return (service,)
            listens = {"host": found.server.host, "port": found.server.port}
            follow = {"replicas": _replicas(self._source.ref, facts), "places": _places(self._source.ref, facts)}
            return (
                service,
                _call(verb, "replication", "observe-replication", "prepare", {**listens, **follow}),
                _call(verb, "unkept", "observe-unkept-before", "prepare", {**listens, "when": BEFORE}),
            )
        if found is None and not promoted:
            raise RefusedError(f"The source {self._source.name} has no endpoint to look at.", "Wait until it has.")
        at: dict[str, Any] = {"host": "${promote.host}", "port": "${promote.port}"}
        if not promoted and found is not None:
            at = {"host": found.server.host, "port": found.server.port}
        tables = {path: marker_table(run.id, path) for path in paths}
        wanted: dict[str, Mapping[str, Any]] = {"service": {}, "markers": {**at, "tables": tables}}
        if not promoted:  # where a replica had to be promoted, the primary is lost for good
            wanted["old-primary"] = wanted["markers"]
        wanted |= {"unkept": {**at, "when": AFTER}, "prometheus": {}}
        calls = [_call(verb, what, f"observe-{what}", "verify", args) for what, args in wanted.items()]
        return tuple(self._attempting(call) if call.operation == "old-primary" else call for call in calls)

    def _attempting(self, call: Call) -> Call:
        """The write is attempted in the first of the tables; without one there is none."""
        tables = [markers(self._source.ref, path) for path in call.args["tables"]]
        return replace(call, effect=Effect.CHANGES, touches=tuple(tables[:1])) if tables else call

    # -- doing

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002  (the Protocol's)
        return {**args, "asked_at": self._now()}

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        """Look; what passes by itself is waited for, and what does not come is told and left out."""
        try:
            seen = self._looks[call.operation](result)
        except DrError as error:
            passing = isinstance(error, ProviderError) and error.transient
            if passing and self._now() - float(result["asked_at"]) < PATIENCE:
                return Progress(done=False, note=str(error))
            return Progress(done=True, result={"observed": 0}, observations=self._failed(call, error))
        return Progress(done=True, result={"observed": len(seen)}, observations=tuple(seen))

    def _failed(self, call: Call, error: DrError) -> tuple[Observation, ...]:
        """Of a server that never came back the judge is told, and of a Prometheus that gave no data; else why nothing
        was observed."""
        if call.operation == "prometheus":
            return (Observation("prometheus", SOURCE, {"error": str(error).rstrip(".")}, self._now()),)
        if isinstance(error, _UnreachableError):
            return (Observation("old-primary", SOURCE, {"outcome": "unreachable"}, self._now()),)
        return (Observation("unobserved", call.operation, str(error), self._now()),)

    def _service(self, _: Mapping[str, Any]) -> Sequence[Observation]:
        """When the service's process had started."""
        url = self._context.target.of(ServiceConfig).url
        started = next((one.value for one in metrics(url) if one.name == "process_start_time_seconds"), math.nan)
        if not math.isfinite(started):
            raise RefusedError(f"The service at {url} does not tell when its process had started.")
        return [Observation("service-process", SOURCE, {"started": started}, self._now())]

    def _replication(self, args: Mapping[str, Any]) -> Sequence[Observation]:
        """How many servers stream from the source, for how many of them its commits wait, and how many are replicas. No
        sender tells whose it is, so each replica is asked whether it streams."""
        server, servers = _server(args), Servers(self._database)
        streaming = sum(_receives(servers, _server(place)) for place in args["places"])
        seen = servers.followed(server.host, server.port)
        value = {"standbys": seen.standbys, "synchronous": seen.synchronous, "commit": seen.commit}
        value |= {"replicas": int(args["replicas"]), "streaming": streaming}
        return [Observation("replication", SOURCE, value, self._now())]

    def _markers(self, args: Mapping[str, Any]) -> Sequence[Observation]:
        """Every write that the new primary holds, by path."""
        server, tables = _server(args), args["tables"]
        begun = self._now()
        held = {path: read_markers(server, self._database, str(table)) for path, table in tables.items()}
        return [Observation("markers", path, {**found, "at": begun}, self._now()) for path, found in held.items()]

    def _unkept(self, args: Mapping[str, Any]) -> Sequence[Observation]:
        """What a server that takes over does not hold, as it is before that and then."""
        with connect(_server(args), self._database, seconds=ASK_SECONDS) as connection:
            value = {"when": args["when"], **unkept(connection)}
        return [Observation("unkept", SOURCE, value, self._now())]

    def _old_primary(self, args: Mapping[str, Any]) -> Sequence[Observation]:
        """What a write comes to where the primary was before."""
        if not command_of(self._context.target) or not args["tables"]:
            raise RefusedError("Where the old primary listens is not known.")
        self._old = old = self._old or self._ask_old()
        table = str(next(iter(args["tables"].values())))
        value = attempt_write(old, _server(args), self._database, table)
        if value["outcome"] == "unreachable":
            raise _UnreachableError(f"The old primary at {old} does not answer.", transient=True)
        return [Observation("old-primary", SOURCE, value, self._now())]

    def _ask_old(self) -> Endpoint:
        """Where the primary was before. Only what puts faults in knows; that takes a process, and so is asked once."""
        instance = {"instance": self._source.name}
        answer = run_command(command_of(self._context.target), "old_primary", instance, FAULT_SECONDS)
        if not (answer.get("host") and answer.get("port")):
            raise RefusedError("Where the old primary listens was not told.")
        return _server(answer)

    def _prometheus(self, _: Mapping[str, Any]) -> Sequence[Observation]:
        config = self._context.target.section(PrometheusConfig)
        if config is None:
            raise RefusedError("The target names no Prometheus.")
        directory = RunDirectory(self._context.run)
        evidence = Evidence(directory.record(), directory.entries(self._context.clock))
        start, end = evidence.struck(), self._now()
        value = recorded(Prometheus(config.url, clock=self._context.clock), config, start, end)
        return [Observation("prometheus", SOURCE, value, self._now())]

    def _now(self) -> float:
        return self._context.clock.now().at


class _UnreachableError(ProviderError):
    """The old primary does not answer: yet, or at all."""


def recorded(prometheus: Prometheus, config: PrometheusConfig, start: float, end: float) -> dict[str, Any]:
    """The SLOs, the scrapes and the alerts of the time from ``start`` to ``end``, as the judge wants them. Raises
    ProviderError where Prometheus does not answer."""
    step = max(config.interval, math.ceil((end - start) / MOST_POINTS))
    over = math.ceil(config.interval * RATE_SCRAPES)

    def ask(what: str) -> Points:
        return prometheus.query_range(what, start, end, step)

    figures = {name: ask(expression(name, over, config.selector)) for name in ("latency", "errors")}
    scrapes = [at for at, value in ask(scraped(config.interval, config.selector)) if value == 1]
    rules = {rule.name: rule for rule in prometheus.alert_rules()} if config.alerts else {}
    asked = {name: rules.get(name) for name in config.alerts}
    whole = [rule for rule in asked.values() if rule is not None and not rule.problem]
    value = {"start": start, "end": end, "step": step, "range": over, "up": runs(scrapes, step)}
    value |= {name: [list(point) for point in points] for name, points in figures.items()}
    value["rules"] = {
        name: {"held": rule.held, "problem": rule.problem} if rule else {"held": None, "problem": NO_RULE}
        for name, rule in asked.items()
    }
    return {**value, "alerts": {rule.name: [at for at, _ in ask(rule.expression)] for rule in whole}}


def runs(times: Sequence[float], step: float) -> list[list[float]]:
    """Times of a grid as stretches without a gap, each from its first to its last. Pure."""
    gaps = [(earlier, later) for earlier, later in pairwise(times) if later - earlier > 1.5 * step]
    begins, ends = [*times[:1], *(later for _, later in gaps)], [*(earlier for earlier, _ in gaps), *times[-1:]]
    return [list(pair) for pair in zip(begins, ends, strict=True)]


def _replicas(source: Ref, facts: Facts) -> int:
    """How many read replicas the provider shows of ``source``: its own list has those of other regions, too."""
    shown = facts.find(source)
    return max(len(shown.replicas if shown else ()), sum(one.replica_of == source for one in facts.resources))


def _places(source: Ref, facts: Facts) -> list[dict[str, Any]]:
    """Where the replicas of ``source`` listen that can be asked: those of other regions are only named."""
    ends = (one.endpoint for one in sorted(facts.resources, key=lambda one: one.ref.name) if one.replica_of == source)
    return [{"host": end.host, "port": end.port} for end in ends if end is not None]


def _receives(servers: Servers, at: Endpoint) -> bool:
    try:
        return servers.receives(at.host, at.port)
    except DrError:
        return False  # then nothing shows that it is among those that stream


def _server(args: Mapping[str, Any]) -> Endpoint:
    return Endpoint(str(args["host"]), int(args["port"]))


def _arguments(verb: Verb) -> tuple[str, tuple[str, ...], bool]:
    """When, the paths of writes, and whether the new primary is a replica that was promoted."""
    return str(verb.args["when"]), tuple(verb.args.get("paths", ())), verb.args.get("primary") == "promoted"


def _call(verb: Verb, what: str, id: str, phase: str, args: Mapping[str, Any]) -> Call:
    until, deadline = f"{what} observed", PATIENCE + ASK_SECONDS
    return Call(*(id, verb.name, phase, DRIVER, what, args), effect=Effect.READS, until=until, deadline=deadline)
