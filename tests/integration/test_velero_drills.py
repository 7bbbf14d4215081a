"""The drill of a lost namespace, and its runbook, in a lab with the whole platform in a real cluster.

Skipped where ``dr lab install`` did not run.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import yaml

from dr.lab.cluster.binaries import CONTROL_PLANE, WITHOUT, find
from dr.lab.cluster.modules import VELERO
from dr.lab.cluster.storage import ARTIFACTS
from dr.lab.platform.model import ARTIFACT
from tests.archives import replace, tampered
from tests.integration.test_runbooks import RUNBOOKS, commands, follow
from tests.labs import ROOT, Lab, configured, inject, lab_up
from tests.support import ended, eventually

pytestmark = [
    pytest.mark.in_order,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(find().lacking(*CONTROL_PLANE, *VELERO)), reason=WITHOUT),
]
KINDS = "configmaps,secrets,services,deployments"
SYSTEM, DRILL, COPY = "readmission-system", "velero-namespace-restore", "readmission-system-drill"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_up("--single", "--patients", "30", DR_LAB_WITHOUT="") as one:
        yield one


def typed(lab: Lab, *words: str) -> str:
    """A stock command, as under ``eval "$(dr lab env)"``."""
    config = lab.target.kubernetes.kubeconfig  # type: ignore[attr-defined]
    path = os.pathsep.join((*map(str, find().folders), os.environ["PATH"]))
    environment = {**lab.env, "KUBECONFIG": config, "PATH": path}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def names(lab: Lab, kind: str, *more: str) -> list[str]:
    found: list[dict[str, Any]] = json.loads(typed(lab, "kubectl", "get", kind, *more, "--output", "json"))["items"]
    return [one["metadata"]["name"] for one in found]


def velero(lab: Lab, kind: str) -> list[str]:
    return names(lab, f"{kind}.velero.io", "--namespace", "velero")


def findings(verdict: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["objective"]: (one["status"], one["because"]) for one in verdict["findings"]}


def test_a_lab_is_backed_up_as_each_night(lab: Lab) -> None:
    (backup,) = velero(lab, "backups")
    assert backup.startswith("readmission-backup-")
    assert backup in lab.dr("backups", code=0).stdout
    assert "readmission-backup" in typed(lab, "velero", "schedule", "get")


def test_a_lost_namespace_comes_back_whole_and_nothing_of_the_drill_is_left(lab: Lab) -> None:
    before = velero(lab, "backups")
    found = findings(lab.verdict("drill", "run", DRILL, "--yes", code=0))
    assert {status for status, _ in found.values()} == {"met"}, found
    assert "objects stand as the backup has them" in found["objects"][1]
    assert velero(lab, "backups") == before
    assert velero(lab, "restores") == []


def test_what_was_written_before_a_backup_is_not_lost_and_what_was_later_is_told(lab: Lab) -> None:
    before = velero(lab, "backups")
    found = findings(lab.verdict("drill", "run", "velero-fresh-backup", "--yes", code=0))
    assert {status for status, _ in found.values()} == {"met"}, found
    assert "acknowledged before the recovery point 0 are missing" in found["loss"][1]
    assert velero(lab, "backups") == before
    assert not [one for one in names(lab, "configmaps", "--namespace", SYSTEM) if "canary" in one]


def test_a_drill_that_is_told_to_stop_leaves_the_cluster_as_it_was(lab: Lab) -> None:
    kept = sorted(names(lab, KINDS, "--namespace", SYSTEM))
    drill = subprocess.Popen(
        [sys.executable, "-m", "dr", "drill", "run", DRILL, "--yes"], env=lab.env, cwd=ROOT, start_new_session=True
    )
    eventually(lambda: SYSTEM not in standing(lab), 120.0)
    drill.send_signal(signal.SIGTERM)
    assert ended(drill, 300) == 143
    assert sorted(names(lab, KINDS, "--namespace", SYSTEM)) == kept
    assert velero(lab, "restores") == []
    assert len(velero(lab, "backups")) == 1


def test_a_drill_that_was_killed_is_taken_back_by_clean_up(lab: Lab) -> None:
    kept = sorted(names(lab, KINDS, "--namespace", SYSTEM))
    drill = subprocess.Popen(
        [sys.executable, "-m", "dr", "drill", "run", DRILL, "--yes"], env=lab.env, cwd=ROOT, start_new_session=True
    )
    eventually(lambda: SYSTEM not in standing(lab), 120.0)
    os.killpg(drill.pid, signal.SIGKILL)
    drill.wait()
    assert "inconclusive" in lab.dr("cleanup").stdout.lower()
    assert sorted(names(lab, KINDS, "--namespace", SYSTEM)) == kept
    assert velero(lab, "restores") == []
    assert len(velero(lab, "backups")) == 1


@pytest.fixture
def careful(lab: Lab) -> Iterator[str]:
    """The lab as a target that must not be broken, by its name; with room for a copy of the model on its GPUs."""
    text = yaml.safe_load((lab.home / "lab" / "target.yaml").read_text())
    target = {**text, "grants": ["markers"], "consent": "careful"}
    before = dict(lab.env)
    lab.env |= configured(lab.home, targets={"careful": target})
    typed(lab, "kubectl", "scale", "deployment", "readmission-model", "--namespace", SYSTEM, "--replicas", "1")
    try:
        yield "careful"
    finally:
        lab.env = before
        typed(lab, "kubectl", "scale", "deployment", "readmission-model", "--namespace", SYSTEM, "--replicas", "2")
        typed(lab, "kubectl", "rollout", "status", "deployment", "readmission-model", "--namespace", SYSTEM)


def held(lab: Lab) -> list[Any]:
    """What production's objects say."""
    found = json.loads(typed(lab, "kubectl", "get", KINDS, "--namespace", SYSTEM, "--output", "json"))["items"]
    return [(one["kind"], one["metadata"]["uid"], one.get("spec"), one.get("data")) for one in found]


