"""PostgreSQL as a plugin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from dr.config.context import Context
from dr.config.model import Target
from dr.config.needs import Check, bundle, login
from dr.config.plugins import Plugin, VerbSpec, later
from dr.domain.model import Facts, Verb
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.judge import OBJECTIVES


class Rows(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows of the harness's own vanish."""

    kind: Literal["rows"]


class Examination(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``of``: what was restored, or what was promoted of it."""

    of: Literal["restored", "promoted"] = "restored"


def made_by(verb: Verb) -> str:
    """The call whose result tells where the copy is that ``verb`` is about."""
    return "promote" if verb.args.get("of") == "promoted" else "restore"


def harness(target: Target, _args: object = None) -> Iterable[Check]:
    """What logging in as the harness needs."""
    database = target.of(PostgresConfig)
    yield login(database.harness)
    yield from bundle("postgres.ca", database.ca)


def _every_role(target: Target, _args: object) -> Iterable[Check]:
    yield from harness(target)
    yield from map(login, target.of(PostgresConfig).roles)


def _checks(context: Context, facts: Facts) -> Iterable[Check]:
    from dr.drivers.postgres.checks import login_checks

    return login_checks(context.target, facts.resources)


def _baseline(context: Context) -> str:
    from dr.drivers.postgres.baseline import nightly

    return nightly(context)


PLUGIN = Plugin(
    "postgres",
    later("dr.drivers.postgres.provider", "PostgresProvider"),
    (
        VerbSpec("baseline", "Record what the source holds.", needs=harness),
        VerbSpec("declare", "Declare the source lost, without touching it.", strikes=True),
        VerbSpec(
            *("disaster", "Let rows of the harness's own vanish.", Rows),
            kinds=frozenset({"rows"}),
            needs=harness,
            strikes=True,
        ),
        VerbSpec(
            *("examine", "Read the copy, before anything writes to it.", Examination),
            role="database",
            needs=_every_role,
        ),
    ),
    objectives=OBJECTIVES,
    section=PostgresConfig,
    reads=("database", "postgres"),
    checks=_checks,
    parts=("psycopg",),
    baseline=_baseline,
)
