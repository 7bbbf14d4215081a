"""The prober's own lateness against asyncio ``call_at`` with aiohttp, and a stall that it must show.

A stub server runs in a process of its own; peer and own alternate, and medians decide. Lateness is taken when the
request's bytes have been handed to the system: own after ``send``, the peer's when aiohttp says that the headers were
sent. Its mere callback, before aiohttp does anything, is printed beside it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar

from bench import meter
from bench.figures import figure
from dr.evidence.samples import load_samples, samples_file
from dr.host.children import identity
from dr.meter.loop import Pace, percentile

RATE, SECONDS, ROUNDS = 1000, 4.0, 5
LATENESS, TIMES_BETTER, STALL_OFF = 0.2, 5.0, 0.01
STALL_AT, STALL, STALLED_SECONDS = 0.8, 1.0, 2.6
BODY = {"patient": "synthetic"}
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"risk": 0.5}'


class Stub(asyncio.Protocol):
    """Answers every request at once; a request for /stall/SECONDS holds all answers back for so long."""

    held: ClassVar[list[Callable[[], None]] | None] = None
    """Answers held back while the server stalls; None while it does not."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"POST /stall/"):
            Stub.held = []
            seconds = float(data.split(b" ", 2)[1].rpartition(b"/")[2])
            asyncio.get_running_loop().call_later(seconds, self.release)
        answer = partial(self.transport.write, ANSWER * max(1, data.count(b"POST ")))
        if Stub.held is None:
            answer()
        else:
            Stub.held.append(answer)

    def release(self) -> None:
        held, Stub.held = Stub.held or [], None
        for answer in held:
            answer()


def serve(ready: Connection) -> None:
    """The stub's process."""

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0, backlog=2048)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def own(port: int, seconds: float, stall: bool = False) -> list[Any]:
    """Samples of the project's prober."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        config = {
            "run": folder, "path": "bench", "url": f"http://127.0.0.1:{port}/", "bodies": [BODY], "fields": ["risk"],
            "rate": RATE, "timeout": 5.0, "owner": identity(os.getpid()), "pidfile": str(run / "meter.pid"),
        }  # fmt: skip
        process = meter.start("probe", config)
        file = samples_file(run, "bench")
        while not file.exists():
            time.sleep(0.02)
        if stall:
            time.sleep(STALL_AT)
            asyncio.run(_stall(port))
            time.sleep(seconds - STALL_AT - STALL)
        else:
            time.sleep(seconds)
        process.terminate()
        process.wait()
        loaded = load_samples(file)
        assert loaded is not None
        return list(loaded.samples)


async def _stall(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST /stall/{STALL} HTTP/1.1\r\n\r\n".encode())
    await reader.read(1)
    writer.close()


def peer(port: int, seconds: float, answers: Connection) -> None:
    """The peer's process: lateness of the callback, and of the headers sent, nanoseconds."""
    import aiohttp

    called: list[int] = []
    sent: list[int] = []

    async def headers_sent(_session: Any, context: Any, _params: Any) -> None:
        sent.append(time.monotonic_ns() - context.trace_request_ctx)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(headers_sent)
        tasks: set[asyncio.Task[None]] = set()
        async with aiohttp.ClientSession(trace_configs=[trace]) as session:

            async def request(due: int) -> None:
                with suppress(aiohttp.ClientError):  # a busy machine breaks some; lateness was noted before
                    async with session.post(f"http://127.0.0.1:{port}/", json=BODY, trace_request_ctx=due) as response:
                        await response.read()

            def fire(due: int) -> None:
                called.append(time.monotonic_ns() - due)
                task = loop.create_task(request(due))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

            pace = Pace(time.monotonic_ns() + 200_000_000, RATE)
            for n in range(round(RATE * seconds)):
                loop.call_at(pace.due(n) / 1e9, fire, pace.due(n))
            await asyncio.sleep(seconds + 0.5)
            while tasks:
                await asyncio.wait(tasks)

    asyncio.run(main())
    answers.send((called, sent))


def lateness_of_peer(port: int) -> tuple[list[int], list[int]]:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=peer, args=(port, SECONDS, sender))
    process.start()
    called, sent = receiver.recv()
    process.join()
    return sorted(called), sorted(sent)


def stalled_p99(port: int) -> tuple[float, float]:
    """The p99 latency that a stall must give by reckoning, and the one measured; seconds.

    Requests due while the server stands wait for its end: of N in all, the hundredth part that waited longest did so
    for at least the stall minus N/100 periods.
    """
    samples = own(port, STALLED_SECONDS, stall=True)
    measured = percentile(sorted(s.done - s.due for s in samples), 0.99) / 1e9
    return STALL - len(samples) / 100 / RATE, measured


def report(lates: list[list[int]], peers: list[tuple[list[int], list[int]]], stalls: list[tuple[float, float]]) -> bool:
    """Print the figures; returns whether all hold."""

    def median(rounds: list[list[int]], share: float) -> float:
        return statistics.median(percentile(ordered, share) for ordered in rounds) / 1e6

    called, sent = [c for c, _ in peers], [s for _, s in peers]
    for name, rounds in (("prober", lates), ("aiohttp, headers sent", sent), ("aiohttp, callback", called)):
        print(f"{name:24} lateness p50 {median(rounds, 0.5):.3f} ms, p95 {median(rounds, 0.95):.3f} ms")
    ratio = median(sent, 0.5) / median(lates, 0.5)
    off, expected, measured = sorted((abs(m - e) / e, e, m) for e, m in stalls)[len(stalls) // 2]
    print(f"stall: p99 {measured:.4f} s where {expected:.4f} s is due")
    return all(
        [
            figure("own lateness p95, for an idle machine", median(lates, 0.95), LATENESS, "ms"),
            figure("aiohttp's lateness / own, medians", ratio, TIMES_BETTER, "", at_least=True),
            figure("stall of a second: p99 off by", off, STALL_OFF, ""),
        ]
    )


def main() -> bool:
    """Print the figures; returns whether all hold."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    stub = multiprocessing.Process(target=serve, args=(sender,), daemon=True)
    stub.start()
    port = receiver.recv()
    lates, peers, stalls = [], [], []
    for _ in range(ROUNDS):
        lates.append(sorted(s.sent - s.due for s in own(port, SECONDS) if s.sent))
        peers.append(lateness_of_peer(port))
        stalls.append(stalled_p99(port))
    stub.terminate()
    stub.join()
    return report(lates, peers, stalls)
