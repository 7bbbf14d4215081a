"""What a real server holds beside rows and definitions is looked at, on it and on a physical copy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dr.domain.errors import ProviderError
from dr.domain.state import LARGE_OBJECTS, State
from dr.drivers.postgres import state
from dr.drivers.postgres.connection import _SESSION, connect
from dr.drivers.postgres.indexes import indexes
from dr.drivers.postgres.schema import objects
from dr.drivers.postgres.state import looking, unkept
from dr.host.hearing import at_once
from tests.servers import LocalServer, local_server, physical_copy

MADE = """
    create extension amcheck; grant execute on function bt_index_check(regclass, boolean) to dr_harness;
    create table numbered (id serial primary key, v text);
    insert into numbered (v) select 'v' from generate_series(1, 50);
    create table "Odd one" (id int generated always as identity, "n" bigint);
    insert into "Odd one" (n) select 1 from generate_series(1, 5);
    create sequence tickets start 1000 increment 7 cycle maxvalue 5000; select nextval('tickets');
    create sequence shared increment -2; create table left_one (n bigint default nextval('shared'));
    create table right_one (n numeric default nextval('shared'), code text default 'P' || nextval('shared'));
    insert into left_one default values; insert into right_one default values;
    create unlogged table cache (id int primary key); insert into cache select generate_series(1, 100);
    create unlogged table empty (id serial);
    select setval('empty_id_seq', 40);
    select lo_from_bytea(424242, 'x'), lo_from_bytea(7, 'y');
    alter database clinic set work_mem = '5MB';
    create table dr.own (n serial);
    create database billing;
