"""The drills of failing databases, planned as they stand against a target that has everything, and guarded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dr import wiring
from dr.app import drill
from dr.app.terms import terms
from dr.config.context import Context
from dr.config.model import Login
from dr.domain.errors import DrError, RefusedError
from dr.domain.model import Effect, Facts, Grant, Own, Plan, Purpose, Resource, RunIdentity
from dr.domain.refs import Ref
from dr.drivers.clients.config import PoolerConfig
from dr.drivers.prometheus.plugin import PrometheusConfig
from dr.drivers.rds.look import resource
from dr.drivers.rds.naming import instance as of
from dr.engine.guard import Consent, guard
from dr.engine.plan import demands, plan
from dr.engine.references import REFERENCE
from dr.wiring import objectives
from tests.integration.meters import context
from tests.targets import retargeted

RUN = RunIdentity("20261124-033333-cf4e", "lab", Purpose.DRILL, "")
PROMOTION = "db-replica-promotion"
STRUCK = {
    "db-failover": "failover",
    "db-failover-host-lost": "host-lost",
    "db-failover-host-hung": "host-hung",
    "db-engine-crash": "engine-crash",
    "db-disk-full": "disk-full",
    PROMOTION: "instance-lost",
}


def instance(name: str, port: int, replica_of: str = "", **more: object) -> Resource:
    row = {"DBInstanceIdentifier": name, "DBInstanceStatus": "available", **more}
    row["Endpoint"] = {"Address": "127.0.0.1", "Port": port}
    return resource({**row, "ReadReplicaSourceDBInstanceIdentifier": replica_of})


FACTS = Facts(
    1_795_417_230.0,
    {"rds": {"account": "000000000000", "region": "eu-central-1"}},
    resources=(
        instance("source-db", 5432, MultiAZ=True, AvailabilityZone="a", DbiResourceId="db-1"),
        instance("replica-1", 5433, replica_of="source-db"),
        instance("replica-2", 5434, replica_of="source-db"),
    ),
    own={
        of("source-db"): Own.SOURCE,
        of("replica-1"): Own.REPLICA,
        of("replica-2"): Own.REPLICA,
        Ref("clients", "PgBouncer entry", "readmission"): Own.LEADS,
    },
    extra={"led": {"pooler": {"host": "127.0.0.1", "port": 5432}}},
)


def whole(directory: Path, *grants: Grant) -> Context:
    """A target with a pooler, replicas, Prometheus and a command for faults."""
    plain = context(directory)
    pooler = PoolerConfig(
        *("127.0.0.1", 6432, "readmission", Login("admin", "env:X"), "/nowhere"), reads=("read_1", "read_2")
    )
    target = retargeted(
        plain.target,
        endpoint="http://127.0.0.1:1",
        grants=grants or (Grant.MARKERS, Grant.FAULTS, Grant.DISPOSABLE),
        replicas=("replica-1", "replica-2"),
        pooler=pooler,
        prometheus=PrometheusConfig("http://127.0.0.1:1"),
        faults=("fault",),
    )
    return replace(plain, target=target)


def planned(name: str, on: Context) -> Plan:
    request = drill.request(experiment := drill.read(name), "lab", keep=False)
    drivers = wiring.drivers(on, request.verbs)
    asked = demands(request, experiment.demands, {}, objectives(), {})
    made = plan(request, RUN, FACTS, wiring.proposing(drivers, on.target), asked)
    assert {call.driver for call in made.calls} <= set(drivers)
    return made


@pytest.mark.parametrize("name", STRUCK)
def test_every_drill_is_planned_and_passes_the_guard_of_a_disposable_target(tmp_path: Path, name: str) -> None:
    on = whole(tmp_path)
    assert guard(planned(name, on), terms(on.target), FACTS, Consent(yes=True)) == ()


@pytest.mark.parametrize("name", STRUCK)
def test_the_disaster_is_the_one_call_that_the_drill_is_named_after(tmp_path: Path, name: str) -> None:
    assert [call.id for call in planned(name, whole(tmp_path)).calls if call.phase == "disaster"] == [STRUCK[name]]


@pytest.mark.parametrize("name", STRUCK)
def test_what_a_call_refers_to_is_made_by_one_before_it(tmp_path: Path, name: str) -> None:
    made: set[str] = set()
    for call in planned(name, whole(tmp_path)).calls:
        assert {found[0] for found in REFERENCE.findall(str(call.args))} <= made, call.id
        made.add(call.id)


@pytest.mark.parametrize("name", STRUCK)
def test_what_is_said_to_read_only_is_of_an_operation_that_reads(tmp_path: Path, name: str) -> None:
    reading = {"ask-replicas", "DescribeEvents", "DescribeDBSnapshots", "GetMetricData", "settle"}
    reading |= {"service", "replication", "markers", "unkept", "prometheus"}
    made = planned(name, whole(tmp_path)).calls
    assert {call.operation for call in made if call.effect is Effect.READS} <= reading
    assert {call.id for call in made if call.operation == "old-primary"} <= {
        call.id for call in made if call.effect is Effect.CHANGES
    }


@pytest.mark.parametrize("name", STRUCK)
def test_every_fault_is_undone(tmp_path: Path, name: str) -> None:
    faults = [call for call in planned(name, whole(tmp_path)).calls if call.effect is Effect.FAULT]
    assert [call.id for call in faults] == [STRUCK[name]] if name != "db-failover" else faults == []
    assert [call.id for call in faults if call.undo is None] == (["engine-crash"] if name == "db-engine-crash" else [])


@pytest.mark.parametrize("name", STRUCK)
def test_a_target_that_is_not_disposable_is_left_alone(tmp_path: Path, name: str) -> None:
    on = whole(tmp_path, Grant.MARKERS, Grant.FAULTS)
    try:
        made = planned(name, on)
    except RefusedError:
        return
    refusals = " ".join(guard(made, terms(on.target), FACTS, Consent("source-db")))
    assert "source-db, the source itself, which is not disposable" in refusals


def test_a_failover_and_a_promotion_have_a_limit_each(tmp_path: Path) -> None:
    limits = {
        name: {demand.limit for demand in planned(name, whole(tmp_path)).demands if demand.objective == "outage"}
        for name in STRUCK
    }
    assert limits == {name: {600.0 if name == PROMOTION else 120.0} for name in STRUCK}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"pooler": None}, "names no pooler"),
        ({"replicas": ()}, "names no replicas"),
        ({"faults": ()}, "names no command that puts faults into it"),
    ],
)
def test_what_a_target_lacks_is_named_before_anything_is_done(
    tmp_path: Path, changed: dict[str, object], words: str
) -> None:
    on = whole(tmp_path)
    with pytest.raises(DrError, match=words):
        planned("db-failover-host-lost", replace(on, target=retargeted(on.target, **changed)))
