"""The lab's nodes before a real control plane: what its scheduler and controllers make of them.

Skipped where ``dr lab install`` did not run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from dr.domain.errors import ProviderError
from dr.lab.cluster.binaries import find
from dr.lab.cluster.control import ControlPlane, open_cluster
from dr.lab.cluster.furnish import Kubectl
from dr.lab.cluster.nodes.__main__ import counts
from dr.lab.cluster.nodes.pools import loopback
from dr.lab.cluster.nodes.running import Nodes
from dr.lab.cluster.timings import Timings
from tests.lab_servers import lab_site
from tests.support import eventually, status_of

pytestmark = pytest.mark.in_order
WEB = {
    "name": "web",
    "image": "dr.lab/stand-in:1",
    "ports": [{"name": "http", "containerPort": 8080}],
    "readinessProbe": {"httpGet": {"port": "http", "path": "/"}, "periodSeconds": 1},
}


@dataclass
class Cluster:
    plane: ControlPlane
    nodes: Nodes
    kubectl: Kubectl

    def get(self, *what: str) -> Any:
        return json.loads(self.kubectl.run("get", *what, "--output", "json"))

    def pods(self, label: str) -> list[dict[str, Any]]:
        return list(self.get("pods", "--selector", f"app={label}")["items"])

    def ready(self, label: str, wanted: int = 1) -> list[dict[str, Any]]:
        """The pods of a label, once so many are ready."""

        def found() -> list[dict[str, Any]]:
            return [pod for pod in self.pods(label) if holds(pod, "Ready")]

        return list(eventually(lambda: len(found()) >= wanted and found(), 60.0, lambda: str(self.pods(label))))

    def deploy(self, name: str, replicas: int = 1, **spec: Any) -> None:
        template = {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [WEB], "terminationGracePeriodSeconds": 5, **spec},
        }
        inside = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
        self.kubectl.apply(
            [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": inside}]
        )


def holds(one: dict[str, Any], condition: str) -> bool:
    return any(
        found["type"] == condition and found["status"] == "True" for found in one["status"].get("conditions", [])
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with lab_site() as site:
        programs = find()
        plane = open_cluster(site, programs, timings=Timings(grace=16.0))
        folder = plane.directory / "nodes"
        pools = counts("general=2,gpu=2")
        nodes = Nodes(folder, str(folder / "{node}.kubeconfig"), plane.kubeconfig, pools=pools, lease=8)
        try:
            plane.start()
            folder.mkdir(mode=0o700)
            for name in nodes.names:
                plane.user(f"system:node:{name}", "system:nodes", folder / f"{name}.kubeconfig")
            nodes.start()
            yield Cluster(plane, nodes, Kubectl(programs.path("kubectl"), plane.kubeconfig))
        finally:
            nodes.stop()
            plane.stop()


def test_all_nodes_are_ready_with_their_own_identity(cluster: Cluster) -> None:
    eventually(lambda: len([one for one in cluster.get("nodes")["items"] if holds(one, "Ready")]) == 4)
    shown = cluster.get("node", "gpu-1")
    assert shown["status"]["allocatable"]["nvidia.com/gpu"] == "1"
    assert "node.kubernetes.io/not-ready" not in [taint["key"] for taint in shown["spec"].get("taints", [])]


def test_a_deployment_s_pods_are_ready_by_a_real_probe_and_end_when_it_goes(cluster: Cluster) -> None:
    cluster.deploy("web", 2)
    for pod in cluster.ready("web", 2):
        assert status_of(f"http://{loopback(pod['status']['podIP'])}:8080/") == 200
        assert pod["spec"]["nodeName"].startswith("general-")  # the others have a taint
    cluster.kubectl.run("delete", "deployment", "web", "--wait=false")
    eventually(lambda: cluster.pods("web") == [])


def test_a_service_leads_to_its_pods_by_its_name(cluster: Cluster) -> None:
    cluster.deploy("named")
    cluster.kubectl.run("expose", "deployment", "named", "--port", "80", "--target-port", "http")
    cluster.ready("named")
    hosts = cluster.plane.directory / "nodes" / "hosts"
    line = eventually(lambda: next((one for one in hosts.read_text().splitlines() if " named.default" in one), ""))
    eventually(lambda: status_of(f"http://{line.split()[0]}:80/") == 200)


def test_a_second_pod_for_the_same_gpu_waits_for_its_scheduler_s_reason(cluster: Cluster) -> None:
    gpu = {**WEB, "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    cluster.deploy("gpu", 3, containers=[gpu], tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists"}])
    assert {pod["spec"]["nodeName"] for pod in cluster.ready("gpu", 2)} == {"gpu-1", "gpu-2"}
    (waiting,) = [pod for pod in cluster.pods("gpu") if not pod["spec"].get("nodeName")]
    assert "Insufficient nvidia.com/gpu" in waiting["status"]["conditions"][0]["message"]
    cluster.kubectl.run("delete", "deployment", "gpu", "--wait=false")


def test_a_job_ends_with_its_pod(cluster: Cluster) -> None:
    container = {"name": "once", "image": "busybox:1.37", "command": ["true"]}
    template = {"metadata": {"labels": {"app": "once"}}, "spec": {"containers": [container], "restartPolicy": "Never"}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": {"template": template}}
    cluster.kubectl.apply([job])
    eventually(lambda: holds(cluster.get("job", "once"), "Complete"))


def test_a_field_that_is_not_honoured_is_named(cluster: Cluster) -> None:
    cluster.deploy("odd", hostNetwork=True)

    def waiting() -> Any:
        states = [one["state"] for pod in cluster.pods("odd") for one in pod["status"].get("containerStatuses", [])]
        return next((state["waiting"] for state in states if "waiting" in state), None)

    found = eventually(waiting)
    assert found["reason"] == "FieldNotHonoured"
    assert "spec.hostNetwork" in found["message"]
    cluster.kubectl.run("delete", "deployment", "odd", "--wait=false")


def test_kubectl_s_refusals_are_told_with_their_reason(cluster: Cluster) -> None:
    with pytest.raises(ProviderError, match="no matches for kind"):
        cluster.kubectl.apply([{"apiVersion": "x.example/v1", "kind": "Nothing", "metadata": {"name": "x"}}])


def test_a_lost_node_is_noticed_by_the_node_controller_and_comes_back(cluster: Cluster) -> None:
    (pod,) = cluster.ready("named")
    node = pod["spec"]["nodeName"]
    cluster.nodes.lose(node)
    assert holds(cluster.get("node", node), "Ready")  # nobody told it
    eventually(lambda: not holds(cluster.get("node", node), "Ready"), 90.0)
    eventually(lambda: not holds(cluster.get("pod", pod["metadata"]["name"]), "Ready"), 20.0)
    cluster.nodes.bring_back(node)
    eventually(lambda: holds(cluster.get("node", node), "Ready"), 30.0)
    again = cluster.ready("named")[0]
    assert again["status"]["podIP"] == pod["status"]["podIP"]
    assert again["status"]["containerStatuses"][0]["restartCount"] == 1
