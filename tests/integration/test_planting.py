"""Rows of a run's own on a real server: equal but for their names, all or none, counted, and gone again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from dr.config.model import Login
from dr.domain.errors import DrError, ProviderError, RefusedError
from dr.drivers.service.config import Planting, Rows, Stored
from dr.drivers.service.rows import _of, count_stored, plant, uproot
from dr.drivers.service.variants import planted_names
from dr.drivers.service.withheld import ANSWERS, READS, WAITS, Said, withheld
from dr.evidence.answers import stored_form
from dr.host.clock import SystemClock
from tests.servers import PASSWORD, LocalServer, local_server

RUN = "20261130-033333-cf4e"
ID = str(uuid.UUID(int=7))
SCHEMA = f"""
    create table patients (patient_id varchar(50) primary key, demographics jsonb not null, "Born" date,
        year int generated always as (extract(year from "Born")) stored);
    create schema care;
    create table care.admissions (n int generated always as identity primary key, admission_id uuid unique,
        patient_id varchar(50) references patients, days float default 1);
    create table care.notes (id serial primary key, admission int, note text);
    create table predictions (admission_id uuid references care.admissions (admission_id), risk float);
    insert into patients values ('SYN-1', '{{"sex": "female"}}', '1944-02-11'), ('P-2', '{{}}', null);
    insert into care.admissions (admission_id, patient_id, days) values ('{ID}', 'SYN-1', 6.5), (null, 'P-2', 2);
    insert into care.notes (admission, note) values (12, 'first'), (12, 'second'), (13, 'another''s');
    create role app login password '{PASSWORD}';
    create role planter login password '{PASSWORD}';
    grant usage on schema care to planter;
    grant select, insert, delete on all tables in schema public, care to planter;
    grant usage on all sequences in schema care to planter
