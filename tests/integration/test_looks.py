"""A copy of a database that goes on living: what came by the log is no difference, and what a hand did is one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from dr.domain import comparing
from dr.domain.comparing import Compared
from dr.domain.looks import BEFORE, NOWHERE, POINT, Look, Snapshot, TableRows
from dr.domain.state import State
from dr.drivers.postgres import snapshots
from dr.drivers.postgres.compare import Comparison, everywhere
from dr.drivers.postgres.config import PostgresConfig, Tables
from dr.drivers.postgres.connection import connect
from dr.drivers.postgres.looking import Question, looking, moment
from dr.drivers.postgres.servers import Servers
from dr.drivers.postgres.snapshots import Recovered, finished, recovered
from dr.host.hearing import at_once
from tests.servers import LocalServer, local_server, physical_copy
from tests.support import BUSY, eventually

CLINIC = """
    create table patients (id int primary key, name text not null, visits int not null default 0);
    insert into patients select n, 'P' || n from generate_series(1, 2000) n;
    create table events (patient int, at timestamptz default clock_timestamp());
    insert into events select n from generate_series(1, 300) n;
    create materialized view frequent as select patient, count(*) from events group by patient;
    create table queue (id bigserial primary key, what text);
    insert into queue (what) select 'job' from generate_series(1, 50);
