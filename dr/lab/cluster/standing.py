"""The platform's cluster in a lab: begun while the rest is made, kept, ended; or why there is none."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from dr.domain.errors import ProviderError, RefusedError
from dr.lab.beside import companion
from dr.lab.cluster.binaries import CONTROL_PLANE, WITHOUT, find
from dr.lab.cluster.control import FOLDER, ControlPlane, open_cluster
from dr.lab.servers.site import Site


class Cluster:
    """It is there where its programs are, and nobody wanted to do without."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._starting = ThreadPoolExecutor(1)
        self._started: Future[None] | None = None
        self._plane: ControlPlane | None = None
        self.absent: tuple[str, ...] = ()
        """A sentence where the programs are not there."""
        self.folders: tuple[str, ...] = ()
        """Where its command-line programs stand."""

    @property
    def plane(self) -> ControlPlane:
        """Raises RefusedError where there is none."""
        if self._plane is None:
            raise RefusedError("This lab has no Kubernetes.", "'dr lab down', then 'dr lab up' says why.")
        return self._plane

    @property
    def address(self) -> tuple[str, str]:
        """The API server's URL, and the file of an administrator's kubeconfig; "" where there is none."""
        return (self._plane.server.url, str(self._plane.kubeconfig)) if self._plane else ("", "")

    def begin(self) -> None:
        """Begin to start it, beside what else is made. Raises ProviderError."""
        programs = find()
        if programs.lacking(*CONTROL_PLANE):
            self.absent = (WITHOUT,)
            return
        self._plane = open_cluster(self._site, programs)
        self.folders = tuple(map(str, programs.folders))
        self._started = self._starting.submit(self._plane.start)

    def await_start(self) -> None:
        """Return when it was started. Raises ProviderError where it cannot be."""
        try:
            if self._started is not None:
                self._started.result()
        except ProviderError as error:
            error.hint = f"{error.hint} 'dr lab up --without kubernetes' leaves it out.".strip()
            raise

    def keep(self) -> None:
        """Start again what of it died."""
        if self._plane is not None:
            self._plane.keep()

    def stop(self) -> None:
        """End it, also while it is being started."""
        if self._plane is not None:
            self._plane.stop()
            self._starting.shutdown()
            self._plane.stop()  # what was started meanwhile

    def set_down(self, component: str, down: bool = True) -> None:
        """End a component of it, and let it be; False starts it again. Raises RefusedError."""
        self.plane.set_down(component, down)


def end_strays(directory: Path) -> None:
    """End what an earlier daemon of the lab in ``directory`` left running of its clusters."""
    for place in (directory / FOLDER).glob("*"):
        companion.end_strays(place)
