"""Responses are recognised however they arrive."""

from __future__ import annotations

import json

import pytest

from dr.domain.errors import UsageError
from dr.meter.http import MalformedError, Response, answer, endpoint, request, response
from dr.meter.loop import Pace, percentile

PLAIN = b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"risk": 0.5}'
CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{"risk":\r\n5;x=y\r\n 0.5}\r\n0\r\n\r\n'


@pytest.mark.parametrize("whole", [PLAIN, CHUNKED])
def test_a_response_is_whole_at_its_last_byte_and_not_before(whole: bytes) -> None:
    for length in range(len(whole)):
        assert response(whole[:length], closed=False) is None
    found = response(whole, closed=False)
    assert found == Response(200, b'{"risk": 0.5}', True)


def test_a_body_without_length_ends_when_the_other_side_closes() -> None:
    head = b"HTTP/1.0 200 OK\r\n\r\n{}"
    assert response(head, closed=False) is None
    assert response(head, closed=True) == Response(200, b"{}", False)


def test_a_connection_that_is_to_be_closed_is_not_reused() -> None:
    found = response(PLAIN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), closed=False)
    assert found is not None
    assert not found.reusable


@pytest.mark.parametrize(
    "broken",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_response_is_malformed(broken: bytes) -> None:
    with pytest.raises(MalformedError):
        response(broken, closed=False)


@pytest.mark.parametrize(
    ("status", "body", "named"),
    [
        (200, b'{"risk": 1}', ""),
        (200, b'{"other": 1}', "body"),
        (200, b"not json", "body"),
        (200, b"[1]", "body"),
        (500, b'{"risk": 1}', "status"),
        (201, b'{"risk": 1}', "status"),
    ],
)
def test_only_status_200_with_the_expected_fields_is_good(status: int, body: bytes, named: str) -> None:
    assert answer(Response(status, body, True), ["risk"]) == (named or json.loads(body))


@pytest.mark.parametrize("url", ["https://host/", "ftp://host", "host:80", "http://", "http://host:99999/"])
def test_what_cannot_be_probed_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError):
        endpoint(url)


def test_a_request_names_host_and_length() -> None:
    to = endpoint("http://user:word@[::1]:8080/predict")
    sent = request(to, {"a": "ü"}, {"Authorization": "Bearer t"})
    assert b"POST /predict HTTP/1.1\r\nHost: [::1]:8080\r\n" in sent
    head, _, body = sent.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"\r\nAuthorization: Bearer t" in head
    assert b"Authorization" not in request(to, {}, {})
    assert (to.host, to.port) == ("::1", 8080)


def test_due_times_do_not_drift() -> None:
    pace = Pace(100, 3.0, first=5)
    assert [pace.due(n) for n in (5, 6, 7, 8)] == [100, 333_333_433, 666_666_767, 1_000_000_100]
    assert pace.due(5 + 3 * 86_400) == 100 + 86_400 * 10**9


def test_percentiles_are_nearest_ranks() -> None:
    assert percentile(range(1, 101), 0.95) == 95
    assert percentile([7], 0.99) == 7
    assert percentile([], 0.5) == 0
