"""What a link is and what may be asked of it: pure."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from dr.domain.errors import UsageError

Mode = Literal["pass", "silent", "refuse", "delay"]
Command = Literal["open", "route", "freeze", "reset", "mode", "connections", "close", "links"]
PATH_LIMIT = 100
"""Bytes of a Unix socket's path: Linux takes 107, and the new one is bound beside the old one first."""
LONGEST_DELAY = 3600.0


class Link(msgspec.Struct, frozen=True):
    """A wire: listens at ``address``, passes to ``backend``. ``seconds``: the delay each way; 0 in all other modes."""

    name: str
    address: str
    backend: str
    mode: Mode = "pass"
    seconds: float = 0.0


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line to the process. What a command does not need stays empty."""

    do: Command
    name: str = ""
    address: str = ""
    backend: str = ""
    mode: Mode = "pass"
    seconds: float = 0.0


class Connection(msgspec.Struct, frozen=True):
    """A connection through a link, as it is now."""

    number: int
    backend: str
    frozen: bool


class Answer(msgspec.Struct, frozen=True):
    """The process's line. ``problem``: why nothing was done; empty where it was. ``links``: all of them, afterwards."""

    problem: str = ""
    hint: str = ""
    connections: list[Connection] = []
    links: list[Link] = []


def parse(address: str) -> tuple[str, int] | str:
    """``127.0.0.1:PORT``, or the absolute path of a Unix socket. Raises UsageError."""
    if address.startswith("/") and not address.endswith("/"):
        if len(address.encode()) > PATH_LIMIT:
            raise UsageError(f"The socket's path {address} exceeds {PATH_LIMIT} bytes.", "Use a shorter DR_HOME.")
        return address
    host, _, port = address.rpartition(":")
    if host != "127.0.0.1" or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(f"'{address}' is no address of a link.", "Give 127.0.0.1:PORT or a socket's absolute path.")
    return host, int(port)


def checked(link: Link) -> Link:
    """The link, if it can be. Raises UsageError."""
    parse(link.address)
    parse(link.backend)
    if link.address == link.backend:
        raise UsageError(f"Link '{link.name}' would lead to itself.", "Give it another backend.")
    check_mode(link.mode, link.seconds)
    return link


def check_mode(mode: Mode, seconds: float) -> None:
    """Raises UsageError where a mode cannot have these seconds."""
    if mode == "delay":
        if not (math.isfinite(seconds) and 0 < seconds <= LONGEST_DELAY):
            raise UsageError(
                f"A delay of {seconds} s cannot be.", f"Give seconds above 0 and up to {LONGEST_DELAY:.0f}."
            )
    elif seconds:
        raise UsageError(f"Mode {mode} takes no seconds.", "Give seconds with mode delay only.")
