"""A drill rehearsed in virtual time: dr's own drivers plan, RDS's driver speaks to the lab's RDS through its real
client and the wire's own bytes, and what the other drivers would do is played.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import botocore.awsrequest
import pytest
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError, ResponseStreamingError

from dr.app import cleanup, drill
from dr.app import restore as on_call
from dr.app.ending import Outcome, finish
from dr.app.prepare import accept, prepare
from dr.app.session import Session, Tell
from dr.config.context import Context
from dr.config.model import Login, Meter, Settings, Target
from dr.config.plugins import Plugin
from dr.domain.errors import DrError, HaltedError
from dr.domain.looks import Snapshot
from dr.domain.model import Call, Component, Facts, Grant, Observation, Progress, Request, RunIdentity, Stamp, Verb
from dr.drivers.clients.config import PoolerConfig
from dr.drivers.clients.provider import POOLER, MovingProvider
from dr.drivers.faults.provider import FaultsProvider
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.kubernetes.provider import KubernetesProvider
from dr.drivers.measuring.provider import MeasuringProvider
from dr.drivers.observing.provider import ObservingProvider
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.provider import PostgresProvider
from dr.drivers.postgres.servers import Standing
from dr.drivers.postgres.snapshots import Recovered
from dr.drivers.rds.client import RdsClient
from dr.drivers.rds.naming import instance
from dr.drivers.rds.provider import RdsProvider
from dr.drivers.service.config import Planting, Rows, ServiceConfig, Stored
from dr.drivers.service.provider import ServingProvider
from dr.drivers.velero.config import VeleroConfig
from dr.drivers.velero.provider import VeleroProvider
from dr.engine.guard import Consent
from dr.evidence.directory import runs
from dr.evidence.samples import header, sample_line, samples_file
from dr.lab.rds import account as accounts
from dr.lab.rds.account import initial_state
from dr.lab.rds.actions import ACTIONS
from dr.lab.rds.errors import AwsError
from dr.lab.rds.faults import Faults
from dr.lab.rds.rebuilding import rebuild
from dr.lab.rds.records import Store
from dr.lab.rds.service import Lab, dispatch
from dr.lab.rds.wire import Wire
from dr.lab.rds.work import Work
from dr.ports import Provider
from tests.attack.answers import Answer, Attack, Break
from tests.attack.canary import PlayedMeters
from tests.attack.cluster import SPACES, PlayedCluster
from tests.attack.velero import PlayedVelero
from tests.platform_objects import KUBE_SYSTEM_UID, SYSTEM
from tests.targets import target_of
from tests.unit.drivers.clients.test_moving import FakeLead
from tests.unit.lab.rds.fakes import ACCOUNT, FakeServers
from tests.virtual import VirtualClock

SOURCE = "readmission-db"
REPLICAS = (f"{SOURCE}-replica-1", f"{SOURCE}-replica-2")
JOB_SECONDS = 2.0
"""Virtual seconds that each of the lab's jobs takes: a restore, a deletion, a promotion."""
TAKES = {"vanish": 2.0, "examine": 1.0, "take-baseline": 1.0, "settle": 4.0, "start": 1.0, "ask": 1.0}
"""Virtual seconds that a played operation takes; a settle's own seconds come on top."""
COARSE = 1.0
"""Virtual seconds that any sleep takes at the least, as on a busy machine: fewer polls, and each takes real time."""
METER = Meter(rate=30.0, markers=5.0)
PLAYED = frozenset(
    {"time-to-copy", "exposure", "configuration", "latency", "errors", "redundancy", "noticed"}
    | {"time-to-namespace", "objects", "restore-phase", "workloads", "volumes"}
)
"""The objectives whose evidence is whole in a rehearsal: RDS's own, the cluster's and Velero's, and those of the played
meters."""
WIRE = Wire()


