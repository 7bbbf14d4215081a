"""The Protocols, all of them. Each one's docstring is its contract, and tests/contract holds every driver to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from dr.domain.model import Call, Facts, Progress, Request, Resource, RunIdentity, Stamp, Verb


class Clock(Protocol):
    """The only way to the time. Tests pass a virtual one."""

    def now(self) -> Stamp:
        """The present moment on both clocks."""

    def sleep(self, seconds: float) -> None:
        """Return after ``seconds``; a virtual clock just advances."""


class Provider(Protocol):
    """What a driver is to the engine: it looks, proposes (purely), applies and polls.

    Errors: everything raised is a ``DrError``; the client library's own errors never leak. No secret appears in an
    argument, a result, an observation, a note or an error.
    """

    def look(self, request: Request) -> Facts:
        """Read the present state that planning needs. Changes nothing."""

    def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
        """The calls that ``verb`` comes down to. Pure: the same arguments give the same calls. Raises RefusedError or
        UsageError where the facts show that the verb cannot work."""

    def confirm_identity(self) -> None:
        """Compare what the client talks to with the target's pins. Raises RefusedError where they differ."""

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do it; ``args`` are the call's with every reference filled. Returns what ``poll`` needs.

        Idempotent under the run's tag: repeated after a crash, it finds what the first attempt made. What undoes a call
        of a run is also told ``undone``: {intended_at: wall time of that call's newest intent, certain: whether it
        has its effect, or was refused, result: of that effect, empty where it has none}; any other may have been
        accepted all the same.
        """

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        """How far it is. ``result`` is what ``apply`` returned. Raises ProviderError on a state that cannot recover."""


class Restorer(Provider, Protocol):
    """A provider of restorations: what happens to one after its run. ``late``: seconds that what it accepted to make
    may not be listed yet."""

    @property
    def late(self) -> float: ...

    def adopt(self, identifier: str, run: str) -> None:
        """Take the run's tags off. Raises RefusedError where the restoration is not of ``run``."""

    def seal_tag(self, identifier: str, run: str, verdict: str) -> None:
        """Mark the restoration's run as over, where another machine sees it. Raises RefusedError if it is another's."""

    def orphans(self, now: float, under_way: frozenset[str], over: frozenset[str]) -> tuple[Call, ...]:
        """The calls that delete drill copies which no run will delete: those of runs that are ``over``, and those whose
        expiry lies before ``now``; but none of a run that is ``under_way``."""

    def remains(self, run: str) -> tuple[Resource, ...]:
        """What the provider lists now that bears the tag of ``run``; of "": what of the source bears any run's. That
        nothing is listed is what was seen, and no proof. Raises DrError where the provider could not be asked: then
        nothing is known, and nothing may be said to be gone."""

    def by_hand(self, found: Resource) -> tuple[tuple[str, str], ...]:
        """The commands by which a person deletes ``found``, which dr does not, each with what it does."""

    def ended_by_hand(self, found: Resource) -> str:
        """The command by which a person does what ``seal_tag`` does."""