"""
STORED = Stored("predictions", "admission_id")


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with local_server(SCHEMA) as running:
        yield running


def planting(server: LocalServer, user: str = "planter", *rows: Rows) -> Planting:
    usual = (
        Rows("patients", {"patient_id": "SYN-1"}),
        Rows("care.admissions", {"patient_id": "SYN-1", "admission_id": ID}),
        Rows("care.notes", {"admission": 12}),
    )
    return Planting(Login(user, server.database().harness.secret), rows or usual)


def told(server: LocalServer, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with server.superuser() as connection:
        return connection.execute(query.encode(), values).fetchall()


def everything(server: LocalServer) -> list[tuple[Any, ...]]:
    tables = ("patients", "care.admissions", "care.notes", "predictions")
    return [row for table in tables for row in told(server, f"select t::text from {table} t order by 1")]


def test_what_is_planted_is_equal_but_for_its_names_found_again_counted_and_taken_away(server: LocalServer) -> None:
    made, before = planting(server), everything(server)
    names = planted_names(made, RUN)
    assert plant(server.address, server.database(), made, STORED, RUN) == 4
    planted = everything(server)
    assert plant(server.address, server.database(), made, STORED, RUN) == 4
    assert everything(server) == planted
    assert len(planted) == len(before) + 4
    equal = 'select demographics, "Born", year from patients where patient_id = %s'
    assert told(server, equal, names["SYN-1"]) == told(server, equal, "SYN-1")
    admission = "select patient_id, days from care.admissions where admission_id = %s"
    assert told(server, admission, names[ID]) == [(names["SYN-1"], 6.5)]
    notes = "select note from care.notes where admission = %s order by 1"
    assert told(server, notes, names[12]) == told(server, notes, 12) == [("first",), ("second",)]

    def count() -> int:
        return count_stored(server.address, server.database(), STORED, made, RUN).total()

    assert count() == 0
    for admission_id in (ID, names[ID], names[ID]):
        told(server, "insert into predictions values (%s, 0.5) returning 1", admission_id)
    assert count() == 2
    valued = Stored("predictions", "admission_id", {"readmission_risk": "risk"})
    held = count_stored(server.address, server.database(), valued, made, RUN)
    assert held == {(str(names[ID]), stored_form({"readmission_risk": 0.5}, 0.0)): 2}
    assert uproot(server.address, server.database(), made, STORED, RUN, 0) == 6
    told(server, "delete from predictions returning 1")
    assert everything(server) == before
    assert uproot(server.address, server.database(), made, STORED, RUN, 0) == 0


@pytest.mark.parametrize(
    ("user", "rows", "why"),
    [
        ("planter", (Rows("care.notes", {"admission": 99}),), "care.notes of the copy holds no row of those"),
        ("planter", (Rows("care.notes", {"admission": 12, "visit": 12}),), "visit"),
        ("planter", (Rows("care.nothing", {"admission": 12}),), "care.nothing"),
        ("app", (Rows("care.notes", {"admission": 12}),), "refused app planting rows of the run's own"),
    ],
)
def test_what_cannot_be_planted_whole_is_not_planted_at_all(
    server: LocalServer, user: str, rows: tuple[Rows, ...], why: str
) -> None:
    before = everything(server)
    first = Rows("patients", {"patient_id": "SYN-1"})
    made = planting(server, user, *((first, *rows) if user == "planter" else rows))
    with pytest.raises(DrError, match=why):
        plant(server.address, server.database(), made, STORED, RUN)
    assert everything(server) == before


def test_whoever_could_not_plant_is_not_asked_to_delete(server: LocalServer) -> None:
    made = planting(server, "app")
    with pytest.raises(RefusedError, match=r"refused app planting.* Let it write the tables that service\.planted"):
        plant(server.address, server.database(), made, STORED, RUN)
    assert uproot(server.address, server.database(), made, STORED, RUN, 0) == 0


def test_two_runs_do_not_meet(server: LocalServer) -> None:
    one = planting(server)
    for run in (RUN, "20261130-044444-0000"):
        assert plant(server.address, server.database(), one, None, run) == 4
    for run in (RUN, "20261130-044444-0000"):
        assert uproot(server.address, server.database(), one, None, run, 4) == 4


@pytest.mark.parametrize("stored", [Stored("predictionz", "admission_id"), Stored("predictions", "admission")])
def test_what_could_not_be_deleted_again_is_not_planted(server: LocalServer, stored: Stored) -> None:
    before = everything(server)
    with pytest.raises(ProviderError, match=r"predictionz|admission"):
        plant(server.address, server.database(), planting(server), stored, RUN)
    assert everything(server) == before


@pytest.mark.parametrize(
    ("event", "why"),
    [("before delete", "care.notes keeps planted rows"), ("after delete", "the run's own: SQLSTATE P0001")],
)
def test_rows_of_a_table_that_keeps_all_are_not_planted(server: LocalServer, event: str, why: str) -> None:
    does = "return null" if event == "before delete" else "raise exception 'append only'"
    with server.superuser() as connection:
        connection.execute(
            f"create function keep() returns trigger language plpgsql as $$ begin {does}; end $$".encode()
        )
        connection.execute(f"create trigger keep {event} on care.notes for each row execute function keep()".encode())
    before = everything(server)
    try:
        with pytest.raises(ProviderError, match=why):
            plant(server.address, server.database(), planting(server), STORED, RUN)
        assert everything(server) == before
    finally:
        with server.superuser() as connection:
            connection.execute("drop function keep cascade")


def test_a_row_of_somebody_who_has_the_runs_name_is_not_taken_for_planted_and_stays(server: LocalServer) -> None:
    made = planting(server)
    name = planted_names(made, RUN)["SYN-1"]
    told(server, "insert into patients values (%s, '{}', '1990-01-01') returning 1", name)
    before = everything(server)
    with pytest.raises(ProviderError, match="patients of the copy holds rows under the names of the run's own that"):
        plant(server.address, server.database(), made, STORED, RUN)
    with pytest.raises(ProviderError, match=r"may still be in patients, care.admissions, care.notes, predictions of"):
        uproot(server.address, server.database(), made, STORED, RUN, 0)
    assert everything(server) == before
    told(server, "delete from patients where patient_id = %s returning 1", name)


def test_planted_rows_that_the_service_has_altered_are_deleted(server: LocalServer) -> None:
    made, before = planting(server), everything(server)
    assert plant(server.address, server.database(), made, STORED, RUN) == 4
    told(
        server,
        "update patients set demographics = '{}' where patient_id = %s returning 1",
        planted_names(made, RUN)["SYN-1"],
    )
    assert uproot(server.address, server.database(), made, STORED, RUN, 4) == 4
    assert everything(server) == before


@pytest.mark.parametrize(
    ("kind", "value"),
    [("integer", "int"), ("bigint", "int"), ("text", "text"), ("varchar(50)", "text"), ("uuid", "uuid")],
)
def test_predictions_are_counted_through_the_columns_index_whatever_its_type(
    server: LocalServer, kind: str, value: str
) -> None:
    made = planting(server)
    names = planted_names(made, RUN)
    key = {"int": names[12], "text": names["SYN-1"], "uuid": names[ID]}[value]
    with server.superuser() as connection:
        connection.execute(f"create table counted (id {kind})".encode())
        connection.execute("create index on counted (id)")
        connection.execute("insert into counted values (%s), (%s)", (key, key))
        stored = Stored("counted", "id")
        try:
            assert count_stored(server.address, server.database(), stored, made, RUN).total() == 2
            where, values = _of(connection, stored, names)
            connection.execute("set enable_seqscan = off")
            plan = connection.execute(b"explain select 1" + where.as_bytes(connection), (values,)).fetchall()
            assert "Index" in str(plan)
        finally:
            connection.execute("drop table counted")


def test_where_the_table_or_the_database_is_gone_nothing_is_stored(server: LocalServer) -> None:
    made, database = planting(server), server.database()
    assert count_stored(server.address, database, Stored("care.gone", "id"), made, RUN).total() == 0
    gone = msgspec.structs.replace(database, name="gone")
    assert count_stored(server.address, gone, STORED, made, RUN).total() == 0
    with pytest.raises(ProviderError, match="admission"):
        count_stored(server.address, database, Stored("predictions", "admission"), made, RUN)


@pytest.mark.parametrize(
    ("query", "does"),
    [
        ("select 1 from care.admissions", READS),
        (f"insert into predictions values ('{ID}', 0.1); delete from predictions", WAITS),
        ("select 1 from care.notes for share", WAITS),
        ("select 1", ANSWERS),
        ("select pg_sleep(2.5)", ""),
    ],
)
def test_whoever_reads_what_is_planted_waits_while_it_is_withheld(server: LocalServer, query: str, does: str) -> None:
    def ask() -> Said:
        with server.superuser() as service:
            service.execute(query.encode())
        return {"risk": 0.5}

    before = everything(server)
    found = withheld(server.address, server.database(), planting(server), ask, SystemClock())
    assert found == (does, {"risk": 0.5})
    assert everything(server) == before


def test_what_is_refused_meanwhile_is_no_answer(server: LocalServer) -> None:
    found = withheld(server.address, server.database(), planting(server), lambda: "no answer: 503", SystemClock())
    assert found == ("", "no answer: 503")


def test_rows_that_somebody_else_holds_are_not_withheld(server: LocalServer) -> None:
    with server.superuser() as other, other.transaction():
        other.execute("lock table care.notes in row exclusive mode")
        with pytest.raises(ProviderError, match="lock timeout"):
            withheld(server.address, server.database(), planting(server), lambda: "", SystemClock())
