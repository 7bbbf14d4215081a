"""The marker writer's own lateness at 500 writes a second, beside 500 predictions a second.

Its server is a stub on loopback, over TLS, which acknowledges every insert; predictions go to the prober's stub. Peer
and own alternate, and medians decide. The peer is four connections with a thread each, fed by a queue: that is what a
loop of its own has to beat. Lateness is taken when a connection is there for the write; the writer then notes it on
disk, which the peer does not, and both hand it to libpq.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psycopg

from bench import prober, stub_postgres
from bench.figures import figure
from bench.meter import start
from dr.drivers.postgres.meter.mark import marker_table
from dr.evidence.samples import load_markers, load_samples, markers_file, samples_file
from dr.host.children import identity
from dr.meter.loop import Pace, percentile
from dr.meter.punctual import be_punctual

RATE, SECONDS, ROUNDS, THREADS = 500, 6.0, 3, 4
LATENESS, ACKNOWLEDGED = 1.0, 0.999
RUN = "bench"
INSERT = f"INSERT INTO dr.{marker_table(RUN)} (n, attempt, sent_at) VALUES (%s, 0, now())"


@contextmanager
def stub(serve: Callable[..., None], *args: Any) -> Iterator[int]:
    """A stub's process; yields its port."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=serve, args=(*args, sender), daemon=True)
    process.start()
    try:
        yield receiver.recv()
    finally:
        process.terminate()
        process.join()


def meter(job: str, run: Path, **of_job: Any) -> subprocess.Popen[bytes]:
    """A meter's process, as drills start it."""
    owner, pidfile = identity(os.getpid()), str(run / f"{job}.pid")
    config = {"run": str(run), "path": RUN, "rate": RATE, "timeout": 2.0, "owner": owner, "pidfile": pidfile, **of_job}
    return start(job, config)


@contextmanager
def predictions(port: int, lates: list[list[int]]) -> Iterator[None]:
    """500 predictions a second meanwhile; their lateness is added to ``lates``."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"http://127.0.0.1:{port}/"
        process = meter("probe", Path(folder), url=url, bodies=[prober.BODY], fields=["risk"])
        try:
            yield
        finally:
            process.terminate()
            process.wait()
        loaded = load_samples(samples_file(Path(folder), RUN))
        assert loaded is not None
        lates.append(sorted(s.sent - s.due for s in loaded.samples if s.sent))


def own(folder: Path, port: int) -> tuple[list[int], float, float]:
    """Lateness of every write, nanoseconds; the acknowledged share; the writer's share of a processor."""
    with tempfile.TemporaryDirectory() as run:
        secret = Path(run) / "secret"
        secret.write_text("none\n")
        login = {
            "host": "localhost", "port": port, "database": "bench", "user": "bench",
            "password": f"file:{secret}", "ca": str(folder / "ca.pem"), "pooled": True,
        }  # fmt: skip
        process = meter("mark", Path(run), login=login, run_id=RUN)
        file = markers_file(Path(run), RUN)
        while not file.exists():
            time.sleep(0.02)
        time.sleep(SECONDS)
        process.terminate()
        process.wait()
        loaded, footer = load_markers(file), json.loads(file.read_bytes().splitlines()[-1])
    assert loaded is not None
    written = loaded.markers
    acknowledged = sum(m.outcome == "acknowledged" for m in written) / max(1, len(written), round(RATE * SECONDS * 0.9))
    return sorted((m.sent or m.done) - m.due for m in written), acknowledged, float(footer["processor"])


def threads(folder: Path, port: int, answers: Connection) -> None:
    """The peer's process: lateness of every write, nanoseconds, and its share of a processor."""
    due: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
    late: list[int] = []

    def work() -> None:
        with psycopg.connect(
            host="localhost", port=port, user="bench", sslmode="verify-full", sslrootcert=folder / "ca.pem",
            autocommit=True, prepare_threshold=None,
        ) as connection:  # fmt: skip
            while (marker := due.get()) is not None:
                late.append(time.monotonic_ns() - marker[1])
                connection.execute(INSERT, (marker[0],))

    workers = [threading.Thread(target=work) for _ in range(THREADS)]
    for worker in workers:
        worker.start()
    time.sleep(0.5)
    be_punctual(["localhost"])
    spent, began = time.process_time(), time.monotonic()
    pace = Pace(time.monotonic_ns(), RATE)
    for n in range(round(RATE * SECONDS)):
        time.sleep(max(0.0, (pace.due(n) - time.monotonic_ns()) / 1e9))
        due.put((n, pace.due(n)))
    share = (time.process_time() - spent) / (time.monotonic() - began)
    for _ in workers:
        due.put(None)
    for worker in workers:
        worker.join()
    answers.send((sorted(late), share))


def peer(folder: Path, port: int) -> tuple[list[int], float]:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=threads, args=(folder, port, sender))
    process.start()
    late, share = receiver.recv()
    process.join()
    return late, share


def main() -> bool:
    """Print the figures; returns whether all hold."""
    owns, peers, probed = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with stub(stub_postgres.serve, folder) as port, stub(prober.serve) as http:
            for _ in range(ROUNDS):
                with predictions(http, probed):
                    owns.append(own(folder, port))
                with predictions(http, []):
                    peers.append(peer(folder, port))

    def median(rounds: list[list[int]], share: float) -> float:
        return statistics.median(percentile(ordered, share) for ordered in rounds) / 1e6

    own_lates, peer_lates = [late for late, _, _ in owns], [late for late, _ in peers]
    for title, lates in (("writer", own_lates), ("a thread a connection", peer_lates), ("predictions beside", probed)):
        told = ", ".join(f"p{round(share * 100)} {median(lates, share):.3f} ms" for share in (0.5, 0.95, 0.99))
        print(f"{title:24} lateness {told}")
    shares = [statistics.median(share for _, _, share in owns), statistics.median(share for _, share in peers)]
    print(f"share of a processor: writer {shares[0]:.1%}, a thread a connection {shares[1]:.1%}")
    return all(
        [
            figure("writes acknowledged, of 500 a second", min(a for _, a, _ in owns), ACKNOWLEDGED, "", at_least=True),
            figure("lateness of a write p95", median(own_lates, 0.95), LATENESS, "ms"),
            figure("lateness of a prediction beside it p95", median(probed, 0.95), LATENESS, "ms"),
        ]
    )
