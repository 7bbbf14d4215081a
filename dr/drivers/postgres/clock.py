"""The database server's clock beside the harness's."""

from __future__ import annotations

from collections.abc import Callable

from dr.drivers.postgres.connection import Connection, translated

CLOCK_READINGS = 7


def clock_offset(connection: Connection, now: Callable[[], float]) -> dict[str, float]:
    """Database clock minus the harness's, within ``uncertainty``: half the shortest of several round trips; seconds."""
    best = (float("inf"), 0.0)
    for _ in range(CLOCK_READINGS):
        before = now()
        database = database_clock(connection)
        after = now()
        best = min(best, (after - before, database - (before + after) / 2))
    return {"offset": best[1], "uncertainty": best[0] / 2}


def database_clock(connection: Connection) -> float:
    with translated("reading the server's clock"):
        row = connection.execute("select extract(epoch from clock_timestamp())::float8").fetchone()
    return float(row[0]) if row else 0.0
