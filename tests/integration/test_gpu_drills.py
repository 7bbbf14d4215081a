"""The drills of a lost GPU node and of a lost GPU, in a lab with a real control plane whose waits are short."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from dr.lab import control
from dr.lab.cluster.binaries import find
from tests.cluster_processes import PLANE, lasting, pods_processes, processes
from tests.integration.test_runbooks import RUNBOOKS, commands, follow
from tests.labs import ROOT, Lab, configured, inject, lab_up
from tests.support import eventually

pytestmark = pytest.mark.in_order
NODE_LOSS = ROOT / "experiments" / "gpu-node-loss.yaml"
SYSTEM, MODEL = "readmission-system", "readmission-model"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    waits = ("--node-grace", "8", "--node-toleration", "2")
    with lab_up("--single", "--patients", "2000", *waits, DR_LAB_WITHOUT="") as one:
        one.env |= configured(one.home, objectives={"redundancy": 60.0})
        yield one


def kubectl(lab: Lab, *args: str) -> str:
    config = lab.target.kubernetes.kubeconfig  # type: ignore[attr-defined]
    command = (str(find().path("kubectl")), "--kubeconfig", config, *args)
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def items(lab: Lab, kind: str, *more: str) -> list[dict[str, Any]]:
    return list(json.loads(kubectl(lab, "get", kind, *more, "--output", "json"))["items"])


def gpus(lab: Lab) -> dict[str, tuple[bool, str, bool]]:
    """Of each node of the pool whether it is ready, its allocatable GPUs, and whether it is cordoned."""
    return {
        one["metadata"]["name"]: (
            any(c["type"] == "Ready" and c["status"] == "True" for c in one["status"]["conditions"]),
            one["status"]["allocatable"]["nvidia.com/gpu"],
            bool(one["spec"].get("unschedulable")),
        )
        for one in items(lab, "nodes", "--selector", "pool=gpu")
    }


WHOLE = dict.fromkeys(("gpu-1", "gpu-2", "gpu-3"), (True, "1", False))


def ready(lab: Lab) -> int:
    found = items(lab, "pods", "--namespace", SYSTEM, "--selector", f"app={MODEL}")
    conditions = [c for one in found for c in one["status"].get("conditions", ()) if c["type"] == "Ready"]
    return sum(c["status"] == "True" for c in conditions)


def assert_as_it_was(lab: Lab) -> None:
    assert gpus(lab) == WHOLE
    eventually(lambda: ready(lab) == 2, 60.0)


SEEN = ("redundancy", "noticed", "answers")
"""What a busy machine leaves no doubt of; of what probes tell there may be."""


def done(lab: Lab, *args: str, **env: str) -> dict[str, Any]:
    """The verdict of a drill in which nothing was missed."""
    ended = lab.dr("drill", "run", *args, "--yes", "--output", "json", **env)
    assert ended.returncode in (0, 4), ended.stdout + ended.stderr
    verdict: dict[str, Any] = json.loads(ended.stdout)
    found = findings(verdict)
    assert [found[name] for name in SEEN if found[name][0] != "met"] == []
    return verdict


def findings(verdict: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["objective"]: (one["status"], one["because"]) for one in verdict["findings"]}


def variant(at: Path, name: str, change: Callable[[str], str]) -> str:
    """A drill like that of a lost node."""
    path = at / f"{name}.yaml"
    text = change(NODE_LOSS.read_text()).replace("drill: gpu-node-loss", f"drill: {name}")
    path.write_text(text.replace("runbooks/", f"{ROOT}/runbooks/"))
    return str(path)


def test_a_lost_node_s_pods_stand_again_elsewhere_and_every_step_is_told(lab: Lab) -> None:
    verdict = done(lab, "gpu-node-loss")
    because = findings(verdict)["redundancy"][1]
    for words in (
        "noticed",
        "nobody led there",
        "evicted",
        "rescheduled",
        "artifact loaded",
        "warm",
        "predictions failed",
    ):
        assert words in because, because
    phases = {one["name"] for one in verdict["phases"]}
    assert {"noticed", "evicted", "rescheduled", "artifact-loaded", "warm", "redundant"} <= phases
    assert_as_it_was(lab)


def test_a_gpu_that_falls_off_the_bus_is_noticed_and_its_pod_moved_by_a_remedy(lab: Lab) -> None:
    found = findings(done(lab, "gpu-device-loss"))
    assert "A person's remedy moved its pods" in found["noticed"][1]
    assert_as_it_was(lab)


def test_a_node_that_is_drained_gently_is_put_back_to_use(lab: Lab, tmp_path: Path) -> None:
    gently = variant(tmp_path, "gently", lambda text: text.replace("node-lost", "node-drained"))
    done(lab, gently)
    assert_as_it_was(lab)


def test_chaos_run_alone_does_it_too(lab: Lab, tmp_path: Path) -> None:
    chaos = str(Path(sys.executable).with_name("chaos"))
    for command in ("validate", "run"):
        ended = subprocess.run(
            [chaos, "--no-version-check", "--log-file", str(tmp_path / "log"), command, str(NODE_LOSS)],
            env={**lab.env, "DR_TARGET": "lab", "DR_YES": "1"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
    found = findings(json.loads((lab.runs()[-1] / "verdict.json").read_text()))
    assert [found[name] for name in SEEN if found[name][0] != "met"] == []
    assert_as_it_was(lab)


def test_chaostoolkit_kubernetes_s_own_probes_work_in_the_lab(lab: Lab, tmp_path: Path) -> None:
    kubectl(lab, "delete", "pods", "--namespace", SYSTEM, "--field-selector", "status.phase=Failed")

    def probe(func: str, **arguments: Any) -> dict[str, Any]:
        module = {"pods_in_phase": "pod", "deployment_available_and_healthy": "deployment"}.get(func, "node")
        where = {"type": "python", "module": f"chaosk8s.{module}.probes", "func": func, "arguments": arguments}
        return {"type": "probe", "name": func, "tolerance": True, "provider": where}

    probes = [
        probe("deployment_available_and_healthy", name=MODEL, ns=SYSTEM),
        probe("pods_in_phase", label_selector=f"app={MODEL}", phase="Running", ns=SYSTEM),
        probe("nodes_must_be_healthy", label_selector="pool=gpu"),
    ]
    document = {
        "title": "its own probes",
        "description": "they work",
        "steady-state-hypothesis": {"title": "well", "probes": probes},
        "method": [],
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(document))
    config = lab.target.kubernetes.kubeconfig  # type: ignore[attr-defined]
    ended = subprocess.run(
        [str(Path(sys.executable).with_name("chaos")), "--no-version-check", "run", "own.yaml"],
        env={**lab.env, "KUBECONFIG": config},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    journal = json.loads((tmp_path / "journal.json").read_text())
    assert (journal["status"], journal["deviated"]) == ("completed", False)


# -- what must be missed


@pytest.fixture
def impatient(lab: Lab, tmp_path: Path) -> dict[str, str]:
    """A limit that a workload which never stands again soon exceeds."""
    return configured(tmp_path, objectives={"redundancy": 20.0, "outage-failover": 30.0})


def struck(lab: Lab, before: int) -> bool:
    """Whether a run begun since has brought its loss about."""
    return len(lab.runs()) > before and '"disaster"' in (lab.runs()[-1] / "ledger.jsonl").read_text()


def meanwhile(lab: Lab, env: Mapping[str, str], sabotage: Callable[[], object]) -> dict[str, tuple[str, str]]:
    """What the drill of a lost node finds where ``sabotage`` follows the loss."""
    before = len(lab.runs())
    running = lab.begin("drill", "run", "gpu-node-loss", "--yes", "--output", "json", **env)
    try:
        eventually(lambda: struck(lab, before), 120.0)
        sabotage()
        said, lamented = running.communicate(timeout=300)
    finally:
        running.kill()
    assert running.returncode == 1, said + lamented
    return findings(json.loads(said))


def test_without_a_free_gpu_it_is_missed_with_the_schedulers_reason(lab: Lab, impatient: dict[str, str]) -> None:
    used = {one["spec"]["nodeName"] for one in items(lab, "pods", "-n", SYSTEM, "-l", f"app={MODEL}")}
    (spare,) = WHOLE.keys() - used
    kubectl(lab, "cordon", spare)
    try:
        found = findings(lab.verdict("drill", "run", "gpu-node-loss", "--yes", code=1, **impatient))
    finally:
        kubectl(lab, "uncordon", spare)
    status, because = found["redundancy"]
    assert status == "missed"
    assert "1 pod found no node, which lack 1 GPU: the scheduler says: 0/9 nodes are available" in because
    assert_as_it_was(lab)


def test_a_workload_that_is_scaled_to_nothing_meanwhile_is_missed(lab: Lab, impatient: dict[str, str]) -> None:
    def scale(to: int) -> None:
        kubectl(lab, "scale", f"deployment/{MODEL}", "--namespace", SYSTEM, f"--replicas={to}")

    try:
        status, because = meanwhile(lab, impatient, lambda: scale(0))["redundancy"]
    finally:
        scale(2)
    assert (status, "It was asked for 0 pods by then, and not for 2." in because) == ("missed", True), because
    assert_as_it_was(lab)


def test_a_service_whose_selector_fits_nothing_is_missed(lab: Lab, impatient: dict[str, str]) -> None:
    def select(app: str) -> None:
        patch = json.dumps({"spec": {"selector": {"app": app}}})
        kubectl(lab, "patch", f"service/{MODEL}", "--namespace", SYSTEM, "--type=merge", f"--patch={patch}")

    try:
        found = meanwhile(lab, impatient, lambda: select("nobody"))
    finally:
        select(MODEL)
    status, because = found["redundancy"]
    assert (status, "Its Services led to 0 of them." in because) == ("missed", True), because
    assert_as_it_was(lab)


# -- interrupted


def test_an_interrupted_drill_leaves_the_cluster_as_it_was(lab: Lab) -> None:
    before = len(lab.runs())
    running = lab.begin("drill", "run", "gpu-node-loss", "--yes")
    eventually(lambda: struck(lab, before), 120.0)
    running.send_signal(signal.SIGTERM)
    _, lamented = running.communicate(timeout=300)
    assert running.returncode == 143, lamented
    assert_as_it_was(lab)


def test_a_killed_drill_is_put_back_by_a_clean_up(lab: Lab, tmp_path: Path) -> None:
    gently = variant(tmp_path, "killed", lambda text: text.replace("node-lost", "node-drained"))
    before = len(lab.runs())
    running = lab.begin("drill", "run", gently, "--yes")
    eventually(lambda: len(lab.runs()) > before and any(cordoned for _, _, cordoned in gpus(lab).values()), 120.0)
    running.kill()
    running.communicate(timeout=60)
    lab.dr("cleanup", lab.runs()[-1].name)
    eventually(lambda: gpus(lab) == WHOLE, 60.0, lambda: str(gpus(lab)))
    assert_as_it_was(lab)


# -- bad input


def other(lab: Lab, at: Path, **changes: Any) -> dict[str, str]:
    """The environment under which target "other" is the lab with a cluster that is told differently."""
    target = yaml.safe_load((lab.home / "lab" / "target.yaml").read_text())
    target["kubernetes"] |= changes
    return configured(at, targets={"other": target})


def refused(lab: Lab, env: Mapping[str, str]) -> str:
    return lab.dr("drill", "run", "gpu-node-loss", "--yes", "--target", "other", code=3, **env).stderr


def token_of(lab: Lab, at: Path, account: str) -> str:
    """A kubeconfig that shows a ServiceAccount's token."""
    whole = yaml.safe_load(Path(lab.target.kubernetes.kubeconfig).read_text())  # type: ignore[attr-defined]
    token = kubectl(lab, "create", "token", account, "--namespace", SYSTEM).strip() if account else "expired"
    whole["users"][0]["user"] = {"token": token}
    (at / "kubeconfig").write_text(yaml.safe_dump(whole))
    return str(at / "kubeconfig")


