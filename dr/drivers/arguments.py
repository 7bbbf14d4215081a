"""What a verb may be told."""

from __future__ import annotations

from dr.domain.errors import UsageError
from dr.domain.model import Verb


def check_arguments(verb: Verb, *known: str) -> None:
    """Raises UsageError for an argument that is none of ``known``: what nobody reads was meant for something."""
    unknown = sorted(set(verb.args) - set(known))
    if unknown:
        takes = ", ".join(known) or "none"
        raise UsageError(f"{verb.name} knows no argument {', '.join(unknown)}.", f"It takes: {takes}.")


def made_by(verb: Verb) -> str:
    """The call whose result tells where the copy is that ``verb`` is about: a restore, or the promotion of its replica.

    Raises UsageError for any other ``of``.
    """
    of = verb.args.get("of", "restored")
    if of not in ("restored", "promoted"):
        raise UsageError(f"{verb.name} takes of as restored or promoted, not {of!r}.")
    return "promote" if of == "promoted" else "restore"
