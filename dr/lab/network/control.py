"""The lab's network as its daemon sees it: starts the process, tells it what each link shall do, starts it anew."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import msgspec

import dr
from dr.domain.errors import DrError, ProviderError, RefusedError
from dr.lab.network.link import Answer, Connection, Link, Mode, Request, check_mode, checked, parse

PATIENCE = 10.0
"""Seconds the process has to answer, and to end."""


class Network:
    """All links of one lab. Its process ends with this one's; its methods may be called from any thread.

    Every method that changes a link raises RefusedError where it cannot be, UsageError where it is not
    well-formed, and ProviderError where the process does not answer.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.RLock()
        self._links: dict[str, Link] = {}
        # Those above: what the process had when it last answered. These: what it had when it died, not yet open again.
        self._lost: dict[str, Link] = {}
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Every connection and every change of state, with the monotonic clock."""
        return self._directory / "network.jsonl"

    @property
    def pid(self) -> int | None:
        """The process's; None where it does not run."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    def start(self) -> None:
        """Start the process, without links, and return when it answers. Raises ProviderError where it does not."""
        with self._lock:
            self.stop()
            self._launch()

    def _launch(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(dr.__file__).parent.parent)}
        with (self._directory / "network.log").open("ab") as log:
            self._child = child = subprocess.Popen(
                [sys.executable, "-m", "dr.lab.network", str(self._directory)],
                env=environment,
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        with _pipe(child.stdout) as answer:
            if answer.readline() != b"listening\n":
                _end(child)
                raise ProviderError("The lab's network does not start.", f"See {self._directory / 'network.log'}.")

    def stop(self) -> None:
        """End the process and with it every link and connection. Harmless where it does not run."""
        with self._lock:
            child, self._child = self._child, None
            self._links, self._lost = {}, {}
            if child is not None:
                _end(child)

    def keep(self) -> bool:
        """Start the process anew if it died, its links as they were. Returns whether it did; connections are lost.

        A link that cannot be opened hinders no other: the last one's reason is raised, and the next call tries again.
        """
        with self._lock:
            if self._child is None:
                return False
            died = self.pid is None
            if died:
                _end(self._child)
                self._lost, self._links = self._lost | self._links, {}
                self._launch()
            problem: DrError | None = None
            for link in list(self._lost.values()):
                try:
                    self._open(link)
                except DrError as error:
                    problem = error
            if problem is not None:
                raise problem
            return died

    def links(self) -> tuple[Link, ...]:
        """Every link and its state, as the process has them."""
        with self._lock:
            self._ask(Request("links"))
            return tuple(self._links.values())

    def open(self, name: str, address: str, backend: str) -> None:
        """A new link, in mode pass."""
        with self._lock:
            self._open(checked(Link(name, address, backend)))

    def _open(self, link: Link) -> None:
        self._ask(Request("open", **msgspec.structs.asdict(link)))
        self._lost.pop(link.name, None)

    def route(self, name: str, backend: str) -> None:
        """Send new connections to another server. Present ones stay where they are."""
        parse(backend)
        with self._lock:
            self._ask(Request("route", name, backend=backend))

    def mode(self, name: str, mode: Mode, seconds: float = 0.0) -> None:
        """Pass, fall silent while it lasts, refuse, or delay each way by ``seconds``. Frozen ones are left."""
        check_mode(mode, seconds)
        with self._lock:
            self._ask(Request("mode", name, mode=mode, seconds=seconds))

    def freeze(self, name: str) -> tuple[Connection, ...]:
        """Silence the present connections for good. Returns them all, those frozen before, too."""
        with self._lock:
            return tuple(self._ask(Request("freeze", name)).connections)

    def reset(self, name: str) -> None:
        """End what is frozen: the host that it led to is back, knows none of it, and says so."""
        with self._lock:
            self._ask(Request("reset", name))

    def connections(self, name: str) -> tuple[Connection, ...]:
        """The present ones; what a client has closed since it was frozen counts as present."""
        with self._lock:
            return tuple(self._ask(Request("connections", name)).connections)

    def close(self, name: str) -> None:
        """Take a link away and reset all of its connections."""
        with self._lock:
            if self._lost.pop(name, None) is None:
                self._ask(Request("close", name))

    def _ask(self, request: Request) -> Answer:
        try:
            with socket.socket(socket.AF_UNIX) as asking:
                asking.settimeout(PATIENCE)
                asking.connect(str(self._directory / "network.sock"))
                asking.sendall(msgspec.json.encode(request) + b"\n")
                with asking.makefile("rb") as lines:
                    answer = msgspec.json.decode(lines.readline(), type=Answer)
        except (OSError, msgspec.DecodeError):
            raise ProviderError("The lab's network does not answer.", "The lab's daemon starts it anew.") from None
        self._links = {link.name: link for link in answer.links}
        if answer.problem:
            raise RefusedError(answer.problem, answer.hint)
        return answer


def _end(child: subprocess.Popen[bytes]) -> None:
    """It ends when its standard input does."""
    _pipe(child.stdin).close()
    try:
        child.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait(PATIENCE)


def _pipe(end: IO[bytes] | None) -> IO[bytes]:
    assert end is not None  # noqa: S101 - both were asked for
    return end
