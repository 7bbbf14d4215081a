"""The agents of the lab's nodes: real processes for pods, before a stub of the API server."""

from __future__ import annotations

import base64
import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from dr.domain.errors import RefusedError
from dr.lab.cluster.nodes.__main__ import counts
from dr.lab.cluster.nodes.pools import loopback
from dr.lab.cluster.nodes.running import Nodes
from dr.lab.service.names import looked_up
from tests.stub_cluster import Objects, stub_cluster
from tests.support import eventually, open_directory, status_of

SPACE = "/api/v1/namespaces/readmission-system"
WEB: dict[str, Any] = {
    "name": "web",
    "image": "dr.lab/stand-in:1",
    "ports": [{"name": "http", "containerPort": 8080}],
    "readinessProbe": {"httpGet": {"port": "http", "path": "/"}, "periodSeconds": 1},
}


@dataclass
class Cluster:
    objects: Objects
    nodes: Nodes
    directory: Path

    def run(self, name: str, *containers: dict[str, Any], node: str = "general-1", **spec: Any) -> str:
        """A pod bound to a node; its path."""
        body = {"metadata": {"name": name}, "spec": {"nodeName": node, "containers": list(containers), **spec}}
        self.objects.create(f"{SPACE}/pods", body)
        return f"{SPACE}/pods/{name}"

    def shell(self, name: str, script: str, **fields: Any) -> dict[str, Any]:
        return {"name": name, "image": "busybox:1.37", "command": ["sh", "-c", script], **fields}

    def status(self, path: str) -> dict[str, Any]:
        return dict(self.objects.found[path].get("status", {}))

    def ready(self, path: str) -> dict[str, Any]:
        """Its status, once it is ready."""

        def holds() -> bool:
            conditions = self.status(path).get("conditions", [])
            return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

        eventually(holds, 20.0, lambda: f"{path} is not ready: {self.status(path)}")
        return self.status(path)

    def state(self, path: str) -> dict[str, Any]:
        """That of its first container."""
        return dict((self.status(path).get("containerStatuses") or [{}])[0].get("state", {}))

    def log(self, path: str, container: str, attempt: int = 0) -> str:
        uid, name = self.objects.found[path]["metadata"]["uid"], path.rpartition("/")[2]
        found = list(self.directory.glob(f"*/logs/pods/*_{name}_{uid}/{container}/{attempt}.log"))
        return found[0].read_text() if found else ""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with open_directory("dr-test-") as directory, stub_cluster(directory / "kubeconfig") as objects:
        nodes = Nodes(
            directory / "nodes",
            str(directory / "kubeconfig"),
            directory / "kubeconfig",
            pools=counts("general=1,compute=1,gpu=1"),
            lease=8,
        )
        nodes.start()
        try:
            yield Cluster(objects, nodes, directory / "nodes")
        finally:
            nodes.stop()


def marked(uid: str) -> list[psutil.Process]:
    """The processes of a pod."""
    found = []
    for one in psutil.process_iter():
        try:
            if one.environ().get("DR_LAB_CONTAINER", "").startswith(uid) and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
        except psutil.Error:
            continue
    return found


def test_nodes_are_registered_ready_with_their_gpus_and_leases(cluster: Cluster) -> None:
    path = "/api/v1/nodes/gpu-1"
    eventually(lambda: "status" in cluster.objects.found.get(path, {}), 20.0)
    found = cluster.objects.found[path]
    assert found["status"]["allocatable"]["nvidia.com/gpu"] == "1"
    assert found["status"]["conditions"][0]["status"] == "True"
    assert "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/gpu-1" in cluster.objects.found
    assert cluster.objects.writers == {"dr-lab-node"}, "no name that another client bears, too"


def test_a_pod_is_ready_by_its_probe_and_answers_at_its_address(cluster: Cluster) -> None:
    path = cluster.run("web", WEB)
    address = loopback(cluster.ready(path)["podIP"])
    with urllib.request.urlopen(f"http://{address}:8080/", timeout=10) as answer:
        assert answer.status == 200


def test_a_status_that_somebody_changed_is_told_again(cluster: Cluster) -> None:
    path = cluster.run("changed", WEB)
    cluster.ready(path)
    unready = [{"type": "Ready", "status": "False", "reason": "NodeNotReady"}]
    cluster.objects.patch(f"{path}/status", {"status": {"conditions": unready}})
    cluster.ready(path)


