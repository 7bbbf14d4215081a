"""An endpoint on loopback answers programs, and no page of somebody else's in a browser."""

from __future__ import annotations

import pytest

from dr.lab.loopback import stranger


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:4000"},
        {"host": "localhost"},
        {"host": "LOCALHOST:80"},
        {"host": "[::1]:80"},
        {"host": "127.0.0.1:4000", "origin": "http://127.0.0.1:4000"},
        {"host": "own.example"},
    ],
)
def test_who_asks_for_loopback_is_answered(headers: dict[str, str]) -> None:
    assert stranger(headers, "own.example") == ""


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": ""},
        {"host": "rebound.example:4000"},
        {"host": "127.0.0.1.example"},
        {"host": "127.0.0.1:port"},
        {"host": "a@127.0.0.1"},
        {"host": "127.0.0.1/x"},
        {"host": "127.0.0.1:4000", "origin": "null"},
        {"host": "127.0.0.1:4000", "origin": ""},
        {"host": "127.0.0.1:4000", "origin": "http://evil.example"},
        {"host": "127.0.0.1:4000", "origin": "http://127.0.0.1:5000"},
    ],
)
def test_a_rebound_name_and_a_foreign_page_are_not(headers: dict[str, str]) -> None:
    assert stranger(headers)
