"""``dr lab`` up, status, env and down: one lab at a time, found again, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from click.testing import CliRunner, Result

from dr.cli.lab import lab as command
from dr.config.load import Settings, find_target
from dr.domain.errors import ProviderError, RefusedError, UsageError
from dr.lab import control, presence
from dr.lab.servers.binaries import reachable_wheel
from tests.contract.lab import client, lab_home
from tests.support import ended, eventually, status_of

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home() -> Iterator[Path]:
    with lab_home() as place:
        yield place


@pytest.fixture(scope="module")
def standing() -> Iterator[Path]:
    """The DR_HOME, of a difficult name, of one lab for the tests that leave it up and whole."""
    with lab_home() as place, pytest.MonkeyPatch.context() as patch:
        difficult = place / "it's; a %f name"
        difficult.mkdir(mode=0o755)
        patch.setenv("DR_HOME", str(difficult))
        try:
            bring_up()
            yield difficult
        finally:
            control.down()


asks_one_lab = pytest.mark.xdist_group("one-small-lab")


def bring_up(**more: Any) -> control.Outcome:
    """The least there is: what stands beside one server depends on neither a standby nor replicas."""
    return control.up(patients=20, single=True, **more)


def dr_lab(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))


def processes(home: Path) -> list[psutil.Process]:
    """Every process that has this lab's directory, or its daemon, in its command line or environment."""
    found = []
    for one in psutil.process_iter():
        try:
            words, variables = one.cmdline(), one.environ()
        except psutil.Error:
            continue
        of_lab = variables.get("DR_HOME") == str(home) and "dr.lab" in " ".join(words)
        if one.pid != os.getpid() and (str(home) in " ".join(words) or of_lab):
            found.append(one)
    return found


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def daemons(home: Path) -> list[psutil.Process]:
    found = []
    for one in processes(home):
        # It may end under our eyes.
        with suppress(psutil.Error):
            found += [one] if "dr.lab.daemon" in one.cmdline() else []
    return found


def beside(found: list[psutil.Process]) -> dict[str, psutil.Process]:
    """PgBouncer's and Prometheus' processes, by name."""
    names = {one: one.info["name"] for one in psutil.process_iter(["name"])}
    return {names[one]: one for one in found if names.get(one) in ("pgbouncer", "prometheus")}


