"""What came of a statement, by what the server, or a pooler before it, said of it. Pure.

Doubt is called doubt: a statement has failed only where that is certain, so that no row of it can turn up later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dr.evidence.samples import ACKNOWLEDGED, FAILED, INDETERMINATE, TIMEOUT

BROKEN = "broken"
"""The word for a connection that broke."""

_WORDS = {
    "25006": "read-only",
    "40001": "conflict",
    "53100": "disk-full",
    "53300": "crowded",
    "57014": "cancelled",
    "57P01": "terminated",
    "57P02": "terminated",
    "57P03": "not-ready",
}
"""SQLSTATE to the word that the files have; any other is "rejected"."""

POOLER_FULL = "pooler-full"
"""The word for a connection that PgBouncer has no place for."""

_POOLER = "08P01"
_NEVER_SENT = {
    "server login has been failing": "pooler-login",
    "query_wait_timeout": "pooler-wait",
    "query_timeout": "pooler-wait",
    "client_login_timeout": "pooler-wait",
    "no more connections allowed": POOLER_FULL,
}
"""How PgBouncer begins what it says of a statement that no server was given: its client was still waiting for one.
What it says where a server had been given the statement reads otherwise ("query timeout", "server conn crashed?")."""

_OPENING = {
    **_NEVER_SENT,
    "connection refused": "refused",
    "no such file": "refused",  # a Unix socket that nobody listens at
    "could not translate": "unreachable",
    "no route to host": "unreachable",
    "network is unreachable": "unreachable",
    "connection timed out": TIMEOUT,
    "authentication failed": "denied",
    "too many": "crowded",
    "remaining connection slots": "crowded",
    "the database system is": "not-ready",
    "terminating connection": "terminated",
    "certificate": "untrusted",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One result: whether the statement was done, or the error's severity (in English), SQLSTATE and sentence."""

    done: bool
    severity: str = ""
    sqlstate: str = ""
    said: str = ""


def outcome(answers: Sequence[Answer], warned: bool, usable: bool) -> tuple[str, str]:
    """What came of a statement, and the word for why it was not acknowledged.

    ``warned``: a warning came with it. A COMMIT whose wait for the synchronous standby was cancelled answers with
    success and a warning. ``usable``: the connection goes on. An error without a fatal one rolled the statement back;
    after a fatal one nobody knows, unless it was PgBouncer's, and of a statement that it kept to itself.
    """
    if not answers:
        return INDETERMINATE, BROKEN
    if all(answer.done for answer in answers):
        return (INDETERMINATE, "sync-cancelled") if warned else (ACKNOWLEDGED, "")
    errors = [answer for answer in answers if not answer.done]
    kept = next((word for text, word in _NEVER_SENT.items() if errors[0].said.startswith(text)), "")
    if kept and len(answers) == 1 and errors[0].sqlstate == _POOLER:
        return FAILED, kept
    certain = usable and all(answer.severity == "ERROR" for answer in errors)
    word = _WORDS.get(errors[0].sqlstate, "rejected" if certain else BROKEN)
    return (FAILED if certain else INDETERMINATE), word


def opening_failed(said: str) -> str:
    """The word for a connection that could not be opened, by the sentence libpq has for it: it knows no SQLSTATE."""
    lower = said.lower()
    return next((word for text, word in _OPENING.items() if text in lower), BROKEN)
