"""What a call or a fact is about: a reference to a thing, where a thing listens, and what is a name or a time."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from dr.domain.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_RUN = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ref:
    """A thing: ``name`` of ``kind`` at ``provider``, ``within`` another where it stands inside one. References to one
    thing are equal: where a provider takes two spellings for one name, its driver makes them one."""

    provider: str
    kind: str
    name: str
    within: Ref | None = None

    def __str__(self) -> str:
        """For people."""
        return f"{self.kind} {self.name}" + (f" in {self.within}" if self.within else "")

    @property
    def caseless(self) -> Ref:
        """Equal for all that only the case tells apart, which many a provider does not heed."""
        outer = self.within.caseless if self.within is not None else None
        return Ref(self.provider.casefold(), self.kind.casefold(), self.name.casefold(), outer)

    @property
    def holders(self) -> Iterator[Ref]:
        """What it stands inside of, the nearest first."""
        if self.within is not None:
            yield self.within
            yield from self.within.holders


def result_of(call: str) -> Ref:
    """What the result of an earlier call will name as its ``identifier``: ``plan`` puts what that is in its place."""
    return Ref("", "what is named by", f"${{{call}.identifier}}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where something listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """As in a URL: an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def check_name(name: str, what: str) -> str:
    """``name``, which becomes part of a path. Raises UsageError where it could lead elsewhere, or is none: ``what``."""
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"{name[:100]!r} is no name of a {what}.",
            "A name is a letter or digit, followed by at most 99 letters, digits, dots, hyphens and underscores.",
        )
    return name


def is_run(name: str) -> bool:
    """Whether ``name`` is a run's: what a provider's tag says may be anything."""
    return _RUN.fullmatch(name) is not None


def on_loopback(endpoint: str) -> bool:
    """Whether an endpoint URL names this machine itself."""
    host = ""
    try:
        host = urlsplit(endpoint).hostname or ""
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, or no URL
        return host == "localhost"


def moment(text: str, what: str) -> float:
    """An ISO 8601 time as seconds since the epoch. Raises UsageError without a zone: nothing is guessed."""
    try:
        return zoned(datetime.fromisoformat(text), what)
    except ValueError:
        raise UsageError(f"{what} {text!r} is not a time.", "Write it as 2026-04-24T23:45:00Z.") from None


def zoned(at: datetime, what: str) -> float:
    """The same of a time that YAML has read."""
    if at.tzinfo is None:
        raise UsageError(f"{what} {at} has no zone.", "Add Z for UTC, or an offset such as +02:00.")
    return at.timestamp()
