"""The look's figures: a table's time beside count(*), one sum of all its rows and the md5 forms, and seeded corruptions
that it must all find.

A million rows of six columns on a real server, warm; the queries alternate, and medians are compared
(facts/measurement.md).
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping

import psycopg
from psycopg import sql

from bench.figures import figure
from dr.domain.looks import BEFORE, LATER, Snapshot
from dr.drivers.postgres.connection import connect
from dr.drivers.postgres.fingerprint import (
    Table,
    find_tables,
    parts_of,
    read_sums,
    row_hash,
    sums_query,
    visible_in,
    ways,
)
from dr.drivers.postgres.looking import SUMMING
from tests.servers import LocalServer, local_server

ROWS = 1_000_000
ROUNDS = 7
CORRUPTIONS = 200
MOST_COUNTS = 10.0
MOST_FORMER = 1.6
LEAST_FASTER = 3.0

TABLE = """
    create table stays (id bigint primary key, patient varchar(50) not null, diagnosis text, days int, risk float8,
                        admitted timestamptz);
    insert into stays select n, 'P-' || md5(n::text), 'I' || n % 90 || '.' || n % 10 || repeat(' chronic', 6), n % 30,
                             random(), timestamptz '2025-01-01' + n * interval '1 second'
                        from generate_series(1, {rows}) n;
"""
OWN, FORMER = "look of one table", "one sum of all rows"
COUNT, MD5_SUM, MD5_TEXT = "count(*)", "md5 sum of 12 digits", "md5(string_agg)"
PEERS = {
    COUNT: "select count(*) from public.stays",
    MD5_SUM: "select sum(('x' || substr(md5(t::text), 1, 12))::bit(48)::bigint) from public.stays t",
    MD5_TEXT: "select md5(string_agg(t::text, ',' order by id)) from public.stays t",
}


def snapshots(connection: psycopg.Connection, recorded: str) -> tuple[Snapshot, Snapshot]:
    row = connection.execute("select pg_current_snapshot()::text").fetchone()
    assert row is not None
    return Snapshot.parse(recorded), Snapshot.parse(row[0])


def medians(queries: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of each query, run in turn."""
    taken: dict[str, list[float]] = {name: [] for name in queries}
    for turn in range(ROUNDS + 1):
        for name, run in queries.items():
            started = time.perf_counter()
            run()
            if turn:  # the first round warms up
                taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def measure(server: LocalServer) -> dict[str, float]:
    """Times on a table that was written to after the snapshot, so that the filter has something to leave out."""
    with server.superuser() as writer:
        recorded = writer.execute("select pg_current_snapshot()::text").fetchone()
        assert recorded is not None
        writer.execute("insert into stays select n, 'late' from generate_series(-100, -1) n")
    with connect(server.address, server.database()) as connection:
        (table,) = find_tables(connection)
        cut, current = snapshots(connection, recorded[0])
        own, buckets = sums(table, cut, current), table.buckets
        former = former_query(table, cut, current)
        queries: dict[str, Callable[[], object]] = {
            name: lambda query=query: connection.execute(query).fetchone()
            for name, query in {**PEERS, FORMER: former}.items()
        }

        def look() -> int:
            with connection.transaction():
                connection.execute(SUMMING)
                return read_sums(connection, own, buckets, (BEFORE, LATER))[BEFORE].rows

        assert look() == ROWS
        return medians({**queries, OWN: look})


def sums(table: Table, cut: Snapshot, current: Snapshot) -> bytes:
    way, _ = ways(table, 15)
    return sums_query(table, way, parts_of([cut], current), table.buckets)


def former_query(table: Table, cut: Snapshot, current: Snapshot) -> bytes:
    """What a table was summed by before there were buckets."""
    seen = f"filter (where {visible_in(cut, current)})"
    summed = f"count(*) {seen}, coalesce(sum({row_hash(table.columns)}) {seen}, 0)::text, count(*)"
    return f"select {summed} from only {table.name} as t".encode()