"""


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with local_server(CLINIC, autovacuum="off") as running:
        yield running


def compare(
    server: LocalServer,
    copy: LocalServer,
    before: Look | None,
    *,
    held: Recovered | None = None,
    promoted: bool = False,
) -> dict[str, Any]:
    """The four observations, by what and path."""
    database = server.database()
    asked = Comparison(
        database=database, copy=copy.address, source=server.address, because="", before=before, stored=None,
        held=held, promoted=promoted,
    )  # fmt: skip
    with connect(copy.address, database) as connection:
        return {f"{o.what} {o.path}": o.value for o in at_once(asked.steps(connection))}


def judged(before: Look | None, seen: Mapping[str, Any]) -> dict[str, Compared]:
    copy, after = (msgspec.convert(seen[f"look {path}"], Look) for path in ("restored", "source"))
    mine, theirs = (msgspec.convert(seen[f"rows {path}"], dict[str, TableRows]) for path in ("restored", "source"))
    return {
        name: comparing.table(
            before.tables.get(name) if before else None,
            here,
            after.tables.get(name),
            (mine[name], theirs[name]) if name in mine else None,
        )
        for name, here in copy.tables.items()
    }


def wrong(found: Mapping[str, Compared]) -> dict[str, dict[str, int]]:
    return {name: dict(one.wrong) for name, one in found.items() if one.wrong}


def look(server: LocalServer) -> Look:
    return at_once(looking(server.address, server.database(), Question()))


@contextmanager
def written_to(server: LocalServer) -> Iterator[None]:
    """Rows come, change and go all the while, in part by subtransactions."""
    over, failed = threading.Event(), list[BaseException]()

    def write(first: int) -> None:
        try:
            with server.superuser() as connection:
                n = first
                while not over.is_set():
                    n += 1
                    with connection.transaction():
                        connection.execute("insert into queue (what) values ('more')")
                        with connection.transaction():
                            connection.execute("insert into events values (%s)", (n,))
                        connection.execute("update patients set visits = visits + 1 where id = %s", (n % 2000 + 1,))
                        connection.execute("delete from queue where id in (select min(id) from queue)")
        except BaseException as error:
            failed.append(error)

    writers = [threading.Thread(target=write, args=(first,)) for first in (0, 1000)]
    for writer in writers:
        writer.start()
    try:
        yield
    finally:
        over.set()
        for writer in writers:
            writer.join()
    assert not failed


def test_a_copy_of_a_database_that_is_written_to_all_the_while_is_proven(server: LocalServer) -> None:
    with written_to(server):
        before = look(server)
        time.sleep(0.3)
        with physical_copy(server) as copy:
            time.sleep(0.3)
            seen = compare(server, copy, before)
    found = judged(before, seen)
    assert wrong(found) == {}
    assert found["public.patients"].proven + found["public.patients"].unknown == 2000
    assert found["public.patients"].proven > 0
    assert found["public.events"].unknown == 0
    assert found["public.frequent"].proven == 300


@pytest.mark.parametrize("asked", [snapshots.ASKED, 1], ids=["lately", "long before the point"])
def test_a_transaction_that_was_open_over_the_recovery_point_is_no_loss(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch, asked: int
) -> None:
    """It is broken off on the copy, and committed on the source later: with its subtransaction, under no name there."""
    monkeypatch.setattr(snapshots, "ASKED", asked)
    with server.superuser() as writer:
        before = look(server)
        writer.execute("begin")
        writer.execute("update patients set name = 'late' where id = 5")
        writer.execute("savepoint here")
        writer.execute("insert into events select 9000 from generate_series(1, 20)")
        with server.superuser() as other:
            other.execute("insert into events values (8000)")  # so that the open ones lie below the copy's newest
        with physical_copy(server) as copy:
            writer.execute("commit")
            seen = compare(server, copy, before)
    assert wrong(judged(before, seen)) == {}
    assert len(Snapshot.parse(seen["look source"]["cuts"][POINT]).running) == 2


@pytest.mark.parametrize("known", [True, False], ids=["with a look before", "without one"])
@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("update patients set visits = -1 where id in (7, 8)", "public.patients"),
        ("delete from patients where id = 7", "public.patients"),
        ("insert into patients values (7000, 'forged')", "public.patients"),
        ("insert into events select * from events where patient = 12", "public.events"),
        ("delete from queue", "public.queue"),
        ("refresh materialized view frequent", "public.frequent"),
    ],
)
def test_what_a_hand_does_on_the_copy_is_wrong_by_whom_and_what(
    server: LocalServer, statement: str, table: str, *, known: bool
) -> None:
    before = look(server) if known else None
    with physical_copy(server) as copy:
        with copy.superuser() as hand:
            held = recovered(hand)
            hand.execute(statement)
            time.sleep(1.5)  # until the statistics tell, too
        found = judged(before, compare(server, copy, before, held=held))
    assert wrong(found).keys() == {table}
    assert comparing.BY_HAND in found[table].wrong


def test_a_file_that_lacks_pages_is_told_and_one_that_vacuum_made_shorter_is_none(server: LocalServer) -> None:
    made = ("lost", "counted", "emptied", "whole")
    with server.superuser() as owner:
        for name in made:
            owner.execute(
                f"create table {name} (id int primary key); insert into {name} select generate_series(1, 900)".encode()
            )
        owner.execute("analyze counted; delete from emptied where id > 5; delete from whole")
        owner.execute("vacuum emptied")
        try:
            with physical_copy(server) as copy:
                with copy.superuser() as hand:
                    held = recovered(hand)
                    hand.execute("checkpoint")
                    files = [hand.execute("select pg_relation_filepath(%s)", (name,)).fetchone() for name in made[:2]]
                copy.stop("fast")
                for found in files:
                    assert found is not None
                    (copy.data / found[0]).write_bytes(b"")
                copy.start()
                tables = compare(server, copy, look(server), held=held)["look restored"]["tables"]
        finally:
            owner.execute("drop table lost, counted, emptied, whole")
    assert [tables[f"public.{name}"]["short"] for name in made] == [True, True, False, False]
    assert not tables["public.queue"]["short"]


def test_what_wrote_to_a_copy_and_let_nothing_count_is_told_by_its_number(server: LocalServer) -> None:
    def seen(after: str) -> Look:
        with copy.superuser() as hand:
            hand.execute(after.encode())
        time.sleep(1.5)  # until its process has ended, which tells the statistics what they lack
        return msgspec.convert(compare(server, copy, before, held=held)["look restored"], Look)

    before = look(server)
    with physical_copy(server) as copy:
        with copy.superuser() as hand:
            held = recovered(hand)
        one = "delete from patients where id = (select min(id) from patients)"
        looks = [seen(after) for after in ("select pg_stat_reset()", one, f"set track_counts = off; {one}")]
    assert [(one.taken, one.unwritten, one.accounted) for one in looks] == [
        (0, True, True),
        (1, False, True),
        (2, False, False),
    ]


def test_what_a_hand_did_before_anybody_asked_is_told_by_the_recoverys_checkpoint(server: LocalServer) -> None:
    with physical_copy(server) as copy:
        with copy.superuser() as hand:
            hand.execute("update patients set visits = -1 where id = 7")
            now = hand.execute("select pg_snapshot_xmax(pg_current_snapshot())::text::int8").fetchone()
            assert now is not None
            assert recovered(hand).held.xmax < now[0]
        found = judged(None, compare(server, copy, None))
    assert wrong(found).keys() == {"public.patients"}


def test_what_the_provider_wrote_on_the_copy_is_taken_for_nobodys(server: LocalServer) -> None:
    """It starts the server anew and writes as itself before anybody can log in: the source's own transactions of the
    same numbers, which came after the point, are not missing, and what it wrote is by no hand."""
    before = look(server)
    with physical_copy(server) as copy:
        with copy.superuser() as provider:
            for n in range(5):
                provider.execute(f"create role provider_{n}".encode())
        with server.superuser() as client:
            for n in range(8):
                client.execute("insert into events select %s", (9000 + n,))
        copy.stop()
        copy.start()
        with copy.superuser() as provider:
            provider.execute("select pg_current_xact_id()")
        held = Servers(copy.database()).recovered(copy.address.host, copy.address.port)
        found = judged(before, compare(server, copy, before, held=held))
        with copy.superuser() as hand:
            hand.execute("delete from events where patient = 12")
        by_hand = judged(before, compare(server, copy, before, held=held))
    assert held.sure < held.held.xmax
    assert wrong(found) == {}
    assert "public.events" in wrong(by_hand)


def test_clients_that_write_to_what_was_promoted_already_are_no_hand(server: LocalServer) -> None:
    before = look(server)
    with physical_copy(server) as copy:
        with copy.superuser() as client:
            held = recovered(client)
            client.execute("insert into events select 1 from generate_series(1, 10)")
        for known in (held, None):
            assert wrong(judged(before, compare(server, copy, before, held=known, promoted=True))) == {}


def test_tables_are_summed_side_by_side_in_one_moment(server: LocalServer) -> None:
    database = server.database()
    wide = PostgresConfig(database.name, database.harness, ca=database.ca, connections=4)
    with written_to(server), moment(server.address, wide) as now:
        time.sleep(0.2)
        side_by_side = at_once(now.look(Question(), State()))
        again = at_once(now.look(Question(), State()))
    assert side_by_side == again
    assert len(side_by_side.tables) == 4


def test_a_look_goes_on_with_the_sessions_that_its_role_may_have(server: LocalServer) -> None:
    database = msgspec.structs.replace(server.database(), connections=4)
    with server.superuser() as connection:
        connection.execute(f"alter role {database.harness.user} connection limit 2")
    try:
        with moment(server.address, database) as now:
            assert "public.patients" in at_once(now.look(Question(), State())).tables
    finally:
        with server.superuser() as connection:
            connection.execute(f"alter role {database.harness.user} connection limit -1")


def test_what_dr_yaml_leaves_out_is_named_and_a_sample_is_the_same_each_time(server: LocalServer) -> None:
    database = server.database()
    some = Tables(exclude=("public.events",), sample={"public.patients": 0.25})
    sampled = PostgresConfig(database.name, database.harness, ca=database.ca, tables=some)
    first = at_once(looking(server.address, sampled, Question()))
    cuts = {BEFORE: Snapshot.parse(first.cuts[BEFORE])}
    again = at_once(looking(server.address, sampled, Question(cuts, first.tables)))
    assert first.left_out.keys() == {"public.events", "public.patients"}
    assert "public.events" not in first.tables
    assert 350 < first.tables["public.patients"].rows < 650
    assert first.tables["public.patients"] == again.tables["public.patients"]


def test_a_partitioned_tables_name_stands_for_all_its_partitions_and_one_of_no_table_is_told(
    server: LocalServer,
) -> None:
    database = server.database()
    some = Tables(exclude=("public.years", "public.yeers"), sample={"public.months": 0.5})
    left = PostgresConfig(database.name, database.harness, ca=database.ca, tables=some)
    with server.superuser() as connection:
        for name in ("years", "months"):
            connection.execute(f"create table {name} (id int primary key) partition by range (id)".encode())
            connection.execute(f"create table {name}_old partition of {name} for values from (0) to (9)".encode())
        try:
            found = at_once(looking(server.address, left, Question()))
        finally:
            connection.execute("drop table years, months")
    assert found.left_out["public.years_old"] == "dr.yaml excludes it"
    assert found.left_out["public.months_old"].startswith("all but a sample of 0.5")
    assert found.left_out["public.yeers"] == NOWHERE
    assert found.left_out.keys() == {"public.years_old", "public.months_old", "public.yeers"}


def test_a_table_whose_columns_changed_is_not_compared_with_what_it_was(server: LocalServer) -> None:
    with server.superuser() as connection:
        connection.execute("create table shapes (id int primary key, a int, b int)")
        connection.execute("insert into shapes select n, n, n from generate_series(1, 50) n")
        before = look(server)
        connection.execute("alter table shapes drop b, add c int default 1")
        try:
            with physical_copy(server) as copy:
                connection.execute("alter table shapes rename a to other")
                found = judged(before, compare(server, copy, before))["public.shapes"]
        finally:
            connection.execute("drop table shapes")
    assert (found.proven, found.unknown, found.wrong) == (50, 0, {})


def test_of_a_table_whose_columns_come_and_go_the_others_are_compared(server: LocalServer) -> None:
    """One came before the point and went after it, another was added after it, and one is forged on the copy."""
    changed = "update {} set a = a + 1 where id <= 10"
    names = ("went", "added", "forged", "taken")
    with server.superuser() as connection:
        for name in names:
            connection.execute(f"create table {name} (id int primary key, a int, b int)".encode())
            connection.execute(f"insert into {name} select n, n, n from generate_series(1, 50) n".encode())
        before = look(server)
        connection.execute("alter table went add c int default 1")
        for name in names:
            connection.execute(changed.format(name).encode())
        try:
            with physical_copy(server) as copy, copy.superuser() as hand:
                with connect(copy.address, server.database()) as there:
                    held = recovered(there)
                connection.execute("alter table went drop c; alter table added add d int not null default 2")
                hand.execute("alter table forged add e int; update forged set a = 0 where id = 7")
                hand.execute("alter table taken drop b")
                seen = compare(server, copy, before, held=held)
        finally:
            for name in names:
                connection.execute(f"drop table {name}".encode())
    found = {name: judged(before, seen)[f"public.{name}"] for name in names}
    assert (found["went"].proven, found["went"].unknown, found["went"].wrong) == (50, 0, {})
    assert (found["added"].proven, found["added"].unknown, found["added"].wrong) == (50, 0, {})
    assert found["forged"].wrong
    left_out = seen["look restored"]["left_out"]
    assert left_out == {
        "public.went": "its columns c, which not every look has",
        "public.forged": "its columns e, which not every look has",
    }
    methods = [seen[f"look {path}"]["tables"]["public.taken"]["method"] for path in ("restored", "source")]
    assert methods[0] != methods[1], "a column that the copy lost is no column that was added since"


RETYPED = {
    "of_enum": "create type mood as enum ('a', 'b'); create table of_enum (id int primary key, n int, v mood)",
    "of_instants": "create table of_instants (id int primary key, n int, v timestamp)",
    "of_names": "create table named (); create table of_names (id int primary key, n int, v regclass, w regclass[])",
    "of_pairs": "create type couple as (a int); create table of_pairs (id int primary key, n int, v couple)",
    "of_enums": "create table of_enums (id int primary key, n int, v mood[])",
}
"""Tables by name, whose values' text changes without that a row is written."""
RETYPING = """
    alter type mood rename value 'a' to 'c'; alter table of_instants alter v type timestamptz;
    alter table named rename to otherwise; alter type couple add attribute b int;
"""


