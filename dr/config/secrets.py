"""Secrets by reference: the configuration names where each is found, and never holds one."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from dr.domain.errors import RefusedError, UsageError


def secret(reference: str) -> str:
    """Resolve ``env:NAME`` or ``file:PATH``. Raises RefusedError that names the reference, never the value."""
    scheme, _, rest = reference.partition(":")
    if scheme == "env" and rest in os.environ:
        return os.environ[rest]
    if scheme == "file":
        with suppress(OSError, UnicodeDecodeError, IndexError):  # absent, unreadable or empty: said below
            return Path(rest).read_text().splitlines()[0]
    if scheme not in ("env", "file"):  # what stands there may be a secret itself, so it is not repeated
        raise UsageError("A secret in the configuration is no reference.", "Use env:NAME or file:PATH.")
    raise RefusedError(f"The secret {reference!r} is not there.", "Set it where the reference points.")
