"""What a restored instance is to a person."""

from __future__ import annotations

from typing import Any

import pytest

from dr.config.model import Login
from dr.domain.model import Component, Resource
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.rds.naming import instance
from dr.drivers.rds.restored import ending, restored

DATABASE = PostgresConfig("readmission", Login("dr_harness", "env:A"), ca="/ca.pem")
DONE = {"identifier": "Copy", "host": "h", "port": 5432, "kind": "time", "point_id": "ab-gmrd51", "status": "available"}


def told(*replicas: str, **done: Any) -> Component:
    return restored({**DONE, **done}, "readmission-db", replicas, DATABASE)


def test_what_it_was_made_from_is_told_by_the_name_that_a_person_knows() -> None:
    assert told().origin == "a point in time of readmission-db"
    assert told(kind="snapshot", point_id="nightly-1").origin == "snapshot nightly-1"
    assert told().ref == instance("copy")


def test_replicas_that_the_source_has_are_made_anew_at_cut_over() -> None:
    assert len(told().cut_over) == 2
    *_, last = told("one", "two").cut_over
    assert last.startswith("Make read replicas of it in place of one, two:\n  aws rds create-db-instance-read-replica")


@pytest.mark.parametrize(
    ("status", "words"),
    [("available", ""), ("backing-up", "its first backup; --set"), ("modifying", "modifying, its own work.")],
)
def test_what_the_provider_was_still_at_is_noted(status: str, words: str) -> None:
    assert words in told(status=status).note
    assert bool(told(status=status).note) is bool(words)


def test_a_run_that_no_machine_knows_is_ended_by_a_tag() -> None:
    found = Resource(instance("copy"), "available", attributes={"DBInstanceArn": "arn:copy"})
    assert ending(found).endswith("--resource-name arn:copy --tags Key=dr:sealed,Value=abandoned")
