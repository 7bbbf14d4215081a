"""What a probe over HTTP comes to, whatever answers."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from dr.lab.cluster.nodes.asking import ask

LAUNCH: Any = None
"""Nothing is launched."""


def asked(port: int) -> tuple[bool, str]:
    return ask({"probe": {"httpGet": {"port": port}, "timeoutSeconds": 0.5}}, "probe", "127.0.0.1", LAUNCH, {})


@pytest.mark.parametrize(
    ("answer", "passes", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True, ""),
        (b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n", True, ""),
        (b"HTTP/1.1 503 Gone\r\nContent-Length: 0\r\n\r\n", False, "statuscode: 503"),
        (b"rubbish\r\n", False, "the answer is no HTTP (BadStatusLine)"),
        (b"", False, "RemoteDisconnected"),
        (None, False, "no answer within 0.5 s"),
    ],
)
def test_what_answers_decides_and_what_does_not_is_told(answer: bytes | None, passes: bool, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def serve() -> None:
            wire, _ = server.accept()
            with wire:
                wire.recv(4096)
                if answer is None:
                    over.wait(10)
                else:
                    wire.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        passed, why = asked(server.getsockname()[1])
        over.set()
        thread.join()
    assert (passed, passed or words in why) == (passes, True), why


def test_where_nobody_listens_that_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert asked(port) == (False, "Connection refused")
