"""By which addresses production is known, and where an object names one. Pure.

An address is a host, an IP address, or the number of an account, which stands for every ARN of it. On loopback a host
alone says nothing, so that it is one with its port.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from dr.domain.refs import Endpoint, on_loopback
from dr.drivers.velero.archive import Archive
from dr.drivers.velero.manifests import Object, Path, content, told

ADDED = ("velero.io/backup-name", "velero.io/restore-name")
"""Labels that Velero puts on all that it restores."""
_TOKEN = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
DEPTH = 3
"""How often what was in base64 is looked into again: a Secret's value, a login of a registry in it, and one more."""


def at(endpoint: Endpoint) -> str:
    """The address of what listens there."""
    return _address(endpoint.host, endpoint.port)


def led_to(urls: Iterable[str]) -> Iterator[str]:
    """The addresses that URLs lead to."""
    for url in urls:
        parts = urlsplit(url)
        if parts.hostname:
            yield _address(parts.hostname, parts.port)


def _address(host: str, port: int | None) -> str:
    return f"{host}:{port}" if port is not None and on_loopback(f"//{host}") else host


def in_cluster(held: Archive, namespaces: Collection[str]) -> Iterator[str]:
    """Those by which a backup's Services and Ingresses of ``namespaces`` are reached."""
    for (resource, space, name), one in held.objects.items():
        if space not in namespaces:
            continue
        spec, balanced = one.get("spec") or {}, ((one.get("status") or {}).get("loadBalancer") or {}).get("ingress")
        if resource == "services":
            yield f"{name}.{space}"
            yield from (ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP") or "None"] if ip != "None")
            yield from spec.get("externalIPs") or ()
        elif resource == "ingresses.networking.k8s.io":
            yield from (rule["host"] for rule in spec.get("rules") or () if rule.get("host"))
            yield from (host for tls in spec.get("tls") or () for host in tls.get("hosts") or ())
        else:
            continue
        yield from (str(to[key]) for to in balanced or () for key in ("hostname", "ip") if to.get(key))


def pattern(address: str) -> str:
    """What of a text names an address, as a regular expression; ``account`` numbers as part of an ARN alone."""
    if re.fullmatch(r"[0-9]{12}", address):
        return rf"arn:[\w-]*:[\w-]*:[\w-]*:{address}:[^\s\"',]*"
    edge = r"(?<![\w.:-])" if ":" in address and not _is_ip(address) else r"(?<![\w.-])"
    return rf"{edge}{re.escape(address)}(?![\w-])"


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class Production:
    """All of production's addresses."""

    def __init__(self, addresses: Iterable[str]) -> None:
        known = sorted({one.lower() for one in addresses if one})
        self._patterns = {one: re.compile(pattern(one), re.IGNORECASE) for one in known}

    def named(self, one: Object) -> dict[str, str]:
        """The fields of an object that name production, each with the address as it stands there."""
        found: dict[str, str] = {}
        for path, text in _texts(content(one, ADDED)):
            seen = next((hit for reading in readings(text) if (hit := self._in(reading))), "")
            if seen:
                found.setdefault(told(path), seen)
        return found

    def _in(self, text: str) -> str:
        lower = text.lower()
        hits = (found.search(text) for address, found in self._patterns.items() if address in lower)
        return next((hit[0] for hit in hits if hit), "")


def readings(text: str, depth: int = DEPTH) -> Iterator[str]:
    """A text, and each that it holds in base64."""
    yield text
    for token in _TOKEN.findall(text) if depth else ():
        decoded = plain(token)
        if decoded:
            yield from readings(decoded, depth - 1)


def plain(encoded: str) -> str:
    """The text that stands in base64; "" where none does."""
    usual = encoded.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        found = base64.b64decode(usual + "=" * (-len(usual) % 4), validate=True).decode()
    except ValueError:
        return ""
    return found if all(one.isprintable() or one.isspace() for one in found) else ""


def _texts(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every text of an object, names of fields among them, by its path."""
    if isinstance(value, Mapping):
        for key, held in value.items():
            yield (*path, key), key
            yield from _texts(held, (*path, key))
    elif isinstance(value, list | tuple):
        for place, held in enumerate(value):
            yield from _texts(held, (*path, place))
    elif isinstance(value, str):
        yield path, value
