"""The platform's cluster in a lab: begun while the rest is made, furnished, kept, ended; or why there is none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dr.domain.errors import ProviderError, RefusedError
from dr.lab.beside import companion
from dr.lab.cluster import backups
from dr.lab.cluster.authority import Authority
from dr.lab.cluster.backups import Velero, nightly
from dr.lab.cluster.binaries import CONTROL_PLANE, WITHOUT, Programs, find
from dr.lab.cluster.control import FOLDER, ControlPlane, open_cluster
from dr.lab.cluster.furnish import Kubectl, await_ready, furnish
from dr.lab.cluster.modules import VELERO
from dr.lab.cluster.nodes import running as agents
from dr.lab.cluster.nodes.disk import digest_of
from dr.lab.cluster.nodes.running import Nodes
from dr.lab.cluster.platform import HOSTS, known_here
from dr.lab.cluster.routing.urls import SERVICES
from dr.lab.cluster.storage import ObjectStore
from dr.lab.cluster.timings import USUAL, Timings
from dr.lab.servers.site import Site

SERVED_LIMIT, GLANCE = 60.0, 0.05
SERVICE = "readmission-api/8000"
"""By which predictions are asked for within the cluster: a Service's name and port."""
NODES = "nodes"
"""Under a cluster's folder: its nodes."""


@dataclass(frozen=True, slots=True)
class Running:
    """What there is of a cluster."""

    plane: ControlPlane
    nodes: Nodes
    kubectl: Kubectl
    ingress: Authority
    """Of the certificate that its Ingress shows."""
    programs: Programs


