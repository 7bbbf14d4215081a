"""What a target protects from its copies: where its database listens, and every address by which it is known."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import replace
from functools import partial

from dr.config.context import Context
from dr.config.plugins import plugins
from dr.domain.errors import ProviderError
from dr.domain.refs import Endpoint, on_loopback
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.velero.archive import Archive
from dr.drivers.velero.config import VeleroConfig
from dr.drivers.velero.copying import Copy
from dr.drivers.velero.production import Production, at, in_cluster, led_to
from dr.host.bounded import within

RESOLVE_SECONDS = 5.0
"""For the addresses of a host: a name server may be silent."""


class Protected:
    """That of ``context``'s target."""

    def __init__(self, context: Context) -> None:
        self._context, self._config = context, context.target.of(VeleroConfig)

    def whole(self, copy: Copy) -> Copy:
        """A copy, with what the target says of it."""
        config = self._config
        return replace(
            copy,
            database=copy.database or config.database,
            databases=tuple(map(at, self.endpoints())),
            instead=config.instead,
        )

    def production(self, held: Archive) -> Production:
        """What no copy of a backup may name."""
        sections = self._context.target.sections.values()
        urls = led_to(url for section in sections for url in section.endpoints())
        accounts = (pin for section in sections for name, pin in section.pins().items() if name == "account")
        own = in_cluster(held, {*self._context.target.of(KubernetesConfig).namespaces})
        there = self.endpoints()
        numbers = (number for one in there for number in self._numbers(one))
        return Production((*urls, *accounts, *own, *map(at, there), *numbers, *self._config.production))

    def endpoints(self) -> list[Endpoint]:
        """Where the database listens that the target protects, and its replicas."""
        found: list[Endpoint] = []
        for section in self._context.target.sections.values():
            if section.role:
                of = section.protects()
                refs = {of.ref, *map(of.named, of.replicas)}
                shown = plugins()[of.ref.provider].shows(self._context)
                found += [one.endpoint for one in shown if one.ref in refs and one.endpoint is not None]
        return found

    def _numbers(self, of: Endpoint) -> list[str]:
        """The IP addresses of a host, as far as they are known here."""
        if on_loopback(f"//{of.host}"):
            return []
        with suppress(OSError, ProviderError):
            asking = partial(socket.getaddrinfo, of.host, of.port, type=socket.SOCK_STREAM)
            found = within(self._context.clock, RESOLVE_SECONDS, f"the name {of.host}", asking)
            return [str(address[0]) for *_, address in found]
        return []
