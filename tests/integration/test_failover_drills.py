"""The drills of failing databases from argv to verdict, what the lab's own records say of them, and that it is whole.

Each runs against real servers, PgBouncer and Prometheus. What the harness says is held against network.jsonl: the
lab's proxy notes when an endpoint fell silent, and when it led to another server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from dr.drivers.clients.config import pooler_of
from dr.drivers.clients.pgbouncer_console import console
from dr.drivers.service.config import ServiceConfig
from dr.evidence.directory import RunDirectory
from dr.host.clock import SystemClock
from dr.judge.interruption import outage_of
from dr.lab import control
from tests.integration.test_drills import held_locks
from tests.integration.test_restore import SOURCE
from tests.labs import ROOT, USUAL, Lab, configured, eventually, inject, inside, lab_up
from tests.support import ended, status_of

FAILOVERS = ("db-failover", "db-failover-host-hung")
PROMOTION = "db-replica-promotion"
REPLICAS = ("readmission-db-replica-1", "readmission-db-replica-2")
PERIOD = 1 / 20
"""Seconds between two writes of a path."""
RECONNECTED = 5.0
"""Seconds in which a writer has found the new primary: its time-out of 2 s, and a further attempt."""

BEGUN = 3
"""Drills, at the most, of which one is to lose its host."""
PROMOTED = "received promote request"
"""What a standby's log says."""

pytestmark = pytest.mark.timeout(1800)


class Failing:
    """One lab for all of these, each of which must leave it as it was; another one where a test failed in it."""

    def __init__(self, kept: ExitStack) -> None:
        self._kept = kept
        self._lab: Lab
        self._failed = -1

    def lab(self, failed: int) -> Lab:
        """A whole one. ``failed``: how many tests of this process have failed until now."""
        if failed > self._failed:
            self._kept.close()
            self._lab, self._failed = self._kept.enter_context(lab_up()), failed
        eventually(lambda: is_whole(self._lab), 120, lambda: json.dumps(state(self._lab)))
        return self._lab


@pytest.fixture(scope="module")
def failing() -> Iterator[Failing]:
    with ExitStack() as kept:
        yield Failing(kept)


@pytest.fixture
def whole(failing: Failing, request: pytest.FixtureRequest) -> Iterator[Lab]:
    lab = failing.lab(request.session.testsfailed)
    yield lab
    eventually(lambda: is_whole(lab), 240, lambda: json.dumps(state(lab)))
    eventually(lambda: not lab.run_processes(), 20)
    assert not held_locks(lab)
    with lab.connect(SOURCE) as connection:
        assert connection.execute("SELECT to_regnamespace('dr')").fetchone() == (None,)


def state(lab: Lab) -> dict[str, Any]:
    """Every instance's status, whether it has a standby, and what it replicates from."""
    shown = ("DBInstanceStatus", "MultiAZ", "ReadReplicaSourceDBInstanceIdentifier")
    return {name: {key: found.get(key) for key in shown} for name, found in lab.instances().items()}


def is_whole(lab: Lab) -> bool:
    """The source, its synchronous standby and its two replicas are there and nothing else, all available; and the
    service answers from them."""
    found = state(lab)
    return (
        set(found) == {SOURCE, *REPLICAS}
        and all(one["DBInstanceStatus"] == "available" for one in found.values())
        and bool(found[SOURCE]["MultiAZ"])
        and all(found[name]["ReadReplicaSourceDBInstanceIdentifier"] == SOURCE for name in REPLICAS)
        and standby(lab)
        and status_of(f"{service(lab).url}/readyz") == 200
    )


def standby(lab: Lab) -> bool:
    """Whether the source has a synchronous one now."""
    with inside(lab):
        return bool({one["identifier"]: one["standby"] for one in control.status().instances}[SOURCE])


def service(lab: Lab) -> ServiceConfig:
    found = lab.target.service
    assert found is not None
    return found


def finding(verdict: dict[str, Any], objective: str, path: str) -> dict[str, Any]:
    return next(f for f in verdict["findings"] if (f["objective"], f["path"]) == (objective, path))


def said(verdict: dict[str, Any]) -> str:
    return "\n".join(f"{f['status']} {f['objective']} {f['path']}: {f['because']}" for f in verdict["findings"])


