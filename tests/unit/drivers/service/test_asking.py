"""Answers as digests, and histograms out of Prometheus' text."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import pytest
import trustme

from dr.domain.errors import ProviderError
from dr.drivers.service.asking import between, get, histograms, metrics, name_of, samples
from tests.dripping import dripping
from tests.support import eventually

TEXT = """
# HELP readmission_x_seconds x
# TYPE readmission_x_seconds histogram
readmission_x_seconds_bucket{query="a",le="0.1"} 3
readmission_x_seconds_bucket{query="a",le="+Inf"} 4.0
readmission_x_seconds_sum{query="a"} 0.7
readmission_x_seconds_count{query="a"} 4
readmission_x_seconds_bucket{le="0.1",query="b"} 1
readmission_x_seconds_bucket{le="+Inf",query="b"} 1
readmission_x_seconds_count{query="b"} 1
readmission_y_seconds_count 9
process_cpu_seconds_total 1.5
"""


def test_label_sets_of_a_histogram_are_added_up() -> None:
    found = histograms(samples(TEXT), ["readmission_x_seconds"])
    assert found == {"readmission_x_seconds": {"count": 5, "buckets": {"0.1": 4, "+Inf": 5}}}


def test_only_what_was_counted_in_between_is_left() -> None:
    before = histograms(samples(TEXT), ["readmission_x_seconds"])
    after = {"readmission_x_seconds": {"count": 65, "buckets": {"0.1": 60, "+Inf": 65}}}
    assert between(before, after) == {"readmission_x_seconds": {"count": 60, "buckets": {"0.1": 56, "+Inf": 60}}}
    assert between({}, after) == after


def test_a_restarted_services_counts_are_left_out() -> None:
    before = {"m": {"count": 10, "buckets": {"+Inf": 10}}}
    assert between(before, {"m": {"count": 3, "buckets": {"+Inf": 3}}}) == {}


def test_a_requests_name_depends_on_its_content_alone() -> None:
    assert name_of({"a": 1, "b": 2}) == name_of({"b": 2, "a": 1})
    assert name_of({"a": 1}) != name_of({"a": 2})
    assert len(name_of({})) == 12


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_that_drips_is_given_up_as_a_whole_and_its_connection_ended(first: bytes) -> None:
    with dripping(b"a", every=0.05, first=first) as port:
        url = f"http://127.0.0.1:{port}"
        with pytest.raises(ProviderError, match=rf"/readyz of the service at {url} was not answered within 0.4 s"):
            get(url, "/readyz", patience=0.4)
        eventually(lambda: not any("/readyz" in thread.name for thread in threading.enumerate()))


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers each path with what ``said`` has for it: status, headers, body."""

    said: Mapping[str, tuple[int, dict[str, str], bytes]] = {}

    def do_GET(self) -> None:
        status, headers, body = self.said[self.path]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def answering(said: Mapping[str, tuple[int, dict[str, str], bytes]]) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Said", (Answers,), {"said": said})) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_no_proxy_of_the_environment_is_asked_and_no_redirect_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    moved = {"/healthz": (302, {"Location": "http://127.0.0.1:9/"}, b"moved")}
    with answering(moved) as url:
        assert get(url, "/healthz") == (302, b"moved")


def test_an_answer_without_end_is_read_no_further_than_it_may_be_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dr.drivers.service.asking.LARGEST", 1 << 20)
    with answering({"/full": (200, {}, b"a" * (1 << 20))}) as url:
        assert len(get(url, "/full")[1]) == 1 << 20

    def pour(peer: socket.socket) -> None:
        with suppress(OSError), peer:
            peer.recv(65_536)
            peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                peer.sendall(b"a" * 65_536)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=lambda: pour(listener.accept()[0]), daemon=True).start()
        with pytest.raises(ProviderError, match=r"/metrics of the service at .* answers with more than 1 MiB"):
            metrics(f"http://127.0.0.1:{listener.getsockname()[1]}")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ((200, {"Content-Length": "9"}, b"short"), "IncompleteRead"),
        ((200, {"Transfer-Encoding": "chunked"}, b"zz\r\nno chunk\r\n"), "InvalidChunkLength|IncompleteRead"),
        ((200, {"Content-Encoding": "gzip"}, b"no gzip"), "error"),
    ],
)
def test_an_answer_that_is_torn_is_none(said: tuple[int, dict[str, str], bytes], reason: str) -> None:
    with answering({"/readyz": said}) as url, pytest.raises(ProviderError, match=f"does not answer: ({reason})"):
        get(url, "/readyz")


@pytest.mark.parametrize("said", [b"no HTTP at all\r\n\r\n", b"HTTP/1.1 two hundred\r\n\r\n"])
def test_what_speaks_no_http_does_not_answer(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(65_536)
                peer.sendall(said)

        threading.Thread(target=speak, daemon=True).start()
        with pytest.raises(ProviderError, match="does not answer: BadStatusLine"):
            get(f"http://127.0.0.1:{listener.getsockname()[1]}", "/readyz")


def test_tls_of_nobody_known_is_refused() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            with suppress(OSError), context.wrap_socket(listener.accept()[0], server_side=True) as peer:
                peer.recv(65_536)

        threading.Thread(target=speak, daemon=True).start()
        with pytest.raises(ProviderError, match=r"does not answer: .*(CERTIFICATE_VERIFY_FAILED|SSL)"):
            get(f"https://127.0.0.1:{listener.getsockname()[1]}", "/readyz")


@pytest.mark.parametrize("text", ["<html>", "m{", 'm{a="b} 1', "m one"])
def test_metrics_of_another_form_are_an_error_and_none_counted(text: str) -> None:
    shown = answering({"/metrics": (200, {}, text.encode())})
    with shown as url, pytest.raises(ProviderError, match="metrics that are not in Prometheus' text format"):
        metrics(url)
    with answering({"/metrics": (404, {}, text.encode())}) as url:
        assert metrics(url) == []


def test_labels_hold_anything_and_a_count_that_is_no_number_is_none() -> None:
    text = 'x_bucket{le="0.1",path="a\\"}{,le=\\"9"} 3 1700000000000\nx_bucket{le="+Inf"} NaN\nx_count +Inf\n'
    assert histograms(samples(text), ["x"]) == {"x": {"count": 0, "buckets": {"0.1": 3}}}
