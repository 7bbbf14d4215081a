"""What replication reckons without a server: ends of records, ages of data, connection strings."""

from __future__ import annotations

import pytest

from dr.lab.servers import settings
from dr.lab.servers.replication import Receiving, lag_seconds, record_end

PAGE, SEGMENT = 8192, 1 << 20


@pytest.mark.parametrize(
    ("start", "length", "end"),
    [
        (40, 54, 40 + 56),  # the next one begins at a multiple of 8
        (PAGE - 56, 56, PAGE),  # fills its page to the end
        (PAGE - 56, 57, PAGE + 24 + 8),  # one byte on the next page, after that page's header
        (SEGMENT - 56, 57, SEGMENT + 40 + 8),  # a segment's first page has a longer header
        (PAGE - 56, 56 + (PAGE - 24) + 8, 2 * PAGE + 24 + 8),  # a whole page in the middle
    ],
)
def test_a_record_ends_after_the_headers_of_the_pages_it_crosses(start: int, length: int, end: int) -> None:
    assert record_end(start, length) == end


def test_a_standby_that_has_all_lags_nothing_whatever_the_age_of_the_last_commit() -> None:
    assert lag_seconds(100, Receiving(True, 100, 100, 37.0)) == 0.0


def test_what_is_still_under_way_counts_as_lag() -> None:
    assert lag_seconds(200, Receiving(True, 100, 100, 3.0)) == 3.0
    assert lag_seconds(None, Receiving(False, 100, 100, 3.0)) == 3.0


def test_a_lag_without_a_replayed_commit_is_unknown() -> None:
    assert lag_seconds(200, Receiving(True, 100, 100, None)) is None


def test_a_connection_string_keeps_any_path() -> None:
    assert settings.conninfo({"host": "/tmp/it's \\ here"}) == "host='/tmp/it\\'s \\\\ here'"


def test_a_standbys_name_is_quoted_where_it_becomes_synchronous() -> None:
    assert settings.synchronous("node_b")["synchronous_standby_names"] == 'FIRST 1 ("node_b")'
    assert settings.synchronous("")["synchronous_standby_names"] == ""
