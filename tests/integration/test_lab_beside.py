"""What stands beside the lab's servers, in a whole lab: the service goes through PgBouncer, Prometheus scrapes it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from dr.cli.lab import lab as command
from dr.config.load import Settings, find_target
from dr.config.model import Target
from dr.config.secrets import secret
from dr.domain.errors import ProviderError, RefusedError
from dr.drivers.clients.config import PoolerConfig
from dr.drivers.prometheus.client import Prometheus
from dr.host.clock import SystemClock
from dr.lab import control, fault, presence
from dr.lab.beside import companion, pgbouncer, prometheus
from dr.lab.bringup import Lab
from dr.lab.cluster.timings import USUAL
from tests.contract.lab import lab_home
from tests.support import eventually, status_of


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """One lab for all tests: each leaves it as it was."""
    with lab_home():
        control.up(patients=20)
        yield find_target(Settings(), "lab")


def inject(target: Target, *words: str) -> subprocess.CompletedProcess[str]:
    """As a drill does: through the command that the target names."""
    return subprocess.run([*target.faults.command, *words], capture_output=True, text=True, check=False, timeout=60)


def ready(target: Target) -> int:
    assert target.service is not None
    return status_of(f"{target.service.url}/readyz")


def test_the_prediction_service_reaches_the_database_through_the_pooler_alone(target: Target) -> None:
    assert ready(target) == 200
    gone = inject(target, "pgbouncer", '{"down": true}')
    assert (gone.returncode, json.loads(gone.stdout)) == (0, {"result": None}), gone.stderr
    eventually(lambda: ready(target) == 503)
    time.sleep(companion.PAUSE + 1.0)
    # What was taken down on purpose stays down.
    assert ready(target) == 503
    assert inject(target, "pgbouncer", '{"down": false}').returncode == 0
    eventually(lambda: ready(target) == 200, 10)


def test_the_harness_logs_in_at_the_pooler_and_at_its_console_as_the_target_says(target: Target) -> None:
    pooler = target.clients.pooler
    assert pooler is not None
    assert log_in(target, pooler, pooler.entry, "SELECT current_user::text") == (target.postgres.harness.user,)
    assert log_in(target, pooler, pooler.console, "SHOW VERSION")
    entries = pgbouncer.parse(Path(pooler.configuration).read_text())
    assert entries[pooler.entry].port == control.status().instances[0]["port"]


def log_in(target: Target, pooler: PoolerConfig, database: str, statement: str) -> tuple[object, ...] | None:
    login = pooler.admin if database == pooler.console else target.postgres.harness
    with psycopg.connect(
        host=pooler.host,
        port=pooler.port,
        dbname=database,
        user=login.user,
        password=secret(login.secret),
        sslmode="verify-full",
        sslrootcert=pooler.ca or target.postgres.ca,
        autocommit=True,
    ) as connection:
        return connection.execute(statement).fetchone()


def test_prometheus_scrapes_the_service_until_it_is_taken_away(target: Target) -> None:
    config = target.prometheus
    assert config is not None
    client = Prometheus(config.url, 3.0)

    def seen() -> bool:
        return bool(client.query_range(f"up{{{config.selector}}} == 1", time.time(), time.time(), 1))

    eventually(seen, 20)
    assert inject(target, "prometheus", '{"down": true}').returncode == 0
    with pytest.raises(ProviderError, match="does not answer"):
        seen()
    assert inject(target, "prometheus", '{"down": false}').returncode == 0
    eventually(seen, 20)


def test_status_says_where_they_are(target: Target) -> None:
    shown = CliRunner().invoke(command, ["status"]).stdout
    assert target.clients.pooler is not None
    assert target.prometheus is not None
    assert f"pooler   127.0.0.1:{target.clients.pooler.port}\n" in shown
    assert f"metrics  {target.prometheus.url}\n" in shown
    assert "without" not in shown


def test_status_says_whether_the_source_has_its_standby_and_nothing_of_a_replica(target: Target) -> None:
    def shown(identifier: str) -> str:
        said = CliRunner().invoke(command, ["status"])
        assert said.exit_code == 0, (said.output, said.exception)
        return next(line for line in said.stdout.splitlines() if line.startswith(f"instance {identifier} "))

    def lose_standby(lost: bool) -> None:
        arguments = {"instance": target.rds.instance, "lost": lost, "standby": True}
        assert inject(target, "lose_host", json.dumps(arguments)).returncode == 0

    assert shown(target.rds.instance).endswith("  standby synchronous")
    assert "standby" not in shown(target.rds.replicas[0])
    lose_standby(True)
    try:
        eventually(lambda: shown(target.rds.instance).endswith("  without a standby now"))
    finally:
        lose_standby(False)
    eventually(lambda: shown(target.rds.instance).endswith("  standby synchronous"), 60)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["unheard-of"], 3, "knows no command"),
        (["prometheus", "7"], 2, "no JSON object"),
        (["slow", '{"instance": "readmission-db", "share": NaN}'], 2, "no JSON object"),
        (["prometheus", '{"up": true}'], 2, "prometheus takes down (true or false; true if left out), not {"),
        (["crash", '{"instance": "nope"}'], 3, "The lab has no instance 'nope'."),
        (["automated_backup", '{"instance": "nope"}'], 3, "The lab has no instance 'nope'."),
        (["share_foreign_snapshot", '{"snapshot": "nope", "encrypted": true}'], 3, "The lab has no snapshot 'nope'."),
        (["lose_host", '{"x": 1}'], 2, "lose_host takes instance (text), lost (true or false; true if left out), "),
        (["slow", '{"instance": "readmission-db", "share": "a"}'], 2, "slow takes instance (text), share (number; 0.5"),
        (["slow", '{"instance": "readmission-db", "share": 2}'], 2, "A share of 2 of the time is not between 0 and 1"),
        (["link", '{"instance": "readmission-db", "mode": "delay", "seconds": -1}'], 2, "seconds"),
        (["replication_link", '{"instance": "readmission-db"}'], 2, "replication_link takes of (text), mode ("),
        ([], 2, "not how a fault"),
    ],
)
def test_a_fault_that_cannot_be_put_in_is_told(
    target: Target, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert fault.main(words) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err
    assert len(told.err.splitlines()) == 1


def test_where_they_are_not_installed_the_lab_says_so_and_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(companion, "find", lambda *_: None)
    sentences = (pgbouncer.WITHOUT, prometheus.WITHOUT)
    with lab_home() as home, Lab(home / "lab", SystemClock(), USUAL, lambda *_: None) as lab:
        list(lab.prepare(20, None, single=True, without=("kubernetes",)))
        lab.publish()
        bare: Any = find_target(Settings(), "lab")
        assert (bare.clients.pooler, bare.prometheus) == (None, None)
        assert lab.absent[:2] == sentences
        assert ready(bare) == 200
        for name, sentence in zip(("pgbouncer", "prometheus"), sentences, strict=True):
            with pytest.raises(RefusedError, match=sentence):
                lab.commands()[name]()
    now = presence.Presence(os.getpid(), 0.0, presence.READY, absent=sentences)
    monkeypatch.setattr(control, "status", lambda: control.Condition(now, ()))
    monkeypatch.setattr(control, "up", lambda *_, **__: control.Outcome(False, now))
    for name in ("status", "up"):
        shown = CliRunner().invoke(command, [name]).stdout
        assert all(sentence in shown for sentence in sentences)