# -- corruptions

COLUMNS: Mapping[str, str] = {
    "patient": "overlay(patient placing chr(65 + ascii(substr(patient, 4)) % 26) from 4 for 1)",
    "diagnosis": "diagnosis || '.'",
    "days": "days # (1 << {bit})",
    "risk": "risk + 1e-15",
    "admitted": "admitted + {bit} * interval '1 microsecond' + interval '1 microsecond'",
}


NULLABLE = ("admitted", "days", "diagnosis", "risk")
KINDS = ("deleted", "duplicated", "flipped", "nulled", "swapped")


def corruption(kind: str, chance: random.Random, rows: int) -> str:
    """A statement that corrupts one row, or the same column of two, drawn by ``chance``."""
    one, other = chance.sample(range(1, rows + 1), 2)
    match kind:
        case "deleted":
            return f"delete from stays where id = {one}"
        case "duplicated":
            copied = "patient, diagnosis, days, risk, admitted"
            return f"insert into stays select {2 * ROWS} + id, {copied} from stays where id = {one}"
        case "flipped":
            column, value = chance.choice(sorted(COLUMNS.items()))
            return f"update stays set {column} = {value.format(bit=chance.randrange(31))} where id = {one}"
        case "nulled":
            return f"update stays set {chance.choice(NULLABLE)} = null where id = {one}"
    column = chance.choice(["patient", "risk", "admitted"])
    return (
        f"update stays a set {column} = b.{column} from stays b"
        f" where a.id in ({one}, {other}) and b.id in ({one}, {other}) and a.id <> b.id"
    )


def found(connection: psycopg.Connection, table: Table, statement: str) -> bool:
    """Whether ``statement``, rolled back afterwards, changes the sum of all rows."""
    everything = Snapshot(1, 1, ())
    query, buckets = sums(table, everything, everything), table.buckets
    before = read_sums(connection, query, buckets, (BEFORE, LATER))
    with connection.transaction(force_rollback=True):
        changed = connection.execute(sql.SQL(statement)).rowcount
        assert changed, statement
        after = read_sums(connection, query, buckets, (BEFORE, LATER))
    return after != before


def corrupt(
    server: LocalServer, rows: int, number: int = CORRUPTIONS, seed: int = 20261123
) -> dict[str, tuple[int, int]]:
    """Seeded corruptions of the first ``rows`` rows, each undone: kind to (found, tried)."""
    chance = random.Random(seed)
    tally = dict.fromkeys(KINDS, (0, 0))
    with server.superuser() as connection:
        connection.execute(f"delete from stays where id > {rows} or id < 1")
        (table,) = find_tables(connection)
        for turn in range(number):
            kind = KINDS[turn % len(KINDS)]
            seen = found(connection, table, corruption(kind, chance, rows))
            tally[kind] = (tally[kind][0] + seen, tally[kind][1] + 1)
    return tally


def main() -> bool:
    """Print the figures; returns whether all hold."""
    with local_server(shared_buffers="512MB") as server:
        with server.superuser() as connection:
            connection.execute(TABLE.format(rows=ROWS))
            connection.execute("vacuum (freeze, analyze) stays")
        times = measure(server)
        tally = corrupt(server, rows=20_000)
    for name, taken in times.items():
        print(f"{name}: {taken * 1000:.0f} ms, {taken / times[COUNT]:.1f} x count(*)")
    held = [figure(f"{OWN} / count(*)", times[OWN] / times[COUNT], MOST_COUNTS, "")]
    held += [figure(f"{OWN} / {FORMER}", times[OWN] / times[FORMER], MOST_FORMER, "")]
    held += [
        figure(f"{peer} / {OWN}", times[peer] / times[OWN], LEAST_FASTER, "", at_least=True)
        for peer in (MD5_SUM, MD5_TEXT)
    ]
    held += [
        figure(f"corruptions found, {kind}, of {tried}", seen, tried, "", at_least=True)
        for kind, (seen, tried) in tally.items()
    ]
    return all(held)