def test_a_type_that_prints_its_values_otherwise_since_alters_no_row(server: LocalServer) -> None:
    """Of a busy table, whose rows the look before does not prove."""
    with server.superuser() as connection:
        connection.execute("set timezone = 'UTC'; alter database clinic set standard_conforming_strings = off")
        for made in RETYPED.values():
            connection.execute(made.encode())
        for name, value in (
            ("of_enum", "'a', null"), ("of_instants", "'2026-01-01 10:00', '2026-01-02 11:00:00.5'"),
            ("of_pairs", "row(1)::couple, null"), ("of_enums", "array['a', 'b']::mood[], null"),
        ):  # fmt: skip
            one, other = value.rsplit(", ", 1)
            connection.execute(f"insert into {name} select n, n, {one} from generate_series(1, 40) n".encode())
            connection.execute(f"insert into {name} select n, n, {other} from generate_series(41, 50) n".encode())
        connection.execute("insert into of_names select n, n, 'named', '{named}' from generate_series(1, 50) n")
        before = look(server)
        for name in RETYPED:
            connection.execute(f"update {name} set n = n + 1 where id <= 20".encode())
        try:
            with physical_copy(server) as copy, copy.superuser() as hand:
                with connect(copy.address, server.database()) as there:
                    held = recovered(there)
                connection.execute(RETYPING)
                seen = compare(server, copy, before, held=held)
                hand.execute("update of_enum set v = 'b' where id = 3; update of_names set v = 'queue' where id = 4")
                forged = compare(server, copy, before, held=held)
        finally:
            connection.execute("alter database clinic reset standard_conforming_strings")
            connection.execute(f"drop table {', '.join(RETYPED)}, otherwise; drop type mood, couple".encode())
    found = {name: judged(before, seen)[f"public.{name}"] for name in RETYPED}
    assert {name: dict(one.wrong) for name, one in found.items() if one.wrong} == {}
    unknown = {name: one.unknown for name, one in found.items() if one.unknown}
    assert unknown.keys() == {"of_pairs", "of_enums"}, "what is summed by its text compares with neither"
    assert wrong(judged(before, forged)).keys() >= {"public.of_enum", "public.of_names"}


