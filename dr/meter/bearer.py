"""The token that a prediction service may ask for: sent by reference, and what it means that a service refuses it."""

from __future__ import annotations

import re

from dr.config.secrets import secret
from dr.domain.errors import RefusedError

TOKEN = re.compile(r"[!-~]+")
"""What a header carries as it is: a line break would begin another header."""
REFUSALS = (401, 403)
"""Statuses of a service that wants another token, or any: nothing of its database is measured by them."""


def authorization(reference: str) -> dict[str, str]:
    """The header that shows the token of ``reference`` (``env:NAME``, ``file:PATH``); none where there is no reference.
    Raises RefusedError, which names the reference and not the token, where that is absent or no header carries it."""
    if not reference:
        return {}
    token = secret(reference)
    if not TOKEN.fullmatch(token):
        raise RefusedError(
            f"The secret {reference!r} is no token: that is visible ASCII characters, without blanks.",
            "Correct what stands where the reference points.",
        )
    return {"Authorization": f"Bearer {token}"}


def check_taken(where: str, status: int, reference: str) -> None:
    """Raises RefusedError where the service ``where`` ("at URL") answered with a status of ``REFUSALS``."""
    if status not in REFUSALS:
        return
    if reference:
        raise RefusedError(
            f"The service {where} refuses the token that service.token refers to, {reference} (status {status}).",
            "Put there what the service takes; one that dr starts is given it as API_TOKEN.",
        )
    raise RefusedError(
        f"The service {where} asks for a token, and the target names none (status {status}).",
        "Name it as service.token: env:NAME or file:PATH.",
    )
