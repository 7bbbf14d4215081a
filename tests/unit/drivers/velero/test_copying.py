"""What of a backup comes to a copy beside production: left out, held back on arrival, led elsewhere."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from dr.drivers.velero import archive
from dr.drivers.velero.copying import HELD, Copy, modifiers, started, without
from dr.drivers.velero.manifests import LAST_APPLIED, merged
from dr.drivers.velero.production import Production, in_cluster, readings
from tests.stub_velero import archived

HOST = "db.abc.eu-central-1.rds.amazonaws.com"
COPY = Copy("app", "app-drill", "copy.example:5433", (HOST, "127.0.0.1:5999"), {"api.example.org": "api.drill.example"})
ROLE = "arn:aws:iam::123456789012:role/api"
IN_CLUSTER = "postgresql://api:p%40ss@pgbouncer.data.svc.cluster.local:5432/app?sslmode=verify-full"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def of(kind: str, spec: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": "x", "namespace": "app"}, **({"spec": spec} if spec else {}), **more}


@pytest.mark.parametrize(
    ("text", "led"),
    [
        (IN_CLUSTER, "postgresql://api:p%40ss@copy.example:5433/app?sslmode=verify-full"),
        ("jdbc:postgresql://a.b,c.d:5432/x", "jdbc:postgresql://copy.example:5433/x"),
        (f"host={HOST} port=5432", "host=copy.example port=5432"),
        (f"{HOST}:5432", "copy.example:5433"),
        ("127.0.0.1:5999", "copy.example:5433"),
        ("127.0.0.1:59990", "127.0.0.1:59990"),
        ("http://model.app.svc.cluster.local:8001/x", "http://model.app-drill.svc.cluster.local:8001/x"),
        ("http://model.app:8001", "http://model.app-drill:8001"),
        ("model.app", "model.app-drill"),
        ("model.apples.example", "model.apples.example"),
        ("app", "app"),
        ("https://api.example.org/x", "https://api.drill.example/x"),
    ],
)
def test_a_text_leads_to_the_copy(text: str, led: str) -> None:
    assert COPY.led(text) == led


def test_without_a_database_of_its_own_nothing_leads_to_another() -> None:
    assert Copy("app", "app-drill").led(IN_CLUSTER) == IN_CLUSTER


def test_a_secret_is_led_in_what_it_holds_and_nothing_else_of_it_is_touched() -> None:
    binary = base64.b64encode(bytes(range(256))).decode()
    found = COPY.rewritten(of("Secret", data={"url": encoded(IN_CLUSTER), "key": binary, "word": encoded("hush")}))
    assert base64.b64decode(found["data"]["url"]).decode().endswith("@copy.example:5433/app?sslmode=verify-full")
    assert (found["data"]["key"], found["data"]["word"]) == (binary, encoded("hush"))


def test_what_was_applied_to_production_is_not_kept() -> None:
    found = of("ConfigMap", data={"a": "model.app"})
    found["metadata"]["annotations"] = {LAST_APPLIED: "{}", "own": "model.app"}
    assert COPY.rewritten(found)["metadata"]["annotations"] == {"own": "model.app-drill"}


POD = {"template": {"spec": {"priorityClassName": "serving", "containers": [{"name": "x"}]}}}


def arrived(resource: str, one: dict[str, Any]) -> dict[str, Any]:
    """As Velero leaves it by the modifiers."""
    for rule in json.loads(modifiers({(resource, "app", "x"): one}))["resourceModifierRules"]:
        of_rule = rule["conditions"]
        if of_rule["groupResource"] in (resource, "**"):
            assert of_rule.get("resourceNameRegex", "^x$") == "^x$"
            for patch in rule["mergePatches"]:
                one = dict(merged(one, json.loads(patch["patchData"])))
    return one


@pytest.mark.parametrize("resource", ["deployments.apps", "statefulsets.apps", "replicationcontrollers"])
@pytest.mark.parametrize(("said", "asked"), [({"replicas": 3}, 3), ({"replicas": 0}, 0), ({}, 1)])
def test_a_workload_arrives_with_no_pod_and_is_started_as_the_backup_has_it(
    resource: str, said: dict[str, int], asked: int
) -> None:
    one = of("Deployment", {**said, **POD})
    assert arrived(resource, one)["spec"]["replicas"] == 0
    assert started(resource, one) == {"spec": {"replicas": asked}}
    standing = COPY.standing(resource, one)["spec"]
    assert standing["replicas"] == asked
    assert "priorityClassName" not in standing["template"]["spec"], "by which it would drive others from their nodes"


def test_a_daemon_set_is_held_by_a_label_that_no_node_has() -> None:
    one = of("DaemonSet", POD)
    assert arrived("daemonsets.apps", one)["spec"]["template"]["spec"]["nodeSelector"] == HELD
    assert not COPY.standing("daemonsets.apps", one)["spec"]["template"]["spec"].get("nodeSelector")


@pytest.mark.parametrize("resource", ["cronjobs.batch", "jobs.batch"])
def test_what_works_by_itself_is_suspended_and_stays_so(resource: str) -> None:
    one = of("CronJob", {"schedule": "0 2 * * *"})
    assert arrived(resource, one)["spec"]["suspend"] is True
    assert COPY.standing(resource, one)["spec"]["suspend"] is True
    assert not started(resource, one)


def test_nothing_outside_leads_to_a_service_of_the_copy() -> None:
    one = of(
        "Service", {"type": "LoadBalancer", "externalIPs": ["1.2.3.4"], "ports": [{"port": 80, "nodePort": 30080}]}
    )
    for found in (arrived("services", one), COPY.standing("services", one)):
        assert found["spec"] == {"type": "ClusterIP", "ports": [{"port": 80}]}


def test_a_claim_does_not_name_production_s_volume() -> None:
    one = of("PersistentVolumeClaim", {"volumeName": "disk-1", "storageClassName": "fast"})
    for found in (arrived("persistentvolumeclaims", one), COPY.standing("persistentvolumeclaims", one)):
        assert found["spec"] == {"storageClassName": "fast"}


def test_a_binding_is_the_copy_s_own() -> None:
    one = of("RoleBinding", subjects=[{"name": "api", "namespace": "app"}, {"name": "o", "namespace": "other"}])
    found = COPY.standing("rolebindings.rbac.authorization.k8s.io", one)
    assert [to["namespace"] for to in found["subjects"]] == ["app-drill", "other"]


def test_whatever_a_definition_makes_is_left_out() -> None:
    held = archive.read(
        archived(("customresourcedefinitions.apiextensions.k8s.io", {"metadata": {"name": "b.io"}})), "b"
    )
    assert {"b.io", "a.io", "ingresses.networking.k8s.io", "pods"} <= {*without(held, ["a.io"])}


PRODUCTION = Production((HOST, "127.0.0.1:5999", "10.0.0.7", "123456789012", "model.app", "pgbouncer.data"))


@pytest.mark.parametrize(
    ("one", "named"),
    [
        (of("ConfigMap", data={"url": f"x://{HOST.upper()}:1"}), {"data.url": HOST.upper()}),
        (of("ConfigMap", data={"url": f"x://my{HOST}"}), {}),
        (of("ConfigMap", data={"a": "10.0.0.7", "b": "10.0.0.71"}), {"data.a": "10.0.0.7"}),
        (of("ConfigMap", data={"a": "127.0.0.1:5999", "b": "127.0.0.1:59990"}), {"data.a": "127.0.0.1:5999"}),
        (of("ConfigMap", data={"a": "http://model.app.svc:1", "b": "model.app-drill"}), {"data.a": "model.app"}),
        (of("Secret", data={"url": encoded(IN_CLUSTER)}), {"data.url": "pgbouncer.data"}),
        (
            of("Secret", data={"c": encoded(json.dumps({"auths": {HOST: {"auth": encoded("a:b")}}}))}),
            {"data.c": HOST},
        ),
        (of("Secret", data={"c": encoded(f'{{"auth": "{encoded(HOST)}"}}')}), {"data.c": HOST}),
        (
            of("Deployment", {"template": {"spec": {"containers": [{"args": ["--db", HOST]}]}}}),
            {"spec.template.spec.containers[0].args[1]": HOST},
        ),
        (of("ServiceAccount", x={"arn": ROLE}), {"x.arn": ROLE}),
        (of("ConfigMap", data={"account": "123456789012"}), {}),
        (of("ConfigMap", data={HOST: "x"}), {f"data['{HOST}']": HOST}),
        (of("ConfigMap", status={"a": HOST}), {}),
    ],
)
def test_what_names_production_is_told_by_its_field(one: dict[str, Any], named: dict[str, str]) -> None:
    assert PRODUCTION.named(one) == named


def test_base64_is_looked_into_and_not_for_ever() -> None:
    text = "deep"
    for _ in range(9):
        text = encoded(text)
    assert len([*readings(text)]) <= 5


def test_what_a_backup_s_services_and_ingresses_are_reached_by() -> None:
    balanced = {"loadBalancer": {"ingress": [{"hostname": "lb.example"}, {"ip": "9.9.9.9"}]}}
    service = of("Service", {"clusterIP": "10.96.0.9", "externalIPs": ["1.2.3.4"]}, status=balanced)
    headless = {**of("Service", {"clusterIP": "None"}), "metadata": {"name": "h", "namespace": "app"}}
    ingress = of("Ingress", {"rules": [{"host": "a.example"}, {}], "tls": [{"hosts": ["b.example"]}]})
    other = {**of("Service", {}), "metadata": {"name": "s", "namespace": "kube-system"}}
    packed = archived(
        *(("services", one) for one in (service, headless, other)), ("ingresses.networking.k8s.io", ingress)
    )
    found = {*in_cluster(archive.read(packed, "b"), {"app"})}
    assert found == {"x.app", "h.app", "10.96.0.9", "1.2.3.4", "lb.example", "9.9.9.9", "a.example", "b.example"}