class Virtual(VirtualClock):
    """A clock that does what is due when it passes."""

    def __init__(self) -> None:
        super().__init__(1_795_417_200.0)
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._ticks: list[Callable[[], None]] = []
        self._working = False
        self.on_sleep = self._work

    def sleep(self, seconds: float) -> None:
        super().sleep(max(seconds, COARSE))

    def after(self, seconds: float, job: Callable[[], None]) -> None:
        self._due.append((self.at + seconds, job))

    def each_time(self, tick: Callable[[], None]) -> None:
        self._ticks.append(tick)

    def pass_to(self, at: float) -> None:
        while self.at < at:
            self.sleep(min(1.0, at - self.at))

    def _work(self) -> None:
        if self._working:
            return
        self._working = True
        try:
            ready = [one for one in self._due if one[0] <= self.at]
            self._due = [one for one in self._due if one[0] > self.at]
            for _, job in sorted(ready, key=lambda one: one[0]):
                job()
            for tick in self._ticks:
                tick()
        finally:
            self._working = False


class Cloud:
    """The lab's RDS over servers that only remember. ``answer`` is what it says to one request, in the wire's bytes."""

    def __init__(self, directory: Path, clock: Virtual) -> None:
        self.clock = clock
        self.servers = FakeServers(clock)  # type: ignore[arg-type]
        store = Store(directory / "rds.json", ACCOUNT, initial_state(self.servers.version))
        work = Work(store, self.servers, clock, Faults(), enlarge=self._enlarge)
        work.begin = partial(clock.after, JOB_SECONDS)  # type: ignore[method-assign]
        self.lab = Lab(store, work, clock)
        self._said: dict[str, Answer] = {}
        clock.each_time(self._tick)
        self._make()

    def _enlarge(self, key: str) -> None:
        self.servers.conditions.pop(key, None)

    def _tick(self) -> None:
        self.servers.archived = self.clock.at - 0.5
        self.lab.work.watch()
        self.lab.work.survey()

    def do(self, action: str, **asked: Any) -> dict[str, Any]:
        return dispatch(ACTIONS, self.lab, action, asked)

    def _make(self) -> None:
        self.do(
            "CreateDBInstance",
            DBInstanceIdentifier=SOURCE,
            DBInstanceClass="db.r6g.large",
            Engine="postgres",
            AllocatedStorage=100,
            MasterUsername="readmission_admin",
            MasterUserPassword="long-enough",
            DBName="readmission",
            BackupRetentionPeriod=7,
            MultiAZ=True,
            DeletionProtection=True,
            DBParameterGroupName=accounts.PARAMETER_GROUP,
            DBSubnetGroupName=accounts.SUBNET_GROUP,
            VpcSecurityGroupIds=[accounts.SECURITY_GROUP],
            Tags=[{"Key": "env", "Value": "prod"}],
        )
        self.clock.pass_to(self.clock.at + 5 * JOB_SECONDS)
        for name in REPLICAS:
            self.do("CreateDBInstanceReadReplica", DBInstanceIdentifier=name, SourceDBInstanceIdentifier=SOURCE)
        self.clock.pass_to(self.clock.at + 30 * JOB_SECONDS)

    def instances(self) -> dict[str, str]:
        """Identifier to status."""
        rows = self.do("DescribeDBInstances")["DBInstances"]
        return {row["DBInstanceIdentifier"]: row["DBInstanceStatus"] for row in rows}

    def key(self, identifier: str) -> str:
        rows = self.do("DescribeDBInstances", DBInstanceIdentifier=identifier)["DBInstances"]
        return str(rows[0]["DbiResourceId"])

    def fault(self, _: object, name: str, arguments: Mapping[str, Any], __: float) -> dict[str, Any]:
        """What the target's command for faults does to the servers."""
        asked = dict(arguments)
        where = str(asked.pop("instance", "") or asked.pop("of", ""))
        if name == "rebuild":
            with self.lab.store.reading() as state:
                one = state.instances[where]
                replicas = [each for each in state.instances.values() if each.identifier in REPLICAS]
            self.servers.conditions.pop(one.resource_id, None)
            rebuild(self.lab.work, self.lab.store, one, replicas)
            return {}
        key = self.key(where)
        condition = {"lose_host": "gone", "hang": "hung", "fill_disk": "full", "take_disk": "gone"}.get(name)
        if name == "crash":
            self.servers.up.discard(key)
        elif condition and any(asked.get(word) for word in ("lost", "hung", "full", "taken")):
            if asked.get("standby"):
                self.servers.standbys.pop(key, None)
            self.servers.conditions[key] = condition  # type: ignore[assignment]
            self.servers.up.discard(key)
        else:
            self.servers.conditions.pop(key, None)
        return {}

    def answer(self, body: bytes) -> tuple[str, Answer]:
        """The operation asked for, and the true answer."""
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        operation = None
        try:
            _, operation = WIRE.operation(form)
            result: object = self.do(str(operation.name), **WIRE.parse(operation, form, body))
        except AwsError as error:
            result = error
        return form.get("Action", ""), self._worded(operation, result)

    def _worded(self, operation: Any, result: object) -> Answer:
        """In the wire's bytes: to write them is slow, and most answers are the last one again."""
        key = f"{operation and operation.name} {result!r}"
        if isinstance(result, AwsError) or key not in self._said:
            status, headers, text = WIRE.answer(operation, result, "request-1")
            self._said[key] = Answer(status, headers, text.encode())
        return self._said[key]

    def metrics(self, target: str, body: bytes) -> Answer:
        _, operation = WIRE.target(target)
        result = self.do(str(operation.name), **WIRE.parse(operation, {}, body))
        status, headers, text = WIRE.answer(operation, result, "request-1", in_json=True)
        return Answer(status, headers, text.encode())


