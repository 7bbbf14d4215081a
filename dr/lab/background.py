"""A server of the lab's own process, beside what else that does."""

from __future__ import annotations

import threading
from socketserver import BaseServer


class Background:
    """``server``, which serves in threads of its own between ``start`` and ``close``."""

    def __init__(self, server: BaseServer) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Harmless where it was never started."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()
