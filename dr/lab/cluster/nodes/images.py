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
_IDLE = ("sleep", "infinity")
_HERE = {"HOST": "{address}"}
IMAGES = {
    "ghcr.io/health-ai/readmission-api:2.3.0": Image((sys.executable, "-m", "dr.lab.service"), _HERE),
    "busybox:1.37": Image(),
    "dr.lab/stand-in:1": Image(_STAND_IN, _HERE),
    "dr.lab/idle:1": Image(_IDLE),
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