class Killed(BaseException):
    """The process is gone: nothing that it would have done afterwards is done."""


@dataclass
class Wiretap:
    """Between the client and the cloud: counts the requests, and lets ``attack`` act on those numbered ``at`` to
    ``until``. ``kill_at``: the request after which dr is killed, once it was delivered."""

    attack: Attack | None = None
    at: int = 0
    until: int = 0
    kill_at: int = -1
    asked: list[str] = field(default_factory=list)
    struck: int = 0

    def pass_on(self, cloud: Cloud, request: botocore.awsrequest.AWSPreparedRequest) -> Answer | Break:
        body = request.body or b""
        content = body.encode() if isinstance(body, str) else bytes(body)
        target = request.headers.get("X-Amz-Target", b"")
        target = target.decode() if isinstance(target, bytes) else target
        name = target.rpartition(".")[2] if target else dict(parse_qsl(content.decode())).get("Action", "")
        number = len(self.asked)
        self.asked.append(name)
        attack = self.attack
        strikes = attack is not None and self.at <= number < self.until and attack.fits(name)
        if attack is not None and strikes and not attack.delivered:
            self.struck += 1
            return attack.bad(Answer(200, {}, b""))
        true = cloud.metrics(target, content) if target else cloud.answer(content)[1]
        self._kill(number)
        if attack is not None and strikes:
            self.struck += 1
            return attack.bad(true)
        return true

    def changed(self, name: str) -> None:
        """A request that has changed something in the cluster, whose answer is on its way."""
        self.asked.append(name)
        self._kill(len(self.asked) - 1)

    def _kill(self, number: int) -> None:
        if number == self.kill_at:
            raise Killed


class _Raw(io.BytesIO):
    def stream(self, **_: Any) -> Any:
        yield self.getvalue()


class _Stage:
    """What is on at the moment, for the one client that all rehearsals share: to make one takes long."""

    cloud: Cloud
    wiretap: Wiretap

    class Clock:
        """The clock of the world that is on."""

        def now(self) -> Stamp:
            return _Stage.cloud.clock.now()

        def sleep(self, seconds: float) -> None:
            _Stage.cloud.clock.sleep(seconds)


