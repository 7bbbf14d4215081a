"""Losing what a cluster stands on, and having it back: by EC2, by the target's command, by deletion."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
from moto import mock_aws

from dr.config.context import Context
from dr.config.model import Settings
from dr.domain.errors import ProviderError, RefusedError
from dr.domain.model import Call, Grant, Progress, Purpose, Request, RunIdentity, Verb
from dr.drivers.aws.config import AwsConfig, Credentials
from dr.drivers.kubernetes import cluster, gentle
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.kubernetes.provider import KubernetesProvider
from dr.host.clock import SystemClock
from tests.platform_objects import KUBE_SYSTEM_UID, OF, PLATFORM, SYSTEM, condition, node, pod
from tests.stub_cluster import Objects, stub_cluster
from tests.targets import target_of

RUN = RunIdentity("20261130-033333-cf4e", "lab", Purpose.DRILL, "d")
NODES = "/api/v1/nodes"


@pytest.fixture
def objects(tmp_path: Path) -> Iterator[Objects]:
    with stub_cluster(tmp_path / "kubeconfig") as held:
        held.hold(*PLATFORM)
        yield held


class Losing:
    """A driver of the stub's cluster, and the calls of one verb."""

    def __init__(self, at: Path, machines: str = "", **parts: Any) -> None:
        section = KubernetesConfig(str(at / "kubeconfig"), "stub", KUBE_SYSTEM_UID, (SYSTEM,), machines)  # type: ignore[arg-type]
        target = msgspec.structs.replace(target_of(grants=(Grant.DISPOSABLE,), **parts), kubernetes=section)
        self.provider = KubernetesProvider(Context("lab", target, Settings(), at, at, SystemClock(), ""))

    def call(self, name: str = "disaster", **args: Any) -> Call:
        verb = Verb(name, args)
        (call,) = self.provider.propose(verb, self.provider.look(Request("lab", (verb,), Purpose.DRILL)), RUN)
        return call

    def begin(self, call: Call) -> Progress:
        return self.provider.poll(call, self.provider.apply(call, call.args))


def undo_of(call: Call) -> Call:
    assert call.undo is not None
    return call.undo


@pytest.fixture
def way(tmp_path: Path) -> dict[str, Any]:
    """To moto's account."""
    (tmp_path / "credentials").write_text("[d]\naws_access_key_id = a\naws_secret_access_key = b\n")
    credentials = Credentials(str(tmp_path / "credentials"), "d")
    return {"account": "123456789012", "region": "us-east-1", "credentials": credentials}


def running(objects: Objects) -> tuple[Any, str]:
    """EC2, and the instance that is the node."""
    ec2 = boto3.client("ec2", "us-east-1")
    made: str = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    objects.hold((NODES, node("gpu-1", providerID=f"aws:///us-east-1a/{made}")))
    return ec2, made


@pytest.mark.parametrize("section", ["rds", "aws"])
def test_a_node_s_instance_is_terminated_and_another_one_awaited(
    objects: Objects, tmp_path: Path, way: dict[str, Any], section: str
) -> None:
    with mock_aws():
        ec2, made = running(objects)
        losing = Losing(tmp_path, "ec2", **(way if section == "rds" else {"rds": None, "aws": AwsConfig(**way)}))
        call = losing.call(kind="node-lost", of=OF)
        progress = losing.begin(call)
        assert (progress.done, [*progress.milestones]) == (True, ["disaster"])
        (state,) = ec2.describe_instances(InstanceIds=[made])["Reservations"][0]["Instances"]
        assert state["State"]["Name"] in ("shutting-down", "terminated")
    del objects.found[f"{NODES}/gpu-1"]
    undo = undo_of(call)
    waiting = losing.begin(undo)
    assert (waiting.done, waiting.note) == (False, "2 of 3 nodes are ready, with 2 of 3 GPUs")
    objects.hold((NODES, node("gpu-4")))
    assert losing.begin(undo).done


