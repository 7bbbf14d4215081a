"""A pod on its node: what is to be done next, and what becomes of its record by what happened. Pure.

``steps`` says what to do now; the agent does it and tells by ``began``, ``ended``, ``unable`` and ``answered``, each of
which gives a new record. All times are epoch seconds of one clock that is never set.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from dr.lab.cluster.nodes.environment import Manifest, all_containers
from dr.lab.cluster.nodes.times import epoch, rfc3339

FIRST_PAUSE, LONGEST_PAUSE = 10.0, 300.0
"""Seconds before the second start after an end, doubled each time; the first comes at once."""
CALM = 600.0
"""Seconds that a container has to run for its pauses to begin anew."""
UNABLE_PAUSE = 2.0
"""Seconds after which what was not there is looked for again."""
GRACE = 30.0
SLEEP = 0
"""A signal that is none."""
KILLED = 128 + signal.SIGKILL
GONE = "It was gone when the agent of the node came back."
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
WAITING, RUNNING, ENDED = "waiting", "running", "terminated"


@dataclass(frozen=True, slots=True)
class Probing:
    """One probe of a running container. ``in_row``: answers that were alike, ``good``: what they were."""

    due: float
    asked: bool = False
    good: bool | None = None
    in_row: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One container. ``attempt``: which process of it, so that what is told of a former one is told apart."""

    name: str
    state: str = WAITING
    reason: str = "ContainerCreating"
    message: str = ""
    attempt: int = 0
    restarts: int = 0
    began: float = 0.0
    ended: float = 0.0
    code: int = 0
    last: Mapping[str, Any] | None = None
    """How the process before ended, as the status shows it."""
    again: float = 0.0
    """Not to be started before."""
    pauses: int = 0
    started: bool = False
    ready: bool = False
    probes: Mapping[str, Probing] = field(default_factory=dict)
    told: float = 0.0
    """When its end began; 0: it has not. SIGTERM comes at once, or after the sleep of its preStop."""
    warned: bool = False
    """Whether SIGTERM was sent."""
    why: str = ""
    """Why it was told to end, where that was not the pod's own end."""


@dataclass(frozen=True, slots=True)
class Held:
    """A pod that the agent has. ``since``: when the agent first saw it. ``refused``: fields that it does not honour;
    ``failed``: reason and message of a pod that may not run at all."""

    uid: str
    address: str
    since: float
    runs: Mapping[str, Run]
    refused: tuple[str, ...] = ()
    failed: tuple[str, str] | None = None

    def with_run(self, run: Run) -> Held:
        return replace(self, runs={**self.runs, run.name: run})


@dataclass(frozen=True, slots=True)
class Start:
    container: str


