"""What stands for each image of the platform: a program of this machine. An image that is not here cannot be pulled."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec

from dr.domain.errors import UsageError
from dr.host.decode import content
from dr.lab.cluster.nodes.environment import Image

_STAND_IN = (sys.executable, "-m", "dr.lab.cluster.stand_in")
_HERE = {"HOST": "{address}"}
STAND_INS = (
    "ghcr.io/health-ai/readmission-ui:2.3.0",
    "quay.io/jetstack/cert-manager-controller:v1.21.0",
    "registry.k8s.io/ingress-nginx/controller:v1.13.0",
    "quay.io/prometheus/prometheus:v3.7.0",
    "dr.lab/stand-in:1",
)
"""Images whose programs the lab does not have: something that answers 200 stands for each."""
IMAGES = {
    "ghcr.io/health-ai/readmission-api:2.3.0": Image((sys.executable, "-m", "dr.lab.service"), _HERE),
    "ghcr.io/health-ai/readmission-model:2.3.0": Image((sys.executable, "-m", "dr.lab.service.model_server"), _HERE),
    # It leads to the lab's PgBouncer, which is one process for all.
    "ghcr.io/health-ai/pgbouncer:1.18.0": Image((sys.executable, "-m", "dr.lab.cluster.forward"), _HERE),
    "ghcr.io/health-ai/database-tools:2.3.0": Image(("true",)),
    "cr.fluentbit.io/fluent/fluent-bit:4.1.0": Image(("sleep", "infinity")),
    "busybox:1.37": Image(),
    **{name: Image(_STAND_IN, _HERE) for name in STAND_INS},
}


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    entry: Annotated[tuple[str, ...], msgspec.Meta(max_length=100)] = ()
    environment: dict[str, str] = {}
    account: bool = False


def read(path: Path) -> dict[str, Image]:
    """Further images, by name, from a JSON file. Raises UsageError where it cannot be read."""
    found = content(path, error=UsageError, hint="Name another file.")
    try:
        entries = msgspec.json.decode(found or b"", type=dict[str, _Entry])
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path} is no table of images: {error}.") from None
    return {name: Image(one.entry, one.environment, one.account) for name, one in entries.items()}
