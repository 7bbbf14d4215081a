"""The lab's cluster for real: what ``dr lab`` says of it, stock kubectl against it, its loss of a node, how it ends.

Skipped where ``dr lab install`` did not run.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import urllib3
from click.testing import CliRunner

from dr.cli.lab import lab as command
from dr.domain.errors import RefusedError
from dr.lab import control
from dr.lab.cluster.binaries import find
from dr.lab.cluster.control import FOLDER
from dr.lab.cluster.furnish import Kubectl, furnish
from dr.lab.cluster.platform import DATABASE, FILES, HOSTS, MONITORING, NAMESPACES, SYSTEM, manifests
from dr.lab.cluster.timings import Timings
from dr.lab.platform.population import PROBE_REQUESTS
from tests.cluster_processes import PLANE, lasting, pods_processes, processes
from tests.contract.lab import lab_home
from tests.support import eventually

pytestmark = pytest.mark.in_order


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with lab_home() as place:
        # On a busy machine a node may be silent for seconds.
        control.up(patients=20, single=True, without=(), timings=Timings(15.0, 3))
        yield place


def typed(script: str) -> str:
    """What a shell under the lab's exports prints."""
    ran = subprocess.run(
        ["bash", "-ec", f'eval "$EXPORTS"\n{script}'],
        env={**os.environ, "EXPORTS": control.exports()},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_status_says_where_it_is(home: Path) -> None:
    shown = CliRunner().invoke(command, ["status"]).stdout
    now = control.running()
    assert f"cluster  {now.kubernetes}  KUBECONFIG={now.kubeconfig}\n" in shown
    assert "without" not in shown
    assert any(now.kubernetes in sentence for sentence in control.up(single=True, without=()).sentences())


def test_stock_kubectl_works_under_the_exports(home: Path) -> None:
    version = json.loads(typed("kubectl version --output json"))["serverVersion"]
    assert [version[part] for part in ("gitVersion", "major", "minor")] == ["v1.37.2", "1", "37"]
    assert typed("kubectl auth whoami --output jsonpath='{.status.userInfo.username}'") == "lab-admin"
    assert "default" in typed("kubectl get serviceaccounts --output name")
    assert "v1.18.3" in typed("velero version --client-only")


def listed(*what: str) -> list[dict[str, Any]]:
    """What ``kubectl get`` finds."""
    return list(json.loads(typed(f"kubectl get {' '.join(what)} --output json"))["items"])


def true(one: dict[str, Any], condition: str) -> bool:
    """Whether an object's status says so."""
    return any(c["type"] == condition and c["status"] == "True" for c in one["status"].get("conditions", []))


def token() -> str:
    """What the service asks for."""
    return (control.directory() / "secrets" / "service.token").read_text().strip()


def ingress() -> Sequence[str]:
    return control.status().ingress[HOSTS[0]]


def predicted(url: str, number: int = 0, **tls: Any) -> tuple[int, dict[str, Any]]:
    """Status and body of a prediction that is asked for at the Ingress host of the platform."""
    headers = {"Authorization": f"Bearer {token()}", "Host": HOSTS[0]}
    with urllib3.PoolManager(**tls) as pool:
        body = json.dumps(PROBE_REQUESTS[number])
        answer = pool.request("POST", f"{url}/predict", body=body, headers=headers, timeout=30, retries=False)
        return answer.status, json.loads(answer.data)


def test_once_it_is_up_the_whole_platform_is_ready(home: Path) -> None:
    def unready(what: str, *options: str) -> list[str]:
        return [one["metadata"]["name"] for one in listed(what, *options) if not true(one, "Ready")]

    eventually(lambda: not unready("nodes"), 20.0, lambda: str(unready("nodes")))
    eventually(lambda: not unready("pods", "--all-namespaces"), 20.0, lambda: str(unready("pods", "--all-namespaces")))
    assert {pod["metadata"]["namespace"] for pod in listed("pods", "--all-namespaces")} == set(NAMESPACES)

    def lacking() -> list[str]:
        return [
            one["metadata"]["name"]
            for one in listed("deployments", "--all-namespaces")
            if one["status"].get("availableReplicas", 0) < one["spec"]["replicas"]
        ]

    def daemons() -> list[int]:
        (one,) = listed("daemonsets", "--all-namespaces")
        return [one["status"][word] for word in ("desiredNumberScheduled", "numberReady")]

    eventually(lambda: not lacking(), 20.0, lambda: str(lacking()))
    eventually(lambda: daemons() == [9, 9], 20.0, lambda: str(daemons()))
    (claim,) = listed("persistentvolumeclaims", "--namespace", MONITORING)
    assert (claim["metadata"]["name"], claim["status"]["phase"]) == ("prometheus-data", "Bound")


def test_each_model_has_a_gpu_node_of_its_own(home: Path) -> None:
    pods = listed("pods", "--namespace", SYSTEM, "--selector", "app=readmission-model")
    nodes = {pod["spec"]["nodeName"] for pod in pods}
    assert len(nodes) == 2
    assert all(node.startswith("gpu-") for node in nodes)


def known() -> list[dict[str, Any]]:
    """What only the lab knows of the platform, as it was applied."""
    found = [*listed("secrets", "--namespace", SYSTEM), *listed("configmaps", "--namespace", DATABASE)]
    applied = [one for one in found if LAST_APPLIED in one["metadata"].get("annotations", {})]
    return [json.loads(one["metadata"]["annotations"][LAST_APPLIED]) for one in applied]


LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def test_the_platform_s_manifests_are_taken_as_they_stand_and_again(home: Path) -> None:
    before = {pod["metadata"]["name"] for pod in listed("pods", "--namespace", SYSTEM)}
    told = known()
    assert {one["metadata"]["name"] for one in told} == {"pgbouncer", *(f"readmission-{what}" for what in SECRETS)}
    (secret,) = [one for one in told if one["metadata"]["name"] == "readmission-api"]
    assert base64.b64decode(secret["data"]["token"]) == token().encode()
    furnish(Kubectl(find().path("kubectl"), Path(control.running().kubeconfig)), told)
    assert len({one["kind"] for path in FILES for one in manifests(path)}) > 20
    after = {pod["metadata"]["name"] for pod in listed("pods", "--namespace", SYSTEM)}
    assert after == before, "the same anew rolls nothing out"


SECRETS = ("api", "artifacts", "database", "tls")


def test_a_prediction_goes_through_the_ingress_with_its_certificate_and_without(home: Path) -> None:
    plain, secure = ingress()
    status, said = predicted(plain)
    assert (status, said["model_version"]) == (200, "2.3.0")
    authority = home / "lab" / FOLDER / "lab" / "ingress-authority" / "ca.pem"
    assert predicted(secure, ca_certs=str(authority), server_hostname=HOSTS[0])[0] == 200


def test_no_prediction_fails_while_the_service_is_rolled_out_anew(home: Path) -> None:
    over, failed, asked, (plain, _) = threading.Event(), [], 0, ingress()

    def ask() -> None:
        nonlocal asked
        while not over.is_set():
            status, said = predicted(plain, asked % len(PROBE_REQUESTS))
            asked += 1
            if status != 200:
                failed.append((status, said))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        typed(f"kubectl rollout restart deployment readmission-api --namespace {SYSTEM}")
        typed(f"kubectl rollout status deployment readmission-api --namespace {SYSTEM} --timeout=110s")
    finally:
        over.set()
        asking.join()
    assert asked > 10
    assert failed == []


def test_what_a_pod_wrote_is_shown_as_kubectl_would(home: Path) -> None:
    # Its schedule comes due while other tests go on.
    typed("kubectl create cronjob often --image busybox:1.37 --schedule '* * * * *' -- sh -c 'echo on time'")
    script = "echo begun; sleep 1; test -e again || { touch again; exit 1; }; echo anew; sleep infinity"
    typed(f"kubectl run writes --image busybox:1.37 --command -- sh -c '{script}'")

    def shown(*options: str) -> str:
        return CliRunner().invoke(command, ["logs", "writes", *options]).output

    eventually(lambda: shown() == "begun\nanew\n", seconds=60)
    assert shown("--namespace", "default", "--container", "writes", "--previous") == "begun\n"
    typed("kubectl delete pod writes --grace-period 0 --force")


def test_a_log_that_is_not_there_is_refused_with_what_there_is(home: Path) -> None:
    for options, why in (
        (("nobody",), "The pod nobody has written nothing in this lab."),
        (("*",), "has written nothing"),
        (("often", "--namespace", "other"), "has written nothing"),
    ):
        refused = CliRunner().invoke(command, ["logs", *options])
        assert isinstance(refused.exception, RefusedError)
        assert why in str(refused.exception)


def test_an_image_that_the_lab_does_not_have_is_told_in_the_pod_s_status(home: Path) -> None:
    typed("kubectl create deployment waits --image example.org/waits --replicas 2")

    def reasons() -> set[str]:
        pods = listed("pods", "--selector", "app=waits")
        return {one["state"]["waiting"]["reason"] for pod in pods for one in pod["status"].get("containerStatuses", [])}

    assert eventually(reasons, seconds=30) <= {"ErrImagePull", "ImagePullBackOff"}
    typed("kubectl delete deployment waits")


def test_a_lost_node_is_noticed_and_stays_lost_until_it_is_brought_back(home: Path) -> None:
    def model(node: str) -> list[dict[str, Any]]:
        pods = listed("pods", "--namespace", SYSTEM, "--selector", "app=readmission-model")
        return [pod for pod in pods if (pod["spec"].get("nodeName") == node) and true(pod, "Ready")]

    def ready(node: str) -> bool:
        return any(one["metadata"]["name"] == node and true(one, "Ready") for one in listed("nodes"))

    lost = next(node for node in ("gpu-1", "gpu-2", "gpu-3") if model(node))
    control.inject("lose_node", node=lost)
    assert control.status().nodes[lost] is False
    eventually(lambda: not ready(lost), seconds=30)
    eventually(lambda: sum(len(model(f"gpu-{n}")) for n in (1, 2, 3)) == 2, seconds=60)
    assert f"node     {lost}  lost\n" in CliRunner().invoke(command, ["status"]).stdout
    assert predicted(ingress()[0])[0] == 200
    control.inject("lose_node", node=lost, lost=False)
    eventually(lambda: ready(lost), seconds=30)
    with pytest.raises(RefusedError, match="gpu-9"):
        control.inject("lose_node", node="gpu-9")


def test_the_api_server_comes_back_with_all_that_it_held(home: Path) -> None:
    typed("kubectl create namespace kept")
    before = processes(home)["kube-apiserver"]
    before.kill()
    eventually(lambda: processes(home).get("kube-apiserver", before).pid != before.pid)
    eventually(
        lambda: (
            subprocess.run(
                ["bash", "-c", 'eval "$EXPORTS"; kubectl get namespace kept'],
                env={**os.environ, "EXPORTS": control.exports()},
                capture_output=True,
                check=False,
            ).returncode
            == 0
        )
    )


def test_a_component_that_was_taken_down_stays_down_until_it_is_let_up(home: Path) -> None:
    control.inject("kubernetes", component="kube-apiserver")
    gone = subprocess.run(
        ["bash", "-c", 'eval "$EXPORTS"; kubectl get namespaces'],
        env={**os.environ, "EXPORTS": control.exports()},
        capture_output=True,
        check=False,
    )
    assert gone.returncode != 0
    control.inject("kubernetes", component="kube-apiserver", down=False)
    assert "kept" in typed("kubectl get namespaces --output name")


def test_nobody_else_reads_what_is_in_its_folder_and_all_listen_on_loopback_alone(home: Path) -> None:
    assert (home / "lab" / FOLDER).stat().st_mode & 0o077 == 0
    for one in processes(home).values():
        assert {at.laddr.ip for at in one.net_connections("tcp") if at.status == psutil.CONN_LISTEN} <= {"127.0.0.1"}


def test_a_cron_job_runs_when_it_is_due(home: Path) -> None:
    def done() -> list[str]:
        jobs = [one for one in listed("jobs") if true(one, "Complete")]
        return [one["metadata"]["name"] for one in jobs if one["metadata"]["name"].startswith("often-")]

    job = eventually(done, seconds=90)[0]
    pod = listed("pods", "--selector", f"job-name={job}")[0]["metadata"]["name"]
    assert CliRunner().invoke(command, ["logs", pod]).output == "on time\n"
    typed("kubectl delete cronjob often")


def test_after_a_killed_daemon_a_down_ends_all_of_it(home: Path) -> None:
    left = processes(home)
    typed("kubectl run leaves --image busybox:1.37 --command -- sh -c 'setsid sleep 1234 & sleep infinity'")
    eventually(lambda: any("1234" in one.cmdline() for one in pods_processes(home)), seconds=30)
    assert len(pods_processes(home)) > 30
    assert sorted(left) == PLANE
    os.kill(control.running().pid, signal.SIGKILL)
    assert control.down() is True
    eventually(lambda: not lasting(left))
    assert pods_processes(home) == []
    assert list(home.iterdir()) == []


def test_a_lab_can_do_without(home: Path) -> None:
    up = CliRunner().invoke(command, ["up", "--patients", "20", "--single", "--without", "kubernetes"])
    assert up.exit_code == 0, up.output
    assert "Kubernetes" not in up.output
    assert "KUBECONFIG" not in control.env()
    assert not (home / "lab" / FOLDER).exists()
