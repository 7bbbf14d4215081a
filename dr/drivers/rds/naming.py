"""How RDS names its things, and where they listen. Pure, and quick to import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr.domain.model import Facts
from dr.domain.refs import Endpoint, Ref

PROVIDER = "rds"


def instance(identifier: str) -> Ref:
    """RDS keeps identifiers in lower case, whatever case they were typed in."""
    return Ref(PROVIDER, "instance", identifier.lower())


def same(one: str, other: str) -> bool:
    """Whether two names of RDS's name one thing."""
    return one.lower() == other.lower()


def listens(description: Mapping[str, Any]) -> Endpoint | None:
    """Where an instance listens, as its description has it; None where it does not yet."""
    endpoint = description.get("Endpoint") or {}
    return Endpoint(str(endpoint["Address"]), int(endpoint["Port"])) if endpoint.get("Address") else None


def account(facts: Facts) -> str:
    """The account that was seen; "" where none was."""
    return facts.identity.get(PROVIDER, {}).get("account", "")


def where(facts: Facts) -> str:
    """Region and account, for people."""
    region = facts.identity.get(PROVIDER, {}).get("region")
    return f"{region or 'the region'} (account {account(facts)})"
