"""The agents of a lab's nodes, as whoever runs the lab has them: started together, one lost, one brought back."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from glob import escape
from pathlib import Path

import msgspec
import psutil

import dr
from dr.domain.errors import ProviderError, RefusedError
from dr.host.children import die_with_parent
from dr.host.decode import content, line_of
from dr.lab import presence
from dr.lab.cluster.nodes.disk import DISKS, FAULTS
from dr.lab.cluster.nodes.pools import POOLS, Pool
from dr.lab.cluster.nodes.processes import MARK
from dr.lab.cluster.routing.urls import Urls, read_urls
from dr.lab.service.names import VARIABLE as HOSTS

log = logging.getLogger(__name__)
START_LIMIT = 120.0
"""Seconds that the agents may take on a machine that has others to serve."""
END_LIMIT = 10.0
GLANCE = 0.05
PAUSE = 1.0
"""Seconds between two starts of a process that keeps dying."""


class _Process(msgspec.Struct):
    pid: int
    started: float


AGENTS = msgspec.json.Decoder(dict[str, _Process])


class Nodes:
    """The nodes of one cluster. ``kubeconfig``: in which {node} stands for a node's name, where each has its own;
    ``router``: that of whoever routes Services.

    ``images``: a file of images beside those that the lab has. ``lease``: seconds of each node's Lease.
    """

    def __init__(
        self,
        directory: Path,
        kubeconfig: str,
        router: Path,
        *,
        pools: Sequence[Pool] = POOLS,
        images: Path | None = None,
        lease: int = 40,
    ) -> None:
        self._directory = directory
        self._command = [
            *(sys.executable, "-m", "dr.lab.cluster.nodes"),
            *("--kubeconfig", kubeconfig, "--router", str(router)),
            *("--directory", str(directory)),
            *("--nodes", ",".join(f"{pool.name}={pool.count}" for pool in pools)),
            *(("--images", str(images)) if images else ()),
            *("--lease", str(lease)),
        ]
        self._names = [f"{pool.name}-{n}" for pool in pools for n in range(1, pool.count + 1)]
        self._child: subprocess.Popen[bytes] | None = None
        self._again = 0.0

    @property
    def names(self) -> list[str]:
        return list(self._names)

    @property
    def urls(self) -> dict[str, Urls]:
        """Where each Ingress host is served."""
        return read_urls(self._directory / "routes.json")

    def start(self) -> None:
        """Start all agents, and return when each has its process. Raises ProviderError."""
        self._spawn(self._names)
        self._await(lambda: len(self.agents()) == len(self._names), START_LIMIT)

    def _spawn(self, living: Collection[str]) -> None:
        lost = [f"--lost={name}" for name in self._names if name not in living]
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._directory / "nodes.log").open("ab") as output:
            self._child = subprocess.Popen(
                [*self._command, *lost],
                env={**os.environ, "PYTHONPATH": str(Path(dr.__file__).parent.parent)},
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent(),
            )

    def agents(self) -> dict[str, int]:
        """The pid of each agent that lives."""
        told = self._told() or {}
        return {name: one.pid for name, one in told.items() if presence.process(one.pid, one.started) is not None}

    def _told(self) -> dict[str, _Process] | None:
        """The agents that the process which holds them told of last; None: it told of none yet."""
        found = content(self._directory / "nodes.json", error=RefusedError)
        return line_of(found, AGENTS) if found is not None else None

    def lose(self, name: str) -> None:
        """Kill a node's agent, and with it all that ran there: nobody is told. Raises RefusedError where it is lost."""
        agents = self.agents()
        if name not in agents:
            raise RefusedError(f"The node {name!r} is not there.", f"There are {', '.join(agents) or 'none'}.")
        with suppress(ProcessLookupError):
            os.kill(agents[name], signal.SIGKILL)
        self._await(lambda: name not in self.agents(), END_LIMIT)

    def bring_back(self, name: str) -> None:
        """Start the agent of a lost node. Harmless where it lives. Raises RefusedError where there is no such node."""
        if name not in self._names:
            raise RefusedError(f"The lab has no node {name!r}.", f"It has {', '.join(self._names)}.")
        if self._child is None or self._child.stdin is None:
            raise ProviderError("The lab's nodes do not run.")
        with suppress(BrokenPipeError):
            self._child.stdin.write(f"start {name}\n".encode())
            self._child.stdin.flush()
        self._await(lambda: name in self.agents(), START_LIMIT)

    def volume(self, name: str) -> Path:
        """Where a persistent volume lies. Raises RefusedError for what is no name of one."""
        if Path(name).name != name:
            raise RefusedError(f"{name!r} is no name of a volume.")
        return self._directory / DISKS / name

    def break_gpu(self, node: str, number: int = 0, broken: bool = True) -> None:
        """Let a GPU fall off the bus: it is not allocatable any more, and what has it fails. False: it is back.

        Raises RefusedError where the lab has no such node.
        """
        if node not in self._names:
            raise RefusedError(f"The lab has no node {node!r}.", f"It has {', '.join(self._names)}.")
        mark = self._directory / node / FAULTS / f"GPU-{node}-{number}"
        if broken:
            mark.touch(mode=0o600)
        else:
            mark.unlink(missing_ok=True)

    def logs(self, namespace: str, pod: str, container: str = "") -> list[Path]:
        """As ``logs``."""
        return logs(self._directory, pod, namespace, container)

    def keep(self) -> None:
        """Start again what ran where the process that holds the agents died. A node that was lost before stays so."""
        if self._child is None or self._child.poll() is None or time.monotonic() < self._again:
            return
        log.warning("the lab's nodes ended with %s; they are started again", self._child.returncode)
        self._again = time.monotonic() + PAUSE
        told = self._told()
        self._spawn(self._names if told is None else told)

    def stop(self) -> None:
        """End all agents, and all that runs on their nodes."""
        if self._child is None:
            return
        if self._child.stdin is not None:
            self._child.stdin.close()
        try:
            self._child.wait(timeout=END_LIMIT)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child = None

    def _await(self, holds: Callable[[], bool], seconds: float) -> None:
        limit = time.monotonic() + seconds
        while not holds():
            if self._child is None or self._child.poll() is not None or time.monotonic() > limit:
                raise ProviderError("The lab's nodes did not follow.", f"See {self._directory / 'nodes.log'}.")
            time.sleep(GLANCE)


def logs(directory: Path, pod: str, namespace: str = "", container: str = "") -> list[Path]:
    """What a pod's containers wrote on the nodes of ``directory``, a file CONTAINER/ATTEMPT.log for each process, the
    oldest first; none where it never ran."""
    named = f"{escape(namespace) or '*'}_{escape(pod)}_*/{escape(container) or '*'}"
    found = directory.glob(f"*/logs/pods/{named}/*.log")
    return sorted(found, key=lambda path: path.stat().st_mtime)


def end_strays(directory: Path) -> None:
    """End what pods on the nodes of ``directory`` left behind. Their own processes died with their agents."""
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            variables = one.environ()
            if MARK in variables and variables.get(HOSTS, "").startswith(f"{directory}/"):
                one.kill()
