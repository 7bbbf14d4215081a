"""HTTP on loopback: a request in, checked and signed, an answer out.

Bodies are never logged: they may hold a master password.
"""

from __future__ import annotations

import logging
import secrets
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from dr.domain.errors import DrError
from dr.lab.background import Background
from dr.lab.loopback import stranger
from dr.lab.rds.actions import ACTIONS
from dr.lab.rds.errors import AwsError
from dr.lab.rds.faults import DROP
from dr.lab.rds.service import Lab, dispatch
from dr.lab.rds.signature import SignedRequest, verify
from dr.lab.rds.wire import Wire

log = logging.getLogger(__name__)
LARGEST = 1 << 20
"""Bytes of a request's body: AWS takes less."""


class Api(Background):
    """The endpoint: ``url`` once made; serves in threads of its own until ``close``.

    ``failures``: what a call can be made to fail with.
    """

    def __init__(self, lab: Lab, port: int = 0) -> None:
        wire = Wire()

        class Handler(_Handler):
            pass

        Handler.lab, Handler.wire = lab, wire
        self.failures = frozenset({*wire.codes(), DROP})
        server = _Server(("127.0.0.1", port), Handler)
        super().__init__(server)
        self.port = int(server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        log.debug("a client at %s went away", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    lab: Lab
    wire: Wire
    protocol_version = "HTTP/1.1"
    timeout = 60
    # Answers go out in two small writes; without this the second waits for the first one's acknowledgement.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > LARGEST:
            self.close_connection = True
            self._send(*self.wire.answer(None, AwsError("RequestEntityTooLarge", "The request is too large."), ""))
            return
        self._answer(self.rfile.read(int(length)))

    def do_GET(self) -> None:
        self._answer(b"")

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)

    def _answer(self, body: bytes) -> None:
        request = secrets.token_hex(16)
        operation = None
        drop = False
        target = self.headers.get("X-Amz-Target", "")
        try:
            headers = {name.lower(): value for name, value in self.headers.items()}
            if because := stranger(headers):
                raise AwsError("AccessDenied", because)
            text = "" if target else body.decode()
            form = dict(parse_qsl(text, keep_blank_values=True)) or dict(parse_qsl(urlsplit(self.path).query))
            service, operation = self.wire.target(target) if target else self.wire.operation(form)
            signed = SignedRequest(self.command, self.path, headers, body)
            verify(signed, self.lab.store.account, service, self.lab.now())
            armed = self.lab.work.faults.take_failure(str(operation.name))
            drop = armed == DROP
            if armed and not drop:
                raise AwsError(armed, "Injected by the lab.")
            result: object = dispatch(ACTIONS, self.lab, str(operation.name), self.wire.parse(operation, form, body))
        except AwsError as error:
            result = error
        except UnicodeDecodeError:
            result = AwsError("MalformedInput", "The request is not UTF-8.")
        except DrError as error:
            log.error("%s: %s", operation.name if operation else "?", error)
            result = AwsError("InternalFailure", "An internal error has occurred.")
        except Exception:
            # The boundary of the service: whatever breaks inside is answered as AWS would, and logged.
            log.exception("%s broke", operation.name if operation else "?")
            result = AwsError("InternalFailure", "An internal error has occurred.")
        if drop:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._send(*self.wire.answer(operation, result, request, in_json=bool(target)), request=request)

    def _send(self, status: int, headers: dict[str, str], body: str, request: str = "") -> None:
        content = body.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("x-amzn-RequestId", request)
        self.end_headers()
        self.wfile.write(content)
