"""A control plane of the lab: etcd, API server, controller manager and scheduler, started and ended in their order."""

from __future__ import annotations

import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dr.domain.errors import ProviderError, RefusedError
from dr.lab.beside.companion import Companion
from dr.lab.cluster.authority import Authority, kubeconfig
from dr.lab.cluster.binaries import Programs
from dr.lab.cluster.components import (
    LOOPBACK,
    ApiServer,
    Component,
    Controllers,
    Etcd,
    Papers,
    Scheduler,
)
from dr.lab.cluster.timings import USUAL, Timings
from dr.lab.servers.site import Site, free_port, write_closed

log = logging.getLogger(__name__)
FOLDER = "clusters"
"""Under the lab's directory: a folder for each cluster."""
MAIN = "lab"
"""The name of the platform's cluster, and of its context in a kubeconfig."""
MASTERS = "system:masters"
FIRST_ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"
"""Before it is there no pod is taken."""
IDENTITY = "/api/v1/namespaces/kube-system"
ACCOUNT_LIMIT = 120.0
SERVER_STARTS = 3
"""How often the API server is started before that has failed."""
GLANCE = 0.1


class ControlPlane:
    """One, in a folder of its own below the lab's directory. Made by ``open_cluster``."""

    def __init__(
        self,
        directory: Path,
        authority: Authority,
        etcd: Etcd,
        server: ApiServer,
        managers: tuple[Component, ...],
    ) -> None:
        self.directory = directory
        self.kubeconfig = directory / "kubeconfig"
        """An administrator's."""
        self.server = server
        self._authority = authority
        self._etcd = etcd
        self._managers = managers
        """What works through the API."""
        self._stopped = False

    @property
    def components(self) -> tuple[Component, ...]:
        """In the order in which they are started."""
        return (self._etcd, self.server, *self._managers)

    def start(self) -> None:
        """Start it, and return when all of it answers and the first ServiceAccount is there. Raises ProviderError."""
        self._etcd.launch()
        self._launch_server()
        for one in self._managers:
            one.begin()
        for one in self._managers:
            one.await_answer()
        limit = time.monotonic() + ACCOUNT_LIMIT
        while self.server.asked(FIRST_ACCOUNT)[0] != 200:
            if time.monotonic() > limit:
                raise ProviderError(f"The cluster had no ServiceAccount within {ACCOUNT_LIMIT:.0f} s.", "See its logs.")
            time.sleep(GLANCE)

    def _launch_server(self) -> None:
        """It gives up by itself where a hook of its own takes half a minute: that is so on a very busy machine."""
        for left in reversed(range(SERVER_STARTS)):
            try:
                self.server.launch()
                return
            except ProviderError as error:
                if self._stopped or not left:
                    raise
                log.warning("%s It is started again.", error)

    @property
    def uid(self) -> str:
        """By which the cluster is known: that of its namespace kube-system. Raises ProviderError."""
        status, body = self.server.asked(IDENTITY)
        if status != 200:
            raise ProviderError(f"The cluster does not say who it is (HTTP {status}).", f"See {self.server.log}.")
        return str(json.loads(body)["metadata"]["uid"])

    def user(self, name: str, group: str, path: Path) -> Path:
        """Write to ``path`` a kubeconfig of the user ``name`` of ``group``, such as a node of system:nodes. Raises
        OSError."""
        pair = self._authority.issue(path.stem, name, group)
        write_closed(path, kubeconfig(self.server.url, self._authority.own, name, pair, self.directory.name))
        return path

    def keep(self) -> None:
        """Start again what died."""
        for one in self.components:
            one.keep()

    def stop(self) -> None:
        """End it for good: what works through the API, then that, then its store, without which it would not end."""
        self._stopped = True
        with ThreadPoolExecutor(len(self._managers)) as side_by_side:
            list(side_by_side.map(Companion.stop, self._managers))
        self.server.stop()
        self._etcd.stop()

    def set_down(self, component: str, down: bool = True) -> None:
        """End a component, and let it be; False starts it again. Raises RefusedError where there is none such."""
        found = {one.title: one for one in self.components}
        if component not in found:
            raise RefusedError(f"The cluster has no component {component!r}.", f"It has {', '.join(found)}.")
        if down:
            found[component].stop()
        elif found[component].pid() is None:
            found[component].launch()


def open_cluster(site: Site, programs: Programs, name: str = MAIN, timings: Timings = USUAL) -> ControlPlane:
    """A control plane of its own under ``site``, with certificates and kubeconfigs, on free ports; not started yet.

    Raises RefusedError where a program lacks, ProviderError where its directory cannot be written.
    """
    directory = site.directory / FOLDER / name
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority, store = Authority(directory / "authority"), Authority(directory / "etcd-authority")
        papers = _papers(authority, store)
        etcd = Etcd(site, programs.path("etcd"), directory, free_port(), papers, free_port())
        api, controllers = programs.path("kube-apiserver"), programs.path("kube-controller-manager")
        server = ApiServer(site, api, directory, free_port(), papers, etcd.url, timings.toleration)
        managers: tuple[Component, ...] = (
            Controllers(site, controllers, directory, free_port(), papers, timings.grace),
            Scheduler(site, programs.path("kube-scheduler"), directory, free_port(), papers),
        )
        made = ControlPlane(directory, authority, etcd, server, managers)
        for one in managers:
            made.user(f"system:{one.title}", "dr lab", one.kubeconfig)
        made.user("lab-admin", MASTERS, made.kubeconfig)
    except OSError as error:
        raise ProviderError(f"{directory} cannot be written: {error.strerror}.") from None
    return made


def _papers(authority: Authority, store: Authority) -> Papers:
    return Papers(
        authority=authority.own,
        server=authority.issue("server", "kube-apiserver", hosts=(LOOPBACK, "localhost", "kubernetes.default.svc")),
        client=authority.issue("client", "kube-apiserver-kubelet-client", MASTERS),
        accounts=authority.issue("accounts", "service-accounts"),
        etcd_authority=store.own,
        etcd_server=store.issue("server", "etcd", hosts=(LOOPBACK,)),
        etcd_client=store.issue("client", "kube-apiserver"),
    )
