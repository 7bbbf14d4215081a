"""A namespace is never met that was tampered with, or whose backup was; one that was changed in good health is.

A real control plane, one node, Velero and its storage, and a small application. Skipped where ``dr lab install`` did
not run.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dr.lab.cluster.backups import Velero
from dr.lab.cluster.binaries import CONTROL_PLANE, WITHOUT, find
from dr.lab.cluster.control import open_cluster
from dr.lab.cluster.furnish import Kubectl
from dr.lab.cluster.modules import VELERO
from dr.lab.cluster.nodes.__main__ import counts
from dr.lab.cluster.nodes.running import Nodes
from dr.lab.cluster.storage import BACKUPS, ObjectStore
from dr.lab.rds.account import new_account
from tests.lab_servers import lab_site
from tests.labs import ROOT

pytestmark = [
    pytest.mark.in_order,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(bool(find().lacking(*CONTROL_PLANE, *VELERO)), reason=WITHOUT),
]
SMALL = "small"
PASSWORD = base64.b64encode(b"hush hush").decode()
LABELS = {"app": "web"}
CONTAINER = {
    "name": "web",
    "image": "dr.lab/stand-in:1",
    "env": [{"name": "PORT", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "port"}}}],
    "ports": [{"name": "http", "containerPort": 8080}],
    "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
}


def made(version: str, kind: str, name: str, **parts: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": SMALL}, **parts}


def application() -> list[dict[str, Any]]:
    pods = {
        "metadata": {"labels": LABELS},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [CONTAINER], "automountServiceAccountToken": False},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": LABELS}, "template": pods}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SMALL}},
        made("v1", "ConfigMap", "settings", data={"port": "8080"}),
        made("v1", "Secret", "login", data={"password": PASSWORD}),
        made("v1", "Service", "web", spec={"selector": LABELS, "ports": [{"port": 80, "targetPort": "http"}]}),
        made("apps/v1", "Deployment", "web", spec=spec),
        made(
            *("autoscaling/v2", "HorizontalPodAutoscaler", "web"),
            spec={"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 3, "metrics": []},
        ),
    ]


@dataclass
class Place:
    """A cluster with the application, and a directory with a target of it."""

    kubectl: Kubectl
    velero: Velero
    storage: ObjectStore
    nodes: Nodes
    at: Path
    number: int = 0

    def stand(self) -> str:
        """Have the application run as it should, and a backup of it. Returns the backup's name."""
        self.lose()
        self.kubectl.apply(application())
        self.ready()
        self.number += 1
        self.velero.back_up(f"b{self.number}")
        return f"b{self.number}"

    def ready(self) -> None:
        self.kubectl.run("rollout", "status", "deployment", "web", "--namespace", SMALL, "--timeout=90s")

    def lose(self) -> None:
        self.kubectl.run("delete", "namespace", SMALL, "--ignore-not-found", "--wait")

    def tamper(self, backup: str, resource: str, name: str, change: Callable[[dict[str, Any]], bool | None]) -> None:
        """Change an object in a backup's archive; False leaves it out."""
        key, client = f"backups/{backup}/{backup}.tar.gz", self.storage.client()
        held, written = io.BytesIO(client.get_object(Bucket=BACKUPS, Key=key)["Body"].read()), io.BytesIO()
        with tarfile.open(fileobj=held) as old, tarfile.open(fileobj=written, mode="w:gz") as new:
            for member in old:
                opened = old.extractfile(member)
                text = opened.read() if opened else b""
                if f"resources/{resource}/" in member.name and member.name.endswith(f"/{SMALL}/{name}.json"):
                    one = json.loads(text)
                    if change(one) is False:
                        continue
                    text = json.dumps(one).encode()
                    member.size = len(text)
                new.addfile(member, io.BytesIO(text))
        assert gzip.decompress(written.getvalue())
        client.put_object(Bucket=BACKUPS, Key=key, Body=written.getvalue())

    def dr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DR_HOME": str(self.at / "home"), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "dr", *arguments]
        return subprocess.run(command, cwd=self.at, env=environment, capture_output=True, text=True, check=False)

    def restore(self, backup: str, *more: str) -> tuple[str, dict[str, tuple[str, str]]]:
        """The status of the verdict, and of each finding with its reason."""
        done = self.dr("restore", "--backup", backup, "--target", "c", "--yes", "--output", "json", *more)
        assert done.stdout, done.stderr
        verdict = json.loads(done.stdout)
        return verdict["verdict"], {one["objective"]: (one["status"], one["because"]) for one in verdict["findings"]}


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with lab_site() as site, tempfile.TemporaryDirectory(prefix="dr-test-") as at:
        programs = find()
        plane, storage = open_cluster(site, programs), ObjectStore(new_account())
        folder = plane.directory / "nodes"
        nodes = Nodes(folder, str(folder / "{node}.kubeconfig"), plane.kubeconfig, pools=counts("general=1"))
        velero = Velero(site, programs, plane, storage)
        storage.start()
        storage.furnish({})
        try:
            plane.start()
            folder.mkdir(mode=0o700, exist_ok=True)
            for name in nodes.names:
                plane.user(f"system:node:{name}", "system:nodes", folder / f"{name}.kubeconfig")
            nodes.start()
            velero.start()
            kubernetes = {"kubeconfig": str(plane.kubeconfig), "context": "lab", "cluster_uid": plane.uid}
            own = {"kubernetes": {**kubernetes, "namespaces": [SMALL]}, "velero": {"program": str(velero.program)}}
            written = {"targets": {"c": {"grants": ["disposable"], **own}}, "objectives": {"time-to-namespace": 25.0}}
            (Path(at) / "dr.yaml").write_text(yaml.safe_dump(written))
            yield Place(Kubectl(programs.path("kubectl"), plane.kubeconfig), velero, storage, nodes, Path(at))
        finally:
            velero.stop()
            nodes.stop()
            plane.stop()
            storage.close()


