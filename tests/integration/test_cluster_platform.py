"""The whole platform in a real cluster: applied by stock kubectl, scheduled, ready, and predicting all the way.

Skipped where ``dr lab install`` did not run.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from dr.lab.cluster.binaries import find
from dr.lab.cluster.control import open_cluster
from dr.lab.cluster.furnish import Kubectl, furnish
from dr.lab.cluster.nodes.pools import POOLS
from dr.lab.cluster.nodes.running import Nodes
from dr.lab.cluster.platform import FILES, HOSTS, SYSTEM, manifests
from dr.lab.platform.population import PROBE_REQUESTS
from tests.cluster_parts import TOKEN, parts, predict
from tests.lab_servers import lab_site
from tests.support import eventually

pytestmark = pytest.mark.in_order


@dataclass
class Platform:
    nodes: Nodes
    kubectl: Kubectl
    known: list[dict[str, Any]]

    def items(self, kind: str, *more: str) -> list[dict[str, Any]]:
        return list(self.get(kind, *more)["items"])

    def get(self, *what: str) -> Any:
        return json.loads(self.kubectl.run("get", *what, "--output", "json"))

    def predict(self, number: int = 0) -> tuple[int, dict[str, Any]]:
        return predict(self.nodes.urls[HOSTS[0]].http, PROBE_REQUESTS[number])


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with lab_site() as site, parts(site) as here:
        programs = find()
        plane = open_cluster(site, programs)
        folder = plane.directory / "nodes"
        nodes = Nodes(folder, str(folder / "{node}.kubeconfig"), plane.kubeconfig, pools=POOLS)
        kubectl = Kubectl(programs.path("kubectl"), plane.kubeconfig)
        try:
            plane.start()
            folder.mkdir(mode=0o700)
            for name in nodes.names:
                plane.user(f"system:node:{name}", "system:nodes", folder / f"{name}.kubeconfig")
            nodes.start()
            furnish(kubectl, here.known)
            yield Platform(nodes, kubectl, here.known)
        finally:
            nodes.stop()
            plane.stop()


def test_every_workload_of_the_platform_becomes_available(platform: Platform) -> None:
    def lacking() -> list[str]:
        return [
            one["metadata"]["name"]
            for one in platform.items("deployments", "--all-namespaces")
            if one["status"].get("availableReplicas", 0) < one["spec"]["replicas"]
        ]

    def why() -> str:
        pods = platform.items("pods", "--all-namespaces")
        return str([(pod["metadata"]["name"], pod["status"].get("containerStatuses")) for pod in pods])

    eventually(lambda: not lacking(), 100.0, why)
    (daemons,) = platform.items("daemonsets", "--all-namespaces")
    eventually(lambda: platform.items("daemonsets", "--all-namespaces")[0]["status"]["numberReady"] == 9)
    assert daemons["status"]["desiredNumberScheduled"] == 9


def test_the_platform_s_manifests_are_taken_as_they_stand_and_again(platform: Platform) -> None:
    before = platform.items("pods", "--namespace", SYSTEM)
    furnish(platform.kubectl, platform.known)
    kinds = {one["kind"] for path in FILES for one in manifests(path)}
    assert len(kinds) > 20
    claim = platform.get("persistentvolumeclaim", "prometheus-data", "--namespace", "readmission-monitoring")
    assert claim["status"].get("phase") == "Bound"
    secret = platform.get("secret", "readmission-api", "--namespace", SYSTEM)
    assert base64.b64decode(secret["data"]["token"]) == TOKEN.encode()
    assert names(platform.items("pods", "--namespace", SYSTEM)) == names(before), "the same anew rolls nothing out"


def names(items: list[dict[str, Any]]) -> set[str]:
    return {one["metadata"]["name"] for one in items}


def test_each_model_has_a_gpu_node_of_its_own(platform: Platform) -> None:
    pods = platform.items("pods", "--namespace", SYSTEM, "--selector", "app=readmission-model")
    nodes = [pod["spec"]["nodeName"] for pod in pods]
    assert len(set(nodes)) == 2
    assert all(node.startswith("gpu-") for node in nodes)


def test_a_prediction_goes_all_the_way(platform: Platform) -> None:
    said = eventually(lambda: (found := platform.predict()) and found[0] == 200 and found)
    assert said[1]["model_version"] == "2.3.0"


def test_no_prediction_fails_while_the_service_is_rolled_out_anew(platform: Platform) -> None:
    over, failed, asked = threading.Event(), [], 0

    def ask() -> None:
        nonlocal asked
        while not over.is_set():
            status, body = platform.predict(asked % len(PROBE_REQUESTS))
            asked += 1
            if status != 200:
                failed.append((status, body))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        platform.kubectl.run("rollout", "restart", "deployment", "readmission-api", "--namespace", SYSTEM)
        rolled = ("rollout", "status", "deployment", "readmission-api", "--namespace", SYSTEM, "--timeout=110s")
        platform.kubectl.run(*rolled)
    finally:
        over.set()
        asking.join()
    assert asked > 10
    assert failed == []
