"""What a database server holds beside rows and their tables, when it was looked at. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LARGE_OBJECTS = "the large objects"
"""What is called unread where no large object was looked at, or not what is in them."""
CONTENTS = "what is in the large objects"
"""What is called left out where dr.yaml excludes it: then their names and owners alone are compared."""


@dataclass(frozen=True, slots=True)
class Version:
    """The definition of an object as a digest, and the newest transaction that wrote any of its catalog rows;
    0 where nothing tells. ``identity``: what it keeps however it is altered or named, and no other is given; "" where
    nothing tells."""

    digest: str
    xid: int
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Sequence:
    """Where a sequence stands. ``called``: ``last`` was given out. ``ahead``: so many numbers a server that crashed or
    was promoted may skip. ``column``: one that takes its numbers, "" where none does, and the ``utmost`` number in all
    that do: the greatest, of a sequence that descends the smallest; None where there is none. It may be a person's own
    number, and is told to nobody. ``xid``: who altered it last. ``limit``: it gives out none beyond; None: not known.
    ``unlogged``: every physical copy sets it to its start.
    """

    last: int
    called: bool
    step: int = 1
    cycles: bool = False
    ahead: int = 32
    column: str = ""
    utmost: int | None = None
    xid: int = 0
    limit: int | None = None
    unlogged: bool = False

    @property
    def next(self) -> int:
        """The number that it gives out next, where it does not come round."""
        return self.last + self.step if self.called else self.last

    def behind(self, number: int | None) -> bool:
        """Whether it has yet to give out ``number``, or has come round."""
        return number is not None and (self.next <= number if self.step > 0 else self.next >= number)

    @property
    def exhausted(self) -> bool:
        """Whether it has no number left to give out."""
        return not self.cycles and self.limit is not None and (self.next - self.limit) * self.step > 0

    def steps_to(self, number: int) -> int:
        """So many numbers it has yet to give out until it is past ``number``."""
        return (number - self.next) // self.step + 1

    def steps_from(self, other: Sequence) -> int:
        """So many numbers were given out since it stood where ``other`` does; negative where it was set back."""
        return (self.next - other.next) // self.step


@dataclass(frozen=True, slots=True)
class State:
    """``large_objects``: by oid. ``contents``: their digests hold what is in them. ``unlogged``: rows of each unlogged
    table. ``settings``: as they act in a new session. ``prepared``, ``slots``, ``subscriptions``: names of transactions
    that are prepared, of replication slots and of subscriptions. ``databases``: the server's others. ``expendable``:
    unlogged tables whose rows, and sequences, dr.yaml lets go. ``unread``: what could not be looked at, and why."""

    sequences: Mapping[str, Sequence] = field(default_factory=dict)
    large_objects: Mapping[str, Version] = field(default_factory=dict)
    contents: bool = False
    unlogged: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    prepared: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    subscriptions: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    expendable: tuple[str, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)
