"""What a target's pooler allows a meter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from dr.config.model import Target
from dr.domain.errors import DrError
from dr.drivers.pgbouncer_console import Console
from dr.meter.limits import DIRECT, Sizes, through_pooler


def allowed(target: Target, logins: list[Mapping[str, Any]]) -> dict[str, Any]:
    """``limits``: of each of a meter's endpoints, as it is told them; ``because``: why these are guessed.

    The console is asked, since a pool may have any size; where it does not tell, a path is still to be measured.
    """
    if target.pooler is None or not all(login.get("pooled") for login in logins):
        return {"limits": asdict(DIRECT)}
    console = Console(target.pooler, target.database.ca)
    try:
        sizes = [console.sizes(str(login["database"])) for login in logins]
    except DrError as error:
        guess = through_pooler(Sizes(), len(logins), known=False)
        return {"limits": asdict(guess), "because": f"PgBouncer's defaults are taken: {error}"}
    least = replace(sizes[0], pool=min(size.pool for size in sizes))
    return {"limits": asdict(through_pooler(least, len(logins)))}
