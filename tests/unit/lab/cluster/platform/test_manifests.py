"""The platform's manifests: whole, honoured by the lab's nodes, and of images that the lab has."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from dr.lab.cluster.nodes.environment import all_containers, references
from dr.lab.cluster.nodes.fields import refused
from dr.lab.cluster.nodes.images import IMAGES
from dr.lab.cluster.nodes.volumes import references as volumes_of
from dr.lab.cluster.platform import DEFINITIONS, FILES, NAMESPACES, known_here, manifests, pod_templates

OBJECTS = [one for path in FILES for one in manifests(path)]
WORKLOADS = dict(pod_templates(OBJECTS))
HERE = known_here(
    database_url="postgresql://a:secret@b/c",
    ca=b"ca",
    token="t",
    artifacts={"AWS_ACCESS_KEY_ID": "k"},
    tls=(b"c", b"k"),
    upstream="127.0.0.1:6432",
)


def one(kind: str, name: str) -> dict[str, Any]:
    return next(found for found in OBJECTS if (found["kind"], found["metadata"]["name"]) == (kind, name))


def named(objects: list[dict[str, Any]], kind: str) -> set[tuple[str, str]]:
    return {
        (found["metadata"].get("namespace", ""), found["metadata"]["name"])
        for found in objects
        if found["kind"] == kind
    }


def test_definitions_come_first_and_namespaces_are_the_platform_s() -> None:
    assert FILES[0] == DEFINITIONS
    assert {name for _, name in named(OBJECTS, "Namespace")} == set(NAMESPACES)
    spaces = {found["metadata"]["namespace"] for found in OBJECTS if "namespace" in found["metadata"]}
    assert spaces == set(NAMESPACES)


def test_no_object_stands_there_twice() -> None:
    keys = [(found["kind"], found["metadata"].get("namespace"), found["metadata"]["name"]) for found in OBJECTS]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_field_of_a_workload_is_honoured_and_its_images_are_there(workload: str) -> None:
    spec = WORKLOADS[workload]
    assert refused({"spec": spec}) == ()
    assert {container["image"] for container in all_containers({"spec": spec})} <= set(IMAGES)


@pytest.mark.parametrize(
    "found", [one for one in OBJECTS if list(pod_templates([one]))], ids=lambda one: one["metadata"]["name"]
)
def test_what_a_workload_refers_to_is_among_the_manifests_or_made_by_the_lab(found: dict[str, Any]) -> None:
    ((_, spec),) = pod_templates([found])
    space = found["metadata"]["namespace"]
    kinds = {"configmaps": "ConfigMap", "secrets": "Secret", "persistentvolumeclaims": "PersistentVolumeClaim"}
    for kind, name in (*references({"spec": spec}), *volumes_of({"spec": spec})):
        assert (space, name) in named([*OBJECTS, *HERE], kinds[kind])
    account = spec.get("serviceAccountName")
    assert account is None or (space, account) in named(OBJECTS, "ServiceAccount")


def test_every_service_selects_a_workload_of_its_namespace_and_names_its_ports() -> None:
    for service in (found for found in OBJECTS if found["kind"] == "Service"):
        space, wanted = service["metadata"]["namespace"], service["spec"]["selector"]
        templates = [
            found["spec"]["template"]
            for found in OBJECTS
            if "template" in found.get("spec", {})
            and found["metadata"]["namespace"] == space
            and wanted.items() <= found["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert len(templates) == 1, service["metadata"]["name"]
        ports = {port.get("name") for part in templates[0]["spec"]["containers"] for port in part["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_the_application_is_as_large_as_the_platform_says() -> None:
    assert one("Deployment", "readmission-api")["spec"]["replicas"] == 3
    model = one("Deployment", "readmission-model")["spec"]
    assert model["replicas"] == 2
    (container,) = model["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_kinds_of_operators_have_their_definitions() -> None:
    defined = {found["spec"]["names"]["kind"] for found in manifests(DEFINITIONS)}
    groups = ("cert-manager.io/", "monitoring.coreos.com/")
    assert {found["kind"] for found in OBJECTS if found["apiVersion"].startswith(groups)} == defined


def test_what_only_a_lab_knows_is_encoded_as_secrets_are() -> None:
    data = next(found for found in HERE if found["metadata"]["name"] == "readmission-database")["data"]
    assert base64.b64decode(data["url"]) == b"postgresql://a:secret@b/c"
