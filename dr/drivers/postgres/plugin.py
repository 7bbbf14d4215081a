"""PostgreSQL as a plugin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from dr.config.needs import Check, bundle, login
from dr.config.plugins import Plugin, VerbSpec, later
from dr.domain.model import Verb
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.sections import Sections


class Rows(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows of the harness's own vanish."""

    kind: Literal["rows"]


class Examination(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``of``: what was restored, or what was promoted of it."""

    of: Literal["restored", "promoted"] = "restored"


def made_by(verb: Verb) -> str:
    """The call whose result tells where the copy is that ``verb`` is about."""
    return "promote" if verb.args.get("of") == "promoted" else "restore"


def harness(target: Sections, _args: object = None) -> Iterable[Check]:
    """What logging in as the harness needs."""
    yield login(target.postgres.harness)
    yield from bundle("postgres.ca", target.postgres.ca)


def _every_role(target: Sections, _args: object) -> Iterable[Check]:
    yield from harness(target)
    yield from map(login, target.postgres.roles)


PLUGIN = Plugin(
    "postgres",
    later("dr.drivers.postgres.provider", "PostgresProvider"),
    (
        VerbSpec("baseline", "Record what the source holds.", needs=harness),
        VerbSpec("declare", "Declare the source lost, without touching it."),
        VerbSpec("disaster", "Let rows of the harness's own vanish.", Rows, kinds=frozenset({"rows"}), needs=harness),
        VerbSpec(
            *("examine", "Read the copy, before anything writes to it.", Examination),
            role="database",
            needs=_every_role,
        ),
    ),
    section=PostgresConfig,
    reads=("rds", "postgres"),
)
