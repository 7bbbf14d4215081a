"""The platform's manifests: files that ``kubectl apply`` takes, and what only a running lab knows of them.

``FILES`` in their order: the definitions first, which have to be established before the others are applied.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

DIRECTORY = Path(__file__).parent
FILES = tuple(sorted(DIRECTORY.glob("*.yaml")))
DEFINITIONS = DIRECTORY / "00-definitions.yaml"
SYSTEM, DATABASE, MONITORING = "readmission-system", "readmission-database", "readmission-monitoring"
NAMESPACES = (SYSTEM, MONITORING, DATABASE, "cert-manager", "ingress-nginx")
HOSTS = ("api.readmission-risk.org", "ui.readmission-risk.org")


def manifests(path: Path) -> list[dict[str, Any]]:
    """The objects of one file."""
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def pod_templates(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The kind and name of each workload among ``objects``, and the spec of its pods."""
    for one in objects:
        spec = one.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", {}).get("template") or spec.get("template")
        if template:
            yield f"{one['kind']} {one['metadata']['name']}", template["spec"]


def secret(
    name: str, values: Mapping[str, bytes | str], namespace: str = SYSTEM, kind: str = "Opaque"
) -> dict[str, Any]:
    """A Secret's manifest."""
    encoded = {
        key: base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
        for key, value in values.items()
    }
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "data": encoded}


def known_here(
    *,
    database_url: str,
    ca: bytes,
    token: str,
    artifacts: Mapping[str, str],
    tls: tuple[bytes, bytes],
    upstream: str,
) -> list[dict[str, Any]]:
    """What the manifests refer to and only a running lab knows, to be applied before the workloads.

    ``database_url``: the service's, whose host is PgBouncer's in the cluster, and ``ca`` what checks its certificate;
    ``token``: what the service asks for; ``artifacts``: variables by which boto3 reaches the bucket; ``tls``: the
    certificate and the key for ``HOSTS``; ``upstream``: where the lab's PgBouncer listens, HOST:PORT.
    """
    settings = {"name": "pgbouncer", "namespace": DATABASE}
    return [
        secret("readmission-database", {"url": database_url, "ca.crt": ca}),
        secret("readmission-api", {"token": token}),
        secret("readmission-artifacts", artifacts),
        secret("readmission-tls", {"tls.crt": tls[0], "tls.key": tls[1]}, kind="kubernetes.io/tls"),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": settings, "data": {"PORT": "5432", "UPSTREAM": upstream}},
    ]
