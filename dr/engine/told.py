"""What an effect tells, held to what its call was planned to do: another thing was not restored by it. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any

from dr.domain.model import LATEST, Call, Component, Effect, Progress
from dr.domain.refs import Ref
from dr.engine.guard import astray
from dr.host.files import writable


def stated(calls: Iterable[Call], until: Call) -> frozenset[Ref]:
    """What a component of call ``until`` may be, or be within: what it makes or changes itself; and of one that only
    reads, what any call before it does."""
    if until.effect is not Effect.READS:
        return frozenset((*until.makes, *until.touches))
    earlier: set[Ref] = set()
    for call in calls:
        if call.id == until.id:
            break
        if call.effect is not Effect.READS:
            earlier.update((*call.makes, *call.touches))
    return frozenset(earlier)


def misfit(call: Call, progress: Progress, known: Collection[Ref]) -> str:
    """Why what ``call`` tells at its end cannot be taken, the end of a sentence; "" where it can. ``known``: what its
    components may be, or be within."""
    for name, at in progress.milestones.items():
        if at is not None and (
            not isinstance(at, int | float) or not 0.0 <= at <= LATEST
        ):  # None: it is not known when
            return f"tells {at!r} as the time of {name}, which is no wall time"
    each: Collection[Any] = progress.components
    for one in each:
        if not isinstance(one, Component):
            return f"tells {type(one).__name__} as a component"
        if one.ref not in known and not any(holder in known for holder in one.ref.holders):
            return f"tells of {one.ref}, which its plan does not name"
    try:
        json.dumps(writable(dict(progress.result)))
    except (TypeError, ValueError):
        return "tells a result that cannot be written down"
    if call.effect is not Effect.READS and astray(call, progress.result):
        return f"tells that it acted on {progress.result.get('identifier')!r}, which its plan does not name"
    return ""
