"""How much of a server's, or a pooler's, a meter may take at once. Pure.

What a meter takes beyond that, it takes from those whom it measures. Two things hold places in PgBouncer (release 1.18)
when nobody waits for them any more. A cancel that its server does not answer keeps one of the pool's until that server
ends the connection: enough of them fill the pool, and where whoever asked for one has closed by then, PgBouncer itself
ends ("bad client state"). So none goes through a pooler. A client that closes while it waits for a server stays in the
queue for as long as ``query_wait_timeout``, counts as a client, and is given a server in its turn, which is closed then
and logged in anew: where they come faster than log-ins, nobody else's turn ever comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FOREVER = 86_400.0
SHARE = 10
"""A meter takes a tenth."""
PATHS = 2
"""Paths that go through one pooler at once: writes and reads."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """A pooler's own limits; unless told otherwise, PgBouncer's defaults. ``pool``: server connections of one pool,
    ``clients``: of all pools together, ``wait``: seconds that a client waits for a server, 0: for ever."""

    pool: int = 20
    clients: int = 100
    wait: float = 120.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one endpoint. ``sessions`` are there at once, ``openings`` of them just being opened; ``cancels`` are
    under way at once, and ``lingering`` more are closed without an answer within ``patience`` seconds. ``known``: it is
    certain that all of this is but a tenth."""

    sessions: int
    openings: int
    cancels: int
    lingering: int
    patience: float
    known: bool = True


DIRECT = Limits(sessions=10, openings=10, cancels=2, lingering=10, patience=0.0)
"""Past a pooler nobody tells what a server can spare; even a small one takes some hundred sessions."""


def limits(config: Mapping[str, Any]) -> Limits:
    """What a meter's configuration allows it."""
    return Limits(**config["limits"]) if "limits" in config else DIRECT


def through_pooler(sizes: Sizes, endpoints: int, known: bool = True) -> Limits:
    """Of each of a path's ``endpoints``, at least one of each but the cancels, of which there are none."""
    clients = max(2, sizes.clients // SHARE // PATHS // endpoints)
    lingering = clients // 2
    sessions = clients - lingering
    openings = max(1, min(sizes.pool // SHARE, sessions))
    return Limits(sessions, openings, 0, lingering, sizes.wait or FOREVER, known)
