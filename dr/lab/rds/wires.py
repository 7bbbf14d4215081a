"""The wires of the lab's instances: an endpoint each, and one for every server that streams from another.

An endpoint listens on the instance's port, whichever server it leads to; a stream is a socket under the instance's
directory. What a fault makes of a wire belongs to the instance and stays when the wire is made anew; what a lost host
or a stopped server makes of it goes before that.
"""

from __future__ import annotations

import itertools
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path

from dr.config.place import let_through
from dr.domain.errors import RefusedError
from dr.lab.network.control import Network
from dr.lab.network.link import Mode
from dr.lab.servers.postgres import Server, socket_place
from dr.lab.servers.site import Site

PASS: tuple[Mode, float] = ("pass", 0.0)


@dataclass
class Wire:
    """A link: ``fault`` is what was done to it, ``down`` what its ends are in, which goes first."""

    name: str
    fault: tuple[Mode, float] = PASS
    down: Mode | None = None
    is_open: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Stream:
    """A server's wire to the one that it streams from: a socket's ``directory`` and ``port``."""

    wire: Wire
    directory: Path
    port: int


class Wires:
    """All of a lab. Starts the network with the first wire."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._faults: dict[str, tuple[Mode, float]] = {}
        self._streams: dict[str, list[Wire]] = {}
        self._started = False
        self.network = Network(place(site))

    def endpoint(self, key: str, port: int, server: Server) -> Wire:
        """An instance's endpoint; it refuses until ``lift``. Raises RefusedError where its port is taken."""
        return self._open(Wire(key, down="refuse"), f"127.0.0.1:{port}", _address(server))

    def stream(self, key: str, server: Server) -> Stream:
        """A wire for one of ``key``'s servers to another instance's or its own primary. Raises RefusedError."""
        number = next(self._numbers)
        directory = self._site.make_directory(streams(self._site, key))
        path = directory / f".s.PGSQL.{number}"
        with self._lock:
            fault = self._faults.get(key, PASS)
            if fault[0] in ("silent", "refuse"):
                raise RefusedError(f"The replication link of {key} is cut.", "Let it pass again.")
            wire = self._open(Wire(f"{key}/{number}", fault), str(path), str(server.socket))
            self._streams[key] = [wire, *(one for one in self._streams.get(key, ()) if one.is_open)]
        return Stream(wire, directory, number)

    def _open(self, wire: Wire, address: str, backend: str) -> Wire:
        with self._lock:
            if not self._started:
                let_through(place(self._site))
                self.network.start()
                self._started = True
            self.network.open(wire.name, address, backend)
            wire.is_open = True
            self._apply(wire)
        return wire

    def _apply(self, wire: Wire) -> None:
        mode, seconds = (wire.down, 0.0) if wire.down else wire.fault
        self.network.mode(wire.name, mode, seconds)

    def take_down(self, wire: Wire, mode: Mode) -> None:
        """Silence a wire, its present connections for good; or refuse, and reset them."""
        if mode == "silent":
            self.network.freeze(wire.name)
        wire.down = mode
        self._apply(wire)

    def lift(self, wire: Wire) -> None:
        """Undo ``take_down``: the wire is as its fault has it. Connections that were silenced stay silent."""
        wire.down = None
        self._apply(wire)

    def reset(self, wire: Wire) -> None:
        """A host is back, and resets what was connected to it through a wire when that was silenced."""
        self.network.reset(wire.name)

    def disturb(self, wire: Wire, mode: Mode, seconds: float) -> None:
        """A fault of this one wire."""
        wire.fault = (mode, seconds)
        self._apply(wire)

    def disturb_streams(self, key: str, mode: Mode, seconds: float) -> None:
        """A fault of an instance's replication: of its streams, be what is to use them still in the making, and of
        those to come."""
        with self._lock:
            self._faults[key] = (mode, seconds)
            for wire in self._streams.get(key, ()):
                if wire.is_open:
                    self.disturb(wire, mode, seconds)

    def lead(self, wire: Wire, server: Server) -> None:
        """Lead an endpoint to another server. What was connected while it was silent stays so."""
        if wire.down == "silent":
            self.network.freeze(wire.name)
        self.network.route(wire.name, _address(server))

    def close(self, wire: Wire) -> None:
        """Take a wire away. Harmless where it is gone."""
        if wire.is_open:
            wire.is_open = False
            # One that died would open it again.
            self.keep()
            self.network.close(wire.name)

    def forget(self, key: str) -> None:
        """An instance is gone: its faults and its streams' directory go, too."""
        self._faults.pop(key, None)
        self._streams.pop(key, None)
        shutil.rmtree(streams(self._site, key), ignore_errors=True)

    def keep(self) -> None:
        """Start a network that died; its connections are lost."""
        with self._lock:
            self.network.keep()

    def stop(self) -> None:
        """End the network and every connection."""
        with self._lock:
            self.network.stop()
            self._started = False
            remove_place(self._site)


def place(site: Site) -> Path:
    """Where the network keeps its socket and its log: in the lab's directory, if that is short enough for a socket."""
    return socket_place(site.directory)


def remove_place(site: Site) -> None:
    """Remove what the network left outside the lab's directory."""
    if place(site) != site.directory:
        shutil.rmtree(place(site), ignore_errors=True)


def streams(site: Site, key: str) -> Path:
    """The directory of an instance's streams."""
    return socket_place(site.directory / "instances" / key / "streams")


def _address(server: Server) -> str:
    return f"127.0.0.1:{server.port}"