def test_a_whole_backup_is_met_and_the_second_restore_over_it_refused(place: Place) -> None:
    backup = place.stand()
    place.lose()
    status, found = place.restore(backup)
    assert status == "met", found
    done = place.dr("restore", "--backup", backup, "--target", "c", "--yes")
    assert done.returncode == 3
    assert f"The namespace {SMALL} exists, and a restore changes nothing of what is there." in done.stderr


def left_out(_: dict[str, Any]) -> bool:
    return False


def other_image(one: dict[str, Any]) -> None:
    one["spec"]["template"]["spec"]["containers"][0]["image"] = "no.such/image:1"


def asleep(one: dict[str, Any]) -> None:
    one["spec"]["replicas"] = 0


def for_nobody(one: dict[str, Any]) -> None:
    one["spec"]["selector"] = {"app": "nobody"}


def greedy(one: dict[str, Any]) -> None:
    one["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "1"}}


@pytest.mark.parametrize(
    ("resource", "name", "change", "objective", "words"),
    [
        ("configmaps", "settings", left_out, "completed", "settings"),
        ("deployments.apps", "web", other_image, "completed", "no.such/image:1"),
        ("deployments.apps", "web", asleep, "workloads", "service small/web: no pod that it selects is ready"),
        ("services", "web", for_nobody, "workloads", "service small/web: no pod that it selects is ready"),
        ("deployments.apps", "web", greedy, "completed", "nvidia.com/gpu"),
    ],
    ids=["object missing", "image that does not start", "scaled to 0", "selector fits nothing", "no GPU free"],
)
def test_what_does_not_work_after_a_restore_is_missed_with_its_reason(
    place: Place, resource: str, name: str, change: Callable[[dict[str, Any]], bool | None], objective: str, words: str
) -> None:
    backup = place.stand()
    place.tamper(backup, resource, name, change)
    strip(place, backup)
    place.lose()
    status, found = place.restore(backup)
    assert status == "missed", str(found)
    assert found[objective][0] == "missed", found
    assert words in found[objective][1], found


def strip(place: Place, backup: str) -> None:
    """Take what controllers made out of a backup: they make it anew from what was tampered with."""
    key, client = f"backups/{backup}/{backup}.tar.gz", place.storage.client()
    held, written = io.BytesIO(client.get_object(Bucket=BACKUPS, Key=key)["Body"].read()), io.BytesIO()
    with tarfile.open(fileobj=held) as old, tarfile.open(fileobj=written, mode="w:gz") as new:
        for member in old:
            if not any(f"resources/{kind}/" in member.name for kind in ("pods", "replicasets.apps", "endpoints")):
                new.addfile(member, old.extractfile(member))
    client.put_object(Bucket=BACKUPS, Key=key, Body=written.getvalue())


def test_an_object_that_was_altered_after_the_restore_is_missed(place: Place) -> None:
    backup = place.stand()
    place.lose()
    assert place.restore(backup)[0] == "met"
    place.lose()
    old = base64.b64encode(b"old").decode()
    race = altering(place, {"data": {"password": old}})
    try:
        status, found = place.restore(backup)
    finally:
        race.kill()
        race.wait()
    assert (status, found["objects"][0]) == ("missed", "missed"), found["objects"][1]
    assert f"secrets {SMALL}/login: differs in data.password" in found["objects"][1]
    assert "hush" not in str(found)
    assert PASSWORD not in str(found)


def altering(place: Place, patch: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Somebody who changes the Secret as soon as it is there."""
    told = " ".join(f"'{one}'" for one in (*place.kubectl._command, "patch", "secret", "login", "--namespace", SMALL))
    script = f"until {told} --type merge --patch '{json.dumps(patch)}'; do sleep 0.05; done"
    return subprocess.Popen(["sh", "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_nothing_that_was_restored_is_no_namespace(place: Place) -> None:
    backup = place.stand()
    for resource, name in (
        ("configmaps", "settings"),
        ("secrets", "login"),
        ("services", "web"),
        ("deployments.apps", "web"),
        ("horizontalpodautoscalers.autoscaling", "web"),
    ):
        place.tamper(backup, resource, name, left_out)
    strip(place, backup)
    place.lose()
    status, found = place.restore(backup)
    assert (status, found["objects"][0]) == ("missed", "missed"), found["objects"][1]
    assert "holds no object" in found["objects"][1]


def test_what_controllers_and_people_change_in_good_health_between_backup_and_loss_is_met(place: Place) -> None:
    backup = place.stand()
    place.kubectl.run("rollout", "restart", "deployment", "web", "--namespace", SMALL)
    place.kubectl.run(
        "patch", "secret", "login", "--namespace", SMALL, "--patch", '{"stringData": {"password": "new"}}'
    )
    place.ready()
    place.lose()
    status, found = place.restore(backup)
    assert status == "met", found