"""


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    statements = [statement for statement in MADE.split(";\n") if statement.strip()]
    with local_server(
        *statements, wal_level="logical", max_prepared_transactions="5", archive_cleanup_command="hidden"
    ) as running:
        with running.superuser() as connection:
            connection.execute("select pg_create_logical_replication_slot('cdc', 'test_decoding')")
            connection.execute(
                "create subscription feed connection 'host=/nowhere' publication p with (connect = false)"
            )
        yield running


def looked(server: LocalServer, *exclude: str) -> State:
    with connect(server.address, server.database()) as connection:
        return at_once(looking(connection, exclude=exclude))


def test_sequences_are_looked_at_with_the_columns_that_take_their_numbers(server: LocalServer) -> None:
    found = looked(server).sequences
    logged = {"public.numbered_id_seq", 'public."Odd one_id_seq"', "public.tickets", "public.shared"}
    assert set(found) == {*logged, "public.empty_id_seq", "dr.own_n_seq"}
    emptied = found["public.empty_id_seq"]
    assert (emptied.unlogged, emptied.next, emptied.column) == (True, 41, "public.empty.id")
    assert not any(found[name].unlogged for name in logged)
    numbered = found["public.numbered_id_seq"]
    assert (numbered.last, numbered.called, numbered.column, numbered.utmost) == (50, True, "public.numbered.id", 50)
    assert found['public."Odd one_id_seq"'].utmost == 5
    assert (found["public.tickets"].cycles, found["public.tickets"].next) == (True, 1007)
    shared = found["public.shared"]
    assert (shared.step, shared.column, shared.utmost) == (-2, "public.right_one.n", -3)
    assert not any(one.behind(one.utmost) for one in found.values())
    assert numbered.xid > 700


@pytest.mark.parametrize(
    ("held", "utmost"),
    [("9007199254740993", 9007199254740993), ("9223372036854775807", (1 << 63) - 1), ("'NaN'", None), ("1e30", None)],
)
def test_the_utmost_number_is_exact_and_none_where_no_sequence_gives_it_out(
    server: LocalServer, held: str, utmost: int | None
) -> None:
    with server.superuser() as owner:
        kind = "numeric" if utmost is None else "bigint"
        owner.execute(f"create table big (n {kind}); create sequence far owned by big.n".encode())
        owner.execute(f"insert into big values ({held})".encode())
        found = looked(server)
        owner.execute("drop table big")
    assert "public.far" in found.sequences, found.unread
    assert (found.sequences["public.far"].column, found.sequences["public.far"].utmost) == ("public.big.n", utmost)


def test_large_objects_unlogged_tables_and_what_is_never_brought_are_looked_at(server: LocalServer) -> None:
    found = looked(server)
    assert set(found.large_objects) == {"7", "424242"}
    assert found.contents
    assert found.unlogged == {"public.cache": 100, "public.empty": 0}
    assert (found.slots, found.subscriptions, found.unread) == (("cdc",), ("feed",), {})
    assert found.databases == ("billing", "postgres")


def test_what_no_other_server_takes_over_is_looked_at_by_itself(server: LocalServer) -> None:
    with connect(server.address, server.database()) as connection:
        found = unkept(connection)
    assert found == {"unlogged": {"public.cache": True, "public.empty": False}, "slots": ["cdc"]}


def test_what_is_in_a_large_object_is_digested(server: LocalServer) -> None:
    with server.superuser() as owner:
        before = looked(server)
        owner.execute("select lo_put(7, 0, 'z')")
        after = looked(server)
    assert before.contents
    assert not looked(server, state.EXCLUDED).contents
    assert before.large_objects["424242"] == after.large_objects["424242"]
    assert before.large_objects["7"].digest != after.large_objects["7"].digest
    assert before.large_objects["7"].xid < after.large_objects["7"].xid


def test_large_objects_that_are_too_large_or_cannot_be_read_say_why_and_stop_nothing(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "MOST_CONTENTS", 0)
    found = looked(server)
    assert (set(found.large_objects), found.contents) == ({"7", "424242"}, False)
    assert "what is in more than 0 is not read" in found.unread[LARGE_OBJECTS]
    monkeypatch.setattr(state, "_LARGE_OBJECTS", "select 1 / 0")
    found = looked(server)
    assert (found.large_objects, found.contents, bool(found.sequences)) == ({}, False, True)
    assert "22012" in found.unread[LARGE_OBJECTS]


def test_settings_are_those_of_a_new_session_and_keep_no_secret(server: LocalServer) -> None:
    settings = looked(server).settings
    assert settings["work_mem"] == "5120"
    assert settings["fsync"] == "off"
    assert settings["archive_cleanup_command"].startswith("digest ")
    assert "hidden" not in settings.values()


def test_a_sequence_that_cannot_be_read_says_why_and_stops_no_other(server: LocalServer) -> None:
    with server.superuser() as owner:
        owner.execute("alter table numbered enable row level security")
        found = looked(server)
        owner.execute("alter table numbered disable row level security")
    assert "row-level security" in found.unread["the sequence public.numbered_id_seq"]
    assert "public.tickets" in found.sequences


def test_a_table_that_is_locked_keeps_no_other_from_being_looked_at(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_SESSION, "lock_timeout", "200ms")
    with server.superuser() as owner:
        owner.execute("begin; alter table numbered add column w int; prepare transaction 'ddl'")
        try:
            found = looked(server)
            with connect(server.address, server.database()) as connection:
                checked = at_once(indexes(connection))
                named = objects(connection)
        finally:
            owner.execute("rollback prepared 'ddl'")
    assert list(found.unread) == ["the sequence public.numbered_id_seq"]
    assert "lock timeout" in found.unread["the sequence public.numbered_id_seq"]
    assert found.sequences["public.shared"].column == "public.right_one.n"
    assert "public.numbered_pkey" in checked["unprobed"]
    assert (list(checked["unchecked"]), checked["failed"]) == (["public.numbered_pkey"], [])
    assert "table public.numbered" in named


@pytest.mark.parametrize("what", ["the sequence public.tickets", "the rows of public.cache", "the index"])
def test_a_server_that_shuts_down_during_a_look_is_named_as_the_database_that_failed(
    server: LocalServer, what: str
) -> None:
    with connect(server.address, server.database()) as connection, server.superuser() as owner:
        steps = indexes(connection) if what == "the index" else looking(connection)

        def ended() -> None:
            for step in steps:
                if what in str(step):
                    owner.execute("select pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))

        with pytest.raises(ProviderError, match="The database failed") as caught:
            ended()
    assert caught.value.transient


def test_a_physical_copy_stands_where_its_source_does_but_for_what_is_unlogged(server: LocalServer) -> None:
    source = looked(server)
    with physical_copy(server) as copy:
        with copy.superuser() as connection:
            connection.execute("begin; create table prepared_one (n int); prepare transaction 'erp-1'")
        found = looked(copy)
    assert found.large_objects == source.large_objects
    assert found.unlogged == {"public.cache": 0, "public.empty": 0}
    assert (found.prepared, found.slots) == (("erp-1",), ())
    restarted = found.sequences["public.empty_id_seq"]
    assert (restarted.unlogged, restarted.next, restarted.column) == (True, 1, "public.empty.id")
    for name, one in source.sequences.items():
        assert one.unlogged or 0 <= found.sequences[name].steps_from(one) <= one.ahead, name
        assert found.sequences[name].xid == one.xid
