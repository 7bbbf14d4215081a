"""Fingerprints of real servers: what equal copies share, and what any alteration changes."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from dr.domain.errors import ProviderError, RefusedError
from dr.domain.looks import BEFORE, LATER, POINT, UNSURE, Look, Part, Snapshot
from dr.drivers.postgres import connection as postgres_connection
from dr.drivers.postgres.fingerprint import CHAINED, find_tables, parts_of, read_sums, sums_query, visible_in, ways
from dr.drivers.postgres.looking import Question, looking
from dr.drivers.postgres.schema import objects
from dr.host.hearing import at_once
from tests.servers import LocalServer, local_server, physical_copy

AWKWARD = """
    create schema "user";
    create type mood as enum ('well', 'ill');
    create domain amount as int8 check (value >= 0);
    create collation ignoring (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    create table "user"."Sel""ect ü%s" (
        "order" bigint primary key, b bool, c "char", d date, e timestamptz, f timestamp, g jsonb, h json, i point,
        j numeric, k uuid, l interval, m float8[], n bpchar(5), o bytea, p int2, q float4, r float8, s mood, t amount,
        u text collate ignoring, v xml, w int4range, x inet, y time, z oid);
    insert into "user"."Sel""ect ü%s"
        select n, true, 'c', '2026-01-01', '2026-01-01', '2026-01-01', '{"a": [1, 2]}', '{"a":  1}', '(1,2)', 1.0,
               gen_random_uuid(), '1 mon', '{1,2}', 'x', '\\x00ff', 1, 1, 1, 'well', 1, 'a', '<a/>', '[1,2)', '::1',
               '1:00', 1
          from generate_series(1, 5) n;
    insert into "user"."Sel""ect ü%s" ("order") values (99);
    create table empty (a int);
    create table columnless ();
    insert into columnless default values;
    create table whole (a int, b text) partition by list (a);
    create table one partition of whole for values in (1);
    create table rest partition of whole default;
    insert into whole values (1, 'x'), (2, null), (3, 'z');
    create table parent (a int);
    create table child (b int) inherits (parent);
    insert into parent values (1);
    insert into child values (2, 3);
    create unlogged table fleeting (a int);
    insert into fleeting values (1);
    create table dr.victims_20261130_101010_ab12 (a int);
    insert into dr.victims_20261130_101010_ab12 values (1);
    create table dr.persons (a int);
    insert into dr.persons values (1);
"""


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with local_server(AWKWARD, "grant select on all tables in schema dr to dr_harness", autovacuum="off") as running:
        yield running


def fingerprint(
    server: LocalServer, like: Look | None = None, include: tuple[str, ...] = (), *, portable: bool = False
) -> Look:
    """A look of its own, or one at what ``like`` showed."""
    asked = Question(include=include, portable=portable)
    if like is not None:
        asked = asked._replace(cuts={BEFORE: Snapshot.parse(like.cuts[BEFORE])}, like=like.tables)
    return at_once(looking(server.address, server.database(), asked))


def differences(before: Look, after: Look) -> tuple[str, ...]:
    """Names of the tables that do not hold what the first look's cut shows, and of the objects defined otherwise."""
    shown = [
        {name: (table.method, table.sums(BEFORE)) for name, table in look.tables.items()} for look in (before, after)
    ]
    defined = [{name: version.digest for name, version in look.objects.items()} for look in (before, after)]
    return tuple(
        name for one, other in (shown, defined) for name in sorted({*one, *other}) if one.get(name) != other.get(name)
    )


def test_every_row_of_any_table_is_summed_once_by_a_role_that_may_only_read(server: LocalServer) -> None:
    rows = {name: table.rows for name, table in fingerprint(server).tables.items()}
    assert rows == {
        '"user"."Sel""ect ü%s"': 6,
        "public.empty": 0,
        "public.columnless": 1,
        "public.one": 1,
        "public.rest": 2,
        "public.parent": 1,
        "public.child": 1,
        "dr.persons": 1,
    }


def test_the_harness_own_tables_are_summed_only_where_they_are_named(server: LocalServer) -> None:
    own = "dr.victims_20261130_101010_ab12"
    assert own in fingerprint(server, include=(own,)).tables


ALTERATIONS = {
    "b": "false",
    "c": "'d'",
    "d": "'2026-01-02'",
    "e": "'2026-01-01 00:00:00.000001'",
    "f": "'infinity'",
    "g": """'{"a": [[1], 2]}'""",
    "h": """'{"a": 1}'""",
    "i": "'(1,2.0000001)'",
    "j": "1.00",
    "k": "'00000000-0000-0000-0000-000000000000'",
    "l": "'30 days'",
    "m": "'[0:1]={1,2}'",
    "n": "'X'",
    "o": "'\\x00fe'",
    "p": "2",
    "q": "1.0000001",
    "r": "1.0000000000000002",
    "s": "'ill'",
    "t": "4294967296",
    "u": "'A'",
    "v": "'<b/>'",
    "w": "'[1,3)'",
    "x": "'::2'",
    "y": "'1:00:00.000001'",
    "z": "2",
}


@pytest.mark.parametrize(("column", "value"), ALTERATIONS.items())
def test_an_altered_value_of_every_type_changes_the_sum(server: LocalServer, column: str, value: str) -> None:
    assert altered(server, f'update "user"."Sel""ect ü%s" set {column} = {value} where "order" = 3')


ZEROS = {
    **dict.fromkeys("cnouv", "''"),
    **dict.fromkeys("def", "'epoch'"),
    **dict.fromkeys("gh", "'\"\"'"),
    "b": "false",
    "i": "'(0,0)'",
    "k": "'00000000-0000-0000-0000-000000000000'",
    "l": "'0'",
    "m": "'{}'",
    "s": "'well'",
    "w": "'empty'",
    "x": "'::'",
    "y": "'0:00'",
}
"""What comes nearest to a null; of the other types, zero."""


@pytest.mark.parametrize("column", ALTERATIONS)
def test_null_is_told_from_every_types_stand_in_for_it(server: LocalServer, column: str) -> None:
    filled = f'update "user"."Sel""ect ü%s" set {column} = {ZEROS.get(column, "0")} where "order" = 99'
    assert altered(server, filled)


CORRUPTIONS = {
    "deleted": 'delete from "user"."Sel""ect ü%s" where "order" = 2',
    "duplicated": "insert into one select * from one",
    "swapped between rows": "update rest set b = case a when 2 then 'z' end",
    "swapped between columns": "update child set a = b, b = a",
    "nulled": "update rest set b = null where a = 3",
    "emptied": "update rest set b = '' where a = 2",
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_a_corruption_of_every_kind_changes_a_sum(server: LocalServer, corruption: str) -> None:
    assert altered(server, CORRUPTIONS[corruption])


def altered(server: LocalServer, statement: str) -> bool:
    """Whether ``statement``, rolled back afterwards, changes a sum of any table."""
    with server.superuser() as connection:
        return not unseen(connection, [statement])


def unseen(connection: psycopg.Connection, statements: Sequence[str], *only: str, way: int = 0) -> list[str]:
    """Those of ``statements``, each rolled back afterwards, that change none of the ``sums`` as their own transaction
    sees them."""
    before, found = sums(connection, *only, way=way), []
    for statement in statements:
        with connection.transaction(force_rollback=True):
            assert connection.execute(statement).rowcount > 0
            if sums(connection, *only, way=way) == before:
                found.append(statement)
    assert sums(connection, *only, way=way) == before
    return found


def sums(connection: psycopg.Connection, *only: str, way: int = 0) -> dict[str, Part]:
    """Count and sum of the tables ``only``, of none: all; unfiltered, in one bucket. ``way``: 0 the usual one, -1 that
    for values that are too long for it."""
    everything = Snapshot(1, 1, ())
    parts, found = parts_of([everything], everything), {}
    for table in find_tables(connection):
        if table.name in only or not only:
            summed = ways(table, connection.info.server_version // 10_000)[way]
            found[table.name] = read_sums(connection, sums_query(table, summed, parts, 1), 1, (BEFORE, LATER))[BEFORE]
    return found


# -- the snapshot's filter


@pytest.fixture
def accounts(server: LocalServer) -> Iterator[psycopg.Connection]:
    with server.superuser() as connection:
        connection.execute("create table accounts (id int primary key, balance int)")
        connection.execute("insert into accounts select n, n from generate_series(1, 100) n")
        yield connection
        connection.execute("drop table accounts")


def rows_in_snapshot(connection: psycopg.Connection, snapshot: str) -> list[int]:
    """Ids of accounts by PostgreSQL's own pg_visible_in_snapshot, xmin's epoch restored as the present one's."""
    return [
        row[0]
        for row in connection.execute(
            "with now as (select pg_snapshot_xmax(pg_current_snapshot())::text::numeric as xid)"
            " select id from accounts, now where xmin::text::numeric in (1, 2) or pg_visible_in_snapshot("
            " (xid - 1 - mod(xid - 1 - xmin::text::numeric + 4294967296, 4294967296))::text::xid8, %s::pg_snapshot)"
            " order by 1",
            (snapshot,),
        )
    ]


def rows_by_filter(connection: psycopg.Connection, snapshot: str) -> list[int]:
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        now = connection.execute("select pg_current_snapshot()::text").fetchone()
        assert now is not None
        condition = visible_in(Snapshot.parse(snapshot), Snapshot.parse(now[0]))
        query = sql.SQL("select id from accounts t where {} order by 1").format(sql.SQL(condition))
        return [row[0] for row in connection.execute(query)]


def snapshot_amid_writers(server: LocalServer, connection: psycopg.Connection) -> tuple[str, list[int]]:
    """A snapshot with transactions in progress, some of which commit later, and the ids it shows."""
    with server.superuser() as one, server.superuser() as two, server.superuser() as three:
        for writer, first in ((one, 200), (two, 300), (three, 400)):
            writer.execute("begin")
            writer.execute("insert into accounts select n, 0 from generate_series(%s::int, %s) n", (first, first + 4))
        connection.execute("insert into accounts values (500, 0)")
        with connection.transaction():
            connection.execute("set transaction isolation level repeatable read")
            shown = connection.execute("select pg_current_snapshot()::text, array_agg(id order by id) from accounts")
            snapshot, ids = shown.fetchone() or ("", [])
        one.execute("commit")
        two.execute("rollback")
        connection.execute("insert into accounts select n, 0 from generate_series(600, 620) n")
        three.execute("commit")
    return snapshot, ids


def test_the_filter_shows_what_the_snapshot_showed_amid_writers(
    server: LocalServer, accounts: psycopg.Connection
) -> None:
    snapshot, ids = snapshot_amid_writers(server, accounts)
    assert len(Snapshot.parse(snapshot).running) == 3
    assert rows_by_filter(accounts, snapshot) == ids == rows_in_snapshot(accounts, snapshot)


def test_frozen_rows_are_told_by_the_xid_they_keep(server: LocalServer, accounts: psycopg.Connection) -> None:
    snapshot, ids = snapshot_amid_writers(server, accounts)
    accounts.execute("vacuum (freeze) accounts")
    assert rows_by_filter(accounts, snapshot) == ids == rows_in_snapshot(accounts, snapshot)


def test_locks_on_rows_change_nothing(server: LocalServer, accounts: psycopg.Connection) -> None:
    before = fingerprint(server)
    accounts.execute("begin")
    accounts.execute("select from accounts for update")
    during = fingerprint(server, before)
    accounts.execute("commit")
    assert differences(before, during) == ()


def test_what_a_subtransaction_wrote_that_was_open_at_the_look_is_later(
    server: LocalServer, accounts: psycopg.Connection
) -> None:
    """pg_current_snapshot does not list it."""
    with server.superuser() as writer:
        writer.execute("begin")
        writer.execute("insert into accounts values (200, 0)")
        writer.execute("savepoint here")
        writer.execute("insert into accounts values (201, 0)")
        accounts.execute("insert into accounts values (202, 0)")
        before = fingerprint(server)
        writer.execute("commit")
    after = fingerprint(server, before)
    assert differences(before, after) == ()
    assert after.tables["public.accounts"].parts[LATER].rows == 2


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (1000, 1001),
        (1000, 1000),
        (3, 4000),
        ((1 << 32) - 20, (1 << 32) - 10),
        ((1 << 32) - 10, (1 << 32) + 10),
        ((1 << 32) + 3, (1 << 32) + 2000),
        ((5 << 32) + (1 << 31) - 5, (5 << 32) + (1 << 32) - 10),
        ((5 << 32) + (1 << 32) - 5, (6 << 32) + (1 << 30)),
    ],
)
def test_the_filter_equals_postgresqls_own_wherever_xids_have_come_round(
    server: LocalServer, low: int, high: int
) -> None:
    """Of every 32-bit xid that a visible row can have, against pg_visible_in_snapshot over its 64-bit one."""
    chance = random.Random(low)  # noqa: S311 - seeded on purpose
    edges = [e + d for e in (low, high) for d in range(-4, 4)]
    first = max(3, high - (1 << 32))
    drawn = [*edges, *(chance.randrange(first, high) for _ in range(500))]
    full = {x for x in drawn if first <= x < high and x % (1 << 32) >= 3}
    running = sorted(x for x in full if x < low)[::50]
    snapshot = f"{min([*running, low])}:{low}:{','.join(str(x) for x in running)}"
    condition = visible_in(Snapshot.parse(snapshot), Snapshot(high, high, ()))
    query = sql.SQL(
        "select xid8, {} as ours, pg_visible_in_snapshot(xid8, {}::pg_snapshot) as theirs"
        " from (select x::text::xid8 as xid8, x::text::xid8::xid as xmin from unnest({}::numeric[]) x) as t"
    ).format(sql.SQL(condition), snapshot, sorted(full))
    with server.superuser() as connection:
        rows = connection.execute(query).fetchall()
        permanent = sql.SQL("select {} from (values ('1'::xid), ('2'::xid)) as t(xmin)").format(sql.SQL(condition))
        assert connection.execute(permanent).fetchall() == [(True,), (True,)]
    assert len(rows) > 400 or high < 5000
    assert [row for row in rows if row[1] != row[2]] == []


@pytest.mark.parametrize("first", [3, 1000, (1 << 32) - 5, (1 << 32) + 1, (5 << 32) + (1 << 31)])
def test_what_is_unsure_is_a_part_of_its_own_wherever_xids_have_come_round(server: LocalServer, first: int) -> None:
    end, now = first + 20, first + 100
    cuts = {BEFORE: Snapshot(first + 10, first + 10, (first + 4,)), POINT: Snapshot(now, now, (), (first, end))}
    there = [xid for xid in range(max(3, first - 10), now + 20) if xid % (1 << 32) >= 3]
    query = sql.SQL(
        "select xid8::text::int8, {} from (select x::text::xid8 as xid8, x::text::xid8::xid as xmin"
        " from unnest({}::numeric[]) x) as t"
    ).format(sql.SQL(parts_of(cuts.values(), Snapshot(now + 20, now + 20, ()))), there)
    with server.superuser() as connection:
        found = dict(connection.execute(query).fetchall())
    numbers = {0: BEFORE, 1: POINT, 2: LATER, 3: UNSURE}
    for xid, number in found.items():
        shown = next((name for name, cut in cuts.items() if cut.shows(xid)), LATER)
        assert numbers[number] == (UNSURE if shown == POINT and xid < end else shown), xid


def test_a_snapshot_older_than_half_the_circle_of_xids_is_refused() -> None:
    with pytest.raises(RefusedError, match="too many to compare"):
        visible_in(Snapshot.parse("10:10:"), Snapshot.parse(f"{10 + (1 << 31)}:{10 + (1 << 31)}:"))


def test_a_server_in_a_later_epoch_is_filtered_by_its_whole_xids() -> None:
    with local_server() as server:
        server.stop()
        server.run("pg_resetwal", "-e", "3", "-D", server.data)
        server.start()
        with server.superuser() as connection:
            connection.execute("create table accounts (id int primary key, balance int)")
            connection.execute("insert into accounts select n, n from generate_series(1, 100) n")
            snapshot, ids = snapshot_amid_writers(server, connection)
            assert Snapshot.parse(snapshot).xmax > 3 << 32
            assert rows_by_filter(connection, snapshot) == ids == rows_in_snapshot(connection, snapshot)


# -- copies


def test_a_physical_copy_taken_under_load_equals_its_source_under_the_snapshot(
    server: LocalServer, accounts: psycopg.Connection
) -> None:
    before = fingerprint(server)
    with server.superuser() as writer:
        writer.execute("insert into accounts select n, 0 from generate_series(1000, 1200) n")
        with physical_copy(server) as copy:
            writer.execute("insert into accounts select n, 0 from generate_series(2000, 2200) n")
            assert differences(before, fingerprint(copy, before)) == ()
            assert differences(before, fingerprint(server, before)) == ()
            with copy.superuser() as saboteur:
                saboteur.execute("update accounts set balance = balance + 1 where id = 7")
                saboteur.execute("drop table public.empty")
            assert differences(before, fingerprint(copy, before)) == (
                "public.accounts",
                "public.empty",
                "column public.empty.a",
                "table public.empty",
            )


def test_a_table_that_cannot_be_read_says_why_and_stops_no_other(
    server: LocalServer, accounts: psycopg.Connection
) -> None:
    accounts.execute("alter table accounts enable row level security")
    tables = fingerprint(server).tables
    assert tables["public.accounts"].method.startswith("unreadable: ")
    assert "row-level security" in tables["public.accounts"].method
    assert "BYPASSRLS" in tables["public.accounts"].method
    assert tables["public.rest"].rows == 2


def test_a_locked_table_says_why_and_stops_no_other(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(postgres_connection._SESSION, "lock_timeout", "200ms")
    with server.superuser() as connection, connection.transaction():
        connection.execute("lock table child in access exclusive mode")
        tables = fingerprint(server).tables
    assert "lock timeout" in tables["public.child"].method
    assert tables["public.rest"].rows == 2


def test_a_server_that_dies_meanwhile_is_a_passing_failure_and_no_fingerprint() -> None:
    with local_server() as server:
        with server.superuser() as connection:
            connection.execute("create table slow (a int)")
            connection.execute("begin; lock table slow in access exclusive mode")
            killer = threading.Timer(0.5, server.stop, ["immediate"])
            killer.start()
            with pytest.raises(ProviderError, match="The database failed") as caught:
                fingerprint(server)
            killer.join()
            connection.close()
        server.start()
    assert caught.value.transient


@contextmanager
def wide(server: LocalServer, columns: Iterable[str]) -> Iterator[psycopg.Connection]:
    with server.superuser() as connection:
        connection.execute(f"create table wide ({', '.join(columns)})")
        try:
            yield connection
        finally:
            connection.execute("drop table wide")


def test_a_table_of_more_columns_than_a_bitmap_holds_is_summed(server: LocalServer) -> None:
    with wide(server, (f"c{n} int" for n in range(300))) as connection:
        connection.execute("insert into wide (c1) values (1)")
        assert not unseen(connection, [f"update wide set c{n} = 0" for n in (0, 2, 47, 48, 299)], "public.wide")


@pytest.mark.parametrize("columns", [CHAINED, CHAINED + 1, 1600])
@pytest.mark.parametrize("kind", ["int8", "text"])
def test_as_many_columns_as_postgresql_has_are_summed(server: LocalServer, columns: int, kind: str) -> None:
    """The longest chain of hashes, one column more, and as many as there can be."""
    with wide(server, (f"c{n} {kind}" for n in range(columns))) as connection:
        connection.execute("insert into wide (c1) values ('1'), ('2'), (null)")
        assert sums(connection, "public.wide")["public.wide"].rows == 3
        changes = [f"update wide set c{n} = '0' where c1 = '1'" for n in (0, 2, columns - 1)]
        assert not unseen(connection, changes, "public.wide")


@pytest.mark.parametrize("kind", ["int8", "text"])
def test_a_look_sums_the_widest_table_that_there_can_be(server: LocalServer, kind: str) -> None:
    """As the harness's role, with its settings, and in the buckets of a look."""
    with wide(server, (f"c{n} {kind}" for n in range(1600))) as connection:
        connection.execute("insert into wide (c1) values ('1'), ('2'), (null)")
        assert fingerprint(server).tables["public.wide"].rows == 3


def test_values_swapped_between_rows_of_a_wide_table_are_seen(server: LocalServer) -> None:
    with wide(server, (f"c{n} int not null default 0" for n in range(700))) as connection:
        connection.execute("insert into wide (c0, c699) values (1, 3), (2, 4)")
        assert not unseen(connection, ["update wide set c699 = 7 - c699"], "public.wide")


def test_a_table_whose_columns_were_mostly_dropped_is_summed(server: LocalServer) -> None:
    with wide(server, (f"c{n} int" for n in range(1600))) as connection:
        connection.execute("insert into wide (c0) values (1)")
        connection.execute(f"alter table wide {', '.join(f'drop c{n}' for n in range(1, 1599))}")
        assert not unseen(connection, ["update wide set c1599 = 0"], "public.wide")


def test_a_value_of_more_than_a_gigabyte_of_text_is_summed_without_it(server: LocalServer) -> None:
    with server.superuser() as connection:
        connection.execute("create table long (a int, b bit varying, c bytea, d text, e int[])")
        try:
            connection.execute(
                "insert into long values (1, b'10101010', '\\x01', 'd', '{1,2}'), (null, null, null, null, null)"
            )
            assert fingerprint(server).tables["public.long"].method.startswith("hash-")
            for _ in range(27):
                connection.execute("update long set b = b || b where a = 1")
            summed = fingerprint(server).tables["public.long"]
            assert (summed.rows, summed.method.split(":")[0]) == (2, "binary/1")
            assert fingerprint(server, portable=True).tables["public.long"] == summed
            connection.execute("update long set b = set_bit(b, 76, 0) where a = 1")
            changed = fingerprint(server).tables["public.long"]
            assert (changed.method, changed.parts != summed.parts) == (summed.method, True)
            connection.execute("update long set b = b'10101010' where a = 1")
            changes = [
                f"update long set {change} where a = 1" for change in ("a = 2", "c = ''", "d = null", "e = '{2,1}'")
            ]
            assert not unseen(connection, changes, "public.long", way=-1)
        finally:
            connection.execute("drop table long")


def test_md5_sums_are_the_fallback_between_major_versions(server: LocalServer) -> None:
    portable = fingerprint(server, portable=True)
    assert {table.method.split(":")[0] for table in portable.tables.values()} == {"md5/1"}


# -- the schema

SCHEMA_CHANGES: dict[str, tuple[str, str]] = {
    "a dropped index": ("drop index things_name", "index public.things_name"),
    "an invalid index": (
        "update pg_index set indisvalid = false where indexrelid = 'things_name'::regclass",
        "index public.things_name",
    ),
    "a changed type": ("alter table things alter note type varchar(9)", "column public.things.note"),
    "a changed default": ("alter table things alter note set default 'x'", "column public.things.note"),
    "a lost not null": ("alter table things alter name drop not null", "column public.things.name"),
    "a lost constraint": ("alter table things drop constraint positive", "constraint positive on public.things"),
    "a lost grant": ("revoke select on things from reader", "table public.things"),
    "a lost column grant": ("revoke update (note) on things from reader", "column public.things.note"),
    "a lost role": ("alter role reader nologin", "role reader"),
    "a changed view": ("create or replace view names as select name from things where id > 1", "view public.names"),
    "a changed function": ("create or replace function one() returns int return 2", "function public.one()"),
    "a disabled trigger": ("alter table things disable trigger touch", "trigger touch on public.things"),
    "a changed sequence": ("alter sequence numbers increment 5", "sequence public.numbers"),
    "an added label": ("alter type colour add value 'blue'", "type public.colour"),
    "a lost policy": ("drop policy mine on things", "policy mine on public.things"),
    "row security": ("alter table things force row level security", "table public.things"),
    "a missing extension": ("drop extension plpgsql cascade", "extension plpgsql"),
}


@pytest.fixture(scope="module")
def schema_server() -> Iterator[LocalServer]:
    with local_server(allow_system_table_mods="on") as running:
        with running.superuser() as connection:
            connection.execute(
                """
                create role reader login;
                create type colour as enum ('red'); create sequence numbers; create schema apart;
                create table things (id int primary key, name text not null, note text,
                    constraint positive check (id > 0));
                create index things_name on things (name);
                create view names as select name from things;
                create function one() returns int return 1;
                create function noop() returns trigger language plpgsql as 'begin return new; end';
                create trigger touch before update on things for each row execute function noop();
                grant select on things to reader; grant update (note) on things to reader;
                create policy mine on things using (name = current_user);
                """
            )
        yield running


def definitions(connection: psycopg.Connection) -> dict[str, str]:
    return {name: version.digest for name, version in objects(connection).items()}


@pytest.mark.parametrize("change", SCHEMA_CHANGES)
def test_a_changed_object_is_named(schema_server: LocalServer, change: str) -> None:
    statement, name = SCHEMA_CHANGES[change]
    with schema_server.superuser() as connection:
        connection.execute("set search_path = pg_catalog")
        before = definitions(connection)
        with connection.transaction(force_rollback=True):
            connection.execute("set local search_path = public")
            connection.execute(statement)
            connection.execute("set local search_path = pg_catalog")
            after = definitions(connection)
        assert definitions(connection) == before
    changed = {n for n in {*before, *after} if before.get(n) != after.get(n)}
    assert name in changed


def test_a_schema_is_the_same_on_a_physical_copy(schema_server: LocalServer) -> None:
    with physical_copy(schema_server) as copy:
        before = fingerprint(schema_server)
        assert len(before.objects) > 15
        assert differences(before, fingerprint(copy, before)) == ()
