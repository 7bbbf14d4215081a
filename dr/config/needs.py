"""What is checked of a target, and what a verb needs of this machine: a secret, a CA, a program. Each can be tried."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Callable, Iterator
from functools import partial

from dr.config.model import Login
from dr.config.secrets import secret
from dr.domain.errors import RefusedError

SYSTEM_CA = ("", "system")
"""What stands for the system's own CAs instead of a file."""


Check = tuple[str, Callable[[], object]]
"""What is checked, or needed; and the trial of it, which raises a ``DrError`` where it is not there or not as it should
be."""


def login(of: Login) -> Check:
    """The secret of a login."""
    return f"secret {of.secret}", partial(secret, of.secret)


def bundle(field: str, path: str) -> Iterator[Check]:
    """The file with the CAs that ``field`` of the target names; nothing where they are the system's own."""
    if path not in SYSTEM_CA:
        yield field, partial(_read_bundle, field, path)


def program(field: str, name: str) -> Check:
    """A program that ``field`` of the target names."""
    return field, partial(_find, field, name)


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
