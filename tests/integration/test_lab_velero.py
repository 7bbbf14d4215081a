"""Velero of a lab: a real server, its plugin and S3 beside a real control plane; the platform's commands as typed.

Skipped where ``dr lab install`` did not run.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import boto3
import pytest
from botocore.exceptions import ClientError

from dr.lab.cluster.backups import Velero
from dr.lab.cluster.binaries import CONTROL_PLANE, WITHOUT, find
from dr.lab.cluster.control import open_cluster
from dr.lab.cluster.furnish import Kubectl
from dr.lab.cluster.modules import VELERO
from dr.lab.cluster.platform import SYSTEM
from dr.lab.cluster.storage import ARTIFACTS, BACKUPS, ObjectStore
from dr.lab.rds.account import new_account
from tests.lab_servers import lab_site

CLUSTER = pytest.mark.skipif(bool(find().lacking(*CONTROL_PLANE, *VELERO)), reason=WITHOUT)
BACKUP = "readmission-backup-20250424"


@dataclass
class Cluster:
    kubectl: Kubectl
    velero: Velero
    kubeconfig: str

    def shell(self, command: str) -> str:
        """A command as somebody types it under the lab's exports."""
        path = os.pathsep.join([*map(str, find().folders), os.environ["PATH"]])
        environment = {**os.environ, "KUBECONFIG": self.kubeconfig, "PATH": path}
        done = subprocess.run(command.split(), env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def storage() -> Iterator[ObjectStore]:
    store = ObjectStore(new_account())
    store.start()
    store.furnish({"readmission-2.3.0.json": b"{}"})
    yield store
    store.close()


@pytest.fixture(scope="module")
def cluster(storage: ObjectStore) -> Iterator[Cluster]:
    with lab_site() as site:
        programs = find()
        plane = open_cluster(site, programs)
        velero = Velero(site, programs, plane, storage)
        try:
            plane.start()
            velero.start()
            yield Cluster(Kubectl(programs.path("kubectl"), plane.kubeconfig), velero, str(plane.kubeconfig))
        finally:
            velero.stop()
            plane.stop()


@CLUSTER
@pytest.mark.parametrize(
    "command",
    [
        f"velero restore create --from-backup {BACKUP} --include-namespaces {SYSTEM}",
        f"velero restore create --from-backup {BACKUP}",
    ],
)
def test_the_platform_s_restore_commands_work_as_they_stand(cluster: Cluster, command: str) -> None:
    if BACKUP not in cluster.shell("velero backup get"):
        cluster.kubectl.run("create", "namespace", SYSTEM)
        cluster.kubectl.run("create", "configmap", "known", "--namespace", SYSTEM, "--from-literal=a=b")
        cluster.velero.back_up(BACKUP)
    cluster.kubectl.run("delete", "namespace", SYSTEM, "--wait")
    cluster.shell(f"{command} --wait")
    assert json.loads(cluster.kubectl.run("get", "configmap", "known", "-n", SYSTEM, "-o", "json"))["data"] == {
        "a": "b"
    }


@CLUSTER
def test_backups_bring_what_belongs_to_no_namespace(cluster: Cluster) -> None:
    cluster.kubectl.apply(
        [{"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "own"}, "value": 1}]
    )
    cluster.velero.back_up("whole")
    assert "own" in cluster.shell("velero backup describe whole --details")


@CLUSTER
def test_its_server_listens_on_loopback_alone(cluster: Cluster) -> None:
    import psutil

    pid = cluster.velero.pid
    assert pid is not None
    listening = [one for one in psutil.Process(pid).net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    assert listening
    assert {one.laddr.ip for one in listening} == {"127.0.0.1"}


def test_the_buckets_keep_what_they_were_given(storage: ObjectStore) -> None:
    client = storage.client()
    client.put_object(Bucket=BACKUPS, Key="a/b c/d%20e.json", Body=b"1" * 200_000)
    assert [one["Key"] for one in client.list_objects_v2(Bucket=BACKUPS, Prefix="a/")["Contents"]] == [
        "a/b c/d%20e.json"
    ]
    url = client.generate_presigned_url("get_object", {"Bucket": ARTIFACTS, "Key": "readmission-2.3.0.json"})
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"{}"


def test_nobody_else_s_keys_open_the_buckets(storage: ObjectStore) -> None:
    right = storage.environment
    other = boto3.client(
        "s3",
        endpoint_url=storage.url,
        region_name=right["AWS_DEFAULT_REGION"],
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key=right["AWS_SECRET_ACCESS_KEY"],
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        other.list_objects_v2(Bucket=BACKUPS)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{storage.url}/{ARTIFACTS}/readmission-2.3.0.json")


def test_a_store_that_may_not_be_written_still_reads(storage: ObjectStore) -> None:
    client = storage.client()
    storage.refuse(["PUT"])
    try:
        with pytest.raises(ClientError, match="AccessDenied"):
            client.put_object(Bucket=BACKUPS, Key="x", Body=b"")
        assert client.get_object(Bucket=ARTIFACTS, Key="readmission-2.3.0.json")["Body"].read() == b"{}"
    finally:
        storage.refuse([])
