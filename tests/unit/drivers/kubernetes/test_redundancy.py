"""How a workload is seen to stand whole again, look by look."""

from __future__ import annotations

from typing import Any

from dr.drivers.kubernetes.redundancy import STEPS, Course, advanced, before
from dr.drivers.kubernetes.scene import Scene, scene
from tests.platform_objects import MODEL, OF, condition, deployment, node, pod, service, slices

A, B, C = (f"{MODEL}-{letter}" for letter in "abc")
NODES = [node("gpu-1"), node("gpu-2"), node("gpu-3")]
DEAD = [node("gpu-1", ready="Unknown"), *NODES[1:]]
LESS = [node("gpu-1", gpus=0), *NODES[1:]]
UNREADY = condition("Ready", holds=False)


def seen(nodes: list[Any], pods: list[Any], *served: str, workload: Any = None, selector: str = MODEL) -> Scene:
    held = deployment(MODEL) if workload is None else workload
    return scene(nodes, pods, held or None, [service(MODEL, app=selector)], [slices(MODEL, *served)])


def held(name: str, *, node: str = "gpu-1", ready: bool = True, started: bool = True, ending: bool = False) -> Any:
    one = pod(name, condition("Ready", holds=ready), node=node)
    one["status"]["containerStatuses"][0]["started"] = started
    if ending:
        one["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return one


BOTH = [held(A), held(B, node="gpu-2")]
FIRST = seen(NODES, BOTH, A, B)


def course(*looks: Scene) -> Course:
    """One look each second from 1 on; the loss came after 0."""
    found = Course(before(OF, "gpu-1", FIRST, 0.0), 0.0)
    for at, look in enumerate(looks, 1):
        found = advanced(found, look, float(at))
    return found


def test_a_workload_is_not_whole_again_before_its_loss_was_seen() -> None:
    found = course(FIRST, FIRST)
    assert (found.restored, found.steps, found.standing) == (None, {}, 1)


def test_each_step_is_told_with_the_looks_before_and_after_it() -> None:
    b = held(B, node="gpu-2")
    found = course(
        FIRST,
        seen(DEAD, [held(A, ready=False), b], A, B),
        seen(DEAD, [held(A, ready=False), b], B),
        seen(DEAD, [held(A, ready=False, ending=True), b], B),
        seen(DEAD, [held(A, ready=False, ending=True), b, held(C, node="gpu-3", ready=False, started=False)], B),
        seen(DEAD, [held(A, ready=False, ending=True), b, held(C, node="gpu-3", ready=False)], B),
        seen(DEAD, [held(A, ready=False, ending=True), b, held(C, node="gpu-3")], B),
        seen(DEAD, [held(A, ready=False, ending=True), b, held(C, node="gpu-3")], B, C),
    )
    assert found.steps == {
        "noticed": (1.0, 2.0),
        "endpoint-dropped": (2.0, 3.0),
        "evicted": (3.0, 4.0),
        "rescheduled": (4.0, 5.0),
        "started": (4.0, 5.0),
        "artifact-loaded": (5.0, 6.0),
        "warm": (6.0, 7.0),
    }
    assert [*found.steps] == [*STEPS]
    assert found.restored == (7.0, 8.0), "the Service has to lead to it"
    assert found.told()["gpus"] == {"before": 3, "now": 2}


def test_pods_of_a_node_that_came_back_count_again_once_they_were_seen_down() -> None:
    down = seen(DEAD, [held(A, ready=False), held(B, node="gpu-2")], B)
    assert course(down, FIRST).restored == (1.0, 2.0)


def test_a_ready_pod_whose_gpu_is_gone_does_not_stand() -> None:
    found = course(seen(LESS, BOTH, A, B))
    assert (found.standing, found.restored) == (1, None)
    assert found.steps == {"noticed": (0.0, 1.0)}
    assert course(seen(LESS, [held(A, ending=True), *BOTH[1:], held(C, node="gpu-3")], B, C)).restored == (0.0, 1.0)


def test_without_room_the_schedulers_reason_and_the_missing_gpus_are_told() -> None:
    waiting = pod(C, condition("PodScheduled", holds=False, message="0/3 nodes: 1 Insufficient nvidia.com/gpu."))
    waiting["spec"]["nodeName"] = ""
    waiting["status"] |= {"phase": "Pending", "containerStatuses": []}
    found = course(seen(DEAD, [held(A, ready=False, ending=True), held(B, node="gpu-2"), waiting], B))
    because = "0/3 nodes: 1 Insufficient nvidia.com/gpu."
    assert found.told()["unscheduled"] == {"pods": 1, "gpus": 1, "because": because}
    assert because in found.note
    assert "rescheduled" not in found.steps


def test_a_workload_that_is_asked_for_less_or_is_gone_is_not_whole() -> None:
    whole = [held(B, node="gpu-2"), held(C, node="gpu-3")]
    assert course(seen(DEAD, whole, B, C)).restored
    assert course(seen(DEAD, whole, B, C, workload=deployment(MODEL, 0))).restored is None
    assert course(seen(DEAD, whole, B, C, workload={})).restored is None


def test_a_service_that_leads_to_none_of_its_pods_leaves_it_broken() -> None:
    whole = [held(B, node="gpu-2"), held(C, node="gpu-3")]
    assert course(seen(DEAD, whole, B, C, selector="nobody")).told()["led"] == 0
    assert course(seen(DEAD, whole, B, C, selector="nobody")).restored is None


def test_a_workload_that_falls_again_is_not_whole() -> None:
    whole = seen(DEAD, [held(B, node="gpu-2"), held(C, node="gpu-3")], B, C)
    again = seen(DEAD, [held(B, node="gpu-2"), held(C, node="gpu-3", ready=False)], B)
    assert course(whole).restored
    assert course(whole, again).restored is None
