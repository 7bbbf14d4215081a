"""A lab of its own for tests: brought up and down through the command line, reached as a stock client reaches it.

Used by: tests/integration and tests/sabotage, through the fixtures in tests/conftest.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import msgspec
import psutil
import psycopg
import pytest
import yaml

from dr.config.model import Login, Target
from dr.config.plugins import target_type
from dr.config.secrets import secret
from dr.lab import control
from tests import forked
from tests.support import eventually, open_directory

ROOT = Path(__file__).parent.parent
QUICK: dict[str, dict[str, float]] = {
    "meter": {"settle": 4.0, "settle-longest": 16.0, "rate": 25.0},
    "objectives": {"error-rate": 0.05},
}
"""What tests run under: a path that is measured half as often for a third of the usual time, and as many errors as that
can tell."""
BARE = {"DR_LAB_WITHOUT": "kubernetes"}
"""The environment under which a lab comes up without its cluster, whether or not that could be had here."""
USUAL = {"DR_CONFIG": ""}
"""The environment of a command under no dr.yaml: of each kind one drill is held to what everybody gets."""


def configured(into: Path, **sections: Any) -> dict[str, str]:
    """The environment of a command under a dr.yaml with ``sections`` over those of ``QUICK``, written to ``into``."""
    merged = {name: {**QUICK.get(name, {}), **sections.get(name, {})} for name in {**QUICK, **sections}}
    (into / "dr.yaml").write_text(yaml.safe_dump(merged))
    return {"DR_CONFIG": str(into / "dr.yaml")}


class Lab:
    """One lab under a DR_HOME of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("DR_", "AWS_", "PG"))}
        self.env = {**kept, **configured(home), **BARE, "DR_HOME": str(home), "NO_COLOR": "1"}

    def dr(self, *args: str, code: int | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``dr`` and, with ``code``, insist on its exit code."""
        ended = forked.dr(args, {**self.env, **env}, ROOT, timeout=600)
        assert "Traceback" not in ended.stderr, ended.stderr
        if code is not None:
            assert ended.returncode == code, f"exit {ended.returncode}\n{_short(ended.stdout)}\n{ended.stderr}"
        return ended

    def begin(self, *args: str, **env: str) -> subprocess.Popen[str]:
        """Start ``dr`` in a session of its own and leave it running."""
        return subprocess.Popen(
            [sys.executable, "-m", "dr", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**self.env, **env},
            cwd=ROOT,
            start_new_session=True,
        )

    def verdict(self, *args: str, code: int | None = None, **env: str) -> dict[str, Any]:
        """Run ``dr ... --output json`` and return its document."""
        document: dict[str, Any] = json.loads(self.dr(*args, "--output", "json", code=code, **env).stdout)
        return document

    @property
    def target(self) -> Target:
        return msgspec.convert(yaml.safe_load((self.home / "lab" / "target.yaml").read_text()), target_type())

    @cached_property
    def rds(self) -> Any:
        session = _session(self.target)
        return session.client("rds", endpoint_url=self.target.rds.endpoint, region_name=self.target.rds.region)

    def instances(self) -> dict[str, dict[str, Any]]:
        """Every instance by identifier."""
        found = self.rds.describe_db_instances()["DBInstances"]
        return {instance["DBInstanceIdentifier"]: instance for instance in found}

    @contextmanager
    def connect(self, identifier: str, login: Login | None = None) -> Iterator[psycopg.Connection[Any]]:
        """A connection to an instance, as the harness unless ``login`` says otherwise."""
        endpoint = self.instances()[identifier]["Endpoint"]
        login = login or self.target.postgres.harness
        with psycopg.connect(
            host=endpoint["Address"],
            port=endpoint["Port"],
            dbname=self.target.postgres.name,
            user=login.user,
            password=secret(login.secret),
            sslmode="verify-full",
            sslrootcert=self.target.postgres.ca,
            autocommit=True,
        ) as connection:
            yield connection

    def runs(self) -> list[Path]:
        return sorted((self.home / "runs").glob("*-*")) if (self.home / "runs").exists() else []

    def run_processes(self) -> list[str]:
        """Command lines of processes that name a run of this lab: meters, guardians, Chaos Toolkit."""
        found = []
        for process in psutil.process_iter(["cmdline", "environ"]):
            environ = process.info["environ"] or {}
            if environ.get("DR_HOME") == str(self.home) and environ.get("DR_RUN"):
                found.append(" ".join(process.info["cmdline"] or []))
        return found

    def assert_whole(self) -> None:
        """Only the source and its replicas are there, all available, and nothing of a run still works."""
        self.remove_restorations()
        present = {identifier: one["DBInstanceStatus"] for identifier, one in self.instances().items()}
        assert present == dict.fromkeys((self.target.rds.instance, *self.target.rds.replicas), "available")

    def remove_restorations(self) -> None:
        """Delete what dr restore made, which dr itself never deletes."""
        for identifier, instance in self.instances().items():
            tags = {tag["Key"]: tag["Value"] for tag in instance.get("TagList", [])}
            if identifier != self.target.rds.instance and tags.get("dr:purpose") == "restore":
                eventually(lambda i=identifier: self.instances()[i]["DBInstanceStatus"] != "backing-up")
                self.rds.modify_db_instance(DBInstanceIdentifier=identifier, DeletionProtection=False)
                eventually(lambda i=identifier: self.instances()[i]["DBInstanceStatus"] == "available")
                self.rds.delete_db_instance(DBInstanceIdentifier=identifier, SkipFinalSnapshot=True)
        eventually(lambda: all(i["DBInstanceStatus"] != "deleting" for i in self.instances().values()))


def _session(target: Target) -> Any:
    credentials = target.rds.credentials
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = credentials.file
    try:
        session = boto3.Session(profile_name=credentials.profile)
        session.get_credentials()
    finally:
        del os.environ["AWS_SHARED_CREDENTIALS_FILE"]
    return session


@contextmanager
def lab_up(*args: str, **env: str) -> Iterator[Lab]:
    """A lab of its own, gone afterwards; ``env`` holds for every command in it."""
    with open_directory("dr-") as home:
        lab = Lab(home)
        lab.env |= env
        try:
            lab.dr("lab", "up", *args, code=0)
            yield lab
        finally:
            if lab.dr("lab", "down").returncode:  # a run that a failed test left under way
                lab.dr("abort", "--all")
                eventually(lambda: lab.dr("lab", "down").returncode == 0, 60)


@contextmanager
def inside(lab: Lab) -> Iterator[None]:
    """This process asks ``lab`` itself: a ``dr`` of its own for that costs a second."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DR_HOME", "DR_CONFIG"):
            patch.setenv(name, lab.env[name])
        yield


def inject(lab: Lab, fault: str, **arguments: Any) -> Any:
    """Put a fault into ``lab``. Returns what it gives, for most of them nothing."""
    with inside(lab):
        return control.inject(fault, **arguments)


def _short(output: str) -> str:
    """Of a verdict only what is not met, else the whole output."""
    try:
        found = json.loads(output)["findings"]
    except (ValueError, KeyError, TypeError):
        return output
    return "\n".join(f"{f['status']} {f['objective']}: {f['because']}" for f in found if f["status"] != "met")