def test_a_copy_stands_beside_production_and_answers_as_that_does(lab: Lab, careful: str) -> None:
    before = held(lab)
    document = lab.verdict("drill", "run", DRILL, "--target", careful, "--confirm", careful, code=0)
    found = findings(document)
    assert document["drill"] == f"{DRILL}-copy", "the other would lose the namespace"
    assert {status for status, _ in found.values()} == {"met"}, found
    assert "ingresses.networking.k8s.io" in found["objects"][1]
    assert held(lab) == before
    assert COPY not in names(lab, "namespaces")
    assert velero(lab, "restores") == []
    assert f"dr-{document['run']}" not in names(lab, "configmaps", "--namespace", "velero")
    assert list(lab.instances()) == [lab.target.rds.instance]  # type: ignore[attr-defined]


def test_a_killed_copy_is_taken_back_by_clean_up(lab: Lab, careful: str) -> None:
    before = held(lab)
    words = ["drill", "run", DRILL, "--target", careful, "--confirm", careful]
    drill = subprocess.Popen([sys.executable, "-m", "dr", *words], env=lab.env, cwd=ROOT, start_new_session=True)
    eventually(lambda: COPY in names(lab, "namespaces"), 300.0)
    os.killpg(drill.pid, signal.SIGKILL)
    drill.wait()
    assert "inconclusive" in lab.dr("cleanup", "--target", careful).stdout.lower()
    assert held(lab) == before
    assert COPY not in names(lab, "namespaces")
    assert velero(lab, "restores") == []


def test_a_copy_that_would_name_production_is_refused_with_nothing_made(lab: Lab, careful: str) -> None:
    words = ["--backup", "latest", "--namespace", SYSTEM, "--into", COPY, "--target", careful, "--confirm", careful]
    done = lab.dr("restore", *words, code=3)
    assert f"secrets {SYSTEM}/readmission-database: data.url names pgbouncer.readmission-database" in done.stderr
    assert COPY not in names(lab, "namespaces")
    assert velero(lab, "restores") == []


