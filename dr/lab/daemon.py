"""The lab's own process: ``python -m dr.lab.daemon``. It holds the API, the servers, and all that uses them.

It ends on SIGTERM, and when its directory is gone; whatever a killed one left is ended and removed by the next, which
starts afresh.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from dr.config.load import home
from dr.config.place import OTHERS
from dr.domain.errors import DrError, RefusedError
from dr.host.clock import WallClock
from dr.lab import presence
from dr.lab.cluster.timings import Timings
from dr.lab.presence import PREPARED, READY, Presence
from dr.lab.rds.remote import Remote

log = logging.getLogger("dr.lab.daemon")
TICK = 0.3
"""Seconds between two looks at servers, archives, the service and what stands beside."""
KEPT = ("daemon.json", "daemon.lock", "daemon.log", "up.lock")


class Daemon:
    """Brings the lab up, keeps it, takes it down."""

    def __init__(
        self,
        directory: Path,
        patients: int,
        load: Path | None,
        single: bool,
        without: tuple[str, ...],
        timings: Timings,
    ) -> None:
        self._directory = directory
        self._patients = patients
        self._load = load
        self._single = single
        self._without = without
        self._timings = timings
        self._over = threading.Event()
        self._telling = threading.Lock()
        me = psutil.Process()
        self._presence = Presence(me.pid, presence.start(me), "starting", patients=patients)

    def run(self) -> int:
        """Until told to end. Returns the exit code."""
        signal.signal(signal.SIGTERM, lambda *_: self._over.set())
        signal.signal(signal.SIGINT, lambda *_: self._over.set())
        with ExitStack() as stack:
            try:
                stack.enter_context(presence.holding(self._directory / "daemon.lock", 0.0))
                left = presence.read(self._directory)
                self._tell("cleaning up")
                clean(self._directory, left)
                lab = self._bring_up(stack)
                self._keep(lab)
            except DrError as error:
                log.error("%s", error)
                self._presence.problem, self._presence.exit_code = str(error), error.exit_code
                self._tell("failed")
                return error.exit_code
        return 0

    def _tell(self, phase: str = "") -> None:
        """Write what is known, and that this ``phase`` is reached. A remote call's thread does, too."""
        with self._telling:
            if phase:
                self._presence.phase = phase
                log.info("%s", phase)
            presence.write(self._directory, self._presence)

    def _tell_service(self, pid: int, started: float) -> None:
        """At once, also while the lab is brought up: it would outlive a daemon that is killed."""
        self._presence.service_pid, self._presence.service_started = pid, started
        self._tell()

    def _bring_up(self, stack: ExitStack) -> Any:
        from dr.lab.bringup import Lab  # heavy: moto and botocore's models

        lab = stack.enter_context(Lab(self._directory, WallClock(), self._timings, self._tell_service))
        for phase in lab.prepare(self._patients, self._load, single=self._single, without=self._without):
            self._tell(phase)
            if self._over.is_set():
                raise RefusedError("The lab was told to end while it was brought up.")
        remote = Remote(self._directory, {**lab.commands(), "settle": lab.settle, "ready": self._ready})
        stack.callback(remote.close)
        p = self._presence
        p.api, p.control, p.service = lab.api_url, remote.port, lab.service_url
        p.account, p.region = lab.account.id, lab.account.region
        p.added, p.absent = lab.added, lab.absent
        p.pooler, p.prometheus = lab.pooler_port, lab.prometheus_url
        p.kubernetes, p.kubeconfig = lab.cluster.address
        p.programs = lab.cluster.folders
        lab.publish()
        self._tell(PREPARED)
        return lab

    def _ready(self) -> None:
        self._tell(READY)

    def _keep(self, lab: Any) -> None:
        while not self._over.wait(TICK):
            now = presence.read(self._directory)
            if now is None or now.pid != os.getpid():
                log.info("the directory is gone or another's")
                return
            lab.watch()


def clean(directory: Path, left: Presence | None) -> None:
    """End what a killed daemon left and remove its state. Raises DrError where something holds out."""
    from dr.host.clock import WallClock
    from dr.lab.beside import standing as beside
    from dr.lab.cluster import standing as cluster
    from dr.lab.rds.postgres import remove_strays
    from dr.lab.servers.site import open_site

    if left is not None:
        stray = presence.process(left.service_pid, left.service_started) if left.service_pid else None
        if stray is not None:
            stray.kill()
            psutil.wait_procs([stray], timeout=10)
    for parts in (beside, cluster):
        parts.end_strays(directory)
    if (directory / "instances").is_dir():
        remove_strays(open_site(directory, WallClock()))
    for path in directory.iterdir():
        if path.name in KEPT:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="The lab's daemon; started by 'dr lab up'.")
    parser.add_argument("--patients", type=int, required=True)
    parser.add_argument("--load", type=Path)
    parser.add_argument("--single", action="store_true")
    parser.add_argument("--without", action="append", default=[])
    parser.add_argument("--node-grace", type=float, required=True)
    parser.add_argument("--node-toleration", type=int, required=True)
    arguments = parser.parse_args()
    os.umask(OTHERS)  # what it and all that it starts write holds patients' identifiers
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return Daemon(
        home() / "lab",
        arguments.patients,
        arguments.load,
        arguments.single,
        tuple(arguments.without),
        Timings(arguments.node_grace, arguments.node_toleration),
    ).run()


if __name__ == "__main__":
    sys.exit(main())
