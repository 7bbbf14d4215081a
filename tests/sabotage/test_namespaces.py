"""A namespace is never met that was tampered with, or whose backup was; one that was changed in good health is.

A real control plane, one node, Velero and its storage, and a small application. Skipped where ``dr lab install`` did
not run.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
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
from dr.lab.cluster.platform import DEFINITIONS
from dr.lab.cluster.storage import ObjectStore
from dr.lab.rds.account import new_account
from tests.archives import Change, rewritten, tampered
from tests.lab_servers import lab_site
from tests.labs import ROOT

pytestmark = [
    pytest.mark.in_order,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(bool(find().lacking(*CONTROL_PLANE, *VELERO)), reason=WITHOUT),
]
SMALL = "small"
MADE = "2026-11-01T00:00:00Z"
MANAGED = "--field-manager=kube-controller-manager"
EXPERIMENT = str(Path(__file__).parent / "namespace.yaml")
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
        made("v1", "Secret", "web-tls", type="kubernetes.io/tls", data={"tls.crt": PASSWORD, "tls.key": PASSWORD}),
        made("cert-manager.io/v1", "Certificate", "web", spec={"secretName": "web-tls", "issuerRef": {"name": "own"}}),
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

    def tamper(self, backup: str, resource: str, name: str, change: Change) -> None:
        """Change an object in a backup's archive."""
        tampered(self.storage.client(), backup, resource, SMALL, name, change)

    def dr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DR_HOME": str(self.at / "home"), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "dr", *arguments]
        return subprocess.run(command, cwd=self.at, env=environment, capture_output=True, text=True, check=False)

    def patch(self, kind: str, name: str, patch: dict[str, Any], subresource: str = "", manager: str = "") -> None:
        """Change an object of the application, as ``manager`` where that is anybody."""
        flags = [f"--subresource={subresource}"] if subresource else []
        flags += [f"--field-manager={manager}"] if manager else []
        told = ("--namespace", SMALL, *flags, "--type", "merge", "--patch", json.dumps(patch))
        self.kubectl.run("patch", kind, name, *told)

    def restore(self, backup: str) -> tuple[str, dict[str, tuple[str, str]]]:
        """The status of the verdict, and of each finding with its reason."""
        return self._verdict("restore", "--backup", backup)

    def drill(self) -> tuple[str, dict[str, tuple[str, str]]]:
        """As ``restore``, of the drill that loses the namespace itself, and looks at it before."""
        return self._verdict("drill", "run", EXPERIMENT)

    def _verdict(self, *words: str) -> tuple[str, dict[str, tuple[str, str]]]:
        done = self.dr(*words, "--target", "c", "--yes", "--output", "json")
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
            kubectl = Kubectl(programs.path("kubectl"), plane.kubeconfig)
            kubectl.run("apply", "--filename", str(DEFINITIONS))
            kubectl.run("wait", "--for=condition=Established", "--timeout=60s", "--filename", str(DEFINITIONS))
            kubernetes = {"kubeconfig": str(plane.kubeconfig), "context": "lab", "cluster_uid": plane.uid}
            own = {"kubernetes": {**kubernetes, "namespaces": [SMALL]}, "velero": {"program": str(velero.program)}}
            written = {"targets": {"c": {"grants": ["disposable"], **own}}, "objectives": {"time-to-namespace": 25.0}}
            (Path(at) / "dr.yaml").write_text(yaml.safe_dump(written))
            yield Place(kubectl, velero, storage, nodes, Path(at))
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


def misled(one: dict[str, Any]) -> None:
    one["data"]["port"] = "8081"