def spawn_up() -> subprocess.Popen[bytes]:
    # A shell starts what runs in the background with interrupts ignored, and this test may be among it.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"{heard}; from dr.cli.lab import lab; lab()"
    return subprocess.Popen(
        [sys.executable, "-c", program, "up", "--patients", "20", "--single"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def test_a_lab_goes_up_is_found_again_and_leaves_nothing_behind(home: Path) -> None:
    asked: list[str] = []
    outcome = control.up(patients=20, baseline=lambda: asked.append(control.running().phase))
    assert not outcome.found
    assert asked == ["prepared", "prepared"]
    again = control.up(patients=20)
    assert again.found
    assert again.presence.pid == outcome.presence.pid
    shown = dr_lab("status")
    assert shown.exit_code == 0
    assert "readmission-db  available" in shown.output

    target = find_target(Settings(), "lab")
    assert target.rds.endpoint == outcome.presence.api
    assert target.emulated == "RDS emulated, DNS resolution not exercised"
    assert {grant.value for grant in target.grants} == {"markers", "faults", "disposable"}

    ports = [port_of(outcome.presence.api), port_of(outcome.presence.service), outcome.presence.control]
    ports.append(int(control.status().instances[0]["port"]))
    assert target.clients.pooler is not None
    assert target.prometheus is not None
    ports += [target.clients.pooler.port, port_of(target.prometheus.url)]
    assert all(map(listening, ports))
    assert control.down() is True
    eventually(lambda: not processes(home))
    assert not any(map(listening, ports))
    assert list(home.iterdir()) == []
    assert control.down() is False
    assert dr_lab("down").exit_code == 0


@asks_one_lab
def test_env_says_which_psql_cannot_reach_the_lab(
    standing: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wheel = reachable_wheel(tmp_path, None)
    for path, problem in ((tmp_path, "There is no psql."), (wheel, f"{wheel / 'psql'} does not speak TLS.")):
        monkeypatch.setenv("PATH", str(path))
        answer = dr_lab("env")
        assert answer.exit_code == 0
        assert answer.stdout == control.exports() + "\n"
        assert answer.stderr.startswith(problem)
        assert "install" in answer.stderr


def test_status_and_env_refuse_where_no_lab_runs(home: Path) -> None:
    for name in ("status", "env"):
        result = dr_lab(name)
        assert isinstance(result.exception, RefusedError)
        assert result.exception.exit_code == 3


def test_of_two_ups_at_once_one_makes_the_lab_and_the_other_finds_it(home: Path) -> None:
    both = [spawn_up(), spawn_up()]
    said = sorted((one.communicate(timeout=120)[0].decode(), one.returncode) for one in both)
    assert [code for _, code in said] == [0, 0]
    assert sum("is running already" in words for words, _ in said) == 1
    assert len(daemons(home)) == 1


def test_what_a_killed_daemon_left_is_ended_by_an_up_which_starts_afresh_and_by_a_down(home: Path) -> None:
    first = bring_up().presence
    old = processes(home)
    assert set(beside(old)) == {"pgbouncer", "prometheus"}
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: not psutil.pid_exists(first.pid) or psutil.Process(first.pid).status() == psutil.STATUS_ZOMBIE)
    with pytest.raises(RefusedError):
        control.running()
    second = bring_up()
    assert not second.found
    assert second.presence.pid != first.pid
    assert not [one for one in old if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    os.kill(second.presence.pid, signal.SIGKILL)
    assert control.down() is True
    eventually(lambda: not processes(home))
    assert list(home.iterdir()) == []


def test_an_up_that_is_interrupted_leaves_nothing(home: Path) -> None:
    child = spawn_up()
    eventually(lambda: (home / "lab" / "instances").exists())
    child.send_signal(signal.SIGINT)
    ended(child, 60)
    assert child.returncode != 0
    eventually(lambda: not processes(home))
    assert not (home / "lab").exists()


def test_a_daemon_that_is_killed_while_it_brings_the_lab_up_leaves_nothing(home: Path) -> None:
    child = spawn_up()
    served = eventually(lambda: (now := presence.read(home / "lab")) and now.service_pid and now, 60)
    assert served.phase not in (presence.PREPARED, presence.READY)
    os.kill(served.pid, signal.SIGKILL)
    ended(child, 60)
    assert child.returncode != 0
    eventually(lambda: not processes(home))
    assert not (home / "lab").exists()


def test_an_up_whose_baseline_fails_says_so_and_leaves_nothing(home: Path) -> None:
    def broken() -> None:
        raise ProviderError("The baseline could not be taken.")

    with pytest.raises(ProviderError, match="baseline"):
        bring_up(baseline=broken)
    eventually(lambda: not processes(home))
    assert not (home / "lab").exists()


def test_the_daemon_ends_when_its_directory_is_gone(home: Path) -> None:
    bring_up()
    os.rename(home / "lab", home / "moved")
    eventually(lambda: not daemons(home), 60)
    assert not beside(processes(home))
    os.rename(home / "moved", home / "lab")


@asks_one_lab
def test_the_prediction_service_is_started_again_at_the_same_place(standing: Path) -> None:
    now = control.running()
    os.kill(now.service_pid, signal.SIGKILL)

    eventually(lambda: control.running().service_pid != now.service_pid)
    eventually(lambda: status_of(f"{now.service}/readyz") == 200)


@asks_one_lab
def test_what_stands_beside_the_servers_is_started_again_at_the_same_place(standing: Path) -> None:
    now = control.running()
    before = beside(processes(standing))
    for one in before.values():
        one.kill()
    eventually(lambda: len(beside(processes(standing))) == 2 and beside(processes(standing)) != before)
    eventually(lambda: status_of(f"{now.service}/readyz") == 200)
    eventually(lambda: status_of(f"{now.prometheus}/-/ready") == 200)


@asks_one_lab
def test_stock_tools_work_under_the_exports_of_a_directory_with_a_difficult_name(
    standing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        "aws sts get-caller-identity --query Account --output text && "
        'psql -d "$DATABASE_URL" -Atc "SELECT count(*) > 0, ssl FROM patients, pg_stat_ssl '
        'WHERE pid = pg_backend_pid() GROUP BY ssl"'
    )
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of another account")
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    assert typed(script).split() == [control.running().account, "t|t"]


def typed(script: str) -> str:
    """What a shell under the lab's exports prints, whose last command succeeds."""
    answer = dr_lab("env")
    assert answer.stderr == ""
    ran = subprocess.run(
        ["bash", "-ec", f'eval "$EXPORTS"\n{script}'],
        env={**os.environ, "EXPORTS": answer.stdout},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


RESTORED = "readmission-db-restored"


@asks_one_lab
def test_the_platforms_recovery_commands_work_as_they_are_typed(standing: Path) -> None:
    typed(f"""
    X=$(aws rds describe-db-snapshots --query 'DBSnapshots[0].DBSnapshotIdentifier' --output text)
    aws rds restore-db-instance-from-db-snapshot \
      --db-instance-identifier {RESTORED} \
      --db-snapshot-identifier "$X"
    """)
    assert counted("patients") == "t\n"
    typed(f"aws rds delete-db-instance --db-instance-identifier {RESTORED} --skip-final-snapshot")
    eventually(lambda: RESTORED not in instances())
    eventually(lambda: "LatestRestorableTime" in instances()[control.SOURCE], 30)
    typed(f"""
    T=$(aws rds describe-db-instances --db-instance-identifier readmission-db \
      --query 'DBInstances[0].LatestRestorableTime' --output text)
    aws rds restore-db-instance-to-point-in-time \
      --source-db-instance-identifier readmission-db \
      --target-db-instance-identifier {RESTORED} \
      --restore-time "$T"
    """)
    assert counted("admissions") == "t\n"


def counted(table: str) -> str:
    """What psql says of a table's rows, once the restoration answers."""
    port = eventually(lambda: instances()[RESTORED].get("Endpoint", {}).get("Port"))
    return typed(
        f"psql -h 127.0.0.1 -p {port} -U readmission_admin -d readmission -Atc 'SELECT count(*) > 0 FROM {table}'"
    )


def instances() -> dict[str, dict[str, Any]]:
    found = client("rds").describe_db_instances()["DBInstances"]
    return {one["DBInstanceIdentifier"]: one for one in found}


def test_a_home_that_the_servers_account_cannot_enter_is_refused() -> None:
    if os.geteuid() != 0:
        # Only root runs servers under another account.
        assert os.geteuid() != 0
        return
    closed = Path(tempfile.mkdtemp(prefix="dr-lab-", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DR_HOME", str(closed))
        with pytest.raises(RefusedError, match="DR_HOME"):
            control.up(patients=20)
        assert not (closed / "lab").exists()
    shutil.rmtree(closed)


@pytest.mark.parametrize("name", ["$HOME", 'a"b', "`id`", "a\\b"])
def test_a_home_that_pg_ctl_would_misread_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("DR_HOME", str(home / name))
        with pytest.raises(RefusedError, match="DR_HOME"):
            control.up(patients=20)
    assert list(home.iterdir()) == []


def test_a_dump_that_is_not_there_is_a_usage_error(home: Path) -> None:
    with pytest.raises(UsageError):
        control.up(load=home / "nothing.dump")
    assert not (home / "lab").exists()


def test_a_file_that_is_no_dump_is_refused_and_leaves_nothing(home: Path) -> None:
    wrong = home / "picture.gz"
    wrong.write_bytes(b"\x1f\x8b" + bytes(100))
    with pytest.raises(UsageError):
        control.up(load=wrong)
    assert not (home / "lab").exists()


def test_a_dump_is_loaded_instead_of_the_population(home: Path) -> None:
    dump = home / "own.sql"
    dump.write_text(
        "CREATE TABLE wards (ward_id int PRIMARY KEY, name text);\nINSERT INTO wards VALUES (1, 'north');\n"
    )
    up = dr_lab("up", "--single", "--load", str(dump))
    assert up.exit_code == 0, up.output
    status = dr_lab("status")
    for what in ("the table patients", "the table model_versions", "model version ", "the synthetic patients"):
        assert f"The dump lacked {what}" in up.stdout
        assert f"added    {what}" in status.stdout
    env = control.env()
    with psycopg.connect(
        env["DATABASE_URL"], passfile=env["PGPASSFILE"], sslmode="verify-full", sslrootcert=env["PGSSLROOTCERT"]
    ) as connection:
        row = connection.execute("SELECT name, to_regclass('patients')::text FROM wards").fetchone()
    assert row == ("north", "patients")


def test_a_lock_is_given_to_one_holder_at_a_time(home: Path) -> None:
    path = home / "some.lock"
    with presence.holding(path, 0.0):
        with pytest.raises(RefusedError), presence.holding(path, 0.1):
            pass
        path.unlink()
        # The file is another one now: whoever made it holds it.
        with presence.holding(path, 0.1):
            pass
