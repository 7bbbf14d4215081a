"""Measure paths: the verbs ``measure``, which starts a path's meter, and ``settle``, which waits until all are good.

Predictions are measured on the paths ``source``, ``restored`` and any other that has a url; rows are written on
``writes`` (through the pooler) and ``writes-direct``, and on ``source`` beside the predictions; ``reads`` are queries
to the replicas. Each meter is a process of its own (``dr.meter``), found again by its pid file and stopped by
unwinding. The markers' table is a call of its own, made once and dropped at the end, so that restarting the writer
loses no marker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dr.config.context import Context
from dr.domain.errors import RefusedError, UsageError
from dr.domain.model import Call, Effect, Facts, Grant, Observation, Progress, Purpose, Request, RunIdentity, Verb
from dr.domain.refs import Ref
from dr.drivers.clients.config import PoolerConfig, pooler_of
from dr.drivers.clients.pgbouncer_console import allowed
from dr.drivers.measuring.paths import (
    DATABASE_PATHS,
    READS,
    RESTORED,
    SERVED,
    SOURCE,
    WRITES,
    WRITES_DIRECT,
    WRITTEN,
    markers,
)
from dr.drivers.measuring.settle import Settle
from dr.drivers.measuring.stored import PROBER, counted, counting, planted
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.source import database_of
from dr.drivers.service.asking import ask_golden, predictions, service
from dr.drivers.service.config import ServiceConfig
from dr.drivers.service.variants import variants
from dr.evidence.answers import answered
from dr.evidence.samples import ACKNOWLEDGED, last_line, load_markers, markers_file, samples_file
from dr.host import children
from dr.meter.bearer import check_taken
from dr.meter.held import Meters
from dr.meter.http import endpoint
from dr.meter.process import probe, run

START_DEADLINE, TABLE_DEADLINE, STOP_DEADLINE = 30.0, 60.0, 30.0


class MeasuringProvider:
    """Calls: ``marker-table``, ``mark-PATH``, ``measure-PATH``, ``settle`` (of one path: ``settle-PATH``), and
    ``count-stored``. A table of another path than the source is made by ``marker-table-PATH``."""

    def __init__(self, context: Context) -> None:
        self._context, self._target, self._source = context, context.target, database_of(context.target)
        self._settle, self._meters = Settle(context), Meters(context)

    def look(self, request: Request) -> Facts:  # noqa: ARG002  (the Protocol's)
        return Facts(self._context.clock.now().at)

    def confirm_identity(self) -> None:
        """Nothing to compare: markers go to the endpoint that the pinned account named, over verified TLS."""

    def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
        """Raises RefusedError without a service, a pooler or replicas where they are asked for, or the grant markers
        for the source; UsageError for bad arguments."""
        if verb.name == "settle":
            return (self._settle.propose(verb), *counting(self._context, verb, facts, run))
        path, markers, url = _arguments(verb)
        if path in WRITTEN:
            self._check_grant()
            calls = [*self._marking(verb, path, facts, run)]
        elif path == READS:
            args = {"path": READS, "logins": self._reading_from(facts)}
            calls = [self._metering(verb, f"measure-{READS}", "read", args, "the first query answered or given up")]
        else:
            copy = str(verb.args.get("namespace") or "")
            url = self._url(path, self._service().way_into(copy) if copy else url)
            calls = [*self._marking(verb, path, facts, run)] if markers else []
            calls.append(self._probing(verb, path, url, run, bool(copy)))
        return tuple(calls)

    def _url(self, path: str, url: str) -> str:
        """Where predictions of ``path`` are asked for."""
        way = self._service().way(path)
        if way:
            self._check_grant()
        if path != RESTORED and not (way or url):
            raise UsageError(f"Where path {path!r} is served is not known.", "Add it to service.ways of the target.")
        url = url or way or SERVED
        if not url.startswith("${"):
            endpoint(url)  # refused now, and not when the run is under way
        return url

    def _check_grant(self) -> None:
        if Grant.MARKERS not in self._target.grants:
            raise RefusedError(
                f"Measuring the source of {self._context.name} writes predictions and markers of synthetic patients"
                " to it, and the target does not grant markers.",
                "Grant markers in dr.yaml, or leave the source out of the measurement.",
            )

    def _service(self) -> ServiceConfig:
        service = self._context.target.of(ServiceConfig)
        if not service.requests:
            raise RefusedError(
                f"Target {self._context.name} names no service.requests, so there is nothing to measure by.", "Add one."
            )
        return service

    def _marking(self, verb: Verb, path: str, facts: Facts, run: RunIdentity) -> tuple[Call, Call]:
        """The table is made, and dropped, past the pooler, whose connections may lead to a server that was given up."""
        suffix, direct = "" if path == SOURCE else f"-{path}", self._direct(facts, self._source.name)
        args = {"login": direct, "run_id": run.id, "path": path}
        written = markers(self._source.ref, path)
        table = Call(
            *(f"marker-table{suffix}", verb.name, "prepare", "measuring", "create", args),
            effect=Effect.MAKES,
            makes=(written,),
            deadline=TABLE_DEADLINE,
        ).undone_by(f"drop-marker-table{suffix}", "drop", deadline=TABLE_DEADLINE)
        login = self._pooled(self._pooler(), self._pooler().entry) if path == WRITES else direct
        rated = {**args, "login": login, "rate": self._context.settings.meter.markers}
        until = "the first marker acknowledged"
        return table, self._metering(verb, f"mark-{path}", "mark", rated, until, touches=(written,))

    def _metering(
        self,
        verb: Verb,
        id: str,
        operation: str,
        args: Mapping[str, Any],
        until: str,
        *,
        phase: str = "measure",
        touches: tuple[Ref, ...] = (),
        makes: tuple[Ref, ...] = (),
    ) -> Call:
        """The call that starts a meter; its undo stops it."""
        process, meter = children.process(id), self._context.settings.meter
        return Call(
            *(id, verb.name, phase, "measuring", operation, {"rate": meter.rate, "timeout": meter.timeout, **args}),
            effect=Effect.MAKES,
            touches=touches,
            makes=(process, *makes),
            until=until,
            deadline=START_DEADLINE,
            volatile=True,
        ).undone_by(f"stop-{id}", "stop", {"of": id}, touches=(process,), deadline=STOP_DEADLINE)

    def _reading_from(self, facts: Facts) -> list[dict[str, Any]]:
        """Every replica: through the pooler where it leads to them, else directly."""
        if not self._source.replicas:
            raise RefusedError(
                f"Target {self._context.name} names no replicas, so there is nothing to read from.",
                "Add them to the target, or leave path reads out of the measurement.",
            )
        pooler = pooler_of(self._target)
        if pooler is not None and pooler.reads:
            return [self._pooled(pooler, entry) for entry in pooler.reads]
        return [self._direct(facts, name) for name in self._source.replicas]

    def _direct(self, facts: Facts, name: str) -> dict[str, Any]:
        """The login at the endpoint of the instance ``name``."""
        found = facts.find(self._source.named(name))
        if found is None or found.endpoint is None:
            raise RefusedError(
                f"The instance {name} has no endpoint, so that it cannot be measured.",
                "Leave it out, or wait until it has.",
            )
        return self._login(found.endpoint.host, found.endpoint.port)

    def _pooler(self) -> PoolerConfig:
        pooler = pooler_of(self._target)
        if pooler is None:
            raise RefusedError(
                f"Target {self._context.name} names no pooler, so there is no way through it.",
                f"Add one to the target, or measure path {WRITES_DIRECT}.",
            )
        return pooler

    def _pooled(self, pooler: PoolerConfig, entry: str) -> dict[str, Any]:
        """The login through ``entry`` of the pooler."""
        direct = self._login(pooler.host, pooler.port)
        return {**direct, "database": entry, "ca": pooler.ca or direct["ca"], "pooled": True}

    def _login(self, host: str, port: int) -> dict[str, Any]:
        database = self._target.of(PostgresConfig)
        return {
            "host": host,
            "port": port,
            "database": database.name,
            "user": database.harness.user,
            "password": database.harness.secret,
            "ca": database.ca,
        }

    def _probing(self, verb: Verb, path: str, url: str, run: RunIdentity, beside: bool = False) -> Call:
        """Each answer is a row of the database that is behind ``url``. A copy is asked for what was planted there, and
        its answers are held against the golden ones that it gave before; those of another way to the source, against
        what it answers right before it is measured; in a drill those of a namespace ``beside`` production, against
        what production answers then, where that may be asked."""
        args: dict[str, Any] = {"path": path, "url": url}
        of_production = beside and run.purpose is Purpose.DRILL and Grant.MARKERS in self._target.grants
        if path in self._service().ways or of_production:
            args["held"] = self._service().url if of_production else url
        if url == SERVED:
            args |= {"run": run.id, "golden": "${golden.answers}", "planted": planted(self._service())}
        of_source = url in self._service().endpoints()
        asked = children.process("serve") if url == SERVED else service(url)
        written = (predictions(self._source.ref),) if of_source or of_production else ()
        return self._metering(
            *(verb, f"measure-{path}", "probe", args, "the first probe answered or given up"),
            phase="warm-up" if path == RESTORED else "measure",
            touches=() if of_source else (asked,),
            makes=written,
        )

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        match call.operation:
            case "create" | "drop":
                return self._change_table(call.operation, args)
            case "probe" | "mark" | "read":
                return self._start(call.operation, call.id, args)
            case "settle":
                return self._settle.begin(args)
            case "count":
                self._meters.stop(PROBER)
                return {**args, "asked_at": self._context.clock.now().at}
            case _:
                self._meters.stop(str(args["of"]))
                return dict(args)

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        match call.operation:
            case "probe" | "read":
                return self._probed(call.id, result)
            case "mark":
                return self._marked(call.id, result)
            case "settle":
                for path in result["paths"]:
                    self._meters.check_alive(f"{'mark' if path in WRITTEN else 'measure'}-{path}")
                return self._settle.poll(call, result)
            case "count":
                return counted(self._context, result)
            case _:
                return Progress(done=True, result={})

    def _change_table(self, operation: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        from dr.drivers.postgres.meter.login import Login  # psycopg is slow to import
        from dr.drivers.postgres.meter.mark import create_table, drop_table, marker_table

        change = create_table if operation == "create" else drop_table
        change(Login(**args["login"]), str(args["run_id"]), str(args["path"]))
        return {"table": marker_table(str(args["run_id"]), str(args["path"]))}

    def _start(self, job: str, name: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Start ``job``, or find it running already."""
        held, kept = self._meters.running(name), dict[str, Any]()
        if held is None:
            document = {**args, **self._meters.document(name)}
            if job != "probe":
                kept = allowed(self._target, args.get("logins") or [args["login"]])
                document["limits"] = kept["limits"]
            else:
                service = self._service()
                document["url"] = f"{str(args['url']).rstrip('/')}/predict"
                document |= {"fields": list(service.expected), "token": service.token}
                if args.get("held"):
                    how = (service.requests, service.volatile, service.token, service.tolerance)
                    args = {**args, "golden": ask_golden(str(args["held"]), *how)}
                document |= self._asked(service, args)
            held = self._meters.begin(name, partial(run, WORK[job], document))
        return {"path": args["path"], "pid": held.pid, "started": held.who.partition(":")[2], **kept}

    @staticmethod
    def _asked(service: ServiceConfig, args: Mapping[str, Any]) -> dict[str, Any]:
        """The bodies that are sent in turn, and what is known of the golden answer to each: a form, no content."""
        asked = variants(service, str(args.get("run", "")), bool(args.get("planted")))
        forms, how = args.get("golden") or {}, {"volatile": service.volatile, "tolerance": service.tolerance}
        known = [(forms.get(one.golden, ""), one.names) for one in asked]
        golden = [{"form": form, "names": names, **how} if answered(form) else None for form, names in known]
        return {"bodies": [one.request for one in asked], "golden": golden}

    def _probed(self, name: str, result: Mapping[str, Any]) -> Progress:
        """Raises RefusedError where the service refuses the probes' token: that is no outage of its database."""
        self._meters.check_alive(name)
        line = last_line(samples_file(self._context.run, str(result["path"])))
        service = self._target.section(ServiceConfig)
        if line is None:
            return Progress(done=False, result=dict(result), note="no probe is over yet")
        if service is not None:
            check_taken(f"on path {result['path']}", int(line["status"]), service.token)
        return Progress(done=True, result=dict(result))

    def _marked(self, name: str, result: Mapping[str, Any]) -> Progress:
        """Done at the first acknowledged marker; then the database clock's offset is known, too."""
        self._meters.check_alive(name)
        markers = load_markers(markers_file(self._context.run, str(result["path"])))
        if markers is None or not any(m.outcome == ACKNOWLEDGED for m in markers.markers):
            return Progress(done=False, note="no marker is acknowledged yet")
        clock = {"offset": markers.offset, "uncertainty": markers.uncertainty}
        seen = Observation("clock", SOURCE, clock, self._context.clock.now().at)
        return Progress(done=True, result=dict(result), observations=(seen,))


def _write_markers(config: dict[str, Any], ended: Callable[[], str]) -> str:
    from dr.drivers.postgres.meter.mark import write_markers  # psycopg is slow to import

    return write_markers(config, ended)


def _read_rows(config: dict[str, Any], ended: Callable[[], str]) -> str:
    from dr.drivers.postgres.meter.mark import read_rows

    return read_rows(config, ended)


WORK = {"probe": probe, "mark": _write_markers, "read": _read_rows}
"""What the process of an operation does."""


def _arguments(verb: Verb) -> tuple[str, bool, str]:
    """The verb's own arguments. Raises UsageError."""
    path = str(verb.args["path"])
    markers = bool(verb.args.get("markers", False))
    if markers and path != SOURCE:
        raise UsageError(f"Markers are written to the source, not to path {path!r}.", "Ask for them on path source.")
    url = str(verb.args.get("url") or "")
    if url and path in DATABASE_PATHS:
        raise UsageError(f"Path {path} goes to the database, not to {url!r}.", "Leave the url out.")
    return path, markers, url
