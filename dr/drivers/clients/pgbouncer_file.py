"""PgBouncer's configuration file, read as PgBouncer reads it, and an entry's host and port in it exchanged.

Bytes go in and come out: names, passwords and comments may stand in any encoding, lines may end as on Windows, and
whatever is not exchanged stays as it is. The grammar is that of pgbouncer(5), and of what release 1.18 does beyond it:
of an entry that stands twice the last counts, of a parameter, too, and ``%include`` reads a file in the midst of
another, in the section that it stands in.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from dr.domain.errors import RefusedError
from dr.drivers.clients.place import DEFAULT_PORT, Place

MAIN = "PgBouncer's file"
DEEPEST = 10
"""Files within files; PgBouncer itself gives up soon after."""

Span = tuple[int, int]

_TOKEN = re.compile(
    rb"""(?:%include[ \t]+(?P<include>[^\n]*)
          | \[(?P<section>[^]\n]*)\]
          | [;\#][^\n]*
          | (?:"(?P<quoted>(?:[^"\n]|"")*)" | (?P<name>[A-Za-z0-9_.*-]+))[ \t]*=[ \t]*(?P<value>[^\n]*)
         )\s*""",
    re.VERBOSE,
)
_PAIR = re.compile(rb"([^=\s]+) *= *('(?:[^']|'')*'(?![^ \t])|[^'\s]\S*(?![^ ]))\s*")
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


@dataclass
class _Walk:
    """One walk through a file and all that it includes, for the entry ``name`` of [databases]."""

    load: Callable[[str], bytes | None]
    name: bytes
    section: bytes = b""
    last: tuple[str, int, bytes, Span] | None = None
    """File, line and text of the entry that counts, and where its connection string stands."""
    fallback: int = 0
    """The line of the fallback "*"."""
    unread: str = ""
    """The file that could not be read and may override the entry, in words."""

    def read(self, text: bytes, file: str = "", depth: int = 0) -> None:
        """Raises RefusedError for what PgBouncer would not load."""
        called = file or MAIN
        if b"\0" in text:
            raise RefusedError(f"{called} holds a zero byte, at which PgBouncer stops reading.", "Remove it.")
        at = len(text) - len(text.lstrip())
        while at < len(text):
            token, line = _TOKEN.match(text, at), text.count(b"\n", 0, at) + 1
            if token is None:
                raise RefusedError(
                    f"Line {line} of {called} is nothing that PgBouncer could read.",
                    "Correct it: PgBouncer loads nothing of what follows.",
                )
            at = token.end()
            if token["include"] is not None:
                self._include(token["include"].strip(), f"Line {line} of {called} includes", depth)
            elif token["section"] is not None:
                self.section = token["section"]
            elif token["value"] is not None and self.section == b"databases":
                name = token["name"] or token["quoted"].replace(b'""', b'"')
                if name == self.name:  # it overrides what an unreadable file before it may have held
                    self.last, self.unread = (file, line, text, token.span("value")), ""
                elif name == b"*":
                    self.fallback = line

    def _include(self, named: bytes, where: str, depth: int) -> None:
        if depth >= DEEPEST:
            raise RefusedError(f"{where} a file within {DEEPEST} others.")
        name = named.decode("utf-8", "surrogateescape")
        text = self.load(name)
        if text is None:
            self.unread = f"{where} {name!r}"
        else:
            self.read(text, name, depth + 1)


def find(text: bytes, entry: str, load: Callable[[str], bytes | None] = lambda _: None) -> Found:
    """Where ``entry`` leads by a file's ``text``. Pure but for ``load``: what an included file holds, None: unreadable.
    Raises RefusedError where there is no such entry, or none that could be led elsewhere and back: with the line."""
    walk = _Walk(load, entry.encode())
    walk.read(text)
    if walk.unread:
        raise RefusedError(
            f"{walk.unread}, which cannot be read here and may name {entry} again.",
            "Let this user read it, under an absolute path or beside PgBouncer's file.",
        )
    if walk.last is None:
        serves = f": the fallback '*' of line {walk.fallback} serves it" if walk.fallback else ""
        raise RefusedError(
            f"PgBouncer's file has no entry {entry}{serves}.",
            "Give it an entry of its own." if serves else "Correct the target's pooler.entry.",
        )
    file, line, held, span = walk.last
    called, where = f"PgBouncer's entry {entry}", f"line {line} of {file or MAIN}"
    pairs = _pairs(held, span)
    if pairs is None:
        raise RefusedError(
            f"{called} is no connection string ({where}).",
            "Write it as key=value, with blanks between, and a value that holds blanks in apostrophes.",
        )
    if b"host" not in pairs:
        raise RefusedError(f"{called} names no host ({where}).", "Give it a host: it is led elsewhere by that.")
    host, port = held[slice(*pairs[b"host"])], held[slice(*pairs[b"port"])] if b"port" in pairs else b""
    if not host.isascii() or (port and not _PORT.fullmatch(_value(port))):
        raise RefusedError(
            f"{called} leads to a host or a port that dr could not write back ({where}).",
            "Write the host in ASCII and the port in digits.",
        )
    number = int(_value(port) or DEFAULT_PORT)
    plain = _LED_TO.fullmatch(host.decode()) and port == b"%d" % number
    place = Place(_value(host).decode(), number, None if plain else (host.decode(), port.decode()))
    return Found(file, line, place, pairs[b"host"], pairs.get(b"port"))


def _pairs(text: bytes, value: Span) -> dict[bytes, Span] | None:
    """Each parameter of the connection string ``value`` with where its own value stands; None where it is none."""
    at, end = value[0], value[0] + len(text[slice(*value)].rstrip())
    found = {}
    while at < end:
        pair = _PAIR.match(text, at, end)
        if pair is None:
            return None
        found[pair[1]], at = pair.span(2), pair.end()
    return found


def led(text: bytes, found: Found, to: Place) -> bytes:
    """``text`` of the file that ``found`` is in, with its entry leading to ``to`` and everything else as it was. Pure.
    Led back to the place that it was found at, it is the same byte for byte. Raises RefusedError for what is no
    host."""
    if not to.written and not _LED_TO.fullmatch(to.host):
        raise RefusedError(f"{to.host!r} is no host that PgBouncer could be led to.")
    host, port = (part.encode() for part in to.written or (to.host, str(to.port)))
    begin, end = found.host
    if found.port is None:
        return text[:begin] + host + (b" port=" + port if port else b"") + text[end:]
    if not port and text[end : found.port[0]] == b" port=":
        return text[:begin] + host + text[found.port[1] :]
    for (start, stop), new in sorted([(found.host, host), (found.port, port or b"%d" % to.port)], reverse=True):
        text = text[:start] + new + text[stop:]
    return text


def _value(written: bytes) -> bytes:
    return written[1:-1].replace(b"''", b"'") if written.startswith(b"'") else written
