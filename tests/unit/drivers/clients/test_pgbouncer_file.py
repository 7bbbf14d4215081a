"""PgBouncer's file: which entry counts, where it leads, and what an exchange leaves as it was."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from dr.domain.errors import RefusedError
from dr.drivers.clients.pgbouncer_file import find, led
from dr.drivers.clients.place import Place

NEW = Place("replica-1.example.com", 5433)
INI = b"""\
; the hospital's own
[databases]
r_ro = host=replica-1.example.com port=5432 dbname=readmission
r = host=db.example.com port=5432 dbname=readmission pool_size=20
* = host=fallback.example.com

[pgbouncer]
r = host=nothing
listen_port = 6432
"""


def entry(line: bytes) -> bytes:
    return b"[databases]\nr = " + line + b"\n"


LEADING = {
    "plain": (INI, Place("db.example.com", 5432)),
    "no port": (entry(b"host=h1 dbname=x"), Place("h1", 5432)),
    "blanks around =": (entry(b"host = h1  port =  7"), Place("h1", 7)),
    "no blanks": (b"[databases]\nr=host=h1", Place("h1", 5432)),
    "the last of two entries": (entry(b"host=h1") + b"r = host=h2 port=2", Place("h2", 2)),
    "sections twice": (entry(b"host=h1") + b"[users]\nr = pool_mode=session\n" + entry(b"host=h2"), Place("h2", 5432)),
    "the last of two hosts": (entry(b"host=h1 port=1 host=h2 port=2"), Place("h2", 2)),
    "several hosts": (entry(b"host=h1,h2 port=1"), Place("h1,h2", 1)),
    "several hosts with blanks": (entry(b"host='h1, h2' port=1"), Place("h1, h2", 1)),
    "a socket's directory": (entry(b"host=/run/postgresql port=1"), Place("/run/postgresql", 1)),
    "IPv6": (entry(b"host=::1 port=1"), Place("::1", 1)),
    "host= in a password": (entry(b"password='x host=evil port=9' host=h1 port=1"), Place("h1", 1)),
    "host= in a bare password": (entry(b"password=xhost=evil host=h1"), Place("h1", 5432)),
    "an apostrophe in a password": (entry(b"password='x'' host=evil' host=h1"), Place("h1", 5432)),
    "a backslash escapes nothing": (entry(b"password='x\\' host=h1 port=7"), Place("h1", 7)),
    "quoted": (entry(b"port='7' host='h1'"), Place("h1", 7)),
    "comments": (b"[databases]\n;r = host=a\n  # r = host=b\nr = host=h1\n;r = host=c\n", Place("h1", 5432)),
    "lines as on Windows": (b"[databases]\r\nr = host=h1 port=7\r\n\r\n", Place("h1", 7)),
    "Latin-1": (b"; M\xfcller\n" + entry(b"host=h1 password='M\xfcller'"), Place("h1", 5432)),
    "a quoted name": (b'[databases]\n"r" = host=h1\n', Place("h1", 5432)),
    "on the section's line": (b"[databases] r = host=h1\n", Place("h1", 5432)),
}


@pytest.mark.parametrize(("text", "place"), LEADING.values(), ids=LEADING)
def test_an_entry_is_led_elsewhere_and_back_to_the_byte(text: bytes, place: Place) -> None:
    found = find(text, "r")
    assert found.place == place
    away = led(text, found, NEW)
    assert find(away, "r").place == NEW
    assert led(away, find(away, "r"), found.place) == text


def test_only_the_entry_changes_and_the_rest_of_its_line_stays() -> None:
    after = led(INI, find(INI, "r"), NEW)
    changed = [(a, b) for a, b in zip(INI.splitlines(), after.splitlines(), strict=True) if a != b]
    assert changed == [
        (
            b"r = host=db.example.com port=5432 dbname=readmission pool_size=20",
            b"r = host=replica-1.example.com port=5433 dbname=readmission pool_size=20",
        )
    ]


REFUSED = {
    "no entry": (b"", "has no entry r"),
    "another section's": (b"[pgbouncer]\nr = host=x\n", "has no entry r"),
    "a longer name": (b"[databases]\nr2 = host=x\n", "has no entry r"),
    "the fallback": (b"[databases]\n\n* = host=x\n", r"has no entry r: the fallback '\*' of line 3 serves it"),
    "no host": (entry(b"dbname=x"), r"names no host \(line 2 of"),
    "the last has none": (entry(b"host=h1") + b"r = dbname=x", r"names no host \(line 3 of"),
    "an open apostrophe": (entry(b"host='h1 port=7"), r"no connection string \(line 2 of"),
    "a comment behind it": (entry(b"host=h1 ; the primary"), r"no connection string \(line 2 of"),
    "a tab in a value": (entry(b"host=h1\tport=7"), r"no connection string \(line 2 of"),
    "no number": (entry(b"host=h1 port=x"), r"could not write back \(line 2 of"),
    "a host that is not ASCII": (entry(b"host=m\xfcller"), r"could not write back \(line 2 of"),
    "a byte order mark": (b"\xef\xbb\xbf" + INI, "Line 1 of PgBouncer's file is nothing"),
    "a zero byte": (entry(b"host=h1") + b"\0", "zero byte"),
}


@pytest.mark.parametrize(("text", "why"), REFUSED.values(), ids=REFUSED)
def test_what_could_not_be_led_back_is_refused_with_its_line(text: bytes, why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        find(text, "r")


@pytest.mark.parametrize("host", ["x port=1 user=postgres", "x\n", "it's", ""])
def test_what_is_no_host_never_gets_into_the_file(host: str) -> None:
    with pytest.raises(RefusedError, match="is no host"):
        led(INI, find(INI, "r"), Place(host, 5432))


# -- what it includes


def found_in(text: bytes, files: Mapping[str, bytes]) -> tuple[str, int, Place]:
    found = find(text, "r", files.get)
    return found.file, found.line, found.place


def test_the_last_entry_counts_whichever_file_it_is_in() -> None:
    files = {"/a.ini": b"; theirs\nr = host=included\n"}
    assert found_in(b"[databases]\nr = host=h1\n%include /a.ini\r\n", files) == ("/a.ini", 2, Place("included", 5432))
    assert found_in(b"[databases]\n%include /a.ini\nr = host=h1\n", files) == ("", 3, Place("h1", 5432))


def test_an_included_file_may_change_the_section() -> None:
    files = {"/a.ini": b"[databases]\n", "/b.ini": b"[users]\n"}
    assert found_in(b"%include /a.ini\nr = host=h1\n", files) == ("", 2, Place("h1", 5432))
    with pytest.raises(RefusedError, match="has no entry r"):
        find(b"[databases]\n%include /b.ini\nr = host=h1\n", "r", files.get)


def test_an_included_file_that_cannot_be_read_may_hide_the_entry_that_counts() -> None:
    with pytest.raises(RefusedError, match=r"Line 3 of PgBouncer's file includes '/a\.ini', which cannot be read"):
        find(entry(b"host=h1") + b"%include /a.ini\n", "r")
    assert find(b"[databases]\n%include /a.ini\nr = host=h1\n", "r").place == Place("h1", 5432), "the later one counts"


def test_files_that_include_each_other_are_refused() -> None:
    with pytest.raises(RefusedError, match="includes a file within 10 others"):
        find(b"%include /a.ini\n", "r", {"/a.ini": b"%include /a.ini\n"}.get)
