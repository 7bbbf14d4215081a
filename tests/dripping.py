"""A server on loopback that answers for ever: a byte now and then, so that no time-out for a piece ever passes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, repeat


@contextmanager
def dripping(drops: bytes, every: float, first: bytes = b"") -> Iterator[int]:
    """Yields its port. ``first``: what each answer begins with at once; then come ``drops``, the last one for ever."""
    ended = threading.Event()

    def drip(peer: socket.socket) -> None:
        with suppress(OSError), peer:
            peer.recv(65_536)
            peer.sendall(first)
            for drop in chain(drops, repeat(drops[-1])):
                if ended.wait(every):
                    return
                peer.sendall(bytes([drop]))

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
