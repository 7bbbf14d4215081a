"""Whether something answers, asked in the way that the lab asks it."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from dr.lab.asked import is_ready
from tests.support import serving


@pytest.mark.parametrize(("line", "expected"), [(b"200 OK", True), (b"503 Busy", False), (b"", False)])
def test_only_an_answer_of_200_is_ready(line: bytes, expected: bool) -> None:
    """``b""``: it hangs up without an answer."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if line:
                self.wfile.write(b"HTTP/1.1 " + line + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with HTTPServer(("127.0.0.1", 0), Answering) as server, serving(server):
        url = f"http://127.0.0.1:{server.server_port}/readyz"
        assert is_ready(url, 5) is expected
    assert not is_ready(url, 1), "nobody listens there any more"
