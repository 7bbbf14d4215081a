"""Every field of the platform's manifests is one that the API has: kubectl would refuse another, and where it is not
asked to, a misspelt one would say nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client

from dr.lab.cluster.platform import FILES, manifests

OBJECTS = [one for path in FILES for one in manifests(path)]
OPERATORS = ("cert-manager.io/", "monitoring.coreos.com/")
PLAIN = {"int": int, "bool": bool}


def unknown(value: Any, kind: str, path: str) -> Iterator[str]:
    """The paths that the client's own ``kind`` does not have, or whose values are of another type."""
    if each := re.fullmatch(r"List\[(.*)\]", kind):
        for number, part in enumerate(value):
            yield from unknown(part, each[1], f"{path}[{number}]")
    elif each := re.fullmatch(r"Dict\[str, (.*)\]", kind):
        for key, part in value.items():
            yield from unknown(part, each[1], f"{path}.{key}")
    elif hasattr(model := getattr(client, kind, None), "openapi_types"):
        names = {name: attribute for attribute, name in model.attribute_map.items()}
        for key, part in value.items():
            if key not in names:
                yield f"{path}.{key}"
            else:
                yield from unknown(part, model.openapi_types[names[key]], f"{path}.{key}")
    elif kind in PLAIN and not isinstance(value, PLAIN[kind]):
        yield f"{path}={value!r}"


@pytest.mark.parametrize(
    "found",
    [one for one in OBJECTS if not one["apiVersion"].startswith(OPERATORS)],
    ids=lambda one: f"{one['kind']}-{one['metadata']['name']}",
)
def test_every_field_is_one_of_the_api_s(found: dict[str, Any]) -> None:
    kind = f"{found['apiVersion'].rpartition('/')[2].capitalize()}{found['kind']}"
    assert hasattr(client, kind)
    assert list(unknown(found, kind, found["kind"])) == []


def test_a_misspelt_field_is_found() -> None:
    found = {"spec": {"replica": 1, "template": {"spec": {"containers": [{"name": "a", "imagePullPolicies": "x"}]}}}}
    wrong = ["D.spec.replica", "D.spec.template.spec.containers[0].imagePullPolicies"]
    assert list(unknown(found, "V1Deployment", "D")) == wrong
