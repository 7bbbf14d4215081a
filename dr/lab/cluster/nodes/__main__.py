"""``python -m dr.lab.cluster.nodes``: the agents of a lab's nodes, each in a fork of this process.

A fork shares what was imported before it: nine agents take hardly more memory than three. Lines on standard input tell
what is wanted: ``start NODE``. When it ends, so does everything. ``nodes.json`` in the directory tells the agents'
processes; killing one is the loss of its node, with all that ran there.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import logging
import os
import select
import signal
import socket
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

from dr.domain.errors import DrError, RefusedError
from dr.host.children import PR_SET_PDEATHSIG, Fork
from dr.host.decode import content, line_of
from dr.lab import presence
from dr.lab.cluster.nodes.agent import Agent, Settings, passed
from dr.lab.cluster.nodes.api import preload
from dr.lab.cluster.nodes.disk import DISKS
from dr.lab.cluster.nodes.images import IMAGES, read
from dr.lab.cluster.nodes.pools import POOLS, Place, Pool, places
from dr.lab.cluster.nodes.processes import keep_orphans
from dr.lab.cluster.routing.router import Router, Where
from dr.lab.servers.site import write_closed

log = logging.getLogger("dr.lab.cluster.nodes")
FORMAT = "%(asctime)s %(levelname)s %(message)s"
TICK = 0.2
"""Seconds between two looks at whether an agent has died."""
NETWORKS = msgspec.json.Decoder(tuple[int, int])
CLAIM = 9
"""A port of UDP that nobody uses: who holds it on 127.N.255.254 has the network N."""


class Supervisor:
    """Starts agents, and ends what a killed one left. Single-threaded: it forks."""

    def __init__(self, nodes: tuple[Place, ...], lost: Collection[str], settings: Settings, routes: Where) -> None:
        self._nodes = {place.name: place for place in nodes}
        self._lost = lost
        self._settings = settings
        self._routes = routes
        self._agents: dict[str, Fork] = {}
        self._router: Fork | None = None

    def run(self) -> int:
        keep_orphans()
        preload()
        for name in self._nodes:
            if name not in self._lost:
                self._start(name)
        self._publish()
        self._route()
        return self._heed()

    def _heed(self) -> int:
        rest = b""
        while True:
            readable, _, _ = select.select([sys.stdin], [], [], TICK)
            if readable:
                said = os.read(sys.stdin.fileno(), 4096)
                if not said:
                    return 0
                *lines, rest = (rest + said).split(b"\n")
                for line in lines:
                    self._obey(line.decode(errors="replace").split())
            self._look()

    def _obey(self, words: list[str]) -> None:
        if len(words) != 2 or words[0] != "start" or words[1] not in self._nodes:
            return
        lost = self._agents.get(words[1])
        if lost is not None and psutil.Process(lost.pid).status() == psutil.STATUS_ZOMBIE:
            # Whoever wants it back knows of its end sooner than this process, for whom its threads are still ending.
            lost.wait()
            del self._agents[words[1]]
        if words[1] not in self._agents:
            self._start(words[1])
            self._publish()

    def _start(self, name: str) -> None:
        place, settings = self._nodes[name], self._settings
        self._agents[name] = Fork(lambda: _serve(place, settings), settings.directory / f"{name}.log")

    def _route(self) -> None:
        """Start the router, or start it again."""
        where = self._routes
        self._router = Fork(lambda: _lead(where), self._settings.directory / "routes.log")

    def _look(self) -> None:
        if self._router is None or self._router.poll() is not None:
            log.warning("the router ended; it is started again")
            self._route()
        dead = [name for name, agent in self._agents.items() if agent.poll() is not None]
        for name in dead:
            log.warning("the agent of %s ended with %s", name, self._agents.pop(name).returncode)
        if dead:
            self._publish()
        self._end_orphans()

    def _end_orphans(self) -> None:
        """What an agent's end left running has become this process's child."""
        mine = {one.pid for one in (*self._agents.values(), *([self._router] if self._router else []))}
        for pid in _children() - mine:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def _publish(self) -> None:
        told = {
            name: {"pid": agent.pid, "started": presence.start(psutil.Process(agent.pid))}
            for name, agent in self._agents.items()
        }
        write_closed(self._settings.directory / "nodes.json", json.dumps(told))


def _begin() -> None:
    """What each fork does first: it dies with the supervisor."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=FORMAT, force=True)


def _lead(where: Where) -> int:
    _begin()
    asyncio.run(Router(where).run())
    return 0


def _serve(place: Place, settings: Settings) -> int:
    _begin()
    Agent(place, settings).run()
    return 0


def _children() -> set[int]:
    try:
        return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}
    except OSError:
        return {child.pid for child in psutil.Process().children()}


def claim(before: int = 0) -> tuple[int, socket.socket]:
    """A network that no other lab of this machine has, as long as its socket is open: the one that this lab had
    ``before``, where nobody took it. Raises RefusedError."""
    start = int.from_bytes(os.urandom(1))
    for network in (*([before] if before else []), *(1 + (start + n) % 253 for n in range(253))):
        holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            holder.bind((f"127.{network}.255.254", CLAIM))
        except OSError:
            holder.close()
        else:
            return network, holder
    raise RefusedError("No addresses on loopback are left for another cluster.", "End a lab that is not needed.")


def claim_both(directory: Path) -> tuple[int, int, list[socket.socket]]:
    """The networks of pods and of Services, as ``claim``; a file tells which they were, as pods keep their addresses
    where the process that holds the agents died. Raises RefusedError."""
    file = directory / "networks.json"
    found = content(file, error=RefusedError)
    before = (line_of(found, NETWORKS) if found is not None else None) or (0, 0)
    claimed = [claim(one) for one in before]
    networks = [network for network, _ in claimed]
    write_closed(file, json.dumps(networks))
    return networks[0], networks[1], [holder for _, holder in claimed]


def counts(text: str) -> tuple[Pool, ...]:
    """The pools with as many nodes as ``text`` says: "general=1,gpu=2". Pure. Raises ValueError."""
    from dataclasses import replace

    wanted = {name: int(count) for name, _, count in (part.partition("=") for part in text.split(",") if part)}
    if unknown := set(wanted) - {pool.name for pool in POOLS}:
        raise ValueError(f"there is no pool {min(unknown)}")
    return tuple(replace(pool, count=wanted[pool.name]) for pool in POOLS if pool.name in wanted)


def main() -> int:
    parser = argparse.ArgumentParser(description="The agents of the lab's nodes; started by the lab.")
    parser.add_argument("--kubeconfig", required=True, help="{node} in it stands for a node's name")
    parser.add_argument("--router", required=True, help="the kubeconfig of the router, which reads Services")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--nodes", type=counts, default=POOLS)
    parser.add_argument("--lost", action="append", default=[], help="a node that is not to be started yet")
    parser.add_argument("--images", type=Path, help="a JSON file of further images")
    parser.add_argument("--lease", type=int, default=40)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=FORMAT)
    try:
        directory = arguments.directory.resolve()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        network, services, _holders = claim_both(directory)
        routes = Where(Path(arguments.router), services, directory / "hosts", directory / "routes.json")
        images = {**IMAGES, **(read(arguments.images) if arguments.images else {})}
        settings = Settings(
            arguments.kubeconfig, directory, directory / DISKS, images, passed(routes.hosts), arguments.lease
        )
        return Supervisor(places(arguments.nodes, network), arguments.lost, settings, routes).run()
    except DrError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
