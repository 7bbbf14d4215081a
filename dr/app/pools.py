"""The pooler's pools before a drill and once it is unwound: what it leaves behind there, others cannot use."""

from __future__ import annotations

from itertools import chain
from typing import Any

from dr.app.session import Session
from dr.config.contained import contained
from dr.config.plugins import plugins
from dr.domain.errors import DrError
from dr.domain.model import Observation, Purpose
from dr.judge.course import KINDS, left

Held = list[dict[str, Any]]
"""A pool each: its database and user, and how much it holds of each of ``KINDS``."""
PATIENCE, GLANCE = 15.0, 0.5
"""Seconds that what a drill left may take to go by itself, and between two looks."""
NOBODY = "the target names no pooler."


def look_before(session: Session) -> None:
    """Record what the pools hold; of a target without a pooler, that they are not looked at."""
    if session.plan.request.purpose is not Purpose.DRILL:
        return
    try:
        held = _held(session)
        seen: dict[str, Any] = {"because": NOBODY} if held is None else {"pools": held}
    except DrError as error:
        seen = {"because": str(error)}
    _note(session, "before", seen)


def look_after(session: Session) -> None:
    """Record the least that the pools held in a while, which is over once that is no more than before."""
    looks = [o.value for o in session.directory.observations() if o.what == "pools"]
    if not looks or looks[0].get("because") == NOBODY:
        return
    before, clock = looks[0].get("pools", []), session.context.clock
    until, least, because = clock.now().at + PATIENCE, Held(), ""
    while True:
        try:
            least, because = _least(least, _held(session) or []), ""
        except DrError as error:
            because = str(error)
        if clock.now().at >= until or not (because or left(before, least)):
            break
        clock.sleep(GLANCE)
    _note(session, "after", {"because": because} if because else {"pools": least})


def _held(session: Session) -> Held | None:
    """Of all that the target has; None where it has nothing like it."""
    able = (contained(name, one) for name, one in plugins().items() if not one.lacks(session.context.target))
    every = [found for found in (plugin.held(session.context) for plugin in able) if found is not None]
    return list(chain.from_iterable(every)) if every else None


def _least(so_far: Held, now: Held) -> Held:
    """The least of two looks: a pool that others use, too, is full at one moment and not at another."""
    was = {(pool["database"], pool["user"]): pool for pool in so_far}
    return [
        {**pool, **{kind: min(pool[kind], was.get((pool["database"], pool["user"]), pool)[kind]) for kind in KINDS}}
        for pool in now
    ]


def _note(session: Session, when: str, seen: dict[str, Any]) -> None:
    at = session.context.clock.now().at
    session.directory.observe([Observation("pools", "source", {"when": when, **seen})], at)
