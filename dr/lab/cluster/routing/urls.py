"""Where each Ingress host is served, as the router tells it in a file."""

from __future__ import annotations

from pathlib import Path

import msgspec

from dr.domain.errors import RefusedError
from dr.host.decode import content, line_of

SERVICES = "services"
"""Beside the hosts: the URL by which any Service is reached, followed by /NAMESPACE/NAME/PORT and the path there."""


class Urls(msgspec.Struct, frozen=True):
    """Those of one host. Plain HTTP is for whoever measures; with TLS it shows the certificate of the Ingress."""

    http: str = ""
    https: str = ""


_TOLD = msgspec.json.Decoder(dict[str, Urls])


def read_urls(path: Path) -> dict[str, Urls]:
    """By host; none before the router has told. Raises RefusedError where the file cannot be read."""
    found = content(path, error=RefusedError)
    return (line_of(found, _TOLD) if found is not None else None) or {}
