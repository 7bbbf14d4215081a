"""Rows of a run's own on a real server: equal but for their names, all or none, counted, and gone again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from dr.config.model import Login
from dr.domain.errors import DrError, RefusedError
from dr.drivers.service.config import Planting, Rows, Stored
from dr.drivers.service.rows import count_stored, plant, uproot
from dr.drivers.service.variants import planted_names
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
    assert plant(server.address, server.database(), made, RUN) == 4
    planted = everything(server)
    assert plant(server.address, server.database(), made, RUN) == 4
    assert everything(server) == planted
    assert len(planted) == len(before) + 4
    equal = 'select demographics, "Born", year from patients where patient_id = %s'
    assert told(server, equal, names["SYN-1"]) == told(server, equal, "SYN-1")
    admission = "select patient_id, days from care.admissions where admission_id = %s"
    assert told(server, admission, names[ID]) == [(names["SYN-1"], 6.5)]
    notes = "select note from care.notes where admission = %s order by 1"
    assert told(server, notes, names[12]) == told(server, notes, 12) == [("first",), ("second",)]

    def count() -> int:
        return count_stored(server.address, server.database(), STORED, made, RUN)

    assert count() == 0
    for admission_id in (ID, names[ID], names[ID]):
        told(server, "insert into predictions values (%s, 0.5) returning 1", admission_id)
    assert count() == 2
    assert uproot(server.address, server.database(), made, STORED, RUN) == 6
    told(server, "delete from predictions returning 1")
    assert everything(server) == before
    assert uproot(server.address, server.database(), made, STORED, RUN) == 0


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
        plant(server.address, server.database(), made, RUN)
    assert everything(server) == before


def test_whoever_could_not_plant_is_not_asked_to_delete(server: LocalServer) -> None:
    made = planting(server, "app")
    with pytest.raises(RefusedError, match=r"refused app planting.* Let it write the tables that service\.planted"):
        plant(server.address, server.database(), made, RUN)
    assert uproot(server.address, server.database(), made, STORED, RUN) == 0


def test_two_runs_do_not_meet(server: LocalServer) -> None:
    one = planting(server)
    for run in (RUN, "20261130-044444-0000"):
        assert plant(server.address, server.database(), one, run) == 4
    for run in (RUN, "20261130-044444-0000"):
        assert uproot(server.address, server.database(), one, None, run) == 4
