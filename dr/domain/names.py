"""How names at the provider compare. Called by: every layer that holds one name against another."""

from __future__ import annotations


def same(one: str, other: str) -> bool:
    """Whether two identifiers name one thing: RDS keeps them in lower case, whatever case they were typed in."""
    return one.lower() == other.lower()
