"""A restore of a namespace by ``dr`` against ``velero restore create --wait`` of the same backup, in turn; and what it
takes to compare a namespace of thousands of objects.

The peer ends when it has seen the phase. Of ``dr`` the same is timed: from the intent in its ledger, right before it
runs Velero's command line, to the effect, which it writes once it knows the phase. What it does before, looking into
the backup's archive and at the cluster, the peer does not do; it is told beside. Without the cluster's programs nothing
is measured.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from bench.figures import figure, median
from dr.drivers.kubernetes.api import Api
from dr.drivers.kubernetes.cluster import Cluster
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.velero import archive, comparing
from dr.host.clock import SystemClock
from dr.lab.cluster.backups import Velero
from dr.lab.cluster.binaries import CONTROL_PLANE, WITHOUT, find
from dr.lab.cluster.control import open_cluster
from dr.lab.cluster.furnish import Kubectl
from dr.lab.cluster.modules import VELERO
from dr.lab.cluster.nodes.__main__ import counts
from dr.lab.cluster.nodes.running import Nodes
from dr.lab.cluster.storage import BACKUPS, ObjectStore
from dr.lab.rds.account import new_account
from dr.lab.servers.site import open_site

ROUNDS = 5
SMALL, LARGE = "small", "large"
OBJECTS, AT_ONCE = 5000, 4
BACKUP = "all"
MEGABYTE = 1e6
LABELS = {"app": "web"}


class Place:
    """A cluster with a small application and a large namespace, both in one backup."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self.home, programs = home, find()
        plane, storage = (
            open_cluster(open_site(_made(home / "site"), SystemClock()), programs),
            ObjectStore(new_account()),
        )
        storage.start()
        stack.callback(storage.close)
        storage.furnish({})
        stack.callback(plane.stop)
        plane.start()
        folder = _made(plane.directory / "nodes")
        nodes = Nodes(folder, str(folder / "{node}.kubeconfig"), plane.kubeconfig, pools=counts("general=1"))
        for name in nodes.names:
            plane.user(f"system:node:{name}", "system:nodes", folder / f"{name}.kubeconfig")
        stack.callback(nodes.stop)
        nodes.start()
        self.velero = Velero(open_site(home / "site", SystemClock()), programs, plane, storage)
        stack.callback(self.velero.stop)
        self.velero.start()
        self.kubectl = Kubectl(programs.path("kubectl"), plane.kubeconfig)
        self.storage, self.kubeconfig = storage, plane.kubeconfig
        self.own = {"kubeconfig": str(plane.kubeconfig), "context": "lab", "cluster_uid": plane.uid}
        target = {
            "grants": ["disposable"],
            "kubernetes": {**self.own, "namespaces": [SMALL]},
            "velero": {"program": str(self.velero.program)},
        }
        (home / "dr.yaml").write_text(yaml.safe_dump({"targets": {"c": target}}))

    def stand(self) -> None:
        self.kubectl.apply([*_application(), _namespace(LARGE)])
        api = Api(self.kubeconfig)
        path = f"/api/v1/namespaces/{LARGE}/configmaps"
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda n: api.create(path, _config(n)), range(OBJECTS)))
        self.kubectl.run("rollout", "status", "deployment", "web", "--namespace", SMALL, "--timeout=90s")
        self.velero.back_up(BACKUP)

    def lose(self) -> None:
        self.kubectl.run("delete", "namespace", SMALL, "--ignore-not-found", "--wait")

    def peer(self, name: str) -> float:
        """Seconds of Velero's own command, which does not tell the phase by its exit code."""
        self.lose()
        where = (f"--kubeconfig={self.kubeconfig}", "--namespace=velero")
        words = ("restore", "create", name, "--from-backup", BACKUP, "--include-namespaces", SMALL, "--wait")
        began = time.time()
        self._run(str(self.velero.program), *where, *words)
        return time.time() - began

    def restore(self) -> dict[str, float]:
        """Seconds of a restore by dr, as its evidence has them."""
        self.lose()
        began = time.time()
        self._run(sys.executable, "-m", "dr", "restore", "--backup", BACKUP, "--target", "c", "--yes")
        run = sorted((self.home / "runs").glob("*-*"))[-1]
        entries = [json.loads(line) for line in (run / "ledger.jsonl").read_text().splitlines()]
        effects = {one["call"]: one for one in entries if one["kind"] == "effect"}
        asked = next(one for one in entries if (one["kind"], one["call"]) == ("intent", "restore-namespaces"))
        restored = effects["restore-namespaces"]
        known, ended = restored["stamp"]["at"], restored["data"]["ended"]
        return {
            "phase": known - asked["stamp"]["at"],
            "whole": known - began,
            "behind": known - ended,
            "available": effects["await-workloads"]["milestones"]["available"] - known,
        }

    def _run(self, *command: str) -> None:
        environment = {**os.environ, "DR_HOME": str(self.home), "DR_CONFIG": str(self.home / "dr.yaml")}
        subprocess.run(command, check=True, env=environment, capture_output=True)

    def compared(self) -> tuple[float, float]:
        """Seconds and bytes that a process of its own takes to compare the large namespace."""
        key = f"backups/{BACKUP}/{BACKUP}.tar.gz"
        packed = self.home / "archive"
        packed.write_bytes(self.storage.client().get_object(Bucket=BACKUPS, Key=key)["Body"].read())
        told = subprocess.run(
            [sys.executable, "-m", "bench.namespaces", str(packed), json.dumps(self.own)],
            check=True,
            capture_output=True,
            text=True,
        )
        taken, most = json.loads(told.stdout)
        return float(taken), float(most)


