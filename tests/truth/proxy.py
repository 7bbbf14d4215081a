"""Between dr and the lab's RDS: what dr asks for, or what it is answered, is another thing than it believes."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from tests.labs import Lab

Asked = dict[str, str]
KEPT = ("host", "content-type", "user-agent")


def moved(seconds: str) -> Callable[[Asked], None]:
    """A point in time that is later by ``seconds``."""

    def change(asked: Asked) -> None:
        if "RestoreTime" in asked:
            at = datetime.fromisoformat(asked["RestoreTime"].replace("Z", "+00:00"))
            asked["RestoreTime"] = f"{at + timedelta(seconds=float(seconds)):%Y-%m-%dT%H:%M:%SZ}"

    return change


def instead(snapshot: str) -> Callable[[Asked], None]:
    """Another snapshot is restored than the one that was asked for."""

    def change(asked: Asked) -> None:
        if asked.get("Action") == "RestoreDBInstanceFromDBSnapshot":
            asked["DBSnapshotIdentifier"] = snapshot

    return change


def pending(of: str) -> Callable[[str], str]:
    """In answers, the instances that ``of`` matches wait for a reboot."""

    def change(answer: str) -> str:
        def one(found: re.Match[str]) -> str:
            named = re.search(r"<DBInstanceIdentifier>([^<]*)<", found[0])
            if named is None or not re.fullmatch(of, named[1]):
                return found[0]
            return found[0].replace("<ParameterApplyStatus>in-sync", "<ParameterApplyStatus>pending-reboot")

        return re.sub(r"<DBInstance>.*?</DBInstance>", one, answer, flags=re.DOTALL)

    return change


def unchanged(_: Asked) -> None:
    """What is asked for is asked for."""


def true(answer: str) -> str:
    return answer


@contextmanager
def between(lab: Lab, asked: Callable[[Asked], None] = unchanged, said: Callable[[str], str] = true) -> Iterator[str]:
    """The URL at which ``asked`` changes each request and ``said`` each answer."""
    to, region = urlsplit(lab.target.rds.endpoint), lab.target.rds.region
    credentials = lab.rds._request_signer._credentials  # whoever stands between them has to sign anew

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is logged."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            headers = {name: value for name, value in self.headers.items() if name.lower() in KEPT}
            if "/rds/" in self.headers.get("Authorization", ""):
                words = dict(parse_qsl(body, keep_blank_values=True))
                asked(words)
                headers["Host"] = to.netloc
                again = AWSRequest("POST", f"http://{to.netloc}{self.path}", headers, urlencode(words))
                SigV4Auth(credentials, "rds", region).add_auth(again)
                headers, body = dict(again.headers.items()), urlencode(words)
            else:
                headers = {n: v for n, v in self.headers.items() if n.lower() not in ("connection", "content-length")}
            status, kind, answer = self._pass_on(body, headers)
            content = (said(answer.decode()) if "xml" in kind else answer.decode()).encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _pass_on(self, body: str, headers: dict[str, Any]) -> tuple[int, str, bytes]:
            inner = http.client.HTTPConnection(to.hostname or "", to.port, timeout=60)
            try:
                inner.request("POST", self.path, body, headers)
                got = inner.getresponse()
                return got.status, got.headers.get("Content-Type", "text/xml"), got.read()
            finally:
                inner.close()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
