"""How soon the lab's cluster is there, and what a lab with the whole platform in it takes at rest.

The peer of its start is the same two programs, started at once by nobody and asked as often: what is beyond that is the
lab's own. Where its programs are not there nothing is measured, which is said.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from bench.figures import figure, median, seconds
from dr.host.clock import SystemClock
from dr.lab.cluster.binaries import CONTROL_PLANE, WITHOUT, find
from dr.lab.cluster.control import ControlPlane, open_cluster
from dr.lab.cluster.furnish import Kubectl
from dr.lab.cluster.nodes.running import Nodes
from dr.lab.servers.site import Site, open_site

ROUNDS = 3
GLANCE = 0.05
CALM, WATCHED = 30.0, 60.0
"""Seconds until a lab is at rest, and for which it is watched then."""
MEGABYTE = 1e6


def main() -> bool:
    """Print the figures; returns whether all hold."""
    if find().lacking(*CONTROL_PLANE):
        print(WITHOUT, flush=True)
        return True
    home = Path(tempfile.mkdtemp(prefix="dr-bench-", dir="/tmp"))
    home.chmod(0o755)
    try:
        return all([*_starts(home), *_rest(home / "home")])
    finally:
        shutil.rmtree(home)


# ---- its start


def _starts(home: Path) -> list[bool]:
    site = open_site(_made(home / "site"), SystemClock())
    bare, own, pods = [], [], []
    for number in range(ROUNDS):
        with _plane(site, f"bare-{number}") as plane:
            bare.append(seconds(lambda plane=plane: _bare(plane)))
        with _plane(site, f"own-{number}") as plane:
            etcd, server, *_ = plane.components
            own.append(seconds(lambda etcd=etcd, server=server: (etcd.launch(), server.launch())))
        with _plane(site, f"pod-{number}") as plane:
            pods.append(_first_pod(plane))
    ratios = [ours / peer for ours, peer in zip(own, bare, strict=True)]
    return [
        figure("the API server's /readyz", median(own), 6, "s"),
        figure("the API server's /readyz / started by nobody", median(ratios), 1.3, ""),
        figure("the first pod is ready", median(pods), 15, "s"),
    ]


@contextmanager
def _plane(site: Site, name: str) -> Iterator[ControlPlane]:
    plane = open_cluster(site, find(), name)
    try:
        yield plane
    finally:
        plane.stop()
        shutil.rmtree(plane.directory)


def _bare(plane: ControlPlane) -> None:
    etcd, server, *_ = plane.components
    children = [subprocess.Popen(one.command(), stderr=subprocess.DEVNULL) for one in (etcd, server)]
    _await(lambda: server.asked(server.path)[0] == 200)
    for child in reversed(children):  # timed, too: it takes milliseconds
        child.kill()
        child.wait()


def _first_pod(plane: ControlPlane) -> float:
    """Seconds from nothing to a pod that a probe has found ready."""
    nodes = Nodes(_made(plane.directory / "nodes"), str(plane.kubeconfig), plane.kubeconfig)
    kubectl = Kubectl(find().path("kubectl"), plane.kubeconfig)
    began = time.perf_counter()
    try:
        plane.start()
        nodes.start()
        kubectl.run("create", "deployment", "first", "--image", "dr.lab/stand-in:1")
        kubectl.run("wait", "--for=condition=Available", "deployment", "first", "--timeout=60s")
        return time.perf_counter() - began
    finally:
        nodes.stop()


# ---- at rest


def _rest(home: Path) -> list[bool]:
    environment = {**os.environ, "DR_HOME": str(_made(home)), "DR_LAB_WITHOUT": ""}

    def dr(*words: str) -> None:
        subprocess.run([sys.executable, "-m", "dr", *words], check=True, env=environment, capture_output=True)

    try:
        up = seconds(lambda: dr("lab", "up", "--patients", "2000"))
        print(f"the lab with the whole platform in its cluster is up after {up:.1f} s", flush=True)
        time.sleep(CALM)
        before, began = _spent(home), time.perf_counter()
        time.sleep(WATCHED)
        after, passed = _spent(home), time.perf_counter() - began
        spent = sum(after[one] - before.get(one, 0.0) for one in after)
        memory = sum(map(_memory, after)) / MEGABYTE
    finally:
        dr("lab", "down")
    return [
        figure("the lab at rest, memory", memory, 1200, "MB"),
        figure("the lab at rest, of one core", spent / passed, 0.10, ""),
    ]


def _spent(home: Path) -> dict[psutil.Process, float]:
    """Seconds of the processor that each process of the lab has taken: those that name its place, and their own."""
    found: dict[psutil.Process, float] = {}
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            if str(home) in " ".join(one.cmdline()) or one.environ().get("DR_HOME") == str(home):
                for each in (one, *one.children(recursive=True)):
                    found[each] = sum(each.cpu_times()[:2])
    return found


def _memory(one: psutil.Process) -> int:
    """Bytes; what several share counts once."""
    with suppress(psutil.Error):
        return int(one.memory_full_info().pss)
    return 0


def _made(directory: Path) -> Path:
    directory.mkdir(mode=0o755, parents=True)
    return directory


def _await(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(GLANCE)
