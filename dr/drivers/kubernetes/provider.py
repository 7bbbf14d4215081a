"""A cluster as a provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from dr.config.context import Context
from dr.domain.errors import ProviderError, RefusedError, UsageError
from dr.domain.model import Call, Effect, Facts, Observation, Own, Progress, Request, Resource, RunIdentity, Verb
from dr.domain.refs import Ref
from dr.drivers.aws.config import AwsConfig
from dr.drivers.faults.plugin import command_of
from dr.drivers.kubernetes import canary, losing, redundancy, standing
from dr.drivers.kubernetes.breaking import Breaking
from dr.drivers.kubernetes.canary import CANARY, DROP, STOP, WRITE, Canary
from dr.drivers.kubernetes.cluster import NAMESPACES, NODES, Cluster
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.kubernetes.judge import LIMIT
from dr.drivers.kubernetes.looking import look, look_first
from dr.drivers.kubernetes.redundancy import Before, Course
from dr.drivers.kubernetes.refs import DRIVER, namespace
from dr.drivers.kubernetes.scene import Scene, chosen
from dr.drivers.kubernetes.tags import tags_in
from dr.drivers.kubernetes.workloads import Object, condition, name_of, status
from dr.host import hearing

WATCH = "watch-redundancy"
PERIOD = 0.25
"""Seconds between two looks at a workload."""
BEYOND, SLACK = 5.0, 60.0
"""Seconds that it is watched after its limit, and that the call may take besides."""
CANARIES = (CANARY, WRITE, DROP, STOP)
SCENE = "kubernetes"
"""Of the facts' ``extra``: {scenes: {workload: Scene}, uids: {namespace: UID}}."""


class KubernetesProvider:
    """It is known by the UID of its namespace kube-system. Calls: ``await-workloads``, KIND of a loss,
    ``remedy-gpu-lost``, ``canary`` and ``write-canary``, and ``watch-redundancy``, which writes the observation
    ``redundancy`` whenever it changes."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._config = context.target.of(KubernetesConfig)
        self._cluster = Cluster(self._config, context.clock)
        self._waiting = standing.Waiting(self._cluster, context.clock)
        self._breaking = Breaking(context, self._config, self._cluster)
        self._canary = Canary(context, self._cluster)
        self._course: Course | None = None

    def look(self, request: Request) -> Facts:
        """Namespaces and nodes, of which those that the target names, and all nodes, are its own; and what stands of
        each workload that the request is about."""
        uid = self._cluster.uid()
        spaces, nodes = self._cluster.items(NAMESPACES), self._cluster.items(NODES)
        there = [_seen("namespace", one) for one in spaces]
        machines = [_seen("node", one) for one in nodes]
        own = {namespace(name): Own.PART for name in self._config.namespaces}
        of = {str(verb.args["of"]) for verb in request.verbs if "/" in str(verb.args.get("of", ""))}
        known = {
            "scenes": {name: look_first(self._cluster, name) for name in sorted(of)},
            "uids": {name_of(one): str(one["metadata"].get("uid", "")) for one in spaces},
        }
        return Facts(
            at=self._now(),
            identity={DRIVER: {"cluster_uid": uid}},
            resources=(*there, *machines),
            own={**own, **{one.ref: Own.MACHINE for one in machines}},
            extra={SCENE: known},
        )

    def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
        known = facts.extra.get(SCENE) or {"scenes": {}, "uids": {}}
        match verb.name:
            case "await_workloads":
                return (standing.propose(verb, self._config.namespaces),)
            case "mark_namespace":
                return canary.propose(verb, run, self._config, self._context.settings.meter.timeout)
            case "await_redundancy":
                return (self._watching(verb, known["scenes"], facts.at),)
            case "disaster" | "remedy":
                call = losing.propose(verb, self._config, known["scenes"], known["uids"])
                self._check_means(call)
                return (call,)
        raise UsageError(f"There is no verb {verb.name!r} of a cluster.")

    def _check_means(self, call: Call) -> None:
        """Raises RefusedError where the target does not say by what the loss is brought about."""
        if call.operation == "terminate":
            self._context.target.of(AwsConfig)
        if call.operation == "put-in" and not command_of(self._context.target):
            raise RefusedError(
                f"The target {self._context.name} names no command that puts {call.id} into it.",
                "The lab has one; elsewhere set faults in dr.yaml, or kubernetes.machines.",
            )

    def _watching(self, verb: Verb, scenes: Mapping[str, Scene], at: float) -> Call:
        of = str(verb.args["of"])
        there = scenes[of]
        hit = chosen(of, there, str(verb.args.get("node") or ""))
        limit = LIMIT.of(self._context.settings.objectives)
        within = float(verb.args.get("within") or limit + BEYOND)
        known = msgspec.to_builtins(redundancy.before(of, hit, there, at))
        return Call(
            *("watch-redundancy", verb.name, "redundancy", DRIVER, WATCH),
            {"before": known, "within": within, "path": str(verb.args.get("path") or "cluster")},
            effect=Effect.READS,
            until="the workload whole again, or its time over",
            deadline=within + SLACK,
        )

    def confirm_identity(self) -> None:
        self._cluster.confirm()

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        if call.operation == WATCH:
            return {**args, "began": self._now()}
        if call.operation in CANARIES:
            return self._canary.apply(call, args)
        return dict(args) if call.operation == standing.OPERATION else self._breaking.apply(call, args)

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        """An API server that does not answer for a while is asked again, until the call's time is over."""
        try:
            if call.operation == WATCH:
                return self._watched(result)
            if call.operation in CANARIES:
                return self._canary.poll(call, result)
            waiting = call.operation == standing.OPERATION
            return self._waiting.poll(result) if waiting else self._breaking.poll(call, result)
        except ProviderError as error:
            if not error.transient:
                raise
            if call.operation == WATCH and self._over(result):
                return Progress(done=True, result={"restored": False, "because": str(error)})
            return Progress(done=False, note=str(error), blind=True)

    def _over(self, result: Mapping[str, Any]) -> bool:
        """Whether the time of a watch is."""
        return self._now() - float(result["began"]) > float(result["within"])

    def _watched(self, result: Mapping[str, Any]) -> Progress:
        """A look each ``PERIOD``, until the workload is whole, or its time over: what then lacks is judged."""
        known = msgspec.convert(result["before"], Before)
        course = self._course or Course(known, known.at)
        if course.looks:
            hearing.pause(self._context.clock, PERIOD)
        self._course = now = redundancy.advanced(course, look(self._cluster, course.before.of), self._now())
        done = now.restored is not None or self._over(result)
        changed = done or {**now.told(), "until": 0} != {**course.told(), "until": 0}
        seen = (Observation("redundancy", str(result["path"]), now.told(), now.until),) if changed else ()
        told = {"restored": now.restored is not None, "looks": now.looks} if done else {}
        return Progress(done=done, result=told, note=now.note, observations=seen, busy=True)

    def _now(self) -> float:
        return self._context.clock.now().at


def _seen(kind: str, found: Object) -> Resource:
    ready = condition(found, "Ready").get("status")
    shown = {"True": "ready", "False": "not-ready", "Unknown": "unknown"}.get(str(ready), "")
    told = shown or str(status(found).get("phase", "")).lower()
    return Resource(Ref(DRIVER, kind, name_of(found)), told, tags_in(found))
