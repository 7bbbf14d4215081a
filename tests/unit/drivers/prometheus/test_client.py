"""What the harness asks Prometheus, and what it makes of answers of every kind, over a real socket."""

from __future__ import annotations

import http.server
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dr.domain.errors import ProviderError, UsageError
from dr.drivers.prometheus.client import Points, Prometheus, expression, scraped
from tests.support import BUSY, serving
from tests.virtual import VirtualClock

MATRIX = {
    "status": "success",
    "data": {
        "resultType": "matrix",
        "result": [{"metric": {"job": "a"}, "values": [[1.5, "0.25"], [2.5, "NaN"], [3.5, "+Inf"]]}],
    },
}
EMPTY = {"status": "success", "data": {"resultType": "matrix", "result": []}}


class Stub(http.server.ThreadingHTTPServer):
    """Answers with ``status`` and ``body``: bytes ``pause`` seconds apart, and ``lacks`` fewer than it announced."""

    status, body, pause, asked, lacks = 200, b"", 0.0, "", 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server_port}"

    def say(self, answer: Any, status: int = 200) -> Prometheus:
        self.status, self.body = status, answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return Prometheus(self.url, 2.0, VirtualClock())


class Handler(http.server.BaseHTTPRequestHandler):
    server: Stub

    def do_GET(self) -> None:
        self.server.asked = self.path
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body) + self.server.lacks))
        self.end_headers()
        with suppress(ConnectionError):
            for byte in range(len(self.server.body)):
                self.wfile.write(self.server.body[byte : byte + 1])
                time.sleep(self.server.pause)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def stub() -> Iterator[Stub]:
    server = Stub()
    with serving(server):
        yield server


def ask(prometheus: Prometheus) -> Points:
    return prometheus.query_range("up > 0", 1.5, 3.5, 1)


def test_a_range_query_says_what_it_asks_for_and_returns_its_numbers(stub: Stub) -> None:
    assert ask(stub.say(MATRIX)) == ((1.5, 0.25), (3.5, float("inf")))
    asked = urlsplit(stub.asked)
    assert asked.path == "/api/v1/query_range"
    assert parse_qs(asked.query) == {"query": ["up > 0"], "start": ["1.500"], "end": ["3.500"], "step": ["1.000"]}


def test_no_data_is_an_empty_answer_and_no_error(stub: Stub) -> None:
    assert ask(stub.say(EMPTY)) == ()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"<html>a proxy's page</html>",
        b"",
        b"[]",
        b'{"status": "success"}',
        {"status": "success", "data": {"resultType": "vector", "result": []}},
        {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [["x", 1]]}]}},
    ],
)
def test_an_answer_that_is_not_prometheus_own_is_an_error(stub: Stub, nonsense: Any) -> None:
    with pytest.raises(ProviderError, match=r"something else than api/v1 of Prometheus does \(status 200\)"):
        ask(stub.say(nonsense))


def test_a_value_that_is_no_number_is_an_error(stub: Stub) -> None:
    result = [{"metric": {}, "values": [[1.5, "much"]]}]
    with pytest.raises(ProviderError, match="no number"):
        ask(stub.say({"status": "success", "data": {"resultType": "matrix", "result": result}}))


def test_prometheus_own_reason_is_told(stub: Stub) -> None:
    said = {"status": "error", "errorType": "bad_data", "error": "parse error at char 3"}
    with pytest.raises(ProviderError, match=r"did not answer a query: parse error at char 3\.$") as caught:
        ask(stub.say(said, 400))
    assert (caught.value.code, caught.value.transient) == ("bad_data", False)
    with pytest.raises(ProviderError) as caught:
        ask(stub.say({**said, "errorType": "unavailable"}, 503))
    assert caught.value.transient


def test_an_answer_that_may_lack_data_is_an_error_and_a_remark_on_style_is_none(stub: Stub) -> None:
    with pytest.raises(ProviderError, match="a store did not answer"):
        ask(stub.say({**EMPTY, "warnings": ["a store did not answer"]}))
    assert ask(stub.say({**EMPTY, "warnings": ["PromQL info: metric might not be a counter"]})) == ()


def test_a_server_that_is_down_is_an_error(stub: Stub) -> None:
    stub.server_close()
    with pytest.raises(ProviderError, match=r"The Prometheus at http://127\.0\.0\.1:\d+ does not answer") as caught:
        ask(Prometheus(stub.url))
    assert caught.value.transient


def test_a_server_that_answers_byte_by_byte_runs_out_of_patience(stub: Stub) -> None:
    stub.pause = 0.05
    stub.say(MATRIX)
    started = time.monotonic()
    with pytest.raises(ProviderError, match=r"of the Prometheus at .* was not answered within 0.3 s"):
        ask(Prometheus(stub.url, 0.3))
    assert time.monotonic() - started < 2.0 * BUSY


def test_an_answer_that_ends_early_is_an_error(stub: Stub) -> None:
    stub.lacks = 1
    with pytest.raises(ProviderError, match="IncompleteRead"):
        ask(stub.say(EMPTY))


def test_a_url_that_is_none_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"prometheus\.url"):
        ask(Prometheus("localhost:9090"))


def test_alert_rules_come_with_their_time_and_what_is_wrong_with_them(stub: Stub) -> None:
    rule = {"name": "HighErrorRate", "query": "a > 1", "duration": 300, "type": "alerting", "health": "ok"}
    broken = {**rule, "name": "Broken", "lastError": "found duplicate series"}
    groups = [{"name": "g", "rules": [rule, broken], "interval": 1}]
    rules = stub.say({"status": "success", "data": {"groups": groups}}).alert_rules()
    assert [(one.name, one.expression, one.held, one.problem) for one in rules] == [
        ("HighErrorRate", "a > 1", 300.0, ""),
        ("Broken", "a > 1", 300.0, "found duplicate series"),
    ]


def test_an_objectives_expression_names_window_and_series() -> None:
    assert expression("errors", 30, 'job="x"') == (
        'sum(rate(readmission_api_request_errors_total{job="x"}[30s]))'
        ' / sum(rate(readmission_api_requests_total{job="x"}[30s]))'
    )
    assert scraped(1, 'job="x"') == 'min(min_over_time(up{job="x"}[3s]))'
    assert scraped(0.5) == "min(min_over_time(up{}[2s]))"
