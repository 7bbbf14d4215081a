"""The judge judged: recoveries that are bad must be missed, measurements that are blind must be inconclusive.

Each sabotage is done to a real copy, by an action put into the real experiment; what must be found is the finding that
names it. Of what a copy's content may lack, one end to end of each kind: the others are in test_content.py.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import yaml

from dr.app.drill import STARTED
from dr.drivers.service.provider import GOLDEN_ASKS
from tests.integration.test_restore import SOURCE, intends
from tests.labs import ROOT, Lab, configured, eventually, inject
from tests.targets import retargeted

SNAPSHOT, TIME = "rds-snapshot-restore", "rds-pitr"


def sabotaged(drill: str, act: str, into: Path) -> str:
    """The drill's experiment with ``act`` against the copy after its restore. Returns the file's path."""
    experiment = yaml.safe_load((ROOT / "experiments" / f"{drill}.yaml").read_text())
    place = next(n for n, step in enumerate(experiment["method"]) if step["provider"]["func"] == "restore")
    arguments = ["-m", "tests.sabotage.saboteur", act]
    provider = {"type": "process", "path": sys.executable, "arguments": arguments}
    experiment["method"].insert(place + 1, {"name": "sabotage", "type": "action", "provider": provider})
    path = into / f"sabotaged-{drill}.yaml"
    path.write_text(yaml.safe_dump(experiment, sort_keys=False))
    return str(path)


def finding(verdict: dict[str, Any], objective: str) -> dict[str, Any]:
    return next(f for f in verdict["findings"] if f["objective"] == objective)


def test_a_table_and_a_marker_that_are_gone_from_the_copy_are_missed(lab: Lab, tmp_path: Path) -> None:
    act = "DELETE FROM dr.markers_RUN WHERE n = (SELECT min(n) + 3 FROM dr.markers_RUN); DROP TABLE predictions"
    verdict = run(lab, TIME, act, tmp_path)
    for objective in ("schema", "data"):
        assert finding(verdict, objective)["status"] == "missed"
        assert "public.predictions" in finding(verdict, objective)["because"]
        assert "missing" in finding(verdict, objective)["because"]
    assert finding(verdict, "loss")["status"] == "missed"
    assert finding(verdict, "loss")["measured"] == 1
    assert finding(verdict, "exact-point")["status"] == "missed"


def test_a_service_that_is_too_slow_is_missed(lab: Lab) -> None:
    verdict = lab.verdict("drill", "run", SNAPSHOT, "--yes", code=1, DR_SERVICE_DELAY_MS="1300")
    assert finding(verdict, "latency")["status"] == "missed"
    assert finding(verdict, "time-to-copy")["status"] == "missed"


def strayed(lab: Lab, into: Path) -> dict[str, str]:
    """A dr.yaml whose lab starts the service by a wrapper with an env file of its own, which leads to the source."""
    at = lab.instances()[SOURCE]["Endpoint"]
    assert lab.target.service is not None
    login, database = lab.target.service.login, lab.target.postgres.name
    own = into / "service.env"
    own.write_text(f"export DATABASE_URL=postgresql://{login}@{at['Address']}:{at['Port']}/{database}\n")
    wrapper = ("/bin/sh", "-c", f". {own} && exec {sys.executable} -m dr.lab.service")
    service = msgspec.structs.replace(lab.target.service, command=wrapper)
    target = msgspec.to_builtins(retargeted(lab.target, service=service))
    return configured(into, targets={"lab": target})


def test_a_service_that_strays_to_the_source_is_not_judged_and_not_probed(lab: Lab, tmp_path: Path) -> None:
    def predictions() -> int:
        with lab.connect(SOURCE) as connection:
            return int(connection.execute("SELECT count(*) FROM predictions").fetchone()[0])

    before = predictions()
    verdict = lab.verdict("restore", "--latest-snapshot", "--yes", code=5, **strayed(lab, tmp_path))
    assert verdict["verdict"] == "inconclusive"
    assert "no session on the copy" in finding(verdict, "completed")["because"]
    for objective in ("time-to-copy", "golden", "latency", "errors", "model-latency", "database-latency"):
        assert finding(verdict, objective)["status"] == "inconclusive"
    assert predictions() - before <= GOLDEN_ASKS
    assert not (lab.runs()[-1] / "samples-restored.jsonl").exists()
    assert not lab.run_processes()
    mended = lab.verdict("restore", "--resume", verdict["run"], "--yes", code=0)
    assert finding(mended, "golden")["status"] == "met"


def test_a_stalled_prober_and_a_copy_without_a_baseline_are_inconclusive(lab: Lab) -> None:
    kept = lab.home / "baselines"
    kept.rename(lab.home / "elsewhere")
    try:
        with beside(lab, "settle-restored", stall):
            verdict = lab.verdict("drill", "run", SNAPSHOT, "--yes", code=4)
    finally:
        (lab.home / "elsewhere").rename(kept)
    assert finding(verdict, "latency")["status"] == "inconclusive"
    assert "void" in finding(verdict, "latency")["because"]
    for objective in ("data", "schema", "golden"):
        assert finding(verdict, objective)["status"] == "inconclusive"


def process_of(run: Path, call: str) -> int:
    """The process that ``call`` started."""
    entries = map(json.loads, (run / "ledger.jsonl").read_text().splitlines())
    return next(int(e["data"]["pid"]) for e in entries if (e["kind"], e["call"]) == ("effect", call))


def hang(call: str) -> Callable[[Path], None]:
    """An act that stops what ``call`` started, for good."""
    return lambda run: os.kill(process_of(run, call), signal.SIGSTOP)


def stall(run: Path) -> None:
    """Stop the prober of the restored path for most of its time."""
    pid = process_of(run, "measure-restored")
    with suppress(ProcessLookupError):  # it has ended
        for _ in range(24):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.7)  # a real process is stalled in real time
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.3)


class beside:  # noqa: N801  (reads as a word)
    """While inside, do ``act`` once the newest run intends ``call``."""

    def __init__(self, lab: Lab, call: str, act: Callable[[Path], None]) -> None:
        known = set(lab.runs())

        def wait() -> None:
            eventually(lambda: any(run not in known and intends(run, call) for run in lab.runs()), 120)
            act(lab.runs()[-1])

        self._thread = threading.Thread(target=wait, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join(60)


def doze(run: Path) -> None:
    """Stop Chaos Toolkit, which does the drill's verbs, for some seconds."""
    entries = map(json.loads, (run / "ledger.jsonl").read_text().splitlines())
    pid = next(int(e["data"]["pid"]) for e in entries if e["data"].get("text") == STARTED)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(3)  # a real process is stopped in real time
    os.kill(pid, signal.SIGCONT)


