"""What a call, a plan or a fact is about: a reference to a thing, and where a thing listens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ref:
    """A thing: ``name`` of ``kind`` at ``provider``, ``within`` another where it stands inside one.

    References to one thing are equal: where a provider takes two spellings for one name, its driver makes them one.
    """

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
