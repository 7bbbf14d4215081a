"""What would be on the wire between an ``RdsClient`` and AWS: botocore whole, its answers told by the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from botocore.awsrequest import AWSResponse

from dr.drivers.aws.config import Credentials
from dr.drivers.rds.client import RdsClient
from dr.ports import Clock
from tests.unit.drivers.rds.support import ACCOUNT, REGION, target

ENDPOINT = "http://127.0.0.1:9"


@dataclass
class Answer:
    """An answer as it comes over the wire."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "text/xml"})


Say = Callable[[str, dict[str, str]], Answer]
"""An operation and its parameters as they were sent, to the answer."""


class _Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self._body


class Wire:
    """Answers with ``say``, operation by operation; ``sent``: the operations."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.sent: list[str] = []

    def answer(self, request: Any, **_: Any) -> AWSResponse:
        form = dict(parse_qsl(request.body.decode() if isinstance(request.body, bytes) else str(request.body)))
        operation = form.get("Action") or request.headers.get("X-Amz-Target", b"").decode().rpartition(".")[2]
        self.sent.append(operation)
        told = self.say(operation, form)
        return AWSResponse(request.url, told.status, told.headers, _Raw(told.body))


class _Client(RdsClient):
    """Whatever it would send goes to ``wire``."""

    wire: Wire

    def _client(self, service: str) -> Any:
        fresh = service not in self._clients
        client = super()._client(service)
        if fresh:
            client.meta.events.register_last("before-send", self.wire.answer)
        return client


def wired(tmp_path: Path, clock: Clock, say: Say) -> tuple[RdsClient, Wire]:
    """A client whose every request is answered by ``say``."""
    path = tmp_path / "credentials"
    path.write_text("[default]\naws_access_key_id = OWN\naws_secret_access_key = own-secret\n")
    client = _Client(target(credentials=Credentials(str(path)), endpoint=ENDPOINT), clock)
    client.wire = Wire(say)
    return client, client.wire


def xml(operation: str, inner: str = "") -> Answer:
    """A sound answer of the protocol that has XML."""
    result = f"<{operation}Result>{inner}</{operation}Result>"
    meta = "<ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata>"
    return Answer(f"<{operation}Response>{result}{meta}</{operation}Response>".encode())


def instance(name: str, inner: str = "") -> str:
    """An instance within a listing. ``inner``: what more it holds."""
    arn = f"arn:aws:rds:{REGION}:{ACCOUNT}:db:{name}"
    named = f"<DBInstanceIdentifier>{name}</DBInstanceIdentifier><DBInstanceArn>{arn}</DBInstanceArn>"
    return f"<DBInstance>{named}<DBInstanceStatus>available</DBInstanceStatus>{inner}</DBInstance>"


def error(code: str, status: int = 400, message: str = "No.") -> Answer:
    told = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    return Answer(f"<ErrorResponse>{told}<RequestId>r-1</RequestId></ErrorResponse>".encode(), status)