def test_how_long_a_copy_took_is_not_known_where_the_harness_was_stopped_meanwhile(lab: Lab) -> None:
    with beside(lab, "restore", doze):
        verdict = lab.verdict("drill", "run", SNAPSHOT, "--yes", code=4)
    untold = {one["objective"]: one["because"] for one in verdict["findings"] if one["status"] != "met"}
    assert set(untold) == {"awake", "time-to-copy"}
    assert re.search(r"^dr itself was stopped for \d+\.\d s of the time that it took", untold["time-to-copy"])


def test_a_marker_writer_that_hangs_before_the_disaster_is_inconclusive(lab: Lab) -> None:
    with beside(lab, "plant-victims", hang("mark-source")):
        verdict = lab.verdict("drill", "run", TIME, "--yes", code=4)
    for objective in ("loss", "exact-point"):
        assert finding(verdict, objective)["status"] == "inconclusive"


def test_a_stale_application_password_is_missed(lab: Lab) -> None:
    role = next(login for login in lab.target.postgres.roles if login.user == "readmission_analyst")
    file = Path(role.secret.removeprefix("file:"))
    before = file.read_text()
    take(lab, role.user, secrets.token_urlsafe(16), file)
    try:
        verdict = lab.verdict("restore", "--latest-snapshot", "--yes", code=1)
    finally:
        take(lab, role.user, before, file)
    assert finding(verdict, "logins")["status"] == "missed"
    assert role.user in finding(verdict, "logins")["because"]


def take(lab: Lab, user: str, password: str, file: Path) -> None:
    """From now on ``user`` logs in at the source with ``password``, as ``file`` says."""
    with lab.connect(SOURCE, lab.target.postgres.master) as connection:
        encrypted = connection.pgconn.encrypt_password(password.strip().encode(), user.encode(), b"scram-sha-256")
        connection.execute(
            psycopg.sql.SQL("ALTER ROLE {} PASSWORD {}").format(psycopg.sql.Identifier(user), encrypted.decode())
        )
    file.write_text(password)


def test_an_archive_that_is_cut_off_is_never_met(lab: Lab, tmp_path: Path) -> None:
    inject(lab, "cut_archive", instance=SOURCE)
    try:
        verdict = lab.verdict("drill", "run", TIME, "--yes", **configured(tmp_path, objectives={"time-to-copy": 15.0}))
    finally:
        inject(lab, "cut_archive", instance=SOURCE, cut=False)
    assert verdict["verdict"] in ("missed", "inconclusive")
    assert "restorable" in json.dumps(verdict)
    cut = lab.instances()[SOURCE]["LatestRestorableTime"]
    eventually(lambda: lab.instances()[SOURCE]["LatestRestorableTime"] > cut)


def run(lab: Lab, drill: str, act: str, into: Path) -> dict[str, Any]:
    """Run the drill with ``act``, SQL, against its copy."""
    verdict = lab.verdict("drill", "run", sabotaged(drill, act, into), "--yes", code=1)
    journal = json.loads((lab.runs()[-1] / "journal.json").read_text())
    done = next(step for step in journal["run"] if step["activity"]["name"] == "sabotage")
    assert done["status"] == "succeeded", done
    assert done["output"]["status"] == 0, done
    return verdict
