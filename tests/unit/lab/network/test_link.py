"""What a link of the lab's network may be."""

from __future__ import annotations

import pytest

from dr.domain.errors import UsageError
from dr.lab.network.link import Link, checked, parse


def test_an_address_is_a_loopback_port_or_an_absolute_path() -> None:
    assert parse("127.0.0.1:5432") == ("127.0.0.1", 5432)
    assert parse("/run/x/.s.PGSQL.5432") == "/run/x/.s.PGSQL.5432"


@pytest.mark.parametrize(
    "address", ["", "/", "/run/", "0.0.0.0:1", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x", "a/b", "/" * 101]
)
def test_another_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError):
        parse(address)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 3601.0])
def test_a_delay_needs_a_length(seconds: float) -> None:
    with pytest.raises(UsageError):
        checked(Link("l", "127.0.0.1:1", "127.0.0.1:2", "delay", seconds))


def test_only_a_delay_takes_seconds_and_no_link_leads_to_itself() -> None:
    with pytest.raises(UsageError):
        checked(Link("l", "127.0.0.1:1", "127.0.0.1:2", "silent", 1.0))
    with pytest.raises(UsageError):
        checked(Link("l", "127.0.0.1:1", "127.0.0.1:1"))
