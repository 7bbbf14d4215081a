"""Definitions as versions, on real servers: what is altered is named, and what is only kept in order is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import psycopg
import pytest

from dr.domain.looks import Version
from dr.drivers.postgres.connection import connect
from dr.drivers.postgres.schema import objects, whole
from tests.servers import LocalServer, local_server, physical_copy

MADE = """
    create role reader login valid until '2099-01-01'; create role app; grant reader to app;
    create role rds_superuser; create role master login; grant rds_superuser to master;
    create type colour as enum ('red'); create sequence numbers; create schema apart;
    create type pair as (a int, b int); create type span as range (subtype = float8);
    create domain small as int check (value < 10);
    create table things (id int primary key, name text not null, note text, kind colour,
        constraint positive check (id > 0));
    create index things_name on things (lower(name)) where id > 2;
    create index things_note on things using gin (to_tsvector('simple', note));
    create statistics things_both on id, name from things;
    create table parts (id int primary key, n serial, thing int constraint of_thing references things);
    create table parent (id int); create table child () inherits (parent);
    create table years (y int) partition by range (y);
    create table years_2 partition of years for values from (2000) to (3000);
    create view names as select name from things;
    create rule things_in as on insert to things do also nothing;
    create rule names_in as on insert to names do instead nothing;
    create materialized view counted as select count(*) as n from things;
    create function one() returns int return 1;
    create function two(a int) returns int language sql as 'select 2';
    create function noop() returns trigger language plpgsql as 'begin return new; end';
    create function audit() returns event_trigger language plpgsql as 'begin end';
    create trigger touch before update on things for each row execute function noop();
    create event trigger audited on ddl_command_end execute function audit();
    create aggregate total (int) (sfunc = int4pl, stype = int);
    create operator ~~~ (leftarg = int, rightarg = int, function = int4pl);
    create operator family kin using btree;
    create operator class tiny for type int using btree as operator 1 <, function 1 btint4cmp(int, int);
    create cast (colour as int) with inout;
    create collation german (provider = icu, locale = 'de');
    create text search dictionary plain (template = simple);
    create text search configuration words (copy = simple);
    create conversion odd for 'LATIN1' to 'UTF8' from iso8859_1_to_utf8;
    create foreign data wrapper far options (note 'x'); create server away foreign data wrapper far options (host 'a');
    create user mapping for reader server away options (user 'u', password 'hidden');
    create foreign table remote (id int) server away options (name 'r');
    create access method rows type table handler heap_tableam_handler;
    create language own handler plpgsql_call_handler;
    create publication news for table things;
    grant select on things to reader; grant update (note) on things to reader;
    alter default privileges in schema apart grant select on tables to reader;
    create policy mine on things using (name = current_user);
    alter database clinic set work_mem = '5MB'; alter role reader set work_mem = '6MB';
    alter role reader in database clinic set work_mem = '7MB';
    create subscription feed connection 'host=/nowhere password=hidden' publication p with (connect = false);
    insert into pg_seclabel select 'things'::regclass, 'pg_class'::regclass, 0, 'masks', 'open';
    comment on table things is 'all of them'; comment on column things.note is 'a note';
    comment on index things_name is 'by name'; comment on constraint positive on things is 'above zero';
    comment on trigger touch on things is 'always'; comment on function two(a int) is 'of one';
    comment on type pair is 'of two'; comment on constraint small_check on domain small is 'below ten';
    create function of_a_pair(p pair) returns int return 1; comment on function of_a_pair(pair) is 'of a type';
    create table dr.own (n int); comment on table dr.own is 'not a run''s';
    create table dr.victims_20261130_101010_ab12 (n int primary key);
    comment on table dr.victims_20261130_101010_ab12 is 'a run''s';
    insert into things values (1, 'a', 'b', 'red'), (3, 'c', 'd', 'red'); insert into parts (id, thing) values (1, 1);
