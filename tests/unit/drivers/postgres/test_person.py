"""How a person reaches a restored database: a command to paste, which no name can break."""

from __future__ import annotations

import shlex

import pytest
from psycopg.conninfo import conninfo_to_dict

from dr.config.model import Login
from dr.domain.model import Component
from dr.domain.refs import Endpoint
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.connection import psql
from dr.drivers.rds.restored import UNVERIFIED, restored

HERE = Endpoint("db.example.test", 5432)
HARNESS = Login("dr_harness", "env:A")
API = Login("api", "env:B")


def database(ca: str = "", roles: tuple[Login, ...] = (API,), name: str = "readmission") -> PostgresConfig:
    return PostgresConfig(name, HARNESS, roles=roles, ca=ca)


def component(database: PostgresConfig) -> Component:
    done = {"identifier": "copy", "host": HERE.host, "port": HERE.port, "kind": "time", "status": "available"}
    return restored(done, "source", (), database)


def test_a_person_connects_as_the_application_does_and_is_told_where_nobody_is_verified() -> None:
    made = component(database())
    assert made.connect == "psql 'host=db.example.test port=5432 dbname=readmission user=api sslmode=require'"
    assert (made.role, str(made.endpoint), made.note) == ("database", "db.example.test:5432", UNVERIFIED)
    assert any("DATABASE_URL at db.example.test:5432" in step for step in made.cut_over)
    assert " user=dr_harness " in component(database(roles=())).connect


def test_a_ca_verifies_whom_the_command_connects_to() -> None:
    made = component(database(ca="/etc/my ca.pem"))
    assert made.note == ""
    assert shlex.split(made.connect)[1].endswith("sslmode=verify-full sslrootcert='/etc/my ca.pem'")


@pytest.mark.parametrize("name", ["a'; rm -rf ~ '", "a\\' b", "", "a b"])
def test_no_name_ends_the_argument(name: str) -> None:
    words = shlex.split(psql(HERE, database(name=name), "o'hara"))
    assert len(words) == 2
    told = conninfo_to_dict(words[1])
    assert (told["user"], told.get("dbname", "")) == ("o'hara", name)
