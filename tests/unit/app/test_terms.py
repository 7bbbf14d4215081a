"""What the guard is told of a target."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dr.app.terms import terms
from dr.config.model import Login, Target
from dr.domain.model import Facts, Grant, Plan, Purpose, Request, RunIdentity
from dr.drivers.clients.config import PoolerConfig
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.prometheus.config import PrometheusConfig
from dr.drivers.service.config import ServiceConfig
from dr.engine.guard import Consent, guard
from tests.targets import retargeted, target_of

LOCAL = "http://127.0.0.1:1"
SERVICE = ServiceConfig(url=LOCAL, command=(), login="app", requests=())
POOLER = PoolerConfig("localhost", 6432, "readmission", Login("admin", "env:P"), "/none")
LAB = target_of(
    account="000000000000",
    region="eu-central-1",
    instance="readmission-db",
    database=PostgresConfig("readmission", Login("dr", "env:H")),
    service=SERVICE,
    pooler=POOLER,
    prometheus=PrometheusConfig(LOCAL),
    endpoint=LOCAL,
    grants=(Grant.DISPOSABLE,),
)
EMPTY = Plan(Request("lab", (), Purpose.DRILL), RunIdentity("r", "lab", Purpose.DRILL, ""), (), ())


def refusals(target: Target) -> tuple[str, ...]:
    told = terms(target)
    return guard(EMPTY, told, Facts(0.0, told.pins), Consent())


def test_a_target_whose_every_part_is_on_loopback_may_be_disposable() -> None:
    assert refusals(LAB) == ()


@pytest.mark.parametrize(
    ("elsewhere", "named"),
    [
        ({"endpoint": ""}, "rds.eu-central-1.amazonaws.com"),
        ({"endpoint": "https://rds.example"}, "rds.example"),
        ({"service": msgspec.structs.replace(SERVICE, url="https://service.example")}, "service.example"),
        ({"pooler": msgspec.structs.replace(POOLER, host="pooler.example")}, "pooler.example:6432"),
        ({"prometheus": PrometheusConfig("http://prometheus.example")}, "prometheus.example"),
    ],
)
def test_a_target_of_which_a_part_is_elsewhere_is_not(elsewhere: dict[str, Any], named: str) -> None:
    (refusal,) = refusals(retargeted(LAB, **elsewhere))
    assert f"{named} is not on loopback" in refusal
    assert refusals(retargeted(LAB, grants=(), **elsewhere)) == ()


def test_the_pins_and_the_word_are_the_targets_own() -> None:
    told = terms(LAB)
    assert told.pins == {"rds": {"account": "000000000000", "region": "eu-central-1"}}
    assert told.word == "readmission-db"
