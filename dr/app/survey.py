"""Looking without touching: what could be restored, and whether a target can be reached. Called by: ``dr.cli``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from dr.app.needs import EVERYTHING, needs, problem
from dr.app.session import context_of
from dr.config.model import Settings
from dr.domain.model import Purpose, RecoveryPoint, Request
from dr.wiring import drivers, restorer


def recovery_points(settings: Settings, target: str) -> list[RecoveryPoint]:
    """Everything that could be restored, oldest first."""
    provider = restorer(drivers(context_of(settings, target, "survey"), ()))
    provider.confirm_identity()
    points = provider.look(Request(target, (), Purpose.RESTORE)).points
    return sorted(points, key=lambda point: point.covers or 0.0)


def check(settings: Settings, target: str) -> Iterator[tuple[str, str]]:
    """Each check's name and what is wrong, "" where nothing is."""
    context = context_of(settings, target, "survey")
    nothing = Request(target, (), Purpose.RESTORE)
    for name, provider in drivers(context).items():
        yield f"{name}: identity", problem(provider.confirm_identity)
        yield f"{name}: present state", problem(partial(provider.look, nothing))
    yield from needs(context.target, EVERYTHING)