def test_a_cluster_of_another_identity_is_refused(lab: Lab, tmp_path: Path) -> None:
    said = refused(lab, other(lab, tmp_path, cluster_uid="another"))
    assert "The cluster_uid of kubernetes is " in said
    assert "and the target is pinned to another" in said


def test_a_token_that_is_not_taken_is_refused(lab: Lab, tmp_path: Path) -> None:
    said = refused(lab, other(lab, tmp_path, kubeconfig=token_of(lab, tmp_path, "")))
    assert "does not take the credentials: they are wrong, or have expired" in said


def test_missing_permission_is_named_by_verb_and_resource_before_anything_begins(lab: Lab, tmp_path: Path) -> None:
    kubectl(lab, "create", "clusterrole", "looks", "--verb=get,list", "--resource=namespaces,nodes,pods,services")
    bound = f"--serviceaccount={SYSTEM}:readmission-api"
    kubectl(lab, "create", "clusterrolebinding", "looks", "--clusterrole=looks", bound)
    deployments = ("--verb=get", "--resource=deployments.apps,endpointslices.discovery.k8s.io")
    kubectl(lab, "create", "role", "looks", "--namespace", SYSTEM, *deployments)
    kubectl(lab, "create", "rolebinding", "looks", "--namespace", SYSTEM, "--role=looks", bound)
    try:
        said = refused(lab, other(lab, tmp_path, kubeconfig=token_of(lab, tmp_path, "readmission-api")))
    finally:
        for kind in ("clusterrole", "clusterrolebinding", "role", "rolebinding"):
            more = () if kind.startswith("cluster") else ("--namespace", SYSTEM)
            kubectl(lab, "delete", kind, "looks", *more)
    assert "endpointslices" in said
    assert "may not list" in said or "cannot list" in said


