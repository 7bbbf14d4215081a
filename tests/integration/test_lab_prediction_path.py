"""The cluster's prediction path with real processes: ingress -> api -> model -> PgBouncer's place -> PostgreSQL.

A stub stands for the API server: the test itself schedules the manifests' pods, and tells who is ready.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dr.lab.cluster.nodes.__main__ import counts
from dr.lab.cluster.nodes.running import Nodes
from dr.lab.cluster.platform import DATABASE as DATABASE_SPACE
from dr.lab.cluster.platform import FILES, HOSTS, SYSTEM, manifests
from dr.lab.platform.model import ARTIFACT
from dr.lab.platform.population import PROBE_REQUESTS
from tests.cluster_parts import TOKEN, Bucket, parts, predict
from tests.lab_servers import lab_site
from tests.stub_cluster import Objects, stub_cluster
from tests.support import eventually, open_directory

OBJECTS = {(one["kind"], one["metadata"]["name"]): one for path in FILES for one in manifests(path)}
NODES = {"readmission-api": "general-1", "readmission-model": "gpu-1", "pgbouncer": "general-1"}
pytestmark = pytest.mark.in_order


@dataclass
class Platform:
    objects: Objects
    nodes: Nodes
    bucket: type[Bucket]
    url: str = ""

    def begin(self, name: str) -> None:
        """Its Service, and one pod of its Deployment, once it is ready behind that."""
        deployment, service = OBJECTS["Deployment", name], OBJECTS["Service", name]
        space = deployment["metadata"]["namespace"]
        path = f"/api/v1/namespaces/{space}"
        template = deployment["spec"]["template"]
        body = {
            "metadata": {"name": f"{name}-1", "labels": template["metadata"]["labels"]},
            "spec": {**template["spec"], "nodeName": NODES[name]},
        }
        self.objects.create(f"{path}/pods", body)
        cluster_ip = f"10.96.0.{10 + len(self.objects.found) % 200}"
        spec = {**service["spec"], "clusterIP": cluster_ip}
        self.objects.create(f"{path}/services", {"metadata": {"name": name}, "spec": spec})
        self.ready(space, name, template["spec"]["containers"][0]["ports"][0]["containerPort"])

    def ready(self, space: str, name: str, port: int) -> None:
        pod = f"/api/v1/namespaces/{space}/pods/{name}-1"

        def status() -> dict[str, Any]:
            return dict(self.objects.found[pod].get("status", {}))

        def holds() -> bool:
            return any(one["type"] == "Ready" and one["status"] == "True" for one in status().get("conditions", []))

        def why() -> str:
            logs = [path.read_text()[-1500:] for path in self.nodes.logs(space, f"{name}-1")]
            return f"{status()}\n{logs}"

        eventually(holds, 60.0, why)
        ports = [{"name": one["name"], "port": port} for one in OBJECTS["Service", name]["spec"]["ports"]]
        endpoint = {"addresses": [status()["podIP"]], "conditions": {"ready": True}, "targetRef": {"kind": "Pod"}}
        metadata = {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}}
        slices = f"/apis/discovery.k8s.io/v1/namespaces/{space}/endpointslices"
        self.objects.create(slices, {"metadata": metadata, "ports": ports, "endpoints": [endpoint]})

    def predict(self, admission: dict[str, str], token: str = TOKEN) -> tuple[int, dict[str, Any]]:
        return predict(self.url, admission, token)


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with ExitStack() as stack:
        site = stack.enter_context(lab_site())
        here = stack.enter_context(parts(site))
        directory = stack.enter_context(open_directory("dr-test-"))
        objects = stack.enter_context(stub_cluster(directory / "kubeconfig"))
        for one in (*here.known, OBJECTS["ConfigMap", "readmission-api"], OBJECTS["ConfigMap", "readmission-model"]):
            objects.create(
                f"/api/v1/namespaces/{one['metadata']['namespace']}/{one['kind'].lower()}s",
                {**one, "metadata": dict(one["metadata"])},
            )
        nodes = Nodes(
            directory / "nodes",
            str(directory / "kubeconfig"),
            directory / "kubeconfig",
            pools=counts("general=1,gpu=1"),
        )
        nodes.start()
        stack.callback(nodes.stop)
        yield Platform(objects, nodes, here.bucket)


def test_a_prediction_goes_all_the_way_and_is_stored(platform: Platform) -> None:
    for name in ("pgbouncer", "readmission-model", "readmission-api"):
        platform.begin(name)
    ingress = OBJECTS["Ingress", "readmission-ingress"]
    networking = f"/apis/networking.k8s.io/v1/namespaces/{SYSTEM}/ingresses"
    platform.objects.create(networking, {"metadata": dict(ingress["metadata"]), "spec": ingress["spec"]})
    platform.url = eventually(lambda: platform.nodes.urls.get(HOSTS[0])).http
    status, body = platform.predict(PROBE_REQUESTS[0])
    assert (status, body["model_version"]) == (200, "2.3.0")
    assert body["prediction_id"]
    assert platform.predict(PROBE_REQUESTS[0])[1]["readmission_risk"] == body["readmission_risk"]


def test_the_ingress_asks_for_the_service_s_token_as_the_service_does(platform: Platform) -> None:
    assert platform.predict(PROBE_REQUESTS[0], "wrong")[0] == 401


def test_a_model_of_another_artifact_than_the_database_names_is_not_believed(platform: Platform) -> None:
    pod = f"/api/v1/namespaces/{SYSTEM}/pods/readmission-model-1"
    platform.bucket.content = ARTIFACT.read_bytes().replace(b"-3.1", b"-2.1")
    (log,) = platform.nodes.logs(SYSTEM, "readmission-model-1")
    platform.objects.delete(pod, {})
    platform.objects.delete(f"/apis/discovery.k8s.io/v1/namespaces/{SYSTEM}/endpointslices/readmission-model-1", {})
    eventually(lambda: pod not in platform.objects.found)
    assert '"Stopped"' in log.read_text()
    eventually(lambda: platform.predict(PROBE_REQUESTS[0])[0] == 503)
    platform.objects.found.pop(f"/api/v1/namespaces/{SYSTEM}/services/readmission-model")
    platform.begin("readmission-model")
    status, body = eventually(
        lambda: (said := platform.predict(PROBE_REQUESTS[0])) and "artifact" in said[1].get("error", "") and said
    )
    assert status == 503
    assert "another artifact" in body["error"]


def test_nothing_secret_stands_in_what_the_pods_or_their_nodes_wrote(platform: Platform) -> None:
    secret = platform.objects.found[f"/api/v1/namespaces/{SYSTEM}/secrets/readmission-database"]["data"]["url"]
    assert secret
    directory = Path(platform.nodes.logs(DATABASE_SPACE, "pgbouncer-1")[0]).parents[5]
    written = "".join(path.read_text() for path in directory.rglob("*.log"))
    assert TOKEN not in written
    assert "postgresql://" not in written
