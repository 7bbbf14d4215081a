"""A certificate authority of a cluster, which stays able to issue: nodes and users come later."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dr.lab.servers.site import write_closed

NOWHERE = ("client.invalid",)
"""Of one that is no server: Go takes no certificate whose list of names is empty."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The files of a certificate with its chain, and of its key."""

    certificate: Path
    key: Path


class Authority:
    """One authority, its files in ``directory``. Everything there is closed to others."""

    def __init__(self, directory: Path) -> None:
        import trustme  # slow to import

        self._directory = directory
        self.own = Pair(directory / "ca.pem", directory / "ca.key")
        if self.own.key.exists():
            self._ca = trustme.CA.from_pem(self.own.certificate.read_bytes(), self.own.key.read_bytes())
            return
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._ca = trustme.CA(organization_name="dr lab")
        write_closed(self.own.certificate, self._ca.cert_pem.bytes().decode())
        write_closed(self.own.key, self._ca.private_key_pem.bytes().decode())

    def issue(self, file: str, user: str, group: str = "dr lab", hosts: tuple[str, ...] = NOWHERE) -> Pair:
        """A certificate in files named ``file``: of a ``user`` and its ``group``, as Kubernetes reads them, and of a
        server at ``hosts``. Raises OSError."""
        pair = Pair(self._directory / f"{file}.pem", self._directory / f"{file}.key")
        issued = self._ca.issue_cert(*hosts, common_name=user, organization_name=group)
        write_closed(pair.certificate, "".join(part.bytes().decode() for part in issued.cert_chain_pems))
        write_closed(pair.key, issued.private_key_pem.bytes().decode())
        return pair


def kubeconfig(server: str, authority: Pair, user: str, pair: Pair, context: str) -> str:
    """The text by which ``user`` reaches the API server at this URL; certificate and key stand in it."""

    def data(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": context,
                "cluster": {"server": server, "certificate-authority-data": data(authority.certificate)},
            }
        ],
        "users": [
            {
                "name": user,
                "user": {"client-certificate-data": data(pair.certificate), "client-key-data": data(pair.key)},
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": context, "user": user}}],
        "current-context": context,
    }
    return yaml.safe_dump(document, sort_keys=False)