def test_an_api_server_that_is_gone_in_the_middle_is_waited_for_and_what_was_broken_put_back(lab: Lab) -> None:
    before = len(lab.runs())
    running = lab.begin("drill", "run", "gpu-node-loss", "--yes", "--output", "json")
    eventually(lambda: struck(lab, before), 120.0)
    inject(lab, "kubernetes", component="kube-apiserver", down=True)
    time.sleep(12.0)
    inject(lab, "kubernetes", component="kube-apiserver", down=False)
    said, lamented = running.communicate(timeout=300)
    assert "Traceback" not in lamented
    assert "completed" not in findings(json.loads(said)), said
    lab.dr("cleanup", lab.runs()[-1].name)
    eventually(lambda: gpus(lab) == WHOLE, 60.0, lambda: str(gpus(lab)))


@pytest.mark.parametrize("runbook", ["gpu-device-loss", "gpu-node-loss"])
def test_every_command_of_the_runbooks_works(lab: Lab, runbook: str) -> None:
    eventually(lambda: ready(lab) == 2, 120.0)
    assert "gpu-1" in follow(lab, commands(RUNBOOKS[runbook]), 300)


def test_a_down_ends_the_cluster_in_time(lab: Lab) -> None:
    left = processes(lab.home)
    assert sorted(left) == PLANE
    began = time.monotonic()
    lab.dr("lab", "down", code=0)
    assert time.monotonic() - began < control.DOWN_LIMIT
    assert pods_processes(lab.home) == []
    assert lasting(left) == []
