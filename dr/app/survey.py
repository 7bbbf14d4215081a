"""Looking without touching: what could be restored, and whether a target can be reached. Called by: ``dr.cli``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from dr.app.session import context_of
from dr.config.load import secret
from dr.config.model import Settings, Target
from dr.domain.errors import DrError
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
        yield f"{name}: identity", _problem(provider.confirm_identity)
        yield f"{name}: present state", _problem(partial(provider.look, nothing))
    for reference in _references(context.target):
        yield f"secret {reference}", _problem(partial(secret, reference))


def _references(target: Target) -> list[str]:
    logins = [target.database.harness, *target.database.roles, target.database.master]
    logins.append(target.pooler.admin if target.pooler is not None else None)
    return [login.secret for login in logins if login is not None]


def _problem(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except DrError as error:
        return str(error)
    return ""
