"""Leading a Kubernetes Secret elsewhere, with the real client against a stub of the API server: no cluster took part.

It needs the extra ``kubernetes``.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from dr.domain.errors import OddAnswerError, ProviderError, RefusedError
from dr.drivers.clients import kubernetes_secret
from dr.drivers.clients.config import SecretConfig
from dr.drivers.clients.kubernetes_secret import ANNOTATION, Secret
from dr.drivers.clients.place import Place
from dr.drivers.clients.provider import _place, _told

pytest.importorskip("kubernetes", reason="the extra 'kubernetes' is not installed")

OLD, NEW = Place("readmission-db.example.com", 5432), Place("replica-1.example.com", 5433)
URL = "postgresql://api:s3cret%40word@readmission-db.example.com:5432/readmission?sslmode=verify-full"
SECRET, DEPLOYMENT = "/api/v1/namespaces/prod/secrets/database", "/apis/apps/v1/namespaces/prod/deployments/api"


def encoded(**data: str) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}


class Cluster:
    """Two objects, merged as the API server merges; ``fail``: the status of the next answers."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {
            SECRET: {
                "kind": "Secret",
                "metadata": {"name": "database", "resourceVersion": "7"},
                "data": encoded(host=OLD.host, port="5432", password="s3cret"),
            },
            DEPLOYMENT: {
                "kind": "Deployment",
                "metadata": {"name": "api", "generation": 1},
                "spec": {"replicas": 2, "selector": {}, "template": {"metadata": {}}},
                "status": {"observedGeneration": 1, "updatedReplicas": 2, "availableReplicas": 2, "replicas": 2},
            },
        }
        self.patches: list[tuple[str, Any]] = []
        self.fail: list[int] = []
        self.odd: list[bytes] = []
        """What the next answers hold instead."""
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def data(self) -> dict[str, str]:
        return {key: base64.b64decode(value).decode() for key, value in self.objects[SECRET]["data"].items()}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(cluster.objects.get(self.path))

            def do_PATCH(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                cluster.patches.append((self.path, body))
                found = cluster.objects[self.path]
                if body.get("metadata", {}).get("resourceVersion", "7") != found["metadata"].get(
                    "resourceVersion", "7"
                ):
                    cluster.fail.append(409)
                elif not cluster.fail:
                    cluster.merge(found, body)
                self._answer(found)

            def _answer(self, found: Any) -> None:
                status = cluster.fail.pop(0) if cluster.fail else 200 if found is not None else 404
                content = json.dumps(found if status == 200 else {"message": "s3cret"}).encode()
                content = cluster.odd.pop(0) if cluster.odd else content
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler

    def merge(self, found: dict[str, Any], body: dict[str, Any]) -> None:
        for key, value in body.items():
            if isinstance(value, dict):
                self.merge(found.setdefault(key, {}), value)
            elif value is None:
                found.pop(key, None)
            else:
                found[key] = value


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.server.shutdown()
    made.server.server_close()


def secret(home: Path, cluster: Cluster, /, **changes: Any) -> Secret:
    path = home / "kubeconfig"
    server = f"http://127.0.0.1:{cluster.server.server_address[1]}"
    document = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "elsewhere",
    }
    path.write_text(yaml.safe_dump(document))
    return Secret(
        SecretConfig(**{"kubeconfig": str(path), "context": "prod", "namespace": "prod", "name": "database", **changes})
    )


def test_a_cluster_is_known_by_its_namespace_kube_system(tmp_path: Path, cluster: Cluster) -> None:
    lead = secret(tmp_path, cluster)
    with pytest.raises(RefusedError, match="refused looking at the cluster of"):
        lead.identity()
    system = {"kind": "Namespace", "metadata": {"name": "kube-system", "uid": "uid-2"}}
    cluster.objects["/api/v1/namespaces/kube-system"] = system
    assert lead.identity() == {"cluster": "uid-2"}


def test_host_and_port_are_changed_and_nothing_else(tmp_path: Path, cluster: Cluster) -> None:
    lead = secret(tmp_path, cluster)
    assert lead.present() == OLD
    lead.lead(NEW)
    assert cluster.data() == {"host": NEW.host, "port": "5433", "password": "s3cret"}
    assert lead.waiting(NEW, 0.0) == ""
    lead.lead(NEW)
    assert len(cluster.patches) == 1, "repeated, it changes nothing"
    lead.lead(OLD)
    assert lead.present() == OLD


