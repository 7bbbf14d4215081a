"""What the guard is told of a target."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dr.app.terms import refusals as refusals_of
from dr.app.terms import terms
from dr.config.model import Login, Section, Target
from dr.domain.errors import RefusedError
from dr.domain.model import Facts, Grant, Plan, Purpose, Request, RunIdentity
from dr.drivers.clients.config import PoolerConfig, SecretConfig
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.prometheus.plugin import PrometheusConfig
from dr.drivers.service.config import ServiceConfig
from dr.engine.guard import Consent, guard
from tests.targets import retargeted, target_of
from tests.virtual import call

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
        ({"pooler": msgspec.structs.replace(POOLER, host="2001:db8::7")}, "[2001:db8::7]:6432"),
    ],
)
def test_a_target_of_which_a_part_is_elsewhere_is_not(elsewhere: dict[str, Any], named: str) -> None:
    (refusal,) = refusals(retargeted(LAB, **elsewhere))
    assert f"{named} is not on loopback" in refusal
    assert refusals(retargeted(LAB, grants=(), **elsewhere)) == ()


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_a_pooler_may_have_an_ipv6_address_with_its_brackets_or_without(host: str) -> None:
    pooler = PoolerConfig(host, 6432, "readmission", POOLER.admin, "/none")
    assert (pooler.host, str(pooler.address)) == ("::1", "[::1]:6432")
    assert refusals(retargeted(LAB, pooler=pooler)) == ()


def kubeconfig(path: Path, server: str, proxy: str = "") -> dict[str, Any]:
    clusters = [
        {"name": "other", "cluster": {"server": LOCAL}},
        {"name": "c", "cluster": {"server": server, **({"proxy-url": proxy} if proxy else {})}},
    ]
    contexts = [{"name": "prod", "context": {"cluster": "c", "user": "u"}}, {"name": "broken", "context": {}}]
    path.write_text(json.dumps({"apiVersion": "v1", "clusters": clusters, "contexts": contexts, "users": []}))
    return {"secret": SecretConfig(str(path), "prod", "readmission", "database")}


def test_the_cluster_of_a_secret_is_on_loopback_where_its_api_server_is(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    assert refusals(retargeted(LAB, **kubeconfig(path, "https://127.0.0.1:6443"))) == ()
    (refusal,) = refusals(retargeted(LAB, **kubeconfig(path, "https://cluster.example:6443")))
    assert "https://cluster.example:6443 is not on loopback" in refusal
    (refusal,) = refusals(retargeted(LAB, **kubeconfig(path, "https://127.0.0.1", "http://proxy.example:3128")))
    assert "http://proxy.example:3128 is not on loopback" in refusal


@pytest.mark.parametrize("context", ["none", "broken"])
def test_a_disposable_target_whose_cluster_is_not_known_is_refused(tmp_path: Path, context: str) -> None:
    secret = kubeconfig(tmp_path / "kubeconfig", LOCAL)["secret"]
    lost = retargeted(LAB, secret=msgspec.structs.replace(secret, context=context))
    with pytest.raises(RefusedError, match=f"names no cluster of context '{context}'"):
        refusals(lost)
    assert refusals(retargeted(lost, grants=())) == ()


def test_the_pins_and_the_word_are_the_targets_own() -> None:
    told = terms(LAB)
    assert told.pins == {"rds": {"account": "000000000000", "region": "eu-central-1"}}
    assert told.word == "readmission-db"


class Cluster(Section, frozen=True):
    """Of a provider that is pinned, too."""

    uid: str = "5f0"

    def pins(self) -> dict[str, str]:
        return {"uid": self.uid}


BOTH = msgspec.defstruct("Target", [("cluster", Cluster, Cluster())], bases=(type(LAB),), kw_only=True, frozen=True)
ACCOUNT = {"account": "000000000000", "region": "eu-central-1"}
OTHER_UID = {"cluster": {"uid": "other"}}


def refused(driver: str, identity: dict[str, dict[str, str]], undone_by: str = "") -> tuple[str, ...]:
    """Why a call of ``driver`` is refused on a target that pins an account and a cluster."""
    target = BOTH(**{name: getattr(LAB, name) for name in LAB.__struct_fields__})
    made = call("copy", driver=driver)
    assert made.undo is not None
    made = replace(made, undo=replace(made.undo, driver=undone_by or driver))
    plan = Plan(EMPTY.request, EMPTY.run, (made,), ())
    return refusals_of(plan, target, Facts(0.0, identity), Consent("readmission-db"))


@pytest.mark.parametrize("told", [{}, OTHER_UID])
@pytest.mark.parametrize("driver", ["rds", "measuring"])
def test_a_provider_that_a_run_does_not_ask_may_be_any(driver: str, told: dict[str, dict[str, str]]) -> None:
    assert refused(driver, {"rds": ACCOUNT, **told}) == ()


@pytest.mark.parametrize(
    ("driver", "undone_by", "identity", "words"),
    [
        ("cluster", "", {"rds": ACCOUNT, **OTHER_UID}, "uid of cluster is other"),
        ("cluster", "", {"rds": ACCOUNT}, "nobody observed it"),
        ("rds", "cluster", {"rds": ACCOUNT, **OTHER_UID}, "uid of cluster is other"),
        ("measuring", "", {"rds": {**ACCOUNT, "account": "999999999999"}}, "account of rds is 999999999999"),
        ("measuring", "", {}, "account of rds is 000000000000"),
    ],
)
def test_each_that_it_asks_or_whose_section_that_reads_is_compared(
    driver: str, undone_by: str, identity: dict[str, dict[str, str]], words: str
) -> None:
    assert words in " ".join(refused(driver, identity, undone_by))


def test_a_provider_that_is_asked_has_to_be_pinned() -> None:
    plan = Plan(EMPTY.request, EMPTY.run, (call("copy", driver="cluster"),), ())
    seen = Facts(0.0, {"cluster": {"uid": "5f0"}})
    assert "does not pin cluster" in " ".join(refusals_of(plan, LAB, seen, Consent("readmission-db")))
