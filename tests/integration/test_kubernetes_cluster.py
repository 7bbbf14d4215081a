"""The target's cluster as its driver asks it, against a server that answers as an API server does."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from dr.domain.errors import ProviderError, RefusedError
from dr.drivers.kubernetes import cluster as asked
from dr.drivers.kubernetes.cluster import Access, Cluster
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.kubernetes.kubeconfig import connected
from dr.lab.cluster.authority import Authority, kubeconfig
from tests.platform_objects import KUBE_SYSTEM_UID, PLATFORM, SYSTEM
from tests.stub_cluster import TOKEN, Objects, stub_cluster

USERS, HOOK = "users may not.", 'admission webhook "hold.example.org" denied the request: frozen.'

UNASKED = 'Internal error occurred: failed calling webhook "hold.example.org": no endpoints.'


@pytest.fixture
def objects(tmp_path: Path) -> Iterator[Objects]:
    with stub_cluster(tmp_path / "kubeconfig") as held:
        held.hold(*PLATFORM)
        yield held


@pytest.fixture
def config(tmp_path: Path) -> KubernetesConfig:
    return KubernetesConfig(str(tmp_path / "kubeconfig"), "stub", KUBE_SYSTEM_UID, (SYSTEM,))


def test_a_cluster_is_known_by_the_uid_of_kube_system(objects: Objects, config: KubernetesConfig) -> None:
    Cluster(config).confirm()
    other = msgspec.structs.replace(config, cluster_uid="another")
    with pytest.raises(RefusedError, match=f"leads to the cluster {KUBE_SYSTEM_UID}, and the target is pinned to"):
        Cluster(other).confirm()


def test_what_the_credentials_may_not_do_is_named_by_verb_and_resource(
    objects: Objects, config: KubernetesConfig
) -> None:
    objects.denied = {("delete", "namespaces"), ("create", "pods")}
    wanted = (Access("list", "nodes"), Access("delete", "namespaces"), Access("create", "pods/eviction", SYSTEM))
    with pytest.raises(RefusedError) as refused:
        Cluster(config).check_access(wanted)
    assert "may not delete namespaces, create pods/eviction in namespace readmission-system" in str(refused.value)
    assert refused.value.exit_code == 3
    Cluster(config).check_access(wanted[:1])


def test_whoever_may_do_all_is_asked_once_for_each_verb(objects: Objects, config: KubernetesConfig) -> None:
    asked_for, create = list[str](), objects.create

    def noted(path: str, body: dict[str, Any]) -> dict[str, Any]:
        asked_for.append(body["spec"]["resourceAttributes"]["resource"])
        return create(path, body)

    objects.create = noted  # type: ignore[method-assign]
    wanted = [Access("list", kind, SYSTEM) for kind in ("pods", "secrets", "services", "configmaps", "leases")]
    Cluster(config).check_access(wanted)
    assert asked_for == ["*"]
    objects.denied = {("list", "secrets")}
    with pytest.raises(RefusedError, match="may not list secrets in namespace readmission-system"):
        Cluster(config).check_access(wanted)


@pytest.mark.parametrize("lost", [1, 2])
def test_a_change_whose_answer_was_lost_is_asked_for_again_and_made_once(
    objects: Objects, config: KubernetesConfig, lost: int
) -> None:
    cluster, path = Cluster(config), f"/api/v1/namespaces/{SYSTEM}/configmaps"
    objects.lost = lost
    made = cluster.create(path, {"metadata": {"name": "one"}})
    assert made["metadata"]["uid"] == objects.found[f"{path}/one"]["metadata"]["uid"]
    objects.lost = lost
    assert cluster.patch(f"{path}/one", {"data": {"a": "b"}})["data"] == {"a": "b"}
    objects.lost = lost
    cluster.delete(f"{path}/one", {})
    assert f"{path}/one" not in objects.found


def test_a_name_that_is_taken_is_no_answer_that_was_lost(objects: Objects, config: KubernetesConfig) -> None:
    cluster, path = Cluster(config), f"/api/v1/namespaces/{SYSTEM}/configmaps"
    cluster.create(path, {"metadata": {"name": "one"}})
    with pytest.raises(ProviderError, match="HTTP 409"):
        cluster.create(path, {"metadata": {"name": "one"}})


def test_a_kind_that_the_cluster_does_not_know_is_named(objects: Objects, config: KubernetesConfig) -> None:
    with pytest.raises(RefusedError, match=r"knows nothing at /apis/example\.org/v1/things"):
        Cluster(config).items("/apis/example.org/v1/things")


def test_what_is_written_bears_a_name_of_its_own(objects: Objects, config: KubernetesConfig) -> None:
    Cluster(config).patch("/api/v1/nodes/gpu-1", {})
    assert objects.writers == {"dr"}, "no name that every Python client bears"


@pytest.mark.parametrize(
    ("status", "kind", "words", "said"),
    [
        (401, RefusedError, "does not take the credentials: they are wrong, or have expired", USERS),
        (403, RefusedError, "HTTP 403: users may not. Grant that", USERS),
        (403, RefusedError, "denied the request: frozen. A webhook of the cluster refuses it", HOOK),
        (500, RefusedError, "no endpoints. See to the webhook's Service and pods", UNASKED),
        (422, RefusedError, "HTTP 422: users may not. The cluster takes it in no other form", USERS),
        (409, ProviderError, "HTTP 409", USERS),
        (500, ProviderError, "HTTP 500", USERS),
    ],
)
def test_each_refusal_of_the_api_server_is_told_for_what_it_is(
    objects: Objects,
    config: KubernetesConfig,
    status: int,
    kind: type[Exception],
    words: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asked, "LOST_SECONDS", 0.0)
    objects.refuses = (status, said)
    with pytest.raises(kind, match=words) as told:
        Cluster(config).patch("/api/v1/nodes/gpu-1", {})
    assert TOKEN not in str(told.value)


def test_an_api_server_that_is_gone_in_the_middle_is_told_and_may_be_asked_again(
    objects: Objects, config: KubernetesConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "LOST_SECONDS", 0.0)
    cluster = Cluster(config)
    cluster.confirm()
    objects.gone = True
    with pytest.raises(ProviderError, match="The API server of context stub does not answer") as told:
        cluster.confirm()
    assert told.value.transient
    assert told.value.exit_code == 5


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"contexts": []}, "names no cluster of context 'stub'"),
        ({"contexts": "none"}, "names no cluster of context 'stub'"),
        ({"clusters": [{"name": "stub", "cluster": {}}]}, "names no cluster of context 'stub'"),
        ({"users": [{"name": "stub", "user": {"client-key-data": "%"}}]}, "client-key-data is no base64"),
        ({"users": [{"name": "stub", "user": {"client-key": "/no/such/file"}}]}, "has no usable context 'stub'"),
    ],
)
def test_a_kubeconfig_that_leads_nowhere_is_refused(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    there = {"server": "https://127.0.0.1:1"}
    whole = {
        "contexts": [{"name": "stub", "context": {"cluster": "stub", "user": "stub"}}],
        "clusters": [{"name": "stub", "cluster": there}],
        "users": [{"name": "stub", "user": {"token": TOKEN}}],
        **changed,
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(whole))
    with pytest.raises(RefusedError, match=words):
        connected(str(tmp_path / "kubeconfig"), "stub")


def test_no_key_is_written_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    authority, file = Authority(tmp_path / "authority"), tmp_path / "own" / "kubeconfig"
    file.parent.mkdir()
    pair = authority.issue("somebody", "somebody")
    file.write_text(kubeconfig("https://127.0.0.1:1", authority.own, "somebody", pair, "lab"))
    client = connected(str(file))
    assert Path(client.configuration.key_file).read_bytes() == pair.key.read_bytes()
    assert [*elsewhere.iterdir()] == []
    assert [*file.parent.iterdir()] == [file]