def _send(request: botocore.awsrequest.AWSPreparedRequest, **_: Any) -> botocore.awsrequest.AWSResponse:
    got = _Stage.wiretap.pass_on(_Stage.cloud, request)
    match got:
        case Break.RESET | Break.CLOSED:
            raise ConnectionClosedError(endpoint_url=request.url)
        case Break.SILENT | Break.DRIPPING:
            _Stage.cloud.clock.sleep(30.0)
            raise ReadTimeoutError(endpoint_url=request.url)
        case Break.SHORT:
            raise ResponseStreamingError(error="IncompleteRead")
    assert isinstance(got, Answer)
    return botocore.awsrequest.AWSResponse(request.url, got.status, _headers(got), _Raw(got.body))


def _headers(answer: Answer) -> Any:
    return botocore.awsrequest.HeadersDict({**answer.headers, "Content-Length": str(len(answer.body))})


class Client(RdsClient):
    """RDS's client as it is, but for the last step: the network."""

    def _client(self, service: str) -> Any:
        fresh = service not in self._clients
        client = super()._client(service)
        if fresh:
            client.meta.events.register_last("before-send.*.*", _send)
        return client


class Played:
    """A driver that plans as it is, and whose doings are played. What it makes is in ``things`` until it is undone."""

    def __init__(self, real: Provider, play: Play, **extra: Any) -> None:
        self._real, self._play, self._extra = real, play, extra

    def look(self, request: Request) -> Facts:
        return Facts(at=self._play.clock.at, extra=self._extra)

    def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
        return self._real.propose(verb, facts, run)

    def confirm_identity(self) -> None:
        """Nothing is talked to."""

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        self._play.change(call)
        return {**{key: value for key, value in args.items() if key != "undone"}, "asked_at": self._play.clock.at}

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        return self._play.progress(call, result)


