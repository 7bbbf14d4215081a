"""Measure a path: the verbs ``measure``, which starts the path's meter, and ``settle``, which waits for what it wrote.

Predictions are measured on the paths ``source``, ``restored`` and any other that has a url; rows are written on
``writes`` (through the pooler) and ``writes-direct``, and on ``source`` beside the predictions; ``reads`` are queries
to the replicas. Each meter is a process of its own (``dr.meter``), found again by its pid file and stopped by
unwinding. The markers' table is a call of its own, made once and dropped at the end, so that restarting the writer
loses no marker.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from dr.config.context import Context
from dr.config.model import PoolerConfig, ServiceConfig
from dr.domain.errors import ProviderError, RefusedError, UsageError
from dr.domain.model import Call, Effect, Facts, Grant, Observation, Progress, Request, RunIdentity, Verb
from dr.domain.names import markers, predictions, same
from dr.domain.names import process as process_of
from dr.domain.names import service as service_of
from dr.drivers.arguments import check_arguments
from dr.drivers.clients.pools import allowed
from dr.drivers.service.asking import Histograms, between, histograms
from dr.evidence.model import Samples
from dr.evidence.samples import ACKNOWLEDGED, last_line, load_markers, load_samples, markers_file, samples_file
from dr.host import children
from dr.judge.histogram import METRICS
from dr.judge.interruption import BRIEF, STEADY_WINDOWS
from dr.judge.windows import Slo, good, measured_enough
from dr.meter.bearer import check_taken
from dr.meter.http import endpoint

SOURCE, RESTORED = "source", "restored"
WRITES, WRITES_DIRECT, READS = "writes", "writes-direct", "reads"
SERVED = "${serve.url}"
"""Where the service is that a run has put on its copy."""
LONGEST = 86_400
"""Seconds that a path is measured at most; what is no number is not below it."""
START_DEADLINE, TABLE_DEADLINE, STOP_DEADLINE = 30.0, 60.0, 30.0


class MeasuringProvider:
    """Calls: ``marker-table``, ``mark-PATH``, ``measure-PATH`` and ``settle-PATH``, each where it is asked for.

    A table of another path than the source is made by ``marker-table-PATH``.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def look(self, request: Request) -> Facts:  # noqa: ARG002  (the Protocol's)
        return Facts(self._context.clock.now().at, "", "")

    def confirm_identity(self) -> None:
        """Nothing to compare: markers go to the endpoint that the pinned account named, over verified TLS."""

    def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
        """Raises RefusedError without a service, a pooler or replicas where they are asked for, or the grant markers
        for the source; UsageError for bad arguments."""
        if verb.name == "settle":
            return (self._settling_again(verb),)
        path, markers, seconds, url = _arguments(verb)
        if path in (WRITES, WRITES_DIRECT):
            self._check_grant()
            calls = [*self._marking(verb, path, facts, run)]
        elif path == READS:
            calls = [self._reading(verb, facts)]
        else:
            url = self._url(path, url)
            calls = [*self._marking(verb, path, facts, run)] if markers else []
            calls.append(self._probing(verb, path, url))
        if seconds:
            calls.append(_settling(verb, path, url, seconds))
        return tuple(calls)

    def _url(self, path: str, url: str) -> str:
        """Where predictions of ``path`` are asked for."""
        service = self._service()
        if path == SOURCE:
            self._check_grant()
        if path not in (SOURCE, RESTORED) and not url:
            raise UsageError(f"Where path {path!r} is served is not known.", "Give measure a url.")
        url = url or (service.url if path == SOURCE else SERVED)
        if not url.startswith("${"):
            endpoint(url)  # refused now, and not when the run is under way
        return url

    def _check_grant(self) -> None:
        if Grant.MARKERS not in self._context.target.grants:
            raise RefusedError(
                f"Measuring the source of {self._context.name} writes predictions and markers of synthetic patients"
                " to it, and the target does not grant markers.",
                "Grant markers in dr.yaml, or leave the source out of the measurement.",
            )

    def _service(self) -> ServiceConfig:
        service = self._context.target.service
        if service is None or not service.requests:
            raise RefusedError(
                f"Target {self._context.name} names no service with requests, so there is nothing to measure.",
                "Add service.url and service.requests to the target.",
            )
        return service

    def _marking(self, verb: Verb, path: str, facts: Facts, run: RunIdentity) -> tuple[Call, Call]:
        suffix = "" if path == SOURCE else f"-{path}"
        # Past the pooler, whose connections may lead to a server that was given up.
        args = {"login": self._direct(facts), "run_id": run.id, "path": path}
        written = markers(self._context.target.instance, path)
        drop = Call(
            *(f"drop-marker-table{suffix}", verb.name, "unwind", "measuring", "drop", args),
            effect=Effect.CHANGES,
            touches=(written,),
            deadline=TABLE_DEADLINE,
        )
        table = Call(
            f"marker-table{suffix}",
            verb.name,
            "prepare",
            "measuring",
            "create",
            args,
            effect=Effect.MAKES,
            makes=(written,),
            undo=drop,
            deadline=TABLE_DEADLINE,
        )
        meter = self._context.settings.meter
        mark = Call(
            id=f"mark-{path}",
            verb=verb.name,
            phase="measure",
            driver="measuring",
            operation="mark",
            args={
                **args,
                "login": self._writing_to(path, facts),
                "rate": meter.markers,
                "timeout": meter.timeout,
            },
            effect=Effect.MAKES,
            touches=(written,),
            makes=(process_of(f"mark-{path}"),),
            undo=self._stopping(verb, f"mark-{path}"),
            until="the first marker acknowledged",
            deadline=START_DEADLINE,
            volatile=True,
        )
        return table, mark

    def _reading(self, verb: Verb, facts: Facts) -> Call:
        meter = self._context.settings.meter
        return Call(
            id=f"measure-{READS}",
            verb=verb.name,
            phase="measure",
            driver="measuring",
            operation="read",
            args={"path": READS, "logins": self._reading_from(facts), "rate": meter.rate, "timeout": meter.timeout},
            effect=Effect.MAKES,
            makes=(process_of(f"measure-{READS}"),),
            undo=self._stopping(verb, f"measure-{READS}"),
            until="the first query answered or given up",
            deadline=START_DEADLINE,
            volatile=True,
        )

    def _writing_to(self, path: str, facts: Facts) -> dict[str, Any]:
        if path == WRITES:
            return self._pooled(self._pooler(), self._pooler().entry)
        return self._direct(facts)

    def _direct(self, facts: Facts) -> dict[str, Any]:
        return self._login(*_endpoint_of(facts, self._context.target.instance, "Markers cannot be written"))

    def _reading_from(self, facts: Facts) -> list[dict[str, Any]]:
        """Every replica: through the pooler where it leads to them, else directly."""
        target = self._context.target
        if not target.replicas:
            raise RefusedError(
                f"Target {self._context.name} names no replicas, so there is nothing to read from.",
                "Add them to the target, or leave path reads out of the measurement.",
            )
        if target.pooler is not None and target.pooler.reads:
            return [self._pooled(target.pooler, entry) for entry in target.pooler.reads]
        return [self._login(*_endpoint_of(facts, name, "Replicas cannot be read")) for name in target.replicas]

    def _pooler(self) -> PoolerConfig:
        pooler = self._context.target.pooler
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
        database = self._context.target.database
        return {
            "host": host,
            "port": port,
            "database": database.name,
            "user": database.harness.user,
            "password": database.harness.secret,
            "ca": database.ca,
        }

    def _settling_again(self, verb: Verb) -> Call:
        """The verb ``settle``: a path that is measured already, until it was good for ``seconds``, or ``patience``
        seconds more were over."""
        check_arguments(verb, "path", "seconds", "patience")
        limit, meter = self._context.objectives.outage_failover, self._context.settings.meter
        args = {"seconds": meter.settle, "patience": limit, **verb.args}
        path, numbers = args.pop("path", None), list(args.values())
        if not isinstance(path, str):
            raise UsageError(f"settle takes a path, not {path!r}.")
        if not all(isinstance(number, int | float) and number >= 0 for number in numbers):
            raise UsageError(f"settle takes seconds and patience as numbers from 0 on, not {dict(verb.args)!r}.")
        url = self._service().url if path == SOURCE else ""
        call = _settling(verb, path, url, float(args["seconds"]))
        patience = float(args["patience"])
        return replace(call, args={**call.args, "patience": patience}, deadline=call.deadline + patience)

    def _probing(self, verb: Verb, path: str, url: str) -> Call:
        """Each answer is a row of the database that is behind ``url``."""
        meter = self._context.settings.meter
        of_source = url == self._service().url
        asked = process_of("serve") if url == SERVED else service_of(url)
        written = (predictions(self._context.target.instance),) if of_source else ()
        return Call(
            id=f"measure-{path}",
            verb=verb.name,
            phase="warm-up" if path == RESTORED else "measure",
            driver="measuring",
            operation="probe",
            args={"path": path, "url": url, "rate": meter.rate, "timeout": meter.timeout},
            effect=Effect.MAKES,
            touches=() if of_source else (asked,),
            makes=(process_of(f"measure-{path}"), *written),
            undo=self._stopping(verb, f"measure-{path}"),
            until="the first probe answered or given up",
            deadline=START_DEADLINE,
            volatile=True,
        )

    def _stopping(self, verb: Verb, of: str) -> Call:
        return Call(
            *(f"stop-{of}", verb.name, "unwind", "measuring", "stop", {"of": of}),
            effect=Effect.CHANGES,
            touches=(process_of(of),),
            deadline=STOP_DEADLINE,
        )

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        match call.operation:
            case "create" | "drop":
                return self._change_table(call.operation, args)
            case "probe" | "mark" | "read":
                return self._start(call.operation, call.id, args)
            case "settle":
                return self._begin_settling(args)
            case _:
                children.stop(self._pidfile(str(args["of"])), grace=self._context.settings.meter.timeout + 3.0)
                return dict(args)

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        match call.operation:
            case "probe" | "read":
                return self._probed(call.id, result)
            case "mark":
                return self._marked(call.id, result)
            case "settle":
                return self._settled(call, result)
            case _:
                return Progress(done=True, result={})

    def _pidfile(self, name: str) -> Path:
        return self._context.run / f"meter-{name}.pid"

    def _log(self, name: str) -> Path:
        return self._context.run / f"meter-{name}.log"

    def _change_table(self, operation: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        from dr.meter.login import Login  # psycopg is slow to import
        from dr.meter.mark import create_table, drop_table, marker_table

        change = create_table if operation == "create" else drop_table
        change(Login(**args["login"]), str(args["run_id"]), str(args["path"]))
        return {"table": marker_table(str(args["run_id"]), str(args["path"]))}

    def _start(self, job: str, name: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Start ``job``, or find it running already; one that belongs to another owner is ending, and is replaced."""
        pidfile, owner, kept = self._pidfile(name), self._context.owner, dict[str, Any]()
        held = children.running(pidfile)
        if held is None or held.owner != owner:
            children.stop(pidfile)
            document = {**args, "run": str(self._context.run), "owner": owner, "pidfile": str(pidfile)}
            if job != "probe":
                kept = allowed(self._context.target, args.get("logins") or [args["login"]])
                document["limits"] = kept["limits"]
            else:
                service = self._service()
                document["url"] = f"{str(args['url']).rstrip('/')}/predict"
                document |= {"bodies": list(service.requests), "fields": list(service.expected)}
                document["token"] = service.token
            held = children.spawn([sys.executable, "-m", "dr.meter", job], pidfile, self._log(name), document)
        return {"path": args["path"], "pid": held.pid, "started": held.who.partition(":")[2], **kept}

    def _alive(self, name: str) -> None:
        """Raises ProviderError that says why the process ended."""
        if children.running(self._pidfile(name)) is not None:
            return
        held = children.held(self._pidfile(name))
        why = held.ended if held is not None and held.ended else children.last_words(self._log(name))
        raise ProviderError(f"{name} ended early: {why}", f"See meter-{name}.log in the run directory.")

    def _probed(self, name: str, result: Mapping[str, Any]) -> Progress:
        """Raises RefusedError where the service refuses the probes' token: that is no outage of its database."""
        self._alive(name)
        line, service = last_line(samples_file(self._context.run, str(result["path"]))), self._context.target.service
        if line is None:
            return Progress(done=False, result=dict(result), note="no probe is over yet")
        if service is not None:
            check_taken(f"on path {result['path']}", int(line["status"]), service.token)
        return Progress(done=True, result=dict(result))

    def _marked(self, name: str, result: Mapping[str, Any]) -> Progress:
        """Done at the first acknowledged marker; then the database clock's offset is known, too."""
        self._alive(name)
        markers = load_markers(markers_file(self._context.run, str(result["path"])))
        if markers is None or not any(m.outcome == ACKNOWLEDGED for m in markers.markers):
            return Progress(done=False, note="no marker is acknowledged yet")
        clock = {"offset": markers.offset, "uncertainty": markers.uncertainty}
        seen = Observation("clock", SOURCE, clock, self._context.clock.now().at)
        return Progress(done=True, result=dict(result), observations=(seen,))

    def _begin_settling(self, args: Mapping[str, Any]) -> Mapping[str, Any]:
        path, url = str(args["path"]), str(args["url"])
        line = self._newest(path)
        first = line["n"] + 1 if line is not None else 0
        begun = self._context.clock.now().at
        return {"path": path, "url": url, "first": first, "begun": begun, "metrics": _counts(url) if url else None}

    def _newest(self, path: str) -> dict[str, Any] | None:
        """The newest line of a path's file."""
        of = markers_file if path in (WRITES, WRITES_DIRECT) else samples_file
        return last_line(of(self._context.run, path))

    def _settled(self, call: Call, result: Mapping[str, Any]) -> Progress:
        path, seconds, patience = str(result["path"]), float(call.args["seconds"]), float(call.args.get("patience", 0))
        meter, writes = self._context.settings.meter, path in (WRITES, WRITES_DIRECT)
        self._alive(f"{'mark' if writes else 'measure'}-{path}")
        line, first, measured = self._newest(path), int(result["first"]), 0.0
        if line is not None:
            measured = (int(line["n"]) - first + 1) / (meter.markers if writes else meter.rate)
        if line is None or measured < seconds:
            return Progress(done=False, note=f"{max(0.0, measured):.0f} of {seconds:.0f} s measured")
        if measured < seconds + patience and not self._back(path, measured - seconds, measured, first):
            return Progress(done=False, note=f"{measured:.0f} s measured, and the path is not back: measuring on")
        if path not in (WRITES, WRITES_DIRECT, READS) and not self._enough(path, first, int(line["n"]), seconds):
            late = f"{measured:.0f} s measured, and the prober was late too often: measuring on"
            return Progress(done=False, note=late)
        kept = {"path": path, "first": first, "last": line["n"], "begun": result["begun"]}
        before, after = result["metrics"], _counts(str(result["url"])) if result["url"] else None
        if before is None or after is None:
            return Progress(done=True, result=kept)
        seen = Observation("metrics", path, between(before, after), self._context.clock.now().at)
        return Progress(done=True, result=kept, observations=(seen,))

    def _back(self, path: str, since: float, until: float, first: int) -> bool:
        """Whether the path was good from ``since`` to ``until``, seconds after number ``first``, within its error rate,
        and without a failure, or a stall, in the windows that the judge wants to see after an outage.

        What is still under way counts as neither.
        """
        meter = self._context.settings.meter
        if path in (WRITES, WRITES_DIRECT):
            written, rate = load_markers(markers_file(self._context.run, path)), meter.markers
            firsts = [m for m in written.markers if m.done and not m.attempt] if written is not None else []
            told = [(m.n, m.outcome == ACKNOWLEDGED, (m.done - m.due) / 1e9) for m in firsts]
        else:
            read, rate = load_samples(samples_file(self._context.run, path)), meter.rate
            told = [(s.n, good(s), (s.done - s.due) / 1e9) for s in read.samples] if read is not None else []

        def told_since(begin: float) -> list[tuple[bool, float]]:
            return [(well, took) for n, well, took in told if first + begin * rate <= n <= first + until * rate]

        within, last = told_since(since), told_since(until - STEADY_WINDOWS * meter.window)
        if not within:
            return False
        failed = sum(not well for well, _ in within)
        stalled = max(BRIEF, 2 * median(took for _, took in within))  # a path that is slow as ever does not stall
        few = failed <= self._context.objectives.error_rate * len(within)
        return few and all(well and took <= stalled for well, took in last)

    def _enough(self, path: str, first: int, last: int, seconds: float) -> bool:
        """Whether what lies between the numbers ``first`` and ``last`` suffices; the judge decides by itself."""
        read = load_samples(samples_file(self._context.run, path))
        if read is None:
            return False
        part = Samples(
            read.path, read.rate, read.timeout, read.start, tuple(s for s in read.samples if first <= s.n <= last)
        )
        window, limit = self._context.settings.meter.window, self._context.objectives.latency_p95
        return measured_enough(part, seconds, window, Slo(limit, None))


def _counts(url: str) -> Histograms | None:
    """The service's own counts; None where it shows none: then none are observed, and their demands inconclusive."""
    try:
        return histograms(url, tuple(METRICS.values()))
    except ProviderError:
        return None


def _arguments(verb: Verb) -> tuple[str, bool, float, str]:
    """The verb's own arguments. Raises UsageError."""
    check_arguments(verb, "path", "markers", "seconds", "url")
    path, seconds = verb.args.get("path"), verb.args.get("seconds") or 0.0
    if not isinstance(path, str) or not path.replace("-", "").isalnum():
        raise UsageError(f"measure takes a path of letters, digits and hyphens, not {path!r}.")
    if not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST:
        raise UsageError(f"measure takes seconds as a number from 0 to {LONGEST}, not {seconds!r}.")
    markers = bool(verb.args.get("markers", False))
    if markers and path != SOURCE:
        raise UsageError(f"Markers are written to the source, not to path {path!r}.", "Ask for them on path source.")
    url = str(verb.args.get("url") or "")
    if url and path in (WRITES, WRITES_DIRECT, READS):
        raise UsageError(f"Path {path} goes to the database, not to {url!r}.", "Leave the url out.")
    return path, markers, float(seconds), url


def _endpoint_of(facts: Facts, name: str, what_fails: str) -> tuple[str, int]:
    for resource in facts.resources:
        endpoint = resource.attributes.get("Endpoint") or {}
        if resource.kind == "instance" and same(resource.identifier, name) and endpoint.get("Address"):
            return str(endpoint["Address"]), int(endpoint["Port"])
    raise RefusedError(f"{what_fails}: the instance {name} has no endpoint.", "Leave it out, or wait until it has.")


def _settling(verb: Verb, path: str, url: str, seconds: float) -> Call:
    return Call(
        id=f"settle-{path}",
        verb=verb.name,
        phase="verify" if path == RESTORED else "measure",
        driver="measuring",
        operation="settle",
        args={"path": path, "url": url, "seconds": seconds},
        effect=Effect.READS,
        until=f"{seconds:g} s measured",
        deadline=seconds * 2 + START_DEADLINE,
    )