def main() -> bool:
    """Print the figures; returns whether all hold."""
    if find().lacking(*CONTROL_PLANE, *VELERO):
        print(WITHOUT, flush=True)
        return True
    with _place() as place:
        place.stand()
        place.peer("warm")
        place.restore()
        peers, own = [], []
        for number in range(ROUNDS):
            peers.append(place.peer(f"peer-{number}"))
            own.append(place.restore())
        taken, most = place.compared()
    more = [ours["phase"] - peer for ours, peer in zip(own, peers, strict=True)]
    told = [median(peers), *(median([one[name] for one in own]) for name in ("phase", "whole"))]
    print("velero --wait {:.2f} s; dr {:.2f} s, and {:.2f} s from the start of its process".format(*told), flush=True)
    return all(
        [
            figure("the phase is known, beyond velero --wait", median(more), 0.5, "s"),
            figure("the phase is known after Velero has ended", median([one["behind"] for one in own]), 5, "s"),
            figure("Deployments are available after that", median([one["available"] for one in own]), 10, "s"),
            figure(f"{OBJECTS} objects are compared", taken, 10, "s"),
            figure(f"{OBJECTS} objects are compared, memory", most / MEGABYTE, 500, "MB"),
        ]
    )


@contextmanager
def _place() -> Iterator[Place]:
    home = Path(tempfile.mkdtemp(prefix="dr-bench-", dir="/tmp"))
    home.chmod(0o755)
    try:
        with ExitStack() as stack:
            yield Place(home, stack)
    finally:
        shutil.rmtree(home)


def _compare(packed: Path, own: dict[str, str]) -> tuple[float, int]:
    began = time.perf_counter()
    held = archive.read(packed.read_bytes(), BACKUP)
    seen = comparing.compare(Cluster(KubernetesConfig(**own)), held, [LARGE])
    taken = time.perf_counter() - began
    whole = sum(one.version == "" and not one.untold for one in seen.objects.values())
    assert whole == len(seen.objects) > OBJECTS, seen.objects
    return taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _application() -> list[dict[str, Any]]:
    container = {
        "name": "web",
        "image": "dr.lab/stand-in:1",
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
    }
    pods = {
        "metadata": {"labels": LABELS},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], "automountServiceAccountToken": False},
    }
    own = {"name": "web", "namespace": SMALL}
    spec = {"replicas": 2, "selector": {"matchLabels": LABELS}, "template": pods}
    ports = [{"port": 80, "targetPort": "http"}]
    return [
        _namespace(SMALL),
        {"apiVersion": "v1", "kind": "Service", "metadata": own, "spec": {"selector": LABELS, "ports": ports}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": own, "spec": spec},
    ]


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _config(number: int) -> dict[str, Any]:
    data = {f"key-{each}": f"{number}-{each}" * 10 for each in range(10)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c-{number}"}, "data": data}


def _made(directory: Path) -> Path:
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    return directory


if __name__ == "__main__":
    print(json.dumps(_compare(Path(sys.argv[1]), json.loads(sys.argv[2]))))