class _Servers:
    """What servers say of themselves, asked by SQL: all have all, and a replica recovers until it is promoted."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def standing(self, host: str, port: int) -> Standing:
        with self._cloud.lab.store.reading() as state:
            recovers = any(one.port == port and bool(one.source) for one in state.instances.values())
        return Standing(recovering=recovers, received=1000, replayed=1000, behind=0.0)

    def written(self, host: str, port: int) -> int:
        return 1000

    def recovered(self, host: str, port: int) -> Recovered:
        return Recovered(Snapshot(10, 10, ()), 10)


class Play:
    """What the played drivers do to a world that is remembered, and what they see of it.

    ``things``: what was made, by the call that made it, and is not undone. ``slow``: what is restored answers too late
    to be within its objectives: a recovery that must be missed.
    """

    def __init__(self, clock: Virtual, run: Path) -> None:
        self.clock, self.run = clock, run
        self.things: dict[str, float] = {}
        self.slow = False

    def change(self, call: Call) -> None:
        if call.undo is not None:
            self.things.setdefault(call.id, self.clock.at)
        for made in [name for name in self.things if call.id in _undoing(name)]:
            del self.things[made]

    def progress(self, call: Call, result: Mapping[str, Any]) -> Progress:
        now = self.clock.at
        if now < float(result["asked_at"]) + TAKES.get(call.operation, 0.0) + float(call.args.get("seconds", 0.0)):
            return Progress(False, note="it is under way")
        match call.operation:
            case "vanish":
                at = float(result["asked_at"])
                done = {"recovery_point": float(int(at)), "at": at, "table": "dr.victims", "rows": 5}
                return Progress(True, done, milestones={"disaster": at})
            case "declare":
                return Progress(True, {"at": now}, milestones={"disaster": now})
            case "examine":
                of = Component("database", instance(str(result.get("restored", result["identifier"]))))
                return Progress(True, {}, milestones={"correct": now, "examined": now}, components=(of,))
            case "start":
                served = {"url": "http://127.0.0.1:9", "host": "127.0.0.1", "port": 9}
                return Progress(True, served, milestones={"started": now, "served": now})
            case "plant":
                return Progress(True, {"rows": 1, "because": "", "unsure": False, "next": 0, "at": now})
            case "ask":
                return Progress(True, {"answers": {}, "good": 0, "sent": 0, "planting": now, "kept": {}})
            case "settle":
                seconds = float(call.args["seconds"])
                return Progress(True, {"settled": {path: self._settle(path, seconds) for path in call.args["paths"]}})
            case "probe" | "mark" | "read":
                return Progress(True, {"path": result["path"], "pid": 1})
            case _:
                return Progress(True, {})

    def _settle(self, path: str, seconds: float) -> dict[str, int]:
        """Everything that a meter would have written since it was started, of which the last ``seconds`` are judged."""
        begun = self.things.get(f"measure-{path}", self.things.get(f"mark-{path}", self.clock.at))
        rate = METER.rate if f"measure-{path}" in self.things else METER.markers
        count = int((self.clock.at - begun) * rate)
        if rate == METER.rate:
            samples_file(self.run, path).write_bytes(b"".join(self._samples(path, begun, count)))
        return {"first": count - int(seconds * rate), "last": count - 1}

    def _samples(self, path: str, begun: float, count: int) -> list[bytes]:
        start = replace(
            self.clock.now(), at=begun, mono_ns=self.clock.now().mono_ns - int((self.clock.at - begun) * 1e9)
        )
        took = 1_500_000_000 if self.slow and path != "source" else 8_000_000
        lines = [header(path, METER.rate, METER.timeout, start)]
        for n in range(count):
            due = start.mono_ns + int(n * 1e9 / METER.rate)
            lines.append(sample_line(n, due, due + 40_000, due + took + n % 7 * 100_000, 200, "", 40_000))
        return lines


def _undoing(name: str) -> set[str]:
    """The ids of the calls that undo ``name``; see docs/design.md."""
    suffix = name.removeprefix("marker-table")
    return {f"undo-{name}", f"stop-{name}", f"{name}-undo", f"drop-marker-table{suffix}", f"remedy-{name}"}


def target() -> Target:
    """The lab's own, as far as planning goes; nothing of it is there."""
    secret = "env:DR_TEST_SECRET"
    return target_of(
        account=ACCOUNT.id,
        region=ACCOUNT.region,
        instance=SOURCE,
        endpoint="http://127.0.0.1:9",
        grants=(Grant.MARKERS, Grant.FAULTS, Grant.DISPOSABLE),
        emulated="RDS emulated",
        database=PostgresConfig(
            *("readmission", Login("dr_harness", secret), (Login("readmission_api", secret),)),
            master=Login("readmission_admin", secret),
        ),
        service=ServiceConfig(
            *("http://127.0.0.1:9", ("true",), "readmission_api", ({"patient_id": "S1"},)),
            planted=Planting(Login("admin", secret), (Rows("patients", {"patient_id": "S1"}),)),
            stored=Stored("predictions", "patient_id"),
            ways={"cluster": "http://127.0.0.1:9"},
            copies="http://127.0.0.1:9/{namespace}",
        ),
        replicas=REPLICAS,
        pooler=PoolerConfig("127.0.0.1", 9, "readmission", Login("admin", secret), "/nowhere"),
        faults=("true",),
        kubernetes=KubernetesConfig("/nowhere", "played", KUBE_SYSTEM_UID, (SYSTEM,)),
        velero=VeleroConfig(),
        restored={
            "DBSubnetGroupName": accounts.DRILL_SUBNET_GROUP,
            "VpcSecurityGroupIds": [accounts.DRILL_SECURITY_GROUP],
            "MultiAZ": False,
        },
    )


SETTINGS = Settings(targets={"lab": target()}, meter=METER)


class AtOnce:
    """In a thread's place: what a deadline is waited for in virtual time is done where it begins."""

    def __init__(self, target: Callable[[], None], **_: object) -> None:
        self.start = target
        self.given_up = False


@cache
def client() -> Client:
    """One for all rehearsals: its making takes longer than a drill."""
    return Client(target(), _Stage.Clock())


@cache
def read(name: str) -> drill.Experiment:
    return drill.read(name)


def silent(_call: Call, _note: str) -> None:
    """Nobody listens."""


