"""What keeps a namespace from being as it should be."""

from __future__ import annotations

from typing import Any

import pytest

from dr.drivers.kubernetes.workloads import Standing, not_ready
from tests.platform_objects import SYSTEM, condition, deployment, pod


def standing(**parts: Any) -> Standing:
    return Standing(SYSTEM, **{"apps": {}, **parts})


def claim(phase: str, storage: str = "gp3") -> dict[str, Any]:
    return {"metadata": {"name": "cache"}, "spec": {"storageClassName": storage}, "status": {"phase": phase}}


LATE = {"gp3": {"metadata": {"name": "gp3"}, "volumeBindingMode": "WaitForFirstConsumer"}}
USES = {"volumes": [{"persistentVolumeClaim": {"claimName": "cache"}}]}


def test_a_claim_that_is_not_bound_is_named_with_its_phase() -> None:
    assert standing(claims=(claim("Pending"),)).unbound() == [f"claim {SYSTEM}/cache is Pending"]
    assert standing(claims=(claim("Lost"),)).unbound() == [f"claim {SYSTEM}/cache is Lost"]
    assert standing(claims=(claim("Bound"),)).unbound() == []


def test_a_claim_that_binds_when_it_is_used_is_waited_for_only_where_a_pod_uses_it() -> None:
    assert standing(claims=(claim("Pending"),), classes=LATE).unbound() == []
    user = {**pod("a-1"), "spec": USES}
    assert len(standing(claims=(claim("Pending"),), classes=LATE, pods=(user,)).unbound()) == 1


@pytest.mark.parametrize(
    ("held", "why"),
    [
        (deployment("api", 3, 3), ""),
        (deployment("api", 3, 2), "2 of 3 are available"),
        (deployment("api", 3, 3, updatedReplicas=1), "1 of 3 are new"),
        (deployment("api", 3, 3, observedGeneration=0), "Kubernetes has not seen its change yet"),
        (deployment("api", 0, 0), ""),
        ({"metadata": {"name": "api"}, "spec": {}, "status": None}, "0 of 1 are available"),
    ],
)
def test_a_deployment_that_is_not_as_asked_is_named_with_the_reason(held: dict[str, Any], why: str) -> None:
    found = standing(apps={"deployments": (held,)}).unavailable()
    assert found == ([f"deployment {SYSTEM}/api: {why}"] if why else [])


def test_a_daemon_set_is_held_to_the_nodes_that_it_is_meant_for() -> None:
    seen = {"desiredNumberScheduled": 9, "numberAvailable": 8, "updatedNumberScheduled": 9}
    held = {"metadata": {"name": "plugin"}, "spec": {}, "status": seen}
    found = standing(apps={"daemonsets": (held,)}).unavailable()
    assert found == [f"daemonset {SYSTEM}/plugin: 8 of 9 are available"]


def test_a_workload_scaled_to_nothing_is_available_and_said_to_sleep() -> None:
    held = standing(apps={"deployments": (deployment("api", 0, 0),)})
    assert (held.unavailable(), held.asleep()) == ([], [f"deployment {SYSTEM}/api"])


@pytest.mark.parametrize(
    ("held", "why"),
    [
        (pod("a-1"), ""),
        (pod("a-1", condition("Ready", holds=False)), "Running, not ready"),
        (pod("a-1", condition("Ready", holds=False), phase="Succeeded"), ""),
        (
            pod("a-1", condition("PodScheduled", holds=False, message="0/9 nodes are available."), phase="Pending"),
            "0/9 nodes are available",
        ),
    ],
)
def test_a_pod_that_is_not_ready_is_told_with_the_schedulers_or_its_own_reason(held: dict[str, Any], why: str) -> None:
    assert not_ready(held) == why


def test_a_container_that_waits_is_told_with_its_reason() -> None:
    held = pod("a-1", condition("Ready", holds=False))
    held["status"]["containerStatuses"] = [{"name": "api", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]
    assert not_ready(held) == "api is ImagePullBackOff"
    held["status"]["containerStatuses"][0]["state"]["waiting"]["message"] = "x:1 is not there."
    assert not_ready(held) == "api is ImagePullBackOff: x:1 is not there"


def test_a_pod_that_is_being_deleted_is_waited_for_by_nobody() -> None:
    held = pod("a-1", condition("Ready", holds=False))
    held["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not_ready(held) == ""
