"""``python -m dr.lab.cluster.forward``: connections to HOST and PORT go on to UPSTREAM (HOST:PORT), byte for byte.

A connection whose other side cannot be reached is closed at once; on SIGTERM no more are taken, and those that are open
have until the end of the pod's grace.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress

CHUNK = 64 * 1024
CONNECT_LIMIT = 3.0


class Forwarder:
    """``upstream``: host and port."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self._upstream = upstream
        self.open: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs this as a task
        self.open.add(task)
        try:
            async with asyncio.timeout(CONNECT_LIMIT):
                there, back = await asyncio.open_connection(*self._upstream)
        except (OSError, TimeoutError):
            pass
        else:
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        finally:
            self.open.discard(task)
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()


async def run(environment: Mapping[str, str]) -> None:
    """Serve until SIGTERM. Raises OSError where it cannot listen."""
    host, _, port = environment["UPSTREAM"].rpartition(":")
    forwarder = Forwarder((host, int(port)))
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    here = environment.get("HOST", "127.0.0.1"), int(environment.get("PORT", "5432"))
    server = await asyncio.start_server(forwarder.serve, *here)
    await over.wait()
    server.close()
    if forwarder.open:
        await asyncio.wait(forwarder.open)


if __name__ == "__main__":
    asyncio.run(run(os.environ))