def test_a_url_keeps_its_login_and_its_options(tmp_path: Path, cluster: Cluster) -> None:
    cluster.objects[SECRET]["data"] = encoded(url=URL)
    lead = secret(tmp_path, cluster, url_key="url")
    lead.lead(NEW)
    assert cluster.data()["url"] == URL.replace(str(OLD), str(NEW))
    lead.lead(OLD)
    assert cluster.data()["url"] == URL


def through_the_ledger(place: Place) -> Place:
    """What an undo knows: a plan's arguments, as JSON holds them."""
    told = json.loads(json.dumps(_told(place)))
    assert set(told) <= {"host", "port", "written"}, "nothing else of a Secret is recorded"
    assert told.get("written", [place.host, ""]) == [place.host, ""]
    return _place(told)


@pytest.mark.parametrize(
    ("keys", "data"),
    [
        ({"url_key": "url"}, {"url": "postgresql://api:s3cret@Old-DB.example.com/x?sslmode=require\n"}),
        ({"url_key": "url"}, {"url": "jdbc:postgresql://old-db:5432/x?user=api&password=s3cret"}),
        ({"url_key": "url"}, {"url": "postgresql+asyncpg://api@[fd00::7]:5432/x?"}),
        ({}, {"host": "Old-DB.example.com\n", "port": "5432\n"}),
        ({}, {"host": "old-db"}),
        ({"port_key": ""}, {"host": "old-db"}),
    ],
)
def test_led_back_the_secret_is_to_the_letter_what_it_was(
    tmp_path: Path, cluster: Cluster, keys: dict[str, str], data: dict[str, str]
) -> None:
    cluster.objects[SECRET]["data"] = encoded(**data)
    lead, to = secret(tmp_path, cluster, **keys), Place(NEW.host, 5432)
    before = through_the_ledger(lead.present())
    lead.lead(to)
    assert lead.present() == to
    assert "old" not in str(cluster.data()).lower()
    lead.lead(before)
    assert cluster.data() == data


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql:///x?host=old-db", "names no single host"),
        ("postgresql://s3cret:5432,other:5432/x", "names no single host"),
        ("postgresql://api:s3cret@pw@old-db/x", "names no single host"),
        ("postgresql://api:s3cret@old-db/x?sslmode=require&host=other", "in its query"),
        ("postgresql://api:s3cret@old-db/x?host%61ddr=10.0.0.1", "in its query"),
        ("jdbc:postgresql://old-db/x?password=s3cret&PGPORT=1", "in its query"),
        ("jdbc:mysql://old-db/s3cret", "is no URL of a scheme that is known"),
        ("s3cret", "is no URL of a scheme that is known"),
    ],
)
def test_a_url_that_would_lead_elsewhere_is_refused_and_not_repeated(
    tmp_path: Path, cluster: Cluster, url: str, words: str
) -> None:
    cluster.objects[SECRET]["data"] = encoded(url=url)
    lead = secret(tmp_path, cluster, url_key="url")
    for ask in (lead.present, lambda: lead.lead(NEW)):
        with pytest.raises(RefusedError, match=rf"Secret prod/database .*key 'url' .*{words}") as caught:
            ask()
        assert "s3cret" not in str(caught.value)
    assert cluster.patches == []


def test_a_binary_key_that_nobody_named_is_not_read(tmp_path: Path, cluster: Cluster) -> None:
    cluster.objects[SECRET]["data"]["keystore"] = base64.b64encode(b"\xfe\xed\xff").decode()
    assert secret(tmp_path, cluster).present() == OLD
    with pytest.raises(RefusedError, match="key 'keystore' is no text"):
        secret(tmp_path, cluster, host_key="keystore").present()


