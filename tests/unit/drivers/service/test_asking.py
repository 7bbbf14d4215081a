"""Answers as digests, and histograms out of Prometheus' text."""

from __future__ import annotations

import threading
import time

import pytest

from dr.domain.errors import ProviderError
from dr.drivers.service.asking import between, get, name_of, parse_histograms
from tests.dripping import dripping

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
    found = parse_histograms(TEXT, ["readmission_x_seconds"])
    assert found == {"readmission_x_seconds": {"count": 5, "buckets": {"0.1": 4, "+Inf": 5}}}


def test_only_what_was_counted_in_between_is_left() -> None:
    before = parse_histograms(TEXT, ["readmission_x_seconds"])
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
        until = time.monotonic() + 30
        while any("/readyz" in thread.name for thread in threading.enumerate()) and time.monotonic() < until:
            time.sleep(0.02)
        assert not any("/readyz" in thread.name for thread in threading.enumerate())
