"""What a verb may be told. Called by: the drivers, when they propose its calls."""

from __future__ import annotations

from dr.domain.errors import UsageError
from dr.domain.model import Verb


def check_arguments(verb: Verb, *known: str) -> None:
    """Raises UsageError for an argument that is none of ``known``: what nobody reads was meant for something."""
    unknown = sorted(set(verb.args) - set(known))
    if unknown:
        takes = ", ".join(known) or "none"
        raise UsageError(f"{verb.name} knows no argument {', '.join(unknown)}.", f"It takes: {takes}.")
