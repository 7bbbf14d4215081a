"""The platform's cluster in a lab: begun while the rest is made, furnished, kept, ended; or why there is none."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dr.domain.errors import ProviderError, RefusedError
from dr.lab.beside import companion
from dr.lab.cluster.authority import Authority
from dr.lab.cluster.binaries import CONTROL_PLANE, WITHOUT, Programs, find
from dr.lab.cluster.control import FOLDER, ControlPlane, open_cluster
from dr.lab.cluster.furnish import Kubectl, await_ready, furnish
from dr.lab.cluster.nodes import running as agents
from dr.lab.cluster.nodes.running import Nodes
from dr.lab.cluster.platform import HOSTS, known_here
from dr.lab.cluster.timings import USUAL, Timings
from dr.lab.servers.site import Site

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


class Cluster:
    """It is there where its programs are, and nobody wanted to do without."""

    def __init__(self, site: Site, timings: Timings = USUAL) -> None:
        self._site = site
        self._timings = timings
        self._starting = ThreadPoolExecutor(1)
        self._started: Future[None] | None = None
        self._running: Running | None = None
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

    def furnish(self, **known: Any) -> None:
        """Put the platform into it once it was started; ``known``: as ``known_here``, but for the certificate.

        Raises ProviderError.
        """
        self.await_start()
        running = self.running
        pair = running.ingress.issue("ingress", HOSTS[0], hosts=HOSTS)
        tls = (pair.certificate.read_bytes(), pair.key.read_bytes())
        with _advising():
            furnish(running.kubectl, known_here(tls=tls, **known))

    def settle(self) -> None:
        """Return when the whole platform is ready in it. Raises ProviderError where it does not become so."""
        if self._running is not None:
            with _advising():
                await_ready(self._running.kubectl)

    def shown(self) -> dict[str, Any]:
        """Its nodes, each with whether its agent lives, and where its Ingress hosts are served."""
        if self._running is None:
            return {"nodes": {}, "ingress": {}}
        nodes = self._running.nodes
        living = nodes.agents()
        return {
            "nodes": {name: name in living for name in nodes.names},
            "ingress": {host: [urls.http, urls.https] for host, urls in nodes.urls.items()},
        }

    def keep(self) -> None:
        """Start again what of it died; a node that was lost stays so."""
        if self._running is not None:
            self._running.plane.keep()
            if self._started is not None and self._started.done():
                self._running.nodes.keep()

    def stop(self) -> None:
        """End it, also while it is being started."""
        if self._running is not None:
            self._running.nodes.stop()
            self._running.plane.stop()
            self._starting.shutdown()
            self._running.nodes.stop()
            self._running.plane.stop()  # what was started meanwhile

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
    return Running(plane, nodes, Kubectl(programs.path("kubectl"), plane.kubeconfig), ingress)


def end_strays(directory: Path) -> None:
    """End what an earlier daemon of the lab in ``directory`` left running of its clusters."""
    for place in (directory / FOLDER).glob("*"):
        companion.end_strays(place)
        agents.end_strays(place / NODES)
