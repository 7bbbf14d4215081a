"""What stands beside the lab's servers: PgBouncer in front of them, Prometheus on the service; or why they do not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dr.domain.errors import RefusedError
from dr.lab.beside import companion, pgbouncer, prometheus
from dr.lab.beside.companion import Companion
from dr.lab.beside.pgbouncer import Entry, PgBouncer
from dr.lab.beside.prometheus import Prometheus
from dr.lab.platform.roles import ROLES, password
from dr.lab.servers.site import Site, free_port
from dr.lab.target import DATABASE


class Beside:
    """Both, each where its program is installed."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.pooler: PgBouncer | None = None
        self.prometheus: Prometheus | None = None
        self.absent: tuple[str, ...] = ()
        """A sentence for each that is not installed."""

    def pool(self, ports: Mapping[str, int]) -> None:
        """Start PgBouncer, its entries leading to these endpoints. Raises ProviderError."""
        program = pgbouncer.find(self._site)
        if program is None:
            self.absent += (pgbouncer.WITHOUT,)
            return
        secrets = self._site.directory / "secrets"
        passwords = {role: password(secrets, role) for role in ROLES}
        directory = self._site.directory / pgbouncer.NAME
        self.pooler = PgBouncer(self._site, program, directory, free_port(), passwords)
        self.pooler.start({name: Entry("127.0.0.1", port, DATABASE) for name, port in ports.items()})

    def scrape(self, service: str) -> None:
        """Start Prometheus on the service at this URL. Raises ProviderError."""
        program = prometheus.find(self._site)
        if program is None:
            self.absent += (prometheus.WITHOUT,)
            return
        directory = self._site.directory / prometheus.NAME
        self.prometheus = Prometheus(self._site, program, directory, free_port(), service)
        self.prometheus.start()

    def keep(self) -> None:
        """Start again what died."""
        for one in self._present():
            one.keep()

    def stop(self) -> None:
        for one in self._present():
            one.stop()

    def set_pooler_down(self, down: bool = True) -> None:
        """End PgBouncer, and let it be; False starts it again. Raises RefusedError where there is none."""
        _set_down(self.pooler, down, pgbouncer.WITHOUT)

    def set_prometheus_down(self, down: bool = True) -> None:
        """End Prometheus, and let it be; False starts it again. Raises RefusedError where there is none."""
        _set_down(self.prometheus, down, prometheus.WITHOUT)

    def _present(self) -> list[Companion]:
        return [one for one in (self.pooler, self.prometheus) if one is not None]


def _set_down(one: Companion | None, down: bool, without: str) -> None:
    if one is None:
        raise RefusedError(without, "Install it, then 'dr lab down' and 'dr lab up'.")
    if down:
        one.stop()
    elif one.pid() is None:
        one.launch()


def end_strays(directory: Path) -> None:
    """End what an earlier daemon of the lab in ``directory`` left running. Before its pid files are removed."""
    for name in (pgbouncer.NAME, prometheus.NAME):
        companion.end_strays(directory / name)
