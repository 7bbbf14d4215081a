"""The canary of a namespace: a ConfigMap that holds a number, and is written with the next one once a second.

It tells what was written to the cluster after a backup. An object holds its last write alone: whoever has number n has
all writes up to it. Each write names the object's UID, so that one of its name that was restored is never written to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from time import monotonic_ns
from typing import Any

from dr.config.context import Context
from dr.domain.errors import OddAnswerError, ProviderError, RefusedError, UsageError
from dr.domain.model import Call, Effect, Progress, RunIdentity, Verb
from dr.domain.refs import Ref
from dr.drivers.kubernetes.api import Api
from dr.drivers.kubernetes.cluster import NAMESPACES, Access, Cluster
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.kubernetes.refs import DRIVER, namespace
from dr.drivers.kubernetes.workloads import Object
from dr.drivers.measuring.paths import SOURCE
from dr.evidence.model import Marker
from dr.evidence.samples import ACKNOWLEDGED, FAILED, INDETERMINATE, load_markers, marker_line, markers_file
from dr.host import children
from dr.host.clock import SystemClock
from dr.meter.held import Meters
from dr.meter.loop import LOOK, Journal, Lines, record

CANARY, WRITE = "canary", "write-canary"
DROP, STOP = "drop-canary", "stop-canary"
LABEL = "dr/canary"
"""Which run's it is."""
NUMBER = "n"
RATE = 1.0
"""Writes a second."""
READINGS, BETWEEN = 5, 0.23
"""Of the API server's clock, which tells whole seconds; and the seconds between two, which find where one ends."""
SECONDS = 30.0


def access(space: str) -> list[Access]:
    """What the credentials need."""
    return [Access(verb, "configmaps", space) for verb in ("get", "list", "create", "patch", "delete")]


def propose(verb: Verb, run: RunIdentity, config: KubernetesConfig, timeout: float) -> tuple[Call, Call]:
    """The object is made, and deleted, by a call of its own, so that it goes also where its writer was killed."""
    space = str(verb.args["namespace"])
    if space not in config.namespaces:
        raise UsageError(f"The namespace {space!r} is none of the target's.", "Name one of kubernetes.namespaces.")
    one = Ref(DRIVER, "configmap", f"dr-canary-{run.id}", namespace(space))
    args: dict[str, Any] = {"namespace": space, "name": one.name, "run": run.id}
    made = Call(
        *(CANARY, verb.name, "prepare", DRIVER, CANARY, args),
        effect=Effect.MAKES,
        makes=(one,),
        deadline=SECONDS,
    ).undone_by(DROP, DROP, deadline=SECONDS)
    where = {"kubeconfig": config.kubeconfig, "context": config.context, "uid": f"${{{CANARY}.uid}}"}
    write = Call(
        *(WRITE, verb.name, "measure", DRIVER, WRITE),
        {**args, **where, "path": SOURCE, "rate": RATE, "timeout": timeout},
        effect=Effect.MAKES,
        touches=(one,),
        makes=(children.process(WRITE),),
        until="the first write acknowledged",
        deadline=SECONDS,
        volatile=True,
    ).undone_by(STOP, STOP, {"of": WRITE}, deadline=SECONDS)
    return made, write


def is_one(of: Object) -> bool:
    """Whether an object is some run's canary, which nobody has to restore."""
    return LABEL in ((of.get("metadata") or {}).get("labels") or {})


def present(found: Iterable[Object], written: Iterable[Marker]) -> list[list[int]]:
    """The numbers that a restored canary stands for, a range each, of those that were ``written``; empty where none was
    restored."""
    newest = max((int((one.get("data") or {}).get(NUMBER, -1)) for one in found), default=-1)
    numbers = {one.n for one in written if one.n <= newest and one.outcome != FAILED} | {newest}
    return [[n, n] for n in sorted(numbers) if n >= 0]


