"""What is observed around a failover: over real sockets, with what does not answer told and left out."""

from __future__ import annotations

import http.server
import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dr.domain.errors import ProviderError, RefusedError
from dr.domain.model import Call, Effect, Facts, Observation, Plan, Purpose, Request, Resource, RunIdentity, Verb
from dr.domain.refs import Endpoint
from dr.drivers.measuring.paths import markers
from dr.drivers.observing import provider as observing
from dr.drivers.observing.provider import PATIENCE, ObservingProvider, recorded, runs
from dr.drivers.postgres.meter.mark import marker_table
from dr.drivers.postgres.servers import Followed, Servers
from dr.drivers.prometheus.client import Prometheus
from dr.drivers.prometheus.plugin import PrometheusConfig
from dr.drivers.rds.naming import instance
from dr.evidence.directory import RunDirectory
from dr.evidence.model import RunRecord
from dr.evidence.shapes import misfit
from tests.integration.meters import context
from tests.support import serving
from tests.targets import retargeted
from tests.virtual import VirtualClock

RUN = RunIdentity("20261124-033333-cf4e", "lab", Purpose.DRILL, "")
LISTENS = Endpoint("db.example", 5432)
FACTS = Facts(0.0, resources=(Resource(instance("source-db"), "available", endpoint=LISTENS),))
BEFORE = Verb("observe", {"when": "before"})
AFTER = Verb("observe", {"when": "after", "paths": ["writes", "writes-direct"]})
MISSING = {"held": None, "problem": "Prometheus has no such rule"}
PROCESS = "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 1795417000.25\n"