@dataclass(frozen=True, slots=True)
class Signal:
    """Tell a container to end, or end it; ``SLEEP``: its end begins, and nobody tells it yet. ``why``: what its record
    keeps."""

    container: str
    number: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    container: str
    probe: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing of the pod runs and it is being deleted: tell its last status, and let the API server forget it."""


Step: TypeAlias = Start | Signal | Ask | Finish


def adopted(pod: Manifest, address: str, now: float, refused: tuple[str, ...] = ()) -> Held:
    """A pod that this agent sees for the first time: no process of it runs. Where its status tells of some, those went
    with an agent before, and each is started again as a restart."""
    status = pod.get("status", {})
    told = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    shown = {one["name"]: one for one in told}
    names = [container["name"] for container in all_containers(pod)]
    runs = {name: _taken_up(pod, Run(name), shown.get(name), now) for name in names}
    return Held(pod["metadata"]["uid"], address, now, runs, refused)


def _taken_up(pod: Manifest, run: Run, shown: Mapping[str, Any] | None, now: float) -> Run:
    if shown is None:
        return run
    restarts, state = int(shown.get("restartCount", 0)), shown.get("state", {})
    if ENDED in state:
        how = state[ENDED]
        times = [epoch(how[at]) if how.get(at) else now for at in ("startedAt", "finishedAt")]
        ran = replace(run, state=ENDED, began=times[0], ended=times[1])
        ran = replace(ran, reason=how.get("reason", ""), code=how.get("exitCode", 0))
        if not _again(pod, ran):
            return replace(ran, restarts=restarts, attempt=restarts)
    elif RUNNING in state:
        how = {"exitCode": KILLED, "reason": "Unknown", "message": GONE, **state[RUNNING], "finishedAt": rfc3339(now)}
    else:
        return replace(run, attempt=restarts, restarts=restarts, last=shown.get("lastState", {}).get(ENDED))
    return replace(run, attempt=restarts + 1, restarts=restarts + 1, last=how)


def deleting(pod: Manifest) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def grace(pod: Manifest) -> float:
    """Seconds that the containers of a pod have to end in, once it is deleted."""
    return float(pod["metadata"].get("deletionGracePeriodSeconds", _own_grace(pod)))


def _own_grace(pod: Manifest) -> float:
    return float(pod["spec"].get("terminationGracePeriodSeconds", GRACE))


def over(pod: Manifest, held: Held) -> bool:
    """Whether the pod has ended for good: no container of it will be started again."""
    if held.failed is not None or pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return True
    if _init_failed(pod, held):
        return True
    return all(held.runs[one["name"]].state == ENDED for one in pod["spec"]["containers"])


def _init_failed(pod: Manifest, held: Held) -> bool:
    runs = [held.runs[one["name"]] for one in pod["spec"].get("initContainers", [])]
    return any(run.state == ENDED and run.code for run in runs)


def steps(pod: Manifest, held: Held, now: float) -> tuple[Step, ...]:
    """What is to be done now."""
    running = [run for run in held.runs.values() if run.state == RUNNING]
    if deleting(pod) or over(pod, held):
        if not running and deleting(pod):
            return (Finish(),)
        sleeps = _sleeps(pod)
        return tuple(step for run in running for step in _end(run, sleeps[run.name], grace(pod), now))
    if held.refused:
        return ()
    return tuple(_onward(pod, held, now))


def _end(run: Run, sleep: float, seconds: float, now: float, why: str = "") -> Iterator[Step]:
    begun = run.told or now
    if now >= begun + seconds:
        yield Signal(run.name, signal.SIGKILL, run.why or why)
    elif not run.warned and now >= begun + sleep:
        yield Signal(run.name, signal.SIGTERM, run.why or why)
    elif not run.told:
        yield Signal(run.name, SLEEP, why)


def _sleeps(pod: Manifest) -> dict[str, float]:
    """Seconds that each container goes on when its end has begun: so long others may still be led to it."""
    hooks = {one["name"]: one.get("lifecycle", {}).get("preStop", {}) for one in all_containers(pod)}
    return {name: float(hook.get("sleep", {}).get("seconds", 0)) for name, hook in hooks.items()}


def _onward(pod: Manifest, held: Held, now: float) -> Iterator[Step]:
    for container in pod["spec"].get("initContainers", []):
        run = held.runs[container["name"]]
        if run.state == WAITING and now >= run.again:
            yield Start(run.name)
        if run.state != ENDED:
            return
    for container in pod["spec"]["containers"]:
        run = held.runs[container["name"]]
        if run.state == WAITING and now >= run.again:
            yield Start(run.name)
        elif run.state == RUNNING and (run.told or run.why):
            yield from _end(run, _sleeps(pod)[run.name], _own_grace(pod), now, run.why)
        elif run.state == RUNNING:
            yield from (Ask(run.name, kind) for kind, probe in run.probes.items() if _due(run, kind, probe, now))


def _due(run: Run, kind: str, probe: Probing, now: float) -> bool:
    waits = run.started if kind == "startupProbe" else not run.started
    return not probe.asked and not waits and now >= probe.due


def due(pod: Manifest, held: Held) -> float | None:
    """When ``steps`` may say something new although nothing has happened; None: not before something does."""
    seconds = grace(pod) if deleting(pod) else _own_grace(pod)
    sleeps = _sleeps(pod)
    moments = [moment for run in held.runs.values() for moment in _moments(run, sleeps[run.name], seconds)]
    return min(moments, default=None)


def _moments(run: Run, sleep: float, seconds: float) -> Iterator[float]:
    if run.state == WAITING:
        yield run.again
    elif run.state == RUNNING and run.told:
        yield run.told + (seconds if run.warned else min(sleep, seconds))
    elif run.state == RUNNING:
        for kind, probe in run.probes.items():
            waits = run.started if kind == "startupProbe" else not run.started
            if not probe.asked and not waits:
                yield probe.due


# -- what happened


def began(held: Held, container: Manifest, now: float) -> Held:
    """A container's process runs."""
    run = held.runs[container["name"]]
    probes = {
        kind: Probing(now + container[kind].get("initialDelaySeconds", 0)) for kind in PROBES if kind in container
    }
    started = "startupProbe" not in probes
    ready = started and "readinessProbe" not in probes
    run = replace(run, state=RUNNING, reason="", message="", began=now, probes=probes)
    run = replace(run, told=0.0, warned=False, why="")
    return held.with_run(replace(run, started=started, ready=ready))


