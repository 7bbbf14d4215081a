"""Which address leads to which pods, by Services, EndpointSlices and Ingresses. Pure."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from dr.lab.cluster.nodes.pools import loopback

Place: TypeAlias = tuple[str, int]
"""Address and port on loopback."""
Manifest: TypeAlias = Mapping[str, Any]
DOMAIN = "svc.cluster.local"
OWNER = "kubernetes.io/service-name"
PAIR = ("tls.crt", "tls.key")
"""What a Secret of the type kubernetes.io/tls holds."""


@dataclass(frozen=True, slots=True)
class Table:
    """``services``: where each Service's port is listened at, and the pods that are ready behind it. ``hosts``: each
    Ingress host, and its paths, the longest first, with theirs. ``names``: addresses, each with its names.
    ``certificates``: of each host that has one, the chain with its key, as PEM."""

    services: Mapping[Place, tuple[Place, ...]] = field(default_factory=dict)
    hosts: Mapping[str, tuple[tuple[str, tuple[Place, ...]], ...]] = field(default_factory=dict)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    certificates: Mapping[str, str] = field(default_factory=dict, repr=False)

    def backends(self, host: str, path: str) -> tuple[Place, ...] | None:
        """The pods that are ready for a request; None where no Ingress has its host or its path."""
        return next((pods for prefix, pods in self.hosts.get(host, ()) if _under(path, prefix)), None)

    def behind(self, full: str, port: int) -> tuple[Place, ...] | None:
        """The pods that are ready behind a port of the Service NAME.NAMESPACE; None where there is no such Service."""
        address = next((address for address, names in self.names.items() if full in names), "")
        return self.services.get((address, port))

    def hosts_file(self) -> str:
        """The names as a file like /etc/hosts."""
        return "".join(f"{address} {' '.join(names)}\n" for address, names in sorted(self.names.items()))


def _under(path: str, prefix: str) -> bool:
    """Whether a path is one of a prefix's, by whole elements."""
    return prefix == "/" or path == prefix or path.startswith(f"{prefix.rstrip('/')}/")


def service_address(cluster_ip: str, network: int) -> str:
    """Where a Service's address is listened at: labs that have the same addresses for their Services do not meet."""
    return f"127.{network}.{cluster_ip.split('.', 2)[2]}"


def table(
    services: Iterable[Manifest],
    slices: Iterable[Manifest],
    ingresses: Collection[Manifest],
    secrets: Iterable[Manifest],
    network: int,
) -> Table:
    """What leads where now. ``secrets``: those of certificates. ``network``: the second octet of the lab's own
    addresses for Services."""
    ready = _ready(slices)
    routed: dict[Place, tuple[Place, ...]] = {}
    named: dict[str, tuple[str, ...]] = {}
    behind: dict[tuple[str, str, int | str], tuple[Place, ...]] = {}
    for service in services:
        space, name = service["metadata"]["namespace"], service["metadata"]["name"]
        cluster_ip = service["spec"].get("clusterIP", "")
        for port in service["spec"].get("ports", []):
            pods = ready.get((space, name, port.get("name", "")), ())
            behind[space, name, port["port"]] = pods
            behind[space, name, port.get("name", "")] = pods
            if _routed(cluster_ip, port):
                routed[service_address(cluster_ip, network), port["port"]] = pods
        if _routed(cluster_ip):
            full = f"{name}.{space}"
            names = (cluster_ip, f"{full}.{DOMAIN}", f"{full}.svc", full)
            named[service_address(cluster_ip, network)] = names
    return Table(routed, _hosts(ingresses, behind), named, _certificates(ingresses, secrets))


def _routed(cluster_ip: str, port: Manifest | None = None) -> bool:
    return cluster_ip not in ("", "None") and ":" not in cluster_ip and (port or {}).get("protocol", "TCP") == "TCP"


def _ready(slices: Iterable[Manifest]) -> dict[tuple[str, str, str], tuple[Place, ...]]:
    """The pods that are ready, by namespace and name of the Service, and the port's name."""
    found: dict[tuple[str, str, str], dict[Place, None]] = {}
    for one in slices:
        name = one["metadata"].get("labels", {}).get(OWNER, "")
        for port in one.get("ports") or []:
            key = (one["metadata"]["namespace"], name, port.get("name") or "")
            places = found.setdefault(key, {})
            for endpoint in one.get("endpoints") or []:
                # Absent means ready; the API server's own endpoint is no pod, and is led to elsewhere.
                if endpoint.get("conditions", {}).get("ready") is not False and "targetRef" in endpoint:
                    places.update({(loopback(address), port["port"]): None for address in endpoint["addresses"]})
    return {key: tuple(places) for key, places in found.items()}


def _hosts(
    ingresses: Iterable[Manifest], behind: Mapping[tuple[str, str, int | str], tuple[Place, ...]]
) -> dict[str, tuple[tuple[str, tuple[Place, ...]], ...]]:
    found: dict[str, list[tuple[str, tuple[Place, ...]]]] = {}
    for ingress in ingresses:
        for rule in ingress["spec"].get("rules", []):
            for path in rule.get("http", {}).get("paths", []):
                service = path["backend"].get("service", {})
                port = service.get("port", {})
                key = (
                    ingress["metadata"]["namespace"],
                    service.get("name", ""),
                    port.get("number") or port.get("name"),
                )
                found.setdefault(rule.get("host", ""), []).append((path.get("path") or "/", behind.get(key, ())))
    return {host: tuple(sorted(paths, key=lambda pair: -len(pair[0]))) for host, paths in found.items()}


def _certificates(ingresses: Iterable[Manifest], secrets: Iterable[Manifest]) -> dict[str, str]:
    known = {(one["metadata"]["namespace"], one["metadata"]["name"]): one.get("data") or {} for one in secrets}
    found = {}
    for ingress in ingresses:
        for one in ingress["spec"].get("tls", []):
            data = known.get((ingress["metadata"]["namespace"], one.get("secretName", "")), {})
            pair = "".join(base64.b64decode(data.get(name, "")).decode("ascii", "replace") for name in PAIR)
            found.update(dict.fromkeys(one.get("hosts", []), pair) if pair else {})
    return found
