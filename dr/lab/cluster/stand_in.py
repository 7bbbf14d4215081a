"""``python -m dr.lab.cluster.stand_in``: what stands for a program that the lab does not have.

It answers every GET with 200 at HOST and PORT, so that it is ready by a real probe, and ends on SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, format: str, *arguments: Any) -> None:
        """Probes come every few seconds."""


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    HTTPServer((os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8080"))), _Answer).serve_forever()


if __name__ == "__main__":
    main()
