"""A URL that leads to a PostgreSQL server, as libpq, SQLAlchemy and JDBC write it: its host and port alone. Pure.

A URL holds a password, so that no error here repeats any of it. What two clients could read differently (several hosts,
a host in the query, a password with a bare @ or ?) is not read at all.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+", re.ASCII)
"""A name or an address, as it stands by itself."""
_URL = re.compile(
    r"\s*(?:jdbc:)?postgres(?:ql)?(?:\+[a-z0-9_]+)?://(?:[^\s@/?#]*@)?"
    r"(?P<place>(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[1-9][0-9]{0,4}))?)"
    r"(?:/[^\s?]*)?(?:\?(?P<query>\S*))?\s*",
    re.ASCII,
)
_SCHEME = re.compile(r"\s*(?:jdbc:)?postgres(?:ql)?(?:\+[a-z0-9_]+)?://", re.ASCII)
_ELSEWHERE = frozenset({"host", "hostaddr", "port", "service", "pghost", "pgport"})
"""Parameters by which libpq or JDBC go to another host than the URL's own."""


def host_and_port(url: str) -> tuple[str, int | None]:
    """The host as it is written, without the brackets of an IPv6 address, and the port; None where there is none.

    Raises ValueError: what the URL is or does that keeps it from being read, and nothing of what it holds.
    """
    found = _read(url)
    return found["v6"] or found["name"], int(found["port"]) if found["port"] else None


def led(url: str, host: str, port: int | None) -> str:
    """``url`` with another host and port, to the letter what it was elsewhere. Raises ValueError, as above."""
    found = _read(url)
    name = f"[{host}]" if ":" in host else host
    place = name if port is None else f"{name}:{port}"
    return f"{url[: found.start('place')]}{place}{url[found.end('place') :]}"


def _read(url: str) -> re.Match[str]:
    if _SCHEME.match(url) is None:
        raise ValueError("is no URL of a scheme that is known: postgresql:// or jdbc:postgresql://")
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError("names no single host of its own, or holds a character that has to be encoded")
    if _ELSEWHERE & {name.lower() for name, _ in parse_qsl(found["query"] or "", keep_blank_values=True)}:
        raise ValueError("names a host or a port in its query, too: they would still lead to the old one")
    return found
