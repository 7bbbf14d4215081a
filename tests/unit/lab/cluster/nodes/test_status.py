"""What is told of a pod."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dr.lab.cluster.nodes import pods
from dr.lab.cluster.nodes.pods import Held
from dr.lab.cluster.nodes.status import REFUSED, shows, status
from tests.unit.lab.cluster.nodes.pod import container, pod


def told(manifest: dict[str, Any], held: Held, now: float = 100.0) -> dict[str, Any]:
    return status(manifest, held, "10.9.1.1", now)


def condition(found: dict[str, Any], kind: str) -> str:
    return next(one["status"] for one in found["conditions"] if one["type"] == kind)


def begun(manifest: dict[str, Any]) -> Held:
    held = pods.adopted(manifest, "10.9.1.2", 90.0)
    for one in manifest["spec"]["containers"]:
        held = pods.began(held, one, 91.0)
    return held


def test_a_pod_that_waits_is_pending_and_one_that_runs_and_is_ready_says_so() -> None:
    manifest = pod()
    before = told(manifest, pods.adopted(manifest, "10.9.1.2", 90.0))
    assert before["phase"] == "Pending"
    assert condition(before, "Ready") == "False"
    after = told(manifest, begun(manifest))
    assert after["phase"] == "Running"
    assert condition(after, "Ready") == "True"
    assert (after["podIP"], after["hostIP"]) == ("10.9.1.2", "10.9.1.1")
    assert after["containerStatuses"][0]["state"] == {"running": {"startedAt": "1970-01-01T00:01:31Z"}}


def test_a_pod_names_the_containers_that_are_not_ready() -> None:
    manifest = pod(container("a"), container("b", readinessProbe={"tcpSocket": {"port": 1}}))
    found = told(manifest, begun(manifest))
    ready = next(one for one in found["conditions"] if one["type"] == "Ready")
    assert ready["message"] == "containers with unready status: [b]"


def test_a_pod_that_is_being_deleted_is_not_ready() -> None:
    manifest = pod()
    manifest["metadata"]["deletionTimestamp"] = "now"
    assert condition(told(manifest, begun(manifest)), "Ready") == "False"


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (3, "Failed")])
def test_a_pod_that_is_not_started_again_ends_by_its_code(code: int, phase: str) -> None:
    manifest = pod(restartPolicy="Never")
    found = told(manifest, pods.ended(manifest, begun(manifest), "api", code, 99.0))
    assert found["phase"] == phase
    assert found["containerStatuses"][0]["state"]["terminated"]["exitCode"] == code
    assert condition(found, "Ready") == "False"


def test_a_container_that_is_to_be_started_again_tells_how_it_ended() -> None:
    manifest = pod()
    held = pods.ended(manifest, begun(manifest), "api", 137, 95.0, "OOMKilled")
    held = pods.ended(manifest, pods.began(held, manifest["spec"]["containers"][0], 95.0), "api", 1, 96.0)
    found = told(manifest, held)
    (one,) = found["containerStatuses"]
    assert found["phase"] == "Running"
    assert one["restartCount"] == 2
    assert one["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert one["lastState"]["terminated"]["exitCode"] == 1


def test_fields_that_are_not_honoured_stand_in_the_status() -> None:
    manifest = pod()
    found = told(manifest, pods.adopted(manifest, "", 90.0, ("spec.hostPID", "spec.hostIPC")))
    waiting = found["containerStatuses"][0]["state"]["waiting"]
    assert found["phase"] == "Pending"
    assert waiting == {
        "reason": REFUSED,
        "message": "The lab's agent does not honour spec.hostPID, spec.hostIPC.",
    }


def test_a_pod_that_may_not_run_has_failed_with_its_reason() -> None:
    manifest = pod()
    held = replace(pods.adopted(manifest, "", 90.0), failed=("UnexpectedAdmissionError", "none left"))
    found = told(manifest, held)
    assert (found["phase"], found["reason"], found["message"]) == ("Failed", "UnexpectedAdmissionError", "none left")


def test_conditions_of_others_and_the_times_of_what_has_not_changed_are_kept() -> None:
    manifest = pod()
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    first = {"type": "Initialized", "status": "True", "lastTransitionTime": "2026-01-01T00:00:01Z"}
    manifest["status"] = {"phase": "Pending", "conditions": [scheduled, first]}
    found = told(manifest, begun(manifest))["conditions"]
    assert scheduled in found
    assert next(one for one in found if one["type"] == "Initialized")["lastTransitionTime"] == "2026-01-01T00:00:01Z"


def test_a_shut_readiness_gate_keeps_a_pod_unready() -> None:
    manifest = pod(readinessGates=[{"conditionType": "lb"}])
    found = told(manifest, begun(manifest))
    assert condition(found, "ContainersReady") == "True"
    assert condition(found, "Ready") == "False"
    manifest["status"]["conditions"] = [{"type": "lb", "status": "True"}]
    assert condition(told(manifest, begun(manifest)), "Ready") == "True"


def test_a_status_is_shown_where_nothing_of_it_differs_but_what_is_empty() -> None:
    manifest = pod(container(readinessProbe={"tcpSocket": {"port": 1}}))
    wanted = told(manifest, begun(manifest))
    server = {**wanted, "qosClass": "BestEffort"}
    assert shows(server, wanted)
    assert not shows({**server, "phase": "Pending"}, wanted)
    one = {key: value for key, value in wanted["containerStatuses"][0].items() if key != "lastState"}
    assert shows({**server, "containerStatuses": [one]}, wanted)
    assert not shows({**server, "containerStatuses": [{**one, "started": False}]}, wanted)
    assert not shows({**server, "containerStatuses": []}, wanted)