class Canary:
    """Its calls."""

    def __init__(self, context: Context, cluster: Cluster) -> None:
        self._context, self._cluster, self._meters = context, cluster, Meters(context)

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        if call.operation == CANARY:
            return {**args, "uid": self._made(args)["metadata"]["uid"]}
        if call.operation == WRITE:
            from dr.meter.process import run

            document = {**args, **self._meters.document(call.id)}
            held = self._meters.running(call.id) or self._meters.begin(call.id, partial(run, write, document))
            return {"path": args["path"], "pid": held.pid, "started": held.who.partition(":")[2]}
        if call.operation == STOP:
            self._meters.stop(str(args["of"]))
        elif self._own(args) is not None:
            self._cluster.delete(_path(args), {})
        return dict(args)

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        if call.operation == WRITE:
            self._meters.check_alive(call.id)
            done = any(one.outcome == ACKNOWLEDGED for one in written(self._context.run))
            return Progress(done, dict(result), "" if done else "no write is acknowledged yet")
        return Progress(call.operation != DROP or self._cluster.get(_path(result)) is None, dict(result))

    def _own(self, args: Mapping[str, Any]) -> Object | None:
        """Raises RefusedError where an object of its name is not the run's."""
        found = self._cluster.get(_path(args))
        if found is not None and (found["metadata"].get("labels") or {}).get(LABEL) != args["run"]:
            raise RefusedError(f"The ConfigMap {args['name']} in {args['namespace']} is not this run's.")
        return found

    def _made(self, args: Mapping[str, Any]) -> Object:
        body = {"metadata": {"name": args["name"], "labels": {LABEL: args["run"]}}}
        return self._own(args) or self._cluster.create(_collection(args), _config_map(body))


def _collection(args: Mapping[str, Any]) -> str:
    return f"{NAMESPACES}/{args['namespace']}/configmaps"


def _path(args: Mapping[str, Any]) -> str:
    return f"{_collection(args)}/{args['name']}"


def _config_map(body: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", **body}


def written(run: Path) -> tuple[Marker, ...]:
    """What the record of a run's writes has so far."""
    found = load_markers(markers_file(run, SOURCE))
    return found.markers if found is not None else ()


# -- the writer, a process of its own


GONE = ("404", "409")
"""What a write is answered with once the object is gone, or another one of its name is there."""


class Writer:
    """Writes the number that is due, and notes what came of it. ``note`` takes whole lines for the markers file.
    ``gone``: why nothing can be written any more, "" before that."""

    def __init__(self, api: Api, path: str, uid: str, note: Callable[[bytes], None]) -> None:
        self._api, self._path, self._uid, self._note = api, path, uid, note
        self.lines, self.gone = Lines(marker_line, note), ""

    def take(self, n: int, due: int, now: int) -> None:
        sent, late = monotonic_ns(), max(0, now - due)
        self._note(marker_line(n, due, sent, 0, INDETERMINATE, late=late))
        outcome, word = ACKNOWLEDGED, ""
        try:
            self._api.patch(self._path, {"metadata": {"uid": self._uid}, "data": {NUMBER: str(n)}})
        except ProviderError as error:
            refused = error.code.startswith("4")
            outcome, word = (FAILED, error.code) if refused else (INDETERMINATE, error.code or "no-answer")
            self.gone = "its object is gone" if error.code in GONE else ""
        self.lines.append((n, due, sent, monotonic_ns(), outcome, 0, word, late))

    def turn(self, until: int) -> None:
        time.sleep(max(0, min(until - monotonic_ns(), LOOK)) / 1e9)

    def finish(self) -> None:
        self.lines.flush()


def write(config: dict[str, Any], ended: Callable[[], str]) -> str:
    """Write until ``ended`` gives a reason, or the object is gone; returns why. Raises ProviderError where the server
    does not answer."""
    api = Api(Path(config["kubeconfig"]), config["context"], float(config["timeout"]))
    clock = clock_offset(api, config)
    out = Journal(markers_file(Path(config["run"]), config["path"]))
    writer = Writer(api, _path(config), str(config["uid"]), out.write)
    return record(writer, out, config, lambda: writer.gone or ended(), [api.place[0]], *clock)


def clock_offset(api: Api, config: Mapping[str, Any]) -> tuple[float, float]:
    """The API server's clock minus this machine's, and by how much that may be wrong, seconds: by the moments of
    objects that it is asked to make and not to keep."""
    clock, low, high = SystemClock(), float("-inf"), float("inf")
    body = _config_map({"metadata": {"name": f"{config['name']}-clock"}})
    for _ in range(READINGS):
        before = clock.now().at
        found = api.create(f"{_collection(config)}?dryRun=All", body)
        after = clock.now().at
        second = _second(found)
        low, high = max(low, second - after), min(high, second + 1.0 - before)
        time.sleep(BETWEEN)
    return (low + high) / 2, abs(high - low) / 2


def _second(found: Object) -> float:
    """When the server made an object, wall seconds, which it tells whole."""
    try:
        return datetime.fromisoformat(str(found["metadata"]["creationTimestamp"])).timestamp()
    except (KeyError, TypeError, ValueError):
        raise OddAnswerError("A new ConfigMap", "It does not say when it was made") from None