@pytest.mark.parametrize(
    ("data", "words"),
    [({"host": "postgresql://api:s3cret@db"}, "'host' is no host"), ({"host": "db", "port": "s3cret"}, "'port' is no")],
)
def test_what_is_no_host_or_port_is_refused_and_not_repeated(
    tmp_path: Path, cluster: Cluster, data: dict[str, str], words: str
) -> None:
    cluster.objects[SECRET]["data"] = encoded(**data)
    with pytest.raises(RefusedError, match=words) as caught:
        secret(tmp_path, cluster).present()
    assert "s3cret" not in str(caught.value)


def test_a_port_that_the_secret_has_no_key_for_is_refused(tmp_path: Path, cluster: Cluster) -> None:
    with pytest.raises(RefusedError, match="has no key for a port"):
        secret(tmp_path, cluster, port_key="").lead(NEW)
    assert cluster.patches == []


def test_deployments_are_restarted_and_waited_for(tmp_path: Path, cluster: Cluster) -> None:
    lead = secret(tmp_path, cluster, restart=("api",))
    lead.lead(NEW)
    made = cluster.objects[DEPLOYMENT]
    assert made["spec"]["template"]["metadata"]["annotations"] == {ANNOTATION: str(NEW)}
    made["metadata"]["generation"] = 2
    assert "has not seen its change" in lead.waiting(NEW, 0.0)
    made["status"] = {"observedGeneration": 2, "updatedReplicas": 2, "availableReplicas": 2, "replicas": 3}
    assert "1 old ones left" in lead.waiting(NEW, 0.0)
    made["status"]["replicas"] = 2
    assert lead.waiting(NEW, 0.0) == ""


@pytest.mark.parametrize(("status", "kind"), [(403, RefusedError), (404, RefusedError), (500, ProviderError)])
def test_a_refusal_is_a_sentence_without_the_secret(
    tmp_path: Path, cluster: Cluster, status: int, kind: type[Exception]
) -> None:
    cluster.fail = [status]
    with pytest.raises(kind, match=rf"Kubernetes refused reading Secret prod/database: {status}") as caught:
        secret(tmp_path, cluster).present()
    assert "s3cret" not in str(caught.value)


ODD = [b"<html>s3cret</html>", b"", b"[]", b'{"metadata": {}}', b'{"metadata": {"name": "other"}}', b'{"metadata": 7}']


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_answer_is_asked_for_again_where_it_is_read_and_then_named(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, odd: bytes
) -> None:
    cluster.odd = [odd]
    assert secret(tmp_path, cluster).present() == secret(tmp_path, cluster).present()
    monkeypatch.setattr(kubernetes_secret, "ODD_SECONDS", 0.1)
    cluster.odd = [odd]
    with pytest.raises(OddAnswerError, match="Reading Secret prod/database was answered oddly") as caught:
        secret(tmp_path, cluster).present()
    assert caught.value.transient
    assert "s3cret" not in str(caught.value)


def test_an_odd_answer_is_no_change(tmp_path: Path, cluster: Cluster) -> None:
    lead = secret(tmp_path, cluster)
    read = lead._read()
    lead._read = lambda: read  # type: ignore[method-assign]
    cluster.odd = [ODD[0]]
    with pytest.raises(OddAnswerError, match="Changing Secret"):
        lead.lead(NEW)


def test_a_secret_that_was_changed_meanwhile_is_not_overwritten(tmp_path: Path, cluster: Cluster) -> None:
    lead = secret(tmp_path, cluster)
    read = lead._read()
    cluster.objects[SECRET]["metadata"]["resourceVersion"] = "8"
    lead._read = lambda: read  # type: ignore[method-assign]
    with pytest.raises(ProviderError, match="409"):
        lead.lead(NEW)
    assert cluster.data()["host"] == OLD.host


def test_a_context_a_key_and_a_server_that_are_not_there_are_sentences(tmp_path: Path, cluster: Cluster) -> None:
    with pytest.raises(RefusedError, match="names no cluster of context 'other'"):
        secret(tmp_path, cluster, context="other").present()
    with pytest.raises(RefusedError, match="has no key 'hostname'"):
        secret(tmp_path, cluster, host_key="hostname").present()
    lead = secret(tmp_path, cluster)
    cluster.server.shutdown()
    cluster.server.server_close()
    with pytest.raises(ProviderError, match="Kubernetes cannot be reached"):
        lead.present()
