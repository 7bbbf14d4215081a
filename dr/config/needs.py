"""What a verb needs of this machine: a secret, a CA, a program. Each is named, and can be tried."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from dr.config.model import Login
from dr.config.secrets import secret
from dr.domain.errors import RefusedError

SYSTEM_CA = ("", "system")
"""What stands for the system's own CAs instead of a file."""


@dataclass(frozen=True, slots=True)
class Need:
    """One thing, and the trial of it, which raises a ``DrError`` where it is not there."""

    what: str
    trial: Callable[[], object]


def login(of: Login) -> Need:
    """The secret of a login."""
    return Need(f"secret {of.secret}", partial(secret, of.secret))


def bundle(field: str, path: str) -> Iterator[Need]:
    """The file with the CAs that ``field`` of the target names; nothing where they are the system's own."""
    if path not in SYSTEM_CA:
        yield Need(field, partial(_read_bundle, field, path))


def program(field: str, name: str) -> Need:
    """A program that ``field`` of the target names."""
    return Need(field, partial(_find, field, name))


def _read_bundle(field: str, path: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:  # an ssl.SSLError, too: no certificate in it
        because = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise RefusedError(
            f"The CA file {path!r} cannot be read: {because}.", f"Put it there, or correct {field}."
        ) from None


def _find(field: str, name: str) -> None:
    if shutil.which(name) is None:
        raise RefusedError(f"The command {name!r} is no program that can be run here.", f"Correct {field}.")