def test_a_deleted_pod_ends_by_itself_within_its_grace_and_is_forgotten(cluster: Cluster) -> None:
    script = "trap 'echo told; exit 0' TERM; echo begun; while true; do sleep 0.05; done"
    path = cluster.run("graceful", cluster.shell("main", script), terminationGracePeriodSeconds=60)
    cluster.ready(path)
    eventually(lambda: "begun" in cluster.log(path, "main"))
    log = next(cluster.directory.glob("*/logs/pods/*_graceful_*/main/0.log"))
    cluster.objects.delete(path, {})
    eventually(lambda: path not in cluster.objects.found, 20.0)
    assert log.read_text().split() == ["begun", "told"]


def test_a_pod_that_does_not_end_is_killed_after_its_grace(cluster: Cluster) -> None:
    script = "trap '' TERM; while true; do sleep 0.05; done"
    path = cluster.run("stubborn", cluster.shell("main", script), terminationGracePeriodSeconds=1)
    uid = cluster.objects.found[path]["metadata"]["uid"]
    cluster.ready(path)
    cluster.objects.delete(path, {})
    eventually(lambda: path not in cluster.objects.found, 20.0)
    assert not marked(uid)


def test_a_container_finds_config_maps_secrets_fields_and_volumes(cluster: Cluster) -> None:
    secret = {"password": base64.b64encode(b"s3cret").decode()}
    cluster.objects.create(f"{SPACE}/configmaps", {"metadata": {"name": "settings"}, "data": {"HOST": "db"}})
    cluster.objects.create(f"{SPACE}/secrets", {"metadata": {"name": "login"}, "data": secret})
    script = (
        'echo $HOST $POD; test "$(cat /etc/login/password)" = s3cret && echo same; cat /tokens/token; echo x >/data/a'
    )
    main = cluster.shell(
        "main",
        script,
        envFrom=[{"configMapRef": {"name": "settings"}}],
        env=[{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        volumeMounts=[
            {"name": "login", "mountPath": "/etc/login"},
            {"name": "tokens", "mountPath": "/tokens"},
            {"name": "data", "mountPath": "/data"},
        ],
    )
    path = cluster.run(
        "reader",
        main,
        restartPolicy="Never",
        volumes=[
            {"name": "login", "secret": {"secretName": "login"}},
            {"name": "tokens", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
            {"name": "data", "emptyDir": {}},
        ],
    )
    eventually(lambda: cluster.status(path).get("phase") == "Succeeded", 20.0, lambda: str(cluster.status(path)))
    assert cluster.log(path, "main") == "db reader\nsame\nt0ken"


def test_a_container_waits_for_a_secret_and_starts_once_it_is_there(cluster: Cluster) -> None:
    main = cluster.shell("main", "sleep 60", envFrom=[{"secretRef": {"name": "late"}}])
    path = cluster.run("waiting", main, terminationGracePeriodSeconds=0)
    eventually(lambda: "waiting" in cluster.state(path))
    waiting = eventually(lambda: cluster.state(path)["waiting"].get("message") and cluster.state(path)["waiting"])
    assert waiting == {"reason": "CreateContainerConfigError", "message": 'secret "late" not found'}
    cluster.objects.create(f"{SPACE}/secrets", {"metadata": {"name": "late"}, "data": {}})
    cluster.ready(path)


def test_an_image_that_the_lab_does_not_have_is_named(cluster: Cluster) -> None:
    path = cluster.run("unknown", {"name": "main", "image": "ghcr.io/health-ai/readmission-api:9.9.9"})
    waiting = eventually(lambda: cluster.state(path).get("waiting", {}).get("message") and cluster.state(path))
    assert waiting["waiting"]["reason"] == "ErrImagePull"
    assert "readmission-api:9.9.9" in waiting["waiting"]["message"]


def test_a_field_that_is_not_honoured_is_named_in_the_status(cluster: Cluster) -> None:
    path = cluster.run("odd", {**WEB, "lifecycle": {"preStop": {"exec": {"command": ["true"]}}}})
    waiting = eventually(lambda: cluster.state(path).get("waiting"))
    assert waiting["reason"] == "FieldNotHonoured"
    assert "spec.containers[web].lifecycle.preStop.exec" in waiting["message"]


def test_a_container_that_fails_is_started_again_and_its_logs_are_kept_apart(cluster: Cluster) -> None:
    path = cluster.run("failing", cluster.shell("main", "echo once; exit 3"))

    def again() -> bool:
        (one,) = cluster.status(path).get("containerStatuses", [{}])
        return bool(one.get("restartCount") == 2 and "waiting" in one["state"])

    eventually(again, 20.0)
    (one,) = cluster.status(path)["containerStatuses"]
    assert one["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert one["lastState"]["terminated"]["exitCode"] == 3
    assert [cluster.log(path, "main", attempt) for attempt in (0, 1)] == ["once\n", "once\n"]


def test_a_container_that_takes_more_memory_than_its_limit_is_killed(cluster: Cluster) -> None:
    script = "exec python3 -c 'import time; x = bytearray(200 << 20); time.sleep(60)'"
    main = cluster.shell("main", script, resources={"limits": {"memory": "64Mi"}})
    path = cluster.run("hungry", main, restartPolicy="Never")
    eventually(lambda: "terminated" in cluster.state(path), 30.0)
    assert cluster.state(path)["terminated"]["reason"] == "OOMKilled"


def test_a_gpu_is_given_once_and_a_second_pod_is_not_admitted(cluster: Cluster) -> None:
    gpu = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
    first = cluster.run("gpu-a", cluster.shell("main", "echo $NVIDIA_VISIBLE_DEVICES; sleep 60", **gpu), node="gpu-1")
    cluster.ready(first)
    eventually(lambda: cluster.log(first, "main") == "GPU-gpu-1-0\n")
    second = cluster.run("gpu-b", cluster.shell("main", "sleep 60", **gpu), node="gpu-1")
    eventually(lambda: cluster.status(second).get("phase") == "Failed")
    assert cluster.status(second)["reason"] == "UnexpectedAdmissionError"


def test_a_broken_gpu_is_not_allocatable_and_its_node_stays_ready(cluster: Cluster) -> None:
    def allocatable() -> str:
        return str(cluster.objects.found["/api/v1/nodes/gpu-1"]["status"]["allocatable"]["nvidia.com/gpu"])

    cluster.nodes.break_gpu("gpu-1")
    eventually(lambda: allocatable() == "0", 20.0)
    assert cluster.objects.found["/api/v1/nodes/gpu-1"]["status"]["conditions"][0]["status"] == "True"
    cluster.nodes.break_gpu("gpu-1", broken=False)
    eventually(lambda: allocatable() == "1", 20.0)
    with pytest.raises(RefusedError, match="gpu-9"):
        cluster.nodes.break_gpu("gpu-9")


def test_a_lost_node_takes_all_that_ran_there_with_it_and_starts_it_again_when_it_is_back(cluster: Cluster) -> None:
    leaves = "setsid sh -c 'sleep 300 & sleep 300' & sleep 300"
    path = cluster.run("deep", cluster.shell("main", leaves), node="compute-1")
    uid = cluster.objects.found[path]["metadata"]["uid"]
    cluster.ready(path)
    eventually(lambda: len(marked(uid)) >= 4)
    address = cluster.status(path)["podIP"]
    cluster.nodes.lose("compute-1")
    eventually(lambda: not marked(uid), 10.0)
    assert cluster.status(path)["containerStatuses"][0]["ready"]  # nobody is told
    cluster.nodes.bring_back("compute-1")
    eventually(lambda: cluster.status(path)["containerStatuses"][0]["restartCount"] == 1, 20.0)
    assert cluster.ready(path)["podIP"] == address


def test_a_node_comes_back_also_where_its_loss_was_noticed_by_nobody_yet(cluster: Cluster) -> None:
    for _ in range(3):
        before = cluster.nodes.agents()["compute-1"]
        cluster.nodes.lose("compute-1")
        cluster.nodes.bring_back("compute-1")
        assert cluster.nodes.agents()["compute-1"] != before


def test_a_node_that_is_lost_cannot_be_lost_again(cluster: Cluster) -> None:
    with pytest.raises(RefusedError, match="gpu-9"):
        cluster.nodes.lose("gpu-9")
    with pytest.raises(RefusedError, match="gpu-9"):
        cluster.nodes.bring_back("gpu-9")


def test_the_end_of_whoever_runs_the_nodes_ends_all_of_them_and_brings_no_lost_one_back(tmp_path: Path) -> None:
    with stub_cluster(tmp_path / "kubeconfig") as objects:
        nodes = Nodes(
            tmp_path / "nodes", str(tmp_path / "kubeconfig"), tmp_path / "kubeconfig", pools=counts("general=1,gpu=1")
        )
        nodes.start()
        nodes.lose("gpu-1")
        body = {"metadata": {"name": "web"}, "spec": {"nodeName": "general-1", "containers": [WEB]}}
        uid = objects.create(f"{SPACE}/pods", body)["metadata"]["uid"]
        eventually(lambda: marked(uid))
        address = objects.found["/api/v1/nodes/general-1"]["status"]["addresses"]
        agents = list(nodes.agents().values())
        supervisor = psutil.Process(agents[0]).parent()
        assert supervisor is not None
        os.kill(supervisor.pid, signal.SIGKILL)
        eventually(lambda: not marked(uid) and not nodes.agents(), 10.0)
        eventually(lambda: nodes.keep() or nodes.agents(), 20.0)
        eventually(lambda: marked(uid), 20.0)
        assert list(nodes.agents()) == ["general-1"]
        assert objects.found["/api/v1/nodes/general-1"]["status"]["addresses"] == address
        nodes.bring_back("gpu-1")
        assert list(nodes.agents()) == ["general-1", "gpu-1"]
        nodes.stop()


def test_no_value_of_a_secret_stands_in_a_log_or_a_status(cluster: Cluster) -> None:
    values = {"password": base64.b64encode(b"n3ver-told").decode()}
    cluster.objects.create(f"{SPACE}/secrets", {"metadata": {"name": "kept"}, "data": values})
    source = {"secretKeyRef": {"name": "kept", "key": "password"}}
    main = {"name": "main", "image": "busybox:1.37", "command": ["/nowhere/program"]}
    path = cluster.run("secretive", {**main, "env": [{"name": "PASSWORD", "valueFrom": source}]})
    eventually(lambda: cluster.state(path).get("waiting", {}).get("reason") == "RunContainerError")
    assert "n3ver-told" not in json.dumps(cluster.status(path))
    assert not [log for log in cluster.directory.rglob("*.log") if "n3ver-told" in log.read_text()]


def test_services_and_ingress_hosts_lead_to_pods_that_are_ready(cluster: Cluster) -> None:
    path = cluster.run("routed", WEB)
    pod = {"addresses": [cluster.ready(path)["podIP"]], "conditions": {"ready": True}, "targetRef": {"kind": "Pod"}}
    port = {"name": "http", "port": 80}
    metadata = {"name": "front"}
    objects, networking = cluster.objects, "/apis/networking.k8s.io/v1/namespaces/readmission-system"
    objects.create(f"{SPACE}/services", {"metadata": metadata, "spec": {"clusterIP": "10.96.5.9", "ports": [port]}})
    backend = {"service": {"name": "front", "port": {"number": 80}}}
    rule = {"host": "ui.example", "http": {"paths": [{"path": "/", "backend": backend}]}}
    objects.create(f"{networking}/ingresses", {"metadata": dict(metadata), "spec": {"rules": [rule]}})
    url = eventually(lambda: cluster.nodes.urls.get("ui.example"), 20.0).http
    assert status_of(url) == 503
    slices = "/apis/discovery.k8s.io/v1/namespaces/readmission-system/endpointslices"
    labels = {"kubernetes.io/service-name": "front"}
    body = {"metadata": {"name": "front-1", "labels": labels}, "ports": [{**port, "port": 8080}], "endpoints": [pod]}
    objects.create(slices, body)
    eventually(lambda: status_of(url) == 200, 20.0)
    hosts = (cluster.directory / "hosts").read_text()
    address = looked_up(hosts, "front.readmission-system.svc.cluster.local")
    assert looked_up(hosts, "10.96.5.9") == address
    assert status_of(f"http://{address}:80/") == 200
    objects.delete(f"{slices}/front-1", {})
    eventually(lambda: status_of(url) == 503, 20.0)
    assert status_of(f"http://{address}:80/") == 0
