"""What the agent tells of a pod, from its record alone, and whether the API server shows just that. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dr.lab.cluster.nodes.environment import Manifest
from dr.lab.cluster.nodes.pods import ENDED, RUNNING, WAITING, Held, Run, deleting, final
from dr.lab.cluster.nodes.times import rfc3339

REFUSED = "FieldNotHonoured"
"""The reason of a pod that asks for what the agent does not do."""


def status(pod: Manifest, held: Held, host: str, now: float) -> dict[str, Any]:
    """The whole status, but for what others set in it: their conditions are taken over as they stand."""
    if held.failed is not None:
        reason, message = held.failed
        return {"phase": "Failed", "reason": reason, "message": message, "startTime": rfc3339(held.since)}
    first, main = pod["spec"].get("initContainers", []), pod["spec"]["containers"]
    return {
        "phase": phase(pod, held),
        "conditions": _conditions(pod, held, now),
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "podIP": held.address,
        "podIPs": [{"ip": held.address}],
        "startTime": pod.get("status", {}).get("startTime") or rfc3339(held.since),
        "containerStatuses": [_container(held, one) for one in main],
        **({"initContainerStatuses": [_container(held, one, first=True) for one in first]} if first else {}),
    }


def phase(pod: Manifest, held: Held) -> str:
    """The pod's phase. One that has ended keeps what it ended as."""
    before = str(pod.get("status", {}).get("phase", ""))
    if before in ("Succeeded", "Failed"):
        return before
    first = [held.runs[one["name"]] for one in pod["spec"].get("initContainers", [])]
    runs = [held.runs[one["name"]] for one in pod["spec"]["containers"]]
    if any(run.state == ENDED and run.code for run in first):
        return "Failed"
    if all(run.state == ENDED for run in runs):
        return "Failed" if any(run.code for run in runs) else "Succeeded"
    # A container that waits to be started again has run.
    return "Running" if all(run.state != WAITING or run.last for run in runs) else "Pending"


def _container(held: Held, container: Manifest, *, first: bool = False) -> dict[str, Any]:
    run = held.runs[container["name"]]
    done = run.state == ENDED and run.code == 0
    return {
        "name": run.name,
        "image": container["image"],
        "imageID": f"dr-lab://{container['image']}",
        "containerID": f"dr-lab://{held.uid}/{run.name}/{run.attempt}" if run.state != WAITING or run.last else "",
        "ready": done if first else run.ready,
        "started": run.state == RUNNING and run.started,
        "restartCount": run.restarts,
        "state": _state(held, run),
        "lastState": {ENDED: dict(run.last)} if run.last else {},
    }


def _state(held: Held, run: Run) -> dict[str, Any]:
    if run.state == RUNNING:
        return {RUNNING: {"startedAt": rfc3339(run.began)}}
    if run.state == ENDED:
        return {ENDED: final(run)}
    if held.refused:
        return {WAITING: {"reason": REFUSED, "message": refusal(held.refused)}}
    return {WAITING: {"reason": run.reason, **({"message": run.message} if run.message else {})}}


def refusal(refused: Sequence[str]) -> str:
    """Why a pod is not run."""
    return f"The lab's agent does not honour {', '.join(refused)}."


def _conditions(pod: Manifest, held: Held, now: float) -> list[dict[str, Any]]:
    before = {one["type"]: one for one in pod.get("status", {}).get("conditions", [])}
    gone = phase(pod, held) in ("Succeeded", "Failed") or deleting(pod)
    main = [held.runs[one["name"]] for one in pod["spec"]["containers"]]
    first = [held.runs[one["name"]] for one in pod["spec"].get("initContainers", [])]
    unready = [run.name for run in main if not run.ready]
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates", [])]
    shut = [gate for gate in gates if before.get(gate, {}).get("status") != "True"]
    waiting = [run.name for run in first if run.state != ENDED or run.code]
    reason = "PodCompleted" if phase(pod, held) == "Succeeded" else "ContainersNotReady"
    lacking = f"containers with unready status: [{' '.join(unready)}]" if unready else ""
    closed = f"the readiness gates [{' '.join(shut)}] are not open" if shut else ""
    uninitialized = f"containers with incomplete status: [{' '.join(waiting)}]" if waiting else ""
    ours = [
        _condition("PodReadyToStartContainers", not gone and not held.refused, "", "", before, now),
        _condition("Initialized", not waiting, "ContainersNotInitialized", uninitialized, before, now),
        _condition("ContainersReady", not unready and not gone, reason, lacking, before, now),
        _condition("Ready", not unready and not shut and not gone, reason, lacking or closed, before, now),
    ]
    mine = {one["type"] for one in ours}
    return [*ours, *(one for kind, one in before.items() if kind not in mine)]


def _condition(
    kind: str, holds: bool, reason: str, message: str, before: Mapping[str, Any], now: float
) -> dict[str, Any]:
    shown, word = before.get(kind, {}), "True" if holds else "False"
    since = shown.get("lastTransitionTime") if shown.get("status") == word else None
    told = {} if holds else {key: value for key, value in (("reason", reason), ("message", message)) if value}
    return {"type": kind, "status": word, "lastProbeTime": None, "lastTransitionTime": since or rfc3339(now), **told}


def shows(shown: Any, wanted: Any) -> bool:
    """Whether what the API server shows holds all that is ``wanted``; it leaves out what is empty."""
    if isinstance(wanted, Mapping):
        here = shown if isinstance(shown, Mapping) else {}
        return all(shows(here.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        parts = shown if isinstance(shown, list) else []
        return len(parts) == len(wanted) and all(map(shows, parts, wanted))
    return bool(shown == wanted or (wanted in (None, "", False) and shown in (None, "", False)))