@pytest.mark.parametrize(
    ("done", "hidden", "stood"),
    [
        ("revoke connect on database reports from public", True, False),
        ("drop database reports", False, True),
        ("select 1", False, True),
    ],
    ids=["closed", "dropped", "whole"],
)
def test_a_database_that_the_copy_lacks_or_that_is_closed_there_hides_no_other(
    server: LocalServer, done: str, hidden: bool, stood: bool
) -> None:
    with server.superuser() as connection:
        connection.execute("create database reports")
    try:
        with server.superuser("reports") as connection:
            connection.execute("create table bills (id int primary key); insert into bills values (1), (2)")
        database = msgspec.structs.replace(server.database(), databases=("reports",))
        before = at_once(looking(server.address, database, Question()))
        with physical_copy(server) as copy:
            with connect(copy.address, database) as connection:
                held = recovered(connection)
            with copy.superuser("postgres") as connection:
                connection.execute(done)
            asked = Comparison(database, copy.address, server.address, "", before, None, held, False)
            with connect(copy.address, database) as connection:
                seen = [msgspec.convert(o.value, Look) for o in at_once(everywhere(asked, connection))[:2]]
    finally:
        with server.superuser() as connection:
            connection.execute("drop database reports")
    here, there = seen
    assert here.hides("reports: public.bills") is hidden
    assert ("reports: public.bills" in here.tables) is (done == "select 1")
    assert ("reports: public.bills" in there.tables) is stood
    assert "public.patients" in here.tables
    if stood:
        assert there.tables["reports: public.bills"].parts[BEFORE].rows == 2