class Cluster:
    """It is there where its programs are, and nobody wanted to do without."""

    def __init__(self, site: Site, timings: Timings = USUAL) -> None:
        self._site = site
        self._timings = timings
        self._starting = ThreadPoolExecutor(1)
        self._started: Future[None] | None = None
        self._running: Running | None = None
        self._velero: Velero | None = None
        self._backing_up: Future[None] | None = None
        self.absent: tuple[str, ...] = ()
        """A sentence where the programs are not there."""
        self.folders: tuple[str, ...] = ()
        """Where its command-line programs stand."""

    @property
    def running(self) -> Running:
        """Raises RefusedError where there is none."""
        if self._running is None:
            raise RefusedError("This lab has no Kubernetes.", "'dr lab down', then 'dr lab up' says why.")
        return self._running

    @property
    def present(self) -> bool:
        return self._running is not None

    @property
    def address(self) -> tuple[str, str]:
        """The API server's URL, and the file of an administrator's kubeconfig; "" where there is none."""
        return (self._running.plane.server.url, str(self._running.plane.kubeconfig)) if self._running else ("", "")

    def begin(self) -> None:
        """Begin to start it, beside what else is made. Raises ProviderError."""
        programs = find()
        if programs.lacking(*CONTROL_PLANE):
            self.absent = (WITHOUT,)
            return
        self._running = _made(self._site, programs, self._timings)
        self.folders = tuple(map(str, programs.folders))
        self._started = self._starting.submit(self._start, self._running)

    def _start(self, running: Running) -> None:
        """In a thread that lives until ``stop``: when it ends, so do the nodes (PR_SET_PDEATHSIG is a thread's)."""
        running.plane.start()
        running.nodes.start()

    def await_start(self) -> None:
        """Return when it was started. Raises ProviderError where it cannot be."""
        with _advising():
            if self._started is not None:
                self._started.result()

    def furnish(self, storage: ObjectStore, **known: Any) -> None:
        """Put the platform into it once it was started, and begin to start Velero, which backs up to ``storage``.
        ``known``: as ``known_here``, but for what ``storage`` and the certificate tell. Raises ProviderError.
        """
        self.await_start()
        running = self.running
        pair = running.ingress.issue("ingress", HOSTS[0], hosts=HOSTS)
        tls = (pair.certificate.read_bytes(), pair.key.read_bytes())
        with _advising():
            furnish(running.kubectl, known_here(tls=tls, artifacts=storage.environment, **known))
        if not running.programs.lacking(*VELERO):
            self._velero = Velero(self._site, running.programs, running.plane, storage)
            self._backing_up = self._starting.submit(self._velero.start)

    @property
    def velero(self) -> Velero:
        """Raises RefusedError where there is none."""
        if self._velero is None:
            raise RefusedError("This lab has no Velero.", WITHOUT)
        return self._velero

    @property
    def velero_program(self) -> str:
        """Its command line; "" where there is none."""
        return str(self._velero.program) if self._velero is not None else ""

    def settle(self) -> None:
        """Return when the whole platform is ready in it, and backed up as it is each night. Raises ProviderError where
        it does not become so."""
        if self._running is not None:
            with _advising():
                await_ready(self._running.kubectl)
                if self._velero is not None and self._backing_up is not None:
                    self._backing_up.result()
                    self._velero.back_up(nightly(self._site.clock.now().at))

    def way(self) -> str:
        """Where predictions are asked for through it, on loopback; "" without one. Raises ProviderError where its
        Ingress is not served in time."""
        return self._served(HOSTS[0])

    def way_into(self) -> str:
        """The same in a copy of the platform that was restored as {namespace}. Raises ProviderError as ``way``."""
        url = self._served(SERVICES)
        return f"{url}/{{namespace}}/{SERVICE}" if url else ""

    def _served(self, what: str) -> str:
        if self._running is None:
            return ""
        limit = time.monotonic() + SERVED_LIMIT
        while (found := self._running.nodes.urls.get(what)) is None:
            if time.monotonic() > limit:
                raise ProviderError(f"{what} was not served by the cluster's router within {SERVED_LIMIT:.0f} s.")
            time.sleep(GLANCE)
        return found.http

    def shown(self) -> dict[str, Any]:
        """Its nodes, each with whether its agent lives, and where its Ingress hosts are served."""
        if self._running is None:
            return {"nodes": {}, "ingress": {}}
        nodes = self._running.nodes
        living = nodes.agents()
        return {
            "nodes": {name: name in living for name in nodes.names},
            "ingress": {host: [urls.http, urls.https] for host, urls in nodes.urls.items() if host != SERVICES},
        }

    def keep(self) -> None:
        """Start again what of it died; a node that was lost stays so."""
        if self._running is not None:
            self._running.plane.keep()
            if self._started is not None and self._started.done():
                self._running.nodes.keep()
            if self._velero is not None and self._backing_up is not None and self._backing_up.done():
                self._velero.keep()

    def stop(self) -> None:
        """End it, also while it is being started."""
        if self._running is not None:
            self._end(self._running)
            self._starting.shutdown()
            self._end(self._running)  # what was started meanwhile

    def _end(self, running: Running) -> None:
        if self._velero is not None:
            self._velero.stop()
        running.nodes.stop()
        running.plane.stop()

    # ---- faults

    def set_down(self, component: str, down: bool = True) -> None:
        """End a component of it, and let it be; False starts it again. Raises RefusedError."""
        self.running.plane.set_down(component, down)

    def lose_node(self, node: str, lost: bool = True) -> None:
        """Kill a node's agent, and all that runs there with it; False starts it again. Raises RefusedError."""
        (self.running.nodes.lose if lost else self.running.nodes.bring_back)(node)

    def break_gpu(self, node: str, number: int = 0, broken: bool = True) -> None:
        """Let a GPU of a node fall off the bus; False: it is back. Raises RefusedError."""
        self.running.nodes.break_gpu(node, number, broken)

    def volume_digest(self, volume: str, **_: str) -> dict[str, str]:
        """A digest of the files on a persistent volume, {} where it has none. Raises RefusedError."""
        found = self.running.nodes.volume(volume)
        return {"digest": digest_of(found)} if found.is_dir() else {}


@contextmanager
def _advising() -> Iterator[None]:
    """What fails says how to do without."""
    try:
        yield
    except ProviderError as error:
        error.hint = f"{error.hint} 'dr lab up --without kubernetes' leaves it out.".strip()
        raise


def _made(site: Site, programs: Programs, timings: Timings) -> Running:
    """All of it, nothing started yet. Raises ProviderError."""
    plane = open_cluster(site, programs, timings=timings)
    folder = plane.directory / NODES
    nodes = Nodes(folder, str(folder / "{node}.kubeconfig"), plane.kubeconfig, lease=max(1, round(timings.grace)))
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        for name in nodes.names:
            plane.user(f"system:node:{name}", "system:nodes", folder / f"{name}.kubeconfig")
        ingress = Authority(plane.directory / "ingress-authority")
    except OSError as error:
        raise ProviderError(f"{folder} cannot be written: {error.strerror}.") from None
    return Running(plane, nodes, Kubectl(programs.path("kubectl"), plane.kubeconfig), ingress, programs)


def end_strays(directory: Path) -> None:
    """End what an earlier daemon of the lab in ``directory`` left running of its clusters."""
    for place in (directory / FOLDER).glob("*"):
        companion.end_strays(place)
        companion.end_strays(place / backups.FOLDER)
        agents.end_strays(place / NODES)
