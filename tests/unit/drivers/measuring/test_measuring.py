"""What the verb measure comes down to, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dr.config.context import Context
from dr.config.model import Login
from dr.domain.errors import RefusedError, UsageError
from dr.domain.model import Facts, Purpose, Resource, RunIdentity, Status, Verb
from dr.domain.refs import Endpoint
from dr.drivers.clients.config import PoolerConfig
from dr.drivers.measuring.provider import MeasuringProvider
from dr.drivers.postgres.meter.mark import marker_table
from dr.drivers.rds.naming import instance
from dr.judge.findings import judged
from dr.judge.windows import Slo, measured_enough
from dr.wiring import objectives
from tests.integration.meters import context
from tests.targets import retargeted
from tests.unit.recovery import RATE, demand, evidence, samples

KNOWN = objectives()
RUN = RunIdentity("20250101T000000-rds-pitr-ab12", "lab", Purpose.DRILL, "")
SOURCE = Resource(instance("source-db"), "available", endpoint=Endpoint("db.local", 5433))
FACTS = Facts(0.0, resources=(SOURCE,))


def propose(made: Context, facts: Facts = FACTS, **args: Any) -> dict[str, Any]:
    return {c.id: c for c in MeasuringProvider(made).propose(Verb("measure", args), facts, RUN)}


def test_measuring_the_restored_path_asks_the_service_that_serve_started(tmp_path: Path) -> None:
    calls = propose(context(tmp_path), path="restored")
    assert list(calls) == ["measure-restored"]
    assert calls["measure-restored"].args["url"] == "${serve.url}"
    assert calls["measure-restored"].volatile
    assert calls["measure-restored"].undo is not None


def test_markers_are_written_before_the_path_is_measured_and_their_table_outlives_the_writer(tmp_path: Path) -> None:
    calls = propose(context(tmp_path), path="source", markers=True)
    assert list(calls) == ["marker-table", "mark-source", "measure-source"]
    assert not calls["marker-table"].volatile
    assert calls["marker-table"].undo.operation == "drop"
    assert calls["mark-source"].volatile
    assert calls["mark-source"].args["login"]["host"] == "db.local"


def test_the_sources_endpoint_is_found_in_whatever_case_its_name_is_written(tmp_path: Path) -> None:
    made = context(tmp_path)
    object.__setattr__(made, "target", retargeted(made.target, instance="SOURCE-DB"))
    assert propose(made, path="source", markers=True)["mark-source"].args["login"]["host"] == "db.local"


def test_no_argument_of_a_call_holds_a_secret(tmp_path: Path) -> None:
    calls = propose(context(tmp_path), path="source", markers=True)
    assert "hush" not in str(calls)


def test_another_way_to_the_service_is_measured_by_its_name_and_held_against_what_it_answered(tmp_path: Path) -> None:
    made, way = context(tmp_path), "http://127.0.0.1:4567"
    service = msgspec.structs.replace(made.target.service, ways={"cluster": way})  # type: ignore[attr-defined]
    object.__setattr__(made, "target", retargeted(made.target, service=service))
    call = propose(made, path="cluster")["measure-cluster"]
    assert (call.args["url"], call.args["held"]) == (way, way)
    assert call.touches == (), "its predictions are rows of the source's own"
    object.__setattr__(made, "target", retargeted(made.target, grants=()))
    with pytest.raises(RefusedError, match="markers"):
        propose(made, path="cluster")
    with pytest.raises(UsageError, match=r"Where path 'elsewhere' is served is not known\. Add it to service\.ways"):
        propose(made, path="elsewhere")


def test_a_copy_beside_production_is_asked_at_its_own_place_and_held_against_production(tmp_path: Path) -> None:
    made = context(tmp_path)
    service = msgspec.structs.replace(made.target.service, copies="http://127.0.0.1:4567/{namespace}/api")  # type: ignore[attr-defined]
    object.__setattr__(made, "target", retargeted(made.target, service=service))
    call = propose(made, path="copy", namespace="drill")["measure-copy"]
    own = "http://127.0.0.1:4567/drill/api"
    assert (call.args["url"], call.args["held"]) == (own, service.url)
    assert [(one.kind, one.name) for one in call.touches] == [("service", own)], "which an earlier call has to make"
    object.__setattr__(made, "target", retargeted(made.target, grants=()))
    assert "held" not in propose(made, path="copy", namespace="drill")["measure-copy"].args, "production is not asked"
    with pytest.raises(ValueError, match="each copy is another service"):
        msgspec.structs.replace(service, copies="http://one.example").__post_init__()


def test_measuring_the_source_needs_the_grant_markers(tmp_path: Path) -> None:
    made = context(tmp_path)
    object.__setattr__(made, "target", retargeted(made.target, grants=()))
    for markers in (True, False):
        with pytest.raises(RefusedError, match="markers"):
            propose(made, path="source", markers=markers)
    assert propose(made, path="restored")


def test_without_a_service_there_is_nothing_to_measure(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="The target has no section 'service'"):
        propose(context(tmp_path, service=False), path="source")


def test_a_source_without_an_endpoint_takes_no_markers(tmp_path: Path) -> None:
    with pytest.raises(RefusedError):
        propose(context(tmp_path), Facts(0.0), path="source", markers=True)


@pytest.mark.parametrize(
    "args",
    [
        {"path": "restored", "markers": True},
        {"path": "replica"},
    ],
)
def test_wrong_arguments_are_usage_errors(tmp_path: Path, args: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        propose(context(tmp_path), **args)


def test_a_url_that_cannot_be_probed_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="plain http"):
        propose(context(tmp_path, "https://api.example.org"), path="source")


# -- the database's own paths

POOLER = PoolerConfig("pool.local", 6432, "clinic_pool", Login("admin", "file:/x"), "/x", reads=("ro_1", "ro_2"))
REPLICAS = tuple(
    Resource(instance(name), "available", endpoint=Endpoint(f"{name}.local", 5432)) for name in ("one", "two")
)
ALL = Facts(0.0, resources=(SOURCE, *REPLICAS))


def topology(tmp_path: Path, **target: Any) -> Context:
    made = context(tmp_path, service=False)
    whole = {"pooler": POOLER, "replicas": ("one", "two"), **target}
    object.__setattr__(made, "target", retargeted(made.target, **whole))
    return made


def test_writes_go_through_the_pooler_and_directly_each_to_a_table_of_its_own(tmp_path: Path) -> None:
    made = topology(tmp_path)
    calls = {**propose(made, ALL, path="writes"), **propose(made, ALL, path="writes-direct")}
    assert list(calls) == ["marker-table-writes", "mark-writes", "marker-table-writes-direct", "mark-writes-direct"]
    pooled, direct = (calls[f"mark-{path}"].args["login"] for path in ("writes", "writes-direct"))
    assert (pooled["host"], pooled["port"], pooled["database"]) == ("pool.local", 6432, "clinic_pool")
    assert pooled["pooled"]
    assert (direct["host"], direct["port"], direct["database"]) == ("db.local", 5433, "clinic")
    assert not direct.get("pooled")
    # A pooler's connections may lead to a server that was given up: no table is left because of that.
    tables = [calls[f"marker-table-{path}"] for path in ("writes", "writes-direct")]
    assert all(call.args["login"] == direct == (call.undo and call.undo.args["login"]) for call in tables)
    assert marker_table(RUN.id, "writes") != marker_table(RUN.id, "writes-direct") != marker_table(RUN.id)
    assert all(calls[f"marker-table-{path}"].undo.operation == "drop" for path in ("writes", "writes-direct"))
    assert "hush" not in str(calls)


def test_reads_go_to_all_replicas_through_the_pooler_or_else_directly(tmp_path: Path) -> None:
    through = propose(topology(tmp_path), ALL, path="reads")["measure-reads"].args["logins"]
    assert [(login["host"], login["database"]) for login in through] == [
        ("pool.local", "ro_1"),
        ("pool.local", "ro_2"),
    ]
    directly = propose(topology(tmp_path, pooler=None), ALL, path="reads")["measure-reads"].args["logins"]
    assert [login["host"] for login in directly] == ["one.local", "two.local"]


def test_what_the_target_does_not_name_is_not_measured(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="pooler"):
        propose(topology(tmp_path, pooler=None), ALL, path="writes")
    with pytest.raises(RefusedError, match="replicas"):
        propose(topology(tmp_path, replicas=()), ALL, path="reads")
    with pytest.raises(RefusedError, match="one has no endpoint"):
        propose(topology(tmp_path, pooler=None), FACTS, path="reads")


def test_writes_need_the_grant_markers_and_reads_do_not(tmp_path: Path) -> None:
    made = topology(tmp_path, grants=())
    for path in ("writes", "writes-direct"):
        with pytest.raises(RefusedError, match="markers"):
            propose(made, ALL, path=path)
    assert propose(made, ALL, path="reads")


@pytest.mark.parametrize("path", ["writes", "writes-direct", "reads"])
def test_a_path_of_the_database_takes_no_url(tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError, match="url"):
        propose(topology(tmp_path), ALL, path=path, url="http://x")


def test_proposing_is_pure(tmp_path: Path) -> None:
    made = context(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert propose(made, path="source", markers=True) == propose(made, path="source", markers=True)
    assert sorted(tmp_path.iterdir()) == before


def test_a_markers_table_is_named_after_its_run() -> None:
    assert marker_table("2025-01-01T00.00-Drill") == "markers_2025_01_01t00_00_drill"
    assert len(marker_table("x" * 99)) == 63


# -- how long is measured

ASKED = 12.0
SLO = Slo(1.0, None)


def late_for(hiccup: float, begins: float = 0.0, **answer: Any) -> Callable[[int], dict[str, Any]]:
    """The prober was late for ``hiccup`` seconds; every probe is answered as ``answer`` says."""
    late = {"late": 0.5, "seconds": 0.6, **answer}
    return lambda n: late if begins <= n / RATE < begins + hiccup else answer


def enough(seconds: float, change: Callable[[int], dict[str, Any]]) -> bool:
    return measured_enough(samples(round(seconds * RATE), change=change), ASKED, 1.0, SLO)


def test_a_punctual_prober_measures_what_was_asked() -> None:
    assert not enough(11.9, late_for(0))
    assert enough(12, late_for(0))


@pytest.mark.parametrize("target", [{"seconds": 1.5}, {"status": 503}, {"status": 0, "error": "refused"}])
def test_no_target_is_measured_longer_for_being_bad(target: dict[str, Any]) -> None:
    assert enough(12, late_for(0, **target))


def test_a_late_prober_measures_on_until_enough_windows_count() -> None:
    assert not enough(15.9, late_for(4))
    assert enough(16, late_for(4))
    measured = samples(round(16 * RATE), change=late_for(4, begins=5))
    assert judged(KNOWN["latency"].judge, evidence(measured), demand("latency")).status is Status.MET


def test_measuring_on_hides_no_slow_target() -> None:
    measured = samples(round(16 * RATE), change=late_for(4, seconds=1.5))
    for objective in ("latency", "time-to-copy"):
        assert judged(KNOWN[objective].judge, evidence(measured), demand(objective)).status is Status.MISSED, objective


def test_a_prober_late_for_good_ends_at_twice_the_time_and_is_inconclusive() -> None:
    assert not enough(23.9, late_for(99))
    assert enough(24, late_for(99))
    found = judged(KNOWN["latency"].judge, evidence(samples(round(24 * RATE), change=late_for(99))), demand("latency"))
    assert found.status is Status.INCONCLUSIVE
