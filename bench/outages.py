"""The length of an outage as the judge has it from a real prober's samples, against the truth of scripted ones.

Thirty outages from 50 ms to 20 s, of each kind in turn: nothing listens; the service hangs and goes on; it breaks every
connection; it answers 503. Each has a stub and a prober of its own, a few at a time, so that all are over in a minute.
Probes go out as drills send them, 50 a second, with their time-out of 2 s: at that rate a hang holds up 100 requests at
most, which the prober's connections suffice for.

The truth is when the stub changed its ways. What the prober cannot know is left to it: a period on either side.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from select import select

from bench import meter
from bench.figures import figure, median
from dr.config.model import Meter
from dr.domain.model import Plan, Purpose, Request, RunIdentity, Stamp
from dr.evidence.model import Evidence, RunRecord
from dr.evidence.samples import load_samples, samples_file
from dr.host.children import identity
from dr.judge.findings import UnknownError
from dr.judge.interruption import Outage, outage_of
from dr.meter.punctual import be_punctual

COUNT, SHORTEST, LONGEST, SIDE_BY_SIDE = 30, 0.05, 20.0, 6
KINDS = ("refuse", "hang", "break", "error")
PERIODS = 2.0
BEFORE, AFTER = 1.5, 3.5
"""Seconds that are measured before an outage and after it."""
METER = Meter()
PATH = "bench"
GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"risk": 0.5}'
BAD = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True)
class Script:
    """One outage: of ``kind``, for ``seconds``."""

    kind: str
    seconds: float


def scripts() -> list[Script]:
    """Lengths evenly spread on a logarithmic scale, the longest first: so that those side by side end together."""
    step = (LONGEST / SHORTEST) ** (1 / (COUNT - 1))
    every = [Script(KINDS[i % len(KINDS)], SHORTEST * step**i) for i in range(COUNT)]
    return every[::-1]


class Service:
    """A stub that answers every request at once, but while it is out."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self.listener.getsockname()[1]
        self.kind = ""
        self._open: set[socket.socket] = set()
        self._held: list[socket.socket] = []

    def begin(self, kind: str) -> None:
        self.kind = kind
        if kind == "refuse":
            self.listener.close()
        if kind in ("refuse", "break"):
            for connection in list(self._open):
                self._reset(connection)

    def end(self) -> None:
        """Answer whoever hangs, and be as before."""
        if self.kind == "refuse":
            self.listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
        self.kind = ""
        for connection in self._held:
            self._send(connection, GOOD)
        self._held.clear()

    def serve(self, until: float) -> None:
        """Go on until the monotonic time ``until``."""
        while (left := until - time.monotonic()) > 0:
            listening = [] if self.kind == "refuse" else [self.listener]
            for one in select([*listening, *self._open], [], [], left)[0]:
                if one is self.listener:
                    self._open.add(self.listener.accept()[0])
                else:
                    self._answer(one)

    def _answer(self, connection: socket.socket) -> None:
        try:
            asked = connection.recv(65536)
        except OSError:
            asked = b""
        if not asked:
            self._open.discard(connection)
            connection.close()
        elif self.kind == "hang":
            self._held.append(connection)
        elif self.kind == "break":
            self._reset(connection)
        else:
            self._send(connection, BAD if self.kind == "error" else GOOD)

    def _send(self, connection: socket.socket, answer: bytes) -> None:
        with suppress(OSError):  # whoever asked may be gone by now
            connection.sendall(answer)

    def _reset(self, connection: socket.socket) -> None:
        self._open.discard(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


def act(script: Script, stage: Connection) -> None:
    """The stub's process: sends its port, waits for the word, plays the outage, and sends when it began and ended."""
    service = Service()
    be_punctual([])  # else a busy machine has outages of its own, which the prober rightly sees
    stage.send(service.port)
    while not stage.poll():
        service.serve(time.monotonic() + 0.02)
    stage.recv()
    service.serve(time.monotonic() + BEFORE)
    began = time.monotonic_ns()
    service.begin(script.kind)
    service.serve(began / 1e9 + script.seconds)
    ended = time.monotonic_ns()
    service.end()
    stage.send((began, ended))
    while not stage.poll():
        service.serve(time.monotonic() + 0.02)


def probed(port: int, run: Path) -> subprocess.Popen[bytes]:
    config = {
        "run": str(run), "path": PATH, "url": f"http://127.0.0.1:{port}/", "bodies": [{}], "fields": ["risk"],
        "rate": METER.rate, "timeout": METER.timeout, "owner": identity(os.getpid()), "pidfile": str(run / "meter.pid"),
    }  # fmt: skip
    return meter.start("probe", config)


def played(script: Script) -> tuple[float, Outage | str]:
    """The true length of one outage, and what the judge makes of the prober's samples."""
    stage, other = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=act, args=(script, other), daemon=True)
    process.start()
    with tempfile.TemporaryDirectory() as folder:
        prober = probed(stage.recv(), Path(folder))
        file = samples_file(Path(folder), PATH)
        while not (file.exists() and file.read_bytes().count(b"\n") > 2):
            time.sleep(0.02)
        stage.send("begin")
        began, ended = stage.recv()
        time.sleep(AFTER)
        prober.terminate()
        prober.wait()
        stage.send("end")
        process.join()
        try:
            return (ended - began) / 1e9, outage_of(evidence(file, began), PATH)
        except UnknownError as error:
            return (ended - began) / 1e9, str(error)


def evidence(file: Path, began: int) -> Evidence:
    """A run whose disaster was at ``began``, monotonic, for want of another: when it was started."""
    samples = load_samples(file)
    assert samples is not None
    at = Stamp(samples.wall(began), began, samples.start.boot)
    plan = Plan(Request("bench", (), Purpose.DRILL), RunIdentity(PATH, "bench", Purpose.DRILL, ""), (), ())
    return Evidence(RunRecord(plan, at, "", {}, METER.window), (), samples={PATH: samples})


def main() -> bool:
    """Print the figures; returns whether all hold."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        told = list(zip(scripts(), pool.map(played, scripts()), strict=True))
    errors = list(errors_of(told))
    print(f"error of {len(errors)} outages, in probe periods: median {median(errors):.2f}, worst {max(errors):.2f}")
    return all(
        [
            figure("outages seen", len(errors), COUNT, "", at_least=True),
            figure("length of an outage off by, at worst", max(errors), PERIODS, "periods"),
        ]
    )


def errors_of(told: list[tuple[Script, tuple[float, Outage | str]]]) -> Iterator[float]:
    """By how many probe periods each outage that was seen is off; prints every one."""
    for script, (truth, found) in sorted(told, key=lambda one: one[0].seconds):
        if isinstance(found, str) or found.whole is None:
            print(f"{script.kind:7} {truth:8.4f} s: {found if isinstance(found, str) else 'not seen'}")
            continue
        off = abs(found.whole.seconds - truth) * METER.rate
        low, high = found.whole.interval
        print(f"{script.kind:7} {truth:8.4f} s: {found.whole.seconds:8.4f} s ({low:.4f} to {high:.4f}), {off:.2f} off")
        yield off