"""

CHANGES: dict[str, tuple[str, str]] = {
    "an index dropped": ("drop index things_name", "index public.things_name"),
    "an index invalid": (
        "update pg_index set indisvalid = false where indexrelid = 'things_name'::regclass",
        "index public.things_name",
    ),
    "an index otherwise": (
        "drop index things_name; create index things_name on things (lower(name)) where id > 3",
        "index public.things_name",
    ),
    "an index's options": ("alter index things_name set (fillfactor = 50)", "index public.things_name"),
    "a column's type": ("alter table things alter note type varchar(9)", "column public.things.note"),
    "a default": ("alter table things alter note set default 'x'", "column public.things.note"),
    "not null": ("alter table things alter name drop not null", "column public.things.name"),
    "a column's storage": ("alter table things alter note set storage external", "column public.things.note"),
    "a constraint dropped": ("alter table things drop constraint positive", "constraint positive on public.things"),
    "a foreign key's trigger": ("alter table parts disable trigger all", "constraint of_thing on public.parts"),
    "a domain's constraint": (
        "alter domain small drop constraint small_check",
        "constraint small_check on public.small",
    ),
    "a domain's null": ("alter domain small set not null", "type public.small"),
    "a grant": ("revoke select on things from reader", "table public.things"),
    "a column's grant": ("revoke update (note) on things from reader", "column public.things.note"),
    "a function's grant": ("revoke execute on function two from public", "function public.two(a integer)"),
    "a type's grant": ("revoke usage on type colour from public", "type public.colour"),
    "a schema's grant": ("grant create on schema apart to reader", "schema apart"),
    "a database's grant": ("revoke connect on database clinic from public", "database clinic"),
    "a grant on the system's": (
        "grant execute on function pg_read_file(text) to reader",
        "privileges on function pg_catalog.pg_read_file(pg_catalog.text)",
    ),
    "a grant on the system's type": ("revoke usage on type int4 from public", "privileges on type integer"),
    "a grant on an extension's language": (
        "revoke usage on language plpgsql from public",
        "privileges on language plpgsql",
    ),
    "an extension's function": (
        "alter function plpgsql_call_handler() strict",
        "function pg_catalog.plpgsql_call_handler()",
    ),
    "an extension's owner of a function": (
        "alter function plpgsql_validator(oid) owner to app",
        "function pg_catalog.plpgsql_validator(pg_catalog.oid)",
    ),
    "an extension's language": ("alter language plpgsql owner to app", "language plpgsql"),
    "a role's comment": ("comment on role reader is 'who reads'", "comment on role reader"),
    "a database's comment": ("comment on database clinic is 'the main one'", "comment on database clinic"),
    "a password": ("alter role reader password 'another'", "password or limits of role reader"),
    "TOAST's options": ("alter table things set (toast.autovacuum_enabled = off)", "table public.things"),
    "a setting's grant": ("grant set on parameter log_statement to reader", "privileges on setting log_statement"),
    "default privileges": (
        "alter default privileges in schema apart revoke select on tables from reader",
        "default privileges for role postgres in schema apart on tables",
    ),
    "a table's owner": ("alter table things owner to app", "table public.things"),
    "a schema's owner": ("alter schema apart owner to app", "schema apart"),
    "a function's owner": ("alter function one owner to app", "function public.one()"),
    "a table that is unlogged": ("alter table parent set unlogged", "table public.parent"),
    "a table's options": ("alter table things set (autovacuum_enabled = off)", "table public.things"),
    "a replica's identity": ("alter table things replica identity full", "table public.things"),
    "inheritance": ("alter table child no inherit parent", "inheritance of public.parent by public.child"),
    "a partition detached": ("alter table years detach partition years_2", "table public.years_2"),
    "a role that cannot log in": ("alter role reader nologin", "role reader"),
    "a role that expires": ("alter role reader valid until '2001-01-01'", "role reader"),
    "a role's membership": ("revoke reader from app", "membership of role app in reader"),
    "a role's settings": ("alter role reader set work_mem = '9MB'", "settings of role reader"),
    "a database's settings": ("alter database clinic reset work_mem", "settings of database clinic"),
    "a role's settings in the database": (
        "alter role reader in database clinic set work_mem = '9MB'",
        "settings of role reader database clinic",
    ),
    "a view": ("create or replace view names as select name from things where id > 1", "view public.names"),
    "a view's rule": ("drop rule names_in on names", "rule names_in on public.names"),
    "a rule that is off": ("alter table things disable rule things_in", "rule things_in on public.things"),
    "a view's trigger": (
        "create trigger instead instead of delete on names for each row execute function noop()",
        "trigger instead on public.names",
    ),
    "a materialized view": (
        "drop materialized view counted; create materialized view counted as select 2 as n",
        "materialized view public.counted",
    ),
    "a materialized view emptied": (
        "refresh materialized view counted with no data",
        "materialized view public.counted",
    ),
    "a function": ("create or replace function one() returns int return 2", "function public.one()"),
    "a function's body": (
        "create or replace function two(a int) returns int language sql as 'select 3'",
        "function public.two(a integer)",
    ),
    "a function's rights": ("alter function two security definer", "function public.two(a integer)"),
    "an aggregate": (
        "drop aggregate total (int); create aggregate total (int) (sfunc = int4mi, stype = int)",
        "function public.total(integer)",
    ),
    "a trigger that is off": ("alter table things disable trigger touch", "trigger touch on public.things"),
    "an event trigger that is off": ("alter event trigger audited disable", "event trigger audited"),
    "an event trigger dropped": ("drop event trigger audited", "event trigger audited"),
    "a sequence's step": ("alter sequence numbers increment 5", "sequence public.numbers"),
    "a sequence's column": (
        "alter sequence parts_n_seq owned by none",
        "sequence public.parts_n_seq of public.parts.n",
    ),
    "a label": ("alter type colour add value 'blue'", "type public.colour"),
    "a composite type": ("alter type pair add attribute c int", "column public.pair.c"),
    "a range dropped": ("drop type span", "type public.span"),
    "a policy dropped": ("drop policy mine on things", "policy mine on public.things"),
    "a policy": ("alter policy mine on things using (true)", "policy mine on public.things"),
    "row security": ("alter table things enable row level security", "table public.things"),
    "row security for owners": ("alter table things force row level security", "table public.things"),
    "an extension dropped": ("drop extension plpgsql cascade", "extension plpgsql"),
    "an extension's version": ("update pg_extension set extversion = '0.9'", "extension plpgsql"),
    "an operator": ("alter operator ~~~ (int, int) owner to app", "operator public.~~~(integer,integer)"),
    "an operator family": (
        "alter operator family kin using btree add function 1 (int8, int8) btint8cmp(int8, int8)",
        "function 1 (bigint, bigint) of public.kin USING btree",
    ),
    "an operator class": ("drop operator class tiny using btree", "operator class public.tiny USING btree"),
    "a cast": ("drop cast (colour as int)", "cast (public.colour AS integer)"),
    "a collation dropped": ("drop collation german", "collation public.german"),
    "a dictionary": ("alter text search dictionary plain (accept = false)", "text search dictionary public.plain"),
    "a configuration": (
        "alter text search configuration words drop mapping for word",
        "mapping 1 of 2 in text search configuration public.words",
    ),
    "a conversion": ("alter conversion odd owner to app", "conversion public.odd"),
    "a wrapper": ("alter foreign data wrapper far options (set note 'y')", "foreign-data wrapper far"),
    "a server": ("alter server away options (set host 'b')", "foreign server away"),
    "a mapping": ("drop user mapping for reader server away", "user mapping of reader at away"),
    "a mapping's user": (
        "alter user mapping for reader server away options (set user 'v')",
        "user mapping of reader at away",
    ),
    "a foreign table": ("alter foreign table remote options (set name 's')", "foreign table public.remote"),
    "an access method": ("drop access method rows", "access method rows"),
    "statistics": ("alter statistics things_both set statistics 7", "statistics public.things_both"),
    "a publication's table": ("alter publication news drop table things", "publication news of public.things"),
    "a publication's way": ("alter publication news set (publish = 'insert')", "publication news"),
    "a publication's schema": ("alter publication news add tables in schema apart", "publication news of schema apart"),
    "a publication dropped": ("drop publication news", "publication news"),
    "a subscription's place": (
        "alter subscription feed connection 'host=/elsewhere password=hidden'",
        "subscription feed",
    ),
    "a subscription's slot": ("alter subscription feed set (slot_name = none)", "subscription feed"),
    "a security label": ("update pg_seclabel set label = 'masked'", "security label of masks on table public.things"),
    "a comment": ("comment on table things is 'some of them'", "comment on table public.things"),
    "a language": ("alter language own owner to app", "language own"),
    "a tablespace": ("alter tablespace pg_default set (seq_page_cost = 9)", "tablespace pg_default"),
}
"""What is done to a copy: the statements, and the object that has to be named."""

SETTLED: tuple[str, ...] = (
    "analyze",
    "truncate parts",
    "reindex table things",
    "refresh materialized view counted",
    "alter table things disable trigger touch; alter table things enable trigger touch",
    "alter table parts disable trigger all; alter table parts enable trigger all",
    "alter table things rename to objects; alter table objects rename to things",
    "select nextval('numbers')",
    "create table dr.markers_writes_direct_20261130_101010_ab12 (n int primary key, at timestamptz not null);"
    " comment on table dr.markers_writes_direct_20261130_101010_ab12 is 'a run''s'",
    "create temporary table passing (n int)",
    "alter role master password 'another'",
    "alter user mapping for reader server away options (set password 'another')",
    "alter subscription feed connection 'host=/nowhere password=another'",
)
"""What leaves every definition as it was."""


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with local_server(MADE, allow_system_table_mods="on") as running:
        yield running


@pytest.fixture
def owner(server: LocalServer) -> Iterator[psycopg.Connection]:
    with server.superuser() as connection:
        connection.execute("set search_path = pg_catalog")
        yield connection


def digests(of: Mapping[str, Version]) -> dict[str, str]:
    return {name: version.digest for name, version in of.items()}


def differing(here: Mapping[str, Version], there: Mapping[str, Version]) -> set[str]:
    mine, theirs = digests(here), digests(there)
    return {name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name)}


def changed_by(owner: psycopg.Connection, statement: str) -> tuple[dict[str, Version], dict[str, Version]]:
    """The objects before and within a transaction that is rolled back."""
    before = objects(owner)
    with owner.transaction(force_rollback=True):
        owner.execute("set local search_path = public, pg_catalog")
        owner.execute(statement.encode())
        owner.execute("set local search_path = pg_catalog")
        return before, objects(owner)


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_altered_is_named_with_who_wrote_it(owner: psycopg.Connection, change: str) -> None:
    statement, name = CHANGES[change]
    before, after = changed_by(owner, statement)
    assert name in differing(before, after), differing(before, after)
    if name in before and name in after and before[name].xid:
        assert after[name].xid > before[name].xid


@pytest.mark.parametrize("statement", SETTLED)
def test_what_is_kept_in_order_is_defined_as_before(owner: psycopg.Connection, statement: str) -> None:
    assert differing(*changed_by(owner, statement)) == set()


@pytest.mark.parametrize(
    "statement", ["vacuum full", "reindex table concurrently things", "reindex table concurrently parts"]
)
def test_what_cannot_be_rolled_back_and_keeps_order_is_defined_as_before(
    owner: psycopg.Connection, statement: str
) -> None:
    before = objects(owner)
    owner.execute("set search_path = public, pg_catalog")
    owner.execute(statement.encode())
    owner.execute("set search_path = pg_catalog")
    assert differing(before, objects(owner)) == set()


def test_an_index_that_is_being_exchanged_is_no_object(owner: psycopg.Connection) -> None:
    """What REINDEX CONCURRENTLY leaves behind where it is broken off, under the names that it gives."""
    _, after = changed_by(
        owner,
        "create index things_name_ccnew on things (name); create index things_name_ccold1 on things (name);"
        " update pg_index set indisvalid = false where indexrelid in"
        " ('things_name_ccnew'::regclass, 'things_name_ccold1'::regclass)",
    )
    assert not [name for name in after if "_cc" in name]


def test_a_physical_copy_has_the_same_objects_by_the_same_writers(server: LocalServer) -> None:
    with connect(server.address, server.database()) as connection:
        before = objects(connection)
    with physical_copy(server) as copy, connect(copy.address, copy.database()) as connection:
        assert objects(connection) == before
    assert len(before) > 60


@pytest.mark.parametrize(
    "rename", ["table things rename to objects", "schema public rename to private", "type pair rename to couple"]
)
def test_what_is_renamed_bears_the_writer_of_its_name(owner: psycopg.Connection, rename: str) -> None:
    before, after = changed_by(owner, f"alter {rename}")
    newest = max(version.xid for version in before.values())
    named = {*after} - {*before}
    assert named
    assert {name for name in named if 0 < after[name].xid <= newest} == set()


@pytest.mark.parametrize(
    ("statement", "name", "then"),
    [
        ("alter table things rename to objects", "table public.things", "table public.objects"),
        ("alter table things rename note to remark", "column public.things.note", "column public.things.remark"),
        ("alter index things_name set (fillfactor = 70)", "index public.things_name", ""),
        ("alter table things disable trigger touch", "trigger touch on public.things", ""),
        (
            "create or replace function two(a int) returns int language sql as 'select 3'",
            "function public.two(a integer)",
            "",
        ),
        ("refresh materialized view counted", "materialized view public.counted", ""),
        ("truncate parts", "table public.parts", ""),
        ("alter sequence numbers cache 5", "sequence public.numbers", ""),
        ("alter policy mine on things using (true)", "policy mine on public.things", ""),
        ("alter role reader createdb", "role reader", ""),
    ],
)
def test_what_is_altered_or_renamed_stays_one_and_the_same(
    owner: psycopg.Connection, statement: str, name: str, then: str
) -> None:
    before, after = changed_by(owner, statement)
    assert before[name].identity == after[then or name].identity != ""
    assert list(before.values()).count(before[name]) == 1


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("alter table things drop note; alter table things add note text", "column public.things.note"),
        (
            "drop index things_name; create index things_name on things (lower(name)) where id > 2",
            "index public.things_name",
        ),
        (
            "drop policy mine on things; create policy mine on things using (name = current_user)",
            "policy mine on public.things",
        ),
    ],
)
def test_what_is_made_anew_is_another(owner: psycopg.Connection, statement: str, name: str) -> None:
    before, after = changed_by(owner, statement)
    assert "" != before[name].identity != after[name].identity != ""


def test_no_two_objects_are_one_and_the_same(owner: psycopg.Connection) -> None:
    known = [one.identity for one in objects(owner).values() if one.identity]
    assert len({*known}) == len(known) > 60


def test_who_wrote_what_the_harness_may_not_read_is_not_known(server: LocalServer, owner: psycopg.Connection) -> None:
    """pg_read_all_data reads pg_authid, too; a harness that is granted each table by itself does not."""
    owner.execute("create role narrow login password 'narrow'")
    mapping = "user mapping of reader at away"
    known = ("role reader", "settings of role reader", "membership of role app in reader", mapping, "subscription feed")
    with connect(server.address, server.database()) as connection:
        found = objects(connection)
    with connect(server.address, server.database("narrow", user="narrow")) as connection:
        narrow = objects(connection)
    owner.execute("drop role narrow")
    assert all(found[name].xid > 700 for name in known)
    assert {narrow[name].xid for name in known} == {0}
    assert narrow["table public.things"] == found["table public.things"]
    own = {name: narrow[name].digest for name in ("role narrow", *known[3:])}  # whose options it is not shown
    readable = {name: digest for name, digest in digests(found).items() if not name.startswith("password ")}
    assert digests(narrow) == readable | own


def test_the_options_of_a_user_mapping_are_looked_at_by_a_harness_that_may(
    server: LocalServer, owner: psycopg.Connection
) -> None:
    found = []
    for user in ("other", "u"):
        owner.execute(f"alter user mapping for reader server away options (set user '{user}')".encode())
        with connect(server.address, server.database()) as connection:
            found.append(objects(connection))
    assert differing(*found) == {"user mapping of reader at away"}


def test_no_object_is_the_harnesss_own_or_temporary(owner: psycopg.Connection) -> None:
    _, after = changed_by(owner, "create temporary table passing (n int)")
    assert not [name for name in after if "passing" in name or "victims_" in name]
    _, after = changed_by(owner, "comment on schema dr is 'made by dr run 20261130-101010-ab12'")
    assert not {"schema dr", "comment on schema dr"} & {*after}


def test_what_is_a_persons_own_in_the_harnesss_schema_is_looked_at(owner: psycopg.Connection) -> None:
    _, after = changed_by(owner, "comment on schema dr is 'of our own'; create function dr.f() returns int return 1")
    own = {"schema dr", "comment on schema dr", "table dr.own", "column dr.own.n", "comment on table dr.own"}
    assert own | {"function dr.f()"} <= {*after}


@pytest.mark.parametrize(
    "of",
    [
        *("schema apart", "table parts", "column things.name", "view names", "index things_note", "sequence numbers"),
        *("function noop()", "type span", "constraint of_thing on parts", "domain small"),
        "constraint small_check on domain small",
    ],
)
def test_a_comment_bears_its_writer_where_its_object_is_in_a_schema_or_is_one(
    owner: psycopg.Connection, of: str
) -> None:
    before, after = changed_by(owner, f"comment on {of} is 'forged'")
    newest = max(version.xid for version in before.values())
    (name,) = differing(before, after)
    assert name.startswith("comment on ")
    assert after[name].xid > newest


def test_a_comment_on_what_is_in_no_schema_bears_no_writer(owner: psycopg.Connection) -> None:
    _, after = changed_by(owner, "comment on publication news is 'news'")
    assert after["comment on publication news"].xid == 0


@pytest.mark.parametrize(
    ("xid", "current", "bits"),
    [
        (800, 900, 800),
        (1, 1 << 33, 1),
        (2, 900, 2),
        (5, (7 << 32) + 9, (7 << 32) + 5),
        (4_000_000_000, (7 << 32) + 9, (6 << 32) + 4_000_000_000),
        (900, 900, 900),
    ],
)
def test_a_transaction_is_the_newest_of_its_number(xid: int, current: int, bits: int) -> None:
    assert whole(xid, current) == bits
