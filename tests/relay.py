"""A wire for tests: passes bytes between a loopback port and a server, and can go silent as a lost host's does."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Relay:
    """Forwards ``port`` to ``backend``. ``freeze``: present connections stay open and silent for good."""

    def __init__(self, backend: int, address: str = "127.0.0.1", port: int = 0) -> None:
        self.backend = backend
        self.silent = False
        """Whether new connections are accepted and then nothing moves."""
        self._frozen: set[socket.socket] = set()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server((address, port))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        self._frozen.update(self._open)

    def close(self) -> None:
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                outer = self._listener.accept()[0]
                self._open.append(outer)
                if self.silent:
                    self._frozen.add(outer)
                    continue
                try:
                    inner = socket.create_connection(("127.0.0.1", self.backend))
                except OSError:
                    outer.close()
                    continue
                self._open.append(inner)
                for one, other in ((outer, inner), (inner, outer)):
                    threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if source not in self._frozen:
                    sink.sendall(data)
        if source not in self._frozen:
            for one in (source, sink):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