class Stub(http.server.ThreadingHTTPServer):
    """A service's /metrics, and a Prometheus whose every query returns what ``series`` says for its expression."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.metrics, self.status = PROCESS, 200
        self.series: dict[str, list[tuple[float, str]]] = {}
        self.rules = [{"name": "HighErrorRate", "query": "alert_a", "duration": 300}]
        self.asked: list[dict[str, str]] = []

    def answer(self, path: str) -> Any:
        parts = urlsplit(path)
        if parts.path == "/api/v1/rules":
            return {"status": "success", "data": {"groups": [{"rules": self.rules}]}}
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.asked.append(asked)
        values = next((found for word, found in self.series.items() if word in asked["query"]), [])
        result = [{"metric": {}, "values": values}] if values else []
        return {"status": "success", "data": {"resultType": "matrix", "result": result}}


class Handler(http.server.BaseHTTPRequestHandler):
    server: Stub

    def do_GET(self) -> None:
        plain = self.path == "/metrics"
        body = (self.server.metrics if plain else json.dumps(self.server.answer(self.path))).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def stub() -> Iterator[Stub]:
    server = Stub()
    with serving(server):
        yield server


def provider(directory: Path, url: str = "http://127.0.0.1:9", **changed: Any) -> ObservingProvider:
    plain = context(directory, url)
    target = retargeted(plain.target, **changed)
    return ObservingProvider(replace(plain, target=target, clock=VirtualClock()))


def observe(of: ObservingProvider, call: Call, **filled: Any) -> tuple[tuple[Observation, ...], dict[str, Any]]:
    """Poll to the end in virtual time. What was not observed tells ``because`` beside the result."""
    clock, result = of._context.clock, of.apply(call, {**call.args, **filled})
    for _ in range(int(PATIENCE) + 2):
        progress = of.poll(call, result)
        if progress.done:
            assert [why for one in progress.observations if (why := misfit(one))] == []
            seen = tuple(o for o in progress.observations if o.what != "unobserved")
            untold = [o for o in progress.observations if (o.what, o.path) == ("unobserved", call.operation)]
            return seen, {**progress.result, **({"because": untold[0].value} if untold else {})}
        clock.sleep(1.0)
    raise AssertionError("it was asked for longer than its patience")


def named(calls: tuple[Call, ...], name: str) -> Call:
    return next(call for call in calls if call.id == name)


def test_before_the_disaster_the_services_process_is_looked_at(tmp_path: Path, stub: Stub) -> None:
    of = provider(tmp_path, stub.url)
    call = named(of.propose(BEFORE, FACTS, RUN), "observe-service-before")
    (seen,), _ = observe(of, call)
    assert (seen.what, seen.path, seen.value) == ("service-process", "source", {"started": 1795417000.25})


def listed(*named: str) -> Facts:
    """The source, which names these as its replicas, and two replicas of it in its own region."""
    follow = tuple(map(instance, named))
    source = Resource(instance("Source-DB"), "available", endpoint=LISTENS, replicas=follow)
    replicas = [
        Resource(instance(name), "available", endpoint=Endpoint(f"{name}.example", 5432), replica_of=source.ref)
        for name in "ab"
    ]
    return Facts(0.0, resources=(source, *replicas))


def test_before_the_disaster_the_source_is_asked_who_follows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def followed(_: Servers, *at: Any) -> Followed:
        asked.append(at)
        return Followed(3, 1, "on")

    def receives(_: Servers, host: str, port: int) -> bool:
        if host == "b.example":
            raise RefusedError("Logging in was refused.")
        return port == 5432

    monkeypatch.setattr(Servers, "followed", followed)
    monkeypatch.setattr(Servers, "receives", receives)
    of = provider(tmp_path)
    call = named(of.propose(BEFORE, listed(), RUN), "observe-replication")
    assert (call.touches, call.effect, call.undo) == ((), Effect.READS, None), "a pure read"
    (seen,), _ = observe(of, call)
    assert (seen.what, seen.path) == ("replication", "source")
    assert seen.value == {"standbys": 3, "synchronous": 1, "commit": "on", "replicas": 2, "streaming": 1}
    assert asked == [("db.example", 5432)]


def test_replicas_of_other_regions_are_counted_too(tmp_path: Path) -> None:
    shown = listed("a", "b", "arn:aws:rds:eu-west-1:123456789012:db:far")
    calls = provider(tmp_path).propose(BEFORE, shown, RUN)
    assert named(calls, "observe-replication").args["replicas"] == 3


def test_replication_that_the_role_may_not_see_is_told_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hidden(*_: Any) -> Followed:
        raise RefusedError("The harness's role may not see how the source replicates.", "Give it pg_read_all_stats.")

    monkeypatch.setattr(Servers, "followed", hidden)
    of = provider(tmp_path)
    seen, result = observe(of, named(of.propose(BEFORE, FACTS, RUN), "observe-replication"))
    assert (seen, "pg_read_all_stats" in result["because"]) == ((), True)


def test_what_no_server_takes_over_is_looked_at_before_and_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, held = list[str](), {"unlogged": {"public.cache": True}, "slots": ["cdc"]}
    monkeypatch.setattr(observing, "connect", lambda at, *_, **__: nullcontext(asked.append(str(at))))
    monkeypatch.setattr(observing, "unkept", lambda _: held)
    of = provider(tmp_path)
    for verb, name, when in ((BEFORE, "observe-unkept-before", "before"), (AFTER, "observe-unkept", "after")):
        call = named(of.propose(verb, FACTS, RUN), name)
        assert (call.touches, call.effect, call.undo) == ((), Effect.READS, None), "a pure read"
        (seen,), _ = observe(of, call)
        assert (seen.what, seen.path, seen.value) == ("unkept", "source", {"when": when, **held})
    assert asked == ["db.example:5432"] * 2


def test_a_source_without_an_endpoint_is_not_asked_who_follows_it(tmp_path: Path) -> None:
    assert [call.id for call in provider(tmp_path).propose(BEFORE, Facts(0.0), RUN)] == ["observe-service-before"]


def test_afterwards_rows_are_read_through_the_sources_endpoint(tmp_path: Path) -> None:
    calls = provider(tmp_path).propose(AFTER, FACTS, RUN)
    assert [call.id for call in calls] == [
        *("observe-service", "observe-markers", "observe-old-primary", "observe-unkept", "observe-prometheus")
    ]
    assert named(calls, "observe-markers").args == {
        "host": "db.example",
        "port": 5432,
        "tables": {path: marker_table(RUN.id, path) for path in ("writes", "writes-direct")},
    }
    attempt = named(calls, "observe-old-primary")
    assert (attempt.effect, attempt.touches) == (Effect.CHANGES, (markers(instance("source-db"), "writes"),)), (
        "it tries a write"
    )
    assert {call.effect for call in calls if call is not attempt} == {Effect.READS}


def test_after_a_promotion_rows_are_read_from_what_was_promoted(tmp_path: Path) -> None:
    verb = replace(AFTER, args={**AFTER.args, "primary": "promoted"})
    calls = provider(tmp_path).propose(verb, Facts(0.0), RUN)
    args = named(calls, "observe-markers").args
    assert (args["host"], args["port"]) == ("${promote.host}", "${promote.port}")
    assert "observe-old-primary" not in [call.id for call in calls], "it is lost for good"


def test_a_source_without_an_endpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="has no endpoint"):
        provider(tmp_path).propose(AFTER, Facts(0.0), RUN)


@pytest.mark.parametrize("metrics", ["", "process_start_time_seconds_total 3\n"])
def test_a_service_that_does_not_tell_its_start_is_not_observed(tmp_path: Path, stub: Stub, metrics: str) -> None:
    stub.metrics = metrics
    of = provider(tmp_path, stub.url)
    seen, result = observe(of, named(of.propose(AFTER, FACTS, RUN), "observe-service"))
    assert seen == ()
    assert "does not tell when its process had started" in result["because"]


def test_what_does_not_answer_is_asked_again_and_then_left_out(tmp_path: Path) -> None:
    of = provider(tmp_path)
    calls = of.propose(AFTER, FACTS, RUN)
    seen, result = observe(of, named(calls, "observe-service"))
    assert (seen, "does not answer" in result["because"]) == ((), True)
    tables = {"writes": "markers_writes_x"}
    nobody = {"host": "127.0.0.1", "port": 9, "tables": tables}
    seen, result = observe(of, named(calls, "observe-markers"), **nobody)
    assert (seen, "cannot be reached" in result["because"]) == ((), True)


@pytest.mark.parametrize("answer", ["{}", '{"host": "127.0.0.1"}', ""])
def test_an_old_primary_that_nobody_can_tell_of_is_not_observed(tmp_path: Path, answer: str) -> None:
    of = provider(tmp_path, faults=(sys.executable, "-c", f"print({answer!r})"))
    call = named(of.propose(AFTER, FACTS, RUN), "observe-old-primary")
    seen, result = observe(of, call, tables={"writes": "markers_writes_x"})
    assert seen == ()
    assert "was not told" in result["because"]


def test_an_old_primary_is_not_looked_for_where_faults_cannot_be_put_in(tmp_path: Path) -> None:
    of = provider(tmp_path)
    seen, result = observe(of, named(of.propose(AFTER, FACTS, RUN), "observe-old-primary"))
    assert (seen, "is not known" in result["because"]) == ((), True)


@pytest.mark.parametrize("outcome", ["refused", "read-only", "accepted"])
def test_a_write_at_the_old_primary_is_an_observation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    told: list[Any] = []

    def attempt(*args: Any) -> dict[str, Any]:
        told.extend(map(str, args[:2]))
        return {"outcome": outcome}

    monkeypatch.setattr(observing, "attempt_write", attempt)
    of = provider(tmp_path, faults=(sys.executable, "-c", 'print(\'{"host": "127.0.0.1", "port": 7}\')'))
    (seen,), _ = observe(of, named(of.propose(AFTER, FACTS, RUN), "observe-old-primary"))
    assert (seen.what, seen.value) == ("old-primary", {"outcome": outcome})
    assert told == ["127.0.0.1:7", "db.example:5432"]


def test_an_old_primary_that_stays_away_is_unreachable_once_patience_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observing, "attempt_write", lambda *_: {"outcome": "unreachable"})
    of = provider(tmp_path, faults=(sys.executable, "-c", 'print(\'{"host": "127.0.0.1", "port": 7}\')'))
    call = named(of.propose(AFTER, FACTS, RUN), "observe-old-primary")
    began = of._context.clock.now().at
    (seen,), _ = observe(of, call)
    assert seen.value == {"outcome": "unreachable"}
    assert of._context.clock.now().at - began >= PATIENCE


def test_an_old_primary_that_starts_up_is_asked_again_until_it_says_what_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = [ProviderError("It is starting up.", transient=True)] * 2

    def attempt(*_: Any) -> dict[str, Any]:
        if starts:
            raise starts.pop()
        return {"outcome": "accepted"}

    monkeypatch.setattr(observing, "attempt_write", attempt)
    asked = tmp_path / "asked"
    tells = f'open({str(asked)!r}, "a").write("x"); print(\'{{"host": "127.0.0.1", "port": 7}}\')'
    of = provider(tmp_path, faults=(sys.executable, "-c", tells))
    call = named(of.propose(AFTER, FACTS, RUN), "observe-old-primary")
    (seen,), _ = observe(of, call)
    assert seen.value == {"outcome": "accepted"}
    assert asked.read_text() == "x", "where it listens is asked once"
    starts = [ProviderError("It is starting up.", transient=True)] * 1000
    found, result = observe(of, call)
    assert (found, result["because"]) == ((), "It is starting up.")


# -- Prometheus


def test_the_time_since_the_disaster_is_asked_of_prometheus(tmp_path: Path, stub: Stub) -> None:
    of = provider(tmp_path, prometheus=PrometheusConfig(stub.url, 'job="x"', 1.0))
    calls = (Call("host-lost", "1-disaster", "disaster", "faults", "put-in", effect=Effect.FAULT),)
    clock = of._context.clock
    directory = RunDirectory(of._context.run)
    directory.path.mkdir(exist_ok=True)
    plan = Plan(Request("lab", (), Purpose.DRILL), RUN, calls, ())
    directory.create(RunRecord(plan, clock.now(), "", {}, 1.0))
    disaster = clock.now().at + 10.0
    directory.ledger(clock).append("effect", "host-lost", {}, {"disaster": disaster})
    clock.sleep(50.0)
    (seen,), _ = observe(of, named(of.propose(AFTER, FACTS, RUN), "observe-prometheus"))
    assert (seen.value["start"], seen.value["end"]) == (disaster, disaster + 40.0)
    assert {asked["start"] for asked in stub.asked} == {f"{disaster:.3f}"}
    assert any('{job="x"}[10s]' in asked["query"] for asked in stub.asked)


def test_a_prometheus_that_is_down_is_an_error_that_the_judge_sees(tmp_path: Path) -> None:
    of = provider(tmp_path, prometheus=PrometheusConfig("http://127.0.0.1:9"))
    directory = RunDirectory(of._context.run)
    directory.create(
        RunRecord(Plan(Request("lab", (), Purpose.DRILL), RUN, (), ()), of._context.clock.now(), "", {}, 1)
    )
    (seen,), _ = observe(of, named(of.propose(AFTER, FACTS, RUN), "observe-prometheus"))
    assert "does not answer" in seen.value["error"]


def test_a_target_without_prometheus_is_told_to_the_judge(tmp_path: Path) -> None:
    of = provider(tmp_path)
    (seen,), _ = observe(of, named(of.propose(AFTER, FACTS, RUN), "observe-prometheus"))
    assert seen.value == {"error": "The target names no Prometheus"}


def test_what_prometheus_recorded_has_the_shape_that_is_judged(stub: Stub) -> None:
    stub.series = {
        "histogram_quantile": [(100.0, "0.004"), (101.0, "NaN"), (102.0, "0.005")],
        "request_errors_total": [(100.0, "0"), (102.0, "0.2")],
        "up{": [(100.0, "1"), (101.0, "1"), (102.0, "0"), (103.0, "1")],
        "alert_a": [(102.0, "0.2")],
    }
    found = recorded(Prometheus(stub.url), PrometheusConfig(stub.url, "", 1.0), 100.0, 104.0)
    assert found == {
        "start": 100.0,
        "end": 104.0,
        "step": 1.0,
        "range": 10,
        "latency": [[100.0, 0.004], [102.0, 0.005]],
        "errors": [[100.0, 0.0], [102.0, 0.2]],
        "up": [[100.0, 101.0], [103.0, 103.0]],
        "rules": {"HighErrorRate": {"held": 300.0, "problem": ""}, "SlowAPIResponse": MISSING},
        "alerts": {"HighErrorRate": [102.0]},
    }


def test_a_rule_that_prometheus_lacks_or_cannot_evaluate_is_recorded_with_its_problem(stub: Stub) -> None:
    stub.rules = [{"name": "HighErrorRate", "query": "alert_a", "duration": 60, "lastError": "bad"}]
    found = recorded(Prometheus(stub.url), PrometheusConfig(stub.url), 100.0, 104.0)
    assert found["rules"] == {"HighErrorRate": {"held": 60.0, "problem": "bad"}, "SlowAPIResponse": MISSING}
    assert found["alerts"] == {}


def test_a_prometheus_that_is_not_asked_for_alerts_records_none(stub: Stub) -> None:
    found = recorded(Prometheus(stub.url), PrometheusConfig(stub.url, alerts=()), 100.0, 104.0)
    assert (found["rules"], found["alerts"]) == ({}, {})


def test_a_long_time_is_asked_in_fewer_points(stub: Stub) -> None:
    assert recorded(Prometheus(stub.url), PrometheusConfig(stub.url, "", 1.0), 0.0, 50_000.0)["step"] == 10


@pytest.mark.parametrize(
    ("times", "stretches"),
    [
        ([], []),
        ([1.0], [[1.0, 1.0]]),
        ([1.0, 2.0, 3.0], [[1.0, 3.0]]),
        ([1.0, 2.0, 5.0, 6.0, 9.0], [[1.0, 2.0], [5.0, 6.0], [9.0, 9.0]]),
    ],
)
def test_scrapes_become_stretches(times: list[float], stretches: list[list[float]]) -> None:
    assert runs(times, 1.0) == stretches
