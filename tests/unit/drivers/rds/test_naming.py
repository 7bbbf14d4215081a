"""How RDS's things are referred to, and where they listen."""

from __future__ import annotations

from typing import Any

import pytest

from dr.domain.errors import RefusedError
from dr.domain.model import Own
from dr.domain.refs import Endpoint, Ref
from dr.drivers.rds.look import own, resource
from dr.drivers.rds.naming import instance, listens
from tests.targets import target_of
from tests.unit.drivers.rds.support import description


def test_an_instance_is_the_same_in_whatever_case_it_is_written() -> None:
    assert instance("Readmission-DB") == instance("readmission-db")
    assert str(instance("Readmission-DB")) == "instance readmission-db"


def test_what_stands_in_an_instance_is_told_from_what_stands_in_another() -> None:
    table, other = (Ref("postgres", "table", "dr.victims", instance(name)) for name in ("a", "b"))
    assert table != other
    assert str(table) == "table dr.victims in instance a"
    assert list(Ref("postgres", "row", "1", table).holders) == [table, instance("a")]


@pytest.mark.parametrize("endpoint", [None, {}, {"Port": 5432}])
def test_an_instance_that_is_being_made_listens_nowhere(endpoint: Any) -> None:
    assert listens({}) is None
    assert listens({"Endpoint": endpoint}) is None


def test_an_instance_listens_where_rds_says() -> None:
    found = resource({**description("Copy"), "Endpoint": {"Address": "copy.example", "Port": 5433}})
    assert (found.ref, found.endpoint) == (instance("copy"), Endpoint("copy.example", 5433))
    assert str(found.endpoint) == "copy.example:5433"


def test_what_others_need_of_an_instance_is_not_in_rds_spelling() -> None:
    far = "arn:aws:rds:eu-west-1:1:db:far"
    found = resource({**description("Copy"), "DbiResourceId": "db-1", "ReadReplicaDBInstanceIdentifiers": ["A", far]})
    assert (found.uid, found.replicas) == ("db-1", (instance("a"), instance(far)))


def test_a_targets_database_is_its_instance_by_the_name_that_it_has_there() -> None:
    of = target_of(instance="Clinic", replicas=("One",)).protects("database")
    assert (of.name, of.ref, of.replicas, of.named("X")) == ("Clinic", instance("clinic"), ("One",), instance("x"))
    with pytest.raises(RefusedError, match="No section of the target says which namespace it protects"):
        target_of().protects("namespace")


def test_the_source_is_the_targets_own_also_where_it_is_gone_and_replicas_of_others_are_not() -> None:
    rows = (
        ("replica", "SOURCE"),
        ("far", "arn:aws:rds:eu-west-1:1:db:source"),
        ("billing-replica", "billing"),
        ("x", ""),
    )
    found = [resource({**description(name), "ReadReplicaSourceDBInstanceIdentifier": of}) for name, of in rows]
    assert own("Source", found) == {instance("source"): Own.SOURCE, instance("replica"): Own.REPLICA}
    assert [one.replica_of for one in found][3] is None
