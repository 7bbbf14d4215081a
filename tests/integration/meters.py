"""What the meter tests share: a context over a directory, owners, and a small server that misbehaves on call."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dr.config.context import Context
from dr.config.model import Login, Meter, Settings
from dr.domain.model import Call, Grant, Plan, Progress, Purpose, Request, RunIdentity
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.servers import Look
from dr.drivers.service.config import ServiceConfig
from dr.evidence.directory import RunDirectory
from dr.evidence.model import RunRecord
from dr.host import children
from dr.host.clock import SystemClock
from tests.support import BUSY
from tests.targets import target_of

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 37\r\n\r\n{"prediction_id": 1, "created_at": 2}'
STUB = str(Path(__file__).with_name("stub_service.py"))
PIDS = itertools.count(1)


@contextmanager
def watched(*_: object) -> Iterator[Look]:
    """A copy without a server: whenever it is looked at, it has a session that it had not before."""
    yield lambda: frozenset({next(PIDS)})


def wait_for(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Poll more often than ``eventually`` until ``condition`` holds; fails after ``seconds``, as that counts them."""
    until = time.monotonic() + BUSY * seconds
    while not (found := condition()):
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.02)
    return found


class Server:
    """A raw HTTP server on loopback. ``mode``: answer, silent (accepts, says nothing), closing (after each answer).

    ``says``: its every answer; ``heard``: the last request.
    """

    def __init__(self, port: int = 0) -> None:
        self.mode = "answer"
        self.pause = 0.0
        self.says = ANSWER
        self.heard = b""
        self._listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with suppress(OSError):
            while heard := connection.recv(65536):
                self.heard = heard
                while self.mode == "silent":
                    time.sleep(0.02)
                if self.pause > time.monotonic():
                    time.sleep(max(0.0, self.pause - time.monotonic()))
                connection.sendall(self.says)
                if self.mode == "closing":
                    time.sleep(0.001)
                    connection.close()
                    return


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.close()


def context(
    run: Path,
    url: str = "http://127.0.0.1:9",
    database: PostgresConfig | None = None,
    owner: str = "",
    meter: Meter | None = None,
    service: bool = True,
    **of_service: Any,
) -> Context:
    """A target on loopback whose every grant is given."""
    secret = run / "secret"
    secret.write_text("hush hush\n")
    login = Login("app", f"file:{secret}")
    requests = of_service.pop("requests", ({"patient": "a"}, {"patient": "b"}))
    config = ServiceConfig(url, (sys.executable, STUB), "app", requests, **of_service)
    target = target_of(
        account="000000000000",
        region="eu-central-1",
        instance="source-db",
        database=database or PostgresConfig("clinic", login, (login,)),
        service=config if service else None,
        grants=(Grant.MARKERS,),
    )
    settings = Settings(meter=meter or Meter(rate=100.0, timeout=0.5, markers=50.0))
    return Context("lab", target, settings, run, run, SystemClock(), owner or children.identity(os.getpid()))


def record(run: Path) -> None:
    """A run.json that demands nothing: what settles is measured for its seconds and not waited for."""
    identity = RunIdentity(run.name, "lab", Purpose.DRILL, "")
    plan = Plan(Request("lab", (), Purpose.DRILL), identity, (), ())
    RunDirectory(run).create(RunRecord(plan, SystemClock().now(), "", {}, 1.0))


def drive(provider: Any, call: Call, seconds: float = 20.0, **filled: Any) -> Progress:
    """Apply and poll to the end, as the engine does."""
    result = provider.apply(call, {**call.args, **filled})
    until = time.monotonic() + BUSY * seconds
    while not (progress := provider.poll(call, result)).done:
        assert time.monotonic() < until, progress.note
        time.sleep(0.02)
    assert isinstance(progress, Progress)
    return progress


@contextmanager
def somebody() -> Iterator[subprocess.Popen[bytes]]:
    """A process to be the owner of others."""
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        yield sleeper
    finally:
        sleeper.kill()
        sleeper.wait()
