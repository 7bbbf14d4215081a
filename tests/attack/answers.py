"""Bad answers of an RDS endpoint, each a change to one true answer: for the rehearsal and for the proxy.

An attack gives an ``Answer`` or a ``Break``. ``delivered`` says whether the request reaches the endpoint at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

NOT_FOUND = (
    '<ErrorResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/"><Error><Type>Sender</Type><Code>{code}</Code>'
    "<Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Break(StrEnum):
    """How a connection ends without a whole answer."""

    RESET = "reset"
    CLOSED = "closed"
    SILENT = "silent"
    SHORT = "short"
    DRIPPING = "dripping"


Bad = Callable[[Answer], Answer | Break]


@dataclass(frozen=True, slots=True)
class Attack:
    """A kind of bad answer. ``only``: the operations that it makes sense for, all where it is empty."""

    name: str
    bad: Bad
    delivered: bool = True
    only: tuple[str, ...] = ()
    refusal: bool = False
    """A whole and well-formed refusal, or what leads to one, which dr may take for what it says."""
    slow: bool = False
    """It takes until a deadline."""

    def fits(self, operation: str) -> bool:
        return not self.only or operation in self.only


def _body(content: bytes, status: int = 200, kind: str = "text/xml") -> Bad:
    return lambda _: Answer(status, {"Content-Type": kind}, content)


def _changed(pattern: bytes, instead: bytes) -> Bad:
    """The first match of ``pattern`` in the body is ``instead``."""
    return lambda true: replace(true, body=re.sub(pattern, instead, true.body, count=1, flags=re.DOTALL))


def _every(pattern: bytes, instead: bytes) -> Bad:
    return lambda true: replace(true, body=re.sub(pattern, instead, true.body, flags=re.DOTALL))


def _error(status: int, code: str, message: str = "Injected.") -> Bad:
    return _body(NOT_FOUND.format(code=code, message=message).encode(), status)


def _breaks(how: Break) -> Bad:
    return lambda _: how


def _cut(share: float) -> Bad:
    return lambda true: replace(true, body=true.body[: int(len(true.body) * share)])


HTML = b"<html><head><title>502 Bad Gateway</title></head><body><center>proxy</center></body></html>"
BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    b'<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;">]><a>&d;</a>'
)
LISTING = ("DescribeDBInstances", "DescribeDBSnapshots", "DescribeEvents", "DescribeDBInstanceAutomatedBackups")
INSTANCES = ("DescribeDBInstances",)

ATTACKS: tuple[Attack, ...] = (
    Attack("empty-200", _body(b"")),
    Attack("html-200", _body(HTML, 200, "text/html")),
    Attack("html-502", _body(HTML, 502, "text/html")),
    Attack("html-503", _body(HTML, 503, "text/html")),
    Attack("json-200", _body(b'{"message": "hello"}', 200, "application/json")),
    Attack("cut-in-half", _cut(0.5)),
    Attack("cut-at-the-end", _cut(0.97)),
    Attack("not-utf-8", _body(b"<a>\xff\xfe\x80</a>")),
    Attack("nul-bytes", _body(b"\0" * 4096)),
    Attack("other-document", _body(b"<Other><Thing>1</Thing></Other>")),
    Attack("deep-document", _body(b"<a>" * 20_000)),
    Attack("entity-bomb", _body(BOMB)),
    Attack("no-status", _every(rb"<DBInstanceStatus>.*?</DBInstanceStatus>", b""), only=INSTANCES),
    Attack("no-identifier", _every(rb"<DBInstanceIdentifier>.*?</DBInstanceIdentifier>", b""), only=INSTANCES),
    Attack("no-arn", _every(rb"<DBInstanceArn>.*?</DBInstanceArn>", b""), only=INSTANCES),
    Attack("no-port", _every(rb"<Port>.*?</Port>", b""), only=INSTANCES),
    Attack("port-no-number", _every(rb"<Port>.*?</Port>", b"<Port>many</Port>"), only=INSTANCES),
    Attack(
        "bad-date",
        _every(
            rb"<(LatestRestorableTime|SnapshotCreateTime|Date)>.*?</\1>",
            rb"<\1>2026-13-45T99:99:99Z</\1>",
        ),
        only=LISTING,
    ),
    Attack(
        "unknown-status", _every(rb"(<DBInstanceStatus>).*?(</DBInstanceStatus>)", rb"\1dreaming\2"), only=INSTANCES
    ),
    Attack("nothing-listed", _changed(rb"<DBInstances>.*</DBInstances>", b"<DBInstances/>"), only=INSTANCES),
    Attack("no-such-instance", _error(404, "DBInstanceNotFound"), only=INSTANCES, refusal=True),
    Attack(
        "same-marker-again", _changed(rb"(</DBInstances>)", rb"\1<Marker>again</Marker>"), only=INSTANCES, refusal=True
    ),
    Attack("throttled", _error(400, "Throttling", "Rate exceeded")),
    Attack("internal-failure", _error(500, "InternalFailure")),
    Attack("unavailable", _error(503, "ServiceUnavailable")),
    Attack("error-without-code", _body(b"<ErrorResponse><Error/></ErrorResponse>", 500)),
    Attack("reset-before", _breaks(Break.RESET), delivered=False),
    Attack("reset-after", _breaks(Break.RESET)),
    Attack("closed-before", _breaks(Break.CLOSED), delivered=False),
    Attack("closed-after", _breaks(Break.CLOSED)),
    Attack("silent-before", _breaks(Break.SILENT), delivered=False, slow=True),
    Attack("silent-after", _breaks(Break.SILENT), slow=True),
    Attack("short-body", _breaks(Break.SHORT)),
    Attack("dripping", _breaks(Break.DRIPPING), slow=True),
)
