"""Looking without touching: what could be restored, and whether a target is as configured."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from dr.app.failover import moves
from dr.app.needs import all_needs, problem
from dr.app.session import context_of
from dr.app.terms import terms
from dr.config.model import Settings
from dr.domain.errors import DrError
from dr.domain.model import Plan, Purpose, RecoveryPoint, Request, RunIdentity, Verb
from dr.drivers.sections import sections
from dr.engine.guard import Consent, guard
from dr.wiring import drivers, restorer


def recovery_points(settings: Settings, target: str) -> list[RecoveryPoint]:
    """Everything that could be restored, oldest first."""
    provider = restorer(drivers(context_of(settings, target, "survey"), ()))
    provider.confirm_identity()
    points = provider.look(Request(target, (), Purpose.RESTORE)).points
    return sorted(points, key=lambda point: point.covers or 0.0)


def check(settings: Settings, name: str) -> Iterator[tuple[str, str]]:
    """What was checked of target ``name``, one by one, and what is wrong with it, "" where nothing is.

    Whoever the provider does not let in is told so once: what it would have shown of the database is left out then.
    """
    from dr.drivers.checks import client_checks, database_checks

    context = context_of(settings, name, "survey")
    target, by_name = context.target, drivers(context, (Verb("move"),))
    seen = sections(target)
    nothing = Request(name, (), Purpose.RESTORE)
    checks = list(client_checks(seen))
    identity = f"account {seen.rds.account} in {seen.rds.region}"
    try:
        facts, told = restorer(by_name).look(nothing), terms(target)
    except DrError as error:
        yield identity, str(error)
    else:
        empty = Plan(nothing, RunIdentity("survey", name, Purpose.RESTORE, ""), (), ())
        yield identity, " ".join(guard(empty, told, facts, Consent()))
        checks[:0] = database_checks(seen, facts.resources)
    yield from all_needs(target)
    for what, attempt in checks:
        yield what, problem(attempt)
    if moves(seen):
        yield "where clients are led", problem(partial(by_name["clients"].look, nothing))
