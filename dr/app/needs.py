"""What verbs need of this machine: the secrets they log in with, the CAs they verify by, the command that serves."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from dr.config.load import secret
from dr.config.model import Login, Target
from dr.domain.errors import DrError, RefusedError
from dr.domain.model import Verb
from dr.meter.bearer import authorization

EVERYTHING = (Verb("restore", {"reset_master": True}), Verb("examine"), Verb("serve"), Verb("move"))
"""Verbs that together need all that a target names."""
DATABASE_PATHS = ("writes", "writes-direct", "reads")
"""Paths on which the database itself is measured, and no service is asked."""
SYSTEM_CA = ("", "system")
"""What stands for the system's own CAs instead of a file."""


def needs(target: Target, verbs: Iterable[Verb]) -> Iterator[tuple[str, str]]:
    """Each thing that ``verbs`` need, and what is wrong with it, "" where nothing is."""
    wanted = tuple(verbs)
    for reference in dict.fromkeys(login.secret for verb in wanted for login in _logins(target, verb)):
        yield f"secret {reference}", problem(partial(secret, reference))
    if target.service is not None and target.service.token and any(map(_predicts, wanted)):
        yield f"secret {target.service.token}", problem(partial(authorization, target.service.token))
    for field, path in dict.fromkeys(bundle for verb in wanted for bundle in _bundles(target, verb)):
        yield field, problem(partial(_check_bundle, field, path))
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
        case "measure" if verb.args.get("markers") or verb.args.get("path") in DATABASE_PATHS:
            return (database.harness,)
        case "lag" | "observe" | "promote":
            return (database.harness,)
        case "move" if target.pooler:
            return (target.pooler.admin,)
        case "examine":
            return (database.harness, *database.roles)
        case "serve":
            served = (role for role in database.roles if target.service and role.user == target.service.login)
            return (database.harness, *served)
        case "restore" if verb.args.get("reset_master") and database.master:
            return (database.master,)
    return ()


def _predicts(verb: Verb) -> bool:
    """Whether ``verb`` cannot do without predictions."""
    return verb.name == "serve" or (verb.name == "measure" and verb.args.get("path") not in DATABASE_PATHS)


def _bundles(target: Target, verb: Verb) -> Iterator[tuple[str, str]]:
    """The files with the CAs by which ``verb`` verifies whom it logs in to: the field that names each, and its path."""
    if verb.name == "restore" or not _logins(target, verb):
        return  # it sets the master's password, and logs in nowhere
    if target.database.ca not in SYSTEM_CA:
        yield "database.ca", target.database.ca
    pooled = verb.name == "move" or verb.args.get("path") == "writes"
    if pooled and target.pooler is not None and target.pooler.ca not in SYSTEM_CA:
        yield "pooler.ca", target.pooler.ca


def _check_bundle(field: str, path: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:  # an ssl.SSLError, too: no certificate in it
        because = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise RefusedError(
            f"The CA file {path!r} cannot be read: {because}.", f"Put it there, or correct {field}."
        ) from None


def _check_command(command: str) -> None:
    if shutil.which(command) is None:
        raise RefusedError(
            f"The service's command {command!r} is no program that can be run here.", "Correct service.command."
        )
