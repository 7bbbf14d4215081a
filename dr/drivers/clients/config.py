"""What a target says of what leads its database's clients."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dr.config.model import Login, Section, Target
from dr.domain.refs import Endpoint
from dr.drivers.kubernetes.kubeconfig import servers


class PoolerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PgBouncer in front of the databases, as clients and its administrator reach it."""

    host: str
    port: int
    entry: str
    """The entry that leads to the primary: the database that clients name, and what a promotion leads elsewhere."""
    admin: Login
    """Of the console."""
    configuration: str
    """The file with the entries, as this machine sees it: an entry is moved there, then PgBouncer is told to reload."""
    console: str = "pgbouncer"
    """The console's database."""
    reads: tuple[str, ...] = ()
    """Entries that lead to the replicas, in the order of the target's ``replicas``."""
    ca: str = ""
    """CA bundle for sslmode=verify-full; empty: the database's."""

    def __post_init__(self) -> None:
        """libpq takes an IPv6 address without the brackets that it has in a URL."""
        if self.host.startswith("[") and self.host.endswith("]"):
            msgspec.structs.force_setattr(self, "host", self.host[1:-1])

    @property
    def address(self) -> Endpoint:
        """Where it listens."""
        return Endpoint(self.host, self.port)


class SecretConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The Kubernetes Secret that tells the service where the database is."""

    kubeconfig: str
    context: str
    """Of the kubeconfig: the ambient one is not looked at."""
    namespace: str
    name: str
    cluster: str = ""
    """The UID of the cluster's namespace kube-system, by which the cluster is known. Empty: nothing is changed."""
    host_key: str = "host"
    port_key: str = "port"
    """Empty, or absent from the Secret: 5432."""
    url_key: str = ""
    """A key with a URL of both, instead of the two."""
    restart: tuple[str, ...] = ()
    """Deployments that read it when they start, and are restarted after a change."""


class ClientsConfig(Section, frozen=True, forbid_unknown_fields=True):
    """What leads the database's clients to the primary."""

    pooler: PoolerConfig | None = None
    """Absent: clients go to the database directly."""
    secret: SecretConfig | None = None
    """Absent: nothing in a cluster is to be changed when a replica takes the source's place."""

    def pins(self) -> Mapping[str, str]:
        return {"cluster": self.secret.cluster} if self.secret is not None and self.secret.cluster else {}

    def endpoints(self) -> tuple[str, ...]:
        """Raises RefusedError where the kubeconfig does not say where the Secret's cluster is."""
        pooler = (f"tcp://{self.pooler.address}",) if self.pooler is not None else ()
        return (*pooler, *(servers(self.secret.kubeconfig, self.secret.context) if self.secret is not None else ()))


def pooler_of(target: Target) -> PoolerConfig | None:
    """What clients reach the databases through; None where they go there directly."""
    clients = target.section(ClientsConfig)
    return clients.pooler if clients is not None else None


def secret_of(target: Target) -> SecretConfig | None:
    """What tells the service in a cluster where the database is, where anything does."""
    clients = target.section(ClientsConfig)
    return clients.secret if clients is not None else None
