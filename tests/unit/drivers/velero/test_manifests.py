"""What differs between two versions of a cluster's object, and what may stand after a restore."""

from __future__ import annotations

from typing import Any

import pytest

from dr.drivers.velero import manifests
from dr.drivers.velero.manifests import NOTHING, content, differing, stands, told, version

DEPLOYMENT: dict[str, Any] = {
    "metadata": {
        "name": "api",
        "uid": "1",
        "labels": {"app": "api", "velero.io/restore-name": "r"},
        "annotations": {"deployment.kubernetes.io/revision": "3"},
    },
    "spec": {"replicas": 5, "template": {"spec": {"containers": [{"name": "a", "image": "x:1"}]}}},
    "status": {"replicas": 5},
}


def test_what_belongs_to_one_creation_and_what_is_reported_is_no_content() -> None:
    held = content(DEPLOYMENT, ("velero.io/restore-name",))
    assert held["metadata"] == {
        "name": "api",
        "labels": {"app": "api"},
        "annotations": {"deployment.kubernetes.io/revision": "3"},
    }
    assert "status" not in held


def test_what_holds_nothing_but_its_name_is_bare() -> None:
    assert manifests.is_bare(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "uid": "1"}}
    )
    assert not manifests.is_bare({"metadata": {"name": "a"}, "secrets": []})
    assert not manifests.is_bare({"metadata": {"name": "a", "labels": {"b": "c"}}})


@pytest.mark.parametrize(
    ("one", "other", "paths"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ["a.b"]),
        ({"a": [1, {"b": 1}]}, {"a": [1, {"b": 2}]}, ["a[1].b"]),
        ({"a": [1]}, {"a": [1, 2]}, ["a"]),
        ({}, {"a": 0}, ["a"]),
        ({}, {"a": {}}, []),
        ({"a": None}, {"a": ""}, []),
        ({"a": False}, {}, ["a"]),
        ({"a": {"x.io/y": "1"}}, {"a": {"x.io/y": "2"}}, ["a['x.io/y']"]),
    ],
)
def test_each_field_that_differs_is_told_by_its_path(one: Any, other: Any, paths: list[str]) -> None:
    assert [told(path) for path in differing(one, other)] == paths


@pytest.mark.parametrize(
    ("resource", "status", "finished"),
    [
        ("pods", {"phase": "Succeeded"}, True),
        ("pods", {"phase": "Failed"}, True),
        ("pods", {"phase": "Running"}, False),
        ("jobs.batch", {"completionTime": "t"}, True),
        ("jobs.batch", {"failed": 1}, False),
        ("things.example.org", {"phase": "Succeeded", "completionTime": "t"}, False),
        ("pods", None, False),
    ],
)
def test_pods_and_jobs_run_to_their_end(resource: str, status: dict[str, Any] | None, finished: bool) -> None:
    assert manifests.is_finished(resource, {"status": status}) is finished


def test_a_version_is_told_by_the_fields_that_differ_and_holds_no_value() -> None:
    secret = {"data": {"password": "aHVzaA=="}}
    one = version(secret, [("data", "password")])
    assert version(secret, []) == ""
    assert one != version({"data": {"password": "b2xk"}}, [("data", "password")])
    assert "aHVzaA" not in one


def test_a_value_is_set_and_taken_away() -> None:
    held = {"a": [{"b": 1}, {"c": 2}], "d": 3}
    assert manifests.with_value(held, ("a", 1, "c"), 4) == {"a": [{"b": 1}, {"c": 4}], "d": 3}
    assert manifests.with_value(held, ("d",), NOTHING) == {"a": [{"b": 1}, {"c": 2}]}
    assert held["d"] == 3


@pytest.mark.parametrize(
    ("copy", "lost", "outcome"),
    [
        ("", "", "proven"),
        (None, "", "wrong"),
        ("x", "", "wrong"),
        ("", "x", "either"),
        ("x", "x", "either"),
        ("y", "x", "unknown"),
        (None, "x", "wrong"),
        (None, None, "unknown"),
        ("", None, "either"),
    ],
)
def test_what_changed_between_backup_and_loss_may_stand_in_either_version(
    copy: str | None, lost: str | None, outcome: str
) -> None:
    found = stands("", copy, lost)
    told_by = {
        "proven": found.proven == 1 and not found.either,
        "either": found.either == 1,
        "unknown": found.unknown == 1,
        "wrong": bool(found.wrong),
    }
    assert told_by == {name: name == outcome for name in told_by}
