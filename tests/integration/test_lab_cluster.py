"""The lab's control plane for real: what ``dr lab`` says of it, stock kubectl against it, how it ends.

Skipped where ``dr lab install`` did not run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from dr.cli.lab import lab as command
from dr.lab import control
from dr.lab.cluster.control import FOLDER
from tests.contract.lab import lab_home
from tests.support import eventually

pytestmark = pytest.mark.in_order


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with lab_home() as place:
        control.up(patients=20, single=True, without=())
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


def processes(home: Path) -> dict[str, psutil.Process]:
    """The cluster's, by name."""
    found = {}
    for path in (home / "lab" / FOLDER / "lab").glob("*.pid"):
        with suppress(ValueError, psutil.NoSuchProcess):  # it has just ended, or is being started
            found[path.stem] = psutil.Process(int(path.read_text()))
    return found


def test_status_says_where_it_is(home: Path) -> None:
    shown = CliRunner().invoke(command, ["status"]).stdout
    now = control.running()
    assert f"cluster  {now.kubernetes}  KUBECONFIG={now.kubeconfig}\n" in shown
    assert "without" not in shown


def test_stock_kubectl_works_under_the_exports(home: Path) -> None:
    version = json.loads(typed("kubectl version --output json"))["serverVersion"]
    assert [version[part] for part in ("gitVersion", "major", "minor")] == ["v1.37.2", "1", "37"]
    assert typed("kubectl auth whoami --output jsonpath='{.status.userInfo.username}'") == "lab-admin"
    assert "default" in typed("kubectl get serviceaccounts --output name")
    assert "v1.18.3" in typed("velero version --client-only")


def test_the_controllers_work_what_they_are_told(home: Path) -> None:
    typed("kubectl create deployment waits --image example.org/waits --replicas 2")
    found = eventually(
        lambda: json.loads(typed("kubectl get pods --selector app=waits --output json"))["items"], seconds=30
    )
    assert {pod["spec"]["serviceAccountName"] for pod in found} == {"default"}
    # The scheduler has looked at them, and there is no node.
    reasons = eventually(
        lambda: [
            condition["reason"]
            for pod in json.loads(typed("kubectl get pods --selector app=waits --output json"))["items"]
            for condition in pod["status"].get("conditions", [])
        ],
        seconds=30,
    )
    assert set(reasons) == {"Unschedulable"}


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


def test_after_a_killed_daemon_a_down_ends_all_of_it(home: Path) -> None:
    left = processes(home)
    assert sorted(left) == ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
    os.kill(control.running().pid, signal.SIGKILL)
    assert control.down() is True
    eventually(lambda: not [one for one in left.values() if one.is_running() and one.status() != "zombie"])
    assert list(home.iterdir()) == []


def test_a_down_ends_it_in_time(home: Path) -> None:
    control.up(patients=20, single=True, without=())
    left = processes(home)
    began = time.monotonic()
    assert control.down() is True
    assert time.monotonic() - began < control.DOWN_LIMIT
    assert not [one for one in left.values() if one.is_running() and one.status() != "zombie"]


def test_a_lab_can_do_without(home: Path) -> None:
    up = CliRunner().invoke(command, ["up", "--patients", "20", "--single", "--without", "kubernetes"])
    assert up.exit_code == 0, up.output
    assert "Kubernetes" not in up.output
    assert "KUBECONFIG" not in control.env()
    assert not (home / "lab" / FOLDER).exists()
