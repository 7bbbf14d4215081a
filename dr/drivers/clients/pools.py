"""What a target's pooler allows a meter, and what its pools hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from dr.domain.errors import DrError
from dr.drivers.clients.pgbouncer_console import Console, shown
from dr.drivers.sections import Sections, pooler_of
from dr.meter.limits import DIRECT, Sizes, through_pooler

CANCELS = ("cl_cancel_req", "cl_active_cancel_req", "cl_waiting_cancel_req", "sv_active_cancel", "sv_being_canceled")
"""Columns of SHOW POOLS, of which each release has some."""


def allowed(target: Sections, logins: list[Mapping[str, Any]]) -> dict[str, Any]:
    """``limits``: of each of a meter's endpoints, as it is told them; ``because``: why these are guessed.

    The console is asked, since a pool may have any size; where it does not tell, a path is still to be measured.
    """
    pooler = pooler_of(target)
    if pooler is None or not all(login.get("pooled") for login in logins):
        return {"limits": asdict(DIRECT)}
    console = Console(pooler, target.postgres.ca)
    try:
        sizes = [console.sizes(str(login["database"])) for login in logins]
    except DrError as error:
        guess = through_pooler(Sizes(), len(logins), known=False)
        return {"limits": asdict(guess), "because": f"PgBouncer's defaults are taken: {error}"}
    least = replace(sizes[0], pool=min(size.pool for size in sizes))
    return {"limits": asdict(through_pooler(least, len(logins)))}


def held(target: Sections) -> list[dict[str, Any]]:
    """What each pool holds that others cannot use: clients that wait for a server, cancels at any stage, and of the
    harness's own pools the server connections in use. Raises as ``Console.session`` does.

    What a release of PgBouncer does not show counts as none.
    """
    pooler = pooler_of(target)
    if pooler is None:
        return []
    with Console(pooler, target.postgres.ca).session() as console:
        rows = [row for row in shown(console, "POOLS") if row["database"] != pooler.console]
    own = target.postgres.harness.user
    return [
        {
            "database": str(row["database"]),
            "user": str(row["user"]),
            "waiting": _sum(row, "cl_waiting"),
            "cancels": _sum(row, *CANCELS),
            "busy": _sum(row, "sv_active", "sv_login") if row["user"] == own else 0,
        }
        for row in rows
    ]


def _sum(row: Mapping[str, Any], *columns: str) -> int:
    return sum(int(row.get(column) or 0) for column in columns)
