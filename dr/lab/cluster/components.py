"""The processes of a control plane, each with its flags and how it shows that it works."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import urllib3

from dr.lab.beside.companion import Companion, Program
from dr.lab.cluster.authority import Pair
from dr.lab.servers.binaries import Account
from dr.lab.servers.site import Site

LOOPBACK = "127.0.0.1"
SERVICES = "10.96.0.0/16"
"""Addresses of Services."""
ISSUER = "https://kubernetes.default.svc.cluster.local"
MONITOR = 5.0
"""Seconds between two looks of the node controller at all nodes, by default."""
ANSWER_LIMIT = 2.0
START_LIMIT = 120.0
"""Seconds that a component may take on a machine that has others to serve."""


@dataclass(frozen=True, slots=True)
class Papers:
    """The certificates of a control plane. etcd has an authority of its own, so that no user of the cluster is one of
    etcd's."""

    authority: Pair
    server: Pair
    client: Pair
    """The API server's own, to kubelets."""
    accounts: Pair
    """What signs the tokens of ServiceAccounts."""
    etcd_authority: Pair
    etcd_server: Pair
    etcd_client: Pair


class Component(Companion):
    """One process of a control plane, which runs as whoever runs the lab: the cache of programs is theirs."""

    ready_limit = START_LIMIT
    path: ClassVar[str]
    """Where it says over HTTPS that it works."""

    def __init__(self, site: Site, program: Path, directory: Path, port: int, papers: Papers) -> None:
        super().__init__(site, Program(program, ""), directory, port)
        self.url = f"https://{LOOPBACK}:{port}"
        self.papers = papers

    @property
    def kubeconfig(self) -> Path:
        """By which it reaches the API."""
        return self.directory / f"{self.title}.kubeconfig"

    @property
    def account(self) -> Account | None:
        return None

    @property
    def configuration(self) -> Path:
        return self.directory

    def flags(self) -> Mapping[str, object]:
        raise NotImplementedError

    def command(self) -> list[str]:
        return [str(self._program.path), *(f"--{name}={value}" for name, value in self.flags().items())]

    def answers(self) -> bool:
        return self.asked(self.path)[0] == 200

    def asked(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET of ``path``, as the client that may; (0, b""): no answer."""
        authority, client = self._identities()
        with (
            suppress(urllib3.exceptions.HTTPError),
            urllib3.PoolManager(
                ca_certs=str(authority.certificate), cert_file=str(client.certificate), key_file=str(client.key)
            ) as pool,
        ):
            answer = pool.request("GET", f"{self.url}{path}", timeout=ANSWER_LIMIT, retries=False)
            return answer.status, answer.data
        return 0, b""

    def _identities(self) -> tuple[Pair, Pair]:
        """The authority of its certificate, and the client as whom it is asked."""
        return self.papers.authority, self.papers.client


class Etcd(Component):
    """The store. ``peers``: a port that nobody but itself uses."""

    title = "etcd"
    path = "/health"

    def __init__(self, site: Site, program: Path, directory: Path, port: int, papers: Papers, peers: int) -> None:
        super().__init__(site, program, directory, port, papers)
        self._peers = f"https://{LOOPBACK}:{peers}"

    def flags(self) -> Mapping[str, object]:
        papers = self.papers
        files = {
            "cert-file": papers.etcd_server.certificate,
            "key-file": papers.etcd_server.key,
            "trusted-ca-file": papers.etcd_authority.certificate,
            "client-cert-auth": "true",
        }
        return {
            "name": "lab",
            "data-dir": self.directory / "etcd",
            "listen-client-urls": self.url,
            "advertise-client-urls": self.url,
            "listen-peer-urls": self._peers,
            "initial-advertise-peer-urls": self._peers,
            "initial-cluster": f"lab={self._peers}",
            **files,
            **{f"peer-{name}": value for name, value in files.items()},
            "unsafe-no-fsync": "true",  # what it holds goes with the lab
            "logger": "zap",
            "log-level": "warn",
        }

    def _identities(self) -> tuple[Pair, Pair]:
        return self.papers.etcd_authority, self.papers.etcd_client


class ApiServer(Component):
    """The API, its objects in the etcd at the URL ``store``."""

    title = "kube-apiserver"
    path = "/readyz"

    def __init__(
        self, site: Site, program: Path, directory: Path, port: int, papers: Papers, store: str, toleration: int
    ) -> None:
        super().__init__(site, program, directory, port, papers)
        self._store = store
        self._toleration = toleration

    def flags(self) -> Mapping[str, object]:
        papers = self.papers
        return {
            "etcd-servers": self._store,
            "default-not-ready-toleration-seconds": self._toleration,
            "default-unreachable-toleration-seconds": self._toleration,
            "etcd-cafile": papers.etcd_authority.certificate,
            "etcd-certfile": papers.etcd_client.certificate,
            "etcd-keyfile": papers.etcd_client.key,
            "bind-address": LOOPBACK,
            "advertise-address": LOOPBACK,
            "secure-port": self.port,
            "endpoint-reconciler-type": "none",  # its address is a loopback one, which no EndpointSlice may hold
            "anonymous-auth": "false",
            "authorization-mode": "Node,RBAC",
            "client-ca-file": papers.authority.certificate,
            "tls-cert-file": papers.server.certificate,
            "tls-private-key-file": papers.server.key,
            "kubelet-client-certificate": papers.client.certificate,
            "kubelet-client-key": papers.client.key,
            "kubelet-preferred-address-types": "InternalIP",
            "service-account-issuer": ISSUER,
            "service-account-key-file": papers.accounts.certificate,
            "service-account-signing-key-file": papers.accounts.key,
            "service-cluster-ip-range": SERVICES,
            "allow-privileged": "true",
            "profiling": "false",
        }


class Controllers(Component):
    """Every controller but the one that hands out ranges of addresses to nodes."""

    title = "kube-controller-manager"
    path = "/healthz"

    def __init__(self, site: Site, program: Path, directory: Path, port: int, papers: Papers, grace: float) -> None:
        super().__init__(site, program, directory, port, papers)
        self._grace = grace

    def flags(self) -> Mapping[str, object]:
        papers = self.papers
        return {
            **_of_manager(self),
            "controllers": "*,-nodeipam",
            "node-monitor-grace-period": f"{self._grace:g}s",
            "node-monitor-period": f"{min(MONITOR, self._grace / 4):g}s",
            "use-service-account-credentials": "true",
            "service-account-private-key-file": papers.accounts.key,
            "root-ca-file": papers.authority.certificate,
            "cluster-signing-cert-file": papers.authority.certificate,
            "cluster-signing-key-file": papers.authority.key,
            "service-cluster-ip-range": SERVICES,
        }


class Scheduler(Component):
    title = "kube-scheduler"
    path = "/healthz"

    def flags(self) -> Mapping[str, object]:
        return _of_manager(self)


def _of_manager(one: Component) -> Mapping[str, object]:
    """What those that work through the API have in common. There is one of each, which need not lead."""
    return {
        "kubeconfig": one.kubeconfig,
        "bind-address": LOOPBACK,
        "secure-port": one.port,
        "tls-cert-file": one.papers.server.certificate,
        "tls-private-key-file": one.papers.server.key,
        "leader-elect": "false",
        "profiling": "false",
    }