def drilled(lab: Lab, name: str, **env: str) -> dict[str, Any]:
    """The verdict of a drill, whatever it is."""
    printed = lab.dr("drill", "run", name, "--yes", "--output", "json", **env)
    document: dict[str, Any] = json.loads(printed.stdout)
    return document


STEADY = {"meter": {"settle": 7.0, "settle-longest": 60.0}, "objectives": {"error-rate": 0.02}}
"""As few errors as so many probes can tell. With as many as QUICK allows, a short outage would lie so near to the limit
that Prometheus and the prober could stand on either side of it."""


def drilled_to_its_end(lab: Lab, name: str) -> dict[str, Any]:
    """The verdict of one that is to be met. One of each kind runs as usual: a failover, and what recovers in place."""
    (apart := lab.home / "steady").mkdir(exist_ok=True)
    return drilled(lab, name, **(USUAL if name == FAILOVERS[0] else configured(apart, **STEADY)))


def network(lab: Lab, since_ns: int) -> list[dict[str, Any]]:
    """What the lab's proxy noted from a moment on."""
    (log,) = (lab.home / "lab").rglob("network.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in lines if line["monotonic_ns"] >= since_ns]


def disaster_ns(lab: Lab, run: str, call: str) -> int:
    """When the disaster's call was intended, by the monotonic clock that the proxy's record has, too."""
    for line in (lab.home / "runs" / run / "ledger.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if (entry["kind"], entry["call"]) == ("intent", call):
            return int(entry["stamp"]["mono_ns"])
    raise AssertionError(f"{call} was never intended")


def away(lab: Lab, verdict: dict[str, Any], call: str) -> float:
    """Seconds for which the database's endpoint led nowhere, as the proxy saw it, in the drill whose disaster ``call``
    was."""
    noted = network(lab, disaster_ns(lab, verdict["run"], call))
    routed = next(line for line in noted if line["event"] == "route")
    silent = next(line for line in noted if line["event"] in ("freeze", "mode") and line["link"] == routed["link"])
    return float(routed["monotonic_ns"] - silent["monotonic_ns"]) / 1e9


@pytest.mark.parametrize("name", FAILOVERS)
def test_a_failover_is_met_loses_nothing_and_names_what_it_emptied(whole: Lab, name: str) -> None:
    with whole.connect(SOURCE) as connection:
        connection.execute("CREATE SCHEMA idle; CREATE UNLOGGED TABLE idle.sessions AS SELECT 1 AS id")
    try:
        verdict = drilled_to_its_end(whole, name)
        is_met_and_lost_nothing(verdict)
        emptied = "Empty since then, for they are unlogged: idle.sessions."
        assert emptied in finding(verdict, "acknowledged", "writes")["because"]
    finally:
        with whole.connect(SOURCE) as connection:
            connection.execute("DROP SCHEMA idle CASCADE")


def is_met_and_lost_nothing(verdict: dict[str, Any]) -> None:
    assert verdict["verdict"] == "met", said(verdict)
    for path in ("writes", "writes-direct"):
        assert finding(verdict, "acknowledged", path)["measured"] == 0
        assert finding(verdict, "split-brain", path)["status"] == "met"
    assert {phase["name"] for phase in verdict["phases"]} >= {"detection", "promotion", "reconnection"}


def by_chaos_run(lab: Lab, name: str) -> dict[str, Any]:
    """The drill by a bare ``chaos run``, which refuses it without consent and else does the whole of it."""
    journal, known = lab.home / "journal.json", lab.runs()
    command = [sys.executable, "-m", "chaostoolkit", "--no-version-check", "--log-file", os.devnull, "run"]
    command += ["--journal-path", str(journal), f"experiments/{name}.yaml"]
    for consent in ({}, {"DR_YES": "1"}):
        ran = subprocess.run(
            command, env=lab.env | USUAL | consent, capture_output=True, text=True, cwd=ROOT, timeout=900, check=False
        )
        (step,) = json.loads(journal.read_text())["run"]
        assert (step["status"], len(lab.runs()) - len(known)) == (("succeeded", 1) if consent else ("failed", 0)), ran
        assert consent or "Nothing was confirmed" in ran.stderr + ran.stdout
    run = lab.runs()[-1]
    assert (run / "seal.json").exists()
    return dict(json.loads((run / "verdict.json").read_text()))


@pytest.mark.parametrize(("name", "run"), [("db-disk-full", drilled_to_its_end), ("db-engine-crash", by_chaos_run)])
def test_what_does_not_fail_over_is_timed_until_its_remedy(
    whole: Lab, name: str, run: Callable[[Lab, str], dict[str, Any]]
) -> None:
    before = whole.instances()[SOURCE]["AvailabilityZone"]
    verdict = run(whole, name)
    assert verdict["verdict"] == "met", said(verdict)
    assert finding(verdict, "outage", "writes-direct")["measured"] > 0
    assert whole.instances()[SOURCE]["AvailabilityZone"] == before


OF_ITS_OWN = {"query_timeout": 0, "query_wait_timeout": 120, "server_login_retry": 15, "server_connect_timeout": 15}
OF_ITS_OWN |= {"server_idle_timeout": 600, "server_lifetime": 3600, "tcp_user_timeout": 0}
"""What PgBouncer does where nobody has set it otherwise, seconds and milliseconds."""


@contextmanager
def patient_pooler(lab: Lab) -> Iterator[None]:
    """The lab's pooler with time-outs that are PgBouncer's own."""
    config = pooler_of(lab.target)
    assert config is not None
    with console(config, lab.target.postgres.ca) as session:
        for name, value in OF_ITS_OWN.items():
            session.execute(f"SET {name} = {value}".encode())
    try:
        yield
    finally:
        with console(config, lab.target.postgres.ca) as session:
            session.execute("RELOAD")


def test_the_databases_own_outage_is_told_from_that_of_clients_whose_pooler_takes_its_time(whole: Lab) -> None:
    with patient_pooler(whole):
        verdict = drilled_to_its_end(whole, "db-failover")
    direct, pooled = (finding(verdict, "outage", path) for path in ("writes-direct", "writes"))
    assert direct["status"] == "met", said(verdict)
    assert direct["measured"] < away(whole, verdict, "failover") + RECONNECTED, said(verdict)
    assert pooled["measured"] is None or pooled["measured"] > 10, said(verdict)  # a log-in that failed turns all away
    for objective in ("acknowledged", "split-brain"):
        assert {finding(verdict, objective, path)["status"] for path in ("writes", "writes-direct")} <= {
            "met",
            "inconclusive",  # where the path through the pooler did not settle
        }, said(verdict)
    assert finding(verdict, "acknowledged", "writes-direct")["measured"] == 0


def test_a_lost_hosts_outage_is_what_the_proxy_saw_and_nothing_is_lost(whole: Lab) -> None:
    verdict = drilled_to_its_end(whole, "db-failover-host-lost")
    is_met_and_lost_nothing(verdict)
    truth = away(whole, verdict, "host-lost")
    outage = finding(verdict, "outage", "writes-direct")
    low, high = outage["interval"]
    assert high >= truth - 2 * PERIOD
    assert low <= truth + RECONNECTED
    assert outage["measured"] == pytest.approx(truth + RECONNECTED / 2, abs=RECONNECTED / 2 + 2 * PERIOD)
    found = outage_of(RunDirectory(whole.home / "runs" / verdict["run"]).load(SystemClock()), "writes-direct")
    assert found.whole is not None
    assert promoted_at(whole) - 2 * PERIOD <= found.whole.ended.best <= promoted_at(whole) + RECONNECTED


def promoted_at(lab: Lab) -> float:
    """When the newest promotion was asked for, by the promoted server's own log; wall clock, to the millisecond."""
    logs = (lab.home / "lab" / "instances").glob("*/*/log/*.log")
    said = [line for log in logs for line in log.read_text(errors="replace").splitlines() if PROMOTED in line]
    times = [datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC).timestamp() for line in said]
    return max(times)


def test_a_promotion_is_met_and_the_lab_is_rebuilt_so_that_it_runs_again(whole: Lab) -> None:
    """Again and again, in virtual time: tests/attack/test_kills.py."""
    verdict = drilled_to_its_end(whole, PROMOTION)
    assert verdict["verdict"] == "met", said(verdict)
    assert "lag" in finding(verdict, "loss-seconds", "writes")["because"]
    eventually(lambda: is_whole(whole), 240, lambda: json.dumps(state(whole)))
    whole.dr("drill", "run", PROMOTION, "--plan", code=0)


def test_a_replica_of_a_copy_is_promoted_where_the_database_may_not_be_broken(whole: Lab, tmp_path: Path) -> None:
    target = yaml.safe_load((whole.home / "lab" / "target.yaml").read_text()) | {"grants": ["markers"]}
    config = {**configured(tmp_path, targets={"lab": target}), "DR_CONFIRM": SOURCE}
    refused = whole.dr("drill", "run", PROMOTION, code=3, **config)
    assert f"'dr drill run {PROMOTION}-copy'" in refused.stderr
    verdict = whole.verdict("drill", "run", f"{PROMOTION}-copy", code=0, **config)
    assert {f["status"] for f in verdict["findings"]} == {"met"}
    assert "From the promotion's beginning" in finding(verdict, "time-to-copy", "restored")["because"]


def test_a_standby_that_is_asynchronous_unseen_is_missed(whole: Lab) -> None:
    """Its replication is slow, so that something acknowledged is surely on its way when the host is lost."""
    inject(whole, "forget_sync", instance=SOURCE)
    inject(whole, "replication_link", of=SOURCE, mode="delay", seconds=1.0)
    try:
        verdict = drilled(whole, "db-failover-host-lost")
    finally:
        inject(whole, "replication_link", of=SOURCE, mode="pass")
        inject(whole, "forget_sync", instance=SOURCE, forgotten=False)
    assert verdict["verdict"] == "missed", said(verdict)
    found = finding(verdict, "acknowledged", "writes-direct")
    assert found["status"] == "missed"
    assert found["measured"] > 0
    # Where nothing is lost, it is this by which the judge knows that that was luck.
    assert observed(whole, verdict["run"], "replication")["synchronous"] == 0


def observed(lab: Lab, run: str, what: str) -> dict[str, Any]:
    lines = (lab.home / "runs" / run / "observations.jsonl").read_text().splitlines()
    return dict(next(one["value"] for one in map(json.loads, lines) if one["what"] == what))


def test_an_old_primary_that_goes_on_writing_is_missed_with_what_it_took(whole: Lab) -> None:
    inject(whole, "keep_old_primary", instance=SOURCE)
    try:
        verdict = drilled(whole, "db-failover")
    finally:
        inject(whole, "keep_old_primary", instance=SOURCE, kept=False)
    assert verdict["verdict"] == "missed", said(verdict)
    split = [finding(verdict, "split-brain", path) for path in ("writes", "writes-direct")]
    assert {found["status"] for found in split} == {"missed"}
    assert any("n=" in found["because"] or "are not in it" in found["because"] for found in split)


def test_a_service_that_keeps_its_dead_connection_is_missed_and_never_back(whole: Lab, tmp_path: Path) -> None:
    """And a Prometheus that is down meanwhile is named, and nothing else suffers."""
    inject(whole, "stubborn_service")
    inject(whole, "prometheus", down=True)
    try:
        verdict = drilled(whole, "db-failover", **configured(tmp_path, objectives={"outage-failover": 10.0}))
    finally:
        inject(whole, "prometheus", down=False)
        inject(whole, "stubborn_service", stubborn=False)
    assert verdict["verdict"] == "missed", said(verdict)
    outage, unaided = finding(verdict, "outage", "source"), finding(verdict, "unaided", "source")
    assert (outage["status"], unaided["status"]) == ("missed", "missed"), said(verdict)
    assert "never came back" in outage["because"]
    assert "never came back" in unaided["because"]
    # The database was back, whatever the service made of it.
    assert {f["status"] for f in verdict["findings"] if f["path"].startswith("writes")} == {"met"}, said(verdict)
    corroborated = finding(verdict, "corroborated", "source")
    assert corroborated["status"] == "inconclusive"
    assert "Prometheus gave no data" in corroborated["because"]


def test_an_interrupted_failover_leaves_the_lab_whole(whole: Lab) -> None:
    running = struck(whole)
    whole.dr("abort", code=0)
    assert ended(running, 180) == 130


def struck(whole: Lab) -> subprocess.Popen[str]:
    """A drill under way whose host is lost. One that found the service out of its objectives is begun again, but not
    for ever."""
    ended = []
    while len(ended) < BEGUN:
        known = len(whole.runs())
        running = whole.begin("drill", "run", "db-failover-host-lost", "--yes")
        while running.poll() is None:
            if any("host-lost" in ledger(run) for run in whole.runs()[known:]):
                return running
            time.sleep(0.1)
        ended.append(running.communicate())
    raise AssertionError(ended)


def ledger(run: Any) -> str:
    path = run / "ledger.jsonl"
    return path.read_text() if path.exists() else ""