def test_no_instance_of_another_account_is_terminated(objects: Objects, tmp_path: Path, way: dict[str, Any]) -> None:
    with mock_aws():
        ec2, made = running(objects)
        losing = Losing(tmp_path, "ec2", **{**way, "account": "999999999999"})
        with pytest.raises(RefusedError, match="belong to account 123456789012, not to 999999999999"):
            losing.begin(losing.call(kind="node-lost", of=OF))
        (state,) = ec2.describe_instances(InstanceIds=[made])["Reservations"][0]["Instances"]
        assert state["State"]["Name"] == "running"


def test_a_target_that_does_not_say_whose_account_terminates_nothing(objects: Objects, tmp_path: Path) -> None:
    objects.hold((NODES, node("gpu-1", providerID="aws:///us-east-1a/i-1")))
    with pytest.raises(RefusedError, match="The target has no section 'aws'"):
        Losing(tmp_path, "ec2", rds=None).call(kind="node-lost", of=OF)


def test_a_fault_of_the_targets_command_is_out_once_the_node_shows_it(objects: Objects, tmp_path: Path) -> None:
    say = "import sys; open(sys.argv[1], 'a').write(' '.join(sys.argv[2:]) + '\\n')"
    losing = Losing(tmp_path, faults=(sys.executable, "-c", say, str(tmp_path / "said")))
    call = losing.call(kind="gpu-lost", of=OF)
    assert losing.begin(call).done
    objects.hold((NODES, node("gpu-1", gpus=0)))
    waiting = losing.begin(undo_of(call))
    assert (waiting.done, waiting.note) == (False, "node gpu-1 counts 0 of 1 GPUs")
    objects.hold((NODES, node("gpu-1")))
    assert losing.begin(undo_of(call)).done
    put, *taken = (tmp_path / "said").read_text().splitlines()
    assert put == 'break_gpu {"node": "gpu-1", "number": 0, "broken": true}'
    assert {*taken} == {'break_gpu {"node": "gpu-1", "number": 0, "broken": false}'}


def test_the_disaster_stays_when_it_first_was(objects: Objects, tmp_path: Path) -> None:
    losing = Losing(tmp_path, faults=("true",))
    call = losing.call(kind="gpu-lost", of=OF)
    assert losing.begin(call).milestones == losing.begin(call).milestones


def test_a_target_without_a_command_is_told_before_anything_begins(objects: Objects, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="names no command that puts node-lost into it"):
        Losing(tmp_path).call(kind="node-lost", of=OF)


def test_a_workload_that_is_not_there_is_told_before_anything_begins(objects: Objects, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=f"There is no Deployment {SYSTEM}/none in the cluster"):
        Losing(tmp_path).call(kind="node-lost", of=f"{SYSTEM}/none")


def test_a_node_with_pods_that_nothing_makes_anew_is_not_drained(objects: Objects, tmp_path: Path) -> None:
    alone = pod("alone-1")
    del alone["metadata"]["ownerReferences"]
    objects.hold(("/api/v1/pods", alone))
    losing = Losing(tmp_path)
    with pytest.raises(RefusedError, match=f"Node gpu-1 has pods that nothing makes anew: {SYSTEM}/alone-1"):
        losing.begin(losing.call(kind="node-drained", of=OF))
    assert "unschedulable" not in objects.found[f"{NODES}/gpu-1"]["spec"]


def test_a_pod_without_volumes_does_not_break_a_drain(objects: Objects, tmp_path: Path) -> None:
    """As one whose ServiceAccount's token is not mounted: the client leaves its lists out."""
    bare = pod("bare-1", node="gpu-3")
    bare["metadata"]["ownerReferences"][0] |= {"apiVersion": "apps/v1", "uid": "uid-bare"}
    bare["spec"]["containers"], bare["status"] = [{"name": "it"}], {"phase": "Running"}
    objects.hold((f"/api/v1/namespaces/{SYSTEM}/pods", bare))
    config = KubernetesConfig(str(tmp_path / "kubeconfig"), "stub", KUBE_SYSTEM_UID, (SYSTEM,))
    with pytest.raises(ProviderError, match="did not completed"):
        gentle.act(config, "drain_nodes", {"name": "gpu-3", "delete_pods_with_local_storage": True, "timeout": -1}, 120)
    assert f"/api/v1/namespaces/{SYSTEM}/pods/bare-1/eviction/bare-1" in objects.found


