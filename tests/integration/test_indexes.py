"""Indexes of every kind are asked for rows on a real server; one that lost its content is named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from dr.drivers.postgres.connection import connect
from dr.drivers.postgres.indexes import NO_PLAN, ROWS, indexes
from dr.host.hearing import at_once
from tests.servers import LocalServer, local_server

MADE = """
    create extension btree_gist; create extension pg_trgm; create extension hstore;
    create type mood as enum ('low', 'high'); create domain code as text;
    create table things (id int primary key, c code, words text, doc jsonb, tags text[], at timestamptz, p point,
        b box, r int4range, addr inet, u uuid, h hstore, m mood, v varchar(9), n numeric, tv tsvector,
        "odd ""k0" int, k1 int);
    insert into things select n, 'c' || n, 'the word' || n || ' and more', jsonb_build_object('k', n),
        array['t' || n, 'all'], timestamptz '2026-01-01' + n * interval '1 minute', point(n, n),
        box(point(n, n), point(n + 1, n + 1)), int4range(n, n + 5), ('10.0.' || n / 250 || '.' || n % 250)::inet,
        gen_random_uuid(), hstore('k', n::text), case when n % 2 = 0 then 'low' else 'high' end::mood, n::text, n,
        to_tsvector('simple', 'word' || n), n, n
      from generate_series(1, 3000) n;
    insert into things (id) values (0);
    create table others as select * from things;
    create index t_btree on things (c, at desc);
    create index t_expression on things (lower(words));
    create index t_partial on things (v) where id > 2000;
    create index t_hash on things using hash (u);
    create index t_hash_id on things using hash (id);
    create index t_brin on things using brin (id);
    create index t_brin_at on things using brin (at) with (pages_per_range = 4);
    create index t_bloom on things using brin (n numeric_bloom_ops);
    create index t_inclusion on things using brin (r range_inclusion_ops);
    create index t_gin_doc on things using gin (doc);
    create index t_gin_path on others using gin (doc jsonb_path_ops);
    create index t_gin_tags on things using gin (tags);
    create index t_gin_words on things using gin (tv);
    create index t_gin_expression on things using gin (to_tsvector('simple', words));
    create index t_gin_trigrams on things using gin (words gin_trgm_ops);
    create index t_gin_hstore on things using gin (h);
    create index t_gist_point on things using gist (p);
    create index t_gist_box on things using gist (b);
    create index t_gist_range on things using gist (r);
    create index t_gist_words on others using gist (tv);
    create index t_gist_two on others using gist (id, r);
    create index t_gist_trigrams on others using gist (words gist_trgm_ops);
    create index t_spgist_point on others using spgist (p);
    create index t_spgist_text on others using spgist (words);
    create index t_spgist_inet on things using spgist (addr inet_ops);
    create index t_mood on things (m);
    create index t_odd on things ("odd ""k0");
    create index t_k1 on things (k1);
    create table years (y int, v text) partition by range (y);
    create index on years (v);
    create table years_2 partition of years for values from (2000) to (3000);
    insert into years values (2026, 'x');
    create table nothing (a int);
    create index n_empty on nothing (a);
    create materialized view counted as select id, words from things;
    create index m_words on counted using gin (to_tsvector('simple', words));
    create materialized view unfilled as select 1 as x with no data;
    create index m_unfilled on unfilled (x);
    create table hidden (a int);
    insert into hidden values (1);
    create index h_a on hidden (a);
    alter table hidden enable row level security;
    create table twice (a int);
    insert into twice select generate_series(1, 100);
    create index t_first on twice (a);
    create index t_second on twice (a);
    create table alike (a int, tags text[]);
    insert into alike select n, array['t' || n] from generate_series(1, 100) n;
    create index a_first on alike using gin (tags);
    create index a_second on alike using gin (tags);
    analyze;
"""


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with local_server(MADE, allow_system_table_mods="on") as running:
        yield running


def seen(server: LocalServer, only: set[str] | None = None) -> dict[str, Any]:
    with connect(server.address, server.database()) as connection:
        return at_once(indexes(connection, only=only))


def test_every_kind_of_index_is_gone_through(server: LocalServer) -> None:
    found = seen(server)
    assert found["lost"] == []
    why = [found["unprobed"].pop(f"public.{name}", "") for name in ("t_first", "t_second")]
    assert sorted(why) == ["", NO_PLAN]
    why = [found["unchecked"].pop(f"public.{name}", "") for name in ("a_first", "a_second")]
    assert sorted(why) == ["", NO_PLAN], "what amcheck does not check is not passed over"
    assert "row-level security" in found["unchecked"]["public.h_a"], "what may not be read is not passed over"
    assert found["unprobed"] == {}
    assert found["probed"] == 34
    assert [*found["unchecked"]] == ["public.h_a"]
    assert not found["available"]
    assert found["collations"] == []


KINDS = (
    *("t_hash", "t_hash_id", "t_brin", "t_bloom", "t_inclusion", "t_gin_doc", "t_gin_path", "t_gin_tags"),
    *(
        "t_gin_words",
        "t_gin_expression",
        "t_gin_trigrams",
        "t_gin_hstore",
        "t_gist_point",
        "t_gist_box",
        "t_gist_range",
    ),
    *("t_gist_words", "t_gist_two", "t_gist_trigrams", "t_spgist_point", "t_spgist_text", "t_spgist_inet"),
    *("t_btree", "t_expression", "t_partial", "t_odd", "t_k1"),
)


@pytest.mark.parametrize("name", KINDS)
def test_an_index_whose_content_is_gone_is_named(server: LocalServer, name: str) -> None:
    with server.superuser() as owner:
        _empty(owner, name)
        found = seen(server, {f"public.{name}"})
        owner.execute(f"reindex index {name}".encode())
    (lost,) = found["lost"]
    assert (lost["index"], lost["rows"]) == (f"public.{name}", ROWS)
    assert lost["found"] < ROWS
    assert seen(server, {f"public.{name}"})["lost"] == []


def _empty(owner: psycopg.Connection, name: str) -> None:
    """An index that knows of no row: its file is that of an empty table's."""
    table, definition = owner.execute(
        "select indrelid::regclass::text, pg_get_indexdef(indexrelid) from pg_index where indexrelid = %s::regclass",
        (name,),
    ).fetchone() or ("", "")
    made = definition.replace(f" {name} ", " emptied ").replace(f"{table} USING", "bare USING")
    owner.execute(f"drop table if exists bare; create table bare (like {table}); {made}".encode())
    owner.execute(
        "update pg_class as c set relfilenode = e.relfilenode from pg_class e"
        " where c.oid = %s::regclass and e.oid = 'emptied'::regclass",
        (name,),
    )


def test_an_index_of_a_collation_of_another_version_is_named(server: LocalServer) -> None:
    with server.superuser() as owner:
        owner.execute("create collation german (provider = icu, locale = 'de')")
        owner.execute("create table names (name text collate german); create index names_name on names (name)")
        owner.execute("update pg_collation set collversion = '1.0' where collname = 'german'")
        owner.execute("update pg_database set datcollversion = '1.0' where datname = 'clinic'")
        found = seen(server)["collations"]
        owner.execute(
            "update pg_database set datcollversion = pg_database_collation_actual_version(oid)"
            " where datname = 'clinic'; drop table names; drop collation german"
        )
    assert [one[:2] for one in found] == [["public.german", "1.0"], ["of database clinic", "1.0"]]
