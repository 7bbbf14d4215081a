"""The lab's RDS endpoint with real PostgreSQL servers, in this process: its faults are within a test's reach.

Used by: the RDS driver's integration and contract tests. The whole lab, with platform and service, is ``tests.labs``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from dr.config.context import Context
from dr.config.model import Login, Settings, Target
from dr.domain.model import Call, Progress, Purpose, Request, RunIdentity, Verb
from dr.drivers.aws.config import Credentials
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.rds.client import RdsClient
from dr.drivers.rds.provider import RdsProvider
from dr.host.clock import SystemClock
from dr.lab.rds import account
from dr.lab.rds.faults import Failing, Faults
from dr.lab.rds.postgres import PostgresServers
from dr.lab.rds.protocol import Api
from dr.lab.rds.records import Store
from dr.lab.rds.service import Lab
from dr.lab.rds.work import Work
from tests.lab_servers import copied, site_at
from tests.support import BUSY, eventually, open_directory
from tests.targets import target_of

SOURCE = "readmission-db"
MASTER = "postgres_master"
PASSWORD = "first-master-password"
TICK = 0.2


class Endpoint:
    """An endpoint with one source instance, ``readmission-db``, and its first automated snapshot."""

    def __init__(self, directory: Path) -> None:
        clock = SystemClock()
        self.directory = directory
        self.site = site_at(directory / "lab")
        self.servers = PostgresServers(self.site)
        self.account = account.new_account()
        self.store = Store(directory / "rds.json", self.account, account.initial_state(self.servers.version))
        self.faults = Faults()
        self.work = Work(self.store, self.servers, clock, self.faults)
        self.api = Api(Lab(self.store, self.work, clock))
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self.password_file = directory / "master.password"
        self.password_file.write_text(PASSWORD + "\n")
        keys = f"aws_access_key_id = {self.account.access_key}\naws_secret_access_key = {self.account.secret_key}\n"
        (directory / "credentials").write_text(f"[lab]\n{keys}")

    def open(self) -> None:
        self.api.start()
        self._watcher.start()
        self.client = RdsClient(self.target())
        self.client.call(
            "CreateDBInstance",
            {
                "DBInstanceIdentifier": SOURCE,
                "DBInstanceClass": "db.r6g.large",
                "Engine": "postgres",
                "AllocatedStorage": 100,
                "DBName": "readmission",
                "MasterUsername": MASTER,
                "MasterUserPassword": PASSWORD,
                "BackupRetentionPeriod": 7,
                "DBSubnetGroupName": account.SUBNET_GROUP,
                "VpcSecurityGroupIds": [account.SECURITY_GROUP],
                "DBParameterGroupName": account.PARAMETER_GROUP,
                "DeletionProtection": True,
                "CopyTagsToSnapshot": True,
                "EnableCloudwatchLogsExports": ["postgresql"],
                "PreferredMaintenanceWindow": "tue:05:00-tue:05:30",
                "Tags": [{"Key": "env", "Value": "prod"}],
            },
        )
        eventually(lambda: self.describe(SOURCE)["DBInstanceStatus"] == "available")

    def close(self) -> None:
        self._over.set()
        self._watcher.join(10)
        self.api.close()
        self.work.close(10.0)
        self.servers.close()

    def _watch(self) -> None:
        while not self._over.wait(TICK):
            self.work.watch()
            self.work.survey()
            self.work.retain()

    def target(self, **changes: Any) -> Target:
        database = PostgresConfig(
            "readmission",
            Login(MASTER, f"file:{self.password_file}"),
            master=Login(MASTER, f"file:{self.password_file}"),
            ca=str(self.site.ca),
        )
        settings = {
            "account": self.account.id,
            "region": self.account.region,
            "instance": SOURCE,
            "database": database,
            "endpoint": self.api.url,
            "credentials": Credentials(str(self.directory / "credentials"), "lab"),
            "restored": {
                "DBSubnetGroupName": account.DRILL_SUBNET_GROUP,
                "VpcSecurityGroupIds": [account.DRILL_SECURITY_GROUP],
            },
        }
        return target_of(**{**settings, **changes})

    def provider(self, at: str = "home", **changes: Any) -> RdsProvider:
        """The driver of a target with ``changes``, on a machine whose DR_HOME is the directory ``at``."""
        home = self.directory / at
        context = Context("lab", self.target(**changes), Settings(), home, home / "run", SystemClock(), "1:1")
        return RdsProvider(context)

    def describe(self, identifier: str) -> dict[str, Any]:
        return self.rows()[identifier]

    def rows(self) -> dict[str, dict[str, Any]]:
        found = self.client.pages("DescribeDBInstances", "DBInstances", {})
        return {row["DBInstanceIdentifier"]: row for row in found}

    def fail(self, code: str, calls: int = 1, action: str = "") -> None:
        self.faults.fail(Failing(code, calls, action))

    @contextmanager
    def connect(self, host: str, port: int, password: str = PASSWORD) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(
            host=host,
            port=port,
            dbname="readmission",
            user=MASTER,
            password=password,
            sslmode="verify-full",
            sslrootcert=str(self.site.ca),
            autocommit=True,
        ) as connection:
            yield connection

    @contextmanager
    def source(self) -> Iterator[psycopg.Connection[Any]]:
        endpoint = self.describe(SOURCE)["Endpoint"]
        with self.connect(endpoint["Address"], endpoint["Port"]) as connection:
            yield connection

    def remove_copies(self) -> None:
        """Delete everything but the source, whoever made it."""
        self.faults.fail(Failing("", 0))
        self.faults.delay_restores(0.0)
        for identifier in self.rows():
            if identifier != SOURCE:
                self.remove(identifier)

    def remove(self, identifier: str) -> None:
        """Delete an instance, whatever it is doing, and its automated backups unless it is the source."""
        named = {"DBInstanceIdentifier": identifier}
        unready = ("InvalidDBInstanceState",)
        unprotected = {**named, "DeletionProtection": False, "ApplyImmediately": True}
        eventually(lambda: self.client.call("ModifyDBInstance", unprotected, unready))
        eventually(lambda: not self.describe(identifier).get("DeletionProtection"))
        throw_away = {**named, "SkipFinalSnapshot": True, "DeleteAutomatedBackups": identifier != SOURCE}
        eventually(lambda: self.client.call("DeleteDBInstance", throw_away, unready))
        eventually(lambda: identifier not in self.rows())


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    """An endpoint under a directory of its own, that the servers' account can cross; nothing is left of it."""
    with open_directory("dr-rds-") as directory:
        one = Endpoint(directory)
        try:
            with copied():
                one.open()
            yield one
        finally:
            one.close()


def request(verb: Verb, purpose: Purpose = Purpose.DRILL) -> Request:
    return Request("lab", (verb,), purpose, digest="d1")


def identity(name: str = "20261123-070000-ab12", purpose: Purpose = Purpose.DRILL) -> RunIdentity:
    return RunIdentity(name, "lab", purpose, "d1")


def perform(provider: RdsProvider, call: Call, args: Mapping[str, Any] | None = None) -> Progress:
    """Apply ``call`` and poll it to its end, as the engine does."""
    result = provider.apply(call, args or call.args)
    return finish(provider, call, result)


def finish(provider: RdsProvider, call: Call, result: Mapping[str, Any], seconds: float = 60.0) -> Progress:
    until = time.monotonic() + BUSY * seconds
    while not (progress := provider.poll(call, result)).done:
        assert time.monotonic() < until, progress.note
        time.sleep(TICK)
    return progress