class Theatre:
    """One world, in which drills are rehearsed one after another."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory, self._patch = directory, monkeypatch
        self.clock = Virtual()
        self.cloud = Cloud(directory, self.clock)
        self.wiretap = Wiretap()
        self.cluster = PlayedCluster(self.clock, lambda what: self.wiretap.changed(what))
        self.velero = PlayedVelero(self.clock, self.cluster)
        self.meters = PlayedMeters(self.clock, self.cluster)
        self.clock.each_time(self.meters.tick)
        self.clock.each_time(self.velero.tick)
        self.clock.each_time(self.cluster.tick)
        self.cluster.begin()
        self.lead = FakeLead()
        self._home = self.lead.at
        self.things: dict[str, float] = {}
        self.slow = False
        _Stage.cloud, _Stage.wiretap = self.cloud, self.wiretap
        monkeypatch.setenv("DR_HOME", str(directory))
        monkeypatch.setenv("DR_TEST_SECRET", "secret")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setattr("os.fsync", lambda _: None)  # no machine fails here, and it is what takes longest
        monkeypatch.setattr("dr.host.bounded._Asking", AtOnce)
        for module in ("prepare", "session"):
            monkeypatch.setattr(f"dr.app.{module}.SystemClock", lambda: self.clock)
        monkeypatch.setattr("dr.app.cleanup.SystemClock", lambda: self.clock)
        monkeypatch.setattr("dr.drivers.faults.provider.run_command", self.cloud.fault)
        monkeypatch.setattr("dr.drivers.kubernetes.breaking.run_command", self.cluster.fault)
        monkeypatch.setattr("dr.drivers.kubernetes.gentle.act", self.cluster.act)
        monkeypatch.setattr("dr.drivers.kubernetes.cluster.Api", lambda *_: self.cluster)
        monkeypatch.setattr("dr.drivers.kubernetes.config.servers", lambda *_: ("https://127.0.0.1:9",))
        monkeypatch.setattr("dr.drivers.clients.pgbouncer_console.held", lambda _: [])
        for part in ("Command", "Files"):
            monkeypatch.setattr(f"dr.drivers.velero.provider.{part}", lambda *_: self.velero)
        for module in ("kubernetes.canary", "velero.provider"):
            monkeypatch.setattr(f"dr.drivers.{module}.Meters", self.meters.of)
        monkeypatch.setattr("dr.drivers.velero.protected.Protected.endpoints", lambda _: [])
        monkeypatch.setattr(Plugin, "made", lambda plugin, context: self._provider(plugin.name, context))

    def tap(self, attack: Attack | None = None, at: int = 0, until: int = 0, kill_at: int = -1) -> Wiretap:
        """From the next request on, ``attack`` acts on those from number ``at`` up to ``until``."""
        return self.put(Wiretap(attack, at, until, kill_at))

    def put(self, wiretap: Wiretap) -> Wiretap:
        """From the next request on, ``wiretap`` is on the wire."""
        self.wiretap = _Stage.wiretap = wiretap
        return wiretap

    def _provider(self, name: str, context: Context) -> Provider:
        play = Play(self.clock, context.run)
        play.things, play.slow = self.things, self.slow
        making: dict[str, Callable[[], Provider]] = {
            "rds": lambda: RdsProvider(context, client(), _Servers(self.cloud)),  # type: ignore[arg-type]
            "postgres": lambda: Played(PostgresProvider(context), play, amcheck=False),
            "measuring": lambda: Played(MeasuringProvider(context), play),
            "service": lambda: Played(ServingProvider(context), play),
            "observing": lambda: Played(ObservingProvider(context), play),
            "faults": lambda: FaultsProvider(context, status=lambda _, name: self.cloud.instances().get(name, "")),
            "clients": lambda: MovingProvider(context, {POOLER: self.lead}),
            "kubernetes": lambda: KubernetesProvider(context),
            "velero": lambda: VeleroProvider(context),
        }
        return making[name]()

    # One drill

    def begin(self, name: str, tell: Tell = silent) -> Session:
        """Look, plan and accept. Raises DrError."""
        experiment = read(name)
        request = drill.request(experiment, "lab", keep=False)
        played = PLAYED | ({"loss"} if "mark_namespace" in {verb.name for verb in experiment.verbs} else set())
        demands = {asked: path for asked, path in experiment.demands.items() if asked in played}
        return accept(prepare(SETTINGS, request, demands, tell), Consent(yes=True))

    def perform(self, session: Session) -> Outcome:
        """All verbs, the rollback and the end, as ``dr drill run`` and Chaos Toolkit order them."""
        ledger, error = session.engine.ledger, None
        ledger.append("event", data={"text": "Chaos Toolkit started", "pid": 1})
        self._look(session)
        try:
            for position in range(len(session.plan.request.verbs)):
                session.do(position)
                self.clock.sleep(1.0)
            self._look(session)
        except DrError as failed:
            error = failed
        session.unwind(keep=False)
        if not isinstance(error, HaltedError):
            journal = {"status": "completed", "deviated": False, "run": [], "rollbacks": []}
            (session.directory.path / "journal.json").write_text(json.dumps(journal))
        ledger.append("event", data={"text": "Chaos Toolkit ended", "exit": 0})
        return replace(finish(session), error=error)

    def _look(self, session: Session) -> None:
        """The steady-state hypothesis."""
        seen = {"p95": 0.01, "errors": 0, "probes": 100, "in_slo": True}
        session.directory.observe([Observation("steady", "source", seen)], self.clock.at)

    def rehearse(self, name: str, tell: Tell = silent) -> Outcome:
        """A whole drill. Raises DrError where it did not begin."""
        return self.perform(self.begin(name, tell))

    def restore(self, *, into: str = "", **to: str) -> Outcome:
        """What ``dr restore`` does ``to`` a recovery point. Raises DrError where it did not begin."""
        how: dict[str, Any] = {"since": None, "as_name": "", "reset_master": False, "verify": True, "into": into}
        wanted = on_call.request("lab", target(), to, **how)
        demands = {asked: path for asked, path in on_call.asked(wanted, target()).items() if asked in PLAYED}
        return on_call.run(accept(prepare(SETTINGS, wanted, demands, silent), Consent(yes=True)))

    def restorations(self) -> list[str]:
        """What stands beside the source and its replicas, which no drill made."""
        return [name for name in self.cloud.instances() if name not in (SOURCE, *REPLICAS)]

    def lose(self) -> None:
        """Delete the namespace that a restore on call is to bring back, as whoever does harm does."""
        self.cluster.delete(f"{SPACES}/{SYSTEM}", {})
        self.clock.pass_to(self.clock.at + 5 * JOB_SECONDS)

    def remove(self, name: str) -> None:
        """Delete what a restore on call made, as a person does."""
        self.cloud.do("ModifyDBInstance", DBInstanceIdentifier=name, DeletionProtection=False, ApplyImmediately=True)
        self.clock.pass_to(self.clock.at + 5 * JOB_SECONDS)
        self.cloud.do("DeleteDBInstance", DBInstanceIdentifier=name, SkipFinalSnapshot=True)
        self.clock.pass_to(self.clock.at + 5 * JOB_SECONDS)

    def clean(self) -> list[Outcome]:
        """What ``dr cleanup --all`` does."""
        ended = [cleanup.clean(SETTINGS, directory, silent) for directory in cleanup.unsealed("lab")]
        cleanup.clean_orphans(SETTINGS, "lab", silent)
        return ended

    def forget(self) -> None:
        """Remove the runs: every command reads all that there are, and so takes longer after each."""
        for run in runs(self.directory):
            shutil.rmtree(run.path)

    def orphans(self) -> list[str]:
        """What of all runs is still there, once the provider has done what it was told to."""
        self.clock.pass_to(self.clock.at + 20 * JOB_SECONDS)
        present = {SOURCE, *REPLICAS}
        strange = [name for name in self.cloud.instances() if name not in present]
        led = [] if self.lead.at == self._home else ["the pooler's entry"]
        return [*strange, *self.things, *led, *self.cluster.left(), *self.meters.left()]