def test_a_drain_that_is_defective_is_not_tried_until_its_time_is_over(
    objects: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [f"{gentle.DEFECT} (TypeError)", "Draining nodes did not completed within -1s."]

    def fail(*_: object) -> None:
        raise ProviderError(said[0])

    losing = Losing(tmp_path)
    call = losing.call(kind="node-drained", of=OF)
    monkeypatch.setattr(gentle, "act", fail)
    with pytest.raises(ProviderError, match=r"itself failed \(TypeError\)"):
        losing.provider.poll(call, {**call.args, "at": 1.0})
    said.pop(0)
    assert not losing.provider.poll(call, {**call.args, "at": 1.0}).done


# -- a namespace


def test_a_namespace_is_deleted_and_awaited_with_what_keeps_it(objects: Objects, tmp_path: Path) -> None:
    losing = Losing(tmp_path)
    call = losing.call(kind="namespace-lost", namespace=SYSTEM)
    keeps = condition("NamespaceFinalizersRemaining", message="Some content has finalizers: dr.example/hold in 1 pod.")
    path = f"/api/v1/namespaces/{SYSTEM}"
    going = {**objects.found[path], "status": {"phase": "Terminating", "conditions": [keeps]}}
    going["metadata"] = {**going["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    objects.hold(("/api/v1/namespaces", going))
    waiting = losing.begin(call)
    assert not waiting.done
    assert waiting.note.startswith(f"namespace {SYSTEM} is Terminating: Some content has finalizers: dr.example/hold")
    del objects.found[path]
    assert losing.begin(call).done


def test_another_namespace_of_that_name_is_spared(objects: Objects, tmp_path: Path) -> None:
    losing = Losing(tmp_path)
    call = losing.call(kind="namespace-lost", namespace=SYSTEM)
    objects.hold(("/api/v1/namespaces", {"metadata": {"name": SYSTEM, "uid": "another"}, "status": {}}))
    with pytest.raises(RefusedError, match="is another one by now"):
        losing.begin(replace(call))
    assert f"/api/v1/namespaces/{SYSTEM}" in objects.found


# -- a remedy


def test_a_remedy_waits_until_the_node_counts_less_and_moves_the_workloads_pods_alone(
    objects: Objects, tmp_path: Path
) -> None:
    losing = Losing(tmp_path)
    call = losing.call("remedy", kind="gpu-lost", of=OF)
    assert losing.begin(call).note == "node gpu-1 still counts all of its 1 GPUs"
    objects.hold((NODES, node("gpu-1", gpus=0)))
    objects.hold((f"/api/v1/namespaces/{SYSTEM}/pods", pod("readmission-modeller-x")))
    told = losing.begin(call)
    assert (told.done, [*told.milestones]) == (True, ["detected", "remedied"])
    assert told.result["deleted"] == ["readmission-model-a"]


# -- an API server that does not answer for a while


def test_a_watch_goes_on_where_the_api_server_answers_again_and_ends_with_its_time(
    objects: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "LOST_SECONDS", 0.0)
    losing = Losing(tmp_path)
    call = losing.call("await_redundancy", of=OF, within=600.0)
    began = losing.provider.apply(call, call.args)
    assert losing.provider.poll(call, began).observations
    objects.gone = True
    blind = losing.provider.poll(call, began)
    assert (blind.done, blind.blind) == (False, True)
    over = losing.provider.poll(call, {**began, "within": 0.0})
    assert (over.done, over.result["restored"]) == (True, False)
    objects.gone = False
    assert not losing.provider.poll(call, began).blind