def test_a_database_that_cannot_be_entered_hides_no_other_of_the_look(server: LocalServer) -> None:
    database = msgspec.structs.replace(server.database(), databases=("nowhere",))
    found = at_once(looking(server.address, database, Question()))
    assert "public.patients" in found.tables
    assert 'database "nowhere" does not exist' in found.unlooked["nowhere"]
    assert found.hides("nowhere: public.bills")


def test_event_triggers_that_each_login_sets_off_are_named(server: LocalServer) -> None:
    with server.superuser() as owner:
        owner.execute("set allow_system_table_mods = on")
        owner.execute("create function greeted() returns event_trigger language plpgsql as 'begin end'")
        for name, enabled in (("greet", "O"), ("asleep", "D"), ("always", "A")):
            owner.execute(f"create event trigger {name} on ddl_command_end execute function greeted()".encode())
            written = (
                f"update pg_event_trigger set evtevent = 'login', evtenabled = '{enabled}' where evtname = '{name}'"
            )
            owner.execute(written.encode())  # as of PostgreSQL 17
        try:
            assert look(server).on_login == {"": ("always", "greet")}
        finally:
            owner.execute("drop function greeted() cascade")
    assert look(server).on_login == {"": ()}


def test_a_moment_shows_nothing_as_finished_that_is_under_way(server: LocalServer) -> None:
    with server.superuser() as writer, connect(server.address, server.database()) as connection:
        writer.execute("begin; insert into events values (1); savepoint a; insert into events values (2)")
        inner = writer.execute("select max(xmin::text::int8) from events").fetchone()
        assert inner is not None
        with server.superuser() as other:
            other.execute("insert into events values (3)")
        assert not finished(connection).shows(inner[0])
        writer.execute("commit")
        assert finished(connection).shows(inner[0])
        writer.execute("delete from events where patient in (1, 2, 3)")


def test_a_halt_ends_what_is_summed_in_other_sessions(server: LocalServer) -> None:
    with server.superuser() as holder:
        holder.execute("begin; create table aside (a int); commit; begin; lock table aside in access exclusive mode")
        steps = looking(server.address, server.database(), Question())
        while next(steps).note != "summing public.patients of the source":
            pass  # the one before it waits for its lock now
        began = time.monotonic()
        steps.close()
        assert time.monotonic() - began < 5 * BUSY  # of 30, which a lock is waited for

        def held() -> object:
            holder.execute("select pg_stat_clear_snapshot()")
            asked = "select count(*) from pg_stat_activity where application_name = 'dr'"
            return holder.execute(asked).fetchone()

        eventually(lambda: held() == (0,))
        holder.execute("commit; drop table aside")