def greedy(one: dict[str, Any]) -> None:
    one["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "1"}}


@pytest.mark.parametrize(
    ("resource", "name", "change", "objective", "words"),
    [
        ("configmaps", "settings", left_out, "completed", "settings"),
        ("configmaps", "settings", misled, "completed", "not ready"),
        ("deployments.apps", "web", other_image, "completed", "no.such/image:1"),
        ("deployments.apps", "web", asleep, "workloads", "service small/web: no pod that it selects is ready"),
        ("services", "web", for_nobody, "workloads", "service small/web: no pod that it selects is ready"),
        ("deployments.apps", "web", greedy, "completed", "nvidia.com/gpu"),
    ],
    ids=[
        "object missing",
        "object altered",
        "image that does not start",
        "scaled to 0",
        "selector fits nothing",
        "no GPU free",
    ],
)
def test_what_does_not_work_after_a_restore_is_missed_with_its_reason(
    place: Place, resource: str, name: str, change: Change, objective: str, words: str
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
    made = tuple(f"resources/{kind}/" for kind in ("pods", "replicasets.apps", "endpoints"))
    rewritten(place.storage.client(), backup, lambda path, text: None if any(one in path for one in made) else text)


def test_an_object_that_was_altered_after_the_restore_is_missed(place: Place) -> None:
    backup = place.stand()
    place.lose()
    assert place.restore(backup)[0] == "met"
    place.lose()
    old = base64.b64encode(b"old").decode()
    race = altering(place, "secret", "login", {"data": {"password": old}})
    try:
        status, found = place.restore(backup)
    finally:
        race.kill()
        race.wait()
    assert (status, found["objects"][0]) == ("missed", "missed"), found["objects"][1]
    assert f"secrets {SMALL}/login: differs in data.password" in found["objects"][1]
    assert "hush" not in str(found)
    assert PASSWORD not in str(found)


@pytest.mark.parametrize("manager", ["OpenAPI-Generator", "kubectl-patch"])
def test_whoever_once_reported_a_status_alters_no_secret_unseen(place: Place, manager: str) -> None:
    place.stand()
    seen = {"type": "Seen", "status": "True", "reason": "S", "message": "", "lastTransitionTime": MADE}
    place.patch("service", "web", {"status": {"conditions": [seen]}}, "status", manager)
    place.velero.back_up(f"reported{place.number}")
    place.lose()
    old = {"data": {"password": base64.b64encode(b"old").decode()}}
    race = altering(place, "secret", "login", old, f"--field-manager={manager}")
    try:
        status, found = place.restore(f"reported{place.number}")
    finally:
        race.kill()
        race.wait()
    assert (status, found["objects"][0]) == ("missed", "missed"), found["objects"][1]
    assert f"secrets {SMALL}/login: differs in data.password" in found["objects"][1]


def test_what_had_ended_or_slept_in_the_backup_is_not_missed_after_it(place: Place) -> None:
    place.stand()
    done = {"name": "done", "image": "busybox:1.37", "command": ["sh", "-c", "true"]}
    pod = {"restartPolicy": "Never", "containers": [done], "automountServiceAccountToken": False}
    idle = {"app": "idle"}
    asleep = {"metadata": {"labels": idle}, "spec": {"containers": [CONTAINER], "automountServiceAccountToken": False}}
    spec = {"replicas": 0, "selector": {"matchLabels": idle}, "template": asleep}
    place.kubectl.apply(
        [
            made("batch/v1", "Job", "migrate", spec={"template": {"spec": pod}}),
            made("v1", "Pod", "once", spec=pod),
            made("apps/v1", "Deployment", "idle", spec=spec),
            made("v1", "Service", "idle", spec={"selector": idle, "ports": [{"port": 80, "targetPort": "http"}]}),
        ]
    )
    place.kubectl.run("wait", "job/migrate", "--namespace", SMALL, "--for=condition=complete", "--timeout=60s")
    ended = ("--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    place.kubectl.run("wait", "pod/once", "--namespace", SMALL, *ended)
    place.velero.back_up(f"ended{place.number}")
    place.lose()
    _, found = place.restore(f"ended{place.number}")
    assert {found[one][0] for one in ("objects", "workloads", "restore-phase")} == {"met"}, found
    assert "2 finished Jobs and Pods are not restored" in found["objects"][1]
    assert f"deployments.apps {SMALL}/idle" in found["workloads"][1]


def altering(place: Place, kind: str, name: str, patch: dict[str, Any], *flags: str) -> subprocess.Popen[bytes]:
    """Somebody who changes an object as soon as it is there."""
    words = (*place.kubectl._command, "patch", kind, name, "--namespace", SMALL, *flags)
    told = " ".join(f"'{one}'" for one in words)
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
        ("secrets", "web-tls"),
        ("certificates.cert-manager.io", "web"),
    ):
        place.tamper(backup, resource, name, left_out)
    strip(place, backup)
    place.lose()
    status, found = place.restore(backup)
    assert (status, found["objects"][0]) == ("missed", "missed"), found["objects"][1]
    assert "holds no object" in found["objects"][1]


def scaled(place: Place, replicas: int) -> None:
    """As the HorizontalPodAutoscaler's controller does, which has no metrics here."""
    place.patch("deployment", "web", {"spec": {"replicas": replicas}}, "scale", manager="kube-controller-manager")


def rolled_out(place: Place) -> None:
    place.kubectl.run("rollout", "restart", "deployment", "web", "--namespace", SMALL)


def rotated(place: Place) -> None:
    place.patch("secret", "login", {"stringData": {"password": "new"}})


def renewed(place: Place) -> None:
    """As cert-manager does: it writes another certificate into the Secret, and tells of it in its own object."""
    data = {key: base64.b64encode(b"another").decode() for key in ("tls.crt", "tls.key")}
    place.patch("secret", "web-tls", {"data": data}, manager="cert-manager-certificates-issuing")
    status = {"revision": 2, "notAfter": "2027-06-01T00:00:00Z", "renewalTime": "2027-05-01T00:00:00Z"}
    place.patch("certificate", "web", {"status": status}, "status", manager="cert-manager-certificates-issuing")


CHURN = pytest.mark.parametrize(
    "change",
    [lambda place: scaled(place, 3), rolled_out, rotated, renewed],
    ids=["HPA scaling", "a rollout", "a rotated Secret", "a renewed certificate"],
)


@CHURN
def test_what_changes_in_good_health_between_backup_and_loss_is_met(
    place: Place, change: Callable[[Place], None]
) -> None:
    place.stand()
    change(place)
    place.ready()
    status, found = place.drill()
    assert status == "met", found
    assert "objects stand as the backup has them" in found["objects"][1]


def test_what_an_autoscaler_makes_of_the_restored_one_is_its_own(place: Place) -> None:
    backup = place.stand()
    place.lose()
    race = altering(place, "deployment", "web", {"spec": {"replicas": 2}}, "--subresource=scale", MANAGED)
    try:
        status, found = place.restore(backup)
    finally:
        race.kill()
        race.wait()
    assert status == "met", found
    assert "are the server's or a controller's own" in found["objects"][1]