def storage(lab: Lab) -> Any:
    """A client of the lab's S3, by the keys that the platform has."""
    secret = json.loads(typed(lab, "kubectl", "get", "secret", "readmission-artifacts", "-n", SYSTEM, "-o", "json"))
    told = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
    return boto3.client(
        "s3",
        endpoint_url=told["AWS_ENDPOINT_URL_S3"],
        region_name=told["AWS_DEFAULT_REGION"],
        aws_access_key_id=told["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=told["AWS_SECRET_ACCESS_KEY"],
    )


def missed(lab: Lab) -> dict[str, tuple[str, str]]:
    """The findings of a drill of which all is there, and nothing serves."""
    lab.env |= configured(lab.home, objectives={"outage-failover": 25.0, "time-to-namespace": 60.0})
    found = findings(lab.verdict("drill", "run", DRILL, "--yes", code=1))
    assert found["objects"][0] == "met", found
    assert "missed" in {found[one][0] for one in ("completed", "outage") if one in found}, found
    return found


def test_an_artifact_that_was_altered_is_missed_although_every_object_stands(lab: Lab) -> None:
    store, whole = storage(lab), ARTIFACT.read_bytes()
    try:
        store.put_object(Bucket=ARTIFACTS, Key=ARTIFACT.name, Body=whole.replace(b"-3.1", b"-2.1"))
        missed(lab)
    finally:
        store.put_object(Bucket=ARTIFACTS, Key=ARTIFACT.name, Body=whole)
        typed(lab, "kubectl", "rollout", "restart", "deployment", "--namespace", SYSTEM)
        typed(lab, "kubectl", "rollout", "status", "deployment", "readmission-api", "--namespace", SYSTEM)


def test_a_secret_whose_password_is_an_old_one_is_missed_with_who_waits_for_it(lab: Lab) -> None:
    def older(secret: dict[str, Any]) -> None:
        url = base64.b64decode(secret["data"]["url"]).decode()
        login, _, host = url.rpartition("@")
        secret["data"]["url"] = base64.b64encode(f"{login.rpartition(':')[0]}:0ld@{host}".encode()).decode()

    (backup,), store = velero(lab, "backups"), storage(lab)
    was = tampered(store, backup, "secrets", SYSTEM, "readmission-database", older)
    try:
        found = missed(lab)
    finally:
        replace(store, backup, was)
    assert "readmission-api" in found["completed"][1], found
    assert "0ld" not in json.dumps(found)
    typed(lab, "kubectl", "rollout", "status", "deployment", "readmission-api", "--namespace", SYSTEM)


def standing(lab: Lab) -> list[str]:
    """The namespaces that are not being deleted."""
    found = json.loads(typed(lab, "kubectl", "get", "namespaces", "--output", "json"))["items"]
    return [one["metadata"]["name"] for one in found if one["status"]["phase"] == "Active"]


def test_a_storage_that_cannot_be_read_refuses_a_restore_before_anything_is_lost(lab: Lab) -> None:
    inject(lab, "storage", methods=["GET", "PUT", "POST", "DELETE"])
    try:
        done = lab.dr("drill", "run", DRILL, "--yes")
    finally:
        inject(lab, "storage", methods=[])
    assert done.returncode in (3, 5), done.stderr
    assert "storage location" in done.stderr
    assert SYSTEM in standing(lab)


def test_every_command_of_its_runbook_does_what_it_says(lab: Lab) -> None:
    eventually(lambda: "Available" in typed(lab, "velero", "backup-location", "get"), 90.0)
    follow(lab, commands(RUNBOOKS[DRILL]))
    assert SYSTEM in standing(lab)
