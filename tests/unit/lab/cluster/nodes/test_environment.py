"""A container's environment and command line, and its volumes."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from dr.lab.cluster.nodes import environment, volumes
from dr.lab.cluster.nodes.environment import Image, Missing
from dr.lab.cluster.nodes.volumes import File, Laid, Token
from tests.unit.lab.cluster.nodes.pod import container, pod

SECRET = {"data": {"password": base64.b64encode(b"s3cret").decode()}}
OBJECTS: dict[environment.Key, Any] = {
    ("configmaps", "settings"): {"data": {"HOST": "db", "odd name": "x"}, "binaryData": {"B": "AAE="}},
    ("secrets", "login"): SECRET,
    ("secrets", "gone"): None,
}


def variables(**fields: Any) -> dict[str, str]:
    one = container(**fields)
    return environment.variables(pod(one), one, OBJECTS, {"PATH": "/bin"})


def test_variables_come_from_config_maps_secrets_fields_and_values() -> None:
    found = variables(
        envFrom=[{"prefix": "DB_", "configMapRef": {"name": "settings"}}],
        env=[
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "URL", "value": "postgresql://$(PASSWORD)@$(DB_HOST)/$(NOBODY)$$(POD)"},
        ],
    )
    assert found == {
        "PATH": "/bin",
        "DB_HOST": "db",
        "DB_B": "\x00\x01",
        "PASSWORD": "s3cret",
        "POD": "api-1",
        "APP": "api",
        "URL": "postgresql://s3cret@db/$(NOBODY)$(POD)",
    }


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"envFrom": [{"secretRef": {"name": "gone"}}]}, 'secret "gone" not found'),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "login", "key": "x"}}}]},
            "key x in secret",
        ),
        ({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]}, "fieldPath spec.x"),
    ],
)
def test_what_is_not_there_is_named_and_no_secret_with_it(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(Missing, match=why) as caught:
        variables(**fields)
    assert "s3cret" not in str(caught.value)


def test_what_is_optional_may_be_missing() -> None:
    source = {"secretKeyRef": {"name": "gone", "key": "x", "optional": True}}
    found = variables(
        envFrom=[{"secretRef": {"name": "gone", "optional": True}}], env=[{"name": "A", "valueFrom": source}]
    )
    assert found == {"PATH": "/bin"}


def test_services_of_the_namespace_are_told_as_kubelets_tell_them() -> None:
    service = {"metadata": {"name": "readmission-model"}, "spec": {"clusterIP": "10.0.0.9", "ports": [{"port": 8001}]}}
    headless = {"metadata": {"name": "x"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}}
    assert environment.links([service, headless]) == {
        "READMISSION_MODEL_SERVICE_HOST": "10.0.0.9",
        "READMISSION_MODEL_SERVICE_PORT": "8001",
    }


def test_a_command_replaces_the_image_s_and_arguments_follow_it() -> None:
    image = Image(("serve", "{address}"))

    def line(**fields: Any) -> list[str]:
        return environment.command(container(**fields), image, {"A": "1"}, "127.9.1.2")

    assert line() == ["serve", "127.9.1.2"]
    assert line(args=["-v"]) == ["serve", "127.9.1.2", "-v"]
    assert line(command=["sh"], args=["-c", "$(A)"]) == ["sh", "-c", "1"]


def test_an_image_that_the_lab_does_not_have_is_named() -> None:
    with pytest.raises(Missing, match="readmission-api:9"):
        environment.image_of({"name": "api", "image": "readmission-api:9"}, {})


def test_references_are_those_of_all_containers_once() -> None:
    one = container(envFrom=[{"secretRef": {"name": "login"}}, {"configMapRef": {"name": "settings"}}])
    first = container("first", env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "login", "key": "k"}}}])
    found = environment.references(pod(one, initContainers=[first]))
    assert found == [("secrets", "login"), ("configmaps", "settings")]


# -- volumes


def laid(**volume: Any) -> Laid:
    return volumes.laid(pod(), {"name": "v", **volume}, OBJECTS)


def test_a_secret_is_laid_by_its_keys_or_by_the_items_that_are_asked_for() -> None:
    assert laid(secret={"secretName": "login", "defaultMode": 0o400}).files == (File("password", b"s3cret", 0o400),)
    item = {"key": "password", "path": "a/b", "mode": 0o440}
    assert laid(secret={"secretName": "login", "items": [item]}).files == (File("a/b", b"s3cret", 0o440),)
    with pytest.raises(Missing, match="non-existent key x"):
        laid(secret={"secretName": "login", "items": [{"key": "x", "path": "x"}]})


def test_an_account_s_token_is_asked_for_and_the_rest_lies_beside_it() -> None:
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 600, "path": "token"}},
        {"configMap": {"name": "settings", "items": [{"key": "HOST", "path": "host"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    found = laid(projected={"defaultMode": 0o644, "sources": sources})
    assert found.tokens == (Token("token", 600),)
    assert [(file.path, file.data) for file in found.files] == [("host", b"db"), ("namespace", b"readmission-system")]


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        (None, "not found"),
        ({"status": {"phase": "Pending"}, "spec": {}}, "is not bound"),
    ],
)
def test_a_claim_that_is_not_bound_is_waited_for(claim: Any, why: str) -> None:
    with pytest.raises(Missing, match=why):
        volumes.laid(
            pod(),
            {"name": "v", "persistentVolumeClaim": {"claimName": "data"}},
            {("persistentvolumeclaims", "data"): claim},
        )


def test_a_claim_leads_to_the_directory_of_its_volume() -> None:
    claim = {"status": {"phase": "Bound"}, "spec": {"volumeName": "pv-1"}}
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    found = volumes.laid(pod(), volume, {("persistentvolumeclaims", "data"): claim})
    assert volumes.named(found, Path("/pod"), Path("/disks"), Path("/logs")) == Path("/disks/pv-1")


@pytest.mark.parametrize(
    ("value", "led"),
    [
        ("/models", "/d/m"),
        ("/models/a.json", "/d/m/a.json"),
        ("--ca=/models/ca.pem", "--ca=/d/m/ca.pem"),
        ("x /models:/models/deep/y", "x /d/m:/d/deep/y"),
        ("cat >/models/x", "cat >/d/m/x"),
        ("/models2", "/models2"),
        ("/models.old/x", "/models.old/x"),
        ("http://host/models", "http://host/models"),
        ("/srv/models", "/srv/models"),
    ],
)
def test_a_path_under_a_mount_is_led_to_where_it_lies(value: str, led: str) -> None:
    one = container(
        volumeMounts=[{"name": "m", "mountPath": "/models"}, {"name": "deep", "mountPath": "/models/deep/"}]
    )
    mounted = volumes.mounts(one, {"m": Path("/d/m"), "deep": Path("/d/deep")})
    assert volumes.at(value, mounted) == led


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", ""])
def test_a_file_that_would_lie_outside_its_volume_is_told(path: str) -> None:
    assert volumes.outside(File(path, b""))
    assert not volumes.outside(File("a/b..c", b""))
