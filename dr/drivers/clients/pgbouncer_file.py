"""PgBouncer's configuration file, read as PgBouncer reads it, and an entry's host and port in it exchanged.

Bytes go in and come out: names, passwords and comments may stand in any encoding, lines may end as on Windows, and
whatever is not exchanged stays as it is. The grammar is that of pgbouncer(5), and of what release 1.18 does beyond it:
of an entry that stands twice the last counts, of a parameter, too, and ``%include`` reads a file in the midst of
another, in the section that it stands in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dr.domain.errors import RefusedError
from dr.drivers.clients.provider import Place

DEFAULT_PORT = 5432
DEEPEST = 10
"""Files within files; PgBouncer itself gives up soon after."""

Span = tuple[int, int]

_SPACE = re.compile(rb"\s*")
_INCLUDE = re.compile(rb"%include[ \t]+([^\n]*)")
_COMMENT = re.compile(rb"[;#][^\n]*")
_SECTION = re.compile(rb"\[([^]\n]*)\]")
_ENTRY = re.compile(rb'(?:"((?:[^"\n]|"")*)"|([A-Za-z0-9_.*-]+))[ \t]*=[ \t]*([^\n]*)')
_PAIR = re.compile(rb"([^=\s]+) *= *('(?:[^']|'')*'(?![^ \t])|[^' ][^ ]*) *")
_LED_TO = re.compile(r"[A-Za-z0-9._:-]+")
_PORT = re.compile(rb"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Found:
    """The entry that counts: in which file and line, and where in that file its host and its port stand."""

    file: str
    """As ``%include`` names it; "": the file that was begun with."""
    line: int
    place: Place
    host: Span
    port: Span | None


@dataclass(frozen=True, slots=True)
class _Written:
    """One entry of [databases] as it is written: ``value`` is where its connection string stands in ``text``."""

    file: str
    line: int
    name: bytes
    text: bytes
    value: Span


class _Reader:
    """One walk through a file and all that it includes. ``section``: the one that the walk is in."""

    def __init__(self, load: Callable[[str], bytes | None], name: bytes) -> None:
        self._load = load
        self._name = name
        self._section = b""
        self.unread: tuple[str, int, str] | None = None
        """The last file that could not be read: by which file, in which line, and its name."""

    def entries(self, text: bytes, file: str = "", depth: int = 0) -> Iterator[_Written]:
        """Those of [databases], in order. Raises RefusedError for what PgBouncer would not load."""
        if b"\0" in text:
            raise RefusedError(f"{_called(file)} holds a zero byte, at which PgBouncer stops reading.", "Remove it.")
        at = 0
        while (at := _matched(_SPACE, text, at).end()) < len(text):
            line = text.count(b"\n", 0, at) + 1
            if included := _INCLUDE.match(text, at):
                yield from self._included(included[1].strip(), file, line, depth)
                at = included.end()
            elif section := _SECTION.match(text, at):
                self._section, at = section[1], section.end()
            elif comment := _COMMENT.match(text, at):
                at = comment.end()
            elif entry := _ENTRY.match(text, at):
                if self._section == b"databases":
                    name = entry[2] if entry[1] is None else entry[1].replace(b'""', b'"')
                    yield _Written(file, line, name, text, entry.span(3))
                at = entry.end()
            else:
                raise RefusedError(
                    f"Line {line} of {_called(file)} is nothing that PgBouncer could read.",
                    "Correct it: PgBouncer loads nothing of what follows.",
                )

    def _included(self, named: bytes, file: str, line: int, depth: int) -> Iterator[_Written]:
        if depth >= DEEPEST:
            raise RefusedError(f"Line {line} of {_called(file)} includes a file within {DEEPEST} others.")
        name = named.decode("utf-8", "surrogateescape")
        text = self._load(name)
        if text is None:
            self.unread = (file, line, name)
        else:
            yield from self.entries(text, name, depth + 1)

    def noted(self, entry: _Written) -> None:
        """An entry of the name overrides what an unreadable file before it may have held."""
        if entry.name == self._name:
            self.unread = None


def find(text: bytes, entry: str, load: Callable[[str], bytes | None] = lambda _: None) -> Found:
    """Where ``entry`` leads by a file's ``text``. Pure but for ``load``: what an included file holds, None: unreadable.

    Raises RefusedError where there is no such entry, or none that could be led elsewhere and back: with the line.
    """
    reader, name = _Reader(load, entry.encode()), entry.encode()
    last: _Written | None = None
    fallback: _Written | None = None
    for one in reader.entries(text):
        reader.noted(one)
        last = one if one.name == name else last
        fallback = one if one.name == b"*" else fallback
    if reader.unread is not None:
        file, line, named = reader.unread
        raise RefusedError(
            f"Line {line} of {_called(file)} includes {named!r}, which cannot be read here and may name {entry} again.",
            "Let this user read it, under an absolute path or beside PgBouncer's file.",
        )
    if last is None:
        serves = f": the fallback '*' of line {fallback.line} serves it" if fallback and entry != "*" else ""
        raise RefusedError(
            f"PgBouncer's file has no entry {entry}{serves}.",
            "Give it an entry of its own." if serves else "Correct the target's pooler.entry.",
        )
    return _found(last, entry)


def _found(written: _Written, entry: str) -> Found:
    where = f"line {written.line} of {_called(written.file)}"
    host: Span | None = None
    port: Span | None = None
    for key, span in _pairs(written, entry):
        if key == b"host":
            host = span
        elif key == b"port":
            port = span
    if host is None:
        raise RefusedError(
            f"PgBouncer's entry {entry} names no host ({where}).", "Give it a host: it is led elsewhere by that."
        )
    host_text = written.text[slice(*host)]
    port_text = b"" if port is None else written.text[slice(*port)]
    value, number = _value(host_text), _value(port_text)
    if not host_text.isascii() or (port is not None and not _PORT.fullmatch(number)):
        raise RefusedError(
            f"PgBouncer's entry {entry} leads to a host or a port that dr could not write back ({where}).",
            "Write the host in ASCII and the port in digits.",
        )
    bare, at = port is None, int(number or DEFAULT_PORT)
    plain = _LED_TO.fullmatch(host_text.decode()) and port_text == (b"" if bare else b"%d" % at)
    as_written = None if plain else (host_text.decode(), port_text.decode())
    return Found(written.file, written.line, Place(value.decode(), at, bare, as_written), host, port)


def _pairs(written: _Written, entry: str) -> Iterator[tuple[bytes, Span]]:
    """Each parameter of a connection string, with where its value stands."""
    begin, end = written.value
    end = begin + len(written.text[begin:end].rstrip())
    at = begin
    while at < end:
        pair = _PAIR.match(written.text, at, end)
        if pair is None or (not pair[2].startswith(b"'") and re.search(rb"\s", pair[2])):
            raise RefusedError(
                f"PgBouncer's entry {entry} is no connection string (line {written.line} of {_called(written.file)}).",
                "Write it as key=value, with blanks between, and a value that holds blanks in apostrophes.",
            )
        yield pair[1], pair.span(2)
        at = _matched(_SPACE, written.text, pair.end()).end()


def led(text: bytes, found: Found, to: Place) -> bytes:
    """``text`` of the file that ``found`` is in, with its entry leading to ``to`` and everything else as it was. Pure.

    Led back to the place that it was found at, it is the same byte for byte. Raises RefusedError for what is no host.
    """
    if to.written:
        host, port = (written.encode() for written in to.written)
    elif _LED_TO.fullmatch(to.host):
        host, port = to.host.encode(), b"%d" % to.port
    else:
        raise RefusedError(f"{to.host!r} is no host that PgBouncer could be led to.")
    begin, end = found.host
    if found.port is None:
        added = b"" if to.bare else b" port=" + port
        return text[:begin] + host + added + text[end:]
    from_port, to_port = found.port
    if to.bare and text[end:from_port] == b" port=":
        return text[:begin] + host + text[to_port:]
    changes = sorted([(found.host, host), (found.port, port or b"%d" % to.port)], reverse=True)
    for (start, stop), new in changes:
        text = text[:start] + new + text[stop:]
    return text


def _value(written: bytes) -> bytes:
    return written[1:-1].replace(b"''", b"'") if written.startswith(b"'") else written


def _called(file: str) -> str:
    return file or "PgBouncer's file"


def _matched(pattern: re.Pattern[bytes], text: bytes, at: int) -> re.Match[bytes]:
    """What a pattern that fits everywhere matches there."""
    match = pattern.match(text, at)
    assert match is not None  # noqa: S101 - every pattern that is given here may match nothing at all
    return match