def unable(held: Held, name: str, reason: str, message: str, now: float) -> Held:
    """A container could not be started: it waits."""
    run = replace(held.runs[name], state=WAITING, reason=reason, message=message, again=now + UNABLE_PAUSE)
    return held.with_run(run)


def told(held: Held, step: Signal, now: float) -> Held:
    """A container's end has begun, or went on."""
    run = held.runs[step.container]
    warned = run.warned or step.number == signal.SIGTERM
    return held.with_run(replace(run, told=run.told or now, warned=warned, why=step.why, ready=False))


def asked(held: Held, step: Ask) -> Held:
    """A probe is under way."""
    run = held.runs[step.container]
    return held.with_run(replace(run, probes={**run.probes, step.probe: replace(run.probes[step.probe], asked=True)}))


def answered(held: Held, container: Manifest, kind: str, good: bool, message: str, now: float) -> Held:
    """A probe of the container's present process was answered, or not in time."""
    run, probe = held.runs[container["name"]], container[kind]
    if run.state != RUNNING or kind not in run.probes:
        return held
    before = run.probes[kind]
    in_row = before.in_row + 1 if before.good is good else 1
    after = Probing(now + probe.get("periodSeconds", 10), False, good, in_row)
    run = replace(run, probes={**run.probes, kind: after})
    enough = in_row >= probe.get("successThreshold" if good else "failureThreshold", 1 if good else 3)
    return held.with_run(_judged(run, kind, good, message) if enough else run)


def _judged(run: Run, kind: str, good: bool, message: str) -> Run:
    if kind == "readinessProbe":
        return replace(run, ready=good and not run.told)
    if kind == "startupProbe" and good:
        return replace(run, started=True, ready="readinessProbe" not in run.probes)
    return run if good else replace(run, why=f"{kind} failed: {message}", ready=False)


def ended(pod: Manifest, held: Held, name: str, code: int, now: float, reason: str = "") -> Held:
    """A container's process has ended with ``code``, 128 and the number for a signal. ``reason``: where it is known."""
    run = held.runs[name]
    reason = reason or ("Completed" if code == 0 else "Error")
    run = replace(
        run, state=ENDED, reason=reason, message=run.why, ended=now, code=code, ready=False, started=False, probes={}
    )
    if deleting(pod) or not _again(pod, run):
        return held.with_run(run)
    pauses = 0 if now - run.began >= CALM else run.pauses
    pause = 0.0 if pauses == 0 else min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (pauses - 1))
    return held.with_run(
        Run(
            name,
            WAITING,
            "CrashLoopBackOff" if pause else "ContainerCreating",
            f"back-off {pause:.0f}s restarting failed container={name}" if pause else "",
            attempt=run.attempt + 1,
            restarts=run.restarts + 1,
            last=final(run),
            again=now + pause,
            pauses=pauses + 1,
        )
    )


def _again(pod: Manifest, run: Run) -> bool:
    policy = pod["spec"].get("restartPolicy", "Always")
    first = run.name in [one["name"] for one in pod["spec"].get("initContainers", [])]
    if run.code == 0:
        return bool(policy == "Always" and not first)
    return bool(policy != "Never")


def final(run: Run) -> dict[str, Any]:
    """How a container ended, as its status shows it."""
    return {
        "exitCode": run.code,
        "reason": run.reason,
        **({"message": run.message} if run.message else {}),
        "startedAt": rfc3339(run.began),
        "finishedAt": rfc3339(run.ended),
    }
