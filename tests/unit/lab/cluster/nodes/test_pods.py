"""What is to be done with a pod next, in virtual time."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import Any

import pytest

from dr.lab.cluster.nodes import pods
from dr.lab.cluster.nodes.pods import Ask, Finish, Held, Signal, Start
from tests.unit.lab.cluster.nodes.pod import container, pod

READY = {"readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 5, "failureThreshold": 2}}
ALIVE = {"livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 5, "failureThreshold": 2}}


def running(manifest: dict[str, Any], *, at: float = 100.0) -> Held:
    """All its containers run since ``at``."""
    held = pods.adopted(manifest, "10.9.1.2", at)
    for one in manifest["spec"]["containers"]:
        held = pods.began(held, one, at)
    return held


def deleted(manifest: dict[str, Any], seconds: int = 30) -> dict[str, Any]:
    metadata = {**manifest["metadata"], "deletionTimestamp": "now", "deletionGracePeriodSeconds": seconds}
    return {**manifest, "metadata": metadata}


def test_a_new_pod_s_containers_are_started() -> None:
    manifest = pod(container("a"), container("b"))
    assert pods.steps(manifest, pods.adopted(manifest, "", 0.0), 0.0) == (Start("a"), Start("b"))


def test_containers_that_come_first_are_started_one_after_another() -> None:
    manifest = pod(initContainers=[container("one"), container("two")])
    held = pods.adopted(manifest, "", 0.0)
    assert pods.steps(manifest, held, 0.0) == (Start("one"),)
    held = pods.began(held, manifest["spec"]["initContainers"][0], 0.0)
    assert pods.steps(manifest, held, 1.0) == ()
    held = pods.ended(manifest, held, "one", 0, 2.0)
    assert pods.steps(manifest, held, 2.0) == (Start("two"),)
    held = pods.ended(manifest, pods.began(held, manifest["spec"]["initContainers"][1], 2.0), "two", 0, 3.0)
    assert pods.steps(manifest, held, 3.0) == (Start("api"),)


def test_a_pod_with_a_field_that_is_not_honoured_is_not_started() -> None:
    manifest = pod()
    assert pods.steps(manifest, pods.adopted(manifest, "", 0.0, ("spec.hostPID",)), 0.0) == ()
    assert pods.steps(deleted(manifest), pods.adopted(manifest, "", 0.0, ("spec.hostPID",)), 0.0) == (Finish(),)


def test_a_container_without_probes_is_ready_once_it_runs() -> None:
    assert running(pod()).runs["api"].ready


def test_a_container_is_ready_by_its_probe_alone_and_unready_after_as_many_failures_as_it_says() -> None:
    one = container(**READY)
    manifest = pod(one)
    held = running(manifest)
    assert not held.runs["api"].ready
    assert pods.steps(manifest, held, 100.0) == (Ask("api", "readinessProbe"),)
    held = pods.asked(held, Ask("api", "readinessProbe"))
    assert pods.steps(manifest, held, 100.0) == ()
    held = pods.answered(held, one, "readinessProbe", True, "", 101.0)
    assert held.runs["api"].ready
    assert pods.due(manifest, held) == 106.0
    held = pods.answered(held, one, "readinessProbe", False, "", 106.0)
    assert held.runs["api"].ready
    held = pods.answered(held, one, "readinessProbe", False, "", 111.0)
    assert not held.runs["api"].ready
    assert pods.steps(manifest, held, 111.0) == ()


def test_a_container_that_fails_its_liveness_probe_is_told_to_end_then_killed_and_started_again() -> None:
    one = container(**ALIVE)
    manifest = pod(one, terminationGracePeriodSeconds=7)
    held = running(manifest)
    for at in (105.0, 110.0):
        assert pods.steps(manifest, held, at) == (Ask("api", "livenessProbe"),)
        held = pods.answered(held, one, "livenessProbe", False, "no answer", at)
    (step,) = pods.steps(manifest, held, 110.0)
    assert step == Signal("api", signal.SIGTERM, "livenessProbe failed: no answer")
    assert isinstance(step, Signal)
    held = pods.told(held, step, 110.0)
    assert pods.steps(manifest, held, 116.9) == ()
    assert pods.due(manifest, held) == 117.0
    assert pods.steps(manifest, held, 117.0) == (replace(step, number=signal.SIGKILL),)
    held = pods.ended(manifest, held, "api", 137, 117.0)
    assert pods.steps(manifest, held, 117.0) == (Start("api"),)
    last = held.runs["api"].last
    assert last is not None
    assert last["message"] == "livenessProbe failed: no answer"


def test_other_probes_wait_for_the_startup_probe() -> None:
    one = container(startupProbe={"tcpSocket": {"port": 1}, "failureThreshold": 3}, **READY)
    manifest = pod(one)
    held = running(manifest)
    assert pods.steps(manifest, held, 100.0) == (Ask("api", "startupProbe"),)
    held = pods.answered(held, one, "startupProbe", False, "", 100.0)
    assert not held.runs["api"].started
    held = pods.answered(held, one, "startupProbe", True, "", 110.0)
    assert held.runs["api"].started
    assert not held.runs["api"].ready
    assert pods.steps(manifest, held, 110.0) == (Ask("api", "readinessProbe"),)


def test_restarts_come_at_once_and_then_after_pauses_that_double_up_to_five_minutes() -> None:
    manifest = pod()
    held, pauses = running(manifest), []
    for _ in range(8):
        now = held.runs["api"].began + 1.0
        held = pods.ended(manifest, held, "api", 1, now)
        pauses.append(held.runs["api"].again - now)
        held = pods.began(held, manifest["spec"]["containers"][0], held.runs["api"].again)
    assert pauses == [0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
    assert held.runs["api"].restarts == 8


def test_pauses_begin_anew_after_a_long_run() -> None:
    manifest = pod()
    held = running(manifest)
    for _ in range(3):
        held = pods.ended(manifest, held, "api", 1, held.runs["api"].began + 1.0)
        held = pods.began(held, manifest["spec"]["containers"][0], held.runs["api"].again)
    now = held.runs["api"].began + pods.CALM
    assert pods.ended(manifest, held, "api", 1, now).runs["api"].again == now


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_the_restart_policy_decides_whether_a_container_is_started_again(policy: str, code: int, again: bool) -> None:
    manifest = pod(restartPolicy=policy)
    held = pods.ended(manifest, running(manifest), "api", code, 101.0)
    assert pods.over(manifest, held) is not again
    assert (pods.steps(manifest, held, 101.0) == (Start("api"),)) is again


def test_a_pod_whose_first_container_fails_for_good_is_over() -> None:
    manifest = pod(initContainers=[container("one")], restartPolicy="Never")
    held = pods.began(pods.adopted(manifest, "", 0.0), manifest["spec"]["initContainers"][0], 0.0)
    held = pods.ended(manifest, held, "one", 3, 1.0)
    assert pods.over(manifest, held)
    assert pods.steps(manifest, held, 1.0) == ()


def test_a_deleted_pod_has_its_grace_and_is_finished_when_nothing_of_it_runs() -> None:
    manifest = deleted(pod(), 20)
    held = running(manifest)
    (step,) = pods.steps(manifest, held, 200.0)
    assert step == Signal("api", signal.SIGTERM)
    assert isinstance(step, Signal)
    held = pods.told(held, step, 200.0)
    assert not held.runs["api"].ready
    assert pods.steps(manifest, held, 219.9) == ()
    assert pods.steps(manifest, held, 220.0) == (Signal("api", signal.SIGKILL),)
    held = pods.ended(manifest, held, "api", 0, 220.0)
    assert pods.steps(manifest, held, 220.0) == (Finish(),)


def test_a_container_sleeps_before_it_is_told_to_end_where_its_hook_says_so() -> None:
    manifest = deleted(pod(container(lifecycle={"preStop": {"sleep": {"seconds": 3}}})), 10)
    held = running(manifest)
    (step,) = pods.steps(manifest, held, 200.0)
    assert step == Signal("api", pods.SLEEP)
    assert isinstance(step, Signal)
    held = pods.told(held, step, 200.0)
    assert pods.steps(manifest, held, 202.9) == ()
    assert pods.due(manifest, held) == 203.0
    (step,) = pods.steps(manifest, held, 203.0)
    assert step == Signal("api", signal.SIGTERM)
    assert isinstance(step, Signal)
    held = pods.told(held, step, 203.0)
    assert pods.steps(manifest, held, 209.9) == ()
    assert pods.due(manifest, held) == 210.0
    assert pods.steps(manifest, held, 210.0) == (Signal("api", signal.SIGKILL),)


def test_a_pod_deleted_without_grace_is_killed_at_once() -> None:
    manifest = deleted(pod(), 0)
    assert pods.steps(manifest, running(manifest), 200.0) == (Signal("api", signal.SIGKILL),)


def test_what_could_not_be_started_is_tried_again_after_a_pause() -> None:
    manifest = pod()
    held = pods.unable(pods.adopted(manifest, "", 0.0), "api", "ErrImagePull", "there is none", 10.0)
    assert pods.steps(manifest, held, 10.0) == ()
    assert pods.due(manifest, held) == 12.0
    assert pods.steps(manifest, held, 12.0) == (Start("api"),)


def test_a_pod_of_a_former_agent_is_started_again_and_its_end_counted() -> None:
    manifest = pod()
    manifest["status"] = {
        "phase": "Running",
        "containerStatuses": [
            {"name": "api", "restartCount": 2, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
        ],
    }
    run = pods.adopted(manifest, "10.9.1.2", 50.0).runs["api"]
    assert (run.state, run.restarts, run.attempt) == (pods.WAITING, 3, 3)
    assert run.last is not None
    assert run.last["exitCode"] == 137


@pytest.mark.parametrize(("policy", "state"), [("Always", pods.WAITING), ("Never", pods.ENDED)])
def test_a_container_that_had_ended_before_is_started_where_its_policy_says_so(policy: str, state: str) -> None:
    how = {"exitCode": 1, "reason": "Error", "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:09Z"}
    manifest = pod(restartPolicy=policy)
    manifest["status"] = {
        "containerStatuses": [{"name": "api", "restartCount": 0, "state": {"terminated": how}}],
        "phase": "Running",
    }
    assert pods.adopted(manifest, "", 50.0).runs["api"].state == state


def test_a_pod_that_has_ended_is_not_started_by_a_new_agent() -> None:
    manifest = pod()
    manifest["status"] = {"phase": "Failed"}
    assert pods.steps(manifest, pods.adopted(manifest, "", 0.0), 0.0) == ()


def test_an_answer_that_comes_after_the_end_changes_nothing() -> None:
    one = container(**READY)
    manifest = pod(one)
    held = pods.ended(manifest, running(manifest), "api", 1, 101.0)
    assert pods.answered(held, one, "readinessProbe", True, "", 102.0) == held
