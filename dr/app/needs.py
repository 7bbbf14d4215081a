"""What verbs need of this machine: the secrets they log in with, and the command that serves.

Called by: ``dr.app.session`` for a run's verbs, before it begins, and ``dr.app.survey`` for all of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from dr.config.load import secret
from dr.config.model import Login, Target
from dr.domain.errors import DrError, RefusedError
from dr.domain.model import Verb

EVERYTHING = (Verb("restore", {"reset_master": True}), Verb("examine"), Verb("serve"), Verb("move"))
"""Verbs that together need all that a target names."""


def needs(target: Target, verbs: Iterable[Verb]) -> Iterator[tuple[str, str]]:
    """Each thing that ``verbs`` need, and what is wrong with it, "" where nothing is."""
    wanted = tuple(verbs)
    for reference in dict.fromkeys(login.secret for verb in wanted for login in _logins(target, verb)):
        yield f"secret {reference}", problem(partial(secret, reference))
    if target.service is not None and target.service.command and any(verb.name == "serve" for verb in wanted):
        yield "service.command", problem(partial(_check_command, target.service.command[0]))


def problem(attempt: Callable[[], object]) -> str:
    """What ``attempt`` fails with, "" where it does not."""
    try:
        attempt()
    except DrError as error:
        return str(error)
    return ""


def _logins(target: Target, verb: Verb) -> tuple[Login, ...]:
    """Whom ``verb`` logs in as."""
    database = target.database
    match verb.name:
        case "baseline" | "disaster":
            return (database.harness,)
        case "measure" if verb.args.get("markers") or verb.args.get("path") in ("writes", "writes-direct", "reads"):
            return (database.harness,)
        case "lag" | "observe" | "promote":
            return (database.harness,)
        case "move" if target.pooler:
            return (target.pooler.admin,)
        case "examine":
            return (database.harness, *database.roles)
        case "serve":
            return tuple(role for role in database.roles if target.service and role.user == target.service.login)
        case "restore" if verb.args.get("reset_master") and database.master:
            return (database.master,)
    return ()


def _check_command(command: str) -> None:
    if shutil.which(command) is None:
        raise RefusedError(
            f"The service's command {command!r} is no program that can be run here.", "Correct service.command."
        )
